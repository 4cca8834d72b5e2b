"""Colour maps: what was seen comes back, what was not is plausible, nothing lands where it does not belong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from maquette.geometry.raster import Scene
from maquette.geometry.surface import vertex_normals
from maquette.rooms import ReconstructOptions
from maquette.types import Bool, Float64, Photo, Textures
from services.reconstructor.engines.open.atlas import Atlas, atlas_of
from services.reconstructor.engines.open.hairline import look
from services.reconstructor.engines.open.lighting import harmonics
from services.reconstructor.engines.open.linear import decode, encode, luminance
from services.reconstructor.engines.open.texture import build_textures
from services.reconstructor.engines.open.tissue import inner_face

SIZE = 512
OPTIONS = ReconstructOptions(texture_size=SIZE, detail=False)


@pytest.fixture(scope="module")
def atlas(studio: Any) -> Atlas:
    return atlas_of(studio.model, SIZE)


@pytest.fixture(scope="module")
def side_lit(studio: Any) -> Textures:
    return studio.textures(studio.photo(studio.from_the_side), options=OPTIONS)


def points_of(atlas: Atlas) -> Float64:
    return np.asarray(atlas.to_texels @ atlas.model.mean, np.float64)


def truth(atlas: Atlas, paint: Callable[..., Float64]) -> Float64:
    """(P, 3) linear albedo at the skin's texels."""
    points = points_of(atlas)
    return paint(points, np.full(len(points), "skin"))


def normals_of(atlas: Atlas) -> Float64:
    n = np.asarray(atlas.to_texels @ vertex_normals(atlas.model.mean.astype(np.float64), atlas.model.triangles))
    return n / np.linalg.norm(n, axis=1, keepdims=True)


def at_skin(atlas: Atlas, image: NDArray[Any]) -> NDArray[Any]:
    """(P, ...) values of a whole map at the skin's texels."""
    return atlas.pack(image[: len(atlas.skin)])


def within(atlas: Atlas, *names: str, soften: int = 0) -> Bool:
    """(P,) bool, skin texels wholly inside the union of some regions."""
    return atlas.pack(atlas.region(*names, soften=soften)) > 0.999


def test_seen_texels_come_back_within_a_few_grey_levels(studio: Any, atlas: Atlas, side_lit: Textures) -> None:
    shade = studio.from_the_side(normals_of(atlas))[:, None]
    expected = encode((truth(atlas, studio.plain) * shade).astype(np.float32))
    seen = (at_skin(atlas, side_lit.weight) > 0.99) & within(atlas, "face")
    assert seen.mean() > 0.1
    off = np.abs(at_skin(atlas, side_lit.photo)[seen].astype(int) - expected[seen])
    assert np.median(off) <= 2
    assert np.percentile(off, 90) <= 6


def test_albedo_is_flatter_than_the_photo_and_of_the_same_tone(studio: Any, atlas: Atlas, side_lit: Textures) -> None:
    seen = (at_skin(atlas, side_lit.weight) > 0.9) & within(atlas, "face")
    photo, albedo = (np.log(luminance(decode(at_skin(atlas, m)[seen]))) for m in (side_lit.photo, side_lit.albedo))
    true = np.log(luminance(truth(atlas, studio.plain)[seen].astype(np.float32)))
    assert np.std(albedo) < 0.6 * np.std(photo)
    assert np.std(albedo - true) < 0.5 * np.std(photo - true)
    assert abs(np.median(albedo) - np.median(photo)) < 0.15


def test_the_light_is_recovered(studio: Any, atlas: Atlas, side_lit: Textures) -> None:
    seen = (at_skin(atlas, side_lit.weight) > 0.9) & within(atlas, "face")
    n = normals_of(atlas)[seen]
    true, found = studio.from_the_side(n), (harmonics(n) @ side_lit.lighting).mean(1)
    assert np.corrcoef(true, found)[0, 1] > 0.95
    assert np.std(np.log(found) - np.log(true)) < 0.08


def test_a_bald_head_continues_in_skin_tone_all_round(studio: Any, atlas: Atlas, side_lit: Textures) -> None:
    hidden = (at_skin(atlas, side_lit.weight) == 0) & (within(atlas, "scalp") | within(atlas, "bust"))
    colour = decode(at_skin(atlas, side_lit.albedo)[hidden])
    assert np.all(np.abs(np.log(np.median(colour, axis=0) / studio.skin)) < 0.25)
    tone = luminance(studio.skin.astype(np.float32))
    assert np.percentile(np.abs(np.log(luminance(colour) / tone)), 99) < 0.5


def test_the_seam_at_the_back_does_not_show(atlas: Atlas, side_lit: Textures) -> None:
    model = atlas.model
    skin = model.part_triangles("skin")
    pairs = np.unique(np.stack([model.triangles[skin].ravel(), model.uv_triangles[skin].ravel()], 1), axis=0)
    vertex, count = np.unique(pairs[:, 0], return_counts=True)
    twice = vertex[count == 2]
    assert len(twice) > 20
    smooth = cv2.GaussianBlur(side_lit.albedo.astype(np.float32), (0, 0), 1)
    both = np.array([model.uv[pairs[pairs[:, 0] == v, 1]] for v in twice], np.float64)

    def colours(uv: Float64) -> Float64:
        x, y = np.minimum(uv[..., 0] * SIZE, SIZE - 1), np.minimum((1 - uv[..., 1]) * SIZE, SIZE - 1)
        return smooth[y.astype(int), x.astype(int)]

    at_seam, beside = colours(both), colours(both + 0.03 * ([0.5, 0.6] - both))
    assert np.abs(at_seam[:, 0] - at_seam[:, 1]).mean() < 4
    assert np.abs(at_seam - beside).mean() < 4
    assert abs((at_seam - beside).mean()) < 1


def test_every_texel_is_filled_and_finite(atlas: Atlas, side_lit: Textures) -> None:
    assert side_lit.photo.shape == side_lit.albedo.shape == (SIZE, SIZE, 3)
    assert side_lit.photo.dtype == side_lit.albedo.dtype == np.uint8
    assert np.isfinite(side_lit.weight).all()
    assert side_lit.weight.min() >= 0 and side_lit.weight.max() <= 1
    assert np.isfinite(side_lit.lighting).all() and side_lit.lighting.shape == (9, 3)
    assert side_lit.displacement is None and side_lit.normal is None
    assert at_skin(atlas, side_lit.albedo).max(1).min() > 8


def test_same_input_gives_the_same_bytes(studio: Any, side_lit: Textures) -> None:
    again = studio.textures(studio.photo(studio.from_the_side), options=OPTIONS)
    assert again.photo.tobytes() == side_lit.photo.tobytes()
    assert again.albedo.tobytes() == side_lit.albedo.tobytes()


def test_a_mirrored_photo_gives_mirrored_maps(studio: Any, atlas: Atlas) -> None:
    scene = studio.photo(studio.from_the_side, camera=studio.camera_at(12))
    camera, face = scene.fitted.camera, scene.view.face
    flip = np.diag([-1.0, 1.0, 1.0])
    mirrored_camera = replace(camera, rotation=flip @ camera.rotation @ flip, translation=flip @ camera.translation)
    points = atlas.model.landmarks(atlas.model.mean)
    other = np.linalg.norm(points[:, None] * [-1, 1, 1] - points[None], axis=2).argmin(1)
    landmarks = face.landmarks[other] * [-1, 1, 1] + [camera.width, 0, 0]
    view = replace(
        scene.view,
        photo=Photo(np.ascontiguousarray(scene.view.photo.pixels[:, ::-1]), None, "mirrored", "0" * 64),
        face=replace(face, landmarks=landmarks.astype(np.float32)),
        mask=replace(scene.view.mask, alpha=np.ascontiguousarray(scene.view.mask.alpha[:, ::-1])),
    )
    image = studio.scenery(view, replace(scene.fitted, camera=mirrored_camera), scene.posed)
    mirrored, textures = studio.textures(image, options=OPTIONS), studio.textures(scene, options=OPTIONS)
    both = (at_skin(atlas, textures.weight) > 0.5) & (at_skin(atlas, mirrored.weight[:, ::-1]) > 0.5)
    both &= within(atlas, "face")
    assert both.mean() > 0.1
    off = np.abs(at_skin(atlas, mirrored.albedo[:, ::-1])[both].astype(int) - at_skin(atlas, textures.albedo)[both])
    assert np.percentile(off, 95) <= 4


def test_hair_is_continued_over_the_back_of_the_head(studio: Any, atlas: Atlas) -> None:
    def hairy(points: Float64, part: NDArray[np.str_]) -> Float64:
        out = studio.plain(points, part)
        above = ((points[:, 1] > 84) | ((points[:, 2] < 25) & (points[:, 1] > 45))) & (part == "skin")
        strands = 1 + 0.4 * np.sin(points[above, 0] * 3)
        out[above] = np.array([0.05, 0.03, 0.02]) * strands[:, None]
        return out

    textures = studio.textures(studio.photo(studio.even, hairy), options=OPTIONS)
    back = within(atlas, "scalp") & (at_skin(atlas, textures.weight) == 0) & (points_of(atlas)[:, 1] > 60)
    assert np.all(np.median(decode(at_skin(atlas, textures.albedo)[back]), axis=0) < 0.3 * studio.skin)
    cheeks = within(atlas, "cheek_left", "cheek_right")
    assert np.all(np.median(decode(at_skin(atlas, textures.albedo)[cheeks]), axis=0) > 0.7 * studio.skin)


def test_a_lock_before_the_face_is_not_painted_on_a_head_with_hair(studio: Any, atlas: Atlas) -> None:
    def lock(points: Float64) -> Bool:
        return (points[:, 0] > 30) & (points[:, 2] > 20) & (points[:, 1] > 0) & (points[:, 1] < 90)

    def hairy(points: Float64, part: NDArray[np.str_]) -> Float64:
        out = studio.plain(points, part)
        dark = (lock(points) | (points[:, 1] > 84) | ((points[:, 2] < 25) & (points[:, 1] > 45))) & (part == "skin")
        out[dark] = np.array([0.05, 0.03, 0.02])
        return out

    scene = studio.photo(studio.even, hairy)
    fit, views, posed = studio.fit(scene), [scene.view], [scene.posed]
    evidence = look(scene.view, scene.fitted.camera, scene.posed, studio.model)
    assert not evidence.bald
    plain = build_textures(studio.model, fit, views, posed, OPTIONS)
    worn = build_textures(studio.model, fit, views, posed, OPTIONS, (evidence,))
    points = points_of(atlas)
    # Below, where beards grow, what is dark stays.
    under = lock(points) & (points[:, 1] > 22) & (points[:, 1] < 50) & (atlas.pack(inner_face(atlas)) > 0.6)
    tones = [np.median(luminance(decode(at_skin(atlas, t.albedo)[under]))) for t in (plain, worn)]
    clear = float(studio.skin @ [0.2126, 0.7152, 0.0722])
    assert tones[0] < 0.5 * clear
    assert tones[1] > 0.8 * clear
    nose = within(atlas, "nose")
    kept = [at_skin(atlas, t.photo)[nose].astype(int) for t in (plain, worn)]
    assert np.percentile(np.abs(kept[0] - kept[1]), 95) <= 2


def test_albedo_is_about_as_bright_as_the_front_of_the_face_in_the_photo(atlas: Atlas, side_lit: Textures) -> None:
    front = within(atlas, "nose", "cheek_left", "cheek_right")
    photo, albedo = (np.median(luminance(decode(at_skin(atlas, m)[front]))) for m in (side_lit.photo, side_lit.albedo))
    assert 0.8 < albedo / photo < 1.25


def test_clothes_are_not_painted_on_the_bust(studio: Any, atlas: Atlas) -> None:
    def dressed(points: Float64, part: NDArray[np.str_]) -> Float64:
        out = studio.plain(points, part)
        out[points[:, 1] < -95] = [0.03, 0.08, 0.5]
        return out

    textures = studio.textures(studio.photo(studio.even, dressed), options=OPTIONS)
    colour = decode(at_skin(atlas, textures.albedo)[within(atlas, "bust", "neck")])
    assert (colour[:, 2] > colour[:, 0]).mean() < 0.001


def test_what_the_nose_hides_does_not_take_its_colour(studio: Any, atlas: Atlas) -> None:
    camera = studio.camera_at(40)
    textures = studio.textures(studio.photo(studio.even, camera=camera), options=OPTIONS)
    points, normals = points_of(atlas), normals_of(atlas)
    away = -camera.rotation.T @ camera.translation - points
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    scene = Scene(atlas.model.mean, atlas.model.triangles)
    facing = (normals * away).sum(1) > 0.3
    blocked = scene.cast(points + 0.5 * normals, away).covered & facing & within(atlas, "face")
    assert blocked.sum() > 100
    hidden = at_skin(atlas, textures.weight)[blocked]
    assert np.percentile(hidden, 99) < 0.02
    assert hidden.max() < 0.3


def test_eyes_are_drawn_in_the_photos_colour_and_stay_off_the_lids(studio: Any, atlas: Atlas) -> None:
    model, raster = atlas.model, atlas.raster
    irises = model.landmarks(model.mean)[[468, 473]]

    def blue_eyed(points: Float64, part: NDArray[np.str_]) -> Float64:
        out = studio.plain(points, part)
        near = np.linalg.norm(points[:, None, :2] - irises[None, :, :2], axis=2).min(1)
        eye = np.isin(part, ["eye_left", "eye_right"])
        out[eye] = [0.62, 0.62, 0.62]
        out[eye & (near < 6)] = [0.04, 0.12, 0.30]
        return out

    textures = studio.textures(studio.photo(studio.even, blue_eyed), options=OPTIONS)
    lids = decode(at_skin(atlas, textures.albedo)[within(atlas, "eyelids_left", "eyelids_right")])
    assert (lids[:, 2] > lids[:, 0]).mean() < 0.002
    for name, iris in (("eye_right", irises[0]), ("eye_left", irises[1])):
        here = raster.covered & model.part(name)[model.triangles[:, 0]][raster.triangle]
        points = raster.interpolate(model.mean, model.triangles)[here[raster.covered]]
        ring = np.where(points[:, 2] > iris[2] - 8, np.linalg.norm(points[:, :2] - iris[:2], axis=1), 99)
        drawn = decode(textures.albedo[here])
        blue = np.median(drawn[(ring > 3) & (ring < 4.5)], axis=0)
        assert blue[2] > 2 * blue[0]
        assert np.median(luminance(drawn[ring < 1.2])) < 0.03
        white = np.median(drawn[(ring > 8) & (ring < 14)], axis=0)
        assert white.min() > 0.25 and white.max() / white.min() < 1.5


def test_several_photos_are_matched_and_show_more(studio: Any, atlas: Atlas) -> None:
    front = studio.photo(studio.even)
    sides = [studio.photo(studio.from_the_side, camera=studio.camera_at(yaw), gain=0.6) for yaw in (38, -38)]
    single, three = studio.textures(front, options=OPTIONS), studio.textures(front, *sides, options=OPTIONS)
    assert (three.weight > 0.5).sum() > 1.15 * (single.weight > 0.5).sum()
    added = (at_skin(atlas, three.weight) > 0.8) & (at_skin(atlas, single.weight) < 0.2) & within(atlas, "face")
    assert added.sum() > 100
    colour = decode(at_skin(atlas, three.albedo)[added])
    assert np.all(np.abs(np.log(np.median(colour, axis=0) / studio.skin)) < 0.2)


def test_a_face_that_fills_a_large_photo_does_not_alias(studio: Any, atlas: Atlas) -> None:
    def striped(points: Float64, part: NDArray[np.str_]) -> Float64:
        return studio.skin * (1 + 0.5 * np.sign(np.sin(points[:, :1] * 7.5)))

    camera = studio.camera_at(0)
    near = replace(camera, focal=3 * camera.focal, centre=camera.centre * 3, width=3 * 512, height=3 * 512)
    scene = studio.photo(studio.even, striped, camera=near, oversampled=1)
    textures = studio.textures(scene, options=OPTIONS)
    forehead = within(atlas, "forehead") & (at_skin(atlas, textures.weight) > 0.9)
    values = luminance(decode(at_skin(atlas, textures.photo)[forehead]))
    assert np.std(values) < 0.12 * np.mean(values)


@pytest.mark.parametrize("level", [0, 255])
def test_a_photo_that_shows_nothing_still_gives_whole_maps(studio: Any, level: int) -> None:
    scene = studio.photo(studio.even, oversampled=1)
    blank = replace(scene.view.photo, pixels=np.full_like(scene.view.photo.pixels, level))
    textures = studio.textures(replace(scene, view=replace(scene.view, photo=blank)), options=OPTIONS)
    assert np.isfinite(textures.lighting).all()
    assert textures.albedo.shape == (SIZE, SIZE, 3)
    assert np.ptp(np.median(textures.albedo.reshape(-1, 3), axis=0)) < 40


def test_a_head_outside_the_photo_is_unseen_and_has_a_skins_colour(studio: Any, atlas: Atlas) -> None:
    scene = studio.photo(studio.even, oversampled=1)
    camera = replace(scene.fitted.camera, translation=scene.fitted.camera.translation + [4000, 0, 0])
    away = replace(scene, fitted=replace(scene.fitted, camera=camera))
    textures = studio.textures(away, options=OPTIONS)
    assert textures.weight.max() == 0
    red, green, blue = np.median(decode(at_skin(atlas, textures.albedo)), axis=0)
    assert red > green > blue > 0


def test_numbers_that_do_not_match_are_refused(studio: Any) -> None:
    fit = studio.fit(studio.photo(studio.even))
    with pytest.raises(ValueError, match="zip"):
        build_textures(studio.model, fit, [], [], OPTIONS)
