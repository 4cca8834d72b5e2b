"""Hair sits on heads, stays out of the skin, and is chosen by what a photo shows."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from maquette.errors import ModelFileInvalid, OptionInvalid
from maquette.geometry.raster import Scene
from maquette.geometry.surface import vertex_normals
from maquette.headmodel import ARKIT_NAMES, HeadModel, load_head_model
from maquette.headmodel.hair import (
    DEFAULT_FILE,
    MEAN_LUMINANCE,
    HairLibrary,
    HairStyle,
    clear_of_skin,
    load_hair_library,
    mesh_digest,
)
from maquette.rooms import PhotoView
from maquette.types import Camera, Face, Fit, Float32, Float64, Mask, Photo, Quality, UInt8, Verdict, View
from services.reconstructor.engines.open.hair import choose_hair, wear
from services.reconstructor.engines.open.hairline import look, plausible

SIZE = 384
BROWN = np.array([84.0, 56.0, 38.0])
SKIN = np.array([214.0, 170.0, 148.0])


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def library() -> HairLibrary:
    return load_hair_library()


def _camera() -> Camera:
    rotation = np.diag([1.0, -1.0, -1.0])
    return Camera(1500.0, np.array([SIZE / 2, SIZE / 2]), rotation, np.array([0.0, -20.0, 1500.0]), SIZE, SIZE)


def _picture(model: HeadModel, vertices: Float32, styles: list[HairStyle]) -> tuple[UInt8, Float32]:
    """A head with hair in front of a grey wall, lit from the front, and its person mask."""
    camera = _camera()
    x = camera.to_camera(vertices.astype(np.float64))
    raster = Scene(x, model.triangles).view(camera)
    wall = np.full((SIZE, SIZE, 3), 120.0)
    grain = np.random.default_rng(0).normal(0, 2, (SIZE, SIZE, 1))
    normals = raster.interpolate(vertex_normals(x, model.triangles), model.triangles)
    wall[raster.covered] = SKIN * (0.45 + 0.55 * np.clip(-normals[:, 2:], 0, 1))
    person = raster.covered.copy()
    depth = raster.distance
    for style in styles:
        placed = camera.to_camera(clear_of_skin(style.place(vertices), vertices, model).astype(np.float64))
        hit = Scene(placed, style.triangles).view(camera)
        front = hit.covered & (hit.distance < depth)
        uv = np.einsum("pkc,pk->pc", style.uv[style.triangles[hit.triangle[front]]], hit.barycentric[front])
        rows, columns = style.picture.shape[:2]
        row = np.clip(((1 - uv[:, 1]) * rows).astype(int), 0, rows - 1)
        texel = style.coloured(BROWN)[row, np.clip((uv[:, 0] * columns).astype(int), 0, columns - 1)].astype(float)
        alpha = texel[:, 3:] / 255
        wall[front] = wall[front] * (1 - alpha) + texel[:, :3] * alpha
        person[front] |= alpha[:, 0] > 0.5
    image = np.clip(wall + grain, 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.uint8), person.astype(np.float32)


def _seen(model: HeadModel, styles: list[HairStyle], vertices: Float32 | None = None) -> tuple[PhotoView, Fit, Float32]:
    vertices = model.mean if vertices is None else vertices
    image, person = _picture(model, vertices, styles)
    camera = _camera()
    points = camera.project(model.landmarks(vertices).astype(np.float64))
    landmarks = np.concatenate([points, np.zeros((478, 1))], 1).astype(np.float32)
    box = np.concatenate([points.min(0), points.max(0)]).astype(np.float32)
    face = Face(
        box, landmarks, landmarks, landmarks, 0.0, 0.0, 0.0, 1.0, float(np.ptp(points, axis=0).max()),
        Quality(Verdict.GOOD),
    )  # fmt: skip
    mask = Mask(person, np.array([[1.0, 0, 0], [0, 1.0, 0]]))
    view = View(camera, np.zeros(52, np.float32), np.zeros((2, 2), np.float32), np.zeros((478, 2), np.float32))
    known = np.zeros(len(vertices), np.float32)
    fit = Fit(np.zeros(len(model.identity_modes), np.float32), (view,), known, known)
    return PhotoView(Photo(image, None, "drawn", "0"), face, mask), fit, vertices


def _depth_in_skin(points: Float32, vertices: Float32, model: HeadModel) -> Float64:
    """mm along the normal of the nearest skin vertex, negative inside; above the bust, which is open below."""
    skin = np.flatnonzero(model.part("skin"))
    normals = vertex_normals(vertices.astype(np.float64), model.triangles)[skin]
    _, near = cKDTree(vertices[skin]).query(points)
    height = ((points - vertices[skin][near]) * normals[near]).sum(1)
    return np.asarray(height[~model.region("bust")[skin[near]]], np.float64)


def test_the_library_is_small_and_belongs_to_the_model(model: HeadModel, library: HairLibrary) -> None:
    assert DEFAULT_FILE.stat().st_size <= 6_000_000
    library.require_fit(model)
    assert library.mesh == mesh_digest(model)
    cuts = {s.cut for s in library.styles if s.kind == "hair"}
    assert cuts == {"short", "bob", "long", "tied"}
    assert any("CC0" in s for s in library.sources)


def test_every_style_is_a_whole_textured_mesh(library: HairLibrary) -> None:
    for style in library.styles:
        used = np.unique(style.triangles)
        assert len(used) == len(style.uv), style.name
        assert ((style.uv >= 0) & (style.uv <= 1)).all(), style.name
        assert np.allclose(style.weights.sum(1), 1, atol=1e-5), style.name
        opacity = style.picture[..., 1]
        assert opacity.max() > 150, style.name
        assert 0.003 < (opacity > 100).mean() < 0.99, style.name


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hair_stays_out_of_the_skin_of_other_people(seed: int, model: HeadModel, library: HairLibrary) -> None:
    identity = np.random.default_rng(seed).normal(0, 1.2, len(model.identity_modes))
    expression = np.zeros(len(ARKIT_NAMES))
    expression[ARKIT_NAMES.index("browInnerUp")] = 1
    vertices = model.vertices(identity, expression)
    for name in library.names():
        hair = wear(library.style(name), vertices, model, BROWN)
        inside = _depth_in_skin(hair.vertices, vertices, model) < 0.2
        assert inside.mean() < 0.01, name


def test_hair_moves_as_one_with_the_head(model: HeadModel, library: HairLibrary) -> None:
    shift = np.array([3.0, -7.0, 11.0], np.float32)
    for style in library.styles:
        moved = style.place(model.mean + shift) - style.place(model.mean)
        assert np.allclose(moved, shift, atol=1e-3), style.name


def test_hair_keeps_its_shape_on_other_heads(model: HeadModel, library: HairLibrary) -> None:
    vertices = model.vertices(np.random.default_rng(4).normal(0, 1, len(model.identity_modes)))
    for name in library.names():
        style = library.style(name)
        edges = np.sort(np.concatenate([style.triangles[:, [0, 1]], style.triangles[:, [1, 2]]]), 1)
        length = [
            np.linalg.norm(p[edges[:, 0]] - p[edges[:, 1]], axis=1)
            for p in (style.place(model.mean), style.place(vertices))
        ]
        # No strand is torn out: all edges grow or shrink about as much as the head does.
        change = np.abs(length[1] - length[0])
        assert np.median(change / length[0]) < 0.08, name
        assert np.percentile(change, 99) < 8.0, name


def test_lashes_go_down_with_the_lid(model: HeadModel, library: HairLibrary) -> None:
    blink = np.zeros(len(ARKIT_NAMES))
    blink[[ARKIT_NAMES.index("eyeBlinkLeft"), ARKIT_NAMES.index("eyeBlinkRight")]] = 1
    lashes = library.style("sparse", "lashes")
    upper = lashes.uv[:, 1] > 0.5
    drop = (lashes.place(model.mean) - lashes.place(model.vertices(None, blink)))[:, 1]
    assert np.median(drop[upper]) > 4
    assert abs(np.median(drop[~upper])) < 3


def test_brows_lie_on_the_skin_and_rise_with_it(model: HeadModel, library: HairLibrary) -> None:
    raised = np.zeros(len(ARKIT_NAMES))
    for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"):
        raised[ARKIT_NAMES.index(name)] = 1
    up = model.vertices(None, raised)
    for name in library.names("brows"):
        style = library.style(name, "brows")
        height = _depth_in_skin(style.place(model.mean), model.mean, model)
        assert 0.3 < np.median(height) < 0.7, name
        opaque = (style.place(up) - style.place(model.mean))[:, 1]
        assert np.median(opaque) > 1.5, name


def test_the_tint_is_the_hairs_mean_colour(library: HairLibrary) -> None:
    for name in library.names():
        style = library.style(name)
        rgba = style.coloured(BROWN).astype(float)
        solid = rgba[..., 3] > 250
        assert np.allclose(rgba[solid][:, :3].mean(0), BROWN, atol=22), name
        light = style.picture[..., 0][solid] / 255
        assert light.mean() == pytest.approx(MEAN_LUMINANCE, abs=0.12), name


@pytest.mark.parametrize("name", ["short01", "short02", "bob02", "bob03", "long01", "long02"])
def test_a_drawn_style_is_recognised_with_its_colour(name: str, model: HeadModel, library: HairLibrary) -> None:
    view, fit, vertices = _seen(model, [library.style(name)])
    chosen = choose_hair(view, fit, vertices, model, library)
    assert chosen[0].name == name
    evidence = look(view, fit.views[0].camera, vertices, model)
    assert not evidence.bald
    # The crown is lighter than the whole.
    assert np.abs(evidence.colour - BROWN).max() < 30


def test_a_bald_head_gets_lashes_only(model: HeadModel, library: HairLibrary) -> None:
    view, fit, vertices = _seen(model, [])
    assert look(view, fit.views[0].camera, vertices, model).bald
    assert [h.name for h in choose_hair(view, fit, vertices, model, library)] == ["lashes_sparse"]


def test_none_is_nothing_and_a_name_is_that_style(model: HeadModel, library: HairLibrary) -> None:
    view, fit, vertices = _seen(model, [])
    assert choose_hair(view, fit, vertices, model, library, "none") == ()
    assert choose_hair(view, fit, vertices, model, library, "bob01")[0].name == "bob01"


def test_an_unknown_style_is_refused_by_naming_the_known(model: HeadModel, library: HairLibrary) -> None:
    view, fit, vertices = _seen(model, [])
    with pytest.raises(OptionInvalid, match=r"auto, none or one of .*short01.*'mohawk'"):
        choose_hair(view, fit, vertices, model, library, "mohawk")


def test_the_same_photo_gives_the_same_hair(model: HeadModel, library: HairLibrary) -> None:
    view, fit, vertices = _seen(model, [library.style("short02")])
    first, second = (choose_hair(view, fit, vertices, model, library) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.name == b.name
        assert np.array_equal(a.vertices, b.vertices)
        assert np.array_equal(a.colour, b.colour)


def test_hair_off_the_picture_is_not_evidence(model: HeadModel, library: HairLibrary) -> None:
    """A photo cut at the forehead still gives a style, in the colour of what is seen at the sides."""
    view, _, vertices = _seen(model, [library.style("bob02")])
    top = int(_camera().project(np.array([[0.0, 70.0, 95.0]]))[0, 1])
    photo = Photo(np.ascontiguousarray(view.photo.pixels[top:]), None, "cut", "0")
    mask = Mask(view.mask.alpha, np.array([[1.0, 0, 0], [0, 1.0, top]]))
    camera = _camera()
    cut = Camera(camera.focal, camera.centre - [0, top], camera.rotation, camera.translation, SIZE, SIZE - top)
    evidence = look(PhotoView(photo, view.face, mask), cut, vertices, model)
    assert not evidence.bald
    assert np.abs(evidence.colour - BROWN).max() < 30


def _extent(points: Float32, square: Camera) -> Float64:
    """Pixels: top, left and right end of hair above the middle of the head."""
    at = square.project(points.astype(np.float64))
    upper = at[points[:, 1] > 40]
    return np.array([upper[:, 1].min(), upper[:, 0].min(), upper[:, 0].max()])


@pytest.mark.parametrize("volume", [0.9, 1.15])
def test_hair_takes_the_volume_that_the_photo_shows(volume: float, model: HeadModel, library: HairLibrary) -> None:
    style = library.style("short02")
    middle = model.mean[model.region("scalp")].mean(0)
    offset = style.offset + (style.place(model.mean) - middle) * np.float32(volume - 1)
    worn = replace(style, offset=offset)
    view, fit, vertices = _seen(model, [worn])
    evidence = look(view, fit.views[0].camera, vertices, model)
    placed, true = style.place(vertices), worn.place(vertices)
    before, after, goal = (
        _extent(p, evidence.camera) for p in (placed, wear(style, vertices, model, BROWN, evidence).vertices, true)
    )
    assert np.abs(before - goal).min() > 2
    assert (np.abs(after - goal) < 0.8 * np.abs(before - goal)).all()


def test_the_hairline_stays_where_it_is(model: HeadModel, library: HairLibrary) -> None:
    style = library.style("short02")
    middle = model.mean[model.region("scalp")].mean(0)
    larger = replace(style, offset=style.offset + (style.place(model.mean) - middle) * np.float32(0.15))
    view, fit, vertices = _seen(model, [larger])
    evidence = look(view, fit.views[0].camera, vertices, model)
    plain, fitted = (wear(style, vertices, model, BROWN, e).vertices for e in (None, evidence))
    gap, _ = cKDTree(vertices[model.part("skin")]).query(plain)
    assert np.linalg.norm(fitted - plain, axis=1).max() > 5
    assert np.linalg.norm(fitted - plain, axis=1)[gap < 1.5].max() < 0.5


def test_strands_are_as_light_and_as_dark_as_in_the_photo(model: HeadModel, library: HairLibrary) -> None:
    view, fit, vertices = _seen(model, [library.style("short02")])
    evidence = look(view, fit.views[0].camera, vertices, model)
    light = evidence.shades @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).all()
    assert light[0] < 0.75 * light[2] < 0.75 * light[4] / 1.3
    picture = library.style("short01").coloured(evidence.shades)
    solid = picture[picture[..., 3] > 250][:, :3].astype(float)
    assert np.allclose(np.median(solid, axis=0), evidence.colour, atol=15)


def test_waves_are_told_from_straight_hair(model: HeadModel, library: HairLibrary) -> None:
    view, fit, vertices = _seen(model, [library.style("long01")])
    square = look(view, fit.views[0].camera, vertices, model)
    assert square.waviness < 0.3
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    waves = 30 * np.sin(rows / 4 + np.sin(columns / 9))
    hair = np.abs(view.photo.pixels.astype(float) - BROWN).max(-1) < 45
    pixels = np.where(hair[..., None], view.photo.pixels + waves[..., None], view.photo.pixels)
    photo = Photo(np.clip(pixels, 0, 255).astype(np.uint8), None, "waves", "0")
    wavy = look(PhotoView(photo, view.face, view.mask), fit.views[0].camera, vertices, model)
    assert wavy.waviness > 0.7


def test_blue_lights_on_black_hair_are_not_its_colour() -> None:
    assert plausible(np.array([40.0, 46.0, 58.0]))[2] < 50
    dyed = np.array([40.0, 60.0, 190.0])
    assert np.array_equal(plausible(dyed), dyed)
    assert plausible(np.zeros(3)).min() > 15


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hair.npz"
    path.write_bytes(DEFAULT_FILE.read_bytes()[:5000])
    with pytest.raises(ModelFileInvalid, match="not a readable model file"):
        load_hair_library(path)
