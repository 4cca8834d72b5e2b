"""Room for photos that are on their way, which is either taken over by a head or cleared."""

import asyncio
import logging

from gateway.context import Gateway
from gateway.jobs import CreatedHead, NewHead, head_scope, photo_scope
from maquette.errors import JobsUnavailable, MaquetteError
from maquette.logs import fields

_log = logging.getLogger(__name__)


class Reservation:
    """Room for the photos of one request, made when the first of them needs it.

    Whatever happens to the process: the jobs know of the room before anything is put there, and clear it in time unless
    a head has taken it over.
    """

    def __init__(self, gateway: Gateway, owner: str) -> None:
        self._gateway, self._owner = gateway, owner
        self._head_id: str | None = None
        self._settled = False

    async def head_id(self) -> str:
        """Identifier of the head to be."""
        if self._head_id is None:
            self._head_id = await self._gateway.jobs.reserve(self._owner)
        return self._head_id

    async def scope(self) -> str:
        """Scope of the store that the photos go to."""
        return photo_scope(await self.head_id())

    async def create(self, new: NewHead) -> CreatedHead:
        """Ask for the head: when this returns, it and its photos are durable.

        Raises:
            JobError: See ``JobStore.create_head``.
        """
        asking = asyncio.ensure_future(self._gateway.jobs.create_head(self._owner, new))
        try:
            created = await asyncio.shield(asking)
        except (JobsUnavailable, asyncio.CancelledError):
            # The head may be there all the same. If it is, it has taken the room over; if not, it is cleared in time.
            self._settled = True
            raise
        self._settled = created.head.id == new.head_id
        return created

    async def clear(self) -> None:
        """Remove what was received, unless a head has taken it over; what fails here is done by a later sweep."""
        if self._settled or self._head_id is None:
            return
        self._settled = True
        # Once begun it is ended, also when the server is told to stop meanwhile.
        await asyncio.shield(asyncio.ensure_future(self._clear(self._head_id)))

    async def _clear(self, head_id: str) -> None:
        gateway = self._gateway
        try:
            await gateway.jobs.abandon(self._owner, head_id)
            await gateway.in_thread(gateway.store.delete_scope, photo_scope(head_id))
            # Nothing has ever been put into the other scope: no worker has learnt of it.
            await gateway.jobs.removed([photo_scope(head_id), head_scope(head_id)])
        except (MaquetteError, RuntimeError) as error:
            # A RuntimeError is what threads answer that have been closed, when the gateway ends in the middle.
            code = error.code if isinstance(error, MaquetteError) else MaquetteError.code
            _log.warning("room for an upload is left to the sweep", extra=fields(code=code, head=head_id))
