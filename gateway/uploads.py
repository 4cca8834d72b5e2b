"""Forms with photos: fields into memory, photos into the object store while they arrive.

What is received is checked as it comes: number and size of photos, what they are by their first bytes, how large a
picture their header announces. A photo goes to the store's thread in pieces of 1 MiB, at most a few of them on the way,
so that a slow disk slows the sender down and memory stays small. File names are for messages only.
"""

import asyncio
import queue
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from starlette.requests import Request

from gateway.bodies import Body
from gateway.context import Gateway
from gateway.multipart import Begin, Data, Multipart
from gateway.sniff import KINDS, Kind, kind_of, size_of
from maquette.errors import BodyTooLarge, FieldInvalid, PhotoTooLarge, PhotoUnreadable
from maquette.store import ObjectInfo

PIECE = 1 << 20
MOST_FIELD_BYTES = 64 * 1024
MOST_PARTS = 64
_AHEAD = 2
_LONGEST_NAME = 200
_LONGEST_SIDE = 65_535
_FRAMING = 1024
"""Bytes of a part that are neither its name nor its content, at most."""


@dataclass
class Received:
    """A photo that has arrived.

    Attributes:
        name: As its sender calls it, for messages only.
        media_type: As its bytes say.
        kept: Its bytes, when it was small enough to be kept in memory.
        stored: The object, when it was put into the store.
    """

    name: str
    media_type: str
    kept: bytes | None
    stored: ObjectInfo | None


@dataclass
class Form:
    """A form that has arrived.

    Attributes:
        fields: Values by name, in their order.
        photos: The photos, in their order.
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    photos: list[Received] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What is taken.

    Attributes:
        field: Name of the field with photos.
        most: Most photos.
        scope: Gives the scope of the object store that photos go to; asked before the first byte goes there.
        keep: Photos up to this size are kept in memory instead.
    """

    field: str
    most: int
    scope: Callable[[], Awaitable[str]]
    keep: int = 0


async def receive_form(request: Request, gateway: Gateway, plan: Plan) -> Form:
    """Receive a form.

    Raises:
        BodyTypeUnknown: It is no multipart/form-data.
        BodyInvalid: It cannot be parsed, or is cut short.
        BodyTooLarge: It is larger than all that may be in it.
        BodyTooSlow: It does not arrive in time.
        FieldInvalid: Too many parts or photos, or none.
        PhotoUnreadable: A photo is none.
        PhotoTooLarge: A photo is beyond the limits.
        StoreError: The store failed.
        ClientDisconnect: The caller has gone.
    """
    settings = gateway.settings
    parser = Multipart(request.headers.get("content-type", ""))
    limit = plan.most * settings.max_photo_bytes + MOST_PARTS * _FRAMING + MOST_FIELD_BYTES
    form, parts = Form(), _Parts(gateway, plan)
    try:
        async for piece in Body(request, settings, limit):
            for happening in parser.feed(piece):
                if isinstance(happening, Begin):
                    parts.begin(happening, form)
                elif isinstance(happening, Data):
                    await parts.take(happening.view)
                else:
                    await parts.end(form)
        parser.end()
        await parts.stored()
    finally:
        await parts.abandon()
    if not form.photos:
        raise FieldInvalid(f"expected at least one file in the field {plan.field}, found none")
    return form


class _Parts:
    """The part that is arriving, and how many have."""

    def __init__(self, gateway: Gateway, plan: Plan) -> None:
        self._gateway, self._plan = gateway, plan
        self._count = 0
        self._field_bytes = 0
        self._photo: _Arrival | None = None
        self._storing: list[tuple[Received, asyncio.Future[ObjectInfo]]] = []
        self._text: tuple[str, bytearray] | None = None

    def begin(self, part: Begin, form: Form) -> None:
        self._count += 1
        if self._count > MOST_PARTS:
            raise FieldInvalid(f"expected a form of at most {MOST_PARTS} parts, found more")
        if part.field == self._plan.field:
            number = len(form.photos) + 1
            if number > self._plan.most:
                raise FieldInvalid(f"expected at most {self._plan.most} files in the field {part.field}, found more")
            name = shown_name(part.file_name or "", f"photo {number}")
            self._photo = _Arrival(self._gateway, self._plan, name)
        elif part.file_name is not None:
            raise FieldInvalid(f"expected files in the field {self._plan.field} only, found one in another")
        else:
            self._text = (part.field, bytearray())

    async def take(self, view: memoryview) -> None:
        if self._photo is not None:
            await self._photo.take(view)
        elif self._text is not None:
            self._field_bytes += len(view)
            if self._field_bytes > MOST_FIELD_BYTES:
                raise BodyTooLarge(
                    f"expected fields of at most {MOST_FIELD_BYTES:,} bytes in all, found more", limit=MOST_FIELD_BYTES
                )
            self._text[1].extend(view)

    async def end(self, form: Form) -> None:
        if self._photo is not None:
            photo, storing = await self._photo.end()
            self._photo = None
            form.photos.append(photo)
            if storing is not None:
                self._storing.append((photo, storing))
        elif self._text is not None:
            name, text = self._text
            try:
                form.fields.setdefault(name, []).append(text.decode())
            except UnicodeDecodeError as error:
                raise FieldInvalid("expected fields in UTF-8, found one that is not") from error
            self._text = None

    async def stored(self) -> None:
        """Wait until all photos are durable: while one is written to the disk, the next arrives."""
        for photo, storing in self._storing:
            photo.stored = await asyncio.shield(storing)

    async def abandon(self) -> None:
        """Nothing is written after this."""
        if self._photo is not None:
            await self._photo.abandon()
        if self._storing:
            await asyncio.wait([storing for _, storing in self._storing])


class _Arrival:
    """A photo that is arriving."""

    def __init__(self, gateway: Gateway, plan: Plan, name: str) -> None:
        self._gateway, self._plan, self._name = gateway, plan, name
        self._size = 0
        self._held: list[memoryview] = []
        self._held_bytes = 0
        self._kind: Kind | None = None
        self._belt: _Belt | None = None

    async def take(self, view: memoryview) -> None:
        self._size += len(view)
        limit = self._gateway.settings.max_photo_bytes
        if self._size > limit:
            raise PhotoTooLarge(
                f"{self._name} has more than {limit:,} bytes, at most {limit:,} are taken",
                photo=self._name,
                limit=limit,
            )
        self._held.append(view)
        self._held_bytes += len(view)
        if self._held_bytes >= PIECE:
            kind = self._look()
            if self._size > self._plan.keep:
                await self._hand_over(kind)

    async def end(self) -> "tuple[Received, asyncio.Future[ObjectInfo] | None]":
        """All of it is here; returns also what is still being stored."""
        kind = self._look()
        self._gateway.metrics.upload_bytes.observe(self._size)
        photo = Received(self._name, kind.media_type, None, None)
        if self._belt is not None:
            if self._held:
                await self._hand_over(kind)
            return photo, self._belt.end()
        data = b"".join(self._held)
        if self._size <= self._plan.keep:
            photo.kept = data
            return photo, None
        scope, store = await self._plan.scope(), self._gateway.store
        # No thread need wait for a sender here.
        return photo, asyncio.ensure_future(self._gateway.in_thread(store.put, scope, data, kind.media_type))

    async def abandon(self) -> None:
        if self._belt is not None:
            await self._belt.abandon()

    async def _hand_over(self, kind: Kind) -> None:
        if self._belt is None:
            self._belt = _Belt(self._gateway, await self._plan.scope(), kind.media_type)
        piece = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        await self._belt.put(piece)

    def _look(self) -> Kind:
        """Look at the first bytes, once."""
        if self._kind is not None:
            return self._kind
        head = b"".join(self._held)
        kind = kind_of(head)
        if kind is None:
            found = "an empty file" if not head else "something else"
            raise PhotoUnreadable(
                f"{self._name} is no picture of a known kind: expected {KINDS}, found {found}", photo=self._name
            )
        width, height = size_of(head, kind) or (0, 0)
        most = self._gateway.settings.max_photo_pixels
        if width * height > most or max(width, height) > _LONGEST_SIDE:
            raise PhotoTooLarge(
                f"{self._name} has {width:,} × {height:,} pixels, at most {most:,} are taken, and {_LONGEST_SIDE:,} "
                "a side",
                photo=self._name,
                width=width,
                height=height,
                limit=most,
            )
        self._kind = kind
        return kind


class _Abandoned(Exception):
    """Raised in the store's thread when the sender has gone, so that nothing is stored."""


class _Belt:
    """Carries a photo's pieces to the thread that stores it."""

    def __init__(self, gateway: Gateway, scope: str, media_type: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: queue.SimpleQueue[bytes | _Abandoned | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(_AHEAD)
        self._stored = gateway.receive_in_thread(lambda: gateway.store.put(scope, self._take(), media_type))
        self._stored.add_done_callback(lambda _: self._room.release())

    async def put(self, piece: bytes) -> None:
        """Hand over a piece; waits while enough are on the way.

        Raises:
            StoreError: The store has failed.
        """
        await self._room.acquire()
        if self._stored.done():
            self._room.release()
            self._stored.result()
        self._pieces.put(piece)

    def end(self) -> "asyncio.Future[ObjectInfo]":
        """All pieces are handed over; gives what they will be when they are stored."""
        self._pieces.put(None)
        return self._stored

    async def abandon(self) -> None:
        """Have the thread stop; waits until it has, so that nothing is written after this."""
        self._pieces.put(_Abandoned())
        await asyncio.wait([self._stored])
        if not self._stored.cancelled():
            self._stored.exception()

    def _take(self) -> Iterator[bytes]:
        """On the thread: the pieces as they come."""
        while True:
            piece = self._pieces.get()
            if piece is None:
                return
            if isinstance(piece, _Abandoned):
                raise piece
            self._loop.call_soon_threadsafe(self._room.release)
            yield piece


def shown_name(sent: str, otherwise: str) -> str:
    """A file's name as messages show it: without folders and control characters, and not too long.

    Args:
        sent: As the sender has it.
        otherwise: What to show when nothing of it is left.
    """
    base = sent.replace("\\", "/").rpartition("/")[2]
    clean = "".join(c for c in base if c.isprintable()).strip()
    return clean[:_LONGEST_NAME] if clean.strip(".") else otherwise
