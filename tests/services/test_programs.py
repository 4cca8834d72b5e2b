"""The services as programs of their own: how they start, answer and end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from maquette import pipeline, wire
from maquette.rooms import ReconstructOptions
from maquette.rpc.remote import Remote, RemoteDetector, RemoteMeshproc, RemoteReconstructor
from maquette.rpc.settings import ClientSettings
from maquette.settings import Settings
from maquette.store import FileStore
from maquette.v1 import common_pb2 as pb
from maquette.v1 import detector_pb2 as dp
from maquette.v1 import meshproc_pb2 as mp
from maquette.v1 import reconstructor_pb2 as rp

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("detector", "reconstructor", "meshproc")
SCOPE = "heads/head_programs"
QUICK = ReconstructOptions(detail=False, hair="none", formats=("ply",))


def environment(store: Path, **more: str) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MAQUETTE_") or k == "MAQUETTE_HOME"}
    ports = {f"MAQUETTE_{name.upper()}_{port}": "0" for name in NAMES for port in ("PORT", "METRICS_PORT")}
    drain = {f"MAQUETTE_{name.upper()}_DRAIN_DELAY_SECONDS": "0" for name in NAMES}
    return plain | ports | drain | {"MAQUETTE_STORE_URL": store.as_uri(), "OMP_NUM_THREADS": "1"} | more


@dataclass
class Program:
    """A running service."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, object]]:
        whole = self.log.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def said(self, message: str) -> dict[str, object]:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            for line in self.lines():
                if line["message"] == message:
                    return line
            time.sleep(0.05)
        raise AssertionError(f"{self.name} does not say {message!r}")


@dataclass(frozen=True)
class Running:
    """All three, and how they are called."""

    programs: dict[str, Program]
    detector: RemoteDetector
    reconstructor: RemoteReconstructor
    meshproc: RemoteMeshproc
    store: FileStore


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("programs")
    kinds: dict[str, type[Remote]] = dict(
        zip(NAMES, (RemoteDetector, RemoteReconstructor, RemoteMeshproc), strict=True)
    )
    programs: dict[str, Program] = {}
    try:
        for name in NAMES:
            log = folder / f"{name}.log"
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", f"services.{name}.server"],
                    cwd=ROOT,
                    env=environment(folder / "store"),
                    stdout=subprocess.DEVNULL,
                    stderr=file,
                )
            programs[name] = Program(name, process, log)
        async with AsyncExitStack() as stack:
            clients = {}
            for name, program in programs.items():
                await asyncio.to_thread(program.said, "serving")
                target = f"127.0.0.1:{program.said('listening')['port']}"
                clients[name] = await stack.enter_async_context(kinds[name](ClientSettings(target=target)))
            yield Running(programs, **clients, store=FileStore(folder / "store"))  # type: ignore[arg-type]
    finally:
        for program in programs.values():
            program.process.kill()
            program.process.wait()


async def test_a_photo_walks_from_program_to_program(running: Running, sample: Path, settings: Settings) -> None:
    photo = wire.blob_message(sample.read_bytes(), "image/png", running.store, SCOPE)
    found = await running.detector.detect(dp.DetectRequest(photo=photo, name=sample.name, scope=SCOPE))
    mask = await running.detector.mask(dp.MaskRequest(photo=found.photo, face=found.faces[0], scope=SCOPE))
    view = pb.View(photo=found.photo, face=found.faces[0], mask=mask.mask)
    options = wire.options_message(QUICK)
    coarse = await running.reconstructor.coarse(rp.CoarseRequest(views=[view], options=options, scope=SCOPE))
    asked = rp.CompleteRequest(views=[view], coarse=coarse.head, options=options, scope=SCOPE)
    head = (await running.reconstructor.complete(asked)).head
    export = mp.ExportRequest(head=head, views=[view], options=options, formats=QUICK.formats, scope=SCOPE)
    events = [e async for e in running.meshproc.export(export)]
    products = [wire.product_of(e.product, running.store) for e in events if e.HasField("product")]
    expected = pipeline.reconstruct([sample], rooms=pipeline.local_rooms(settings), settings=settings, options=QUICK)
    assert [(p.name, p.sha256) for p in products] == [(p.name, p.sha256) for p in expected.products]


async def test_logs_are_json_and_tell_nothing_of_photos(running: Running, sample: Path) -> None:
    await running.detector.detect(
        dp.DetectRequest(photo=wire.blob_message(sample.read_bytes(), "image/png"), name="anna_smith.png")
    )
    for program in running.programs.values():
        assert program.lines()
    assert "anna_smith" not in running.programs["detector"].log.read_text(encoding="utf-8")


async def test_they_are_well_and_count_their_calls(running: Running) -> None:
    for service in (running.detector, running.reconstructor, running.meshproc):
        await service.check()
    assert (await running.reconstructor.list_engines(rp.ListEnginesRequest())).engines[0].available


async def test_they_end_when_told_and_leave_nothing_behind(running: Running) -> None:
    mesh = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    await running.meshproc.inspect(mp.InspectRequest(mesh=wire.blob_message(mesh, "model/obj")))
    children = Path(f"/proc/{running.programs['meshproc'].process.pid}/task")
    below = {c for task in children.iterdir() for c in (task / "children").read_text().split()}
    assert len(below) == 1
    for program in running.programs.values():
        program.process.send_signal(signal.SIGTERM)
    for program in running.programs.values():
        assert await asyncio.to_thread(program.process.wait, 30) == 0
        assert program.lines()[-1]["message"] == "stopped"
    assert not any(Path(f"/proc/{child}").exists() for child in below)


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [
        ("detector", "MAQUETTE_DETECTOR_PORT", "eleven"),
        ("reconstructor", "MAQUETTE_RECONSTRUCTOR_TRITON_URL", ""),
        ("meshproc", "MAQUETTE_STORE_URL", "ftp://nowhere"),
    ],
)
def test_a_wrong_setting_is_named(name: str, variable: str, value: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"services.{name}.server"],
        cwd=ROOT,
        env=environment(tmp_path, **{variable: value}),
        capture_output=True,
        timeout=60,
        check=False,
    )
    setting = variable.removeprefix("MAQUETTE_").partition("_")[2].lower()
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"maquette-{name}: the setting {setting} of ")
    assert "Traceback" not in done.stderr.decode()


def test_networks_that_are_missing_end_the_detector(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.detector.server"],
        cwd=ROOT,
        env=environment(tmp_path / "store", MAQUETTE_HOME=str(tmp_path / "home")),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 5
    assert b"maquette setup" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_setting(name: str) -> None:
    command = [sys.executable, "-m", f"services.{name}.server", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    for variable in (f"MAQUETTE_{name.upper()}_PORT", f"MAQUETTE_{name.upper()}_TLS_KEY", "MAQUETTE_STORE_URL"):
        assert variable in done.stdout.decode()
