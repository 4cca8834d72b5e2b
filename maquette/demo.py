"""The sample photo: a portrait that NASA placed in the public domain, inside the scikit-image package."""

import hashlib
import importlib.util
from pathlib import Path

from maquette.errors import DependencyMissing

SAMPLE_NAME = "astronaut.png"
SAMPLE_SHA256 = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"


def sample_photo() -> Path:
    """File of the sample photo.

    Raises:
        DependencyMissing: scikit-image is not installed, or its sample is absent or another picture.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DependencyMissing("the sample photo is part of scikit-image, which is not installed")
    path = Path(spec.origin).parent / "data" / SAMPLE_NAME
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DependencyMissing(f"expected the sample photo at {path}: {error.strerror or error}") from error
    if found != SAMPLE_SHA256:
        raise DependencyMissing(f"expected {path} to have sha256 {SAMPLE_SHA256}, found {found}")
    return path
