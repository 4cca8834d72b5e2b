import asyncio
import json
import math
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc
from PIL import Image

from bench import load, uploads
from bench.engine import read_options
from bench.figures import Figure, median, summary, table
from bench.memory import growth
from bench.photos import MOST, write_photos
from bench.processes import LOOPBACK, free_ports
from bench.spans import SERVER, Span, collecting, covered
from gateway.multipart import Begin, Data, Multipart
from gateway.sniff import kind_of, size_of


def test_a_moment_that_several_spans_cover_counts_once() -> None:
    spans = [(2.0, 4.0), (1.0, 3.0), (2.5, 2.6), (6.0, 7.0)]
    assert covered(spans, 0.0, 10.0) == pytest.approx(4.0)
    assert covered(spans, 1.5, 6.5) == pytest.approx(3.0)
    assert covered(spans, 4.0, 6.0) == 0.0
    assert covered([], 0.0, 1.0) == 0.0


def test_limits_are_kept_or_missed_and_nothing_measured_is_missed() -> None:
    assert Figure("a", "", 0.9, least=0.9).kept
    assert not Figure("a", "", 0.89, least=0.9).kept
    assert Figure("a", "ms", 25.0, most=25.0).kept
    assert not Figure("a", "ms", 25.1, most=25.0).kept
    assert not Figure("a", "ms", math.nan, most=25.0).kept
    assert math.isnan(median([]))


def test_the_summary_is_json_and_passes_only_when_all_limits_are_kept() -> None:
    good = Figure("uploads", "MB/s", 312.34567, least=200.0, values=(300.0, 312.34567), beside={"requests": 2})
    bad = Figure("overhead", "ms", math.nan, most=25.0)
    told = json.loads(json.dumps(summary("load", {"uploads": good, "overhead": bad}, cores=2), allow_nan=False))
    assert (told["benchmark"], told["passed"], told["cores"]) == ("load", False, 2)
    assert told["figures"]["uploads"] == {
        "unit": "MB/s", "value": 312.3457, "least": 200.0, "kept": True, "values": [300.0, 312.3457], "requests": 2,
    }  # fmt: skip
    assert told["figures"]["overhead"] == {"unit": "ms", "value": None, "most": 25.0, "kept": False}
    assert summary("load", {"uploads": good})["passed"]
    assert not summary("load", {})["passed"]


def test_the_table_has_each_figure_beside_its_limit() -> None:
    columns, rows = table({"m": Figure("memory", "MB", 12.0, most=50.0, beside={"jobs": 500, "options": "ply"})})
    assert columns == ["figure", "found", "limit", ""]
    assert rows == [["memory", "12 MB", "≤ 50 MB", "kept"], ["  jobs", "500", "", ""], ["  options", "ply", "", ""]]


def test_growth_is_that_of_what_is_always_held() -> None:
    assert growth([50, 90, 100, 130, 100, 170, 110, 140]) == 10
    assert growth([100, 100, 100, 100]) == 0
    assert math.isnan(growth([1, 2, 3]))


def test_photos_are_all_different_and_the_same_each_time(tmp_path: Path) -> None:
    photos = write_photos(tmp_path, MOST)
    pixels = []
    for path in photos:
        with Image.open(path) as photo:
            assert min(photo.size) >= 400
            pixels.append(photo.tobytes())
    assert len(set(pixels)) == MOST
    again = tmp_path / "again"
    again.mkdir()
    assert [p.read_bytes() for p in write_photos(again, 2)] == [p.read_bytes() for p in photos[:2]]
    with pytest.raises(ValueError, match=f"expected 1 to {MOST} photos"):
        write_photos(tmp_path, MOST + 1)


def test_an_upload_is_a_form_of_sixteen_photos_within_the_default_limits(tmp_path: Path) -> None:
    photo = uploads.write_noise(tmp_path, 1).read_bytes()
    kind = kind_of(photo)
    assert kind is not None
    assert size_of(photo, kind) == (2800, 2800)
    assert 20_000_000 < len(photo) < 25_000_000
    form = uploads._form([b"one", b"two"])
    parser = Multipart(f"multipart/form-data; boundary={uploads._BOUNDARY}")
    happened = list(parser.feed(form))
    parser.end()
    assert [(h.field, h.file_name) for h in happened if isinstance(h, Begin)] == [
        ("photos", "noise-0.png"), ("photos", "noise-1.png"),
    ]  # fmt: skip
    assert b"".join(h.view for h in happened if isinstance(h, Data)) == b"onetwo"


def test_fields_of_a_form_mean_the_same_to_the_engine() -> None:
    options = read_options({"formats": "ply,stl", "detail": "false", "hair": "none"})
    assert (options.formats, options.detail, options.hair) == (("ply", "stl"), False, "none")


def test_spans_that_are_sent_are_kept_and_waited_for() -> None:
    async def collect() -> list[Span]:
        (port,) = free_ports(1)
        async with collecting(port) as collector:
            async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
                request = pb.ExportTraceServiceRequest()
                group = request.resource_spans.add()
                group.resource.attributes.add(key="service.name").value.string_value = "maquette-detector"
                made = group.scope_spans.add().spans.add(name="Detect", kind=SERVER)
                made.start_time_unix_nano, made.end_time_unix_nano = 2_000_000_000, 3_500_000_000
                waiting = asyncio.create_task(collector.wait_for("maquette-detector", "Detect", 1.0, 10))
                await rpc.TraceServiceStub(channel).Export(request)  # type: ignore[no-untyped-call]
                await waiting
                with pytest.raises(TimeoutError):
                    await collector.wait_for("maquette-detector", "Detect", 2.5, 0.05)
            return collector.spans

    assert asyncio.run(collect()) == [Span("maquette-detector", "Detect", SERVER, 2.0, 3.5)]


@pytest.mark.parametrize("words", [["--jobs", "0"], ["--only", "everything"], ["--streams", "many"]])
def test_options_out_of_range_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        load.main(words)
    assert refused.value.code == 2
    assert words[0] in capsys.readouterr().err
