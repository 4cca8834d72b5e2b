import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from maquette.rpc.settings import ClientSettings, ServerSettings


class DetectorServerSettings(ServerSettings):
    model_config = SettingsConfigDict(env_prefix="MAQUETTE_DETECTOR_", frozen=True)

    port: int = 50051


def test_a_services_own_class_reads_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_DETECTOR_MAX_QUEUE", "3")
    monkeypatch.setenv("MAQUETTE_DETECTOR_TLS_CERTIFICATE", "/tls/tls.crt")
    monkeypatch.setenv("MAQUETTE_DETECTOR_TLS_KEY", "/tls/tls.key")
    monkeypatch.setenv("MAQUETTE_RPC_MAX_CONCURRENT", "77")
    settings = DetectorServerSettings()
    assert (settings.port, settings.max_queue, str(settings.tls_key)) == (50051, 3, "/tls/tls.key")
    assert settings.max_concurrent != 77
    assert ServerSettings().max_concurrent == 77


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ServerSettings().port = 5


@pytest.mark.parametrize(
    "wrong",
    [{"port": 70_000}, {"max_concurrent": 0}, {"max_queue": -1}, {"max_seconds": 0}, {"max_message_bytes": 4}],
    ids=lambda w: next(iter(w)),
)
def test_values_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        ServerSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"target": ""}, {"target": "a", "max_attempts": 6}, {"target": "a", "x": 1}])
def test_a_client_needs_a_target_and_sensible_values(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ClientSettings(**wrong)
