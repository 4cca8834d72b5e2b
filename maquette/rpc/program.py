"""The programs of the services: what ``maquette-detector`` and the others say when asked, and when they fail."""

import argparse
import sys
from collections.abc import Callable, Sequence

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from maquette.errors import MaquetteError, OptionInvalid
from maquette.release import version


def run_program(
    name: str, what: str, settings: Sequence[type[BaseSettings]], serve: Callable[[], int], arguments: Sequence[str]
) -> int:
    """Run a server that takes its settings from the environment.

    Args:
        name: Of the program.
        what: One sentence on what it does.
        settings: The classes whose variables ``--help`` lists.
        serve: Reads the settings and serves until it is told to end.
        arguments: Of the command line, without the program's name.

    Returns:
        Exit status; 2 where a setting is wrong.
    """
    parser = argparse.ArgumentParser(name, description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"{name} {version()}")
    parser.epilog = "Settings are read from the environment:\n" + "\n".join(
        line for kind in settings for line in _variables(kind)
    )
    parser.parse_args(arguments)
    try:
        return serve()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False, include_context=False):
            where = "_".join(map(str, problem["loc"])) or error.title
            sys.stderr.write(f"{name}: the setting {where} of {error.title}: {problem['msg']}\n")
        return OptionInvalid.exit_code
    except MaquetteError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return error.exit_code


def _variables(kind: type[BaseSettings]) -> list[str]:
    """Names of a class's environment variables with their defaults."""
    prefix = kind.model_config.get("env_prefix", "")
    lines = []
    for field, about in kind.model_fields.items():
        if about.is_required():
            # The program itself says it.
            continue
        default = about.get_default(call_default_factory=True, validated_data={})
        shown = "" if default is None else f" (default {default})"
        lines.append(f"  {prefix}{field.upper()}{shown}")
    return lines
