"""A Triton server as a process: started, watched, started anew, stopped without a trace."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc

from maquette.belongings import Belongings
from maquette.errors import OptionInvalid, ServiceUnavailable
from maquette.settings import Settings
from maquette.tritonserver import LOOPBACK, Ports, TritonServer, free_ports, shipped_repository

MEMORY = Path("/dev/shm")

CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 0
input [ {{ name: "x" data_type: TYPE_INT32 dims: [ 1 ] }} ]
output [ {{ name: "y" data_type: TYPE_INT32 dims: [ 1 ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
"""

MODEL = """
import os, sys
import numpy as np
import triton_python_backend_utils as pb_utils
from services.reconstructor.dlpack import Lent

class TritonPythonModel:
    def initialize(self, args):
        {initialize}

    def execute(self, requests):
        return [self.answer(r) for r in requests]

    def answer(self, request):
        x = np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "x"))
        if x[0] == 0:
            os._exit(3)
        numbers = [os.getpid(), sys.version_info.minor, int(os.environ["OMP_NUM_THREADS"]), int(x[0]) * 2]
        y = np.array([numbers[x[0] % 4]], np.int32)
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor.from_dlpack("y", Lent(y))])
"""


def make_repository(folder: Path, initialize: str = "pass", name: str = "small") -> Path:
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(CONFIG.format(name=name))
    (folder / name / "1" / "model.py").write_text(MODEL.format(initialize=initialize))
    (folder / "README.md").write_text("no model")
    return folder


def ask(server: TritonServer, x: int) -> int:
    tensor = tritonclient.grpc.InferInput("x", [1], "INT32")
    tensor.set_data_from_numpy(np.array([x], np.int32))
    with contextlib.closing(tritonclient.grpc.InferenceServerClient(server.grpc_target)) as client:
        return int(client.infer("small", [tensor]).as_numpy("y")[0])


def regions() -> set[str]:
    return {p.name for p in MEMORY.glob("maquette_triton_*")}


def gone(pid: int) -> bool:
    end = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture
def server(triton_settings: Settings, tmp_path: Path) -> Iterator[TritonServer]:
    server = TritonServer(triton_settings, ports=free_ports(), repository=make_repository(tmp_path / "models"))
    yield server
    server.kill()  # which is quicker than to stop it in order
    server.stop()


def test_models_run_this_interpreter_in_a_process_per_instance_and_leave_nothing(
    triton_settings: Settings, tmp_path: Path
) -> None:
    before = regions()
    repository = make_repository(tmp_path / "models")
    with TritonServer(triton_settings, ports=free_ports(), repository=repository, instances=2) as server:
        assert server.models == ["small"]
        assert len(server.stubs) == 2
        assert ask(server, 4) in server.stubs
        assert ask(server, 1) == sys.version_info.minor
        assert ask(server, 2) == 1
        assert server.failure() is None
        assert regions() > before
        stubs = server.stubs
    assert all(gone(pid) for pid in stubs)
    assert regions() <= before
    assert server.failure() == "the server is not running"
    assert "count: 1" in (repository / "small" / "config.pbtxt").read_text()


def test_a_model_whose_process_dies_is_noticed_and_a_new_start_helps(server: TritonServer) -> None:
    server.start()
    with pytest.raises(tritonclient.grpc.InferenceServerException):
        ask(server, 0)
    assert "of a model ended" in server.wait(0.02)
    server.kill()
    server.stop()
    server.start()
    assert ask(server, 3) == 6


def test_two_servers_do_not_disturb_each_other(server: TritonServer, triton_settings: Settings, tmp_path: Path) -> None:
    server.start()
    with TritonServer(triton_settings, ports=free_ports(), repository=make_repository(tmp_path / "others")) as other:
        assert ask(other, 3) == ask(server, 3) == 6
    assert ask(server, 3) == 6
    assert server.failure() is None


def test_a_server_that_is_killed_is_noticed_and_cleaned_up_after(server: TritonServer) -> None:
    before = regions()
    server.start()
    stubs = server.stubs
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait(0.02) == "the server ended with status -9"
    server.stop()
    assert all(gone(pid) for pid in stubs)
    assert regions() <= before


def test_a_port_in_use_is_named(triton_settings: Settings) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        ports = free_ports()
        with pytest.raises(OptionInvalid, match=f"expected a free port {port}"):
            TritonServer(triton_settings, ports=Ports(ports.http, port, ports.metrics)).start()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"instances": 0}, "at least one instance"),
        ({"ports": Ports(1, 1, 2)}, "three different ports"),
        ({"ports": Ports(0, 1, 2)}, "three different ports"),
        ({"repository": Path(__file__).parent}, "expected a folder of models"),
    ],
)
def test_what_cannot_be_a_server_is_refused_at_once(
    options: dict[str, object], says: str, triton_settings: Settings
) -> None:
    with pytest.raises(OptionInvalid, match=says):
        TritonServer(triton_settings, **options)  # type: ignore[arg-type]


def test_a_model_that_does_not_load_is_told_with_its_reason(triton_settings: Settings, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "models", "raise RuntimeError('no weights')")
    before = regions()
    server = TritonServer(triton_settings, ports=free_ports(), repository=repository)
    with pytest.raises(ServiceUnavailable, match="no weights"):
        server.start()
    assert server.pid is None
    assert regions() <= before


def test_a_rehearsal_that_fails_keeps_the_server_from_being_ready_and_is_told(
    triton_settings: Settings, tmp_path: Path
) -> None:
    shutil.copytree(shipped_repository() / "open", tmp_path / "open")
    (tmp_path / "open" / "1" / "model.py").write_text(
        "from maquette.errors import FaceUnusable\n"
        "from services.reconstructor.backend import CoarseModel\n"
        "class TritonPythonModel(CoarseModel):\n"
        "    def rehearse(self):\n"
        "        raise FaceUnusable('the drawn head is no face')\n"
    )
    server = TritonServer(triton_settings, ports=free_ports(), repository=tmp_path)
    with pytest.raises(ServiceUnavailable, match="the drawn head is no face"):
        server.start()


def test_a_configuration_of_other_tensors_does_not_load(triton_settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(shipped_repository() / "open", tmp_path / "open")
    config = tmp_path / "open" / "config.pbtxt"
    config.write_text(config.read_text().replace('"neutral" data_type: TYPE_FP32', '"neutral" data_type: TYPE_FP64'))
    server = TritonServer(triton_settings, ports=free_ports(), repository=tmp_path)
    with pytest.raises(ServiceUnavailable, match=r"expected output neutral of open to be .*TYPE_FP32.*TYPE_FP64"):
        server.start()


def test_belongings_of_the_living_stay_and_those_of_the_dead_go() -> None:
    program = (
        "import sys, pathlib; from maquette.belongings import Belongings; m = Belongings(); "
        "pathlib.Path('/dev/shm', m.prefix + 'x').touch(); print(m.prefix, m.folder, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        prefix, folder = owner.stdout.readline().decode().split()
        assert Path(folder).is_dir()
        Belongings().remove()
        assert {n.removeprefix(prefix) for n in regions() if n.startswith(prefix)} == {"x", "lock"}
        owner.kill()
        owner.wait()
    Belongings().remove()
    assert not [n for n in regions() if n.startswith(prefix)]
    assert not Path(folder).exists()


def test_the_shipped_models_are_found() -> None:
    assert {p.parent.name for p in shipped_repository().glob("*/config.pbtxt")} == {"open", "open_complete"}


def test_the_command_starts_a_server_mends_it_and_ends_with_ctrl_c(triton_settings: Settings, tmp_path: Path) -> None:
    ports = free_ports()
    words = ["--http-port", ports.http, "--grpc-port", ports.grpc, "--metrics-port", ports.metrics]
    words += ["--repository", make_repository(tmp_path / "models")]
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = [sys.executable, "-c", heed + "from maquette.cli import main; main()", "triton", *map(str, words)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "is ready after" in process.stdout.readline()
        assert f"127.0.0.1:{ports.grpc}" in process.stdout.readline()
        server = TritonServer(triton_settings, ports=ports, repository=tmp_path / "models")
        stub = ask(server, 4)
        os.kill(stub, signal.SIGKILL)
        assert f"process {stub} of a model ended" in process.stderr.readline()
        assert "ready again" in process.stderr.readline()
        stub = ask(server, 4)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert "NVIDIA Triton stopped" in process.stderr.read()
    assert gone(stub)


def test_a_server_does_not_outlive_a_command_that_is_killed(triton_settings: Settings, tmp_path: Path) -> None:
    ports = free_ports()
    words = ["--http-port", ports.http, "--grpc-port", ports.grpc, "--metrics-port", ports.metrics]
    words += ["--repository", make_repository(tmp_path / "models")]
    program = [sys.executable, "-c", "from maquette.cli import main; main()", "triton", *map(str, words)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "is ready after" in process.stdout.readline()
        server = TritonServer(triton_settings, ports=ports, repository=tmp_path / "models")
        stub = ask(server, 4)
        process.kill()
        process.wait()
    assert gone(stub)
    server.start()  # the ports are free again
    server.kill()
    server.stop()
