"""The gateway's figures for Prometheus; names of routes and codes, never of people."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.jobs import Counts, HeadState, JobKind, JobState
from maquette.metrics import BUCKETS

_BYTES = (10_000, 100_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 100_000_000)


@dataclass
class Seen:
    """What becomes of a request; filled in while it is answered.

    Attributes:
        method: Its method.
        route: Template of its address.
        status: Of the answer.
        code: Of the error that ended it, if one did.
    """

    method: str = "other"
    route: str = "unknown"
    status: int = 500
    code: str | None = None


class HttpMetrics:
    """Figures about requests, uploads, streams and jobs.

    ``maquette_http_requests_total`` by method, route and status; ``maquette_http_seconds`` (histogram) by method and
    route, to the end of the answer; ``maquette_http_in_flight``; ``maquette_http_problems_total`` by code;
    ``maquette_uploads_in_flight``, ``maquette_upload_bytes`` (histogram, by photo) and ``maquette_upload_seconds``
    (histogram, by request); ``maquette_event_streams``; of the jobs' database ``maquette_heads`` by state,
    ``maquette_jobs`` by kind and state, ``maquette_jobs_ready``, ``maquette_jobs_oldest_ready_seconds`` and
    ``maquette_removals_due``.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Add the figures to a registry, once a registry."""
        self.registry = registry
        where = ("method", "route")
        self._requests = Counter("maquette_http_requests", "Requests answered.", (*where, "status"), registry=registry)
        self._seconds = Histogram("maquette_http_seconds", "Time to answer.", where, buckets=BUCKETS, registry=registry)
        self._in_flight = Gauge("maquette_http_in_flight", "Requests being answered.", registry=registry)
        self._problems = Counter(
            "maquette_http_problems", "Requests that failed, by code.", ("code",), registry=registry
        )
        self.uploads = Gauge("maquette_uploads_in_flight", "Uploads being received.", registry=registry)
        self.upload_bytes = Histogram(
            "maquette_upload_bytes", "Size of a photo received.", buckets=_BYTES, registry=registry
        )
        self.upload_seconds = Histogram(
            "maquette_upload_seconds", "Time to receive a request's photos.", buckets=BUCKETS, registry=registry
        )
        self.streams = Gauge("maquette_event_streams", "Streams of events that are open.", registry=registry)
        self._heads = Gauge("maquette_heads", "Heads, by state.", ("state",), registry=registry)
        self._jobs = Gauge("maquette_jobs", "Jobs, by kind and state.", ("kind", "state"), registry=registry)
        self._ready = Gauge("maquette_jobs_ready", "Jobs that may be claimed now.", registry=registry)
        self._oldest = Gauge(
            "maquette_jobs_oldest_ready_seconds", "How long the oldest of these has waited.", registry=registry
        )
        self._removals = Gauge("maquette_removals_due", "Scopes of the object store to be deleted.", registry=registry)

    @contextmanager
    def request(self) -> Iterator[Seen]:
        """Count one request; whoever answers it fills in what this gives."""
        seen, start = Seen(), time.perf_counter()
        with self._in_flight.track_inprogress():
            try:
                yield seen
            finally:
                self._seconds.labels(seen.method, seen.route).observe(time.perf_counter() - start)
                self._requests.labels(seen.method, seen.route, str(seen.status)).inc()
                if seen.code is not None:
                    self._problems.labels(seen.code).inc()

    def show(self, counts: Counts) -> None:
        """Show what the jobs' database has counted."""
        for state in HeadState:
            self._heads.labels(state).set(counts.heads.get(state, 0))
        for kind in JobKind:
            for job_state in JobState:
                self._jobs.labels(kind, job_state).set(counts.jobs.get((kind, job_state), 0))
        self._ready.set(counts.ready)
        self._oldest.set(counts.oldest_ready_s)
        self._removals.set(counts.removals)
