"""``maquette doctor``."""

from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from maquette.cli import choices, exits
from maquette.cli.console import output, show_json
from maquette.doctor import Status, examine
from maquette.settings import Settings

_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}


def doctor(as_json: choices.AsJson = False) -> int:
    """Check Python, packages, model files, networks, memory and system libraries, and say what to do."""
    console = Console(highlight=False, soft_wrap=True)
    checks = []
    for check in examine(Settings()):
        checks.append(check)
        if not as_json:
            with output():
                console.print(
                    Text(f"{check.status:5}", _STYLES[check.status]), f"{check.name}: {check.detail}", markup=False
                )
                if check.advice:
                    console.print(f"      → {check.advice}", markup=False)
    failed = any(c.status is Status.FAIL for c in checks)
    if as_json:
        show_json({"ok": not failed, "checks": [asdict(c) for c in checks]})
    return exits.SETUP if failed else exits.OK
