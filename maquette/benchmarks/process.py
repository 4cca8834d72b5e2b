"""What the running process uses of its machine.

Figures that the system does not give are None: they come from Linux's ``/proc``, except the peak, which every Unix has.
"""

import contextlib
import ctypes
import gc
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"
"""What to write there so that the peak of the resident memory becomes what it is now (Linux, proc(5))."""


@dataclass(frozen=True)
class Usage:
    """What a process holds.

    Attributes:
        resident_mb: Memory in use, 10⁶ bytes.
        peak_mb: Most memory in use since the start, or since ``forget_peak``.
        descriptors: Open files.
        threads: Threads.
        cpu_seconds: Processor time so far, of all threads.
    """

    resident_mb: float | None
    peak_mb: float
    descriptors: int | None
    threads: int | None
    cpu_seconds: float


def usage() -> Usage:
    """What this process holds now."""
    status = _status()
    own = resource.getrusage(resource.RUSAGE_SELF)
    # Of a process that was started by a large one, the system's figure may be that one's, so Linux's own comes first.
    peak = status["VmHWM"] * 1.024e-3 if "VmHWM" in status else max_rss_mb(own.ru_maxrss)
    return Usage(
        resident_mb=status["VmRSS"] * 1.024e-3 if "VmRSS" in status else None,
        peak_mb=peak,
        descriptors=_descriptors(),
        threads=status.get("Threads"),
        cpu_seconds=own.ru_utime + own.ru_stime,
    )


def max_rss_mb(max_rss: int) -> float:
    """``ru_maxrss`` in 10⁶ bytes: kilobytes on Linux, bytes on macOS (getrusage(2))."""
    return max_rss * (1e-6 if sys.platform == "darwin" else 1.024e-3)


def forget_peak() -> None:
    """Let the peak begin anew, where the system can."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text(_CLEAR_PEAK, encoding="ascii")


def tidy() -> None:
    """Give back what is garbage, so that what is left is held by somebody."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        # The C library keeps freed memory for later; only glibc can be told to return it.
        ctypes.CDLL(None).malloc_trim(0)


def _status() -> dict[str, int]:
    """Figures of the process by name; memory in units of 1,024 bytes."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    out = {}
    for line in lines:
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM", "Threads"):
            out[name] = int(rest.split()[0])
    return out


def _descriptors() -> int | None:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            # The listing itself needs one.
            return sum(1 for _ in Path(folder).iterdir()) - 1
    return None
