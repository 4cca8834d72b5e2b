"""Programs of this installation as processes of their own, with an installation folder of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maquette.settings import Settings

END_S = 60.0
MAQUETTE = [sys.executable, "-c", "from maquette.cli import main; main()"]


def own_home(folder: Path) -> Path:
    """An installation folder with the networks of this one, and nothing else."""
    home = folder / "home"
    home.mkdir()
    (home / "networks").symlink_to(Settings().networks)
    return home


class Program:
    """A running program; what it says on standard error is kept.

    Attributes:
        log: The file with it.
    """

    def __init__(self, words: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MAQUETTE_")}
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        with log.open("ab") as err:
            self.process = subprocess.Popen(
                words, env=clean | one | environment, stdout=subprocess.PIPE, stderr=err, text=True
            )

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        return line

    def said(self) -> str:
        return self.log.read_text()[-4000:]

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(END_S)
        finally:
            self.process.kill()
            if self.process.stdout is not None:
                self.process.stdout.close()


@contextmanager
def serving_all(home: Path, **settings: str) -> Iterator[tuple[Program, str]]:
    """``maquette serve`` on a free port, and its address."""
    words = [*MAQUETTE, "serve", "--port", "0", "--json"]
    program = Program(words, {"MAQUETTE_HOME": str(home), **settings}, home.parent / "serve.log")
    try:
        printed = ""
        while not printed.rstrip().endswith("}"):
            printed += program.line()
        yield program, json.loads(printed)["url"]
    finally:
        program.end(signal.SIGKILL)
