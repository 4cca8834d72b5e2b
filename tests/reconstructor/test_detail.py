"""Relief from shading: the right sign and about the right size on skin, none where there is no skin."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from maquette.geometry.surface import vertex_normals
from maquette.rooms import ReconstructOptions
from maquette.types import Bool, Float64, Textures
from services.reconstructor.engines.open.atlas import Atlas, atlas_of
from services.reconstructor.engines.open.detail import LIMIT_MM, normal_map

SIZE = 1024
OPTIONS = ReconstructOptions(texture_size=SIZE)
WAVE_MM = 7.0
HEIGHT_MM = 0.25


def bumps(points: Float64) -> Float64:
    """(P,) mm, an egg-box pattern in space."""
    k = 2 * np.pi / WAVE_MM
    return HEIGHT_MM * np.sin(k * points[:, 0]) * np.sin(k * points[:, 1])


def slope_of_bumps(points: Float64) -> Float64:
    """(P, 3) gradient of ``bumps``."""
    k = 2 * np.pi / WAVE_MM
    x, y, _ = (k * points).T
    out = [np.cos(x) * np.sin(y), np.sin(x) * np.cos(y), np.zeros_like(x)]
    return HEIGHT_MM * k * np.stack(out, 1)


@pytest.fixture(scope="module")
def atlas(studio: Any) -> Atlas:
    return atlas_of(studio.model, SIZE)


@pytest.fixture(scope="module")
def near(studio: Any) -> Any:
    """A camera that sees the face large."""
    camera = studio.camera_at(0)
    return replace(camera, focal=2 * camera.focal, centre=camera.centre * 2, width=1024, height=1024)


@pytest.fixture(scope="module")
def bumpy(studio: Any, near: Any) -> Textures:
    scene = studio.photo(studio.from_the_side, camera=near, relief=slope_of_bumps, oversampled=1)
    return studio.textures(scene, options=OPTIONS)


def at_skin(atlas: Atlas, image: NDArray[Any]) -> NDArray[Any]:
    return atlas.pack(image[: len(atlas.skin)])


def bare_face(atlas: Atlas) -> Bool:
    """(P,) bool, cheeks and forehead, clear of brows, eyes and lips."""
    wanted = atlas.pack(atlas.region("cheek_left", "cheek_right", "forehead", soften=0)) > 0.999
    off = ("brow_left", "brow_right", "eye_region_left", "eye_region_right", "lip_upper", "lip_lower", "nose")
    return wanted & (atlas.pack(atlas.region(*off, soften=4)) == 0)


def points_of(atlas: Atlas) -> Float64:
    return np.asarray(atlas.to_texels @ atlas.model.mean, np.float64)


def test_bumps_are_found_with_their_sign_and_about_their_size(atlas: Atlas, bumpy: Textures) -> None:
    where = bare_face(atlas) & (at_skin(atlas, bumpy.weight) > 0.95)
    true, found = bumps(points_of(atlas)[where]), at_skin(atlas, bumpy.displacement)[where]
    assert np.corrcoef(true, found)[0, 1] > 0.6
    assert 0.25 < float(found @ true / (true @ true)) < 1.2


def test_a_smooth_face_stays_smooth(studio: Any, atlas: Atlas, near: Any) -> None:
    def smooth(points: Float64, part: NDArray[np.str_]) -> Float64:
        return np.tile(studio.skin, (len(points), 1))

    textures = studio.textures(studio.photo(studio.from_the_side, smooth, camera=near, oversampled=1), options=OPTIONS)
    assert np.percentile(np.abs(at_skin(atlas, textures.displacement)[bare_face(atlas)]), 99) < 0.06


def test_brows_eyes_and_hair_get_no_relief(studio: Any, atlas: Atlas, near: Any) -> None:
    model = atlas.model
    brows = model.mean[model.region("brow_left") | model.region("brow_right")].astype(np.float64)
    low, high = brows[:, 1].min(), brows[:, 1].max()
    inner, outer = np.abs(brows[:, 0]).min(), np.abs(brows[:, 0]).max()

    def hairy(points: Float64, part: NDArray[np.str_]) -> Float64:
        out = studio.plain(points, part)
        x, y = np.abs(points[:, 0]), points[:, 1]
        lines = (np.sin(points[:, 0] * 4 + points[:, 1] * 2) > 0) & (part == "skin")
        brow = (x > inner) & (x < outer) & (y > low) & (y < high)
        out[lines & (brow | (y > 84))] = [0.03, 0.02, 0.015]
        return out

    scene = studio.photo(studio.from_the_side, hairy, camera=near, relief=slope_of_bumps, oversampled=1)
    found = np.abs(at_skin(atlas, studio.textures(scene, options=OPTIONS).displacement))
    lids = atlas.pack(atlas.region("eyelids_left", "eyelids_right", soften=0)) > 0.999
    brow = atlas.pack(atlas.region("brow_left", "brow_right", soften=0)) > 0.999
    scalp = atlas.pack(atlas.region("scalp", soften=0)) > 0.999
    skin = np.percentile(found[bare_face(atlas) & (points_of(atlas)[:, 1] < 20)], 90)
    assert skin > 0.05
    assert np.percentile(found[brow], 99) < 0.1 * skin
    assert np.percentile(found[scalp], 99) < 0.1 * skin
    assert np.median(found[lids]) < 0.1 * skin


def test_a_mole_of_another_colour_is_not_a_pit(studio: Any, atlas: Atlas, near: Any) -> None:
    def relief_of_spots(colour: tuple[float, float, float]) -> float:
        def spotted(points: Float64, part: NDArray[np.str_]) -> Float64:
            spots = np.sin(points[:, 0] * 0.9) * np.sin(points[:, 1] * 0.9) > 0.6
            return studio.plain(points, part) * np.where(spots[:, None], np.array(colour), 1.0)

        scene = studio.photo(studio.from_the_side, spotted, camera=near, oversampled=1)
        found = at_skin(atlas, studio.textures(scene, options=OPTIONS).displacement)
        return float(np.std(found[bare_face(atlas)]))

    assert relief_of_spots((0.9, 0.66, 0.4)) < 0.6 * relief_of_spots((0.7, 0.7, 0.7))


def test_relief_is_limited_and_zero_where_nothing_was_seen(atlas: Atlas, bumpy: Textures) -> None:
    displacement = bumpy.displacement
    assert displacement is not None
    assert displacement.shape == (SIZE, SIZE) and displacement.dtype == np.float32
    assert np.abs(displacement).max() <= LIMIT_MM
    normals = np.asarray(atlas.to_texels @ vertex_normals(atlas.model.mean, atlas.model.triangles))
    assert not at_skin(atlas, displacement)[normals[:, 2] < -0.1].any()
    assert not displacement[len(atlas.skin) :].any()


def test_the_normal_map_tilts_as_the_relief_does(atlas: Atlas) -> None:
    model = atlas.model
    points = points_of(atlas)
    displacement = atlas.whole(atlas.unpack(bumps(points).astype(np.float32)))
    n_map = at_skin(atlas, normal_map(atlas, model.mean, displacement)).astype(np.float64) - 128
    n_map /= np.linalg.norm(n_map, axis=1, keepdims=True)
    normals = np.asarray(atlas.to_texels @ vertex_normals(model.mean.astype(np.float64), model.triangles))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    tangents = np.asarray(atlas.to_texels @ _u_direction(model), np.float64)
    tangents -= normals * (tangents * normals).sum(1, keepdims=True)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    bitangents = np.cross(normals, tangents)
    found = n_map[:, :1] * tangents + n_map[:, 1:2] * bitangents + n_map[:, 2:] * normals
    slope = slope_of_bumps(points)
    slope -= normals * (slope * normals).sum(1, keepdims=True)
    expected = normals - slope
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    where = bare_face(atlas)
    angle = np.degrees(np.arccos(np.clip((found * expected).sum(1), -1, 1)))[where]
    tilt = np.degrees(np.arccos(np.clip((normals * expected).sum(1), -1, 1)))[where]
    assert np.median(tilt) > 6
    assert np.median(angle) < 1.5 and np.percentile(angle, 95) < 4


def _u_direction(model: Any) -> Float64:
    """(V, 3) mm per unit of u, by least squares over each skin vertex's neighbours."""
    out = np.zeros((len(model.mean), 3))
    weight = np.zeros(len(model.mean))
    skin = model.part_triangles("skin")
    for corners, flat in zip(model.triangles[skin], model.uv_triangles[skin], strict=True):
        steps = np.stack([model.uv[flat[1]] - model.uv[flat[0]], model.uv[flat[2]] - model.uv[flat[0]]])
        edges = np.stack(
            [model.mean[corners[1]] - model.mean[corners[0]], model.mean[corners[2]] - model.mean[corners[0]]]
        )
        if abs(np.linalg.det(steps)) > 1e-12:
            out[corners] += np.linalg.solve(steps.astype(np.float64), edges.astype(np.float64))[0]
            weight[corners] += 1
    return out / np.maximum(weight, 1)[:, None]


def test_no_relief_leaves_the_normal_map_flat(atlas: Atlas) -> None:
    flat = normal_map(atlas, atlas.model.mean, np.zeros((SIZE, SIZE), np.float32))
    assert flat.shape == (SIZE, SIZE, 3) and flat.dtype == np.uint8
    assert (flat == [128, 128, 255]).all()


def test_detail_can_be_left_out(studio: Any) -> None:
    scene = studio.photo(studio.even, oversampled=1)
    textures = studio.textures(scene, options=ReconstructOptions(texture_size=512, detail=False))
    assert textures.displacement is None and textures.normal is None
