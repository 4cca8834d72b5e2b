import dataclasses

import numpy as np
import pytest

from maquette.types import Camera
from services.meshproc.mesh import HeadMesh, fan, model_mesh
from services.meshproc.overlay import draw_overlay
from services.meshproc.picture import Paint, Sitter, open_sky, over
from services.meshproc.preview import draw_preview


def sitter_of(model, head, hair=True) -> Sitter:
    sky = open_sky(head.posed, model.triangles)
    return Sitter(model_mesh(model, head.posed), sky, head.hair if hair else ())


def plate(colour=(200, 100, 50), side=100.0) -> tuple[Sitter, Paint]:
    """A square that faces the front."""
    points = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * side / 2
    quads = np.array([[0, 1, 2, 3]], np.int32)
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    none = np.zeros(1, np.int32)
    mesh = HeadMesh(points, quads, uv, quads, none, none)
    return Sitter(mesh, np.ones(4, np.float32)), Paint(np.full((32, 32, 3), colour, np.uint8))


def front(size=64, focal=640.0, distance=1000.0, shift=0.0) -> Camera:
    turn = np.diag([1.0, -1.0, -1.0])
    return Camera(focal, np.array([size / 2 + shift, size / 2]), turn, np.array([0, 0, distance]), size, size)


def test_a_surface_covers_the_pixels_that_the_camera_says():
    sitter, _ = plate(side=50)
    for shift in (0.0, 0.25, 0.5):
        coverage = sitter.look(front(shift=shift)).clay()[..., 3]
        left, pixel = 16 + shift, np.arange(64)
        expected = np.clip(np.minimum(pixel + 1, left + 32) - np.maximum(pixel, left), 0, 1)
        assert np.abs(coverage[30] - expected).max() <= 0.125


def test_edges_are_smooth():
    sitter, _ = plate(side=60)
    coverage = sitter.look(front(shift=0.3)).clay()[..., 3]
    partial = (coverage > 0.05) & (coverage < 0.95)
    assert partial.any(1).sum() > 30
    assert coverage.sum() == pytest.approx((60 * 0.64) ** 2, rel=0.01)


def test_colours_come_from_the_map():
    sitter, paint = plate((200, 100, 50))
    background = np.zeros((64, 64, 3), np.uint8)
    pixel = over(sitter.look(front()).colour(paint, baked=True), background)[32, 32].astype(float)
    assert pixel[0] > pixel[1] > pixel[2]
    linear = ((pixel / 255 + 0.055) / 1.055) ** 2.4
    expected = ((np.array([200, 100, 50]) / 255 + 0.055) / 1.055) ** 2.4
    assert np.ptp(linear / expected) < 0.05 * (linear / expected).mean()


def test_the_map_stands_the_right_way_up():
    sitter, _ = plate()
    colour = np.zeros((64, 64, 3), np.uint8)
    colour[:32, :32] = 255
    image = sitter.look(front()).colour(Paint(colour), baked=True)[..., 0]
    assert image[16, 16] > 0.3 and image[48, 16] < 0.02 and image[16, 48] < 0.02


def test_hair_lets_through_what_is_behind_it(model, head):
    bare = sitter_of(model, head, hair=False)
    shadow = np.full((8, 8, 4), (0, 0, 0, 128), np.uint8)
    half = [dataclasses.replace(p, colour=shadow) for p in head.hair]
    clear = [dataclasses.replace(p, colour=np.zeros((8, 8, 4), np.uint8)) for p in head.hair]
    camera = dataclasses.replace(front(200, 700, 1200), translation=np.array([0.0, 30.0, 1200.0]))
    paint = Paint(np.full((8, 8, 3), 255, np.uint8))
    seen = {}
    for name, hair in (("bare", ()), ("half", half), ("clear", clear)):
        sitter = Sitter(bare.mesh, np.ones(len(head.posed), np.float32), hair)
        seen[name] = sitter.look(camera).colour(paint, baked=False)
    assert np.abs(seen["clear"] - seen["bare"]).max() < 1e-6
    skin = bare.look(camera).depth < np.inf
    ratio = seen["half"][..., 0][skin] / np.maximum(seen["bare"][..., 0][skin], 1e-3)
    # One sheet leaves a half, two a quarter, and most of the face is free.
    assert (np.abs(ratio - 0.25) < 0.05).mean() > 0.1 and (np.abs(ratio - 1) < 0.02).mean() > 0.3


def test_sheltered_places_see_less_sky(model):
    sky = open_sky(model.mean, model.triangles)
    assert sky.min() >= 0 and sky.max() <= 1
    assert sky[model.region("scalp")].mean() > 0.9
    assert sky[model.part("mouth")].mean() < 0.4


def test_the_preview_shows_three_sides_in_two_rows(model, head):
    bust = float(head.posed[model.region("bust"), 1].max())
    paint = Paint(head.textures.albedo)
    picture = draw_preview(sitter_of(model, head), bust, paint, baked=False)
    assert picture.shape == (1000, 1500, 3) and picture.dtype == np.uint8
    tiles = picture.reshape(2, 500, 3, 500, 3).swapaxes(1, 2).astype(float)
    corners = tiles[:, :, :40, :40].reshape(6, -1, 3)
    assert (corners.min(1) > 200).all(), "the background is light"
    for row in tiles:
        for tile in row:
            drawn = np.abs(tile - tile[:, :1]).max(2) > 12
            assert 0.2 < drawn.mean() < 0.75
            assert drawn[-1].any() and not drawn[0].any()
    spread = np.ptp(tiles, axis=-1)
    assert spread[0].mean() < 6 < spread[1].mean(), "clay is grey, skin is not"


def test_a_head_without_pictures_has_one_row(model, head):
    bust = float(head.posed[model.region("bust"), 1].max())
    assert draw_preview(sitter_of(model, head), bust, None, baked=False).shape == (500, 1500, 3)


def test_the_overlay_lies_where_the_camera_projects_the_head(model, head):
    camera = head.fit.views[0].camera
    photo = np.full((camera.height, camera.width, 3), 255, np.uint8)
    black = Paint(np.zeros((8, 8, 3), np.uint8))
    picture = draw_overlay(sitter_of(model, head, hair=False), camera, photo, black)
    assert picture.shape[0] == 640 and picture.shape[1] % 3 == 0
    panels = np.split(picture, 3, axis=1)
    assert (panels[0] == 255).all()
    xy = camera.project(head.posed.astype(np.float64))
    low, high = xy.min(0), xy.max(0)
    dark = np.argwhere(panels[1].max(2) < 128)
    scale = np.ptp(dark, axis=0)[::-1] / (high - low)
    assert scale[0] == pytest.approx(scale[1], rel=0.02)
    nose = camera.project(head.posed[model.region("nose")].astype(np.float64)).mean(0)
    inside = (nose - low) / (high - low)
    assert panels[1][tuple((dark.min(0) + inside[::-1] * np.ptp(dark, axis=0)).astype(int))].max() < 128


def test_a_head_at_the_photos_border_is_cropped_to_the_photo(model, head):
    camera = dataclasses.replace(head.fit.views[0].camera, centre=np.array([0.0, 100.0]))
    photo = np.zeros((camera.height, camera.width, 3), np.uint8)
    picture = draw_overlay(sitter_of(model, head, hair=False), camera, photo, None)
    assert picture.shape[0] == 640 and picture.any()


def test_quads_become_triangles_in_their_order():
    assert fan(np.array([[0, 1, 2, 3], [4, 5, 6, 6]], np.int32)).tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6]]
