"""Make training pictures and keep what the landmark networks see: ``python -m training.pictures -n N -o FILE``."""

import argparse
import os
from pathlib import Path

from maquette.headmodel.hair import DEFAULT_FILE as HAIR_FILE
from maquette.headmodel.model import DEFAULT_FILE
from training.pictures.series import Sources, make, sheet


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--count", type=int, required=True)
    parser.add_argument("-s", "--seed", type=int, default=1)
    parser.add_argument("-j", "--jobs", type=int, default=1)
    parser.add_argument("--model", type=Path, default=DEFAULT_FILE, help="head model, if not the shipped one")
    parser.add_argument("--appearance", type=Path, help="folder from training.appearance; without it colours are flat")
    parser.add_argument("--hair", type=Path, default=HAIR_FILE, help="hair file, if not the shipped one")
    parser.add_argument("--home", type=Path, help="folder of the landmark networks, if not the usual one")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet here instead of records")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/pictures.npz"))
    args = parser.parse_args()
    # One core a process: the numerical libraries would otherwise start threads in each.
    os.environ["OMP_NUM_THREADS"] = "1"
    sources = Sources(args.model, args.appearance, args.hair, args.home)
    if args.sheet is not None:
        sheet(args.seed, args.count, sources, args.sheet)
        return
    made = make(args.seed, args.count, args.jobs, sources, args.output)
    print(f"{args.output}: {len(made)} faces in {args.count} pictures")


if __name__ == "__main__":
    main()
