"""The client, for ``asyncio``."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from maquette.client.line import Line, may_pass
from maquette.client.problems import error_of_problem
from maquette.client.records import (
    FINAL,
    RemoteEvent,
    RemoteExport,
    RemoteFile,
    RemoteHead,
    RemotePage,
    RemoteReceipt,
    find_export,
    require_done,
    require_export,
    to_export,
    to_head,
    to_page,
    to_receipt,
)
from maquette.client.sinks import FileSink, MemorySink
from maquette.client.stream import messages
from maquette.errors import (
    DeadlineExceeded,
    HeadNotFound,
    MaquetteError,
    OutputError,
    PhotoUnreadable,
    ServiceMismatch,
)
from maquette.rooms import ReconstructOptions

PhotoSource = Path | str | bytes
"""A path to a file, or a file's bytes."""

Listener = Callable[[RemoteEvent], None]

_REPORT = "report.json"


class AsyncClient:
    """A connection to a gateway.

    Every method may raise ServiceUnavailable, when the server has not answered for as long as the client is patient,
    and what the server says of the key: KeyInvalid, ScopeMissing, QuotaExceeded.

    Attributes:
        server: Address of the gateway.
    """

    def __init__(
        self,
        server: str = "http://127.0.0.1:8080",
        *,
        key: str | None = None,
        patience_s: float = 60.0,
        timeout_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare a connection; nothing is asked yet.

        Args:
            server: Address of the gateway, ``http://HOST[:PORT]`` or ``https://…``.
            key: API key, where the server asks for one.
            patience_s: How long to go on trying when the server is away or busy.
            timeout_s: How long an answer may pause; more than the 15 s between signs of life in a stream of events.
            transport: For programs that reach the server in a way of their own.

        Raises:
            OptionInvalid: The address is none.
        """
        self.server = server.rstrip("/")
        self._line = Line(self.server, key, patience_s, timeout_s, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of connections."""
        await self._line.close()

    async def submit(
        self,
        photos: PhotoSource | Sequence[PhotoSource],
        *,
        options: ReconstructOptions | None = None,
        face: int | Literal["largest"] = 1,
        name: str = "",
        idempotency_key: str | None = None,
    ) -> RemoteHead:
        """Upload photos of one person and ask for a head.

        When this returns the head will be made, whatever happens.

        Args:
            photos: 1 to 16; the first is the main one.
            options: What to make.
            face: Which face to take in each photo: a number, 1 for the most prominent, or ``largest``.
            name: What to call it.
            idempotency_key: The same request with the same key asks once; one of this call's own when None, under which
                it is repeated when the answer is lost.

        Raises:
            PhotoError: A file is no picture or beyond the server's limits.
            OptionInvalid: An option is out of its range.
            FieldInvalid: The server does not know an option.
            IdempotencyMismatch: The key was used for another request.
            Overloaded: The server has too much to do.
        """
        sources = [photos] if isinstance(photos, Path | str | bytes) else list(photos)
        asked: dict[str, Any] = {**asdict(options or ReconstructOptions()), "face": face}
        form = {"name": name, "options": json.dumps(asked)}
        headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}

        async def send() -> httpx.Response:
            with ExitStack() as stack:
                files = [("photos", _part(number, source, stack)) for number, source in enumerate(sources, 1)]
                return await self._line.http.post("/v1/heads", data=form, files=files, headers=headers)

        return to_head((await self._line.insist(send)).json())

    async def get(self, head_id: str) -> RemoteHead:
        """A head as it stands.

        Raises:
            HeadNotFound: There is none of yours with this identifier.
        """
        return to_head(await self._line.json("GET", _head(head_id)))

    async def page(self, *, limit: int = 50, cursor: str | None = None, states: Sequence[str] = ()) -> RemotePage:
        """Some of your heads, newest first.

        Args:
            limit: 1 to 200.
            cursor: Of the page before.
            states: Only heads in these.
        """
        asked: dict[str, Any] = {"limit": limit, "state": list(states)}
        if cursor is not None:
            asked["cursor"] = cursor
        return to_page(await self._line.json("GET", "/v1/heads", params=asked))

    async def heads(self, *, states: Sequence[str] = ()) -> AsyncGenerator[RemoteHead, None]:
        """All your heads, newest first, fetched as they are taken."""
        cursor: str | None = None
        while True:
            page = await self.page(limit=100, cursor=cursor, states=states)
            for head in page.heads:
                yield head
            cursor = page.cursor
            if cursor is None:
                return

    async def events(self, head_id: str, after: int = 0) -> AsyncGenerator[RemoteEvent, None]:
        """What happens to a head, until it and its exports are over; a stream that breaks off is gone on with.

        Args:
            head_id: The head.
            after: Number of the last event that is known already.

        Raises:
            HeadNotFound: There is none of yours with this identifier, or it was deleted meanwhile.
        """
        patience = self._line.patience()
        while True:
            failure: MaquetteError | None = None
            try:
                async with self._line.stream(f"{_head(head_id)}/events", {"last-event-id": str(after)}) as answer:
                    if answer.status_code == 204:
                        return
                    async with aclosing(_events(answer)) as events:
                        async for event in events:
                            after = max(after, event.number)
                            patience.renew()
                            yield event
                # However often a server ends its streams, it is there.
                patience.renew()
            except httpx.TransportError as error:
                failure = self._line.away(error)
            except MaquetteError as error:
                if not may_pass(error):
                    raise
                failure = error
            await patience.pause(failure)

    async def wait(
        self, head_id: str, listener: Listener | None = None, *, timeout_s: float | None = None
    ) -> RemoteHead:
        """Wait until a head is done.

        Args:
            head_id: The head.
            listener: Told of everything that happens to it.
            timeout_s: How long to wait at most.

        Raises:
            MaquetteError: The head has failed: the error that ended it.
            Cancelled: It was cancelled.
            HeadNotFound: It is none of yours, has expired or was deleted.
            DeadlineExceeded: It was not over in time; it goes on all the same.
        """
        try:
            async with asyncio.timeout(timeout_s):
                async with aclosing(self.events(head_id)) as events:
                    async for event in events:
                        if listener is not None:
                            listener(event)
                        if event.kind == "state" and event.data.get("state") in FINAL:
                            break
                head = await self.get(head_id)
        except TimeoutError:
            raise DeadlineExceeded(f"expected the head within {timeout_s:g} s, found it not done yet") from None
        return require_done(head)

    async def export(
        self,
        head_id: str,
        formats: Sequence[str],
        *,
        texture: Literal["albedo", "photo"] | None = None,
        expression: Literal["photo", "neutral"] | None = None,
        size_mm: float | None = None,
        idempotency_key: str | None = None,
    ) -> RemoteExport:
        """Ask for further files of a head that is done; what is None is as it was for the head.

        Args:
            head_id: The head.
            formats: Mesh formats.
            texture: Colour map.
            expression: Expression of the files other than GLB.
            size_mm: Height of the printed solid.
            idempotency_key: As for ``submit``.

        Raises:
            HeadNotFound: There is none of yours with this identifier.
            JobConflict: It is not done.
            OptionInvalid: A format is none.
            FieldInvalid: An option is unknown or out of its range.
        """
        chosen = {"formats": list(formats), "texture": texture, "expression": expression, "size_mm": size_mm}
        body = {name: value for name, value in chosen.items() if value is not None}
        headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
        return to_export(await self._line.json("POST", f"{_head(head_id)}/exports", json=body, headers=headers))

    async def wait_export(
        self, head_id: str, export_id: str, listener: Listener | None = None, *, timeout_s: float | None = None
    ) -> RemoteHead:
        """Wait until an export is done; returns the head with its files.

        Raises:
            MaquetteError: The export has failed: the error that ended it.
            Cancelled: It was cancelled.
            HeadNotFound: The head, or its export, is not there.
            DeadlineExceeded: It was not over in time; it goes on all the same.
        """
        try:
            async with asyncio.timeout(timeout_s):
                head = await self.get(head_id)
                if not find_export(head, export_id).final:
                    async with aclosing(self.events(head_id)) as events:
                        async for event in events:
                            if listener is not None:
                                listener(event)
                            told = event.data if event.kind == "export" and event.data.get("job") == export_id else {}
                            if told.get("state") in FINAL:
                                break
                    head = await self.get(head_id)
        except TimeoutError:
            raise DeadlineExceeded(f"expected the files within {timeout_s:g} s, found them not done yet") from None
        require_export(head, export_id)
        return head

    async def fetch(self, file: RemoteFile) -> bytes:
        """A file's bytes, compared with their digest.

        Raises:
            ProductNotFound: It is not there, or has been replaced.
            ObjectCorrupt: Other bytes came.
        """
        sink = MemorySink()
        await self._line.pull(file, sink)
        return bytes(sink.data)

    async def download(self, head: RemoteHead, folder: Path | str, names: Sequence[str] | None = None) -> list[Path]:
        """Write files of a head into a folder, each compared with its digest, ``report.json`` last.

        What is there already is not fetched again, and a download that broke off is gone on with.

        Args:
            head: The head, as it is now.
            folder: Where to; made if need be.
            names: Which files; all when None.

        Raises:
            ProductNotFound: A file is not there, or has been replaced.
            ObjectCorrupt: Other bytes came.
            OutputError: A file cannot be written.
        """
        wanted = [f for f in head.files if names is None or f.name in names]
        wanted.sort(key=lambda f: f.name == _REPORT)
        paths = []
        for file in wanted:
            path = Path(folder, file.name)
            if Path(file.name).name != file.name:
                raise OutputError(f"expected plain names of files from the server, found {file.name!r}")
            sink = FileSink(path, file)
            if not await asyncio.to_thread(sink.is_there):
                await self._line.pull(file, sink)
                sink.place()
            paths.append(path)
        return paths

    async def cancel(self, head_id: str) -> RemoteHead:
        """End what is being made of a head; files that are ready stay.

        Raises:
            HeadNotFound: There is none of yours with this identifier.
            JobConflict: There is nothing to cancel.
        """
        return to_head(await self._line.json("POST", f"{_head(head_id)}/cancel"))

    async def delete(self, head_id: str) -> RemoteReceipt:
        """Remove a head with its photos and files.

        Raises:
            HeadNotFound: There is none of yours with this identifier.
        """
        return to_receipt(await self._line.json("DELETE", _head(head_id)))

    async def detect(self, photo: PhotoSource) -> dict[str, Any]:
        """Faces of a photo, which is not kept: ``sha256``, ``width``, ``height`` and ``faces``.

        Raises:
            NoFaceFound: There is none.
            PhotoError: The file is no picture or beyond the server's limits.
        """

        async def send() -> httpx.Response:
            with ExitStack() as stack:
                return await self._line.http.post("/v1/detect", files=[("photo", _part(1, photo, stack))])

        found: dict[str, Any] = (await self._line.insist(send)).json()
        return found

    async def engines(self) -> list[dict[str, Any]]:
        """The engines that the server knows: ``name``, ``licence``, ``available`` and so on."""
        found: list[dict[str, Any]] = (await self._line.json("GET", "/v1/engines"))["engines"]
        return found


async def _events(answer: httpx.Response) -> AsyncGenerator[RemoteEvent, None]:
    async with aclosing(messages(answer.aiter_lines())) as received:
        async for message in received:
            try:
                data = dict(json.loads(message.data))
                number = int(message.id or 0)
            except (ValueError, TypeError) as error:
                raise ServiceMismatch("expected events with a number and a JSON object, found others") from error
            if message.event == "problem":
                raise error_of_problem(data)
            yield RemoteEvent(number, message.event, data)


def _part(number: int, source: PhotoSource, stack: ExitStack) -> tuple[str, Any]:
    """A photo as a part of a form."""
    if isinstance(source, bytes):
        return f"photo {number}", source
    path = Path(source)
    try:
        return path.name, stack.enter_context(path.open("rb"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise PhotoUnreadable(f"cannot read {path.name}: {reason}", photo=path.name) from error


def _head(head_id: str) -> str:
    if not head_id.isascii() or not head_id.replace("_", "").isalnum():
        raise HeadNotFound("expected the identifier of a head, found something else")
    return f"/v1/heads/{head_id}"
