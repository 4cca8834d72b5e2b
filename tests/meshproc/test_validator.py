"""GLB files under the Khronos glTF validator, which npm fetches once into a cache folder."""

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from services.meshproc.files import TriangleMesh, write_mesh
from services.meshproc.glb import write_glb
from services.meshproc.materials import maps_of
from services.meshproc.preview_glb import write_preview

VERSION = "2.0.0-dev.3.10"


@pytest.fixture(scope="module")
def validate(tmp_path_factory):
    """The issues of a GLB file."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are needed to run the Khronos glTF validator, and are not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maquette" / f"gltf-validator-{VERSION}"
    if not (cache / "node_modules" / "gltf-validator").is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "package.json").write_text('{"private": true}', encoding="utf-8")
        order = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(cache), f"gltf-validator@{VERSION}"]
        subprocess.run(order, check=True, capture_output=True, timeout=300)
    folder = tmp_path_factory.mktemp("gltf")

    def run(data: bytes) -> dict:
        file = folder / "head.glb"
        file.write_bytes(data)
        order = [node, str(Path(__file__).with_name("validator.mjs")), str(cache), str(file)]
        done = subprocess.run(order, check=True, capture_output=True, timeout=120)
        return json.loads(done.stdout)["issues"]

    return run


@pytest.mark.parametrize("case", ["photo", "neutral", "no detail", "no pictures", "no hair"])
def test_the_validator_has_nothing_to_say(case, validate, model, head, options):
    if case == "neutral":
        options = dataclasses.replace(options, expression="neutral", texture="photo")
    elif case == "no detail":
        options = dataclasses.replace(options, detail=False)
    elif case == "no pictures":
        head = dataclasses.replace(head, textures=None)
    elif case == "no hair":
        head = dataclasses.replace(head, hair=())
    issues = validate(write_glb(model, head, maps_of(head, options), options))
    assert issues["messages"] == []


def test_the_validator_has_nothing_to_say_of_the_preview(validate, model, head):
    assert validate(write_preview(model, head))["messages"] == []


def test_the_validator_has_nothing_to_say_of_a_mesh_from_elsewhere(validate, model):
    lone = np.array([[0, 0, 0]], np.int32)  # a triangle without a normal
    mesh = TriangleMesh(model.mean.astype(np.float64), np.concatenate([model.triangles, lone]))
    messages = validate(write_mesh(mesh, "model/gltf-binary"))["messages"]
    assert [m["code"] for m in messages] in ([], ["ACCESSOR_INDEX_TRIANGLE_DEGENERATE"])


def test_the_validator_does_find_faults(validate, model, head, options):
    data = write_glb(model, dataclasses.replace(head, hair=()), None, options)
    assert validate(data.replace(b'"componentType":5126', b'"componentType":5120', 1))["numErrors"] > 0
