"""Settings of the reconstructor service, read once from the environment in main()."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ReconstructorSettings(BaseSettings):
    """What the reconstructor can be told beside how it serves, as ``MAQUETTE_RECONSTRUCTOR_<NAME>``.

    Attributes:
        triton_url: ``HOST:PORT`` of the gRPC endpoint of a Triton server that has the engines; without it they run in
            this process.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_RECONSTRUCTOR_", frozen=True)

    triton_url: str | None = Field(default=None, min_length=1)
