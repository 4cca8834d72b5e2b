"""Heads that are asked for while every process is killed again and again: ``python -m bench.chaos --seed 7``.

All processes are there: gateway, worker, the services, NVIDIA Triton, MinIO, PostgreSQL. First each kind of head is
made once, undisturbed. Then many are asked for while SIGKILL strikes, and each must come out once, and as it did
undisturbed, byte for byte. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.customer import QUICK, Customer, Told, Unanswered, Wish, customer
from bench.photos import write_photos
from bench.processes import few_cores
from bench.stage import Plan, Stage, open_stage
from bench.trouble import Trouble
from gateway.jobs import head_scope, photo_scope
from maquette.cli import exits
from maquette.cli.console import note, say, show_table
from maquette.networks import require_networks
from maquette.settings import Settings
from maquette.store import ObjectStore, open_store

SETTINGS = {
    # A dead worker's jobs are taken over after seconds, and no job is given up for the deaths that it has seen.
    "MAQUETTE_JOBS_LEASE_S": "5",
    "MAQUETTE_JOBS_LOSSES": "1000",
    "MAQUETTE_JOBS_ATTEMPTS": "1000",
    "MAQUETTE_JOBS_RETRY_LONGEST_S": "5",
}
"""What differs from the defaults: those take a job that has lost its worker three times for the culprit."""

_PHOTOS = 4
_OPTIONS: tuple[Mapping[str, str], ...] = (QUICK, {**QUICK, "formats": "stl"})
_LEAST_KILLS = 1


@dataclass(frozen=True)
class Made:
    """What became of a head.

    Attributes:
        state: Its last state.
        products: Digests of the files' bytes by name, as they were fetched.
        objects: Sizes of all its objects in the store, photos and steps among them, in order.
        announced: Names of files in the order in which its events told of them.
        gapless: Whether its events are numbered 1, 2, 3, …
    """

    state: str
    products: Mapping[str, str]
    objects: tuple[int, ...]
    announced: tuple[str, ...]
    gapless: bool


@dataclass
class Verdict:
    """What the disturbed heads are, beside the undisturbed ones.

    Attributes:
        jobs: How many were asked for.
        acknowledged: How many the gateway has accepted.
        lost: Accepted ones that are not done.
        duplicated: Files that were announced or stored twice, and heads that nobody has asked for.
        different: Heads whose files are not, byte for byte, the undisturbed ones'.
        gaps: Heads whose events are not numbered in sequence.
        notes: What is wrong with whom, for people.
    """

    jobs: int
    acknowledged: int = 0
    lost: int = 0
    duplicated: int = 0
    different: int = 0
    gaps: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether all is as it should be."""
        return self.acknowledged == self.jobs and not (self.lost or self.duplicated or self.different or self.gaps)

    def judge(self, name: str, made: Made, model: Made) -> None:
        """Compare a head with the undisturbed one of its kind."""
        if made.state != "done":
            self.lost += 1
            self.notes.append(f"{name}: lost, its last state is {made.state}")
            return
        twice = len(made.announced) - len(set(made.announced))
        surplus = max(0, len(made.objects) - len(model.objects))
        if twice or surplus:
            self.duplicated += twice + surplus
            self.notes.append(f"{name}: {twice} files announced twice, {surplus} objects too many in the store")
        wrong = sorted(
            n for n in made.products.keys() | model.products.keys() if made.products.get(n) != model.products.get(n)
        )
        if wrong or (not surplus and made.objects != model.objects):
            self.different += 1
            self.notes.append(f"{name}: other bytes than undisturbed: {', '.join(wrong) or 'objects of the store'}")
        if not made.gapless:
            self.gaps += 1
            self.notes.append(f"{name}: its events are not numbered in sequence")


def main(words: Sequence[str]) -> int:
    """Run the benchmark; returns the exit status."""
    asked = _parser().parse_args(words)
    require_networks(Settings())
    few_cores(asked.cores)
    with tempfile.TemporaryDirectory(prefix="maquette-chaos-") as name:
        told = asyncio.run(_run(asked, Path(name)))
    say(json.dumps(told))
    return exits.OK if told["passed"] else exits.SOME_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.chaos", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--jobs", type=int, default=200, metavar="N", help="heads to ask for (default 200)")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="of who is killed when (default 7)")
    parser.add_argument("--pause", type=float, default=8.0, metavar="S", help="mean seconds between kills (default 8)")
    parser.add_argument("--open", type=int, default=8, metavar="N", help="heads that are open at once (default 8)")
    parser.add_argument("--patience", type=float, default=900.0, metavar="S", help="longest wait for news of a head")
    parser.add_argument("--cores", type=int, default=2, metavar="N", help="processors that all share (default 2)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for what the processes write")
    return parser


async def _run(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    wishes = [Wish(photo, options) for photo in write_photos(folder, _PHOTOS) for options in _OPTIONS]
    async with open_stage(Plan(cluster=True, settings=SETTINGS), asked.keep) as stage:
        store = open_store(stage.store)
        async with customer(stage.url, asked.patience) as calm:
            note(f"{len(wishes)} kinds of heads, undisturbed …")
            models = [await _one(calm, store, wish, f"model-{k}") for k, wish in enumerate(wishes)]
        for wish, (_, model) in zip(wishes, models, strict=True):
            if model.state != "done":
                raise RuntimeError(f"expected {wish.photo.name} to become a head undisturbed, found {model.state}")
        note(f"{asked.jobs} heads, with kills …")
        verdict = Verdict(asked.jobs)
        trouble = Trouble(stage, asked.seed, asked.pause)
        start = time.perf_counter()
        async with customer(stage.url, asked.patience) as asking:
            heads = await _disturbed(asking, trouble, wishes, asked)
            seconds = time.perf_counter() - start
            # What is looked at now is what there is when everything is up again.
            for number, (head_id, events) in sorted(heads.items()):
                verdict.acknowledged += 1
                made = await _look(asking, store, head_id, events)
                verdict.judge(f"head {number}", made, models[number % len(wishes)][1])
            known = {head_id for head_id, _ in heads.values()} | {head_id for head_id, _ in models}
            strangers = set(await asking.heads()) - known
            verdict.duplicated += len(strangers)
            verdict.notes += [f"{head_id}: nobody has asked for it" for head_id in sorted(strangers)]
            store.close()
            again = asking.again
    _show(asked.seed, stage, trouble, verdict)
    return _summary(asked.seed, trouble, verdict, again, seconds)


async def _disturbed(
    asking: Customer, trouble: Trouble, wishes: Sequence[Wish], asked: argparse.Namespace
) -> dict[int, tuple[str, list[Told]]]:
    """Identifiers and events of the heads that were acknowledged, by number."""
    heads: dict[int, tuple[str, list[Told]]] = {}
    numbers = iter(range(asked.jobs))
    done = asyncio.Event()

    async def lane() -> None:
        for number in numbers:
            try:
                head_id = await asking.ask(wishes[number % len(wishes)], f"chaos-{number}")
                heads[number] = (head_id, [])
                heads[number] = (head_id, await asking.follow(head_id))
            except Unanswered as error:
                note(f"head {number}: {error}")
            if (number + 1) % 20 == 0:
                note(f"{number + 1} of {asked.jobs}, {trouble.kills.total()} kills")

    async def work() -> None:
        try:
            await asyncio.gather(*(lane() for _ in range(asked.open)))
        finally:
            done.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        group.create_task(trouble.run(_LEAST_KILLS, done))
    return heads


async def _one(asking: Customer, store: ObjectStore, wish: Wish, key: str) -> tuple[str, Made]:
    head_id = await asking.ask(wish, key)
    return head_id, await _look(asking, store, head_id, await asking.follow(head_id))


async def _look(asking: Customer, store: ObjectStore, head_id: str, events: Sequence[Told]) -> Made:
    """Look at a head, fetch its files, and list its objects."""
    head = await asking.head(head_id)
    products = {}
    for product in head["products"]:
        digest, _ = await asking.digest(product["url"])
        products[product["name"]] = digest
    scopes = (photo_scope(head_id), head_scope(head_id))
    entries = [e for scope in scopes for e in await asyncio.to_thread(store.entries, scope) if not e.unfinished]
    return Made(
        head["state"],
        products,
        tuple(sorted(e.size for e in entries)),
        tuple(e.data["name"] for e in events if e.kind == "product"),
        [e.number for e in events] == list(range(1, len(events) + 1)),
    )


def _show(seed: int, stage: Stage, trouble: Trouble, verdict: Verdict) -> None:
    rows = [[name, str(count), f"{trouble.away_s[name]:.0f} s"] for name, count in trouble.kills.items()]
    show_table([f"seed {seed}", "kills", "away"], rows, right=("kills", "away"))
    say()
    shown = {
        "heads asked for": (verdict.jobs, ""),
        "acknowledged": (verdict.acknowledged, str(verdict.jobs)),
        "acknowledged and lost": (verdict.lost, "0"),
        "files or heads twice": (verdict.duplicated, "0"),
        "other bytes than undisturbed": (verdict.different, "0"),
        "events out of sequence": (verdict.gaps, "0"),
    }
    show_table(["", "found", "expected"], [[k, str(f), e] for k, (f, e) in shown.items()], right=("found", "expected"))
    for line in verdict.notes:
        say(line)


def _summary(seed: int, trouble: Trouble, verdict: Verdict, again: Counter[str], seconds: float) -> dict[str, Any]:
    return {
        "benchmark": "chaos",
        "passed": verdict.passed,
        "seed": seed,
        "jobs": verdict.jobs,
        "acknowledged": verdict.acknowledged,
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "different": verdict.different,
        "gaps": verdict.gaps,
        "kills": dict(trouble.kills),
        "away_s": {name: round(s, 1) for name, s in trouble.away_s.items()},
        "asked_again": {why: count for why, count in sorted(again.items()) if count},
        "seconds": round(seconds, 1),
        "settings": SETTINGS,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
