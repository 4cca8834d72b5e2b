"""``maquette model``."""

from typing import Any

import typer

from maquette.cli import choices
from maquette.cli.console import say, show_json
from maquette.headmodel import load_head_model
from maquette.provenance import data_files, networks
from maquette.report import NETWORK_LICENCE

app = typer.Typer(help="About the head model.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """About the head model."""


@app.command()
def info(as_json: choices.AsJson = False) -> None:
    """Say what the head model is made of, and under which terms it and the networks come."""
    model = load_head_model()
    facts: dict[str, Any] = {
        "name": model.name,
        "version": model.version,
        "topology": model.topology,
        "licence": model.licence,
        "sha256": model.sha256,
        "vertices": len(model.mean),
        "quads": len(model.quads),
        "triangles": len(model.triangles),
        "identity_modes": len(model.identity_modes),
        "expressions": list(model.expression_names),
        "components": list(model.component_names),
        "joints": list(model.joint_names),
        "regions": list(model.region_names),
        "directions": list(model.direction_names),
        "sources": list(model.sources),
        "data": [{"name": f.name, "sha256": f.sha256} for f in data_files()],
        "networks": [{"name": f.name, "sha256": f.sha256, "licence": NETWORK_LICENCE} for f in networks()],
    }
    if as_json:
        show_json(facts)
        return
    for key, value in facts.items():
        label = key.replace("_", " ")
        if not isinstance(value, list):
            say(f"{label:16}{value}")
        elif value and (isinstance(value[0], dict) or key == "sources"):
            say(f"{label}:")
            for item in value:
                say("  " + ("  ".join(item.values()) if isinstance(item, dict) else item))
        else:
            say(f"{label:16}{len(value)}: {', '.join(value)}")
