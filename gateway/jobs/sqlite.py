"""The embedded database: one file of this machine, for one process or several."""

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, event, select
from sqlalchemy import exc as sqlalchemy_errors

from gateway.jobs.database import Clock, Database, Mode, Transaction, Work, to_json
from gateway.jobs.schema import heads
from gateway.jobs.settings import JobSettings
from gateway.jobs.sql import SqlJobStore
from maquette.errors import JobsRefused

T = TypeVar("T")
_BEGIN = "maquette_begin"
_BUSY_S = 5.0
_CHUNK = 500
_GLANCE_S = 0.02
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_REFUSED = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
}
_log = logging.getLogger(__name__)

_ON_CONNECT = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA foreign_keys = ON",
    # What is deleted is overwritten.
    "PRAGMA secure_delete = ON",
)


_HOW_TO_BEGIN = {
    Mode.READ: ("BEGIN",),
    # In WAL mode NORMAL is safe as long as the power stays on; FULL waits for the disk, at this commit and for all that
    # came before it.
    Mode.WRITE: ("PRAGMA synchronous = NORMAL", "BEGIN IMMEDIATE"),
    Mode.DURABLE: ("PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"),
}


class SqliteDatabase(Database):
    """SQLite in WAL mode: readers do not wait; writers queue up, in this process in their order.

    A transaction runs as a whole in a thread. The async drivers for SQLite change threads with every statement, which
    costs several times what the statements do.
    """

    def __init__(self, path: Path, settings: JobSettings, clock: Clock = time.time) -> None:
        """Use a file, making it and its folder where they are not there; only its owner may read it.

        Raises:
            JobsRefused: It cannot be made.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise JobsRefused(f"cannot use {path} for the jobs: {error.strerror or error}") from error
        super().__init__(settings, clock, (sqlite3.Error,))
        self._log = path.with_name(f"{path.name}-wal")
        self._own: tuple[int, int] | None = None
        self._readers = ThreadPoolExecutor(settings.connections, "jobs-read")
        # One, because SQLite has one writer at a time; those who wait in a queue are served in turn, while those who
        # wait for the file's lock try again after longer and longer pauses.
        self._writer = ThreadPoolExecutor(1, "jobs-write")
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            json_serializer=to_json,
            # Errors end up in logs, and names of people and of their files do not belong there.
            hide_parameters=True,
            pool_size=settings.connections + 1,
            max_overflow=1,
            connect_args={"timeout": min(_BUSY_S, settings.outage_s)},
        )
        event.listen(self._engine, "connect", _prepare_connection)
        event.listen(self._engine, "begin", _begin)

    async def close(self) -> None:
        """See ``Database.close``."""
        await super().close()
        for executor in (self._readers, self._writer):
            await asyncio.get_running_loop().run_in_executor(None, executor.shutdown)
        self._engine.dispose()

    def _passing(self, error: Exception) -> bool:
        code = _code(error)
        return code is not None and code & 0xFF in _PASSING

    def _refused(self, error: Exception) -> bool:
        code = _code(error)
        return code is not None and code & 0xFF in _REFUSED

    async def _once(self, work: Work[T], mode: Mode, *, repeated: bool) -> T:
        loop = asyncio.get_running_loop()

        def run() -> T:
            with self._engine.connect() as connection:
                connection = connection.execution_options(**{_BEGIN: _HOW_TO_BEGIN[mode]})
                with connection.begin():
                    transaction = Transaction(connection, self.clock(), self.settings, repeated=repeated)
                    result = work(transaction)
            if mode is not Mode.READ:
                self._own = self._log_status()
            # Also when the caller has been cancelled meanwhile, and does not wait for the result any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._tell, transaction)
            return result

        return await loop.run_in_executor(self._readers if mode is Mode.READ else self._writer, run)

    def _tell(self, transaction: Transaction) -> None:
        self.hub.wake_heads(transaction.changed)
        if transaction.ready:
            self.hub.wake_jobs()

    async def _written(self, before: tuple[int, int] | None) -> tuple[int, int] | None:
        """Wait until the write-ahead log is another one than before, or for ``poll_s``; returns what it is now.

        Asking the system for the time of a file costs next to nothing, so that news from other processes is seen soon.
        But two writes within one tick of its clock look like one: looking into the database now and then finds those.
        What this process itself has written last is no news.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self.settings.poll_s
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(_GLANCE_S, left) if self.hub.waiting else left)
            now = self._log_status()
            if now not in (None, before, self._own):
                return now
        return before

    def _log_status(self) -> tuple[int, int] | None:
        """Time and size of the write-ahead log; None where there is none."""
        try:
            status = self._log.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    async def _watch(self) -> None:
        """Look whether another connection has committed anything, and only then what."""
        loop = asyncio.get_running_loop()
        version: int | None = None
        written: tuple[int, int] | None = None
        with self._engine.connect() as connection:
            while True:
                written = await self._written(written)
                if not self.hub.waiting:
                    continue
                try:
                    waited = self.hub.heads
                    look = loop.run_in_executor(self._readers, _look, connection, version, list(waited))
                    try:
                        found, newest = await asyncio.shield(look)
                    except asyncio.CancelledError:
                        # The connection is closed next: not while a thread is using it.
                        await asyncio.wait([look])
                        raise
                except sqlalchemy_errors.DBAPIError as error:
                    _log.warning("cannot look for other processes' jobs: %s", error.orig)
                    continue
                if found != version:
                    self.hub.wake_jobs()
                    self.hub.wake_heads(h for h, after in waited.items() if h not in newest or newest[h] > after)
                    version = found


class SqliteJobStore(SqlJobStore):
    """Jobs in a file of this machine."""

    def __init__(self, path: Path, settings: JobSettings, clock: Clock = time.time) -> None:
        """See ``SqliteDatabase``; ``open_jobs`` also makes the tables."""
        super().__init__(SqliteDatabase(path, settings, clock))


def _look(connection: Connection, version: int | None, head_ids: list[str]) -> tuple[int | None, dict[str, int]]:
    """Version of the data, and if it is not the given one, number of the newest event of each head that is there."""
    sequences: dict[str, int] = {}
    try:
        found: int | None = connection.exec_driver_sql("PRAGMA data_version").scalar()
        for i in range(0, len(head_ids) if found != version else 0, _CHUNK):
            chunk = head_ids[i : i + _CHUNK]
            rows = connection.execute(select(heads.c.id, heads.c.sequence).where(heads.c.id.in_(chunk)))
            sequences.update((row.id, row.sequence) for row in rows)
    finally:
        connection.rollback()
    return found, sequences


def _prepare_connection(connection: Any, _record: object) -> None:
    # Without this the driver begins transactions by itself, later than it should.
    connection.isolation_level = None
    cursor = connection.cursor()
    for statement in _ON_CONNECT:
        cursor.execute(statement)
    cursor.close()


def _begin(connection: Connection) -> None:
    for statement in connection.get_execution_options().get(_BEGIN, _HOW_TO_BEGIN[Mode.READ]):
        connection.exec_driver_sql(statement)


def _code(error: BaseException) -> int | None:
    """SQLite's own code of an error."""
    code = getattr(getattr(error, "orig", None) or error, "sqlite_errorcode", None)
    return code if isinstance(code, int) else None
