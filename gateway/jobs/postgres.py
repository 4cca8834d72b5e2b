"""The cluster's database: PostgreSQL, for any number of gateways and workers."""

import asyncio
import contextlib
import logging
import time
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection, func, select
from sqlalchemy import exc as sqlalchemy_errors
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.jobs.database import Clock, Database, Mode, Transaction, Work, to_json
from gateway.jobs.settings import JobSettings
from gateway.jobs.sql import SqlJobStore
from maquette.errors import JobsRefused

T = TypeVar("T")
HEADS_CHANNEL = "maquette_heads"
JOBS_CHANNEL = "maquette_jobs"

_CONNECT_S = 10.0
_COMMAND_S = 30.0
_PROBE_S = 30.0
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_PASSING = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P05",  # idle_session_timeout
    "25006",  # read_only_sql_transaction: what was the primary a moment ago
}
_PASSING_CLASSES = {
    "08",  # connection_exception
    "53",  # insufficient_resources: disk, memory, connections
    "58",  # system_error
}
_REFUSED = {
    "28000",  # invalid_authorization_specification
    "28P01",  # invalid_password
    "3D000",  # invalid_catalog_name
    "42501",  # insufficient_privilege
    "42P01",  # undefined_table
}
_DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_log = logging.getLogger(__name__)


class PostgresDatabase(Database):
    """PostgreSQL through asyncpg; one connection more than the pool's listens for all who wait in this process."""

    def __init__(self, settings: JobSettings, clock: Clock = time.time) -> None:
        """Prepare to connect to ``settings.database_url``; nothing is done yet."""
        self._url = settings.database_url.get_secret_value()
        super().__init__(settings, clock, _DRIVER_ERRORS)
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            json_serializer=to_json,
            # Errors end up in logs, and names of people and of their files do not belong there.
            hide_parameters=True,
            pool_size=settings.connections,
            max_overflow=0,
            pool_timeout=max(settings.outage_s, 1.0),
        )
        self._running: set[asyncio.Task[Any]] = set()
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def close(self) -> None:
        """See ``Database.close``."""
        await super().close()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._engine.dispose()

    async def _connect(self, *_arguments: object, **_options: object) -> Any:
        # The driver reads the URL itself: it understands all that libpq's do (sslmode, several hosts, sockets, …).
        try:
            return await asyncpg.connect(
                self._url,
                timeout=_CONNECT_S,
                command_timeout=_COMMAND_S,
                server_settings={"application_name": "maquette", "jit": "off"},
            )
        except (ValueError, OverflowError):
            # What the driver says may show half a password, when that has an @ or : in it.
            raise JobsRefused(
                "expected postgresql://USER:PASSWORD@HOST:PORT/NAME with special characters percent-encoded, found a "
                "URL for the jobs' database that cannot be understood"
            ) from None

    def _passing(self, error: Exception) -> bool:
        if isinstance(error, sqlalchemy_errors.DBAPIError) and error.connection_invalidated:
            return True
        if isinstance(error, sqlalchemy_errors.TimeoutError) or isinstance(_cause(error), _LOST):
            return True
        state = _state(error)
        return state is not None and (state in _PASSING or state[:2] in _PASSING_CLASSES)

    def _refused(self, error: Exception) -> bool:
        return _state(error) in _REFUSED

    async def _once(self, work: Work[T], mode: Mode, *, repeated: bool) -> T:
        async def run() -> T:
            async with (self._reading if mode is Mode.READ else self._engine).connect() as connection:
                try:
                    async with connection.begin():
                        return await connection.run_sync(self._work, work, repeated)
                except _DRIVER_ERRORS:
                    # What the driver says of itself, such as that it lost its place when the server went away, passes
                    # through the pool unrecognised; the connection is of no use any more.
                    await connection.invalidate()
                    raise

        # A caller who is cancelled waits no longer, but what is begun is ended: the driver gives up connections that
        # are interrupted, so that each client that goes away in the middle would cost one.
        task = asyncio.get_running_loop().create_task(run())
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()

    def _work(self, connection: Connection, work: Work[T], repeated: bool) -> T:
        transaction = Transaction(connection, self.clock(), self.settings, repeated=repeated)
        result = work(transaction)
        # Delivered when, and only if, the transaction is committed; to this process too.
        for head_id in sorted(transaction.changed):
            connection.execute(select(func.pg_notify(HEADS_CHANNEL, head_id)))
        if transaction.ready:
            connection.execute(select(func.pg_notify(JOBS_CHANNEL, "")))
        return result

    async def _watch(self) -> None:
        """Hold one connection that listens; whenever it is a new one, anything may have happened before."""
        failures = 0
        while True:
            try:
                connection = await self._connect_for_good()
                try:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda _connection, lost=lost: lost.set())
                    await connection.add_listener(HEADS_CHANNEL, self._notified)
                    await connection.add_listener(JOBS_CHANNEL, self._notified)
                    failures = 0
                    self.hub.wake_all()
                    while not lost.is_set():
                        try:
                            async with asyncio.timeout(_PROBE_S):
                                await lost.wait()
                        except TimeoutError:
                            await connection.execute("SELECT 1", timeout=_CONNECT_S)
                finally:
                    connection.terminate()
            except self._errors as error:
                _log.warning("cannot listen for jobs: %s", error or type(error).__name__)
            pause = _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]
            failures += 1
            await asyncio.sleep(pause)

    async def _connect_for_good(self) -> Any:
        """Connect, or when cancelled meanwhile, leave nothing half done as the driver would."""
        connecting = asyncio.ensure_future(self._connect())
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            with contextlib.suppress(*self._errors):
                (await connecting).terminate()
            raise

    def _notified(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        if channel == JOBS_CHANNEL:
            self.hub.wake_jobs()
        else:
            self.hub.wake_heads([str(payload)])


class PostgresJobStore(SqlJobStore):
    """Jobs in PostgreSQL."""

    def __init__(self, settings: JobSettings, clock: Clock = time.time) -> None:
        """See ``PostgresDatabase``; ``open_jobs`` also makes the tables."""
        super().__init__(PostgresDatabase(settings, clock))


def _cause(error: BaseException) -> BaseException:
    """What the driver itself raised."""
    inner = getattr(error, "orig", None) or error
    return inner.__cause__ or inner


def _state(error: BaseException) -> str | None:
    """PostgreSQL's code of an error."""
    for candidate in (error, getattr(error, "orig", None), _cause(error)):
        state = getattr(candidate, "sqlstate", None)
        if isinstance(state, str):
            return state
    return None
