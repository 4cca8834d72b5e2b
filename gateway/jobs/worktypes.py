"""What workers and operators are told by the jobs' database."""

from dataclasses import dataclass, field

from gateway.jobs.types import HeadRecord, HeadState, JobKind, JobRecord, JobState, Json


@dataclass(frozen=True)
class Lease:
    """A worker's hold on a job: shown with everything that the worker says about it.

    Attributes:
        job_id: The job.
        head_id: Its head.
        worker: Name of the worker, for people.
        token: Unguessable, of this claim alone.
        until: When it runs out, unless renewed.
    """

    job_id: str
    head_id: str
    worker: str
    token: str
    until: float


@dataclass(frozen=True)
class Claim:
    """A job that a worker has been given.

    Attributes:
        lease: Its hold on it.
        job: The job.
        head: Its head, with photos and products.
        steps: What earlier tries have recorded: output by name of the step.
        made: For an export, what the head's reconstruction has recorded, likewise.
    """

    lease: Lease
    job: JobRecord
    head: HeadRecord
    steps: dict[str, Json]
    made: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What a step of a job has brought.

    Attributes:
        name: Of the step.
        output: What the next ones need: references, not payloads.
    """

    name: str
    output: Json


@dataclass(frozen=True)
class Beat:
    """Answer to a heartbeat.

    Attributes:
        lease: Renewed.
        cancel: Whether to stop and say ``stopped``.
    """

    lease: Lease
    cancel: bool


@dataclass(frozen=True)
class Swept:
    """What a sweep has found; call again while ``more``.

    Attributes:
        reclaimed: Jobs whose leases had run out: queued again, cancelled or failed.
        photos: Heads whose photos have expired.
        heads: Heads that have expired.
        purged: Rows of heads long expired that are gone.
        more: Whether there may be more to sweep.
    """

    reclaimed: int
    photos: int
    heads: int
    purged: int
    more: bool


@dataclass(frozen=True)
class Removal:
    """A scope of the object store whose objects are to be deleted.

    Attributes:
        scope: The scope.
        head_id: Whose it was, or would have been.
    """

    scope: str
    head_id: str


@dataclass(frozen=True)
class Counts:
    """Figures for metrics and scaling.

    Attributes:
        heads: Number by state.
        jobs: Number by kind and state.
        ready: Queued jobs that may be claimed now: the depth of the queue.
        oldest_ready_s: How long the oldest of these has waited, seconds.
        removals: Scopes whose objects are to be deleted.
    """

    heads: dict[HeadState, int]
    jobs: dict[tuple[JobKind, JobState], int]
    ready: int
    oldest_ready_s: float
    removals: int
