"""Make a head of a photo and print what is known about it: ``python examples/reconstruct.py PHOTO FOLDER``."""

import argparse
import sys
from pathlib import Path

from maquette import Event, MaquetteError, ReconstructOptions, StageFinished, reconstruct


def show(event: Event) -> None:
    """Print each stage on standard error as it ends."""
    if isinstance(event, StageFinished):
        sys.stderr.write(f"{event.stage}: {event.seconds:.2f} s\n")


def main() -> int:
    """Reconstruct, save, and print measurements and cautions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+", help="photos of one person")
    parser.add_argument("folder", type=Path, help="where the results go")
    arguments = parser.parse_args()
    try:
        result = reconstruct(arguments.photos, options=ReconstructOptions(formats=("glb", "stl")), progress=show)
        result.save(arguments.folder)
    except MaquetteError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return error.exit_code
    for name, distance in result.report["measurements"]["distances"].items():
        sys.stdout.write(f"{name}: {distance['mm']:.1f} mm, ±{distance['uncertainty_mm']:.1f}\n")
    for caution in result.cautions:
        sys.stdout.write(f"caution: {caution.message}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
