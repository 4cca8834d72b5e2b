"""Different photos of one face, made of the sample on the spot: mirrored, and cut to other frames."""

import itertools
from pathlib import Path

from PIL import Image

from maquette.demo import sample_photo

MOST = 12

_SIDE = 448
_CORNERS = ((0, 0), (32, 0), (16, 24), (64, 0), (48, 32), (0, 16))
"""Left and upper edge of the frame; all of them hold the whole head."""


def write_photos(folder: Path, count: int) -> list[Path]:
    """Write photos of which no two have the same pixels.

    Args:
        folder: Where to.
        count: How many, at most ``MOST``.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"expected 1 to {MOST} photos, found {count}")
    with Image.open(sample_photo()) as opened:
        sample = opened.convert("RGB")
    paths = []
    for number, ((left, top), mirrored) in enumerate(itertools.product(_CORNERS, (False, True))):
        if number == count:
            break
        frame = sample.crop((left, top, left + _SIDE, top + _SIDE))
        shown = frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else frame
        path = folder / f"portrait-{number}.png"
        shown.save(path)
        paths.append(path)
    return paths
