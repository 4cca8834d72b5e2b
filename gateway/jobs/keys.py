"""API keys: ``mq_<id>_<secret>``, shown once, stored as a digest.

The secret has 256 random bits, so that a plain sha256 of it gives nothing away and a slow one would only slow requests.
"""

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import limits
from sqlalchemy import Row, select, update

from gateway.jobs import schema
from gateway.jobs.names import check_text, random_text
from maquette.errors import JobError, KeyInvalid, OptionInvalid, ScopeMissing

if TYPE_CHECKING:
    from gateway.jobs.database import Database, Transaction

_KEY = re.compile("mq_([a-z2-7]{16})_([a-z2-7]{52})")
_ID_BYTES = 10
_SECRET_BYTES = 32
_LONGEST_NAME = 200
_LONGEST_OWNER = 100
_LAST_USED_EVERY_S = 60.0
_NO_DIGEST = "-" * 64
_log = logging.getLogger(__name__)


class Scope(StrEnum):
    """What a key may be used for.

    Attributes:
        READ: See heads, their events and files.
        WRITE: Ask for heads and exports, and cancel them.
        DELETE: Delete heads.
        DETECT: Find faces in a photo that is not kept.
        METRICS: Read the gateway's metrics.
    """

    READ = "heads:read"
    WRITE = "heads:write"
    DELETE = "heads:delete"
    DETECT = "detect"
    METRICS = "metrics"


CUSTOMER_SCOPES = frozenset({Scope.READ, Scope.WRITE, Scope.DELETE, Scope.DETECT})
"""What a key may be used for unless it is said."""


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret.

    Attributes:
        id: Public part.
        owner: Whose heads it sees; its own id, unless it was made for another's (to replace a key without losing
            sight of its heads).
        name: For people.
        scopes: What it may be used for.
        rate: Most requests, in the notation of the library ``limits`` (``10/second;200/minute``); None for the
            gateway's default.
        quota: Most heads a day (UTC); None for any number.
        created: When, seconds since 1970.
        revoked: When, or None.
        last_used: When, to the minute, or None.
    """

    id: str
    owner: str
    name: str
    scopes: frozenset[Scope]
    rate: str | None
    quota: int | None
    created: float
    revoked: float | None
    last_used: float | None

    def require(self, scope: Scope) -> None:
        """Make sure that the key is for this.

        Raises:
            ScopeMissing: It is not.
        """
        if scope not in self.scopes:
            has = ", ".join(sorted(self.scopes)) or "none"
            raise ScopeMissing(f"expected a key with the scope {scope}, found one with {has}", scope=scope)


@dataclass(frozen=True)
class NewKey:
    """A key that was just made.

    Attributes:
        key: Without the secret.
        secret: All of ``mq_<id>_<secret>``; it cannot be had again.
    """

    key: ApiKey
    secret: str = field(repr=False)


class KeyStore:
    """The keys of an installation, in the jobs' database."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._noted: dict[str, float] = {}
        self._noting: set[asyncio.Task[None]] = set()

    async def create(
        self,
        name: str,
        *,
        scopes: Collection[Scope] = CUSTOMER_SCOPES,
        rate: str | None = None,
        quota: int | None = None,
        owner: str | None = None,
    ) -> NewKey:
        """Make a key.

        Args:
            name: For people, 1 to 200 characters.
            scopes: What it may be used for.
            rate: Most requests, in the notation of ``limits``.
            quota: Most heads a day.
            owner: Whose heads it sees; its own when None.

        Raises:
            OptionInvalid: An argument is out of its range.
        """
        check_text("key's name", name, _LONGEST_NAME, 1)
        if owner is not None:
            check_text("key's owner", owner, _LONGEST_OWNER, 1)
        if not scopes:
            raise OptionInvalid(f"expected at least one scope of {', '.join(Scope)}, found none")
        if quota is not None and not 1 <= quota < 2**31:
            raise OptionInvalid(f"expected a quota of at least 1 head a day, found {quota}")
        if rate is not None:
            check_rate(rate)
        key_id, secret = random_text(_ID_BYTES), random_text(_SECRET_BYTES)

        def work(tx: "Transaction") -> ApiKey:
            insert = tx.insert(schema.keys).values(
                id=key_id,
                sha256=_digest(secret),
                owner=owner or key_id,
                name=name,
                scopes=sorted(scopes),
                rate=rate,
                quota=quota,
                created=tx.now,
            )
            tx.run(insert.on_conflict_do_nothing())
            return _to_key(tx.all(select(schema.keys).where(schema.keys.c.id == key_id))[0])

        return NewKey(await self._database.write(work), f"mq_{key_id}_{secret}")

    async def authenticate(self, presented: str) -> ApiKey:
        """The key that a request shows.

        Raises:
            KeyInvalid: It is none, unknown or revoked; the error does not say which.
        """
        match = _KEY.fullmatch(presented)
        if match is None:
            raise _invalid()
        key_id, secret = match.groups()
        row = await self._database.read(lambda tx: tx.one(select(schema.keys).where(schema.keys.c.id == key_id)))
        # An unknown key is compared too, with what no secret has for a digest, so that it takes as long.
        same = hmac.compare_digest(_digest(secret), _NO_DIGEST if row is None else row.sha256)
        if row is None or not same or row.revoked is not None:
            raise _invalid()
        self._note_use(key_id)
        return _to_key(row)

    async def list(self, *, revoked: bool = False) -> tuple[ApiKey, ...]:
        """All keys, oldest first; revoked ones only when asked for."""
        wanted = select(schema.keys).order_by(schema.keys.c.created, schema.keys.c.id)
        if not revoked:
            wanted = wanted.where(schema.keys.c.revoked.is_(None))
        return tuple(_to_key(row) for row in await self._database.read(lambda tx: tx.all(wanted)))

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key's use, for good; one that has been revoked stays as it is.

        Raises:
            KeyInvalid: There is no key with this id.
        """
        mine = schema.keys.c.id == key_id

        def work(tx: "Transaction") -> Row[Any] | None:
            tx.run(update(schema.keys).where(mine, schema.keys.c.revoked.is_(None)).values(revoked=tx.now))
            return tx.one(select(schema.keys).where(mine))

        row = await self._database.write(work)
        if row is None:
            raise KeyInvalid("expected the id of a key, as the list of keys shows it, found something else")
        return _to_key(row)

    async def settle(self) -> None:
        """Wait until uses that are being noted are."""
        await asyncio.gather(*self._noting)

    def _note_use(self, key_id: str) -> None:
        """Remember the use of a key, once a minute, without holding the request up."""
        now = self._database.clock()
        if now - self._noted.get(key_id, float("-inf")) < _LAST_USED_EVERY_S:
            return
        self._noted[key_id] = now
        task = asyncio.get_running_loop().create_task(self._note(key_id, now))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _note(self, key_id: str, now: float) -> None:
        used = update(schema.keys).where(schema.keys.c.id == key_id).values(last_used=now)
        try:
            await self._database.write_once(lambda tx: tx.run(used).rowcount)
        except JobError as error:
            _log.warning("cannot note the use of a key: %s", error)


def check_rate(rate: str) -> str:
    """Return a rate limit as it is.

    Raises:
        OptionInvalid: It is none.
    """
    try:
        limits.parse_many(rate)
    except ValueError as error:
        raise OptionInvalid(f"expected a rate such as 10/second or 200/minute;5000/day, found {rate!r}") from error
    return rate


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _invalid() -> KeyInvalid:
    return KeyInvalid("expected a valid API key, mq_<id>_<secret>, found none, an unknown or a revoked one")


def _to_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        owner=row.owner,
        name=row.name,
        scopes=frozenset(Scope(s) for s in row.scopes),
        rate=row.rate,
        quota=row.quota,
        created=row.created,
        revoked=row.revoked,
        last_used=row.last_used,
    )
