"""Mesh files from elsewhere: STL, OBJ, PLY and GLB to triangles and back.

Nothing in a file is trusted: every count is held against the bytes that are there before anything is made of it, and
whatever does not add up is refused by name. Pictures, materials and whatever a file refers to are left alone.
"""

from services.meshproc.files.formats import MEDIA_TYPES, read_mesh, write_mesh
from services.meshproc.files.mesh import MeshLimits, TriangleMesh

__all__ = ["MEDIA_TYPES", "MeshLimits", "TriangleMesh", "read_mesh", "write_mesh"]
