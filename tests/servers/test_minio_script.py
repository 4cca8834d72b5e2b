import subprocess
from pathlib import Path

from tests.servers.minio import NO_GO, SCRIPT


def run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", SCRIPT], env=environment, capture_output=True, text=True, check=False)


def test_without_a_server_and_without_go_the_script_says_what_to_install(tmp_path: Path) -> None:
    done = run({"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == NO_GO
    assert f"no MinIO server at {tmp_path}" in done.stderr
    assert "Go" in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_built_is_not_built_again(tmp_path: Path, minio_binary: Path) -> None:
    built = tmp_path / "maquette" / minio_binary.name
    built.parent.mkdir()
    built.symlink_to(minio_binary)
    done = run({"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (0, f"{built}\n")


def test_another_server_can_be_named(tmp_path: Path) -> None:
    done = run({"PATH": str(tmp_path), "MINIO": "/bin/sh"})
    assert (done.returncode, done.stdout) == (0, "/bin/sh\n")
    assert "expected an executable" in run({"PATH": str(tmp_path), "MINIO": str(tmp_path / "none")}).stderr
