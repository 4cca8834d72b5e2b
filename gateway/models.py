"""What the API answers, as the description of the API shows it.

Times are RFC 3339, UTC. Members may be added; whoever reads these must not mind.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from gateway.jobs import Event, EventKind, Failure, HeadRecord, HeadState, JobRecord, JobState, Json, ProductRecord
from gateway.jobs import Page as HeadPage

HEAD_ID = "head_oeq2sltw6fxfjkpwtwcnqkexxa"
JOB_ID = "job_5g2ja4gc2n7dyq6m3ai3wumh2u"
SHA256 = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"
VERSION_DIGITS = 16
"""Digits of a file's digest in its address."""

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]

_PRODUCT = {
    "name": "head.glb",
    "media_type": "model/gltf-binary",
    "size": 3_141_592,
    "sha256": SHA256,
    "url": f"/v1/heads/{HEAD_ID}/files/head.glb?v={SHA256[:VERSION_DIGITS]}",
}
_HEAD: dict[str, Any] = {
    "id": HEAD_ID,
    "name": "Grandma",
    "state": "reconstructing",
    "progress": 0.45,
    "cancelling": False,
    "options": {"engine": "open", "formats": ["obj", "glb"], "face": 1},
    "warnings": [{"code": "several_faces", "message": "me.jpg: there are 2 faces; number 1 was taken"}],
    "error": None,
    "created": "2026-03-01T12:00:00.000Z",
    "updated": "2026-03-01T12:00:02.250Z",
    "photos_expire": "2026-03-02T12:00:00.000Z",
    "expires": "2026-03-31T12:00:00.000Z",
    "photos": [{"name": "me.jpg", "media_type": "image/jpeg", "size": 812_345, "sha256": SHA256}],
    "products": [_PRODUCT],
    "exports": [],
    "url": f"/v1/heads/{HEAD_ID}",
    "events_url": f"/v1/heads/{HEAD_ID}/events",
}
_FACE = {
    "number": 1,
    "box_px": [170.1, 92.3, 341.0, 301.7],
    "size_px": 209.4,
    "score": 0.9981,
    "yaw_deg": -3.2,
    "pitch_deg": 1.9,
    "roll_deg": 0.4,
    "quality": {"verdict": "good", "reasons": [], "measures": {"sharpness": 0.81}},
    "landmarks_px": [[250.1, 240.7, -12.5]],
}


def _example(value: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": value})


class Warned(BaseModel):
    """What the user of a head should know."""

    code: str = Field(description="Stable snake_case name.")
    message: str = Field(description="One sentence.")


class Failed(BaseModel):
    """Why something failed."""

    code: str = Field(description="Stable snake_case name, as in problem documents.")
    message: str = Field(description="One sentence.")
    detail: dict[str, Any] = Field(description="Facts about it.")

    @classmethod
    def of(cls, failure: Failure) -> "Failed":
        """A failure of the jobs."""
        return cls(code=failure.code, message=failure.message, detail=failure.detail)


class PhotoView(BaseModel):
    """A photo; it cannot be downloaded again."""

    name: str = Field(description="File name as sent, for people.")
    media_type: str = Field(description="As its bytes say.")
    size: int = Field(ge=0, description="Bytes.")
    sha256: str = Field(description="Of its bytes, hex.")


class ProductView(BaseModel):
    """A file of a head."""

    model_config = _example(_PRODUCT)

    name: str
    media_type: str
    size: int = Field(ge=0, description="Bytes.")
    sha256: str = Field(description="Of its bytes, hex; in quotes it is the entity tag.")
    url: str = Field(description="Where it is; what is at this very address never changes.")

    @classmethod
    def of(cls, head_id: str, product: ProductRecord) -> "ProductView":
        """A product of the jobs."""
        return cls(
            name=product.name,
            media_type=product.media_type,
            size=product.size,
            sha256=product.sha256,
            url=file_url(head_id, product.name, product.sha256),
        )


class ExportView(BaseModel):
    """Further files of a head that were asked for."""

    model_config = _example(
        {"id": JOB_ID, "state": "queued", "options": {"formats": ["stl"], "size_mm": 120.0}, "error": None}
    )

    id: str
    state: JobState
    options: dict[str, Any] = Field(description="What was asked for.")
    error: Failed | None = Field(description="Why it failed; the last passing failure while it has not.")

    @classmethod
    def of(cls, job: JobRecord) -> "ExportView":
        """A job."""
        error = None if job.error is None else Failed.of(job.error)
        return cls(id=job.id, state=job.state, options=job.payload, error=error)


class HeadView(BaseModel):
    """A head."""

    model_config = _example(_HEAD)

    id: str
    name: str = Field(description="The customer's own name for it.")
    state: HeadState
    progress: float = Field(ge=0, le=1, description="Never falls.")
    cancelling: bool = Field(description="Whether it has been cancelled and a worker has yet to stop.")
    options: dict[str, Any] = Field(description="What was asked for.")
    warnings: list[Warned]
    error: Failed | None = Field(description="Why it failed.")
    created: Time
    updated: Time
    photos_expire: Time | None = Field(description="When the photos are removed; null when they have been.")
    expires: Time = Field(description="When everything is removed.")
    photos: list[PhotoView]
    products: list[ProductView] = Field(description="In the order they became ready; the preview comes first.")
    exports: list[ExportView]
    url: str
    events_url: str

    @classmethod
    def of(cls, head: HeadRecord) -> "HeadView":
        """A head of the jobs."""
        return cls(
            id=head.id,
            name=head.name,
            state=head.state,
            progress=head.progress,
            cancelling=head.cancelling,
            options=head.options,
            warnings=[Warned(code=w.code, message=w.message) for w in head.warnings],
            error=None if head.error is None else Failed.of(head.error),
            created=time_of(head.created),
            updated=time_of(head.updated),
            photos_expire=None if head.photos_expire is None else time_of(head.photos_expire),
            expires=time_of(head.expires),
            photos=[PhotoView(name=p.name, media_type=p.media_type, size=p.size, sha256=p.sha256) for p in head.photos],
            products=[ProductView.of(head.id, p) for p in head.products],
            exports=[ExportView.of(e) for e in head.exports],
            url=head_url(head.id),
            events_url=f"{head_url(head.id)}/events",
        )


class HeadList(BaseModel):
    """Some heads, newest first."""

    model_config = _example({"heads": [_HEAD], "cursor": None})

    heads: list[HeadView]
    cursor: str | None = Field(description="Where the next page starts; null after the last.")

    @classmethod
    def of(cls, page: HeadPage) -> "HeadList":
        """A page of the jobs."""
        return cls(heads=[HeadView.of(h) for h in page.heads], cursor=page.cursor)


class Removed(BaseModel):
    """Objects of the store that were removed."""

    objects: int = Field(ge=0)
    bytes: int = Field(ge=0)


class ReceiptView(BaseModel):
    """What deleting a head has removed."""

    model_config = _example(
        {
            "id": HEAD_ID,
            "deleted": "2026-03-01T12:30:00.000Z",
            "rows": True,
            "photos": {"objects": 3, "bytes": 9_812_345},
            "products": {"objects": 9, "bytes": 31_415_926},
            "complete": True,
        }
    )

    id: str
    deleted: Time
    rows: Literal[True] = Field(description="All that was recorded about the head is gone.")
    photos: Removed = Field(description="The photos, and what was made from them on the way.")
    products: Removed = Field(description="The head and its files.")
    complete: bool = Field(
        description="Whether nothing is left. If not, a worker was still at it or the store did not answer, and the "
        "rest is removed as soon as can be."
    )


class QualityView(BaseModel):
    """How well a face can be reconstructed."""

    verdict: Literal["good", "fair", "poor", "unusable"]
    reasons: list[str]
    measures: dict[str, float]


class FaceView(BaseModel):
    """A face in a photo; pixels from the outer corner of the top left one, angles in degrees."""

    model_config = _example(_FACE)

    number: int = Field(ge=1, description="1 for the most prominent; what the option face takes.")
    box_px: list[float] = Field(min_length=4, max_length=4, description="Left, top, right, bottom.")
    size_px: float
    score: float = Field(ge=0, le=1)
    yaw_deg: float = Field(description="Positive when the face turns to the subject's left.")
    pitch_deg: float = Field(description="Positive when the face looks up.")
    roll_deg: float = Field(description="Clockwise as seen in the picture.")
    quality: QualityView
    landmarks_px: list[list[float]] = Field(description="478 points x, y, z; smaller z is nearer.")


class Detection(BaseModel):
    """The faces of a photo, the most prominent first."""

    model_config = _example({"sha256": SHA256, "width": 512, "height": 512, "faces": [_FACE]})

    sha256: str = Field(description="Of the photo's bytes, hex.")
    width: int = Field(ge=1, description="Pixels, upright.")
    height: int = Field(ge=1)
    faces: list[FaceView]


class EngineView(BaseModel):
    """An engine that makes heads."""

    model_config = _example(
        {
            "name": "open",
            "version": "0.1.0",
            "licence": "Results may be used for anything, commercial use included.",
            "commercial_use": True,
            "available": True,
            "unavailable_reason": None,
            "topology": "maquette-head-1",
            "topology_version": "1.0",
            "max_photos": 16,
        }
    )

    name: str
    version: str
    licence: str = Field(description="Terms that its results come under.")
    commercial_use: bool = Field(description="Whether these allow commercial use.")
    available: bool = Field(description="Whether it can be used here and now.")
    unavailable_reason: str | None
    topology: str = Field(description="Heads of equal topology have equal vertex indices.")
    topology_version: str
    max_photos: int = Field(ge=0)


class EngineList(BaseModel):
    """The engines that are known here."""

    engines: list[EngineView]


class Health(BaseModel):
    """The process answers."""

    model_config = _example({"status": "ok", "version": "0.1.0"})

    status: Literal["ok"]
    version: str


class Dependency(BaseModel):
    """Something that the gateway needs."""

    status: Literal["ok", "failed"]
    code: str | None = Field(default=None, description="Why not, as in problem documents.")


class Readiness(BaseModel):
    """Whether requests can be answered."""

    model_config = _example(
        {
            "status": "ready",
            "dependencies": {
                "jobs": {"status": "ok", "code": None},
                "store": {"status": "ok", "code": None},
                "detector": {"status": "ok", "code": None},
                "reconstructor": {"status": "ok", "code": None},
            },
        }
    )

    status: Literal["ready", "unready", "draining"]
    dependencies: dict[str, Dependency]


def event_data(head_id: str, event: Event) -> Json:
    """Data of an event, as a stream sends it: that of the jobs, with the time, and a product's address."""
    data = {**event.data, "at": time_of(event.at)}
    if event.kind is EventKind.PRODUCT:
        data["url"] = file_url(head_id, event.data["name"], event.data["sha256"])
    return data


def head_url(head_id: str) -> str:
    """Address of a head."""
    return f"/v1/heads/{head_id}"


def file_url(head_id: str, name: str, sha256: str) -> str:
    """Address of a file as it is now: another content has another one."""
    return f"{head_url(head_id)}/files/{quote(name, safe='')}?v={sha256[:VERSION_DIGITS]}"


def time_of(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339, in milliseconds, UTC."""
    when = datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
