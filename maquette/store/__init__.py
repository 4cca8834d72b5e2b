"""The object store: photos, heads and products as objects named after their bytes.

    from maquette.store import StoreSettings, open_store

    store = open_store(StoreSettings(url="file:///var/lib/maquette"))
    info = store.put("heads/head_x7", data, "model/gltf-binary")
    with store.open(info.key) as stream:
        data = stream.read()

``ObjectStore`` is the Protocol, ``FileStore`` the embedded implementation, ``maquette.store.s3.S3Store`` the one that
speaks the S3 API; both pass the same tests.
"""

from maquette.store.files import FileStore
from maquette.store.keys import check_key, check_scope, join_key, split_key
from maquette.store.settings import StoreSettings, open_store
from maquette.store.store import Chunks, Entry, ObjectInfo, ObjectStore, ObjectStream

__all__ = [
    "Chunks",
    "Entry",
    "FileStore",
    "ObjectInfo",
    "ObjectStore",
    "ObjectStream",
    "StoreSettings",
    "check_key",
    "check_scope",
    "join_key",
    "open_store",
    "split_key",
]
