"""A worker's figures for Prometheus; names of steps and outcomes, never of people."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from maquette.metrics import BUCKETS


class Outcome(StrEnum):
    """What became of a try.

    Attributes:
        DONE: The job is done.
        FAILED: It has failed, for good or to be tried again.
        STOPPED: It was cancelled.
        RELEASED: It was given back, since the worker is about to end.
        LOST: It is another worker's, or over.
    """

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    RELEASED = "released"
    LOST = "lost"


class WorkMetrics:
    """Figures about a worker's jobs.

    ``maquette_worker_jobs_total`` by kind and outcome of the try; ``maquette_worker_failures_total`` by code;
    ``maquette_worker_jobs_running``; ``maquette_worker_job_seconds`` (histogram) by kind;
    ``maquette_worker_step_seconds`` (histogram) by call to a service; ``maquette_worker_removed_objects_total``.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Add the figures to a registry, once a registry."""
        self._jobs = Counter("maquette_worker_jobs", "Tries that ended.", ("kind", "outcome"), registry=registry)
        self._failures = Counter(
            "maquette_worker_failures", "Tries that failed, by code.", ("code",), registry=registry
        )
        self._running = Gauge("maquette_worker_jobs_running", "Jobs worked on.", registry=registry)
        self._seconds = Histogram(
            "maquette_worker_job_seconds", "Time of a try.", ("kind",), buckets=BUCKETS, registry=registry
        )
        self._steps = Histogram(
            "maquette_worker_step_seconds", "Time of a call, repeats included.", ("step",), buckets=BUCKETS,
            registry=registry,
        )  # fmt: skip
        self.removed = Counter("maquette_worker_removed_objects", "Objects removed by sweeps.", registry=registry)

    @contextmanager
    def job(self, kind: str) -> Iterator[list[Outcome]]:
        """Count one try; whoever makes it puts the outcome into the list that this gives."""
        start = time.perf_counter()
        outcome: list[Outcome] = []
        with self._running.track_inprogress():
            try:
                yield outcome
            finally:
                self._seconds.labels(kind).observe(time.perf_counter() - start)
                self._jobs.labels(kind, outcome[-1] if outcome else Outcome.FAILED).inc()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one call."""
        with self._steps.labels(name).time():
            yield

    def failed(self, code: str) -> None:
        """Count a failure."""
        self._failures.labels(code).inc()
