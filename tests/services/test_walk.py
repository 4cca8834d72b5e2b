"""A photo walks through the services, and what comes out is what ``maquette reconstruct`` makes."""

import pytest

from maquette import wire
from maquette.headfile import encode_head
from maquette.result import Result
from maquette.rooms import FORMATS
from maquette.v1 import meshproc_pb2 as mp
from tests.services.conftest import SCOPE, Services, Walk

pytestmark = pytest.mark.anyio


async def test_the_products_are_those_of_the_command(services: Services, walk: Walk, result: Result) -> None:
    request = mp.ExportRequest(head=walk.head, views=[walk.view], formats=FORMATS, scope=SCOPE)
    events = [e async for e in services.meshproc.export(request)]
    products = [wire.product_of(e.product, services.store) for e in events if e.HasField("product")]
    assert [p.name for p in products] == [p.name for p in result.products]
    for product, expected in zip(products, result.products, strict=True):
        assert product.data == expected.data, product.name
        assert product.media_type == expected.media_type
    warnings = [wire.caution_of(e.warning) for e in events if e.HasField("warning")]
    assert tuple(wire.caution_of(w) for w in walk.head.warnings) + tuple(warnings) == result.cautions


async def test_the_head_is_that_of_the_command(services: Services, walk: Walk, result: Result) -> None:
    assert wire.bytes_of(walk.head.data, services.store) == encode_head(result.head)
    assert walk.head.engine == result.head.engine
    assert walk.head.licence == result.head.licence
    assert walk.head.textured
    assert not walk.coarse.textured


async def test_small_payloads_travel_inline_and_large_ones_through_the_scope(services: Services, walk: Walk) -> None:
    assert walk.coarse.data.WhichOneof("payload") == "inline"
    assert walk.head.data.WhichOneof("payload") == "reference"
    assert walk.head.data.reference.key == f"{SCOPE}/{walk.head.data.sha256}"
    entries = {e.key: e.size for e in services.store.entries(SCOPE)}
    assert entries[walk.head.data.reference.key] == walk.head.data.reference.size
