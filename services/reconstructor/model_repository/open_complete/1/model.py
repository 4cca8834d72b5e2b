"""Whole heads."""

from services.reconstructor.backend import CompleteModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
