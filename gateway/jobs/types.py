"""What the jobs' database is asked and what it answers.

All times are UTC, in seconds since 1970, as the store's clock gives them.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from maquette.errors import MaquetteError
from maquette.types import Caution

Json = dict[str, Any]
"""A JSON object: text, finite numbers, booleans, None, lists and objects of these."""


class HeadState(StrEnum):
    """Where a head is on its way; see ``docs/jobs.md``."""

    QUEUED = "queued"
    DETECTING = "detecting"
    RECONSTRUCTING = "reconstructing"
    MESHING = "meshing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether its reconstruction is over."""
        return self in (HeadState.DONE, HeadState.FAILED, HeadState.CANCELLED, HeadState.EXPIRED)

    @property
    def working(self) -> bool:
        """Whether a worker reports it (the others follow from what becomes of the job)."""
        return self in (HeadState.DETECTING, HeadState.RECONSTRUCTING, HeadState.MESHING)


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def open(self) -> bool:
        """Whether there is still something to be done."""
        return self in (JobState.QUEUED, JobState.RUNNING)


class JobKind(StrEnum):
    """What a job is for."""

    RECONSTRUCT = "reconstruct"
    EXPORT = "export"


class Reason(StrEnum):
    """Why a job has failed: what a dead letter says.

    Attributes:
        PERMANENT: The error will not go away by trying again.
        EXHAUSTED: Every try ended in a passing error; the last one is the job's error.
        WORKER_LOST: Its workers died, or could not renew their leases, too often.
        PHOTOS_EXPIRED: The photos' time was over first.
    """

    PERMANENT = "permanent"
    EXHAUSTED = "attempts_exhausted"
    WORKER_LOST = "worker_lost"
    PHOTOS_EXPIRED = "photos_expired"


class EventKind(StrEnum):
    """What an event tells, and with it the members of its data.

    Attributes:
        STATE: ``state``; when failed also ``error`` with ``code``, ``message`` and ``detail``; when queued again after
            a failed try, ``retry`` with ``reason``, ``code`` and ``after`` (seconds).
        PROGRESS: ``progress``, 0 to 1.
        PRODUCT: ``name``, ``media_type``, ``size``, ``sha256``.
        WARNING: ``code``, ``message``.
        EXPORT: ``job``, ``state`` of that job, and ``error`` or ``retry`` as for STATE.
    """

    STATE = "state"
    PROGRESS = "progress"
    PRODUCT = "product"
    WARNING = "warning"
    EXPORT = "export"


@dataclass(frozen=True)
class Failure:
    """Why something failed.

    Attributes:
        code: Stable code of the error tree (``maquette.errors``).
        message: One sentence for people.
        detail: Facts about it.
    """

    code: str
    message: str
    detail: Json = field(default_factory=dict)

    @classmethod
    def of(cls, error: MaquetteError) -> "Failure":
        """The failure that an error of the tree stands for; what is no JSON in its detail becomes text."""
        return cls(error.code, str(error), {name: _plain(value) for name, value in error.detail.items()})


@dataclass(frozen=True)
class PhotoRecord:
    """One photo of a head, in the object store.

    Attributes:
        name: File name, for messages only.
        key: Key of the object.
        size: Bytes.
        sha256: Hex digest of the bytes.
        media_type: As sniffed from the bytes.
    """

    name: str
    key: str
    size: int
    sha256: str
    media_type: str


@dataclass(frozen=True)
class ProductRecord:
    """One output file of a head, in the object store.

    Attributes:
        name: File name; a head has each name once.
        key: Key of the object.
        size: Bytes.
        sha256: Hex digest of the bytes.
        media_type: Its media type.
    """

    name: str
    key: str
    size: int
    sha256: str
    media_type: str


@dataclass(frozen=True)
class Idempotency:
    """A caller's key for a request that may be sent twice.

    Attributes:
        key: Chosen by the caller, 1 to 200 characters.
        digest: Of what the request asks for (``request_digest``): the same key with another digest is refused.
    """

    key: str
    digest: str


@dataclass(frozen=True)
class NewHead:
    """What a customer asks for.

    Attributes:
        head_id: As ``JobStore.reserve`` gave it; the photos lie in its scopes already.
        name: The customer's name for it; up to 200 characters, for the customer only.
        options: What to make.
        photos: 1 to 16, of one person; the first is the main one.
        idempotency: Key of the request, if it has one.
        priority: Higher first.
        daily_quota: How many heads the owner may ask for in a day (UTC); None for any number.
        trace: Headers of the trace that asks, for the worker to go on with it.
    """

    head_id: str
    name: str
    options: Json
    photos: tuple[PhotoRecord, ...]
    idempotency: Idempotency | None = None
    priority: int = 0
    daily_quota: int | None = None
    trace: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobRecord:
    """A job as it stands.

    Attributes:
        id: Unguessable.
        head_id: Its head.
        owner: Owner of the head.
        kind: What it is for.
        payload: What to make, for an export; of a reconstruction, whose options are its head's, at most its ``trace``.
        priority: Higher first.
        state: Where it is.
        attempts: How often it was claimed.
        failures: How often a try ended in a passing error.
        losses: How often its lease ran out.
        not_before: When it may be claimed.
        worker: Who holds it, or held it last.
        lease_until: When the lease runs out, while running.
        cancel_requested: Whether its holder has been asked to stop.
        reason: Why it failed.
        error: The failure, or the last one so far.
        created: When asked for.
        started: When last claimed.
        finished: When it was over.
    """

    id: str
    head_id: str
    owner: str
    kind: JobKind
    payload: Json
    priority: int
    state: JobState
    attempts: int
    failures: int
    losses: int
    not_before: float
    worker: str | None
    lease_until: float | None
    cancel_requested: bool
    reason: Reason | None
    error: Failure | None
    created: float
    started: float | None
    finished: float | None


@dataclass(frozen=True)
class HeadRecord:
    """A head as it stands.

    Attributes:
        id: Unguessable.
        owner: Who may see it.
        name: The customer's name for it.
        state: Where it is.
        progress: 0 to 1; never falls.
        options: What was asked for.
        warnings: What its user should know.
        error: Why it failed.
        created: When asked for.
        updated: When it last changed.
        photos_expire: When the photos are removed; None when they have been.
        expires: When everything else is removed.
        cancelling: Whether a worker has been asked to stop and has not yet.
        sequence: Of its newest event.
        photos: What it is made from; empty when they have been removed.
        products: What there is of it, in the order it became ready.
        exports: Jobs for further files, oldest first.
    """

    id: str
    owner: str
    name: str
    state: HeadState
    progress: float
    options: Json
    warnings: tuple[Caution, ...]
    error: Failure | None
    created: float
    updated: float
    photos_expire: float | None
    expires: float
    cancelling: bool
    sequence: int
    photos: tuple[PhotoRecord, ...]
    products: tuple[ProductRecord, ...]
    exports: tuple[JobRecord, ...]


@dataclass(frozen=True)
class CreatedHead:
    """A head that was asked for.

    Attributes:
        head: As it stands.
        created: False when the idempotency key had asked for it before; the photos sent again are then removed by the
            next sweep.
    """

    head: HeadRecord
    created: bool


@dataclass(frozen=True)
class CreatedExport:
    """An export that was asked for; ``created`` is False when the idempotency key had asked for it before."""

    job: JobRecord
    created: bool


@dataclass(frozen=True)
class Page:
    """Some heads, newest first.

    Attributes:
        heads: At most as many as asked for.
        cursor: Where the next page starts; None after the last.
    """

    heads: tuple[HeadRecord, ...]
    cursor: str | None


@dataclass(frozen=True)
class Receipt:
    """What ``delete_head`` has done, and what is left to do.

    Attributes:
        head_id: The head that is no more.
        deleted: When.
        scopes: Scopes of the object store to be deleted now; until ``JobStore.removed`` says so, ``removals`` lists
            them.
    """

    head_id: str
    deleted: float
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """Something that happened to a head.

    Attributes:
        sequence: 1, 2, … within the head, without gaps.
        kind: What it tells.
        data: See ``EventKind``.
        at: When.
    """

    sequence: int
    kind: EventKind
    data: Json
    at: float


def _plain(value: object) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value)
