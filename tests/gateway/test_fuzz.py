"""Schemathesis over the whole API: whatever it thinks of, nothing fails inside and all answers are as described."""

import asyncio
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.jobs.keys import Scope
from gateway.models import VERSION_DIGITS
from tests.gateway.serving import serving
from tests.gateway.test_access import TABLE
from tests.gateway.test_heads import GLB, ask_head

pytestmark = pytest.mark.anyio

FILE = b"glTF" * 1000
OPERATIONS = len(TABLE) - 1
"""All but the description itself."""

CONFIG = """
hooks = "tests.gateway.fuzz_hooks"
color = false

# The description says that a photo is a file; that a file is no picture, or shows no face, is found out by looking.
[[operations]]
include-operation-id = ["create_head", "detect"]
checks.positive_data_acceptance.expected-statuses = [202, 200, 415, 422]
checks.negative_data_rejection.expected-statuses = [400, 401, 403, 404, 413, 415, 422]

# A cursor is whatever an earlier page gave.
[[operations]]
include-operation-id = "list_heads"
checks.positive_data_acceptance.expected-statuses = [200, 422]

# Headers that nobody knows are what every client sends.
[[operations]]
include-operation-id = "follow_head"
checks.negative_data_rejection.expected-statuses = [200, 204, 404, 422]

[[operations]]
include-operation-id = "create_export"
parameters = {{ head_id = "{done}" }}

[[operations]]
include-operation-id = ["get_file", "look_up_file"]
parameters = {{ head_id = "{done}", name = "head.glb", v = "{version}" }}
"""


@pytest.mark.slow
async def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway", stream_s=0.2, heartbeat_s=0.1, rate="") as served:
        secret = await served.key(scopes=frozenset(Scope))
        async with served.client(secret) as client:
            done = await ask_head(client)
        await served.finish(done, {"head.glb": (GLB, FILE)})
        config = tmp_path / "schemathesis.toml"
        version = hashlib.sha256(FILE).hexdigest()[:VERSION_DIGITS]
        config.write_text(CONFIG.format(done=done, version=version), encoding="utf-8")
        run = await asyncio.to_thread(fuzz, served.url, secret, config)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert f"Tested: {OPERATIONS}\n" in run.stdout
    cases = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert cases is not None and int(cases[2]) == int(cases[1]) > 20 * OPERATIONS


def fuzz(url: str, secret: str, config: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    arguments = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {secret}", "--checks", "all", "--seed", "1", "--max-examples", "20"),
        *("--request-timeout", "20", "--generation-database", "none"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        arguments, env=environment, cwd=config.parent, capture_output=True, text=True, timeout=300, check=False
    )
