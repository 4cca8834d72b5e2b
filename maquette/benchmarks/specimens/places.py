"""Paths that lead to no ordinary file, and names that few expect."""

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from maquette.benchmarks.specimens.portraits import portrait_bytes

Place = Callable[[Path], Path]

_NAMES = {
    "a line end": "two\nlines.jpg",
    "control characters": "\x1b[31mred\x1b[0m\x07\r.jpg",
    "a zero-width and a right-to-left mark": "a\u200b\u202egpj.exe.jpg",
    "letters of many scripts": "Ünïcødé 顔 лицо وجه 🙂.jpg",
    "bytes that are no text": os.fsdecode(b"\xff\xfe\x80.jpg"),
    "quotes and wildcards": "'\"*?[a]{b}$(touch here)`;&|<>.jpg",
    "a dash in front": "--output=here.jpg",
    "a percent sign and braces": "%s%n{0}{photo}.jpg",
    "markup": "[bold]b[bold] [link=x]<i>&amp;.jpg",
    "spaces at both ends": " .jpg ",
    "255 bytes": "n" * 251 + ".jpg",
    "no suffix": "picture",
    "a dot in front": ".jpg",
    "only dots": "....",
    "a decomposed letter": "e\u0301.jpg",
    "surrogates of nothing": os.fsdecode(b"caf\xe9.jpg"),
}


def places() -> list[tuple[str, Place]]:
    """All of them: what it is and what puts it into a folder."""
    odd = [(f"a name with {what}", _named(name)) for what, name in _NAMES.items()]
    bad = [(f"a bad file, a name with {what}", _named(name, b"no picture")) for what, name in _NAMES.items()]
    return [
        *odd,
        *bad,
        ("an empty file", _named("empty.jpg", b"")),
        ("an empty file without suffix", _named("empty", b"")),
        ("nothing", _path("absent.jpg")),
        ("nothing in no folder", _path("no/such/folder/absent.jpg")),
        ("a folder", _folder),
        ("the folder above", _path("..")),
        ("a file taken for a folder", _file_as_folder),
        ("a link that leads to itself", _loop),
        ("two links that lead to each other", _ring),
        ("a link that leads nowhere", _dangling),
        ("a link to a picture", _link),
        ("a link to a folder", _folder_link),
        ("a chain of thirty links", _chain(30)),
        ("a chain of sixty links", _chain(60)),
        ("a file that may not be read", _forbidden),
        ("a picture in a folder that may not be entered", _locked),
        ("a pipe that nobody writes to", _pipe),
        ("a socket", _socket),
        ("a link to a device without end", _device("/dev/zero")),
        ("a link to a device of nothing", _device("/dev/null")),
        ("a link to the memory of a process", _device("/proc/self/mem")),
        ("a link to a file of the kernel", _device("/proc/self/status")),
        ("a path of ten thousand characters", _long_path),
        ("a name of a thousand characters", _path("n" * 1_000 + ".jpg")),
        ("a zero byte in the path", _path("zero\0byte.jpg")),
        ("a path with many dots", _dotted),
        ("an address", _path("https://example.org/photo.jpg")),
        ("a sparse file of a gigabyte", _sparse(1_000_000_000)),
        ("a sparse file just above the limit", _sparse(100_000_001)),
        ("a sparse picture just below the limit", _sparse(99_999_999, True)),
    ]


def _named(name: str, data: bytes | None = None) -> Place:
    """The sample's face, or other bytes, under a name."""

    def place(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(portrait_bytes("JPEG") if data is None else data)
        return path

    return place


def _path(name: str) -> Place:
    """A path where nothing has been put."""
    return lambda folder: folder / name


def _folder(folder: Path) -> Path:
    path = folder / "folder.jpg"
    path.mkdir()
    _named("inside.jpg")(path)
    return path


def _file_as_folder(folder: Path) -> Path:
    return _named("file.jpg")(folder) / "inside.jpg"


def _loop(folder: Path) -> Path:
    path = folder / "loop.jpg"
    path.symlink_to(path)
    return path


def _ring(folder: Path) -> Path:
    (folder / "one.jpg").symlink_to(folder / "two.jpg")
    (folder / "two.jpg").symlink_to(folder / "one.jpg")
    return folder / "one.jpg"


def _dangling(folder: Path) -> Path:
    path = folder / "dangling.jpg"
    path.symlink_to(folder / "absent.jpg")
    return path


def _link(folder: Path) -> Path:
    path = folder / "link.jpg"
    path.symlink_to(_named("picture.jpg")(folder))
    return path


def _folder_link(folder: Path) -> Path:
    path = folder / "link.jpg"
    path.symlink_to(folder)
    return path


def _chain(count: int) -> Place:
    """More links than some systems follow."""

    def place(folder: Path) -> Path:
        path = _named("picture.jpg")(folder)
        for k in range(count):
            link = folder / f"link-{k}.jpg"
            link.symlink_to(path)
            path = link
        return path

    return place


def _forbidden(folder: Path) -> Path:
    """A picture that its owner may not read either; the superuser may."""
    path = _named("forbidden.jpg")(folder)
    path.chmod(0)
    return path


def _locked(folder: Path) -> Path:
    inner = folder / "locked"
    inner.mkdir()
    path = _named("picture.jpg")(inner)
    inner.chmod(0)
    return path


def _pipe(folder: Path) -> Path:
    path = folder / "pipe.jpg"
    os.mkfifo(path)
    return path


def _socket(folder: Path) -> Path:
    path = folder / "socket.jpg"
    # Bound elsewhere, because a socket's path may be no longer than about a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="s") as short, socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{short}/s")
        Path(short, "s").rename(path)
    return path


def _device(target: str) -> Place:
    def place(folder: Path) -> Path:
        path = folder / "device.jpg"
        path.symlink_to(target)
        return path

    return place


def _long_path(folder: Path) -> Path:
    return folder.joinpath(*["n" * 99] * 100, "picture.jpg")


def _dotted(folder: Path) -> Path:
    """A path that goes to and fro and does arrive."""
    path = _named("picture.jpg")(folder)
    return folder.joinpath(*[".", "..", folder.name] * 50, path.name)


def _sparse(size: int, picture: bool = False) -> Place:
    """A file that is large and takes no room."""

    def place(folder: Path) -> Path:
        path = folder / "sparse.jpg"
        path.write_bytes(portrait_bytes("JPEG") if picture else b"")
        os.truncate(path, size)
        return path

    return place
