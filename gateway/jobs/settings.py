"""Where the jobs are kept and how they are treated, read once from the environment."""

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from maquette.settings import Settings

DAY = 86_400.0


def _embedded() -> SecretStr:
    return SecretStr("sqlite:///" + quote(str(Settings().home / "jobs.sqlite3")))


class JobSettings(BaseSettings):
    """The jobs and their database, as ``MAQUETTE_JOBS_<NAME>``.

    Attributes:
        database_url: ``sqlite:///PATH``, a file of this machine, or ``postgresql://USER:PASSWORD@HOST:PORT/NAME``
            with whatever libpq's URLs may say besides. Behind a connection pooler it must be in session mode: waiting
            is by LISTEN.
        migrate: Make or update the tables when the database is opened. When off, another version is refused.
        connections: Most connections a process holds; PostgreSQL: one more waits for notifications.
        outage_s: How long to go on trying when the database does not answer, seconds.
        poll_s: SQLite: how often to look for what other processes have written where the log does not show it, seconds.
        lease_s: How long a worker may be silent before its job is another's, seconds.
        losses: A job whose lease has run out this often has failed.
        attempts: A job that has failed this often for passing reasons has failed.
        retry_first_s: Pause after the first failed try, seconds; twice as long after each further one.
        retry_longest_s: Longest such pause, seconds.
        queue_limit: Most jobs that wait; beyond it, none is taken.
        upload_s: How long an upload may take from ``reserve`` to ``create_head``, seconds.
        photo_retention_s: How long photos are kept, seconds.
        product_retention_s: How long heads and products are kept, seconds.
        row_retention_s: How long after that it is remembered that there was a head, seconds.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_JOBS_", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(default_factory=_embedded)
    migrate: bool = True
    connections: int = Field(default=10, ge=1, le=1000)
    outage_s: float = Field(default=30.0, ge=0)
    poll_s: float = Field(default=0.2, gt=0)
    lease_s: float = Field(default=30.0, gt=0)
    losses: int = Field(default=3, ge=1)
    attempts: int = Field(default=8, ge=1)
    retry_first_s: float = Field(default=1.0, ge=0)
    retry_longest_s: float = Field(default=60.0, ge=0)
    queue_limit: int = Field(default=10_000, ge=1)
    upload_s: float = Field(default=3600.0, ge=60)
    photo_retention_s: float = Field(default=DAY, gt=0)
    product_retention_s: float = Field(default=30 * DAY, gt=0)
    row_retention_s: float = Field(default=30 * DAY, ge=0)

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, url: SecretStr) -> SecretStr:
        parts = urlsplit(url.get_secret_value())
        if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1 and not parts.query:
            return url
        if parts.scheme in ("postgresql", "postgres"):
            return url
        raise ValueError(f"expected sqlite:///PATH or postgresql://…, found the scheme {parts.scheme!r}")

    @property
    def sqlite_path(self) -> Path | None:
        """The file, when the database is SQLite's: ``sqlite:////absolute`` or ``sqlite:///relative``."""
        parts = urlsplit(self.database_url.get_secret_value())
        return Path(unquote(parts.path[1:])) if parts.scheme == "sqlite" else None

    def pause(self, failures: int) -> float:
        """Seconds between the n-th failed try of a job and the next: 1, 2, 4, … times the first pause, to a limit."""
        return min(self.retry_first_s * 2.0 ** min(failures - 1, 60), self.retry_longest_s)
