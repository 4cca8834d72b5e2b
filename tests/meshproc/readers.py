"""Readers of what the mesh room writes, made from the formats' descriptions and not from the writers."""

import json
import struct
from dataclasses import dataclass, field

import numpy as np


@dataclass
class ObjFile:
    """Objects of an OBJ file, indices counted from zero."""

    vertices: np.ndarray
    uv: np.ndarray
    normals: np.ndarray
    materials: str
    faces: dict[tuple[str, str, str], list[list[tuple[int, ...]]]] = field(default_factory=dict)

    def corners(self, group: str, position: int = 0) -> list[list[int]]:
        """Indices of each face of a group: of vertices (0), texture vertices (1) or normals (2)."""
        return [[c[position] for c in face] for key, faces in self.faces.items() if key[1] == group for face in faces]


def read_obj(data: bytes) -> ObjFile:
    points: dict[str, list[list[float]]] = {"v": [], "vt": [], "vn": []}
    out = ObjFile(np.zeros(0), np.zeros(0), np.zeros(0), "")
    place = ["", "", ""]
    for line in data.decode("ascii").splitlines():
        word, *rest = line.split()
        if word in points:
            points[word].append([float(r) for r in rest])
        elif word == "mtllib":
            out.materials = rest[0]
        elif word in ("o", "g", "usemtl"):
            place["ogu".index(word[0])] = rest[0]
        elif word == "f":
            face = [tuple(int(i) - 1 for i in corner.split("/")) for corner in rest]
            out.faces.setdefault((place[0], place[1], place[2]), []).append(face)
        else:
            assert word in ("#", "s"), line
    out.vertices, out.uv, out.normals = (np.array(points[k]) for k in ("v", "vt", "vn"))
    return out


_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass
class GlbFile:
    """A glTF document with its buffer."""

    json: dict
    buffer: bytes

    def view(self, index: int) -> bytes:
        view = self.json["bufferViews"][index]
        start = view.get("byteOffset", 0)
        return self.buffer[start : start + view["byteLength"]]

    def accessor(self, index: int) -> np.ndarray:
        entry = self.json["accessors"][index]
        kind, width, count = _TYPES[entry["componentType"]], _WIDTHS[entry["type"]], entry["count"]
        out = np.zeros((count, width), kind)
        if "bufferView" in entry:
            out[:] = np.frombuffer(self.view(entry["bufferView"]), kind, count * width).reshape(count, width)
        if "sparse" in entry:
            sparse = entry["sparse"]
            rows = np.frombuffer(
                self.view(sparse["indices"]["bufferView"]), _TYPES[sparse["indices"]["componentType"]], sparse["count"]
            )
            values = np.frombuffer(self.view(sparse["values"]["bufferView"]), kind, sparse["count"] * width)
            out[rows] = values.reshape(-1, width)
        if entry.get("normalized"):
            return out / np.iinfo(out.dtype).max
        return out[:, 0] if width == 1 else out

    def mesh(self, name: str) -> dict:
        return next(m for m in self.json["meshes"] if m["name"] == name)

    def primitive(self, mesh: str, material: str) -> dict:
        names = [m["name"] for m in self.json["materials"]]
        return next(p for p in self.mesh(mesh)["primitives"] if names[p["material"]] == material)

    def globals(self) -> dict[str, np.ndarray]:
        """(4, 4) transform of each node, by name."""
        out: dict[str, np.ndarray] = {}

        def visit(index: int, above: np.ndarray) -> None:
            node = self.json["nodes"][index]
            own = np.eye(4)
            x, y, z, w = node.get("rotation", (0, 0, 0, 1))
            own[:3, :3] = [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
            own[:3, 3] = node.get("translation", (0, 0, 0))
            out[node["name"]] = above @ own
            for child in node.get("children", ()):
                visit(child, out[node["name"]])

        for root in self.json["scenes"][self.json["scene"]]["nodes"]:
            visit(root, np.eye(4))
        return out

    def shown(self, mesh: str, primitive: dict) -> np.ndarray:
        """(N, 3) vertices of a primitive as a viewer shows them: default weights, then the skin."""
        points = self.accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
        for weight, target in zip(self.mesh(mesh).get("weights", ()), primitive.get("targets", ()), strict=True):
            if weight:
                points = points + weight * self.accessor(target["POSITION"])
        skin = self.json["skins"][0]
        places = self.globals()
        inverse = self.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        names = [self.json["nodes"][n]["name"] for n in skin["joints"]]
        joints = np.stack([places[n] @ m for n, m in zip(names, inverse, strict=True)])
        chosen = self.accessor(primitive["attributes"]["JOINTS_0"])
        share = self.accessor(primitive["attributes"]["WEIGHTS_0"])
        moved = np.einsum("vkij,vj->vki", joints[chosen], np.pad(points, ((0, 0), (0, 1)), constant_values=1))
        return np.einsum("vki,vk->vi", moved[..., :3], share)


def read_glb(data: bytes) -> GlbFile:
    magic, version, length, size, kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    document = json.loads(data[20 : 20 + size])
    binary, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0"
    return GlbFile(document, data[28 + size : 28 + size + binary])


def read_ply(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Vertices as a structured array and (F, 3) faces of a binary PLY of triangles."""
    head, _, body = data.partition(b"end_header\n")
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    counts = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("element")}
    kinds = {"float": "<f4", "uchar": "u1"}
    fields = [line.split()[1:] for line in lines if line.startswith("property") and " list " not in line]
    vertex = np.dtype([(name, kinds[kind]) for kind, name in fields])
    vertices = np.frombuffer(body, vertex, counts["vertex"])
    face = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
    faces = np.frombuffer(body, face, counts["face"], offset=vertices.nbytes)
    assert len(body) == vertices.nbytes + faces.nbytes and (faces["count"] == 3).all()
    return vertices, faces["corners"]
