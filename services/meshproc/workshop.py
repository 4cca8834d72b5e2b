"""Work on meshes of unknown origin, in a process of its own.

Open3D and manifold3d hold the interpreter while they work, for seconds with a large mesh: a server would answer nobody
meanwhile, not even whether it is well. They cannot be stopped either, but a process can. And a mesh that brings one of
them down brings down that process alone.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TypeVar

from google.protobuf.message import Message

from maquette.errors import (
    DependencyMissing,
    MaquetteError,
    MeshInvalid,
    OptionInvalid,
    ServiceError,
    ServiceUnavailable,
)
from maquette.rpc.work import checkpoint
from services.meshproc import workbench
from services.meshproc.files import MeshLimits

M = TypeVar("M", bound=Message)

_TICK_SECONDS = 0.05
_PATIENCE_SECONDS = 5.0
"""How long a process that has broken off may take to end, e.g. to write its core."""

_REFUSALS: dict[str, type[MaquetteError]] = {e.code: e for e in (DependencyMissing, MeshInvalid, OptionInvalid)}
_BY_THE_MESH = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL}


class Workshop:
    """A process that inspects, mends and simplifies meshes; it is started when it is needed.

    One instance serves one thread at a time.
    """

    def __init__(self, limits: MeshLimits) -> None:
        """Start nothing yet.

        Args:
            limits: What is still worked on.
        """
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def work(self, name: str, request: Message, kind: type[M]) -> M:
        """Have a request answered; when nobody waits for it any more, the process is killed.

        Args:
            name: ``Inspect``, ``Repair`` or ``Simplify``.
            request: The request of that name, its mesh within it.
            kind: Class of the answer; its meshes are within it too, without digests.

        Raises:
            MeshInvalid: The mesh cannot be worked on, or brought the process down.
            OptionInvalid: An option is out of its range.
            DependencyMissing: Open3D is wanted, and cannot be used here.
            ServiceUnavailable: The process was killed, e.g. for want of memory.
            Cancelled: Nobody waits for the work any more.
        """
        pipe = self._started()
        try:
            pipe.send_bytes(name.encode())
            pipe.send_bytes(request.SerializeToString())
            while not pipe.poll(_TICK_SECONDS):
                checkpoint()
            mark, reply = pipe.recv_bytes(), pipe.recv_bytes()
        except (EOFError, OSError):
            raise _ended(self._stop(_PATIENCE_SECONDS)) from None
        except BaseException:
            self._stop()
            raise
        if mark == workbench.DONE:
            return kind.FromString(reply)
        if mark == workbench.FAILED:
            raise ServiceError(f"the mesh could not be worked on, for a reason that is not known ({reply.decode()})")
        refusal = json.loads(reply)
        raise _REFUSALS.get(refusal["code"], MaquetteError)(refusal["message"], **refusal["detail"])

    def close(self) -> None:
        """End the process."""
        self._stop()

    def _started(self) -> Connection:
        if self._pipe is None:
            here, there = socket.socketpair()
            with here, there:
                limits = (self._limits.max_bytes, self._limits.max_triangles)
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", workbench.__name__, *map(str, (there.fileno(), *limits))],
                    pass_fds=[there.fileno()],
                    stdin=subprocess.DEVNULL,
                    # Libraries print what they like.
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                    # Ctrl-C is for the server, which lets work end.
                    start_new_session=True,
                )
                self._pipe = Connection(here.detach())
        return self._pipe

    def _stop(self, patience: float = 0.0) -> int | None:
        """End the process, after a while; returns the status that it ended with by itself, negative for a signal."""
        pipe, self._pipe = self._pipe, None
        process, self._process = self._process, None
        if process is None or pipe is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        status = process.poll()
        process.kill()
        process.wait()
        pipe.close()
        return status


def _ended(status: int | None) -> MaquetteError:
    if status in _BY_THE_MESH:
        name = signal.Signals(-status).name
        return MeshInvalid(f"expected a mesh that can be worked on, found one that brings the library down ({name})")
    return ServiceUnavailable(f"the process that works on meshes has ended (status {status})")


def _environment() -> dict[str, str]:
    """The environment without what is none of a file's business, and with one thread for everything."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MAQUETTE_")}
    return plain | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
