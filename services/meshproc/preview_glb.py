"""``preview.glb``: the shape of a head alone, small and soon there, to look at while the rest is being made."""

import numpy as np

from maquette.headmodel import HeadModel
from maquette.types import Float32, Head
from services.meshproc.glb import MESH_NAME, index_accessor, material_entry, start_document, surface_attributes
from services.meshproc.gltf import ARRAY_BUFFER
from services.meshproc.materials import MATERIALS
from services.meshproc.mesh import PARTS, model_mesh

PREVIEW_NAME = "preview.glb"

_IRIS_DEGREES, _PUPIL_DEGREES = 29.0, 11.0
"""From the middle of an eyeball: an iris is 11.7 mm wide and a pupil indoors 4 to 5 mm, on a ball of 24 mm."""

_IRIS_LANDMARKS = (468, 473)
"""MediaPipe's landmarks in the middle of the irises."""

_IRIS, _PUPIL = (0.16, 0.12, 0.10), (0.02, 0.02, 0.02)
"""Linear colours as parts of that of the eyeball: grey-brown, for nothing is known of them yet."""


def write_preview(model: HeadModel, head: Head) -> bytes:
    """A head in metres with the main photo's expression, each part in one colour; textures and hair are left out.

    Eyes have irises of no colour to speak of, for without them nobody looks at anybody.

    Args:
        model: The model that the head is of.
        head: The head, coarse or complete.

    Raises:
        MeshInvalid: The head is not of this model.
    """
    mesh = model_mesh(model, head.posed)
    document = start_document(head)
    primitives = []
    for k, part in enumerate(PARTS):
        used, local = np.unique(mesh.triangles[mesh.triangle_part == k], return_inverse=True)
        attributes = surface_attributes(document, mesh.vertices[used], mesh.normals[used])
        if part == "eyes":
            attributes["COLOR_0"] = document.accessor(_eye_colours(model)[used], ARRAY_BUFFER)
        primitives.append(
            {
                "attributes": attributes,
                "indices": index_accessor(document, local.reshape(-1, 3).astype(np.int32)),
                "material": document.add("materials", material_entry(part, MATERIALS[part], None, None)),
            }
        )
    shape = document.add("meshes", {"name": MESH_NAME, "primitives": primitives})
    document.json["scenes"][0]["nodes"].append(document.add("nodes", {"name": MESH_NAME, "mesh": shape}))
    return document.to_glb()


def _eye_colours(model: HeadModel) -> Float32:
    """(V, 3) float32 linear, which the colour of the eyeballs is multiplied with; only theirs mean anything."""
    colours = np.ones((len(model.mean), 3), np.float32)
    joints = model.joints(model.mean)
    irises = model.landmarks(model.mean)[list(_IRIS_LANDMARKS)]
    for name in ("eye_left", "eye_right"):
        ball, joint = np.flatnonzero(model.part(name)), joints[model.joint_names.index(name)]
        # At rest; vertices of an eyeball turn with it.
        aim, out = (irises - joint)[np.linalg.norm(irises - joint, axis=1).argmin()], model.mean[ball] - joint
        cosine = out @ aim / (np.linalg.norm(out, axis=1) * np.linalg.norm(aim))
        off = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
        colours[ball[off < _IRIS_DEGREES]] = _IRIS
        colours[ball[off < _PUPIL_DEGREES]] = _PUPIL
    return colours
