"""The head as one animated glTF 2.0 file."""

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from maquette.geometry.surface import unit, vertex_normals
from maquette.geometry.transform import fit_similarity
from maquette.headmodel import HeadModel
from maquette.rooms import ReconstructOptions
from maquette.types import Float32, Hair, Head, Int32, UInt8
from services.meshproc.drape import Anchors
from services.meshproc.gltf import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, Document
from services.meshproc.images import encode_jpeg, encode_png
from services.meshproc.materials import HAIR, MATERIALS, Maps, Material, hair_names
from services.meshproc.mesh import PARTS, HeadMesh, fan, model_mesh
from services.meshproc.morphs import STILL_MM, Morphs, morphs_of

MESH_NAME = "head_mesh"
"""Name of the head's mesh and of its node; a joint is called ``head``."""

_METRES = 1e-3
_STILL_NORMAL = 0.01
_ALPHA_CUTOFF = 0.35
_FULL = 65535
_CLAMPED = 33071
_STILL_DEGREES = 0.01


@dataclass(frozen=True, eq=False)
class Layout:
    """A part of the head as one glTF primitive: a vertex for each pair of a vertex and a texture vertex.

    Attributes:
        vertex: (N,) int32, the model's vertices.
        texel: (N,) int32, the model's texture vertices.
        triangles: (F, 3) int32 into the two.
    """

    vertex: Int32
    texel: Int32
    triangles: Int32


def write_glb(
    model: HeadModel,
    head: Head,
    maps: Maps | None,
    options: ReconstructOptions,
    encode: Callable[[UInt8], bytes] = encode_png,
) -> bytes:
    """A head in metres that rests without expression and is shown with the main photo's.

    The mesh ``head_mesh`` has a primitive for each part, the 52 blendshapes as morph targets by name, and a skin of the
    model's joints; their default weights and the rotations of the eyes are the main photo's unless the options ask for
    a neutral head. Pieces of hair are meshes of their own on the same skin; brows and the like have the same morph
    targets.

    Args:
        model: The model that the head is of.
        head: The head.
        maps: Its pictures, or None.
        options: ``expression`` matters here.
        encode: How pictures become PNG files.

    Raises:
        MeshInvalid: The head is not of this model.
    """
    mesh = model_mesh(model, head.neutral)
    shown = options.expression == "photo"
    weights = head.fit.views[0].expression if shown else np.zeros(len(model.expression_names), np.float32)
    document = start_document(head)
    joints = _joints(document, model, head, weights if shown else None)
    colour = None if maps is None else _texture(document, encode_jpeg(maps.colour), "image/jpeg")
    normal = None if maps is None or maps.normal is None else _texture(document, encode(maps.normal), "image/png")
    primitives = []
    morphs = morphs_of(model)
    bends = morphs.normals(mesh.vertices, mesh.triangles)
    for part, layout in zip(PARTS, layouts_of(model), strict=True):
        material = material_entry(part, MATERIALS[part], colour, normal if part == "skin" else None)
        attributes = surface_attributes(document, mesh.vertices[layout.vertex], mesh.normals[layout.vertex])
        if colour is not None:
            attributes["TEXCOORD_0"] = document.accessor(_flipped(mesh.uv[layout.texel]), ARRAY_BUFFER)
        if "normalTexture" in material:
            attributes["TANGENT"] = document.accessor(_tangents(mesh, layout), ARRAY_BUFFER)
        attributes |= _bindings(document, model.skin_weights[layout.vertex])
        primitives.append(
            {
                "attributes": attributes,
                "indices": index_accessor(document, layout.triangles),
                "material": document.add("materials", material),
                "targets": _head_targets(document, layout, morphs, bends),
            }
        )
    _mesh(document, MESH_NAME, primitives, joints, model.expression_names, weights)
    for name, piece in zip(hair_names(head.hair), head.hair, strict=True):
        anchors = Anchors(model, head.posed, piece)
        rest = anchors.moved(piece, head.neutral - head.posed)
        picture = _texture(document, encode(piece.colour), "image/png")
        _hair(document, model, rest, anchors, name, picture, joints, weights)
    return document.to_glb()


@lru_cache(maxsize=4)
def layouts_of(model: HeadModel) -> tuple[Layout, ...]:
    """The parts of a model, in the order of ``PARTS``."""
    mesh = model_mesh(model, model.mean)
    layouts = []
    for k in range(len(PARTS)):
        chosen = mesh.part == k
        corners = mesh.quads[chosen].astype(np.int64) * len(mesh.uv) + mesh.uv_quads[chosen]
        pairs, local = np.unique(corners, return_inverse=True)
        vertex, texel = np.divmod(pairs, len(mesh.uv))
        triangles = fan(local.reshape(corners.shape).astype(np.int32))
        layouts.append(Layout(vertex.astype(np.int32), texel.astype(np.int32), triangles))
    return tuple(layouts)


def start_document(head: Head) -> Document:
    """A document with one empty scene that says where the head comes from and under what terms."""
    document = Document()
    document.json["asset"] = {
        "version": "2.0",
        "generator": f"Maquette {importlib.metadata.version('maquette')}",
        "copyright": head.licence,
        "extras": {"licence": head.licence, "engine": head.engine, "model": head.model},
    }
    document.json["scene"] = 0
    document.json["scenes"] = [{"nodes": []}]
    return document


def _joints(document: Document, model: HeadModel, head: Head, weights: Float32 | None) -> int:
    """Add the joints and the skin; with weights, the eyes are turned by what blendshapes of these leave to the pose."""
    positions = model.joints(head.neutral).astype(np.float64) * _METRES
    nodes = []
    for j, name in enumerate(model.joint_names):
        parent = int(model.joint_parents[j])
        offset = positions[j] - (positions[parent] if parent >= 0 else 0)
        node: dict[str, Any] = {"name": name, "translation": offset.tolist()}
        if weights is not None and name in model.component_names:
            ball = model.part(name)
            shaped = head.neutral[ball] + np.tensordot(weights, model.expression_modes[:, ball], 1)
            _, turn, _ = fit_similarity(shaped, head.posed[ball], scale=False)
            rotation = Rotation.from_matrix(turn)
            if np.rad2deg(rotation.magnitude()) > _STILL_DEGREES:
                node["rotation"] = rotation.as_quat().astype(np.float32).tolist()
        nodes.append(document.add("nodes", node))
    for j, parent in enumerate(model.joint_parents):
        if parent < 0:
            document.json["scenes"][0]["nodes"].append(nodes[j])
        else:
            document.json["nodes"][nodes[parent]].setdefault("children", []).append(nodes[j])
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(nodes), 1, 1))
    # glTF stores columns first, so that the translation is the last row here.
    inverse[:, 3, :3] = -positions
    root = nodes[int(np.flatnonzero(model.joint_parents < 0)[0])]
    skin = {"joints": nodes, "skeleton": root, "inverseBindMatrices": document.accessor(inverse)}
    return document.add("skins", skin)


def _mesh(
    document: Document,
    name: str,
    primitives: list[dict[str, Any]],
    skin: int,
    target_names: Sequence[str] = (),
    weights: Float32 | None = None,
) -> None:
    """Add a mesh and its node; skinned meshes hang in the scene itself, since their node's place does not matter."""
    entry: dict[str, Any] = {"name": name, "primitives": primitives}
    if weights is not None:
        entry["weights"] = [round(float(w), 6) for w in weights]
        entry["extras"] = {"targetNames": list(target_names)}
    node = {"name": name, "mesh": document.add("meshes", entry), "skin": skin}
    document.json["scenes"][0]["nodes"].append(document.add("nodes", node))


def _hair(
    document: Document,
    model: HeadModel,
    piece: Hair,
    anchors: Anchors,
    name: str,
    picture: int,
    skin: int,
    weights: Float32,
) -> None:
    attributes = surface_attributes(document, piece.vertices, vertex_normals(piece.vertices, piece.triangles))
    attributes["TEXCOORD_0"] = document.accessor(_flipped(piece.uv), ARRAY_BUFFER)
    bound = np.zeros((len(piece.vertices), len(model.joint_names)), np.float32)
    bound[:, model.joint_names.index("head")] = 1
    attributes |= _bindings(document, bound)
    material = material_entry(f"hair_{name}", HAIR, picture, None)
    material["doubleSided"] = True
    # Thin single sheets look best blended; many sheets one behind another would have to be sorted for that.
    material |= {"alphaMode": "BLEND"} if anchors.on_face else {"alphaMode": "MASK", "alphaCutoff": _ALPHA_CUTOFF}
    primitive = {
        "attributes": attributes,
        "indices": index_accessor(document, piece.triangles),
        "material": document.add("materials", material),
    }
    if not anchors.on_face:
        _mesh(document, f"hair_{name}", [primitive], skin)
        return
    shifts = [anchors.carry(mode) for mode in model.expression_modes]
    still = document.zeros(len(piece.vertices))
    targets = []
    for shift in shifts:
        rows = np.flatnonzero(np.linalg.norm(shift, axis=1) >= STILL_MM)
        target = still
        if len(rows):
            target = document.sparse(
                len(shift), document.index_view(rows), np.asarray(shift[rows] * _METRES, np.float32), bounds=True
            )
        targets.append({"POSITION": target})
    _mesh(document, f"hair_{name}", [primitive | {"targets": targets}], skin, model.expression_names, weights)


def _head_targets(document: Document, layout: Layout, morphs: Morphs, bends: Float32) -> list[dict[str, int]]:
    """Morph targets of one part."""
    count = len(layout.vertex)
    still = document.zeros(count)
    targets = []
    row_of = np.full(int(max(layout.vertex.max(), morphs.vertex.max())) + 1, -1)
    for first, last in zip(morphs.start[:-1], morphs.start[1:], strict=True):
        row_of[morphs.vertex[first:last]] = np.arange(first, last)
        rows = row_of[layout.vertex]
        row_of[morphs.vertex[first:last]] = -1
        moved = np.flatnonzero(rows >= 0)
        target = {"POSITION": still, "NORMAL": still}
        if len(moved):
            shift = np.asarray(morphs.shift[rows[moved]] * _METRES, np.float32)
            target["POSITION"] = document.sparse(count, document.index_view(moved), shift, bounds=True)
            bend = bends[rows[moved]]
            bent = np.flatnonzero(np.linalg.norm(bend, axis=1) >= _STILL_NORMAL)
            if len(bent):
                target["NORMAL"] = document.sparse(count, document.index_view(moved[bent]), bend[bent])
        targets.append(target)
    return targets


def surface_attributes(document: Document, vertices: Float32, normals: Float32) -> dict[str, int]:
    """Add (N, 3) vertices in mm, as metres, and their (N, 3) normals; returns the attributes of a primitive."""
    metres = np.asarray(vertices * _METRES, np.float32)
    return {
        "POSITION": document.accessor(metres, ARRAY_BUFFER, bounds=True),
        "NORMAL": document.accessor(np.asarray(_direction(normals), np.float32), ARRAY_BUFFER),
    }


def index_accessor(document: Document, triangles: Int32) -> int:
    """Add (F, 3) triangles, in as few bytes as they need."""
    kind = np.uint16 if int(triangles.max()) < _FULL else np.uint32
    return document.accessor(triangles.ravel().astype(kind), ELEMENT_ARRAY_BUFFER)


def _bindings(document: Document, skin_weights: Float32) -> dict[str, int]:
    """The four strongest joints of each vertex, with weights that add up to one exactly."""
    order = np.argsort(-skin_weights, axis=1, kind="stable")[:, :4]
    strength = np.take_along_axis(skin_weights, order, 1)
    if strength.shape[1] < 4:
        missing = ((0, 0), (0, 4 - strength.shape[1]))
        order, strength = np.pad(order, missing), np.pad(strength, missing)
    share = np.rint(strength / strength.sum(1, keepdims=True) * _FULL).astype(np.int64)
    share[:, 0] += _FULL - share.sum(1)
    joints = np.where(share > 0, order, 0).astype(np.uint8)
    return {
        "JOINTS_0": document.accessor(joints, ARRAY_BUFFER),
        "WEIGHTS_0": document.accessor(share.astype(np.uint16), ARRAY_BUFFER, normalised=True),
    }


def _texture(document: Document, data: bytes, media_type: str) -> int:
    image = document.add("images", {"bufferView": document.view(data), "mimeType": media_type})
    if "samplers" not in document.json:
        # Linear with mipmaps; the atlas does not repeat.
        document.add("samplers", {"magFilter": 9729, "minFilter": 9987, "wrapS": _CLAMPED, "wrapT": _CLAMPED})
    return document.add("textures", {"source": image, "sampler": 0})


def material_entry(name: str, material: Material, colour: int | None, normal: int | None) -> dict[str, Any]:
    """A glTF material; ``colour`` and ``normal`` are textures, and None where there are none."""
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": material.roughness}
    if colour is None:
        surface["baseColorFactor"] = [*material.colour, 1.0]
    else:
        surface["baseColorTexture"] = {"index": colour}
    entry: dict[str, Any] = {"name": name, "pbrMetallicRoughness": surface}
    if name == "skin":
        # The bust is open below.
        entry["doubleSided"] = True
    if normal is not None:
        entry["normalTexture"] = {"index": normal}
    return entry


def _tangents(mesh: HeadMesh, layout: Layout) -> Float32:
    """(N, 4) float32 directions of growing u, square to the normals, and the side on which v grows upwards.

    Means over the triangles around each vertex (Lengyel, "Computing Tangent Space Basis Vectors for an Arbitrary
    Mesh", 2001).
    """
    points, flat = mesh.vertices[layout.vertex], mesh.uv[layout.texel]
    a, b, c = layout.triangles.T
    (du1, dv1), (du2, dv2) = (flat[b] - flat[a]).T, (flat[c] - flat[a]).T
    area = du1 * dv2 - du2 * dv1
    scale = (1 / np.where(np.abs(area) > 1e-12, area, np.inf))[:, None]
    along_u = ((points[b] - points[a]) * dv2[:, None] - (points[c] - points[a]) * dv1[:, None]) * scale
    along_v = ((points[c] - points[a]) * du1[:, None] - (points[b] - points[a]) * du2[:, None]) * scale
    normals = mesh.normals[layout.vertex].astype(np.float64)
    sums = []
    for direction in (_direction(along_u), _direction(along_v)):
        corner = np.repeat(direction, 3, 0)
        sums.append(np.stack([np.bincount(layout.triangles.ravel(), corner[:, k], len(points)) for k in range(3)], 1))
    tangent = sums[0] - normals * np.einsum("nc,nc->n", normals, sums[0])[:, None]
    # Where the triangles' directions cancel out any direction square to the normal will do.
    lost = np.linalg.norm(tangent, axis=1) < 1e-6
    tangent[lost] = np.cross(normals[lost], np.roll(normals[lost], 1, axis=1) + np.array([0.0, 0.0, 1e-3]))
    side = np.where(np.einsum("nc,nc->n", np.cross(normals, tangent), sums[1]) < 0, -1.0, 1.0)
    return np.concatenate([_direction(tangent), side[:, None]], 1).astype(np.float32)


def _flipped(uv: Float32) -> Float32:
    """GlTF's texture coordinates: v grows downwards."""
    return np.stack([uv[:, 0], 1 - uv[:, 1]], 1).astype(np.float32)


def _direction(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    # A vertex without area has no normal of its own; readers want one of unit length all the same.
    return np.where(length > 1e-9, unit(vectors), np.array([0.0, 0.0, 1.0]))
