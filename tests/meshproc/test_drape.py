import numpy as np
import pytest

from maquette.types import Hair
from services.meshproc.drape import Anchors


def strand(start, end, bulge=(0.0, 0.0, 0.0), count=12) -> Hair:
    """A flat ribbon from one point to another, by way of a bulge."""
    t = np.linspace(0, 1, count)[:, None]
    line = np.asarray(start) * (1 - t) + np.asarray(end) * t + 4 * t * (1 - t) * np.asarray(bulge)
    points = np.concatenate([line, line + [0.4, 0, 0]]).astype(np.float32)
    k = np.arange(count - 1)
    faces = np.concatenate([np.stack([k, k + 1, k + count], 1), np.stack([k + 1, k + count + 1, k + count], 1)])
    uv = np.zeros((2 * count, 2), np.float32)
    return Hair("strand", points, faces.astype(np.int32), uv, np.zeros((4, 4, 4), np.uint8))


def test_a_brow_rises_with_the_brow(model, head):
    brows = next(p for p in head.hair if p.name == "brows")
    anchors = Anchors(model, head.posed, brows)
    lift = model.expression_modes[model.expression_names.index("browInnerUp")]
    moved = anchors.moved(brows, lift)
    assert anchors.on_face
    step = moved.vertices - brows.vertices
    skin = model.region("brow_left") | model.region("brow_right")
    assert step[:, 1].max() == pytest.approx(lift[skin, 1].max(), rel=0.2)


def test_a_long_strand_goes_with_its_root_and_not_with_the_cheek_behind_it(model):
    root = model.mean[model.region("scalp")]
    top = root[np.argmax(root[:, 1])]
    cheek = model.mean[model.region("cheek_left")].mean(0)
    piece = strand(top + [0, 0.5, 0], cheek + [8, -20, 8], (70, 20, 0), 60)
    anchors = Anchors(model, model.mean, piece)
    smile = model.expression_modes[model.expression_names.index("jawOpen")]
    assert not anchors.on_face
    assert np.abs(anchors.carry(smile)).max() < 0.1 < np.abs(smile[model.region("cheek_left")]).max()


def test_moving_there_and_back_is_no_move(model, head):
    field = head.posed - head.neutral
    for piece in head.hair:
        anchors = Anchors(model, head.posed, piece)
        back = anchors.moved(anchors.moved(piece, -field), field)
        assert np.abs(back.vertices - piece.vertices).max() < 1e-4


def test_a_strand_that_touches_no_skin_moves_with_the_nearest(model):
    top = model.mean[np.argmax(model.mean[:, 1])]
    piece = strand(top + [0, 30, 0], top + [0, 40, 0])
    field = np.tile(np.array([1, 2, 3], np.float32), (len(model.mean), 1))
    assert np.abs(Anchors(model, model.mean, piece).carry(field) - [1, 2, 3]).max() < 1e-5
