"""Maquette elsewhere: a client of the gateway, to wait for (``Client``) or for ``asyncio`` (``AsyncClient``).

    from maquette.client import Client

    with Client("http://127.0.0.1:8080") as maquette:
        head = maquette.submit("me.jpg")
        head = maquette.wait(head.id, lambda event: print(event.kind, event.data))
        maquette.download(head, "head")

Both have the same methods. Uploads carry an idempotency key and may be repeated; streams of events and downloads go on
where they broke off; what a server refuses is raised as the error of ``maquette.errors`` that it is. It needs the
package httpx (``pip install 'maquette[client]'``).
"""

from maquette.client.asynchronous import AsyncClient
from maquette.client.blocking import Client
from maquette.client.records import (
    RemoteEvent,
    RemoteExport,
    RemoteFile,
    RemoteHead,
    RemotePage,
    RemotePhoto,
    RemoteReceipt,
)

__all__ = [
    "AsyncClient",
    "Client",
    "RemoteEvent",
    "RemoteExport",
    "RemoteFile",
    "RemoteHead",
    "RemotePage",
    "RemotePhoto",
    "RemoteReceipt",
]
