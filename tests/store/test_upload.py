import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from maquette.errors import StoreFull
from maquette.store.upload import receive
from tests.store.conftest import small_disk
from tests.store.test_store import MIB, digest, noise, pieces


def test_a_stream_whose_digest_is_given_is_passed_on_while_it_comes() -> None:
    data = noise(8 * MIB)
    taken = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for piece in pieces(data, 100_000):
            taken += len(piece)
            yield piece

    with receive(counted(), MIB, digest(data)) as upload:
        assert upload.size is None
        assert taken < 1.2 * MIB
        assert upload.reader.read(MIB) == data[:MIB]
        assert taken < 1.2 * MIB
        assert upload.reader.read(9 * MIB) == data[MIB:]
        assert upload.reader.read(1) == b""


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB])
def test_digest_and_size_are_known_before_the_first_byte_is_given(size: int) -> None:
    data = noise(size)
    with receive(pieces(data, 100_000), MIB, None) as upload:
        assert (upload.sha256, upload.size) == (digest(data), size)
        assert b"".join(iter(lambda: upload.reader.read(300_000), b"")) == data
        assert isinstance(upload.reader, io.BytesIO) == (size <= MIB)


def test_a_full_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with (
            pytest.raises(StoreFull, match=f"{disk}.*No space left"),
            receive(pieces(noise(5 * MIB)), MIB, None),
        ):
            pass
        assert list(disk.iterdir()) == []
