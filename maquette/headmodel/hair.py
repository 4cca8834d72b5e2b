"""Loader of the hair file: hair, brows and lashes that sit on any head of the model."""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from maquette.errors import ModelFileInvalid, OptionInvalid
from maquette.geometry.surface import unit, vertex_normals
from maquette.headmodel.model import HeadModel, unpack
from maquette.types import Float32, Float64, Int32, UInt8

FORMAT = "maquette-hair/1"
DEFAULT_FILE = Path(__file__).parent / "data" / "hair.npz"

MEAN_LUMINANCE = 0.45
"""What the luminance maps are on average; the tint stands for that value."""

SHADES = (0.61, 0.82, 1.0, 1.22, 1.64)
"""Luminances relative to the mean at five places between the darkest and the lightest strands of a picture: 5, 25, 50,
75 and 95 % of it are darker (its logarithm has a standard deviation of 0.3)."""


@dataclass(frozen=True, eq=False)
class HairStyle:
    """A mesh that follows the head model's skin.

    H vertices, T triangles, A anchors a vertex.

    Attributes:
        name: E.g. ``short01``.
        kind: ``hair``, ``brows`` or ``lashes``.
        cut: What a hair style counts as: ``short``, ``bob``, ``long`` or ``tied``; empty for brows and lashes.
        triangles: (T, 3) int32; strands are single sheets, to be drawn from both sides.
        uv: (H, 2) float32 in 0..1, v = 1 is row 0 of the picture.
        anchors: (H, A) int32 model vertices.
        weights: (H, A) float32, rows sum to 1.
        offset: (H, 3) float32 mm from the weighted mean of the anchors: in the head frame, or, when ``turns``, in the
            frame of the triangle that the three anchors are.
        turns: True for what must turn with the skin below it (brows and lashes).
        encoded: A WebP file: luminance, and opacity as alpha.
    """

    name: str
    kind: str
    cut: str
    triangles: Int32
    uv: Float32
    anchors: Int32
    weights: Float32
    offset: Float32
    turns: bool
    encoded: bytes

    @cached_property
    def picture(self) -> UInt8:
        """(N, M, 2) uint8: sRGB luminance about ``MEAN_LUMINANCE``, and opacity."""
        with Image.open(io.BytesIO(self.encoded)) as image:
            return np.ascontiguousarray(np.asarray(image.convert("RGBA"))[..., [1, 3]])

    def coloured(self, colour: Float64 | tuple[float, float, float]) -> UInt8:
        """The picture in a colour: (N, M, 4) uint8 RGBA, straight alpha.

        Args:
            colour: sRGB 0 to 255: (3,) of the hair on average, or (5, 3) of its strands from dark to light, which stand
                for the ``SHADES`` of the picture.
        """
        level = np.arange(256) / 255 / MEAN_LUMINANCE
        tint = np.asarray(colour, np.float32)
        if tint.ndim == 1:
            # Lights on hair are whiter than the hair.
            table = tint * level[:, None] + np.clip(level - 1.25, 0, None)[:, None] * 28
        else:
            table = np.stack([np.interp(level, SHADES, tint[:, k]) for k in range(3)], 1)
            # Below the darkest shade there is less light, not another colour.
            table *= np.minimum(level / SHADES[0], 1)[:, None]
        solid = np.clip(np.rint(table), 0, 255).astype(np.uint8)
        return np.concatenate([solid[self.picture[..., 0]], self.picture[..., 1:]], -1)

    def place(self, vertices: Float32) -> Float32:
        """(H, 3) float32 mm on some vertices (V, 3) of the model, neutral or posed."""
        at = vertices[self.anchors].astype(np.float64)
        base = np.einsum("hkc,hk->hc", at, self.weights.astype(np.float64))
        if not self.turns:
            return np.asarray(base + self.offset, np.float32)
        frame = triangle_frames(at)
        return np.asarray(base + np.einsum("hkc,hk->hc", frame, self.offset.astype(np.float64)), np.float32)

    def skin_weights(self, model: HeadModel) -> Float32:
        """(H, J) float32 skinning weights, the anchors'."""
        return np.asarray(np.einsum("hkj,hk->hj", model.skin_weights[self.anchors], self.weights), np.float32)


@dataclass(frozen=True, eq=False)
class EyeMaps:
    """What an eyeball's texture is made of, as seen along the gaze axis.

    The maps are squares around the axis. ``radius`` relates them to angles, because how far the cornea bulges and how
    the atlas is laid out are the model's affair.

    Attributes:
        iris: (N, N) uint8 luminance of the iris relative to its mean (128), the pupil painted black; the limbus, where
            iris and white meet, lies on the circle that the square encloses.
        white: (M, M, 3) uint8 sRGB of the white of the eye with its veins, without iris; the axis in the middle, the
            iris's edge at ``white_iris`` and the rim at 110 degrees from the axis on the circle that it encloses.
        white_iris: Radius of the iris in ``white``, in halves of its side.
        pupil: Radius of the pupil in ``iris``, in halves of its side.
        colours: (C, 3) uint8 sRGB mean iris colours to choose from.
        colour_names: Their names.
    """

    iris: UInt8
    white: UInt8
    white_iris: float
    pupil: float
    colours: UInt8
    colour_names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class HairLibrary:
    """All styles.

    Attributes:
        styles: In order of name.
        eyes: Parts of eye textures.
        topology: Name of the mesh that the anchors index.
        mesh: Digest of that mesh (``mesh_digest``).
        sources: One line per source with its licence.
        sha256: Digest of the file.
    """

    styles: tuple[HairStyle, ...]
    eyes: EyeMaps
    topology: str
    mesh: str
    sources: tuple[str, ...]
    sha256: str

    def require_fit(self, model: HeadModel) -> None:
        """Check that the anchors index this model's vertices.

        Raises:
            ModelFileInvalid: They were made for another mesh.
        """
        if (found := mesh_digest(model)) != self.mesh:
            raise ModelFileInvalid(
                f"hair file: expected mesh {self.topology} {self.mesh}, the head model has {model.topology} {found}"
            )

    def names(self, kind: str = "hair") -> tuple[str, ...]:
        """Names of the styles of a kind."""
        return tuple(s.name for s in self.styles if s.kind == kind)

    def style(self, name: str, kind: str = "hair") -> HairStyle:
        """A style by name.

        Raises:
            OptionInvalid: There is none of that kind and name.
        """
        for s in self.styles:
            if s.name == name and s.kind == kind:
                return s
        raise OptionInvalid(f"{kind}: expected auto, none or one of {', '.join(self.names(kind))}; got {name!r}")


def mesh_digest(model: HeadModel) -> str:
    """A short digest of the model's quads: equal ones have equal vertex numbers."""
    return hashlib.sha256(np.ascontiguousarray(model.quads, "<i4").tobytes()).hexdigest()[:16]


def triangle_frames(corners: Float64) -> Float64:
    """(N, 3, 3) right-handed frames of triangles (N, 3, 3): rows along the first edge, in the plane, and the normal."""
    first = corners[:, 1] - corners[:, 0]
    normal = np.cross(first, corners[:, 2] - corners[:, 0])
    first, normal = unit(first), unit(normal)
    return np.stack([first, np.cross(normal, first), normal], 1)


def clear_of_skin(points: Float32, vertices: Float32, model: HeadModel, *, gap: float = 1.0) -> Float32:
    """Move points that lie in the skin, or nearer than a gap, outwards.

    The skin is taken as the tangent planes of its vertices, blended over the four nearest, which is within a fraction
    of a millimetre of the mesh at the model's resolution.

    Args:
        points: (H, 3) mm.
        vertices: (V, 3) mm of the model, posed.
        model: The model.
        gap: mm.

    Returns:
        (H, 3) float32 mm.
    """
    skin = model.part("skin")
    normals = vertex_normals(vertices.astype(np.float64), model.triangles)[skin]
    at = vertices[skin].astype(np.float64)
    tree = cKDTree(at)
    out = points.astype(np.float64)
    for _ in range(3):
        distance, near = tree.query(out, k=4)
        share = 1 / np.maximum(distance, 1e-3) ** 2
        share /= share.sum(1, keepdims=True)
        height = (((out[:, None] - at[near]) * normals[near]).sum(2) * share).sum(1)
        way = unit((normals[near] * share[..., None]).sum(1))
        # Beyond the bust's rim the nearest tangent plane lies aside, not above; far inside it says nothing.
        below = (-height > 0.7 * distance[:, 0]) & (distance[:, 0] < 25)
        push = np.where((height < gap) & (below | (distance[:, 0] < 8)), gap - height, 0)
        out += push[:, None] * way
    return out.astype(np.float32)


@lru_cache(maxsize=4)
def load_hair_library(path: Path = DEFAULT_FILE) -> HairLibrary:
    """Load a hair file; the shipped one by default.

    Raises:
        ModelFileInvalid: The file is missing, damaged, of another format, or its arrays do not fit together.
    """
    meta, a, digest = unpack(path, FORMAT)
    try:
        styles = tuple(
            HairStyle(
                name=entry["name"],
                kind=entry["kind"],
                cut=entry["cut"],
                triangles=a[key + "_triangles"].astype(np.int32),
                uv=a[key + "_uv"].astype(np.float32) / np.float32(65535),
                anchors=a[key + "_anchors"].astype(np.int32),
                weights=_normalised(a[key + "_weights"]),
                offset=a[key + "_offset"].astype(np.float32) * np.float32(entry["step"]),
                turns=bool(entry["turns"]),
                encoded=a[entry["picture"]].tobytes(),
            )
            for entry in meta["styles"]
            for key in (f"{entry['kind']}_{entry['name']}",)
        )
        eyes = EyeMaps(
            iris=a["iris"],
            white=_decoded(a["white"]),
            white_iris=float(meta["white_iris"]),
            pupil=float(meta["pupil"]),
            colours=a["iris_colours"],
            colour_names=tuple(meta["iris_colour_names"]),
        )
        library = HairLibrary(styles, eyes, meta["topology"], meta["mesh"], tuple(meta["sources"]), digest)
    except (KeyError, TypeError, ValueError, OSError) as e:
        raise ModelFileInvalid(f"{path}: {e}") from e
    for s in library.styles:
        n = len(s.uv)
        shapes = {"anchors": s.anchors.shape[0], "weights": s.weights.shape[0], "offset": s.offset.shape[0]}
        for what, found in shapes.items():
            if found != n:
                raise ModelFileInvalid(f"{path}: {what} of {s.name} has {found} rows, expected {n}")
        if s.triangles.max(initial=-1) >= n:
            raise ModelFileInvalid(f"{path}: {s.name} has triangles beyond its {n} vertices")
    return library


def _normalised(weights: UInt8) -> Float32:
    w = weights.astype(np.float32)
    return np.asarray(w / w.sum(1, keepdims=True), np.float32)


def _decoded(data: UInt8) -> UInt8:
    with Image.open(io.BytesIO(data.tobytes())) as image:
        return np.asarray(image.convert("RGB"))
