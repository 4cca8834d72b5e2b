"""The contracts: their style, their promises to older callers, and the stubs made of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumDescriptor

from maquette.v1 import common_pb2, detector_pb2, meshproc_pb2, reconstructor_pb2

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "maquette" / "v1"
FILES = [m.DESCRIPTOR for m in (common_pb2, detector_pb2, reconstructor_pb2, meshproc_pb2)]


def run(*order: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(order, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def buf() -> str:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are needed to run buf, and are not installed")
    return str(ROOT / "scripts" / "buf.sh")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    done = run("sh", "scripts/make-protos.sh", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_the_committed_stubs_are_those_of_the_contracts(generated: Path) -> None:
    made = {p.name: p.read_text(encoding="utf-8") for p in (generated / "maquette" / "v1").iterdir()}
    kept = {p.name: p.read_text(encoding="utf-8") for p in STUBS.glob("*_pb2*.py*")}
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == [], "run `make protos`"


def test_generated_imports_work_as_they_are(generated: Path) -> None:
    program = "from maquette.v1 import meshproc_pb2_grpc as m; print(m.__file__)"
    order = [sys.executable, "-c", program]
    done = subprocess.run(order, cwd=generated, capture_output=True, text=True, check=True, timeout=60)
    assert Path(done.stdout.strip()).is_relative_to(generated)


def test_the_contracts_keep_the_rules(buf: str) -> None:
    done = run("sh", "scripts/check-protos.sh")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("  string media_type = 4;", "", "deleted without reserving the number"),
        ("  string media_type = 4;", "  reserved 4;", "deleted without reserving the name"),
        ("  string media_type = 4;", "  string media_type = 9;", "deleted without reserving"),
        ("  string media_type = 4;", "  uint64 media_type = 4;", "changed type"),
        ("  VERDICT_POOR = 3;", "", "deleted without reserving"),
    ],
)
def test_a_change_that_older_callers_trip_over_is_found(
    before: str, after: str, complaint: str, buf: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    file = tmp_path / "protos" / "maquette" / "v1" / "common.proto"
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1
    file.write_text(text.replace(before, after), encoding="utf-8")
    done = run("sh", buf, "breaking", "protos", "--against", "protos/released.yaml", cwd=tmp_path)
    assert done.returncode != 0
    assert complaint in done.stdout


def test_a_field_that_is_reserved_may_go_and_one_may_be_added(buf: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    file = tmp_path / "protos" / "maquette" / "v1" / "common.proto"
    text = file.read_text(encoding="utf-8")
    change = '  reserved 4;\n  reserved "media_type";\n  // What it is.\n  string kind = 5;'
    file.write_text(text.replace("  string media_type = 4;", change), encoding="utf-8")
    done = run("sh", buf, "breaking", "protos", "--against", "protos/released.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_what_has_no_comment_is_found(buf: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    file = tmp_path / "protos" / "maquette" / "v1" / "common.proto"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("  // Its size in bytes.\n", ""), encoding="utf-8")
    done = run("sh", buf, "lint", "protos", cwd=tmp_path)
    assert done.returncode != 0
    assert 'Field "size" should have a non-empty comment' in done.stdout


def _enums() -> list[EnumDescriptor]:
    return [e for file in FILES for e in file.enum_types_by_name.values()]


def test_zero_is_unspecified_in_every_enum() -> None:
    assert len(_enums()) >= 4
    assert all(e.values_by_number[0].name.endswith("_UNSPECIFIED") for e in _enums())


def test_the_path_of_a_contract_is_its_package() -> None:
    assert {(f.name.rpartition("/")[0], f.package) for f in FILES} == {("maquette/v1", "maquette.v1")}
    assert {f.name for f in FILES} == {f"maquette/v1/{p.name}" for p in (ROOT / "protos/maquette/v1").glob("*.proto")}
