"""The process that works on meshes: it is killed when nobody waits, and falls alone."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trimesh

from maquette.errors import DependencyMissing, MeshInvalid, OptionInvalid, ServiceUnavailable
from maquette.rpc.work import Workers
from maquette.v1 import common_pb2 as pb
from maquette.v1 import meshproc_pb2 as mp
from services.meshproc.files import MeshLimits
from services.meshproc.workshop import Workshop


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop(MeshLimits())
    yield made
    made.close()


def ball(levels: int) -> pb.Blob:
    shape = trimesh.creation.icosphere(levels, radius=40)
    return pb.Blob(inline=shape.export(file_type="stl"), media_type="model/stl")


SMALL = mp.InspectRequest(mesh=ball(2))
LONG = mp.SimplifyRequest(mesh=ball(7), triangles=[1000, 900, 800, 700, 600, 500])


def pid_of(workshop: Workshop) -> int:
    process = workshop._process
    assert process is not None
    return process.pid


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def when_working(workshop: Workshop, act: Callable[[int], None]) -> threading.Thread:
    """Do something to the process once it has been at work for a moment."""

    def wait() -> None:
        while workshop._process is None:
            time.sleep(0.01)
        pid = pid_of(workshop)
        while _cpu_seconds(pid) < 1.5:
            time.sleep(0.01)
        act(pid)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_one_process_answers_one_request_after_the_other(workshop: Workshop) -> None:
    assert workshop.work("Inspect", SMALL, mp.InspectResponse).report.triangles == 320
    pid = pid_of(workshop)
    assert workshop.work("Inspect", SMALL, mp.InspectResponse).report.solid
    assert pid_of(workshop) == pid
    workshop.close()
    assert not is_there(pid)


def test_refusals_are_the_errors_they_were(workshop: Workshop) -> None:
    with pytest.raises(MeshInvalid, match="STL"):
        workshop.work("Inspect", mp.InspectRequest(mesh=pb.Blob(media_type="model/stl")), mp.InspectResponse)
    pid = pid_of(workshop)
    with pytest.raises(OptionInvalid) as caught:
        workshop.work("Repair", mp.RepairRequest(mesh=ball(1), merge_mm=-1), mp.RepairResponse)
    assert caught.value.detail == {"field": "merge_mm"}
    # A refusal is no reason for another process.
    assert pid_of(workshop) == pid


def test_a_mesh_that_brings_the_library_down_is_named_and_the_next_one_is_worked_on(workshop: Workshop) -> None:
    thread = when_working(workshop, lambda pid: os.kill(pid, signal.SIGSEGV))
    with pytest.raises(MeshInvalid, match="SIGSEGV"):
        workshop.work("Simplify", LONG, mp.SimplifyResponse)
    thread.join()
    assert workshop.work("Inspect", SMALL, mp.InspectResponse).report.triangles == 320


def test_a_process_that_is_killed_can_be_tried_again(workshop: Workshop) -> None:
    thread = when_working(workshop, lambda pid: os.kill(pid, signal.SIGKILL))
    with pytest.raises(ServiceUnavailable, match="-9"):
        workshop.work("Simplify", LONG, mp.SimplifyResponse)
    thread.join()
    assert workshop.work("Inspect", SMALL, mp.InspectResponse).report.triangles == 320


def test_work_that_nobody_waits_for_is_killed(workshop: Workshop) -> None:
    workers = Workers(1)

    async def give_up() -> tuple[int, float]:
        pids: list[int] = []
        task = asyncio.create_task(workers.run(workshop.work, "Simplify", LONG, mp.SimplifyResponse))
        watching = when_working(workshop, pids.append)
        await asyncio.to_thread(watching.join)
        start = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while is_there(pids[0]) and time.perf_counter() - start < 10:
            await asyncio.sleep(0.01)
        return pids[0], time.perf_counter() - start

    try:
        pid, seconds = asyncio.run(give_up())
    finally:
        workers.close()
    assert not is_there(pid)
    assert seconds < 2
    assert workshop.work("Inspect", SMALL, mp.InspectResponse).report.triangles == 320


def test_the_process_knows_no_secrets(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_STORE_SECRET_KEY", "hush")
    workshop.work("Inspect", SMALL, mp.InspectResponse)
    assert b"hush" not in Path(f"/proc/{pid_of(workshop)}/environ").read_bytes()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise OSError('libGL.so.1: cannot open shared object file')", r"libGL\.so\.1.*apt-get install.*libgl1"),
        ("raise ModuleNotFoundError('no open3d', name='open3d')", r"pip install 'maquette\[meshproc\]'"),
    ],
)
def test_without_open3d_what_needs_it_says_so_and_the_rest_works(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str
) -> None:
    (tmp_path / "open3d.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(DependencyMissing, match=expected):
        workshop.work("Simplify", mp.SimplifyRequest(mesh=ball(2), triangles=[100]), mp.SimplifyResponse)
    assert workshop.work("Inspect", SMALL, mp.InspectResponse).report.solid
    assert workshop.work("Repair", mp.RepairRequest(mesh=ball(2)), mp.RepairResponse).after.solid
