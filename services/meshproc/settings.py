"""Settings of the mesh service, read once from the environment in main()."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.meshproc.files import MeshLimits


class MeshprocSettings(BaseSettings):
    """What the mesh service can be told beside how it serves, as ``MAQUETTE_MESHPROC_<NAME>``.

    Attributes:
        max_mesh_bytes: Largest mesh file that is inspected, mended or simplified.
        max_triangles: Most triangles of such a mesh.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_MESHPROC_", frozen=True)

    max_mesh_bytes: int = Field(default=MeshLimits().max_bytes, gt=0)
    max_triangles: int = Field(default=MeshLimits().max_triangles, gt=0)

    @property
    def limits(self) -> MeshLimits:
        """The limits on meshes."""
        return MeshLimits(self.max_mesh_bytes, self.max_triangles)
