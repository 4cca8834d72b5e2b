"""A database of jobs: transactions that are tried again, and what a transaction may ask for.

Work on the tables is written as plain functions that take a ``Transaction``. They must come to the same end when run a
second time after all: when the connection is lost in the moment of the commit, nobody knows whether it took place.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Row, Table
from sqlalchemy import exc as sqlalchemy_errors
from sqlalchemy.dialects import postgresql, sqlite

from gateway.jobs.hub import Hub
from gateway.jobs.migrate import upgrade
from gateway.jobs.settings import JobSettings
from maquette.errors import JobsRefused, JobsUnavailable

T = TypeVar("T")
Clock = Callable[[], float]
"""Seconds since 1970, UTC. The clocks of machines that share a database must agree to within a second or so."""

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


class Mode(Enum):
    """What a transaction is for."""

    READ = auto()
    WRITE = auto()
    DURABLE = auto()


class Transaction:
    """One transaction on the tables.

    Attributes:
        connection: Of the driver.
        now: When it began.
        settings: Of the store.
        repeated: Whether it was tried before and may have succeeded.
        changed: Heads whose waiters are to be told once it is committed.
        ready: Whether those who wait for jobs are to be told.
    """

    def __init__(self, connection: Connection, now: float, settings: JobSettings, *, repeated: bool) -> None:
        self.connection = connection
        self.now = now
        self.settings = settings
        self.repeated = repeated
        self.changed: set[str] = set()
        self.ready = False

    def run(self, statement: Executable, rows: Sequence[dict[str, Any]] | None = None) -> CursorResult[Any]:
        """Execute a statement; with ``rows``, once for each of them."""
        return self.connection.execute(statement, rows)

    def one(self, statement: Executable) -> Row[Any] | None:
        """The first row, if there is one."""
        return self.connection.execute(statement).first()

    def all(self, statement: Executable) -> Sequence[Row[Any]]:
        """All rows."""
        return self.connection.execute(statement).all()

    def value(self, statement: Executable) -> Any:
        """The first column of the first row; None where there is none."""
        return self.connection.execute(statement).scalar()

    def insert(self, table: Table) -> "postgresql.Insert | sqlite.Insert":
        """An insert that may say what to do on a conflict."""
        if self.connection.dialect.name == "postgresql":
            return postgresql.insert(table)
        return sqlite.insert(table)


Work = Callable[[Transaction], T]


class Database(ABC):
    """What both databases have in common.

    Attributes:
        hub: Those of this process who wait.
        settings: Of the store.
        clock: Of the store.
    """

    def __init__(self, settings: JobSettings, clock: Clock, driver_errors: tuple[type[Exception], ...]) -> None:
        self.hub = Hub()
        self.settings = settings
        self.clock = clock
        self._errors: tuple[type[Exception], ...] = (sqlalchemy_errors.SQLAlchemyError, OSError, *driver_errors)
        self._watching: asyncio.Task[None] | None = None

    async def read(self, work: Work[T]) -> T:
        """Run work that changes nothing, on one consistent state of the tables.

        Raises:
            JobsUnavailable: The database has not answered for ``outage_s``.
            JobsRefused: It does not let us.
        """
        return await self._insist(work, Mode.READ)

    async def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run work that changes something: when this returns, all of it is done; if it raises, nothing.

        Args:
            work: What to do.
            durable: Whether it must outlive a power failure. What is not durable outlives the end of any process all
                the same, and is lost in the order in which it was done, the last first. A database may make everything
                durable.

        Raises:
            JobsUnavailable: The database has not answered for ``outage_s``; the work may be done or not.
            JobsRefused: It does not let us.
        """
        return await self._insist(work, Mode.DURABLE if durable else Mode.WRITE)

    async def write_once(self, work: Work[T]) -> T:
        """As ``write``, not durable, but only once, however it ends.

        Raises:
            JobsUnavailable: The database does not answer now.
            JobsRefused: It does not let us.
        """
        return await self._insist(work, Mode.WRITE, outage_s=0.0)

    async def prepare(self) -> None:
        """Make or update the tables, or see that they are those that we know.

        Raises:
            JobsUnavailable: The database does not answer.
            JobsRefused: It is of another version.
        """
        await self._insist(lambda tx: upgrade(tx.connection, migrate=self.settings.migrate), Mode.DURABLE)

    def watch(self) -> None:
        """Have the hub told of what other processes do; goes on until ``close``."""
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch(), name="jobs-watch")

    async def close(self) -> None:
        """Give back what is held open."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    async def _insist(self, work: Work[T], mode: Mode, *, outage_s: float | None = None) -> T:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + (self.settings.outage_s if outage_s is None else outage_s)
        pause, repeated = _FIRST_PAUSE_S, False
        while True:
            try:
                return await self._once(work, mode, repeated=repeated)
            except self._errors as error:
                reason = _reason(error)
                if self._refused(error):
                    raise JobsRefused(f"the jobs' database refuses: {reason}") from error
                if not self._passing(error):
                    raise
                if loop.time() + pause > give_up:
                    raise JobsUnavailable(f"the jobs' database does not answer: {reason}") from error
            await asyncio.sleep(pause)
            pause, repeated = min(pause * 2, _LONGEST_PAUSE_S), True

    @abstractmethod
    def _passing(self, error: Exception) -> bool:
        """Whether trying again may help."""

    @abstractmethod
    def _refused(self, error: Exception) -> bool:
        """Whether the database will not let us, however often we try."""

    @abstractmethod
    async def _once(self, work: Work[T], mode: Mode, *, repeated: bool) -> T:
        """Run work in one transaction, and tell those who wait."""

    @abstractmethod
    async def _watch(self) -> None:
        """Tell the hub of what others do, for ever."""


def to_json(value: object) -> str:
    """How JSON is written; escapes everything that a database might not hold."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _reason(error: BaseException) -> str:
    inner = getattr(error, "orig", None) or error
    text = str(inner).strip().splitlines()
    return text[0] if text else type(inner).__name__
