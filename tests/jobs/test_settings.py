from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.jobs import JobSettings, PhotoRecord, request_digest


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_JOBS_DATABASE_URL", "postgresql://a:secret@db/x")
    monkeypatch.setenv("MAQUETTE_JOBS_LEASE_S", "12.5")
    settings = JobSettings()
    assert settings.database_url.get_secret_value() == "postgresql://a:secret@db/x"
    assert (settings.lease_s, settings.sqlite_path) == (12.5, None)
    assert "secret" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.lease_s = 3


def test_the_embedded_database_lies_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "a % b?"))
    monkeypatch.delenv("MAQUETTE_JOBS_DATABASE_URL", raising=False)
    assert JobSettings().sqlite_path == tmp_path / "a % b?" / "jobs.sqlite3"


def test_relative_and_absolute_paths_are_told_apart() -> None:
    assert JobSettings(database_url="sqlite:///x/jobs.db").sqlite_path == Path("x/jobs.db")
    assert JobSettings(database_url="sqlite:////x/jobs.db").sqlite_path == Path("/x/jobs.db")


@pytest.mark.parametrize(
    "url", ["", "jobs.db", "sqlite://", "sqlite:///", "sqlite://host/x", "mysql://a:pw@b/c", "sqlite:///x?mode=ro"]
)
def test_other_databases_are_refused_without_showing_passwords(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        JobSettings(database_url=url)
    assert "pw" not in str(refused.value)


def test_pauses_double_up_to_a_limit() -> None:
    settings = JobSettings(database_url="sqlite:///x", retry_first_s=0.5, retry_longest_s=7)
    assert [settings.pause(n) for n in (1, 2, 3, 4, 5, 6, 5000)] == [0.5, 1, 2, 4, 7, 7, 7]


def test_a_requests_digest_is_of_what_is_asked_for_and_nothing_else() -> None:
    def photo(name: str, number: int, scope: str = "photos/a") -> PhotoRecord:
        return PhotoRecord(name, f"{scope}/{number:064x}", 5, f"{number:064x}", "image/jpeg")

    base = request_digest("n", {"a": 1, "b": [2.5]}, [photo("x", 1), photo("y", 2)])
    assert base == request_digest("n", {"b": [2.5], "a": 1}, [photo("x", 1, "photos/b"), photo("y", 2, "photos/c")])
    others = {
        request_digest("m", {"a": 1, "b": [2.5]}, [photo("x", 1), photo("y", 2)]),
        request_digest("n", {"a": 1, "b": [2]}, [photo("x", 1), photo("y", 2)]),
        request_digest("n", {"a": 1, "b": [2.5]}, [photo("y", 2), photo("x", 1)]),
        request_digest("n", {"a": 1, "b": [2.5]}, [photo("x", 3), photo("y", 2)]),
        request_digest("n", {"a": 1, "b": [2.5]}, [photo("x", 1)]),
    }
    assert len(others | {base}) == 6
