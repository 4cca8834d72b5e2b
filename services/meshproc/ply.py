"""PLY with colours and normals (Turk, "The PLY Polygon File Format", Stanford 1994), binary."""

import numpy as np

from maquette.types import Head
from services.meshproc.materials import MATERIALS, Maps, notes, sample
from services.meshproc.mesh import PARTS, HeadMesh

_VERTEX = np.dtype([("position", "<f4", 3), ("normal", "<f4", 3), ("colour", "u1", 3)])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def write_ply(head: Head, mesh: HeadMesh, maps: Maps | None) -> bytes:
    """A head as triangles with a colour and a normal at each vertex; millimetres in the head frame.

    Args:
        head: Where the mesh comes from, for the comments.
        mesh: The head's mesh.
        maps: Pictures to take the colours from; None for one colour a part.
    """
    vertices = np.empty(len(mesh.vertices), _VERTEX)
    vertices["position"], vertices["normal"] = mesh.vertices, mesh.normals
    vertices["colour"] = _part_colours(mesh) if maps is None else sample(maps.colour, mesh.vertex_uv)
    faces = np.empty(len(mesh.triangles), _FACE)
    faces["count"], faces["corners"] = 3, mesh.triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {note}" for note in notes(head)),
        f"element vertex {len(vertices)}",
        *(f"property float {c}" for c in ("x", "y", "z", "nx", "ny", "nz")),
        *(f"property uchar {c}" for c in ("red", "green", "blue")),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return "\n".join(header).encode("ascii", "replace") + b"\n" + vertices.tobytes() + faces.tobytes()


def _part_colours(mesh: HeadMesh) -> np.ndarray:
    """(V, 3) uint8 sRGB."""
    linear = np.array([MATERIALS[name].colour for name in PARTS])
    colours = np.rint(255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear))
    out = np.zeros((len(mesh.vertices), 3), np.uint8)
    # From the inside out, so that vertices between two parts have the outer one's.
    for part in reversed(range(len(PARTS))):
        out[mesh.quads[mesh.part == part]] = colours[part]
    return out
