"""Which hostile files there are, and how many of each kind a series has."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from maquette.benchmarks.specimens import bombs, boxes, foreign, metadata, mutations, places, values
from maquette.benchmarks.specimens.mutations import Mutation, flip
from maquette.benchmarks.specimens.places import Place
from maquette.benchmarks.specimens.specimen import Case, Specimen

_Draw = Callable[[np.random.Generator], Mutation]
_Source = _Draw | list[Case] | list[tuple[str, Place]]


def _sources() -> dict[str, tuple[int, _Source]]:
    """By kind its part of a series, in thousandths, and where its files come from."""
    return {
        "cut": (150, mutations.cut),
        "flipped": (140, mutations.flipped),
        "overwritten": (90, mutations.overwritten),
        "spliced": (60, mutations.spliced),
        "noise": (20, mutations.noise_after_start),
        "bomb": (95, bombs.cases()),
        "box": (65, boxes.cases()),
        "foreign": (90, foreign.cases()),
        "metadata": (110, metadata.cases()),
        "depth": (65, values.depths()),
        "shape": (40, values.shapes()),
        "animation": (25, values.animations()),
        "content": (20, values.contents()),
        "place": (30, places.places()),
    }


KINDS: dict[str, str] = {
    "cut": "good pictures that end too early or have gaps",
    "flipped": "good pictures with bits flipped",
    "overwritten": "good pictures with numbers made extreme",
    "spliced": "good pictures with parts missing, repeated, reordered or of another",
    "noise": "the first bytes of a picture, then noise",
    "bomb": "small files that claim or unpack to much, or go round for ever",
    "box": "HEIC and AVIF whose boxes are wrong",
    "foreign": "other files with a picture's name",
    "metadata": "EXIF and colour profiles that are wrong",
    "depth": "odd depths and colour spaces, NaN among the pixels",
    "shape": "single pixels, lines, no pixels",
    "animation": "animations and several pictures in one file",
    "content": "nothing, noise, and faces where nobody expects them",
    "place": "folders, loops, pipes, devices, odd names",
}
"""What each kind is."""


def specimens(count: int, seed: int) -> list[Specimen]:
    """A series of hostile files.

    The same count and seed give the same files. Where a kind has fewer cases than its part of the series, they come
    again with bits flipped; where it has more, the seed chooses.

    Args:
        count: How many.
        seed: What is random comes out of this.

    Returns:
        The files in a random order; none is made yet.
    """
    sources = _sources()
    drawn = [
        (kind, name, place)
        for (kind, (_, source)), number in zip(
            sources.items(), _parts(count, [p for p, _ in sources.values()]), strict=True
        )
        for name, place in _draw(source, number, np.random.default_rng([seed, *kind.encode()]))
    ]
    order = np.random.default_rng(seed).permutation(len(drawn))
    return [Specimen(number, *drawn[k]) for number, k in enumerate(order)]


def _parts(count: int, shares: list[int]) -> list[int]:
    """Whole numbers in the proportion of the shares, which add up to the count (largest remainders)."""
    exact = np.array(shares) * count / sum(shares)
    whole = np.floor(exact).astype(int)
    rest = np.argsort(-(exact - whole), kind="stable")[: count - int(whole.sum())]
    whole[rest] += 1
    return [int(n) for n in whole]


def _draw(source: _Source, number: int, rng: np.random.Generator) -> Iterator[tuple[str, Place]]:
    if not isinstance(source, list):
        for _ in range(number):
            name, suffix, data = source(rng)
            yield name, partial(_write, suffix, partial(bytes, data))
        return
    order = [int(k) for start in range(0, number, len(source)) for k in rng.permutation(len(source))][:number]
    for position, k in enumerate(order):
        case = source[k]
        if not isinstance(case, Case):
            yield case
        elif position < len(source):
            yield case.name, partial(_write, case.suffix, case.make)
        else:
            own = np.random.default_rng(rng.integers(2**63))
            yield case.name + ", bits flipped", partial(_write, case.suffix, partial(_flipped, case.make, own))


def _flipped(make: Callable[[], bytes], rng: np.random.Generator) -> bytes:
    return flip(make(), rng)[0]


def _write(suffix: str, make: Callable[[], bytes], folder: Path) -> Path:
    path = folder / f"photo{suffix}"
    path.write_bytes(make())
    return path
