"""Server-sent events (HTML Standard, 9.2): lines to events."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One event of a stream.

    Attributes:
        id: The last ``id`` the stream has given; empty before the first.
        event: Its type.
        data: Its data.
    """

    id: str
    event: str
    data: str


async def messages(lines: AsyncIterator[str]) -> AsyncGenerator[Message, None]:
    """The events in a stream's lines; one that is cut short is left out, as the standard has it."""
    last, event, data = "", "", [""][:0]
    async for line in lines:
        if not line:
            if data:
                yield Message(last, event or "message", "\n".join(data))
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            event = value
        elif name == "id" and "\0" not in value:
            last = value
