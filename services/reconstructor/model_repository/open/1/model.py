"""Coarse heads."""

from services.reconstructor.backend import CoarseModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
