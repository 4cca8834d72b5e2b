import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from maquette.errors import DependencyMissing
from maquette.store import FileStore, StoreSettings, open_store

KEYS = {"access_key": "me", "secret_key": "do not show"}


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "URL": "s3://minio.internal:9000/heads", "ACCESS_KEY": "me", "SECRET_KEY": "do not show", "TLS": "false",
        "REGION": "eu-central-1", "PUBLIC_ENDPOINT": "https://files.example.org", "PART_BYTES": "8388608",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"MAQUETTE_STORE_{name}", value)
    settings = StoreSettings()
    assert (settings.endpoint, settings.bucket, settings.folder) == ("minio.internal:9000", "heads", None)
    assert (settings.tls, settings.region, settings.part_bytes) == (False, "eu-central-1", 8 << 20)
    assert "do not show" not in repr(settings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.tls = True


def test_the_default_is_a_folder_of_the_user() -> None:
    folder = StoreSettings().folder
    assert folder is not None
    assert folder.is_absolute()
    assert folder.name == "store"


def test_a_folder_with_any_name_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "Köpfe & more #1"
    store = open_store(StoreSettings(url=folder.as_uri()))
    assert isinstance(store, FileStore)
    assert store.root == folder
    assert folder.is_dir()


@pytest.mark.parametrize(
    "url",
    [
        "", "/var/lib/maquette", "file://host/folder", "file:relative", "file:///a?b", "http://host/bucket", "s3://host",
        "s3://host/", "s3:///bucket", "s3://host/bucket/folder", "s3://host/Bucket", "s3://host/a", "s3://u:p@host/bucket",
        "s3://host:port/bucket", "s3://host:0/bucket", "s3://host/bucket?region=a", "s3://host/../bucket",
        "file:///a%00b",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        StoreSettings.model_validate({"url": url} | KEYS)
    assert "url" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["files.example.org", "ftp://host", "https://host/path", "https://u@host", "https://host?x", "https://"]
)
def test_a_public_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="public_endpoint"):
        StoreSettings.model_validate({"url": "s3://host/bucket", "public_endpoint": url} | KEYS)


@pytest.mark.parametrize("missing", ["access_key", "secret_key"])
def test_a_server_needs_keys(missing: str) -> None:
    values = {"url": "s3://host/bucket"} | KEYS
    del values[missing]
    with pytest.raises(ValidationError, match="access_key and secret_key"):
        StoreSettings.model_validate(values)


def test_a_missing_package_is_named_only_when_it_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in sys.modules if n == "minio" or n.startswith(("minio.", "maquette.store.s3"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "minio", None)
    open_store(StoreSettings(url=tmp_path.as_uri()))
    with pytest.raises(DependencyMissing, match="pip install minio"):
        open_store(StoreSettings.model_validate({"url": "s3://host/bucket"} | KEYS))
