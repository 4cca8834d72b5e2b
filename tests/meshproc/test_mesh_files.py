"""Mesh files from elsewhere: what is read, and what is refused."""

import io
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import trimesh

from maquette.errors import MeshInvalid
from services.meshproc.files import MEDIA_TYPES, MeshLimits, TriangleMesh, read_mesh, write_mesh
from services.meshproc.inspection import inspect

GLB, OBJ, PLY, STL = "model/gltf-binary", "model/obj", "application/vnd.ply", "model/stl"
SUFFIXES = {GLB: "glb", OBJ: "obj", PLY: "ply", STL: "stl"}
LIMITS = MeshLimits()
SQUARE = b"""ply
format ascii 1.0
comment a square, a triangle and what else there may be
element vertex 5
property double x
property float y
property float z
property uchar red
element face 2
property uchar flags
property list uchar int vertex_indices
element edge 1
property int a
end_header
0 0 0 7
1 0 0 7
1 1 0 7
0 1 0 7
2 2 0 7
9 4 0 1 2 3
9 3 2 3 4
5
"""


@pytest.fixture(scope="module")
def ball() -> TriangleMesh:
    shape = trimesh.creation.icosphere(2, radius=40)
    return TriangleMesh(np.asarray(shape.vertices, np.float64), np.asarray(shape.faces, np.int32))


def glb(document: dict[str, Any], buffer: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = struct.pack("<I4s", len(buffer), b"BIN\0") + buffer if buffer else b""
    total = 20 + len(text) + len(rest)
    return struct.pack("<4sIII4s", b"glTF", 2, total, len(text), b"JSON") + text + rest


def triangle(**changes: Any) -> bytes:
    """A GLB of one triangle whose document is changed."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes()
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 44}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 6}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    return glb(document | changes, points + struct.pack("<4H", 0, 1, 2, 0))


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_what_is_written_is_read_again(ball: TriangleMesh, media_type: str) -> None:
    data = write_mesh(ball, media_type)
    assert data == write_mesh(ball, media_type)
    back = read_mesh(data, media_type, LIMITS)
    corners = back.vertices[back.triangles]
    assert np.allclose(corners, ball.vertices[ball.triangles], atol=1e-5)
    assert inspect(back).watertight


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_an_independent_reader_finds_the_same_mesh(ball: TriangleMesh, media_type: str) -> None:
    found = trimesh.load_mesh(io.BytesIO(write_mesh(ball, media_type)), file_type=SUFFIXES[media_type])
    scale = 1000 if media_type == GLB else 1
    assert len(found.faces) == len(ball.triangles)
    assert np.allclose(found.extents * scale, np.ptp(ball.vertices, 0), rtol=1e-5)


@pytest.mark.parametrize(
    ("media_type", "export"),
    [
        (STL, lambda m: m.export(file_type="stl_ascii").encode()),
        (PLY, lambda m: m.export(file_type="ply", encoding="ascii")),
        (PLY, lambda m: m.export(file_type="ply")),
        (OBJ, lambda m: m.export(file_type="obj").encode()),
        (GLB, lambda m: m.export(file_type="glb")),
    ],
)
def test_files_of_another_writer_are_read(
    ball: TriangleMesh, media_type: str, export: Callable[[trimesh.Trimesh], bytes]
) -> None:
    data = export(trimesh.Trimesh(ball.vertices, ball.triangles, process=False))
    figures = inspect(read_mesh(data, media_type, LIMITS))
    scale = 1e9 if media_type == GLB else 1
    assert figures.watertight
    assert figures.triangles == len(ball.triangles)
    assert figures.volume_mm3 == pytest.approx(trimesh.Trimesh(ball.vertices, ball.triangles).volume * scale, rel=1e-4)


def test_polygons_become_triangles_and_other_elements_are_passed_over() -> None:
    mesh = read_mesh(SQUARE, PLY, LIMITS)
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [2, 3, 4]]
    text = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nusemtl skin\nf -4//1 2/5 \\\n3 4\nvt nonsense\n"
    assert read_mesh(text, OBJ, LIMITS).triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_binary_polygons_of_unequal_length_are_read() -> None:
    header, _, _ = SQUARE.partition(b"0 0 0 7")
    for order in (">", "<"):
        kind = b"binary_big_endian" if order == ">" else b"binary_little_endian"
        points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 2, 0)]
        body = b"".join(struct.pack(f"{order}dffB", *p, 7) for p in points)
        body += struct.pack(f"{order}BB4i", 9, 4, 0, 1, 2, 3) + struct.pack(f"{order}BB3i", 9, 3, 2, 3, 4)
        body += struct.pack(f"{order}i", 5)
        mesh = read_mesh(header.replace(b"ascii", kind) + body, PLY, LIMITS)
        assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [2, 3, 4]]
        assert mesh.vertices.tolist() == [list(map(float, p)) for p in points]


def test_nodes_put_their_meshes_in_place_and_mirrors_turn_them() -> None:
    plain = read_mesh(triangle(), GLB, LIMITS)
    assert plain.vertices.tolist() == [[0, 0, 0], [1000, 0, 0], [0, 1000, 0]]
    nodes = [{"children": [1], "translation": [0, 0, 2]}, {"mesh": 0, "scale": [-1, 1, 1]}]
    moved = read_mesh(triangle(nodes=nodes), GLB, LIMITS)
    assert moved.vertices.tolist() == [[0, 0, 2000], [-1000, 0, 2000], [0, 1000, 2000]]
    assert moved.triangles.tolist() == [[2, 1, 0]]
    turned = read_mesh(triangle(nodes=[{"mesh": 0, "rotation": [0, 0, 1, 0]}]), GLB, LIMITS)
    assert np.allclose(turned.vertices, plain.vertices * [-1, -1, 1])
    matrix = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 1, 0, 0, 1]
    assert read_mesh(triangle(nodes=[{"mesh": 0, "matrix": matrix}]), GLB, LIMITS).vertices[0].tolist() == [1000, 0, 0]


VIEWS = [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 6}]
POSITION = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}
INDICES = {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"}


@pytest.mark.parametrize(
    "changes",
    [
        {"accessors": [POSITION | {"count": 2**40}, INDICES]},
        {"accessors": [POSITION | {"count": 10**400}, INDICES]},
        {"accessors": [POSITION | {"count": -1}, INDICES]},
        {"accessors": [POSITION | {"count": 3.0}, INDICES]},
        {"accessors": [POSITION | {"byteOffset": -12}, INDICES]},
        {"accessors": [POSITION | {"byteOffset": 4}, INDICES]},
        {"accessors": [{k: v for k, v in POSITION.items() if k != "bufferView"} | {"count": 10**9}, INDICES]},
        {"accessors": [POSITION, INDICES | {"bufferView": 0, "componentType": 5125, "byteOffset": 12}]},
        {"accessors": [POSITION, INDICES | {"componentType": 5126}]},
        {"bufferViews": [VIEWS[0] | {"byteLength": 10**12}, VIEWS[1]]},
        {"bufferViews": [VIEWS[0] | {"byteOffset": -36}, VIEWS[1]]},
        {"bufferViews": [VIEWS[0] | {"byteStride": 0}, VIEWS[1]]},
        {"bufferViews": [VIEWS[0] | {"byteStride": -12}, VIEWS[1]]},
        {"bufferViews": [VIEWS[0] | {"buffer": 1}, VIEWS[1]]},
        {"buffers": [{"byteLength": 44, "uri": "file:///etc/passwd"}]},
        {"extensionsRequired": ["KHR_draco_mesh_compression"]},
        {"meshes": [{"primitives": [{"attributes": {"POSITION": -1}}]}]},
        {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}]},
        {"meshes": "none"},
        {"nodes": [{"mesh": 7}]},
        {"nodes": [{"mesh": 0, "children": [0]}]},
        {"nodes": [{"children": [1, 1]}, {"mesh": 0}]},
        {"nodes": [{"mesh": 0, "scale": [1e308, 1, 1]}]},
        {"nodes": [{"mesh": 0, "scale": [1e9, 1, 1], "children": []}]},
        {"nodes": [{"mesh": 0, "rotation": [0, 0, 0, 0]}]},
        {"nodes": [{"mesh": 0, "matrix": [1, 2, 3]}]},
        {"scene": 3},
        {"scenes": [{"nodes": ["0"]}]},
    ],
)
def test_a_glb_that_does_not_add_up_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MeshInvalid):
        read_mesh(triangle(**changes), GLB, LIMITS)


def test_one_mesh_drawn_a_million_times_is_counted_before_it_is_made() -> None:
    primitives = [{"attributes": {"POSITION": 0}, "indices": 1}] * 2000
    limits = MeshLimits(max_triangles=1000)
    with pytest.raises(MeshInvalid, match=r"at most 1,000 triangles|at most 3,000 vertices"):
        read_mesh(triangle(meshes=[{"primitives": primitives}]), GLB, limits)


NAN = np.float32("nan").tobytes()


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        (STL, b""),
        (STL, bytes(84)),
        (STL, bytes(80) + b"\xff\xff\xff\xff" + bytes(50)),
        (STL, bytes(80) + b"\x01\0\0\0" + bytes(49)),
        (STL, bytes(80) + b"\x01\0\0\0" + bytes(12) + NAN * 9 + bytes(2)),
        (
            STL,
            b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n",
        ),
        (STL, b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nendloop\nendfacet\nendsolid a\n"),
        (STL, b"solid a\nfacet normal 0 0 1\nvertex 0 0 0\nvertex 1 x 0\nvertex 0 1 0\nendfacet\nendsolid\n"),
        (STL, b"solid a\nendsolid a\n"),
        (OBJ, b""),
        (OBJ, b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"),
        (OBJ, b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n"),
        (OBJ, b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 0\n"),
        (OBJ, b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -4\n"),
        (OBJ, b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\n"),
        (OBJ, b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999999\n"),
        (OBJ, b"v 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        (OBJ, b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        (OBJ, b"v 0 0 1e300\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        (OBJ, b"\0\xff" * 100),
        (PLY, b"ply\n"),
        (PLY, SQUARE[:-30]),
        (PLY, SQUARE.replace(b"vertex 5", b"vertex 4000000000")),
        (PLY, SQUARE.replace(b"vertex 5", b"vertex -5")),
        (PLY, SQUARE.replace(b"face 2", b"face 99999999999999")),
        (PLY, SQUARE.replace(b"9 3 2 3 4", b"9 3 2 3 5")),
        (PLY, SQUARE.replace(b"9 3 2 3 4", b"9 3 2 3 -1")),
        (PLY, SQUARE.replace(b"9 3 2 3 4", b"9 3 2 3 1.5")),
        (PLY, SQUARE.replace(b"9 3 2 3 4", b"9 4000000000 2 3 4")),
        (PLY, SQUARE.replace(b"9 3 2 3 4", b"9 -3 2 3 4")),
        (PLY, SQUARE.replace(b"2 2 0 7", b"2 nan 0 7")),
        (PLY, SQUARE.replace(b"2 2 0 7", b"2 two 0 7")),
        (PLY, SQUARE.replace(b"property float z\n", b"")),
        (PLY, SQUARE.replace(b"property list uchar int vertex_indices", b"property int vertex_indices")),
        (PLY, SQUARE.replace(b"property uchar red", b"property list uchar int red")),
        (PLY, SQUARE.replace(b"property uchar red", b"property colour red")),
        (PLY, SQUARE.replace(b"property uchar red", b"property uchar red\n" * 300)),
        (PLY, SQUARE.replace(b"element edge", b"element face")),
        (PLY, SQUARE.replace(b"ascii 1.0", b"ascii 9.0")),
        (PLY, SQUARE.replace(b"format ascii", b"format binary_little_endian")),
        (GLB, b""),
        (GLB, b"glTF" + bytes(100)),
        (GLB, triangle()[:-1]),
        (GLB, triangle() + b"\0"),
        (GLB, triangle().replace(b"BIN\0", b"BINX")),
        (GLB, triangle()[:60]),
        (GLB, glb({"asset": {"version": "2.0"}})),
        (GLB, glb({"nodes": [{"mesh": 0}], "meshes": []})),
        (GLB, struct.pack("<4sIII4s", b"glTF", 2, 20 + 4000, 4000, b"JSON") + b"[" * 4000),
        (GLB, struct.pack("<4sIII4s", b"glTF", 2, 24, 4, b"JSON") + b"NaN "),
    ],
)
def test_damaged_and_hostile_files_are_refused_by_name(media_type: str, data: bytes) -> None:
    with pytest.raises(MeshInvalid):
        read_mesh(data, media_type, LIMITS)


def test_a_number_as_long_as_the_file_takes_no_room_of_its_own() -> None:
    facet = b"facet normal 0 0 1\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendfacet\n"
    data = b"solid a\n" + facet * 2000 + facet.replace(b"vertex 1", b"vertex " + b"1" * 2_000_000) + b"endsolid a"
    with pytest.raises(MeshInvalid, match=r"6,003 vertices.*found 6,002"):
        read_mesh(data, STL, LIMITS)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_limits_hold(ball: TriangleMesh, media_type: str) -> None:
    data = write_mesh(ball, media_type)
    with pytest.raises(MeshInvalid, match="bytes") as caught:
        read_mesh(data, media_type, MeshLimits(max_bytes=len(data) - 1))
    assert caught.value.detail == {"bytes": len(data), "limit": len(data) - 1}
    with pytest.raises(MeshInvalid, match="at most 319 triangles"):
        read_mesh(data, media_type, MeshLimits(max_triangles=len(ball.triangles) - 1))
    read_mesh(data, media_type, MeshLimits(len(data), len(ball.triangles)))


def test_another_media_type_is_refused(ball: TriangleMesh) -> None:
    for media_type in ("", "model/3mf", "application/octet-stream"):
        with pytest.raises(MeshInvalid, match="media type"):
            read_mesh(write_mesh(ball, STL), media_type, LIMITS)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_whatever_a_file_holds_it_is_a_mesh_or_refused(ball: TriangleMesh, media_type: str) -> None:
    whole = trimesh.Trimesh(ball.vertices, ball.triangles, process=False)
    others = {
        STL: whole.export(file_type="stl_ascii").encode(),
        PLY: SQUARE,
        OBJ: whole.export(file_type="obj").encode(),
        GLB: triangle(),
    }
    dice = random.Random(0)
    refused = 0
    for n in range(600):
        data = bytearray(write_mesh(ball, media_type) if n % 2 else others[media_type])
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(min(len(data), 2000)) if dice.random() < 0.7 else dice.randrange(len(data))
            match dice.randrange(5):
                case 0:
                    data[at] = dice.randrange(256)
                case 1:
                    del data[at + 1 :]
                case 2:
                    data[at:at] = bytes(dice.choices(b'0123456789-e.[]{}," \n\xff\0', k=dice.randint(1, 8)))
                case 3:
                    data[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\xc0\x7f", b"9999"])
                case 4:
                    data += data[at : at + 60]
        try:
            mesh = read_mesh(bytes(data), media_type, MeshLimits(1_000_000, 10_000))
        except MeshInvalid:
            refused += 1
        else:
            assert np.isfinite(mesh.vertices).all()
            assert 0 <= mesh.triangles.min() <= mesh.triangles.max() < len(mesh.vertices)
    assert refused > 100
