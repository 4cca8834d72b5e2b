"""Loader of the head model file."""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from maquette.errors import ModelFileInvalid
from maquette.types import Bool, Float32, Int32, UInt8

FORMAT = "maquette-head-model/1"
_COARSEST_STEP = 0.03  # mm: small triangles around the pupils must not turn over
DEFAULT_FILE = Path(__file__).parent / "data" / "head.npz"

ARKIT_NAMES: tuple[str, ...] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""The 52 names in the order of Apple's ARFaceAnchor.BlendShapeLocation documentation."""


@dataclass(frozen=True, eq=False)
class HeadModel:
    """A linear head model: ``vertices = mean + identity @ modes + expression @ blendshapes``.

    V vertices, Q quads, F triangles, T texture vertices, K identity modes, J joints, R regions, D directions. Lengths
    are millimetres in the head frame (see ``maquette.types``).

    Attributes:
        name: Name of the model.
        version: Version of the shapes.
        topology: Name of the mesh; equal names have equal indices.
        licence: Terms of the model, as an SPDX expression.
        sources: One line per source with its licence.
        sha256: Digest of the file it came from.
        mean: (V, 3) float32.
        quads: (Q, 4) int32; a triangle repeats its last corner.
        triangles: (F, 3) int32, the quads cut along their first diagonal.
        triangle_quad: (F,) int32, the quad each triangle came from.
        uv: (T, 2) float32 in 0..1.
        uv_triangles: (F, 3) int32 into ``uv``.
        uv_quads: (Q, 4) int32 into ``uv``.
        identity_modes: (K, V, 3) float32, one standard deviation each.
        expression_modes: (52, V, 3) float32, full activation each, in the order of ``ARKIT_NAMES``.
        component_names: Names of the parts: ``skin``, ``eye_left``, ``eye_right``, ``teeth``, ``gums``, ``tongue``,
            ``mouth``, ``eye_socket``.
        component: (V,) uint8, index into ``component_names``.
        region_names: Names of the vertex regions.
        regions: (R, V) bool.
        joint_names: ``neck``, ``head``, ``jaw``, ``eye_left``, ``eye_right``.
        joint_parents: (J,) int32, -1 for the root.
        joint_regressor: (J, V) float32, rows sum to 1: joints from neutral vertices.
        skin_weights: (V, J) float32, rows sum to 1.
        mirror: (V,) int32, the vertex on the other side.
        landmark_vertices: (478, 3) int32, corners of the triangle that carries each MediaPipe landmark.
        landmark_weights: (478, 3) float32.
        landmark_offset: (478, 3) float32, where the landmark network sees the point relative to that, calibrated.
        landmark_spread: (478,) float32 mm, how far the network's answers scatter.
        ibug68_vertices: (68, 3) int32, iBUG 68-point set (the 51 are its last 51).
        ibug68_weights: (68, 3) float32.
        now7: (7,) int32, vertices of the NoW benchmark's seven points (right eye outer and inner corner, left eye inner
            and outer corner, below the nose, right and left corner of the mouth).
        direction_names: Interpretable directions, e.g. ``age``.
        directions: (D, K) float32, identity coefficients of one unit of each.
    """

    name: str
    version: str
    topology: str
    licence: str
    sources: tuple[str, ...]
    sha256: str
    mean: Float32
    quads: Int32
    triangles: Int32
    triangle_quad: Int32
    uv: Float32
    uv_triangles: Int32
    uv_quads: Int32
    identity_modes: Float32
    expression_modes: Float32
    component_names: tuple[str, ...]
    component: UInt8
    region_names: tuple[str, ...]
    regions: Bool
    joint_names: tuple[str, ...]
    joint_parents: Int32
    joint_regressor: Float32
    skin_weights: Float32
    mirror: Int32
    landmark_vertices: Int32
    landmark_weights: Float32
    landmark_offset: Float32
    landmark_spread: Float32
    ibug68_vertices: Int32
    ibug68_weights: Float32
    now7: Int32
    direction_names: tuple[str, ...]
    directions: Float32
    expression_names: tuple[str, ...] = field(default=ARKIT_NAMES)

    def vertices(self, identity: ArrayLike | None = None, expression: ArrayLike | None = None) -> Float32:
        """(V, 3) float32 mm for identity (up to K) and expression (52) coefficients; None means zero."""
        out = self.mean
        if identity is not None:
            c = np.asarray(identity, np.float32)
            out = out + np.tensordot(c, self.identity_modes[: len(c)], 1)
        if expression is not None:
            e = np.asarray(expression, np.float32)
            on = np.flatnonzero(e)
            if len(on):
                out = out + np.tensordot(e[on], self.expression_modes[on], 1)
        return out.astype(np.float32, copy=False)

    def region(self, name: str) -> Bool:
        """(V,) bool mask of a named region; raises KeyError with the known names."""
        if name not in self.region_names:
            raise KeyError(f"no region {name!r}; there are {', '.join(self.region_names)}")
        return np.asarray(self.regions[self.region_names.index(name)], np.bool_)

    def part(self, *names: str) -> Bool:
        """(V,) bool mask of the named components."""
        return np.asarray(np.isin(self.component, [self.component_names.index(n) for n in names]), np.bool_)

    def part_triangles(self, *names: str) -> Int32:
        """(N,) int32 indices of the triangles that lie wholly in the named components."""
        return np.flatnonzero(self.part(*names)[self.triangles].all(1)).astype(np.int32)

    def landmarks(self, vertices: Float32, *, calibrated: bool = False) -> Float32:
        """(478, 3) MediaPipe landmarks of some vertices; with the network's own bias when ``calibrated``."""
        points = np.einsum("lkc,lk->lc", vertices[self.landmark_vertices], self.landmark_weights)
        return np.asarray(points + self.landmark_offset if calibrated else points, np.float32)

    def ibug68(self, vertices: Float32) -> Float32:
        """(68, 3) iBUG landmarks of some vertices."""
        return np.asarray(np.einsum("lkc,lk->lc", vertices[self.ibug68_vertices], self.ibug68_weights), np.float32)

    def joints(self, neutral: Float32) -> Float32:
        """(J, 3) joint positions of neutral vertices."""
        return np.asarray(self.joint_regressor @ neutral, np.float32)


def pack(path: Path, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write a model file (see ``unpack``); used by the training scripts.

    Args:
        path: File to write.
        meta: JSON-serialisable header.
        arrays: float32 ``(K, ...)`` arrays in mm whose name ends in ``_modes`` are stored as int8 with a scale per
            mode, or as int16 where int8 steps would be over 0.03 mm; bool arrays as bits; the rest as they are.
    """
    out: dict[str, np.ndarray] = {}
    for key, value in arrays.items():
        if key.endswith("_modes"):
            peak = np.maximum(np.abs(value).reshape(len(value), -1).max(1), 1e-9)
            wide = peak / 127 > _COARSEST_STEP
            scale = (peak / np.where(wide, 32767, 127)).astype(np.float32)
            steps = np.rint(value / scale.reshape(-1, *[1] * (value.ndim - 1)))
            out[key] = steps[~wide].astype(np.int8)
            out[key + "_wide"] = steps[wide].astype(np.int16)
            out[key + "_scale"] = scale
            out[key + "_is_wide"] = wide.astype(np.uint8)
        elif value.dtype == bool:
            out[key + "_bits"] = np.packbits(value, axis=-1)
        else:
            out[key] = value
    out["meta"] = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
    # Fixed time stamps: the same arrays make the same file.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key in sorted(out):
            info = zipfile.ZipInfo(key + ".npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as f:
                np.lib.format.write_array(f, np.ascontiguousarray(out[key]), allow_pickle=False)


def unpack(path: Path, expected_format: str) -> tuple[dict[str, Any], dict[str, np.ndarray], str]:
    """Read a file that ``pack`` wrote.

    Returns:
        Header, arrays (modes as float32, bits as uint8 still packed under ``*_bits``), sha256 of the file.

    Raises:
        ModelFileInvalid: The file is missing, damaged or of another format.
    """
    try:
        data = path.read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as z:
            raw = {k: z[k] for k in z.files}
        meta = json.loads(raw.pop("meta").tobytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile) as e:
        raise ModelFileInvalid(f"{path}: not a readable model file ({e})") from e
    if not isinstance(meta, dict) or meta.get("format") != expected_format:
        found = meta.get("format") if isinstance(meta, dict) else None
        raise ModelFileInvalid(f"{path}: expected format {expected_format}, found {found}")
    for key in [k for k in raw if k.endswith("_modes")]:
        scale, wide = raw.pop(key + "_scale"), raw.pop(key + "_is_wide").astype(bool)
        modes = np.empty((len(scale), *raw[key].shape[1:]), np.float32)
        modes[~wide], modes[wide] = raw[key], raw.pop(key + "_wide")
        raw[key] = modes * scale.reshape(-1, *[1] * (modes.ndim - 1))
    return meta, raw, hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=4)
def load_head_model(path: Path = DEFAULT_FILE) -> HeadModel:
    """Load a head model file; the shipped one by default.

    Raises:
        ModelFileInvalid: The file is missing, damaged, of another format, or its arrays do not fit together.
    """
    meta, a, digest = unpack(path, FORMAT)
    try:
        quads = a["quads"].astype(np.int32)
        uv_quads = a["uv_quads"].astype(np.int32)
        corners = np.array([[0, 1, 2], [0, 2, 3]])
        triangles = quads[:, corners].reshape(-1, 3)
        uv_triangles = uv_quads[:, corners].reshape(-1, 3)
        real = (triangles[:, 1] != triangles[:, 2]) & (triangles[:, 0] != triangles[:, 2])
        n = len(a["mean"])
        model = HeadModel(
            name=meta["name"],
            version=meta["version"],
            topology=meta["topology"],
            licence=meta["licence"],
            sources=tuple(meta["sources"]),
            sha256=digest,
            mean=a["mean"].astype(np.float32),
            quads=quads,
            triangles=triangles[real],
            triangle_quad=np.repeat(np.arange(len(quads), dtype=np.int32), 2)[real],
            uv=a["uv"].astype(np.float32),
            uv_triangles=uv_triangles[real],
            uv_quads=uv_quads,
            identity_modes=a["identity_modes"],
            expression_modes=a["expression_modes"],
            component_names=tuple(meta["component_names"]),
            component=a["component"],
            region_names=tuple(meta["region_names"]),
            regions=np.unpackbits(a["regions_bits"], axis=-1, count=n).astype(bool),
            joint_names=tuple(meta["joint_names"]),
            joint_parents=a["joint_parents"].astype(np.int32),
            joint_regressor=a["joint_regressor"].astype(np.float32),
            skin_weights=a["skin_weights"].astype(np.float32),
            mirror=a["mirror"].astype(np.int32),
            landmark_vertices=a["landmark_vertices"].astype(np.int32),
            landmark_weights=a["landmark_weights"].astype(np.float32),
            landmark_offset=a["landmark_offset"].astype(np.float32),
            landmark_spread=a["landmark_spread"].astype(np.float32),
            ibug68_vertices=a["ibug68_vertices"].astype(np.int32),
            ibug68_weights=a["ibug68_weights"].astype(np.float32),
            now7=a["now7"].astype(np.int32),
            direction_names=tuple(meta["direction_names"]),
            directions=a["directions"].astype(np.float32),
        )
    except (KeyError, IndexError, ValueError) as e:
        raise ModelFileInvalid(f"{path}: {e}") from e
    expected = {
        "identity_modes": (len(model.identity_modes), n, 3),
        "expression_modes": (len(ARKIT_NAMES), n, 3),
        "component": (n,),
        "skin_weights": (n, len(model.joint_names)),
        "mirror": (n,),
        "landmark_vertices": (478, 3),
        "now7": (7,),
    }
    for key, shape in expected.items():
        if (found := getattr(model, key).shape) != shape:
            raise ModelFileInvalid(f"{path}: {key} has shape {found}, expected {shape}")
    return model
