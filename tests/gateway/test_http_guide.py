"""The guide to the HTTP interface: its lines run as they stand against ``maquette serve``, and its tables are true."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import problems
from gateway.jobs import EventKind
from gateway.options import HeadOptions
from maquette.settings import Settings
from tests.gateway.processes import own_home, serving_all
from tests.gateway.test_access import OPEN, TABLE
from tests.gateway.test_problems import TREE

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "http.md"
CODES = {kind.code: problems.status_of(kind("")) for kind in TREE}


def guide() -> str:
    return GUIDE.read_text(encoding="utf-8")


def script() -> str:
    """All that is to be typed, in its order."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", guide(), re.MULTILINE | re.DOTALL))


@pytest.mark.slow
def test_the_lines_of_the_guide_run(settings: Settings, sample: Path, tmp_path: Path) -> None:
    for program in ("bash", "curl", "jq"):
        if shutil.which(program) is None:
            pytest.skip(f"the lines of the guide need {program}, and it is not installed")
    home = own_home(tmp_path)
    folder = tmp_path / "here"
    folder.mkdir()
    shutil.copy(sample, folder / "me.jpg")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with serving_all(home) as (_, url):
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script()],
            cwd=folder,
            env={"PATH": path, "MAQUETTE_HOME": str(home), "MAQUETTE_URL": url, "HOME": str(tmp_path), "no_proxy": "*"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert (folder / "head.glb").read_bytes().startswith(b"glTF")
    assert 'route="/v1/heads/{head_id}/events"' in run.stdout


def test_every_call_is_in_the_guide_with_its_scope() -> None:
    table = guide().split("| call | for |")[1].split("\n\n")[0]
    for (method, path), said in TABLE.items():
        written = re.sub("head_id", "id", path)
        (row,) = [line for line in table.splitlines() if f"`{'GET' if method == 'HEAD' else method} {written}`" in line]
        scope = row.rstrip(" |").rpartition("|")[2].strip()
        assert scope == ("none" if said.scope is OPEN else f"`{said.scope}`" if said.scope else "any")


def test_codes_are_in_the_guide_under_their_status() -> None:
    table = guide().split("| status | codes |")[1].split("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    told = {code: int(status) for status, codes in rows for code in re.findall(r"`([a-z_]+)`", codes) if code in CODES}
    assert len(told) > 20
    assert told == {code: CODES[code] for code in told}


def test_every_event_is_in_the_guide() -> None:

    table = guide().split("| event | data")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z]+)`", table, re.MULTILINE)) == {*EventKind, "problem"}


def test_every_option_is_in_the_guide() -> None:

    table = guide().split("| field | default |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z_]+)`", table, re.MULTILINE)) == {*HeadOptions.model_fields, "photos", "name"}
