"""How the gateway answers, read once from the environment."""

from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.jobs.keys import check_rate
from maquette.errors import OptionInvalid

MOST_PHOTOS = 16


class GatewaySettings(BaseSettings):
    """The HTTP side, as ``MAQUETTE_GATEWAY_<NAME>``.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        require_keys: Whether a request needs an API key. Without, whoever can reach the gateway is the owner ``local``
            and may do everything, so that this is for loopback addresses only.
        cors_origins: Origins whose pages may call the gateway, separated by commas; ``*`` for all.
        max_photo_bytes: Largest photo file.
        max_photo_pixels: Largest photo, as its header says; the detector looks again when it decodes it.
        max_photos: Most photos of one head.
        body_pause_s: How long a body may pause before it is given up, seconds.
        upload_s: How long a body may take in all, seconds; less than ``MAQUETTE_JOBS_UPLOAD_S``.
        answer_pause_s: How long a caller may leave an answer unread before it is given up, seconds.
        max_uploads: Uploads that are received at once; further ones are refused for a moment.
        max_uploads_per_owner: Of these, those of one owner.
        max_detects: Photos that ``POST /v1/detect`` looks at once.
        max_detects_waiting: Photos that wait for that; further ones are refused for a moment.
        detect_s: How long that may take, seconds.
        rate: Most requests of a key that has no rate of its own, in the notation of the library ``limits``; empty for
            any number. Requests without a key are not counted.
        rate_storage: Where requests are counted, in the notation of ``limits``: this process, or a server (with its
            package installed) that several gateways share.
        heartbeat_s: How often a stream of events says that it is alive, seconds.
        stream_s: How long a stream of events lasts, seconds; callers go on with ``Last-Event-ID``.
        max_streams: Streams of events that are open at once.
        max_streams_per_owner: Of these, those of one owner.
        files: How products are handed out: ``stream`` by the gateway, or ``redirect`` to a link into the object store,
            where the store has such links.
        link_s: How long such a link lasts, seconds.
        threads: Threads that read and write the object store, beside those of uploads.
        ready_s: How long a dependency has to say that it is ready, seconds.
        metrics_open: Whether ``/metrics`` can be read without a key.
    """

    model_config = SettingsConfigDict(env_prefix="MAQUETTE_GATEWAY_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    require_keys: bool = True
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    max_photo_bytes: int = Field(default=25_000_000, gt=0)
    max_photo_pixels: int = Field(default=100_000_000, gt=0)
    max_photos: int = Field(default=MOST_PHOTOS, ge=1, le=MOST_PHOTOS)
    body_pause_s: float = Field(default=30.0, gt=0)
    upload_s: float = Field(default=600.0, gt=0)
    answer_pause_s: float = Field(default=60.0, gt=0)
    max_uploads: int = Field(default=64, ge=1)
    max_uploads_per_owner: int = Field(default=16, ge=1)
    max_detects: int = Field(default=4, ge=1)
    max_detects_waiting: int = Field(default=32, ge=0)
    detect_s: float = Field(default=60.0, gt=0)
    rate: str = "50/second;1000/minute"
    rate_storage: str = "async+memory://"
    heartbeat_s: float = Field(default=15.0, gt=0)
    stream_s: float = Field(default=3600.0, gt=0)
    max_streams: int = Field(default=5000, ge=1)
    max_streams_per_owner: int = Field(default=1000, ge=1)
    files: Literal["stream", "redirect"] = "stream"
    link_s: int = Field(default=300, ge=1, le=604_800)
    threads: int = Field(default=16, ge=1)
    ready_s: float = Field(default=3.0, gt=0)
    metrics_open: bool = False

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, origins: object) -> object:
        return tuple(o.strip() for o in origins.split(",") if o.strip()) if isinstance(origins, str) else origins

    @field_validator("rate")
    @classmethod
    def _rate(cls, rate: str) -> str:
        try:
            return check_rate(rate) if rate else rate
        except OptionInvalid as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _owner_within_all(self) -> Self:
        for name in ("max_uploads", "max_streams"):
            if getattr(self, f"{name}_per_owner") > getattr(self, name):
                raise ValueError(f"expected {name}_per_owner to be at most {name}")
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
