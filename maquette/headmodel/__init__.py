"""The project's own head model: data file and loader, shared by the rooms that shape and that export heads."""

from maquette.headmodel.model import ARKIT_NAMES, HeadModel, load_head_model

__all__ = ["ARKIT_NAMES", "HeadModel", "load_head_model"]
