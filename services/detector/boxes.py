"""Finding faces: boxes with eye, nose, mouth and ear points, from the detection networks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from maquette.types import Float64, UInt8
from services.detector.network import Network, sigmoid, signed_range
from services.detector.region import Pyramid, Region

MIN_SCORE = 0.4
"""Boxes below this score are not looked at; what passes is tried further before it counts as a face."""

OVERLAP = 0.3
"""Boxes whose intersection over union is above this are one face."""

MIN_FACE = 40
"""Faces down to this width in pixels are looked for; smaller ones say too little to make a head of."""

MAX_TILED_AREA = 1_500_000
MAX_TILED_SIDE = 4_000
"""Pixels of the photo as the tiles show it; of photos beyond 12 megapixels the smallest faces are not looked for."""

SEEN_FACE = 18
"""Width in pixels of the network's picture from which the full-range network finds faces reliably."""

SURROUNDINGS = 1.25
"""Side of the square in which a face is looked at again, by the side of its region."""

CONVINCING = 0.85
"""Score from which a face that is looked at again counts as upright (lying or upside down they stay below 0.8)."""

STEP = 128
"""Distance of the tiles: faces up to 64 of a tile's 192 pixels lie whole in one."""


@dataclass(frozen=True)
class Box:
    """A face that a detection network saw.

    Attributes:
        corners: (4,) float64: left, top, right, bottom, photo pixels.
        points: (6, 2) float64, photo pixels: right eye, left eye, nose, mouth, right ear, left ear (the subject's).
        score: 0 to 1.
    """

    corners: Float64
    points: Float64
    score: float

    @property
    def width(self) -> float:
        """Larger side."""
        return float(max(self.corners[2] - self.corners[0], self.corners[3] - self.corners[1]))

    def region(self) -> Region:
        """Square around the face, eyes level, as the mesh network wants it: 1.5 times the box."""
        right, left = self.points[:2]
        angle = math.atan2(left[1] - right[1], left[0] - right[0])
        x, y = (self.corners[:2] + self.corners[2:]) / 2
        return Region(float(x), float(y), 1.5 * self.width, angle)


class BoxNetwork:
    """A single-shot detection network (BlazeFace, Bazarevsky et al. 2019, arXiv:1907.05047).

    Attributes:
        side: Width of the picture it takes.
    """

    def __init__(self, network: Network, layers: tuple[tuple[int, int], ...]) -> None:
        """Wrap the network.

        Args:
            network: Takes -1..1 pixels, answers (N, 16) boxes and points relative to anchors, and (N, 1) logits.
            layers: Per layer the stride in pixels and the anchors per cell.
        """
        self._network = network
        self.side = network.side
        self._anchors = np.concatenate([_anchors(network.side, *layer) for layer in layers])

    def __call__(self, picture: UInt8) -> tuple[Float64, Float64]:
        """Boxes in a picture of (side, side, 3) uint8.

        Returns:
            (N, 8, 2) float64 in the picture's pixels: two corners, six points; (N,) float64 scores.
        """
        outputs = self._network(signed_range(picture))
        values, logits = outputs if outputs[0].shape[-1] == 16 else outputs[::-1]
        scores = sigmoid(logits[:, 0])
        kept = scores > MIN_SCORE
        relative = values[kept].astype(np.float64).reshape(-1, 8, 2)
        anchors = self._anchors[kept][:, None]
        centre, half = relative[:, :1] + anchors, relative[:, 1:2] / 2
        shapes = np.concatenate([centre - half, centre + half, relative[:, 2:] + anchors], axis=1)
        return shapes, scores[kept].astype(np.float64)


def full_range(network: Network) -> BoxNetwork:
    """Wrap ``face_detection_full_range_sparse``: 192 pixels, one anchor in each cell of 4."""
    return BoxNetwork(network, ((4, 1),))


def short_range(network: Network) -> BoxNetwork:
    """Wrap ``face_detection_short_range``: 128 pixels, two anchors in each cell of 8 and six in each of 16."""
    return BoxNetwork(network, ((8, 2), (16, 6)))


def whole(network: BoxNetwork, photo: Pyramid, turns: int = 0) -> list[Box]:
    """Look at the whole photo at once.

    Args:
        network: Which network.
        photo: The photo.
        turns: Quarter turns counter-clockwise that the photo is given before it is looked at.
    """
    small, scale = photo.shrunk(network.side / max(photo.width, photo.height))
    height, width = small.shape[:2]
    left, top = (network.side - width) // 2, (network.side - height) // 2
    picture = np.zeros((network.side, network.side, 3), np.uint8)
    picture[top : top + height, left : left + width] = small
    shapes, scores = network(np.ascontiguousarray(np.rot90(picture, turns)))
    shapes = _turned_back(shapes, turns, network.side)
    return merged((shapes - [left, top]) / scale, scores)


def tiled(network: BoxNetwork, photo: Pyramid, smallest: float, turns: int = 0) -> list[Box]:
    """Look at the photo through overlapping tiles, for faces too small to be seen in the whole photo.

    Args:
        network: Which network.
        photo: The photo.
        smallest: Width in pixels down to which faces are looked for.
        turns: Quarter turns counter-clockwise that each tile is given before it is looked at.
    """
    found = [(np.zeros((0, 8, 2)), np.zeros(0))]
    for wanted in _scales(photo, network.side, smallest):
        small, scale = photo.shrunk(wanted)
        for left, top in _tiles(small.shape[1], small.shape[0], network.side):
            tile = small[top : top + network.side, left : left + network.side]
            picture = np.zeros((network.side, network.side, 3), np.uint8)
            picture[: tile.shape[0], : tile.shape[1]] = tile
            shapes, scores = network(np.ascontiguousarray(np.rot90(picture, turns)))
            corner = np.array([left, top])
            found.append(((_turned_back(shapes, turns, network.side) + corner) / scale, scores))
    return merged(np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]))


def upright(network: BoxNetwork, photo: Pyramid, box: Box, *, any_way: bool = True) -> tuple[Region, float]:
    """Find out which way up a face is, whatever the box's own points say.

    The networks see faces lying or upside down too, but they are surer of upright ones and give the others' points
    wrongly. So the surroundings are looked at again, turned upright; if that does not convince, turned every other way.

    Args:
        network: The short-range network.
        photo: The photo.
        box: The face.
        any_way: Whether to try other ways than the box's own.

    Returns:
        The face's region, eyes level, and the network's score of it there; the score is 0 when it sees none.
    """
    region = box.region()
    first = _look(network, photo, region)
    if not any_way or first[1] >= CONVINCING:
        return first
    turned = [replace(region, angle=region.angle + quarter * math.pi / 2) for quarter in (1, 2, 3)]
    looks = sorted([first, *(_look(network, photo, r) for r in turned)], key=lambda look: -look[1])
    # Lying obliquely, a face shows in two of the four; level, it shows best.
    return max(looks[0], *(_look(network, photo, look[0]) for look in looks[:2]), key=lambda look: look[1])


def _look(network: BoxNetwork, photo: Pyramid, region: Region) -> tuple[Region, float]:
    """Look for the face in a region and its surroundings."""
    around = Region(region.x, region.y, SURROUNDINGS * region.size, region.angle)
    boxes = merged(*network(around.sample(photo, network.side)))
    middle = np.array([network.side / 2, network.side / 2])
    central = [b for b in boxes if np.abs((b.corners[:2] + b.corners[2:]) / 2 - middle).max() < network.side / 4]
    if not central:
        return region, 0.0
    to_photo = around.to_photo(network.side)
    found = central[0]
    seen = found.region()
    x, y = to_photo @ [seen.x, seen.y, 1]
    scale = around.size / network.side
    # A face is upright where its own eyes are level, not merely where it is seen.
    level = max(0.0, math.cos(seen.angle))
    return Region(float(x), float(y), seen.size * scale, around.angle + seen.angle), found.score * level


def merged(shapes: Float64, scores: Float64) -> list[Box]:
    """Merge boxes of one face by weighted non-maximum suppression (BlazeFace, section 3.4).

    Args:
        shapes: (N, 8, 2) float64: two corners, six points.
        scores: (N,) float64.

    Returns:
        One box a face, best first: the mean of the overlapping ones, weighted by score, with the best one's score.
    """
    order = np.argsort(-scores, kind="stable")
    shapes, scores = shapes[order], scores[order]
    boxes = []
    while len(scores):
        same = overlaps(shapes[0, :2].ravel(), shapes[:, :2].reshape(-1, 4)) > OVERLAP
        same[0] = True
        weights = scores[same] / scores[same].sum()
        shape = np.einsum("n,nkd->kd", weights, shapes[same])
        boxes.append(Box(shape[:2].ravel(), shape[2:], float(scores[0])))
        shapes, scores = shapes[~same], scores[~same]
    return boxes


def overlaps(box: Float64, others: Float64) -> Float64:
    """Intersection over union of a (4,) box and (N, 4) others; (N,) float64."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(np.clip(others[:, 2:] - others[:, :2], 0, None), axis=1)
    area = float(np.prod(np.clip(box[2:] - box[:2], 0, None)))
    return np.asarray(common / np.maximum(areas + area - common, 1e-9), np.float64)


def _anchors(side: int, stride: int, each: int) -> Float64:
    """(cells² · each, 2) centres of a layer's cells in the picture's pixels."""
    centres = (np.arange(side // stride) + 0.5) * stride
    x, y = np.meshgrid(centres, centres)
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), each, axis=0)


def _scales(photo: Pyramid, side: int, smallest: float) -> Iterator[float]:
    """Scales of the tile levels, each at most three times the one before, to where the smallest face is seen."""
    longest = max(photo.width, photo.height)
    scale = side / longest
    last = min(SEEN_FACE / smallest, math.sqrt(MAX_TILED_AREA / (photo.width * photo.height)), MAX_TILED_SIDE / longest)
    # A level that shows little more than the whole photo did is not worth its tiles.
    levels = math.ceil(math.log(last / scale) / math.log(3) - 1e-9) if last > 1.25 * scale else 0
    for level in range(1, levels + 1):
        yield scale * (last / scale) ** (level / levels)


def _tiles(width: int, height: int, side: int) -> Iterator[tuple[int, int]]:
    """Left and top of tiles that cover a picture evenly with at least the wanted overlap."""
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield left, top


def _starts(length: int, side: int) -> list[int]:
    count = max(1, math.ceil((length - side) / STEP) + 1)
    return [round(k * max(0, length - side) / max(1, count - 1)) for k in range(count)]


def _turned_back(shapes: Float64, turns: int, side: int) -> Float64:
    """Carry points found in a turned picture back to the picture as it was; corners stay left top, right bottom."""
    points = shapes.copy()
    for _ in range(turns % 4):
        points = np.stack([side - points[..., 1], points[..., 0]], axis=-1)
    corners = points[:, :2]
    return np.concatenate([corners.min(1, keepdims=True), corners.max(1, keepdims=True), points[:, 2:]], axis=1)
