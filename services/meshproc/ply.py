"""PLY with colours and normals (Turk, "The PLY Polygon File Format", Stanford 1994), binary."""

import numpy as np

from maquette.types import Float32, Head
from services.meshproc.materials import MATERIALS, Maps, notes, sample
from services.meshproc.mesh import PARTS, HeadMesh

_VERTEX = np.dtype([("position", "<f4", 3), ("normal", "<f4", 3), ("colour", "u1", 3), ("certainty", "<f4", 2)])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def write_ply(head: Head, mesh: HeadMesh, maps: Maps | None, certainty: Float32) -> bytes:
    """A head as triangles with colour, normal and uncertainty at each vertex; millimetres in the head frame.

    Args:
        head: Where the mesh comes from, for the comments.
        mesh: The head's mesh.
        maps: Pictures to take the colours from; None for one colour a part.
        certainty: (V, 2) float32, ``Fit.uncertainty`` and ``Fit.determined`` at the mesh's vertices.
    """
    vertices = np.empty(len(mesh.vertices), _VERTEX)
    vertices["position"], vertices["normal"] = mesh.vertices, mesh.normals
    vertices["colour"] = _part_colours(mesh) if maps is None else sample(maps.colour, mesh.vertex_uv)
    vertices["certainty"] = certainty
    faces = np.empty(len(mesh.triangles), _FACE)
    faces["count"], faces["corners"] = 3, mesh.triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {note}" for note in notes(head)),
        f"element vertex {len(vertices)}",
        *(f"property float {c}" for c in ("x", "y", "z", "nx", "ny", "nz")),
        *(f"property uchar {c}" for c in ("red", "green", "blue")),
        "property float uncertainty_mm",
        "property float determined",
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
