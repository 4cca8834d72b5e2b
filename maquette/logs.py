"""One JSON object a line on standard error, with the trace it belongs to and nothing about a person.

Messages are constant: of a record its template is written and never what would be filled in, because that may be a file
name. What is worth saying goes into ``fields``, of which only those listed in ``FIELDS`` are written; of an exception
its class and where it was raised, without its text.
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import TextIO

from opentelemetry import trace

FIELDS = frozenset(
    {
        "address", "attempt", "bytes", "code", "count", "depth", "engine", "head", "job", "key", "kind", "limit",
        "method", "port", "queue", "reason", "route", "seconds", "seed", "signal", "stage", "state", "status",
        "version", "worker",
    }
)  # fmt: skip
"""What may be logged beside a message: identifiers that the project gives itself, names of code, and figures."""

_OWN = "maquette"


def fields(**values: object) -> dict[str, dict[str, object]]:
    """What to hand to a logger as ``extra``.

    Raises:
        ValueError: A name is not in ``FIELDS``.
    """
    unknown = values.keys() - FIELDS
    if unknown:
        raise ValueError(f"expected names of maquette.logs.FIELDS, found {', '.join(sorted(unknown))}")
    return {"fields": values}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, service: str) -> None:
        """Write lines of a service."""
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": str(record.msg),
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = trace.format_trace_id(context.trace_id)
            line["span_id"] = trace.format_span_id(context.span_id)
        extra = getattr(record, "fields", None)
        if isinstance(extra, dict):
            line |= {k: v for k, v in extra.items() if k in FIELDS and k not in line}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["at"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(record.exc_info[2])]
        return json.dumps(line, default=str)


def set_up_logging(service: str, level: str, stream: TextIO) -> None:
    """Write this process's log as JSON: the project's own from ``level`` up, what others say from warnings up.

    Called once, by main().

    Args:
        service: Name that each line carries.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: Where to, e.g. ``sys.stderr``.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for own in (_OWN, "services", "gateway"):
        logging.getLogger(own).setLevel(level.upper())
    logging.captureWarnings(True)
