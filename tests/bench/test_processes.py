import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.processes import LOOPBACK, Process, answers, family, free_ports, processor_s, resident_mb, wait_until

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="figures of processes come from /proc")


def sleeper(log: Path) -> Process:
    return Process("sleeper", "import time; print('up', flush=True); time.sleep(60)", (), dict(os.environ), log)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_is_killed_and_started_again_with_its_log_going_on(tmp_path: Path) -> None:
    process = sleeper(tmp_path / "log")
    for life in (1, 2):
        process.start()
        wait_until(lambda life=life: process.said().count("up") == life, "its line", 20, process.require_running)  # type: ignore[misc]
        pid = process.pid
        assert pid is not None
        process.kill()
        assert process.pid is None
        assert not alive(pid)
    process.stop()


def test_a_process_that_ends_by_itself_is_named_with_what_it_said(tmp_path: Path) -> None:
    process = Process("fleeting", "raise SystemExit('no reason')", (), dict(os.environ), tmp_path / "log")
    process.start()
    with pytest.raises(RuntimeError, match="expected fleeting to run, found it ended with 1: no reason"):
        wait_until(lambda: False, "nothing", 20, process.require_running)
    process.stop()


def test_waiting_ends(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"expected a miracle within 0\.1 s"):
        wait_until(lambda: False, "a miracle", 0.1)


@needs_proc
def test_a_process_ends_with_the_benchmark_that_was_killed(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    program = f"""
import os, time
from pathlib import Path
from bench.processes import Process
child = Process("child", "import time; print(1, flush=True); time.sleep(60)", (), dict(os.environ), Path({log!r}))
child.start()
while not child.said():
    time.sleep(0.01)
print(child.pid, flush=True)
time.sleep(60)
"""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    wait_until(lambda: not alive(child) or "Z" in Path(f"/proc/{child}/stat").read_text(), "the child to end", 10)


def test_ports_are_free_different_and_not_of_outgoing_connections() -> None:
    ports = free_ports(9)
    assert len(set(ports)) == 9
    assert not any(map(answers, ports))
    if EPHEMERAL.exists():
        assert max(ports) < int(EPHEMERAL.read_text().split()[0])
    with socket.create_server((LOOPBACK, ports[0])):
        assert answers(ports[0])


@needs_proc
def test_figures_are_of_the_whole_family() -> None:
    program = (
        "import subprocess, sys\n"
        "child = 'import time; b = bytearray(60_000_000); t = time.process_time()\\n"
        "while time.process_time() < t + 0.3: pass\\nprint(1, flush=True); time.sleep(60)'\n"
        "subprocess.run([sys.executable, '-c', child])"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        pids = family(parent.pid)
        try:
            assert len(pids) == 2
            assert resident_mb(pids) > 60
            assert resident_mb(pids) > resident_mb([parent.pid]) + 50
            assert processor_s(pids) >= 0.3
        finally:
            for pid in reversed(pids):
                os.kill(pid, 9)
    end = time.monotonic() + 5
    while resident_mb(pids) and time.monotonic() < end:
        time.sleep(0.01)
    assert resident_mb(pids) == 0
    assert processor_s([parent.pid]) == 0
