import asyncio
import json
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.doors import LoopbackDoor
from gateway.serve import read_settings, serve
from gateway.settings import GatewaySettings
from maquette.cli.main import run
from maquette.client import Client
from maquette.errors import HeadNotFound, NetworkFilesMissing, OptionInvalid, SetupError
from maquette.rooms import ReconstructOptions
from tests.gateway.processes import MAQUETTE, own_home, serving_all

QUICK = ["--formats", "obj", "--no-detail", "--hair", "none"]
QUICK_OPTIONS = ReconstructOptions(formats=("obj",), detail=False, hair="none")


@pytest.fixture
def home(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of this test alone."""
    made = own_home(tmp_path)
    monkeypatch.setenv("MAQUETTE_HOME", str(made))
    return made


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "timings.json"}


def job_states(home: Path) -> list[tuple[str, int]]:
    with sqlite3.connect(home / "jobs.sqlite3") as database:
        return list(database.execute("SELECT state, attempts FROM jobs"))


@pytest.mark.slow
def test_submit_writes_what_reconstruct_writes(
    home: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reconstruct", str(sample), "-o", str(tmp_path / "here"), *QUICK]) == 0
    with serving_all(home) as (program, url):
        assert run(["submit", str(sample), "--server", url, "-o", str(tmp_path / "there"), *QUICK]) == 0
        captured = capsys.readouterr()
        assert "Shaping the head" in captured.err
        assert str(tmp_path / "there" / "head.obj") in captured.out
        assert files(tmp_path / "there") == files(tmp_path / "here")
        timings = json.loads((tmp_path / "there" / "timings.json").read_text())
        assert {"upload", "detecting", "reconstructing", "meshing", "download"} <= set(timings["seconds"])
        # Again into the same folder: what the older result has beyond the new one goes.
        again = ["submit", str(sample), "--server", url, "-o", str(tmp_path / "there"), "--delete", "--json"]
        assert run([*again, "--formats", "stl", "--no-detail", "--hair", "none"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (tmp_path / "there" / "print.stl").exists()
        assert not (tmp_path / "there" / "head.obj").exists()
        with Client(url) as client:
            assert len(client.page().heads) == 1
            with pytest.raises(HeadNotFound):
                client.get(printed["head"])
        assert program.end() == 0
    assert (home / "jobs.sqlite3").exists()
    assert (home / "store").is_dir()
    assert sample.name not in program.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_outlives_the_process(home: Path, sample: Path, tmp_path: Path, how: signal.Signals) -> None:
    fast = {"MAQUETTE_WORKER_DRAIN_S": "0", "MAQUETTE_JOBS_LEASE_S": "3"}
    with serving_all(home, **fast) as (program, url), Client(url, patience_s=5) as client:
        head = client.submit(sample, options=QUICK_OPTIONS)
        for event in client.events(head.id):
            if event.kind == "product":
                assert event.data["name"] == "preview.glb"
                assert program.end(how) == (0 if how is signal.SIGTERM else -how)
                break
    # Whoever is told to end gives the job back; from whoever dies it is taken.
    assert job_states(home) == [("queued" if how is signal.SIGTERM else "running", 1)]
    with serving_all(home, **fast) as (_, url), Client(url) as client:
        done = client.wait(head.id)
        names = [f.name for f in done.files]
        assert names[0] == "preview.glb"
        assert len(names) == len(set(names))
        assert done.file("report.json") is not None
    assert job_states(home) == [("done", 2)]


def test_others_than_this_machine_need_a_key(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*MAQUETTE, "serve", "--host", "0.0.0.0", "--port", "0"]
    refused = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "expected API keys" in refused.stderr
    assert "maquette keys create" in refused.stderr
    assert run(["keys", "create", "anna"]) == 0
    key = capsys.readouterr().out.strip()
    with serving_all(home, MAQUETTE_GATEWAY_HOST="0.0.0.0") as (_, url):
        assert httpx.get(f"{url}/v1/heads", trust_env=False).status_code == 401
        headers = {"authorization": f"Bearer {key}"}
        assert httpx.get(f"{url}/v1/heads", headers=headers, trust_env=False).json() == {"heads": [], "cursor": None}


def test_keys_cannot_be_done_without_beyond_this_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_GATEWAY_REQUIRE_KEYS", "false")
    with pytest.raises(OptionInvalid, match="expected an address of this machine alone"):
        refusal("0.0.0.0", 0)


@pytest.mark.parametrize(
    ("host", "required", "expected"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),
        ("example.org", None, True),
        ("127.0.0.1", "true", True),
    ],
)
def test_keys_are_needed_where_others_come(
    home: Path, monkeypatch: pytest.MonkeyPatch, host: str, required: str | None, expected: bool
) -> None:
    if required is not None:
        monkeypatch.setenv("MAQUETTE_GATEWAY_REQUIRE_KEYS", required)
    monkeypatch.setenv("MAQUETTE_GATEWAY_MAX_PHOTOS", "3")
    settings = read_settings(host, 9)
    assert settings.gateway.require_keys is expected
    assert (settings.gateway.host, settings.gateway.port, settings.gateway.max_photos) == (host, 9, 3)
    assert settings.store.folder == home / "store"
    assert settings.jobs.sqlite_path == home / "jobs.sqlite3"


def refusal(host: str, port: int) -> None:
    """Raise what keeps everything from being served."""
    asyncio.run(serve(read_settings(host, port), lambda url: pytest.fail(f"it is served at {url}"), asyncio.Event()))


def test_an_address_that_is_taken_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"cannot listen at 127.0.0.1:{port}"):
            refusal("127.0.0.1", port)


def test_an_installation_that_lacks_networks_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path))
    with pytest.raises(NetworkFilesMissing, match="maquette setup"):
        refusal("127.0.0.1", 0)


def test_a_wrong_setting_is_named_without_its_value(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAQUETTE_JOBS_DATABASE_URL", "mysql://user:secret@host/name")
    for words in (["serve", "--port", "0"], ["keys", "list"]):
        assert run(words) == 2
        err = capsys.readouterr().err
        assert "database_url of JobSettings" in err
        assert "secret" not in err


def test_keys_are_made_listed_and_revoked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["keys", "create", "anna", "--scopes", "heads:read,heads:write", "--rate", "5/second", "--quota", "7"]
    assert run([*words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    secret = made.pop("secret")
    assert secret.startswith(f"mq_{made['id']}_")
    assert (made["scopes"], made["rate"], made["quota"]) == (["heads:read", "heads:write"], "5/second", 7)
    assert run(["keys", "list", "--json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["keys"] == [made]
    assert secret not in text
    assert run(["keys", "list"]) == 0
    assert made["id"] in capsys.readouterr().out
    assert run(["keys", "revoke", made["id"]]) == 0
    capsys.readouterr()
    assert run(["keys", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"keys": []}
    assert run(["keys", "revoke", "nothing"]) == 8
    assert run(["keys", "create", "x", "--scopes", "everything"]) == 2
    assert secret.encode() not in (home / "jobs.sqlite3").read_bytes()


def test_a_server_that_is_away_is_named(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from maquette.client import line

    monkeypatch.setattr(line.Patience, "renew", _impatient)
    assert run(["submit", str(sample), "--server", "http://127.0.0.1:9", "-o", str(tmp_path / "out")]) == 8
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(["submit", str(sample), "--face", "all", "-o", str(tmp_path / "out")]) == 2


def _impatient(self: Any) -> None:
    self._pause, self._give_up = 0.01, 0.0


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"host": "127.0.0.1:8080"}, 200),
        ("GET", {"host": "localhost"}, 200),
        ("GET", {"host": "[::1]:8080"}, 200),
        ("GET", {"host": "maquette.localhost:1"}, 200),
        ("GET", {"host": "evil.example"}, 403),
        ("GET", {"host": "127.0.0.1.evil.example"}, 403),
        ("GET", {"host": "[x"}, 403),
        ("GET", {"host": ""}, 403),
        ("POST", {"host": "localhost"}, 200),
        ("POST", {"host": "localhost", "origin": "http://localhost:3000"}, 200),
        ("POST", {"host": "localhost", "origin": "https://evil.example"}, 403),
        ("POST", {"host": "localhost", "origin": "null"}, 403),
        ("DELETE", {"host": "localhost", "origin": "https://evil.example"}, 403),
        ("POST", {"host": "localhost", "origin": "https://viewer.example"}, 200),
        ("OPTIONS", {"host": "localhost", "origin": "https://evil.example"}, 200),
    ],
)
def test_pages_of_other_sites_do_not_get_through_the_door(method: str, headers: dict[str, str], status: int) -> None:
    async def inside(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def knock() -> httpx.Response:
        door = LoopbackDoor(inside, GatewaySettings(require_keys=False, cors_origins=("https://viewer.example",)))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://127.0.0.1") as client:
            return await client.request(method, "/v1/heads", headers=headers)

    answer = asyncio.run(knock())
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "access_denied"
