import os
import sys

import numpy as np
import pytest

from maquette.errors import ModelFileInvalid
from maquette.networks import read_network
from maquette.settings import Settings
from services.detector.network import Network, sigmoid, signed_range, unit_range
from services.detector.surgery import cut_attention

MESH = "face_landmark.tflite"


def test_loading_a_network_says_nothing_and_leaves_standard_error_open(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    network = Network(read_network(settings, MESH))
    assert network.side == 192
    assert capfd.readouterr() == ("", "")
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_a_network_loads_where_there_is_no_standard_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    assert Network(read_network(settings, MESH)).side == 192


def test_outputs_are_copies_and_repeat(settings: Settings) -> None:
    network = Network(read_network(settings, MESH))
    crop = np.random.default_rng(0).random((192, 192, 3), np.float32)
    first = network(crop)
    kept = [o.copy() for o in first]
    network(np.zeros_like(crop))
    for ours, theirs, again in zip(first, kept, network(crop), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(again, theirs)


def test_another_network_is_not_cut(settings: Settings) -> None:
    with pytest.raises(ModelFileInvalid, match="expected 3 regions"):
        cut_attention(read_network(settings, MESH))


def test_ranges() -> None:
    pixels = np.array([0, 51, 255], np.uint8)
    np.testing.assert_allclose(unit_range(pixels), [0, 0.2, 1], atol=1e-6)
    np.testing.assert_allclose(signed_range(pixels), [-1, -0.6, 1], atol=1e-6)
    np.testing.assert_allclose(sigmoid(np.float32([-1e9, 0, 1e9])), [0, 0.5, 1], atol=1e-6)
