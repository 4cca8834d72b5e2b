"""What docs/running.md tells to type is there to be typed."""

import re
import tomllib
from pathlib import Path

from maquette.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
LINES = [line.partition("#")[0] for block in BLOCKS for line in block.split("\n")]


def test_variables_are_settings() -> None:
    known = set(re.findall(r"`(MAQUETTE_[A-Z0-9_<>]+)`", (ROOT / "docs" / "configuration.md").read_text("utf-8")))
    services = ("DETECTOR", "RECONSTRUCTOR", "MESHPROC")
    known |= {name.replace("<SERVICE>", service) for name in known for service in services}
    # Of the client, as `maquette submit --help` says.
    known |= {"MAQUETTE_API_KEY"}
    named = set(re.findall(r"MAQUETTE_[A-Z0-9_]+", PAGE))
    assert len(named) > 15
    assert named <= known


def test_programs_are_installed() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    named = set(re.findall(r"\bmaquette-[a-z]+", PAGE))
    assert len(named) == 5
    assert named <= scripts.keys()


def test_commands_exist() -> None:
    known = {c.callback.__name__ for c in app.registered_commands if c.callback}
    known |= {group.name for group in app.registered_groups if group.name}
    used = {word for line in LINES for word in re.findall(r"(?:^|\s)maquette ([a-z]+)", line)}
    assert used == {"setup", "serve", "submit", "keys", "triton"}
    assert used <= known
