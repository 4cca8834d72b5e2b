import numpy as np
import pytest

from maquette.errors import MeshInvalid
from services.meshproc.text import decimal_rows, face_rows


def test_decimals_read_back_to_the_last_digit():
    rng = np.random.default_rng(0)
    values = rng.uniform(-400, 400, (500, 3)).astype(np.float32)
    read = np.array([line.split()[1:] for line in decimal_rows(b"v", values).decode().splitlines()], np.float64)
    assert np.abs(read - values).max() <= 0.0005 + 1e-9


def test_a_rounded_zero_has_no_sign_and_a_negative_fraction_keeps_it():
    assert decimal_rows(b"v", np.array([[-0.0001, -0.25, 0.9996]])) == b"v 0.000 -0.250 1.000\n"


def test_six_decimals_are_two_groups():
    assert decimal_rows(b"vt", np.array([[0.000123, 1.0]]), 6) == b"vt 0.000123 1.000000\n"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6])
def test_undefined_and_huge_coordinates_are_refused(value):
    with pytest.raises(MeshInvalid, match="coordinates below 1e\\+06"):
        decimal_rows(b"v", np.array([[0.0, value, 0.0]]))


def test_faces_count_from_one_in_every_list():
    corners = np.array([[0, 1, 99], [99, 1234, 7]])
    assert face_rows([corners]) == b"f 1 2 100\nf 100 1235 8\n"
    assert face_rows([corners, corners * 0]) == b"f 1/1 2/1 100/1\nf 100/1 1235/1 8/1\n"


def test_no_rows_make_no_text():
    assert decimal_rows(b"v", np.zeros((0, 3))) == b"" == face_rows([np.zeros((0, 3), np.int32)])
