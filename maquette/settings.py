"""Settings of an installation, read once from the environment and passed in."""

from pathlib import Path

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be set, as ``MAQUETTE_<NAME>``.

    Attributes:
        home: Folder of the landmark networks and of users' own weights.
        max_bytes: Largest photo file.
        max_pixels: Largest decoded photo.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_", frozen=True)

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("maquette", appauthor=False)))
    max_bytes: int = Field(default=100_000_000, gt=0)
    max_pixels: int = Field(default=100_000_000, gt=0)

    @property
    def networks(self) -> Path:
        """Folder of the landmark networks."""
        return self.home / "networks"
