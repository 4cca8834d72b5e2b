"""Non-rigid registration of the head model's mean skin to the heads of other shape libraries.

The skin is deformed onto the other surface in 18 linear solves: closest points (position and normal together), landmark
pairs and a Laplacian that keeps the deformation smooth, relaxed from solve to solve (Amberg, Romdhani and Vetter 2007,
"Optimal Step Nonrigid ICP Algorithms for Surface Registration", with a linear smoothness term). Each model vertex ends
up bound to a point of a triangle of the other surface, so that whatever the other library says per vertex or per texel
can be carried over.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from maquette.geometry.surface import edges, vertex_normals
from maquette.geometry.transform import fit_similarity
from maquette.headmodel import HeadModel
from training.closest import ClosestPoints, sky_seen
from training.sources import MakeHuman, load_gnm, load_makehuman

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Bool = NDArray[np.bool_]

_SCHEDULE = (
    *[(30.0, 0.0, 1.0)],
    *[(10.0, 0.2, 1.0)] * 3,
    *[(3.0, 0.5, 0.5)] * 4,
    *[(1.0, 1.0, 0.25)] * 5,
    *[(0.3, 1.0, 0.1)] * 5,
)
"""Laplacian, closest-point and landmark weight of each solve."""

_HIDDEN = 0.3
"""Share of the sky that a vertex must see to look for a counterpart: nostrils and the backs of lips and lids do not."""

_COARSE_STEPS = 8
_REACH = (50.0, 25.0)
"""mm beyond which a closest point is no counterpart, in the coarse solves and later."""

_ODD_PAIR = 4.0
"""mm; landmark pairs that are still so far apart after the coarse solves contradict the rest and are dropped."""


@dataclass(frozen=True)
class Template:
    """The head model as the registration sees it; it may still be under construction.

    Attributes:
        points: (V, 3) mm, all vertices of the mean.
        triangles: (F, 3) of the whole mesh.
        part: (V,) bool masks by component name; ``skin``, ``eye_left``, ``eye_right``, ``teeth``, ``gums``, ``tongue``.
        landmark_vertices: (L, 3) corners that carry each MediaPipe landmark (the first 468 are used).
        landmark_weights: (L, 3).
    """

    points: Array
    triangles: Index
    part: dict[str, Bool]
    landmark_vertices: Index
    landmark_weights: Array

    @staticmethod
    def of(model: HeadModel) -> "Template":
        """Take what is needed from a finished model."""
        return Template(
            model.mean.astype(np.float64),
            model.triangles.astype(np.int64),
            {name: model.part(name) for name in model.component_names},
            model.landmark_vertices.astype(np.int64),
            model.landmark_weights.astype(np.float64),
        )

    @cached_property
    def skin_vertices(self) -> Index:
        """(N,) indices of the skin's vertices."""
        return np.flatnonzero(self.part["skin"])

    @cached_property
    def skin_triangles(self) -> Index:
        """(F', 3) triangles of the skin, into ``skin_vertices``."""
        local = np.full(len(self.points), -1)
        local[self.skin_vertices] = np.arange(len(self.skin_vertices))
        t = self.triangles[self.part["skin"][self.triangles].all(1)]
        return np.asarray(local[t], np.int64)

    @cached_property
    def sky(self) -> Array:
        """(N,) how much of the sky each skin vertex sees, 0 to 1, weighted by the cosine."""
        return np.asarray(sky_seen(self.points, self.triangles, self.skin_vertices), np.float64)


@dataclass(frozen=True)
class Pairs:
    """Points that must meet: a barycentric one on the template's skin, a position on the target.

    Attributes:
        vertices: (L, 3) into the template's ``skin_vertices``.
        weights: (L, 3).
        targets: (L, 3) mm in the target's own frame.
        strength: (L,) weight of each pair.
        rigid: (L,) bool, pairs that take part in the first alignment.
    """

    vertices: Index
    weights: Array
    targets: Array
    strength: Array
    rigid: Bool

    def points(self, skin: Array) -> Array:
        """(L, 3) positions on some skin vertices."""
        return np.asarray(np.einsum("lkc,lk->lc", skin[self.vertices], self.weights), np.float64)


@dataclass(frozen=True)
class Registration:
    """Where each skin vertex of the model lies on another head.

    Attributes:
        skin: (N,) model vertices that are registered.
        corners: (N, 3) vertices of the other head.
        weights: (N, 3) barycentric.
        triangle: (N,) index into the triangles that were given as the target.
        deformed: (N, 3) mm, the skin after the last solve, in the model's frame.
        aligned: (M, 3) mm, all vertices of the other head in the model's frame.
        gap: (N,) mm between ``deformed`` and the bound point.
        matched: (N,) bool, False where the other head has no counterpart.
        scale: Similarity from the other head to the model: factor,
        rotation: (3, 3),
        translation: (3,) mm.
    """

    skin: Index
    corners: Index
    weights: Array
    triangle: Index
    deformed: Array
    aligned: Array
    gap: Array
    matched: Bool
    scale: float
    rotation: Array
    translation: Array

    def carry(self, values: NDArray[np.floating]) -> Array:
        """Values per vertex of the other head (..., M, C) at the skin vertices: (..., N, C)."""
        return np.asarray(np.einsum("...nkc,nk->...nc", values[..., self.corners, :], self.weights), np.float64)

    def carry_fields(self, fields: NDArray[np.floating]) -> Array:
        """Displacements of the other head (..., M, 3), mm in its frame, as mm in the model's frame: (..., N, 3)."""
        return self.carry(fields) @ (self.scale * self.rotation.T)

    def align(self, points: Array) -> Array:
        """Points in the other head's frame (N, 3) in the model's."""
        return np.asarray(self.scale * points @ self.rotation.T + self.translation, np.float64)


def register(template: Template, points: Array, triangles: Index, pairs: Pairs) -> Registration:
    """Deform the template's skin onto another surface and bind it there.

    Args:
        template: The model.
        points: (M, 3) mm, the other head in its own frame.
        triangles: (G, 3) of its skin; may leave out what has no counterpart.
        pairs: What must meet.
    """
    rest = template.points[template.skin_vertices]
    own = template.skin_triangles
    r = pairs.rigid
    scale, rotation, translation = fit_similarity(pairs.targets[r], pairs.points(rest)[r], pairs.strength[r])
    aligned = scale * points @ rotation.T + translation
    wanted = scale * pairs.targets @ rotation.T + translation
    search = ClosestPoints(aligned, triangles)
    rim = _rim(triangles)
    smooth = _laplacian(own, len(rest))
    stiffness = (smooth.T @ smooth).tocsc()
    rows = np.repeat(np.arange(len(pairs.vertices)), 3)
    shape = (len(pairs.vertices), len(rest))
    meet = sp.coo_matrix((pairs.weights.ravel(), (rows, pairs.vertices.ravel())), shape=shape).tocsr()
    weighted = (sp.diags(pairs.strength) @ meet).tocsr()
    seen = template.sky > _HIDDEN
    skin = rest.copy()
    for step, (stiff, close, landmark) in enumerate(_SCHEDULE):
        if step == _COARSE_STEPS:
            odd = np.linalg.norm(meet @ skin - wanted, axis=1) > _ODD_PAIR
            weighted = (sp.diags(np.where(odd, 0, pairs.strength)) @ meet).tocsr()
        triangle, _, nearest, cosine = search(skin, vertex_normals(skin, own))
        far = np.linalg.norm(nearest - skin, axis=1)
        counts = seen & (cosine > 0.5) & (far < _REACH[step >= _COARSE_STEPS]) & ~rim[triangle]
        trust = close * counts
        system = 5 * stiff * stiffness + sp.diags(trust + 1e-6) + 4 * landmark * (weighted.T @ meet)
        right = 5 * stiff * (stiffness @ rest) + trust[:, None] * nearest + 1e-6 * rest
        right += 4 * landmark * (weighted.T @ wanted)
        skin = spl.splu(system.tocsc()).solve(right)
    triangle, weights, nearest, cosine = search(skin, vertex_normals(skin, own))
    gap = np.linalg.norm(nearest - skin, axis=1)
    matched = seen & (cosine > 0.5) & (gap < 2.0) & ~rim[triangle]
    return Registration(
        template.skin_vertices, triangles[triangle], weights, triangle, skin, aligned, gap, matched,
        scale, rotation, translation,
    )  # fmt: skip


def makehuman_skin(source: MakeHuman, *, linings: bool = True) -> tuple[Index, Index]:
    """Triangles of MakeHuman's head, neck and shoulders: (G, 3), and the texture's (G, 3).

    Args:
        source: The base mesh.
        linings: With those of mouth and sockets, which are islands of the texture.
    """
    centre = source.vertices[source.quads].mean(1)
    near = (centre[:, 1] > 480) & (np.abs(centre[:, 0]) < 260)
    if not linings:
        at = source.uv[source.uv_quads].mean(1)
        near &= (at[:, 0] > 0.2) & ~((at[:, 0] > 0.74) & (at[:, 1] < 0.14))
    cut = np.array([[0, 1, 2], [0, 2, 3]])
    return source.quads[near][:, cut].reshape(-1, 3), source.uv_quads[near][:, cut].reshape(-1, 3)


def register_makehuman(template: Template, heads: Path, source: MakeHuman | None = None) -> Registration:
    """Bind the model's skin to the MakeHuman base mesh; ``triangle`` indexes ``makehuman_skin``."""
    source = load_makehuman(heads) if source is None else source
    mirror = cKDTree(source.vertices).query(source.vertices * [-1, 1, 1])[1]
    triangles, _ = makehuman_skin(source)
    number, vertex = np.array(_MAKEHUMAN_LANDMARKS).T
    other = _mirror_landmarks(template)[number]
    targets = source.vertices[np.r_[vertex, mirror[vertex]]]
    pairs = _pairs(template, np.r_[number, other], targets, source.vertices[_MAKEHUMAN_EAR], [-1, 1, 1])
    return register(template, source.vertices, triangles, pairs)


def register_gnm(template: Template, heads: Path) -> Registration:
    """Bind the model's skin to the mean of GNM Head."""
    source = load_gnm(heads)
    with np.load(heads / "gnm_head_v3_partial.npz") as z:
        good = ~z["mediapipe_suspect"] & (z["mediapipe_landmark"] < 468)
        number = z["mediapipe_landmark"][good].astype(np.int64)
        targets = source.vertices[z["mediapipe_gnm_vertex"][good].astype(np.int64)]
    triangles = source.triangles[(source.part[source.triangles] == "skin").all(1)]
    pairs = _pairs(template, number, targets, source.vertices[_GNM_EAR], [-1, 1, 1])
    return register(template, source.vertices, triangles, pairs)


def _pairs(template: Template, numbers: Index, targets: Array, ear: Array, flip: list[int]) -> Pairs:
    """Pairs of MediaPipe landmarks and of the ear points, left and right."""
    skin = template.points[template.skin_vertices]
    tree = cKDTree(skin)
    local = np.full(len(template.points), -1)
    local[template.skin_vertices] = np.arange(len(skin))
    corners = local[template.landmark_vertices[numbers]]
    weights = template.landmark_weights[numbers]
    keep = (corners >= 0).all(1) & ~np.isin(numbers, _NOSTRILS)
    left = tree.query(np.array(_EAR))[1]
    right = tree.query(np.array(_EAR) * flip)[1]
    points = np.repeat(np.r_[left, right][:, None], 3, 1)
    single = np.tile([1.0, 0.0, 0.0], (len(points), 1))
    both = np.concatenate([ear, ear * flip])
    n, m = int(keep.sum()), len(points)
    return Pairs(
        np.concatenate([corners[keep], points]),
        np.concatenate([weights[keep], single]),
        np.concatenate([targets[keep], both]),
        np.r_[np.ones(n), np.full(m, 2.0)],
        np.r_[np.ones(n, bool), np.zeros(m, bool)],
    )


def _mirror_landmarks(template: Template) -> Index:
    """(468,) the landmark on the other side of each."""
    p = np.einsum("lkc,lk->lc", template.points[template.landmark_vertices[:468]], template.landmark_weights[:468])
    return np.asarray(cKDTree(p).query(p * [-1, 1, 1])[1], np.int64)


def _laplacian(triangles: Index, count: int) -> sp.csr_matrix:
    """Each vertex minus the mean of its neighbours."""
    e = edges(triangles)
    ones = np.ones(2 * len(e))
    a = sp.coo_matrix((ones, (np.r_[e[:, 0], e[:, 1]], np.r_[e[:, 1], e[:, 0]])), shape=(count, count)).tocsr()
    degree = np.maximum(np.asarray(a.sum(1)).ravel(), 1)
    return (sp.eye(count) - sp.diags(1 / degree) @ a).tocsr()


def _rim(triangles: Index) -> Bool:
    """(G,) True for triangles with an edge that no other shares."""
    e = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    _, which, count = np.unique(e, axis=0, return_inverse=True, return_counts=True)
    return np.asarray((count[which.ravel()] == 1).reshape(3, -1).any(0), bool)


# MediaPipe landmarks around the nostrils: on the models they may lie inside or on the rim.
_NOSTRILS = (
    20, 59, 60, 75, 79, 99, 166, 218, 219, 237, 238, 239, 240, 241, 242, 250, 289, 290, 305, 309, 328, 392, 438, 439,
    457, 458, 459, 460, 461, 462,
)  # fmt: skip

# Twelve points of the left ear, picked by eye in side views: top, upper back, back, lower back and tip of the rim,
# where the lobe meets the cheek, tragus, notch below it, root of the rim, back of the concha, root of the antihelix,
# fold below the top. On the model's mean in mm, because its vertices may be numbered anew; on the others as vertices.
_EAR = (
    (86.7, 35.6, -0.7), (89.8, 29.6, -12.4), (89.2, 18.2, -15.9), (85.8, 3.7, -13.5), (78.8, -16.2, 4.2),
    (68.2, -19.7, 15.1), (73.0, 7.7, 10.9), (71.2, -1.8, 13.7), (81.1, 30.9, 8.6), (73.2, 8.6, -4.8),
    (73.5, 18.1, 2.0), (84.0, 30.6, -1.1),
)  # fmt: skip
_MAKEHUMAN_EAR = [12012, 12021, 12040, 12051, 12027, 12358, 12099, 12086, 12024, 12123, 12246, 12257]
_GNM_EAR = [3015, 2440, 2373, 2453, 2849, 2491, 2997, 2985, 3011, 2407, 5013, 2948]

# MediaPipe landmark and MakeHuman vertex, midline and left side: medians of what the landmark network saw on renders of
# the mean head in three skins and five directions, made symmetric; only where they agree and a vertex is near.
_MAKEHUMAN_LANDMARKS = (
    (0, 455), (1, 302), (2, 7075), (4, 294), (5, 201), (6, 134), (8, 169), (9, 220), (10, 244), (13, 468), (14, 474),
    (17, 492), (94, 312), (152, 5225), (168, 132), (175, 5211), (195, 5063), (197, 131), (200, 733), (249, 13366),
    (251, 11842), (263, 6805), (266, 11761), (267, 7215), (269, 11956), (270, 7207), (276, 6987), (280, 11681),
    (283, 6955), (285, 6943), (291, 10403), (293, 6999), (295, 6947), (308, 7176), (310, 11955), (311, 7213),
    (312, 7221), (314, 7241), (317, 7228), (318, 7225), (321, 7233), (324, 7179), (326, 7076), (327, 7055),
    (332, 11808), (334, 6981), (336, 6983), (343, 11715), (346, 7603), (355, 6939), (358, 11753), (362, 11487),
    (369, 11779), (373, 13372), (374, 13370), (375, 7202), (380, 13368), (381, 13362), (382, 6856), (384, 6841),
    (385, 11483), (386, 6785), (387, 6790), (390, 13374), (398, 11490), (400, 11832), (402, 7226), (405, 7235),
    (409, 7172), (412, 11705), (415, 7209), (417, 6899), (418, 7454), (429, 6973), (437, 11863), (465, 6901),
    (466, 7752),
)  # fmt: skip
