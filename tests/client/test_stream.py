from collections.abc import AsyncIterator

import pytest

from maquette.client.stream import Message, messages

pytestmark = pytest.mark.anyio


async def lines(text: str) -> AsyncIterator[str]:
    for line in text.split("\n"):
        yield line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id: 1\nevent: state\ndata: {}\n\n", [Message("1", "state", "{}")]),
        (": alive\n\nretry: 2000\n\n", []),
        ("data: a\ndata: b\n\n", [Message("", "message", "a\nb")]),
        ("id: 4\ndata: a\n\ndata: b\n\n", [Message("4", "message", "a"), Message("4", "message", "b")]),
        ("data:a\n\nid: 9\ndata: cut", [Message("", "message", "a")]),
        ("id: 1\nid: 2\0\ndata: x\n\n", [Message("1", "message", "x")]),
    ],
)
async def test_lines_become_events_as_the_standard_says(text: str, expected: list[Message]) -> None:
    assert [m async for m in messages(lines(text))] == expected
