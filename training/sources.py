"""Readers of the openly licensed shape libraries, in millimetres and the head frame."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# Vertex ranges of ICT-FaceKit's parts, from its documentation.
_ICT_PARTS = {
    "skin": (0, 11248),
    "mouth": (11248, 13294),
    "eye_socket": (13294, 14062),
    "gums": (14062, 17039),
    "teeth": (17039, 21451),
    "eye_left": (21451, 23021),
    "eye_right": (23021, 24591),
}


@dataclass(frozen=True)
class ShapeLibrary:
    """A linear shape library.

    Attributes:
        vertices: (V, 3) mm, mean head, mirror-symmetric where the source is.
        triangles: (F, 3).
        identity: (K, V, 3) mm.
        expressions: Name to (V, 3) mm.
        part: (V,) names of the parts.
        mirror: (V,) the vertex on the other side.
    """

    vertices: Array
    triangles: Index
    identity: NDArray[np.float32]
    expressions: dict[str, NDArray[np.float32]]
    part: NDArray[np.str_]
    mirror: Index


def load_ict(heads: Path) -> ShapeLibrary:
    """ICT-FaceKit light (MIT): 100 identity modes of one standard deviation, 57 expressions.

    The skin, the mouth and the sockets are welded by position, and the mean is made symmetric (it is so to 0.3 mm).
    """
    with np.load(heads / "ict_facekit_light.npz") as z:
        vertices = z["vertices"].astype(np.float64) * 10
        identity = z["identity"].astype(np.float32) * 10
        expression = z["expression"].astype(np.float32) * 10
        names = [str(n) for n in z["expression_names"]]
        triangles = z["triangles"].astype(np.int64)
    part = np.full(len(vertices), "unused", dtype="<U12")
    for name, (a, b) in _ICT_PARTS.items():
        part[a:b] = name
    _, first, weld = np.unique(
        np.round(vertices * 1e3).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    outer = np.isin(part, ["skin", "mouth", "eye_socket"])
    to = np.where(outer & outer[first[weld.ravel()]], first[weld.ravel()], np.arange(len(vertices)))
    triangles = to[triangles]
    triangles = triangles[(part[triangles] != "unused").all(1)]
    mirror = np.arange(len(vertices))
    for name in {str(p) for p in part}:
        members = np.flatnonzero(part == name)
        other = np.flatnonzero(part == {"eye_left": "eye_right", "eye_right": "eye_left"}.get(name, name))
        mirror[members] = other[cKDTree(vertices[other]).query(vertices[members] * [-1, 1, 1])[1]]
    paired = mirror[mirror] == np.arange(len(vertices))
    flipped = vertices[mirror] * [-1, 1, 1]
    vertices[paired] = (vertices[paired] + flipped[paired]) / 2
    return ShapeLibrary(vertices, triangles, identity, dict(zip(names, expression, strict=True)), part, mirror)


def load_gnm(heads: Path) -> ShapeLibrary:
    """Google GNM Head v3, reduced (Apache-2.0): 24 identity directions of one standard deviation."""
    with np.load(heads / "gnm_head_v3_partial.npz") as z:
        vertices = z["template_vertex_positions"].astype(np.float64) * 1000
        identity = z["identity_modes"].astype(np.float32) * 1000
        triangles = z["triangles"].astype(np.int64)
        part = z["component_names"][z["component_ids"]]
    mirror = cKDTree(vertices).query(vertices * [-1, 1, 1])[1]
    return ShapeLibrary(vertices, triangles, identity, {}, part, mirror)


def load_gnm_expressions(heads: Path) -> NDArray[np.float32]:
    """GNM's 383 expression modes: (383, V, 3) mm."""
    with np.load(heads / "gnm_head_v3_expression_int8.npz") as z:
        return np.asarray(z["quantised"].astype(np.float32) * z["scales"][:, None, :] * 1000, np.float32)


@dataclass(frozen=True)
class MakeHuman:
    """The MakeHuman base body (CC0), head part.

    Attributes:
        vertices: (19158, 3) mm, mean of its macro shapes.
        quads: (Q, 4).
        uv: (T, 2).
        uv_quads: (Q, 4).
        targets: Name to (19158, 3) mm, artist-made.
    """

    vertices: Array
    quads: Index
    uv: Array
    uv_quads: Index
    targets: dict[str, NDArray[np.float32]]


def load_makehuman(heads: Path) -> MakeHuman:
    """Read the MakeHuman base body and its head targets."""
    with np.load(heads / "makehuman_head_targets.npz") as z:
        targets = dict(zip((str(n) for n in z["target_names"]), z["targets"].astype(np.float32) * 100, strict=True))
        return MakeHuman(
            z["mean"].astype(np.float64) * 100,
            z["quads"].astype(np.int64),
            z["uv"].astype(np.float64),
            z["uv_quads"].astype(np.int64),
            targets,
        )
