import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest

from maquette.logs import FIELDS, JsonFormatter, fields, set_up_logging


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log of this process, put back afterwards."""
    root, own = logging.getLogger(), logging.getLogger("maquette")
    before = root.handlers[:], root.level, own.level
    stream = io.StringIO()
    set_up_logging("maquette-detector", "info", stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:], root.level, own.level = before
    for name in ("services", "gateway"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(log: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_fields(log: io.StringIO) -> None:
    logging.getLogger("maquette.rpc").info("call", extra=fields(method="Detect", seconds=0.25))
    (line,) = lines(log)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "service": "maquette-detector",
        "logger": "maquette.rpc",
        "message": "call",
        "method": "Detect",
        "seconds": 0.25,
    }


def test_what_would_be_filled_in_is_left_out(log: io.StringIO) -> None:
    logging.getLogger("PIL.Image").warning("cannot read %s at %d", "anna_smith.jpg", 5)
    assert lines(log)[0]["message"] == "cannot read %s at %d"
    assert "anna_smith" not in log.getvalue()


def test_of_an_exception_only_its_class_and_place_are_kept(log: io.StringIO) -> None:
    try:
        open("/nowhere/anna_smith.jpg", encoding="ascii")  # noqa: PTH123, SIM115
    except OSError:
        logging.getLogger("services.detector").exception("a photo cannot be read", stack_info=True)
    (line,) = lines(log)
    assert line["error"] == "FileNotFoundError"
    assert line["at"][0].split(":")[0].endswith("test_logs.py")
    assert "anna_smith" not in log.getvalue()


def test_fields_that_could_be_personal_are_refused_and_never_written(log: io.StringIO) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        fields(landmarks=[1, 2])
    logging.getLogger("maquette").info("x", extra={"fields": {"landmarks": [1, 2], "message": "y", "count": 2}})
    (line,) = lines(log)
    assert "landmarks" not in line
    assert (line["message"], line["count"]) == ("x", 2)
    assert FIELDS.isdisjoint({"name", "photo", "file", "path", "message", "time", "service", "trace_id"})


def test_the_level_holds_for_our_own_lines_and_others_are_heard_from_warnings_up(log: io.StringIO) -> None:
    logging.getLogger("maquette.rpc").debug("no")
    logging.getLogger("gateway.app").info("ours")
    logging.getLogger("httpx").info("no")
    logging.getLogger("httpx").error("theirs")
    assert [line["message"] for line in lines(log)] == ["ours", "theirs"]


def test_warnings_go_to_the_log(log: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert lines(log)[0]["logger"] == "py.warnings"


def test_outside_of_a_trace_a_line_has_no_trace_id() -> None:
    record = logging.LogRecord("maquette", logging.INFO, __file__, 1, "x", None, None)
    assert "trace_id" not in json.loads(JsonFormatter("s").format(record))
    assert sys.stderr is not None
