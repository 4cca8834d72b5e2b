"""``maquette keys``."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from maquette.cli import choices
from maquette.cli.console import note, say, show_json, show_table
from maquette.cli.extras import needs, settings_named
from maquette.errors import OptionInvalid

if TYPE_CHECKING:
    from gateway.jobs.keys import ApiKey, KeyStore, Scope

T = TypeVar("T")

app = typer.Typer(help="API keys of the gateway, in the jobs' database of this installation.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """API keys of the gateway, in the jobs' database of this installation (MAQUETTE_JOBS_DATABASE_URL)."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What to call it.", metavar="NAME")],
    scopes: Annotated[
        str | None,
        typer.Option(help="What it may be used for, separated by commas; everything that customers do if not given."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Most requests, such as 10/second;1000/hour; as the gateway has it if not given.")
    ] = None,
    quota: Annotated[int | None, typer.Option(min=1, help="Most heads a day; any number if not given.")] = None,
    owner: Annotated[
        str | None, typer.Option(help="Whose heads it sees, as `maquette keys list` shows it; new ones if not given.")
    ] = None,
    as_json: choices.AsJson = False,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    wanted = _scopes(scopes)
    made = _ask(lambda keys: keys.create(name, scopes=wanted, rate=rate, quota=quota, owner=owner))
    if as_json:
        show_json({**_entry(made.key), "secret": made.secret})
        return
    say(made.secret)
    note(f"This is the key {made.key.id}. It is not kept, only its digest is: store it now.")


@app.command("list")
def list_(
    revoked: Annotated[bool, typer.Option("--revoked", help="Also those that have been revoked.")] = False,
    as_json: choices.AsJson = False,
) -> None:
    """List the keys, oldest first, without their secrets."""
    found = _ask(lambda keys: keys.list(revoked=revoked))
    if as_json:
        show_json({"keys": [_entry(key) for key in found]})
        return
    columns = ["id", "name", "owner", "scopes", "rate", "heads a day", "created", "last used", "revoked"]
    rows = [[str(v) if v is not None else "" for v in _row(key)] for key in found]
    show_table(columns, rows, right=("heads a day",))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Its id, as `maquette keys list` shows it.", metavar="ID")],
    as_json: choices.AsJson = False,
) -> None:
    """End a key's use, for good; its owner's heads stay."""
    key = _ask(lambda keys: keys.revoke(key_id))
    if as_json:
        show_json(_entry(key))
    else:
        say(f"{key.id} ({key.name}) is revoked")


def _ask(what: "Callable[[KeyStore], Awaitable[T]]") -> T:
    """Ask the keys of this installation."""
    with needs("gateway"):
        from gateway.jobs import JobSettings, open_jobs
    with settings_named():
        settings = JobSettings()

    async def ask() -> T:
        async with await open_jobs(settings) as jobs:
            return await what(jobs.keys)

    return asyncio.run(ask())


def _scopes(text: str | None) -> "frozenset[Scope]":
    with needs("gateway"):
        from gateway.jobs.keys import CUSTOMER_SCOPES, Scope
    if text is None:
        return CUSTOMER_SCOPES
    names = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [n for n in names if n not in list(Scope)]
    if unknown or not names:
        raise OptionInvalid(f"expected scopes of {', '.join(Scope)}, found {', '.join(unknown) or 'none'}")
    return frozenset(Scope(n) for n in names)


def _entry(key: "ApiKey") -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "scopes": sorted(key.scopes),
        "rate": key.rate,
        "quota": key.quota,
        "created": _time(key.created),
        "last_used": _time(key.last_used),
        "revoked": _time(key.revoked),
    }


def _row(key: "ApiKey") -> list[Any]:
    return [
        key.id,
        key.name,
        key.owner,
        " ".join(sorted(key.scopes)),
        key.rate,
        key.quota,
        _time(key.created),
        _time(key.last_used),
        _time(key.revoked),
    ]


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
