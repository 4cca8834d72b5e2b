"""Wavefront OBJ with its material library.

Written after the "Object Files" and "MTL material format" documents of Wavefront's Advanced Visualizer; ``norm`` and
the ``P`` statements are the usual extensions for physically based materials.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maquette.errors import MeshInvalid
from maquette.geometry.surface import vertex_normals
from maquette.types import Float32, Hair, Head, Int32
from services.meshproc.images import DISPLACEMENT_RANGE_MM
from services.meshproc.materials import HAIR, MATERIALS, Maps, Material, hair_names, notes
from services.meshproc.mesh import PARTS, HeadMesh
from services.meshproc.text import decimal_rows, face_rows

MTL_NAME = "head.mtl"
NORMAL_NAME = "head_normal.png"
DISPLACEMENT_NAME = "head_displacement.png"


def colour_name(maps: Maps) -> str:
    """File name of the colour map."""
    return f"head_{maps.kind}.png"


def hair_colour_name(name: str) -> str:
    """File name of a hair mesh's colour map."""
    return f"head_hair_{name}.png"


def hair_alpha_name(name: str) -> str:
    """File name of a hair mesh's opacity."""
    return f"head_hair_{name}_alpha.png"


def write_obj(head: Head, mesh: HeadMesh, hair: Sequence[Hair] = (), *, normals: bool = True) -> bytes:
    """A head, its parts as groups with a material each, and each hair mesh as an object of its own.

    Millimetres in the head frame; quads stay quads.

    Args:
        head: Where the mesh comes from, for the notes at the top.
        mesh: The head's mesh.
        hair: Hair meshes as they are to be written.
        normals: Write vertex normals.

    Raises:
        MeshInvalid: A coordinate is undefined.
    """
    top = [*(f"# {note}" for note in notes(head)), f"mtllib {MTL_NAME}", "o head"]
    blocks = ["\n".join(top).encode() + b"\n"]
    writer = _Writer()
    blocks += writer.points(mesh.vertices, mesh.uv, mesh.normals if normals else None)
    for k, part in enumerate(PARTS):
        chosen = np.flatnonzero(mesh.part == k)
        blocks.append(f"g {part}\nusemtl {part}\ns 1\n".encode())
        blocks += writer.faces(mesh.quads[chosen], mesh.uv_quads[chosen])
    for name, piece in zip(hair_names(tuple(hair)), hair, strict=True):
        smooth = vertex_normals(piece.vertices, piece.triangles) if normals else None
        blocks.append(f"o hair_{name}\ng hair_{name}\n".encode())
        blocks += writer.points(piece.vertices, piece.uv, smooth)
        blocks.append(f"usemtl hair_{name}\ns 1\n".encode())
        three = np.concatenate([piece.triangles, piece.triangles[:, 2:]], 1)
        blocks += writer.faces(three, three)
    return b"".join(blocks)


def write_mtl(head: Head, maps: Maps | None, hair: Sequence[Hair] = ()) -> bytes:
    """The materials of ``write_obj``.

    Args:
        head: Where they come from.
        maps: Pictures of the head, or None.
        hair: Hair meshes as in ``write_obj``.
    """
    lines = [f"# {note}" for note in notes(head)[:2]]
    if maps is not None and maps.displacement is not None:
        reach = f"{DISPLACEMENT_RANGE_MM:g}"
        lines.append(
            f"# {DISPLACEMENT_NAME}: 16 bits, 32768 is no displacement, 0 is -{reach} mm and 65535 is {reach} mm along "
            "the normal"
        )
    for part, material in MATERIALS.items():
        lines += _material(part, material, maps)
        if maps is not None and part == "skin":
            if maps.normal is not None:
                lines.append(f"norm {NORMAL_NAME}")
            if maps.displacement is not None:
                span = f"{-DISPLACEMENT_RANGE_MM:g} {2 * DISPLACEMENT_RANGE_MM:g}"
                lines.append(f"disp -mm {span} {DISPLACEMENT_NAME}")
    for name in hair_names(tuple(hair)):
        lines += _material(f"hair_{name}", HAIR, None)[:-1]
        lines += ["Kd 1 1 1", f"map_Kd {hair_colour_name(name)}", f"map_d {hair_alpha_name(name)}"]
    return ("\n".join(lines) + "\n").encode()


@dataclass
class _Writer:
    """Counts points, since OBJ numbers them through the whole file."""

    vertices: int = 0
    texels: int = 0
    normals: int = 0
    _last: tuple[int, int, int | None] = (0, 0, None)

    def points(self, vertices: Float32, uv: Float32, normals: Float32 | None) -> list[bytes]:
        self._last = (self.vertices, self.texels, None if normals is None else self.normals)
        self.vertices += len(vertices)
        self.texels += len(uv)
        rows = [decimal_rows(b"v", vertices), decimal_rows(b"vt", uv, 6)]
        if normals is not None:
            self.normals += len(normals)
            rows.append(decimal_rows(b"vn", normals))
        return rows

    def faces(self, quads: Int32, uv_quads: Int32) -> list[bytes]:
        vertex, texel, normal = self._last
        if len(quads) and int(quads.max()) + vertex >= self.vertices:
            raise MeshInvalid(f"expected faces of {self.vertices - vertex} vertices, found index {int(quads.max())}")
        lists = [quads + vertex, uv_quads + texel] + ([] if normal is None else [quads + normal])
        three = quads[:, 2] == quads[:, 3]
        return [face_rows([i[~three] for i in lists]), face_rows([i[three][:, :3] for i in lists])]


def _material(name: str, material: Material, maps: Maps | None) -> list[str]:
    colour = material.colour if maps is None else (1.0, 1.0, 1.0)
    # Roughness to a Phong exponent: the usual match of the widths of both highlights (Karis 2013).
    shine = min(2 / material.roughness**4 - 2, 1000)
    lines = [
        f"newmtl {name}",
        "Ka 0 0 0",
        "Ks 0.04 0.04 0.04",
        f"Ns {max(shine, 0):.2f}",
        f"Pr {material.roughness:g}",
        "Pm 0",
        "d 1",
        "illum 2",
        "Kd " + " ".join(f"{c:g}" for c in colour),
    ]
    if maps is not None:
        lines.append(f"map_Kd {colour_name(maps)}")
    return lines
