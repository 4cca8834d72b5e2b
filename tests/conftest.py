"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL import Image

from maquette.demo import sample_photo
from maquette.networks import require_networks
from maquette.settings import Settings
from tests.servers.minio import minio, minio_binary
from tests.servers.postgres import postgres
from tests.servers.triton import triton, triton_settings

__all__ = ["minio", "minio_binary", "postgres", "triton", "triton_settings"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the development data; tests that need it skip where it is absent."""
    path = Path(os.environ.get("MAQUETTE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (path / "bench").is_dir():
        pytest.skip(f"development data not found at {path}")
    return path


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop that asynchronous tests, and what they share, run in."""
    return "asyncio"


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Settings of this installation; ``make test`` has set up the networks, and nothing skips where it has not."""
    settings = Settings()
    require_networks(settings)
    return settings


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample photo: one face."""
    return sample_photo()


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture without a face."""
    path = tmp_path_factory.mktemp("photos") / "blank.png"
    Image.new("RGB", (320, 240), (120, 140, 160)).save(path)
    return path


@pytest.fixture(scope="session")
def group(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two faces, the smaller one nearer to the picture's left."""
    portrait = Image.open(sample).convert("RGB").crop((100, 0, 380, 280))
    picture = Image.new("RGB", (1100, 640), (90, 100, 110))
    picture.paste(portrait.resize((300, 300), Image.Resampling.LANCZOS), (20, 200))
    picture.paste(
        portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((600, 600), Image.Resampling.LANCZOS), (420, 20)
    )
    path = tmp_path_factory.mktemp("photos") / "group.png"
    picture.save(path)
    return path


@pytest.fixture(scope="session")
def _spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(_spans: InMemorySpanExporter) -> InMemorySpanExporter:
    """Spans that end during this test."""
    _spans.clear()
    return _spans
