"""TLS and mTLS by files."""

import os
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from maquette.errors import OptionInvalid, ServiceUnavailable
from maquette.rpc.remote import RemoteMeshproc
from maquette.rpc.settings import ClientSettings, ServerSettings
from tests.rpc.conftest import Pki
from tests.rpc.scripted import mesh, serving

pytestmark = pytest.mark.anyio


def tls(files: dict[str, Path], **more: object) -> dict[str, object]:
    return {"tls_certificate": files["certificate"], "tls_key": files["key"], **more}


async def test_a_trusted_server_is_called_over_tls_and_others_are_not(pki: Pki) -> None:
    files, other = pki("ours", "server"), pki("theirs", "stranger")
    async with serving(server=tls(files), client={"tls_ca": files["ca"]}) as pair:
        assert (await pair.client.inspect(mesh("abc"))).report.vertices == 3
        target = f"127.0.0.1:{pair.server.port}"
        for wrong in ({"tls_ca": other["ca"]}, {}):
            async with RemoteMeshproc(ClientSettings(target=target, max_attempts=1, **wrong)) as client:
                with pytest.raises(ServiceUnavailable):
                    await client.inspect(mesh())


async def test_with_mtls_only_callers_with_a_trusted_certificate_are_answered(pki: Pki) -> None:
    files, caller, stranger = pki("ours", "server"), pki("callers", "caller"), pki("theirs", "stranger")
    server = tls(files, tls_client_ca=caller["ca"])
    async with serving(server=server, client=tls(caller, tls_ca=files["ca"])) as pair:
        assert (await pair.client.inspect(mesh("abc"))).report.vertices == 3
        target = f"127.0.0.1:{pair.server.port}"
        for wrong in ({}, tls(stranger)):
            settings = ClientSettings(target=target, tls_ca=files["ca"], max_attempts=1, **wrong)
            async with RemoteMeshproc(settings) as client:
                with pytest.raises(ServiceUnavailable):
                    await client.inspect(mesh())
        assert len(pair.service.started) == 1


async def test_a_renewed_certificate_is_taken_up_without_a_restart(pki: Pki, tmp_path: Path) -> None:
    old, new = pki("ours", "old"), pki("successor", "new")
    used = {"certificate": tmp_path / "tls.crt", "key": tmp_path / "tls.key"}
    for name, path in used.items():
        shutil.copy(old[name], path)
    async with serving(server=tls(used), client={"tls_ca": old["ca"]}) as pair:
        await pair.client.inspect(mesh())
        for name, path in used.items():
            shutil.copy(new[name], path)
            os.utime(path, (2e9, 2e9))
        settings = ClientSettings(target=f"127.0.0.1:{pair.server.port}", tls_ca=new["ca"])
        async with RemoteMeshproc(settings) as client:
            assert (await client.inspect(mesh("abc"))).report.vertices == 3
        # Half a renewal leaves what serves in place.
        used["key"].write_text("not yet", encoding="ascii")
        async with RemoteMeshproc(settings) as client:
            assert (await client.inspect(mesh("abc"))).report.vertices == 3


async def test_files_that_are_missing_or_no_pem_are_named(pki: Pki, tmp_path: Path) -> None:
    files = pki("ours", "server")
    (tmp_path / "empty.pem").write_text("nothing", encoding="ascii")
    for wrong in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        with pytest.raises(OptionInvalid, match=wrong.name):
            async with serving(server=tls(files | {"key": wrong})):
                pass
        with pytest.raises(OptionInvalid, match=wrong.name):
            RemoteMeshproc(ClientSettings(target="127.0.0.1:1", tls_ca=wrong))


@pytest.mark.parametrize(
    "half", [{"tls_certificate": "a"}, {"tls_key": "a"}, {"tls_client_ca": "a"}], ids=lambda h: next(iter(h))
)
async def test_half_a_tls_setting_is_refused(half: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="tls_"):
        ServerSettings(**half)


@pytest.mark.parametrize("half", [{"tls_certificate": "a", "tls_key": "b"}, {"tls_key": "a", "tls_ca": "b"}])
async def test_half_a_tls_setting_of_a_client_is_refused(half: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="tls_"):
        ClientSettings(target="a", **half)
