from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maquette.settings import Settings
from maquette.types import Face, Photo
from services.detector.attention import REFINED
from services.detector.detector import Detector
from services.detector.landmarks import frame
from services.detector.photo import load_photo
from services.detector.topology import MIRROR

LIDS = ((159, 145), (386, 374))


def gaps(face: Face, points: np.ndarray) -> np.ndarray:
    """Opening of both eyes in millimetres."""
    scale = np.ptp(face.canonical[:468, 1]) / face.size
    return np.array([np.linalg.norm(points[a] - points[b]) * scale for a, b in LIDS])


def test_a_mirrored_photo_gives_mirrored_landmarks(detector: Detector, astronaut: Photo, face: Face) -> None:
    (other,) = detector.detect(replace(astronaut, pixels=np.ascontiguousarray(astronaut.pixels[:, ::-1])))
    for ours, theirs in ((face.landmarks, other.landmarks), (face.plain_landmarks, other.plain_landmarks)):
        back = theirs[MIRROR]
        back[:, 0] = astronaut.width - back[:, 0]
        assert np.linalg.norm((back - ours)[:, :2], axis=1).mean() < 0.004 * face.size
    assert other.yaw == pytest.approx(-face.yaw, abs=1)
    assert other.roll == pytest.approx(-face.roll, abs=1)


def test_only_lips_eyes_brows_and_irises_are_refined(face: Face) -> None:
    moved = np.flatnonzero(np.abs(face.landmarks - face.plain_landmarks).max(1) > 0)
    assert set(moved) <= set(REFINED)
    assert len(moved) > 200
    np.testing.assert_array_equal(face.landmarks[468:], face.plain_landmarks[468:])
    np.testing.assert_array_equal(face.landmarks[:468, 2], face.plain_landmarks[:468, 2])


def test_the_irises_lie_within_the_lids(face: Face) -> None:
    for centre, (upper, lower), corners in ((468, LIDS[0], (33, 133)), (473, LIDS[1], (362, 263))):
        x, y = face.landmarks[centre, :2]
        assert face.landmarks[upper, 1] < y < face.landmarks[lower, 1]
        assert face.landmarks[corners[0], 0] < x < face.landmarks[corners[1], 0]


def test_the_frame_of_a_turned_mesh_is_turned(face: Face) -> None:
    upright = frame(face.landmarks.astype(float))
    c, s = np.cos(1.0), np.sin(1.0)
    points = face.landmarks.astype(float)
    points[:, :2] = points[:, :2] @ np.array([[c, s], [-s, c]])
    turned = frame(points)
    assert turned.size == pytest.approx(upright.size)
    assert turned.angle == pytest.approx(upright.angle + 1.0)
    np.testing.assert_allclose([turned.x, turned.y], np.array([[c, -s], [s, c]]) @ [upright.x, upright.y])


def test_closed_lids_are_seen_closed(detector: Detector, shared: Path, settings: Settings) -> None:
    for name, low, high in (("lps_y00.jpg", 0, 4), ("james_y00.jpg", 4, 8)):
        (face,) = detector.detect(load_photo(shared / "bench" / "images" / name, settings=settings))
        refined = gaps(face, face.landmarks)
        assert (refined > low).all()
        assert (refined < high).all()


def test_a_face_that_fills_a_large_photo_is_found_as_in_a_small_one(
    detector: Detector, astronaut: Photo, face: Face
) -> None:
    zoomed = np.repeat(np.repeat(astronaut.pixels[:250, 120:330], 8, axis=0), 8, axis=1)
    (large,) = detector.detect(replace(astronaut, pixels=zoomed))
    back = large.landmarks[:, :2] / 8 + [120, 0]
    assert np.linalg.norm(back - face.landmarks[:, :2], axis=1).mean() < 0.01 * face.size
