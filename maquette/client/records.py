"""What a gateway says of heads; members that a newer one adds are not minded."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from maquette.errors import Cancelled, HeadNotFound, MaquetteError, ServiceMismatch, error_of
from maquette.types import Caution

Json = dict[str, Any]

FINAL = ("done", "failed", "cancelled", "expired")
"""States of heads and exports that are over."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a head.

    Attributes:
        name: File name.
        media_type: Its media type.
        size: Bytes.
        sha256: Hex digest of its bytes.
        url: Where it is, relative to the server; what is there never changes.
    """

    name: str
    media_type: str
    size: int
    sha256: str
    url: str


@dataclass(frozen=True)
class RemotePhoto:
    """A photo of a head, as it was sent.

    Attributes:
        name: File name.
        media_type: As its bytes say.
        size: Bytes.
        sha256: Hex digest of its bytes.
    """

    name: str
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True)
class RemoteExport:
    """Further files that were asked for.

    Attributes:
        id: Of the job.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        options: What was asked for.
        error: Why it failed, or the last passing failure.
    """

    id: str
    state: str
    options: Json
    error: MaquetteError | None

    @property
    def final(self) -> bool:
        """Whether it is over."""
        return self.state in FINAL


@dataclass(frozen=True)
class RemoteHead:
    """A head as it stood when the server was asked.

    Attributes:
        id: Its identifier.
        name: What its owner calls it.
        state: ``queued``, ``detecting``, ``reconstructing``, ``meshing``, ``done``, ``failed``, ``cancelled`` or
            ``expired``.
        progress: 0 to 1.
        cancelling: Whether it has been cancelled and a worker has yet to stop.
        options: What was asked for.
        warnings: What its user should know.
        error: Why it failed.
        created: When it was asked for.
        updated: When it last changed.
        photos_expire: When the photos are removed; None when they have been.
        expires: When everything is removed.
        photos: What it is made from.
        files: What there is of it, in the order it became ready.
        exports: Further files that were asked for, oldest first.
    """

    id: str
    name: str
    state: str
    progress: float
    cancelling: bool
    options: Json
    warnings: tuple[Caution, ...]
    error: MaquetteError | None
    created: datetime
    updated: datetime
    photos_expire: datetime | None
    expires: datetime
    photos: tuple[RemotePhoto, ...] = field(repr=False)
    files: tuple[RemoteFile, ...] = field(repr=False)
    exports: tuple[RemoteExport, ...] = field(repr=False)

    @property
    def final(self) -> bool:
        """Whether its reconstruction is over."""
        return self.state in FINAL

    def file(self, name: str) -> RemoteFile | None:
        """A file by its name, if there is one."""
        return next((f for f in self.files if f.name == name), None)


@dataclass(frozen=True)
class RemotePage:
    """Some heads, newest first.

    Attributes:
        heads: The heads.
        cursor: Where the next page starts; None after the last.
    """

    heads: tuple[RemoteHead, ...]
    cursor: str | None


@dataclass(frozen=True)
class RemoteEvent:
    """Something that happened to a head.

    Attributes:
        number: 1, 2, … within the head.
        kind: ``state``, ``progress``, ``product``, ``warning`` or ``export``.
        data: What it tells; see the API's description.
    """

    number: int
    kind: str
    data: Json


@dataclass(frozen=True)
class RemoteReceipt:
    """What deleting a head has removed.

    Attributes:
        id: The head that is no more.
        deleted: When.
        objects: Objects of the store that were removed.
        bytes: Their bytes.
        complete: Whether nothing is left; if not, the rest is removed as soon as can be.
    """

    id: str
    deleted: datetime
    objects: int
    bytes: int
    complete: bool


def require_done(head: RemoteHead) -> RemoteHead:
    """A head that is over, as it is.

    Raises:
        MaquetteError: It has failed: the error that ended it.
        Cancelled: It was cancelled.
        HeadNotFound: It has expired.
    """
    if head.state == "done":
        return head
    if head.state == "failed" and head.error is not None:
        raise head.error
    if head.state == "cancelled":
        raise Cancelled("the head was cancelled", head=head.id)
    raise HeadNotFound(f"expected a head that is done, found one that is {head.state}", head=head.id)


def find_export(head: RemoteHead, export_id: str) -> RemoteExport:
    """An export of a head.

    Raises:
        HeadNotFound: It has none of this identifier.
    """
    found = next((e for e in head.exports if e.id == export_id), None)
    if found is None:
        raise HeadNotFound(f"expected an export of the head, found none of the identifier {export_id[:80]}")
    return found


def require_export(head: RemoteHead, export_id: str) -> None:
    """Make sure that an export that is over is done.

    Raises:
        MaquetteError: It has failed: the error that ended it.
        Cancelled: It was cancelled.
        HeadNotFound: There is no such export.
    """
    export = find_export(head, export_id)
    if export.state == "failed" and export.error is not None:
        raise export.error
    if export.state != "done":
        raise Cancelled(f"expected an export that is done, found one that is {export.state}", head=head.id)


def to_head(value: Any) -> RemoteHead:
    """A head out of an answer.

    Raises:
        ServiceMismatch: It is none.
    """
    try:
        return RemoteHead(
            id=str(value["id"]),
            name=str(value["name"]),
            state=str(value["state"]),
            progress=float(value["progress"]),
            cancelling=bool(value["cancelling"]),
            options=dict(value["options"]),
            warnings=tuple(Caution(str(w["code"]), str(w["message"])) for w in value["warnings"]),
            error=_error(value["error"]),
            created=datetime.fromisoformat(value["created"]),
            updated=datetime.fromisoformat(value["updated"]),
            photos_expire=None if value["photos_expire"] is None else datetime.fromisoformat(value["photos_expire"]),
            expires=datetime.fromisoformat(value["expires"]),
            photos=tuple(
                RemotePhoto(str(p["name"]), str(p["media_type"]), int(p["size"]), str(p["sha256"]))
                for p in value["photos"]
            ),
            files=tuple(
                RemoteFile(str(p["name"]), str(p["media_type"]), int(p["size"]), str(p["sha256"]), str(p["url"]))
                for p in value["products"]
            ),
            exports=tuple(to_export(e) for e in value["exports"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _mismatch("a head", error) from error


def to_export(value: Any) -> RemoteExport:
    """An export out of an answer.

    Raises:
        ServiceMismatch: It is none.
    """
    try:
        return RemoteExport(str(value["id"]), str(value["state"]), dict(value["options"]), _error(value["error"]))
    except (LookupError, TypeError, ValueError) as error:
        raise _mismatch("an export", error) from error


def to_page(value: Any) -> RemotePage:
    """A page of heads out of an answer.

    Raises:
        ServiceMismatch: It is none.
    """
    try:
        cursor = value["cursor"]
        return RemotePage(tuple(to_head(h) for h in value["heads"]), None if cursor is None else str(cursor))
    except (LookupError, TypeError) as error:
        raise _mismatch("a page of heads", error) from error


def to_receipt(value: Any) -> RemoteReceipt:
    """A receipt out of an answer.

    Raises:
        ServiceMismatch: It is none.
    """
    try:
        parts = (value["photos"], value["products"])
        return RemoteReceipt(
            id=str(value["id"]),
            deleted=datetime.fromisoformat(value["deleted"]),
            objects=sum(int(p["objects"]) for p in parts),
            bytes=sum(int(p["bytes"]) for p in parts),
            complete=bool(value["complete"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _mismatch("a receipt", error) from error


def _error(value: Any) -> MaquetteError | None:
    return None if value is None else error_of(str(value["code"]), str(value["message"]), dict(value["detail"]))


def _mismatch(what: str, error: Exception) -> ServiceMismatch:
    return ServiceMismatch(f"expected {what} from the server, found something else ({type(error).__name__}: {error})")
