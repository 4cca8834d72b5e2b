"""A normalised photo, and the mask of a person in one, each as one safetensors file.

Layout ``maquette-photo/1``: a header and ``pixels`` (H, W, 3) uint8 sRGB. Layout ``maquette-mask/1``: a header,
``alpha`` (N, N) float32 and ``to_crop`` (2, 3) float64. See ``maquette.types`` for what they mean. A photo's header has
its file name: both files are as personal as the photo is, and are kept no longer.
"""

from pydantic import Field

from maquette.errors import MessageInvalid
from maquette.tensorfile import Header, Spec, pack, read_header, unpack
from maquette.types import Mask, Photo

PHOTO_FORMAT = "maquette-photo/1"
PHOTO_TYPE = "application/vnd.maquette.photo+safetensors"
MASK_FORMAT = "maquette-mask/1"
MASK_TYPE = "application/vnd.maquette.mask+safetensors"

_PHOTO = {"pixels": Spec("uint8", ("H", "W", 3))}
_MASK = {"alpha": Spec("float32", ("N", "N")), "to_crop": Spec("float64", (2, 3))}


class PhotoHeader(Header):
    """What is no array of a ``Photo``."""

    focal_px: float | None
    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def encode_photo(photo: Photo) -> bytes:
    """Photo to file; ``decode_photo`` makes the same photo of it, and that one the same bytes.

    Raises:
        MessageInvalid: An array is not of the type or shape that ``maquette.types`` promises.
    """
    focal = None if photo.focal_px is None else float(photo.focal_px)
    header = PhotoHeader(format=PHOTO_FORMAT, focal_px=focal, name=photo.name, sha256=photo.sha256)
    return pack(header, {"pixels": photo.pixels}, _PHOTO)


def decode_photo(data: bytes) -> Photo:
    """File to photo.

    Raises:
        MessageInvalid: It is no photo file, damaged, without pixels, or of another version.
    """
    header = read_header(data, PhotoHeader, PHOTO_FORMAT)
    pixels = unpack(data, PHOTO_FORMAT, _PHOTO)["pixels"]
    if pixels.size == 0:
        raise MessageInvalid(f"expected a photo with pixels, found {pixels.shape[1]} x {pixels.shape[0]}")
    return Photo(pixels, header.focal_px, header.name, header.sha256)


def encode_mask(mask: Mask) -> bytes:
    """Mask to file; ``decode_mask`` makes the same mask of it, and that one the same bytes.

    Raises:
        MessageInvalid: An array is not of the type or shape that ``maquette.types`` promises.
    """
    return pack(Header(format=MASK_FORMAT), {"alpha": mask.alpha, "to_crop": mask.to_crop}, _MASK)


def decode_mask(data: bytes) -> Mask:
    """File to mask.

    Raises:
        MessageInvalid: It is no mask file, damaged, or of another version.
    """
    read_header(data, Header, MASK_FORMAT)
    arrays = unpack(data, MASK_FORMAT, _MASK)
    return Mask(arrays["alpha"], arrays["to_crop"])
