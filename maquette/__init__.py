"""One photo of a face in, one textured 3D head out.

from maquette import reconstruct

result = reconstruct("portrait.jpg")
result.save("head")
"""

from maquette.api import detect, reconstruct, reconstruct_each
from maquette.errors import (
    DependencyMissing,
    DownloadFailed,
    FaceNotFound,
    FaceUnusable,
    InputError,
    MaquetteError,
    MeshInvalid,
    ModelFileInvalid,
    NetworkFilesMissing,
    NoFaceFound,
    OptionInvalid,
    OutputError,
    PeopleMixed,
    PhotoError,
    PhotoTooLarge,
    PhotoUnreadable,
    SetupError,
)
from maquette.events import Event, HeadReady, ProductReady, Stage, StageFinished, StageStarted
from maquette.provenance import version
from maquette.result import Result
from maquette.rooms import Product, ReconstructOptions
from maquette.settings import Settings
from maquette.types import Caution, Face, Head, Photo, Quality, Verdict

__all__ = [
    "Caution",
    "DependencyMissing",
    "DownloadFailed",
    "Event",
    "Face",
    "FaceNotFound",
    "FaceUnusable",
    "Head",
    "HeadReady",
    "InputError",
    "MaquetteError",
    "MeshInvalid",
    "ModelFileInvalid",
    "NetworkFilesMissing",
    "NoFaceFound",
    "OptionInvalid",
    "OutputError",
    "PeopleMixed",
    "Photo",
    "PhotoError",
    "PhotoTooLarge",
    "PhotoUnreadable",
    "Product",
    "ProductReady",
    "Quality",
    "ReconstructOptions",
    "Result",
    "Settings",
    "SetupError",
    "Stage",
    "StageFinished",
    "StageStarted",
    "Verdict",
    "detect",
    "reconstruct",
    "reconstruct_each",
    "version",
]
