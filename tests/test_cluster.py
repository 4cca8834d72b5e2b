"""Everything in processes of its own: Triton, MinIO, PostgreSQL, three services, two workers, two gateways."""

import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from maquette import errors
from maquette.cli.main import run
from maquette.client import Client
from maquette.rooms import ReconstructOptions
from maquette.store import open_store
from maquette.tritonserver import TritonServer
from tests.gateway.processes import MAQUETTE, Program, own_home
from tests.servers.minio import ACCESS_KEY, SECRET_KEY, MinioServer, free_port, minio, minio_binary
from tests.servers.postgres import PostgresServer, postgres

__all__ = ["minio", "minio_binary", "postgres"]

pytestmark = pytest.mark.slow

BUCKET = "cluster"
START_S = 120.0
SERVICES = ("detector", "reconstructor", "meshproc")


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        urls: Addresses of the gateways: the first hands files out itself, the second sends callers to MinIO.
        key: An API key.
        workers: The workers.
        programs: All programs by name.
    """

    urls: tuple[str, str]
    key: str
    programs: dict[str, Program] = field(default_factory=dict)

    @property
    def workers(self) -> dict[str, Program]:
        return {name: program for name, program in self.programs.items() if name.startswith("worker")}


@pytest.fixture(scope="module")
def cluster(
    triton: TritonServer,
    minio: MinioServer,
    postgres: PostgresServer,
    settings: object,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    ports = {name: free_port() for name in (*SERVICES, "gateway-1", "gateway-2")}
    environment = {
        "MAQUETTE_HOME": str(own_home(folder)),
        "MAQUETTE_STORE_URL": f"s3://{minio.address}/{BUCKET}",
        "MAQUETTE_STORE_ACCESS_KEY": ACCESS_KEY,
        "MAQUETTE_STORE_SECRET_KEY": SECRET_KEY,
        "MAQUETTE_STORE_TLS": "false",
        "MAQUETTE_STORE_CREATE_BUCKET": "true",
        "MAQUETTE_STORE_PUBLIC_ENDPOINT": f"http://{minio.address}",
        "MAQUETTE_JOBS_DATABASE_URL": postgres.make_database("cluster"),
        "MAQUETTE_JOBS_LEASE_S": "4",
        "MAQUETTE_RECONSTRUCTOR_TRITON_URL": triton.grpc_target,
        "GRPC_VERBOSITY": "ERROR",
    }
    services = {f"MAQUETTE_SERVICES_{name.upper()}": f"127.0.0.1:{ports[name]}" for name in SERVICES}
    started = Cluster(urls=(f"http://127.0.0.1:{ports['gateway-1']}", f"http://127.0.0.1:{ports['gateway-2']}"), key="")

    def start(name: str, module: str, function: str, **own: str) -> None:
        words = [sys.executable, "-c", f"import sys; from {module} import {function}; sys.exit({function}())"]
        started.programs[name] = Program(words, environment | services | own, folder / f"{name}.log")

    with ExitStack() as stack:

        def end() -> None:
            for program in started.programs.values():
                program.end(signal.SIGKILL)

        stack.callback(end)
        made = Program([*MAQUETTE, "keys", "create", "cluster", "--json"], environment, folder / "keys.log")
        assert made.process.stdout is not None
        started.key = json.loads(made.process.stdout.read())["secret"]
        made.end()
        for name in SERVICES:
            start(name, f"services.{name}.server", "main", **{f"MAQUETTE_{name.upper()}_PORT": str(ports[name])})
        for name, files in (("gateway-1", "stream"), ("gateway-2", "redirect")):
            own = {"MAQUETTE_GATEWAY_PORT": str(ports[name]), "MAQUETTE_GATEWAY_FILES": files}
            start(name, "gateway.programs", "gateway_main", **own)
        for name in ("worker-1", "worker-2"):
            start(name, "gateway.programs", "worker_main", MAQUETTE_WORKER_NAME=name, MAQUETTE_WORKER_CONCURRENCY="1")
        for url in started.urls:
            _await(started, url)
        yield started
        for name, program in started.programs.items():
            assert program.end() == 0, f"{name}: {program.said()}"


def _await(cluster: Cluster, url: str) -> None:
    """Wait until a gateway says that all it needs is there."""
    end = time.monotonic() + START_S
    answer = "nothing"
    while time.monotonic() < end:
        for name, program in cluster.programs.items():
            assert program.process.poll() is None, f"{name}: {program.said()}"
        with contextlib.suppress(httpx.TransportError):
            ready = httpx.get(f"{url}/readyz", trust_env=False)
            answer = ready.text
            if ready.status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"{url} is not ready: {answer}")


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "timings.json"}


def test_a_photo_goes_through_all_processes_and_comes_out_as_from_one(
    cluster: Cluster, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minio: MinioServer
) -> None:
    assert run(["reconstruct", str(sample), "-o", str(tmp_path / "here")]) == 0
    monkeypatch.setenv("MAQUETTE_API_KEY", cluster.key)
    words = ["submit", str(sample), "--server", cluster.urls[0], "-o", str(tmp_path / "there")]
    assert run(words) == 0
    here, there = files(tmp_path / "here"), files(tmp_path / "there")
    assert there.keys() == here.keys()
    assert [name for name in here if here[name] != there[name]] == []
    with Client(cluster.urls[1], key=cluster.key) as client:
        (head,) = client.page().heads
        # The other gateway tells all of it, and sends callers to the store, which has the same bytes.
        events = list(client.events(head.id))
        kinds = [(e.kind, e.data.get("name") or e.data.get("state")) for e in events]
        assert kinds.index(("product", "preview.glb")) < kinds.index(("state", "meshing"))
        fetched = {f.name: client.fetch(f) for f in head.files}
        assert {name: data for name, data in fetched.items() if name != "preview.glb"} == here
        link = httpx.get(
            cluster.urls[1] + head.files[0].url, headers={"authorization": f"Bearer {cluster.key}"}, trust_env=False
        )
        assert link.status_code == 307
        assert link.headers["location"].startswith(f"http://{minio.address}/{BUCKET}/")
        receipt = client.delete(head.id)
        assert receipt.complete
        assert receipt.objects >= len(here) + 2
    store = open_store(minio.settings(BUCKET))
    assert [*store.scopes("heads"), *store.scopes("photos")] == []
    store.close()


def test_a_job_whose_worker_is_killed_is_finished_by_another(cluster: Cluster, sample: Path, tmp_path: Path) -> None:
    options = ReconstructOptions(formats=("obj",), detail=False, hair="none")
    words = ["--formats", "obj", "--no-detail", "--hair", "none"]
    assert run(["reconstruct", str(sample), "-o", str(tmp_path / "here"), *words]) == 0
    with Client(cluster.urls[0], key=cluster.key) as client:
        head = client.submit(sample, options=options)
        busy = None
        for event in client.events(head.id):
            if event.kind == "product" and busy is None:
                # Of a worker that has a job the log says so last.
                busy = next(n for n, p in cluster.workers.items() if _is_busy(p, head.id))
                cluster.programs.pop(busy).end(signal.SIGKILL)
        done = client.wait(head.id)
        assert busy is not None
        assert [f.name for f in done.files] == [
            "preview.glb", "head.obj", "head.mtl", "head_albedo.png", "preview.png", "overlay.png", "report.json",
        ]  # fmt: skip
        client.download(done, tmp_path / "there", list(files(tmp_path / "here")))
        assert files(tmp_path / "there") == files(tmp_path / "here")
        retries = [e.data["retry"]["reason"] for e in client.events(head.id) if "retry" in e.data]
        assert retries == ["worker_lost"]


def test_bad_photos_are_named_over_all_the_way(cluster: Cluster, blank: Path, group: Path) -> None:
    with Client(cluster.urls[1], key=cluster.key) as client:
        head = client.submit(blank)
        with pytest.raises(errors.NoFaceFound) as caught:
            client.wait(head.id)
        assert caught.value.detail["photo"] == blank.name
        head = client.submit(group, face=9)
        with pytest.raises(errors.FaceNotFound):
            client.wait(head.id)
        with pytest.raises(errors.NoFaceFound):
            client.detect(blank)
        assert [e["available"] for e in client.engines() if e["name"] == "open"] == [True]
    wrong = cluster.key[:-1] + ("q" if cluster.key.endswith("a") else "a")
    with Client(cluster.urls[0], key=wrong) as client, pytest.raises(errors.KeyInvalid):
        client.page()


def test_logs_carry_nothing_of_a_person(cluster: Cluster, sample: Path, blank: Path) -> None:
    for program in cluster.programs.values():
        said = program.log.read_text()
        assert sample.name not in said
        assert blank.name not in said
        assert cluster.key not in said


def _is_busy(worker: Program, head_id: str) -> bool:
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if head_id in line]
    return bool(lines) and lines[-1]["message"] == "a job is taken"
