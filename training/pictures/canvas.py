"""What painting a head needs to know about the head model: soft masks, occlusion, the irises."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from maquette.geometry.raster import Scene
from maquette.geometry.surface import edges, vertex_normals
from maquette.headmodel import HeadModel
from maquette.types import Bool, Float32

_RAYS = 64
_REACH = 70.0
"""Farther surfaces, mm, do not darken a point's surroundings: they are lit themselves."""


@dataclass(frozen=True)
class Canvas:
    """Facts about the head model's mean head, the same for all pictures.

    Attributes:
        rest: (V, 3) float32 mm, the mean head.
        normals: (V, 3) float32 unit normals of the mean head.
        occlusion: (V,) float32, how much of its hemisphere each vertex sees, 0 to 1.
        masks: Soft masks (V,) float32 by name: ``brows``, ``lips``, ``scalp``, ``beard``, ``moustache``, ``cheeks``,
            ``nose``, ``ears``, ``lids``, ``forehead``, ``oily``.
        iris: (V,) float32, angle in radians from the iris's centre as seen from the eyeball's; 0 off the eyes.
        iris_edge: Angle of the iris's rim.
    """

    rest: Float32
    normals: Float32
    occlusion: Float32
    masks: dict[str, Float32]
    iris: Float32
    iris_edge: float


def make_canvas(model: HeadModel) -> Canvas:
    """Look at the head model once."""
    rest = model.mean
    normals = np.asarray(vertex_normals(rest, model.triangles), np.float32)
    blur = _Blur(model)
    x, y, z = rest.T
    lips = model.region("lip_upper") | model.region("lip_lower")
    mouth = rest[lips].mean(0)
    nose = rest[model.region("nose")]
    skin = model.region("skin")
    # A beard's upper edge runs from the lobe of the ear down to the corner of the mouth.
    edge = mouth[1] + 2 + np.clip((np.abs(x) - 22) / 40, 0, 1) ** 1.5 * 28
    chin = model.landmarks(rest)[152]
    neck = chin[1] - 8 + 0.35 * np.clip(chin[2] - 12 - z, 0, 80)
    whiskers = skin & (y < edge) & (y > neck) & (z > 2)
    sideburns = skin & (np.abs(x) > 60) & (z > 4) & (z < 42) & (y < 25) & (y > mouth[1])
    bow = nose[:, 1].min() + 1 - 9 * np.clip((np.abs(x) - 8) / 20, 0, 1) ** 2
    moustache = model.region("face") & (np.abs(x) < 30) & (y < bow) & (y > mouth[1] - 8)
    ears = model.region("ear_left") | model.region("ear_right")
    forehead = model.region("forehead")
    masks = {
        "brows": blur(model.region("brow_left") | model.region("brow_right"), 1),
        "lips": blur(lips, 1),
        "scalp": blur(model.region("scalp") & ~ears, 3),
        "beard": blur((whiskers | sideburns) & ~lips & ~ears, 4),
        "moustache": blur(moustache & ~lips, 2),
        "cheeks": blur(model.region("cheek_left") | model.region("cheek_right"), 12),
        "nose": blur(model.region("nose"), 5),
        "ears": blur(ears, 3),
        "lids": blur(model.region("eyelids_left") | model.region("eyelids_right"), 2),
        "forehead": blur(forehead, 6),
        "oily": blur(model.region("nose") | forehead | model.region("chin"), 10),
    }
    iris = np.zeros(len(rest), np.float32)
    edge = []
    joints = model.joints(rest)
    for side, first in (("right", 468), ("left", 473)):
        ball = model.part(f"eye_{side}")
        centre = joints[model.joint_names.index(f"eye_{side}")]
        rays = rest[ball] - centre
        marks = model.landmarks(rest)[first : first + 5] - centre
        iris[ball] = _angle(rays, marks[0])
        edge.append(_angle(marks[1:], marks[0]).mean())
    return Canvas(rest, normals, _occlusion(rest, normals, model), masks, iris, float(np.mean(edge)))


def _angle(vectors: Float32, axis: Float32) -> Float32:
    cosine = vectors @ axis / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(axis))
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)), np.float32)


class _Blur:
    """Averaging over the mesh's edges."""

    def __init__(self, model: HeadModel) -> None:
        e = edges(model.triangles)
        n = len(model.mean)
        one = np.ones(len(e), np.float32)
        links = sparse.coo_matrix((one, (e[:, 0], e[:, 1])), shape=(n, n))
        links = links + links.T + sparse.eye(n, dtype=np.float32)
        self._step = sparse.diags(1 / np.asarray(links.sum(1)).ravel()) @ links

    def __call__(self, mask: Bool, rounds: int) -> Float32:
        value = mask.astype(np.float32)
        for _ in range(rounds):
            value = self._step @ value
        return np.asarray(value, np.float32)


def _occlusion(rest: Float32, normals: Float32, model: HeadModel) -> Float32:
    """(V,) float32: cosine-weighted part of each hemisphere that is open for ``_REACH``."""
    golden = (1 + 5**0.5) / 2
    k = np.arange(_RAYS) + 0.5
    radius, turn = np.sqrt(k / _RAYS), 2 * np.pi * k / golden
    local = np.stack([radius * np.cos(turn), radius * np.sin(turn), np.sqrt(1 - radius**2)], 1)
    helper = np.where(np.abs(normals[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]])
    tangent = np.cross(normals, helper)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    frames = np.stack([tangent, np.cross(normals, tangent), normals], 1)
    scene = Scene(rest, model.triangles)
    open_part = np.zeros(len(rest), np.float32)
    origins = (rest + 0.3 * normals).astype(np.float32)
    for ray in local:
        directions = np.asarray(np.einsum("k,vkc->vc", ray, frames), np.float32)
        open_part += np.minimum(scene.cast(origins, directions).distance / _REACH, 1)
    return np.asarray(open_part / _RAYS, np.float32)
