"""The client, for programs that wait: the asynchronous one on a thread of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar

from anyio.from_thread import start_blocking_portal

from maquette.client.asynchronous import AsyncClient, Listener, PhotoSource
from maquette.client.records import RemoteEvent, RemoteExport, RemoteFile, RemoteHead, RemotePage, RemoteReceipt
from maquette.rooms import ReconstructOptions

P = ParamSpec("P")
T = TypeVar("T")


class Client:
    """A connection to a gateway; see ``AsyncClient`` for what its methods do and raise."""

    def __init__(
        self,
        server: str = "http://127.0.0.1:8080",
        *,
        key: str | None = None,
        patience_s: float = 60.0,
        timeout_s: float = 60.0,
    ) -> None:
        """As ``AsyncClient``; close it, or use it as a context manager."""
        self._inner = AsyncClient(server, key=key, patience_s=patience_s, timeout_s=timeout_s)
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal("asyncio"))

    @property
    def server(self) -> str:
        """Address of the gateway."""
        return self._inner.server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections; nothing can be asked afterwards."""
        with self._stack:
            self._run(self._inner.close)

    def submit(
        self,
        photos: PhotoSource | Sequence[PhotoSource],
        *,
        options: ReconstructOptions | None = None,
        face: int | Literal["largest"] = 1,
        name: str = "",
        idempotency_key: str | None = None,
    ) -> RemoteHead:
        """Upload photos of one person and ask for a head."""
        return self._run(
            self._inner.submit, photos, options=options, face=face, name=name, idempotency_key=idempotency_key
        )

    def get(self, head_id: str) -> RemoteHead:
        """A head as it stands."""
        return self._run(self._inner.get, head_id)

    def page(self, *, limit: int = 50, cursor: str | None = None, states: Sequence[str] = ()) -> RemotePage:
        """Some of your heads, newest first."""
        return self._run(self._inner.page, limit=limit, cursor=cursor, states=states)

    def heads(self, *, states: Sequence[str] = ()) -> Iterator[RemoteHead]:
        """All your heads, newest first, fetched as they are taken."""
        return self._iterate(self._inner.heads(states=states))

    def events(self, head_id: str, after: int = 0) -> Iterator[RemoteEvent]:
        """What happens to a head, until it and its exports are over."""
        return self._iterate(self._inner.events(head_id, after))

    def wait(self, head_id: str, listener: Listener | None = None, *, timeout_s: float | None = None) -> RemoteHead:
        """Wait until a head is done; the listener is called on the client's thread."""
        return self._run(self._inner.wait, head_id, listener, timeout_s=timeout_s)

    def export(
        self,
        head_id: str,
        formats: Sequence[str],
        *,
        texture: Literal["albedo", "photo"] | None = None,
        expression: Literal["photo", "neutral"] | None = None,
        size_mm: float | None = None,
        idempotency_key: str | None = None,
    ) -> RemoteExport:
        """Ask for further files of a head that is done."""
        return self._run(
            self._inner.export,
            head_id,
            formats,
            texture=texture,
            expression=expression,
            size_mm=size_mm,
            idempotency_key=idempotency_key,
        )

    def wait_export(
        self, head_id: str, export_id: str, listener: Listener | None = None, *, timeout_s: float | None = None
    ) -> RemoteHead:
        """Wait until an export is done; the listener is called on the client's thread."""
        return self._run(self._inner.wait_export, head_id, export_id, listener, timeout_s=timeout_s)

    def fetch(self, file: RemoteFile) -> bytes:
        """A file's bytes, compared with their digest."""
        return self._run(self._inner.fetch, file)

    def download(self, head: RemoteHead, folder: Path | str, names: Sequence[str] | None = None) -> list[Path]:
        """Write files of a head into a folder, each compared with its digest, ``report.json`` last."""
        return self._run(self._inner.download, head, folder, names)

    def cancel(self, head_id: str) -> RemoteHead:
        """End what is being made of a head; files that are ready stay."""
        return self._run(self._inner.cancel, head_id)

    def delete(self, head_id: str) -> RemoteReceipt:
        """Remove a head with its photos and files."""
        return self._run(self._inner.delete, head_id)

    def detect(self, photo: PhotoSource) -> dict[str, Any]:
        """Faces of a photo, which is not kept."""
        return self._run(self._inner.detect, photo)

    def engines(self) -> list[dict[str, Any]]:
        """The engines that the server knows."""
        return self._run(self._inner.engines)

    def _run(self, call: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def begin() -> T:
            return await call(*args, **kwargs)

        doing = self._portal.start_task_soon(begin)
        try:
            return doing.result()
        except BaseException:
            # Interrupted here, it must not go on there.
            doing.cancel()
            raise

    def _iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> tuple[T, ...]:
            async for item in items:
                return (item,)
            return ()

        try:
            while found := self._run(following):
                yield from found
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                self._run(close)
