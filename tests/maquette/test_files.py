import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from maquette.errors import OutputError
from maquette.files import check_writable, write_atomically, write_folder


class Interrupted(dict[str, bytes]):
    """Files of which the last is interrupted by Ctrl-C."""

    def items(self) -> Iterator[tuple[str, bytes]]:  # type: ignore[override]
        yield from list(super().items())[:-1]
        raise KeyboardInterrupt


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert contents(path.parent) == {"a.txt": b"second"}


def test_files_have_the_permissions_that_the_user_set_for_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"x")
        write_folder(tmp_path / "f", {"b": b"y"}, seal="b")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "f" / "b").stat().st_mode & 0o777 == 0o640


def test_a_set_is_written_with_its_seal_last(tmp_path: Path) -> None:
    written = write_folder(tmp_path, {"seal": b"s", "a": b"1", "b": b"2"}, seal="seal")
    assert [p.name for p in written] == ["seal", "a", "b"]
    assert contents(tmp_path) == {"seal": b"s", "a": b"1", "b": b"2"}
    assert all((tmp_path / "seal").stat().st_ctime_ns >= (tmp_path / n).stat().st_ctime_ns for n in "ab")


def test_an_interrupted_set_leaves_the_older_one_as_it_was(tmp_path: Path) -> None:
    older = {"a": b"1", "seal": b"s"}
    write_folder(tmp_path, older, seal="seal")
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path, Interrupted({"a": b"new", "b": b"new", "seal": b"new"}), seal="seal")
    assert contents(tmp_path) == older


def test_a_set_that_fails_half_way_into_its_places_has_no_seal(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": b"1", "seal": b"s"}, seal="seal")
    (tmp_path / "b").mkdir()
    with pytest.raises(OutputError):
        write_folder(tmp_path, {"a": b"2", "b": b"2", "seal": b"t"}, seal="seal")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_names_of_the_older_set_that_the_new_one_lacks_are_removed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"mine")
    write_folder(tmp_path, {"head.stl": b"1", "seal": b"s"}, seal="seal")
    write_folder(tmp_path, {"head.ply": b"2", "seal": b"t"}, seal="seal", stale=["head.stl", "gone.obj"])
    assert contents(tmp_path) == {"notes.txt": b"mine", "head.ply": b"2", "seal": b"t"}


def test_what_a_killed_process_left_behind_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".partial-dead").mkdir()
    (tmp_path / ".partial-dead" / "head.glb").write_bytes(b"half")
    (tmp_path / ".partial-file").write_bytes(b"half")
    write_folder(tmp_path, {"seal": b"s"}, seal="seal")
    assert contents(tmp_path) == {"seal": b"s"}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"a file")
    with pytest.raises(OutputError, match="taken"):
        write_folder(tmp_path / "taken", {"seal": b"s"}, seal="seal")
    with pytest.raises(OutputError, match="taken"):
        write_atomically(tmp_path / "taken" / "a", b"x")


def test_a_place_that_will_not_do_is_found_out_early(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"a file")
    check_writable(tmp_path / "to" / "be" / "made")
    assert not (tmp_path / "to").exists()
    for place in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(OutputError, match="is not a folder"):
            check_writable(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_found_out_early(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="no permission"):
        check_writable(tmp_path / "head")


def test_ctrl_c_while_a_set_is_written_takes_effect_when_it_is_whole(tmp_path: Path) -> None:
    class Impatient(dict[str, bytes]):
        def items(self) -> Iterator[tuple[str, bytes]]:  # type: ignore[override]
            signal.raise_signal(signal.SIGINT)
            yield from super().items()

    # Whoever starts the tests in the background of a shell has SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_folder(tmp_path / "f", Impatient({"a": b"1", "seal": b"s"}), seal="seal")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert contents(tmp_path / "f") == {"a": b"1", "seal": b"s"}
