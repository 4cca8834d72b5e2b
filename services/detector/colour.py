"""Turning any picture's pixels into 8-bit sRGB."""

import io

import numpy as np
from PIL import Image, ImageCms

from maquette.types import UInt8

NEUTRAL = 128
"""Grey that shows through where a picture is transparent."""

_STRIP_PIXELS = 4_000_000
"""Pixels converted at a time, so that a large photo is not held several times over."""

_MAX_PROFILE = 8_000_000
"""Bytes of a colour profile beyond which it is ignored."""

_SHORT = 65535
_WIDE_MODES = {"I;16", "I;16B", "I;16L", "I;16N", "I", "F"}


def to_srgb(image: Image.Image) -> UInt8:
    """Convert a decoded picture.

    Colour profiles are followed (a damaged one is ignored), transparency is laid over grey, wider values are scaled to
    8 bits.

    Args:
        image: A decoded picture of any mode.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    scale = _wide_scale(image) if image.mode in _WIDE_MODES else 0.0
    profile = _profile(image)
    rows = max(1, _STRIP_PIXELS // width)
    transforms: dict[str, ImageCms.ImageCmsTransform | None] = {}
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows)))
        # A crop keeps the palette but drops the colour that stands for transparent.
        if "transparency" in image.info:
            strip.info["transparency"] = image.info["transparency"]
        pixels[top : top + rows] = _convert(strip, scale, profile, transforms)
    return pixels


def _convert(
    strip: Image.Image,
    scale: float,
    profile: ImageCms.ImageCmsProfile | None,
    transforms: dict[str, ImageCms.ImageCmsTransform | None],
) -> UInt8:
    if strip.mode in _WIDE_MODES:
        values = np.nan_to_num(np.asarray(strip, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        strip = Image.fromarray(np.clip(values * scale + 0.5, 0, 255).astype(np.uint8))
    strip = _plain(strip)
    alpha = None
    if strip.mode in ("LA", "RGBA"):
        alpha = np.asarray(strip.getchannel("A"))
        strip = strip.convert(strip.mode[:-1])
    if profile is not None:
        if strip.mode not in transforms:
            transforms[strip.mode] = _transform(profile, strip.mode)
        transform = transforms[strip.mode]
        if transform is not None:
            strip = transform.apply(strip)
    colours = np.asarray(strip.convert("RGB"))
    if alpha is None or alpha.min() == 255:
        return colours
    weight = alpha[..., None].astype(np.uint16)
    mixed = (colours * weight + NEUTRAL * (255 - weight) + 127) // 255
    return np.asarray(mixed, np.uint8)


def _plain(strip: Image.Image) -> Image.Image:
    """The same picture in one of the modes L, LA, RGB, RGBA, CMYK."""
    if strip.mode in ("L", "RGB") and "transparency" in strip.info:
        return strip.convert(strip.mode + "A")
    if strip.mode in ("P", "PA"):
        return strip.convert("RGBA" if strip.mode == "PA" or "transparency" in strip.info else "RGB")
    if strip.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return strip
    return strip.convert({"1": "L", "La": "LA", "RGBa": "RGBA"}.get(strip.mode, "RGB"))


def _wide_scale(image: Image.Image) -> float:
    """What to multiply wide values by: 16 bits have a fixed range, of others the largest value tells which it is."""
    if image.mode.startswith("I;16"):
        return 255 / _SHORT
    low, high = image.getextrema()
    largest = float(high) if isinstance(high, (int, float)) and np.isfinite(high) else _largest(image)
    del low
    ranges = (1.0, 255.0, float(_SHORT)) if image.mode == "F" else (255.0, float(_SHORT))
    return 255 / next((r for r in ranges if largest <= r), largest)


def _largest(image: Image.Image) -> float:
    values = np.asarray(image, np.float32)
    finite = values[np.isfinite(values)]
    return float(finite.max()) if len(finite) else 1.0


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    data = image.info.get("icc_profile")
    if not isinstance(data, bytes) or not 128 <= len(data) <= _MAX_PROFILE:
        return None
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(data))
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Transform to sRGB, or None when the profile does not fit the picture."""
    try:
        return ImageCms.ImageCmsTransform(
            profile, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), mode, "RGB",
            intent=ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None
