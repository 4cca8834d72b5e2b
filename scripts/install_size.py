"""How large is a default installation? ``python scripts/install_size.py [LIMIT_MB]``.

Installs into a fresh environment, prints the size, and fails above the limit.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

LIMIT_MB = 1200
CHECKOUT = Path(__file__).resolve().parents[1]


def size_of(folder: Path) -> int:
    """Bytes that the files in a folder take on the disk."""
    files = (p.lstat() for p in folder.rglob("*") if not p.is_dir())
    return sum(f.st_blocks * 512 if hasattr(f, "st_blocks") else f.st_size for f in files)


def main(limit_mb: float) -> int:
    """Install, print, compare; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="maquette-size-") as folder:
        environment = Path(folder) / "venv"
        venv.create(environment, with_pip=True)
        before = size_of(environment)
        python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-input", str(CHECKOUT)], check=True)
        total_mb = (size_of(environment) - before) / 1e6
        packages = [p for p in environment.rglob("site-packages/*") if p.is_dir()]
        largest = sorted(((size_of(p) / 1e6, p.name) for p in packages), reverse=True)[:8]
    for megabytes, name in largest:
        sys.stdout.write(f"{megabytes:8.1f} MB  {name}\n")
    sys.stdout.write(f"{total_mb:8.1f} MB  in all, limit {limit_mb:g} MB\n")
    return 0 if total_mb <= limit_mb else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else LIMIT_MB))
