"""Arrays handed to Triton's Python backend by DLPack, which it reads right whatever NumPy is installed.

The backend's own conversions take NumPy's structures apart as NumPy 1 laid them out, and give wrong numbers beside
NumPy 2. Its DLPack import takes a capsule over by renaming it to a name that NumPy's capsules do not expect in their
destructor, which then complains. So it is given a capsule without one.

DLPack: https://dmlc.github.io/dlpack/latest/python_spec.html
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Interned for good: a capsule keeps the pointer to its name.
_FRESH = ctypes.c_char_p(b"dltensor")
_USED = ctypes.c_char_p(b"used_dltensor")

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.restype = ctypes.c_int
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]
_make = ctypes.pythonapi.PyCapsule_New
_make.restype = ctypes.py_object
_make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Lent:
    """An array whose memory a consumer of DLPack may hold; it stays until the consumer gives it back."""

    def __init__(self, array: NDArray[Any]) -> None:
        """Make the array fit to be handed over: contiguous and, as DLPack wants it, writable.

        Args:
            array: Any shape without a zero in it; copied if need be.
        """
        self._array = np.require(array, requirements=["C", "W"])

    def __dlpack__(self, **_wishes: object) -> object:
        """A capsule without destructor; whoever takes it must call the deleter of what it points to."""
        capsule = self._array.__dlpack__()
        pointer = _pointer_of(capsule, _FRESH)
        # NumPy's own capsule counts as taken from here on.
        _rename(capsule, _USED)
        return _make(pointer, _FRESH, None)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Type and number of the device: the CPU's memory."""
        return self._array.__dlpack_device__()
