"""The gateway's settings, as the environment gives them."""

import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings


def test_the_defaults_are_safe() -> None:
    settings = GatewaySettings()
    assert settings.require_keys
    assert settings.on_loopback
    assert not settings.metrics_open
    assert settings.cors_origins == ()
    assert (settings.max_photo_bytes, settings.max_photo_pixels, settings.max_photos) == (25_000_000, 100_000_000, 16)


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_GATEWAY_CORS_ORIGINS", "https://a.example, https://b.example,")
    monkeypatch.setenv("MAQUETTE_GATEWAY_RATE", "")
    monkeypatch.setenv("MAQUETTE_GATEWAY_FILES", "redirect")
    settings = GatewaySettings()
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert (settings.rate, settings.files) == ("", "redirect")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE", "often"),
        ("MAX_PHOTOS", "17"),
        ("MAX_PHOTO_BYTES", "0"),
        ("FILES", "give"),
        ("PORT", "70000"),
        ("MAX_UPLOADS_PER_OWNER", "65"),
        ("MAX_STREAMS_PER_OWNER", "5001"),
        ("LINK_S", "604801"),
    ],
)
def test_values_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MAQUETTE_GATEWAY_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        GatewaySettings()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("gateway.example", False),
        ("", False),
    ],
)
def test_it_is_known_which_addresses_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert GatewaySettings(host=host).on_loopback is loopback
