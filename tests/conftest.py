"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the development data; tests that need it skip where it is absent."""
    path = Path(os.environ.get("MAQUETTE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (path / "bench").is_dir():
        pytest.skip(f"development data not found at {path}")
    return path
