import numpy as np

from maquette.geometry.transform import fit_similarity
from maquette.types import Face
from services.detector.topology import (
    ATTENTION_LEFT_EYE,
    ATTENTION_LIPS,
    ATTENTION_RIGHT_EYE,
    LANDMARKS,
    LEFT_IRIS,
    MIRROR,
    RIGHT_IRIS,
    TEMPLATE_INDEX,
    TEMPLATE_POINTS,
)


def test_mirroring_twice_changes_nothing() -> None:
    assert (MIRROR[MIRROR] == np.arange(LANDMARKS)).all()
    assert (np.arange(LANDMARKS) == MIRROR).sum() == 28


def test_the_networks_lists_mirror_onto_each_other() -> None:
    assert tuple(MIRROR[list(ATTENTION_RIGHT_EYE)]) == ATTENTION_LEFT_EYE
    assert set(MIRROR[list(ATTENTION_LIPS)]) == set(ATTENTION_LIPS)
    assert set(MIRROR[list(RIGHT_IRIS)]) == set(LEFT_IRIS)


def test_twins_mirror_onto_each_other_on_a_real_face(face: Face) -> None:
    points = face.canonical.astype(float)
    mirrored = points[MIRROR] * [-1, 1, 1]
    scale, rotation, shift = fit_similarity(mirrored, points)
    distance = np.linalg.norm(scale * mirrored @ rotation.T + shift - points, axis=1)
    assert distance.mean() < 2.0
    assert distance.max() < 6.0
    # The right side is the one on negative x.
    right = np.flatnonzero(np.arange(LANDMARKS) < MIRROR)
    assert (points[right, 0] < points[MIRROR[right], 0]).all()


def test_the_template_is_symmetric_and_life_size() -> None:
    place = {int(k): p for k, p in zip(TEMPLATE_INDEX, TEMPLATE_POINTS, strict=True)}
    for landmark, point in place.items():
        np.testing.assert_allclose(place[int(MIRROR[landmark])], point * [-1, 1, 1])
    eye_distance = (place[362] + place[263] - place[33] - place[133])[0] / 2
    assert 57 < eye_distance < 66
    assert place[1][2] > place[168][2] > place[33][2]
    assert place[10][1] > place[168][1] > place[2][1]
