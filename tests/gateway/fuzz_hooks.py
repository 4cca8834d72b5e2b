"""What schemathesis cannot make up: pictures."""

import io

import schemathesis
from hypothesis import strategies
from PIL import Image


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (24, 16), (190, 140, 120)).save(file, kind)
    return file.getvalue()


PICTURES = strategies.sampled_from([picture(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")])

for media_type in ("image/*", "image/jpeg", "image/png"):
    schemathesis.openapi.media_type(media_type, PICTURES | strategies.binary(max_size=64))
