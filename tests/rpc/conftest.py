"""Certificates for the tests of gRPC."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.loop import one_loop

__all__ = ["one_loop"]

Pki = Callable[[str, str], dict[str, Path]]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Makes certificates: ``pki(authority, name)`` gives the paths ``ca``, ``certificate`` and ``key``."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is needed to make certificates, and is not installed")
    folder = tmp_path_factory.mktemp("pki")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1", encoding="ascii")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True, cwd=folder, timeout=30)

    def make(authority: str, name: str) -> dict[str, Path]:
        ca, ca_key = f"{authority}.pem", f"{authority}.key"
        if not (folder / ca).exists():
            run("req", "-x509", *curve, "-days", "2", "-keyout", ca_key, "-out", ca, "-subj", f"/CN={authority}")
        run("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ["x509", "-req", "-in", f"{name}.csr", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2"]
        run(*sign, "-extfile", "names", "-out", f"{name}.pem")
        return {"ca": folder / ca, "certificate": folder / f"{name}.pem", "key": folder / f"{name}.key"}

    return make
