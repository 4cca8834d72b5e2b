import dataclasses
import io
import json

import numpy as np
import pytest
import trimesh
from PIL import Image

from maquette.geometry.surface import vertex_normals
from maquette.headmodel import ARKIT_NAMES
from services.meshproc.glb import MESH_NAME, layouts_of, write_glb
from services.meshproc.materials import maps_of
from services.meshproc.mesh import PARTS
from services.meshproc.morphs import STILL_MM
from tests.meshproc.readers import read_glb


@pytest.fixture(scope="module")
def data(model, head, options):
    return write_glb(model, head, maps_of(head, options), options)


@pytest.fixture(scope="module")
def glb(data):
    return read_glb(data)


def test_the_mesh_rests_in_neutral_in_metres(model, head, glb):
    for part, layout in zip(PARTS, layouts_of(model), strict=True):
        primitive = glb.primitive(MESH_NAME, part)
        points = glb.accessor(primitive["attributes"]["POSITION"])
        assert np.abs(1000 * points - head.neutral[layout.vertex]).max() < 1e-4
        assert (glb.accessor(primitive["indices"]).reshape(-1, 3) == layout.triangles).all()


def test_parts_together_are_the_models_triangles(model, glb):
    found = []
    for part, layout in zip(PARTS, layouts_of(model), strict=True):
        corners = glb.accessor(glb.primitive(MESH_NAME, part)["indices"]).reshape(-1, 3)
        found.append(np.concatenate([layout.vertex[corners], layout.texel[corners]], 1))
    expected = np.concatenate([model.triangles, model.uv_triangles], 1)
    assert sorted(map(tuple, np.concatenate(found).tolist())) == sorted(map(tuple, expected.tolist()))


def test_viewers_show_the_photos_expression_and_gaze(model, head, glb):
    moved = np.abs(head.posed - head.neutral).max()
    assert moved > 5
    for part, layout in zip(PARTS, layouts_of(model), strict=True):
        shown = 1000 * glb.shown(MESH_NAME, glb.primitive(MESH_NAME, part))
        # Seven blendshapes are on, and each leaves away what moves less than it shows.
        assert np.abs(shown - head.posed[layout.vertex]).max() < 7 * STILL_MM


def test_a_neutral_head_is_shown_neutral(model, head, options):
    neutral = dataclasses.replace(options, expression="neutral")
    glb = read_glb(write_glb(model, head, maps_of(head, neutral), neutral))
    assert not any(glb.mesh(MESH_NAME)["weights"])
    assert not any("rotation" in node for node in glb.json["nodes"])
    for part, layout in zip(PARTS, layouts_of(model), strict=True):
        shown = 1000 * glb.shown(MESH_NAME, glb.primitive(MESH_NAME, part))
        assert np.abs(shown - head.neutral[layout.vertex]).max() < 0.001


def test_the_52_blendshapes_are_morph_targets_by_name(model, head, glb):
    mesh = glb.mesh(MESH_NAME)
    assert tuple(mesh["extras"]["targetNames"]) == ARKIT_NAMES
    assert mesh["weights"] == pytest.approx(head.fit.views[0].expression.tolist(), abs=1e-6)
    for part, layout in zip(PARTS, layouts_of(model), strict=True):
        targets = glb.primitive(MESH_NAME, part)["targets"]
        assert len(targets) == len(ARKIT_NAMES)
        for k in (ARKIT_NAMES.index(n) for n in ("jawOpen", "eyeBlinkLeft", "tongueOut", "mouthSmileRight")):
            shift = 1000 * glb.accessor(targets[k]["POSITION"])
            assert np.abs(shift - model.expression_modes[k][layout.vertex]).max() < STILL_MM


def test_morph_targets_turn_the_normals_along(model, head, glb):
    layout = layouts_of(model)[0]
    primitive = glb.primitive(MESH_NAME, "skin")
    k = ARKIT_NAMES.index("jawOpen")
    expected = vertex_normals(head.neutral + model.expression_modes[k], model.triangles)[layout.vertex]
    rest = glb.accessor(primitive["attributes"]["NORMAL"])
    turned = rest + glb.accessor(primitive["targets"][k]["NORMAL"])
    assert np.percentile(np.linalg.norm(turned - expected, axis=1), 99) < 0.02
    assert np.percentile(np.linalg.norm(rest - expected, axis=1), 90) > 0.1


def test_joints_stand_where_the_model_says_and_hang_together(model, head, glb):
    places = glb.globals()
    for name, joint in zip(model.joint_names, model.joints(head.neutral), strict=True):
        assert np.abs(1000 * places[name][:3, 3] - joint).max() < 1e-3
    nodes = glb.json["nodes"]
    children = {node["name"]: [nodes[c]["name"] for c in node.get("children", ())] for node in nodes}
    assert children["neck"] == ["head"] and sorted(children["head"]) == ["eye_left", "eye_right", "jaw"]
    weights = glb.accessor(glb.primitive(MESH_NAME, "skin")["attributes"]["WEIGHTS_0"])
    assert np.abs(weights.sum(1) - 1).max() < 1e-9


def test_turning_the_jaw_joint_opens_the_mouth(model, head, data):
    glb = read_glb(data)
    layout = layouts_of(model)[0]
    before = 1000 * glb.shown(MESH_NAME, glb.primitive(MESH_NAME, "skin"))
    jaw = next(node for node in glb.json["nodes"] if node["name"] == "jaw")
    jaw["rotation"] = [float(np.sin(0.1)), 0, 0, float(np.cos(0.1))]
    drop = (1000 * glb.shown(MESH_NAME, glb.primitive(MESH_NAME, "skin")) - before)[:, 1]
    chin, scalp = model.region("chin")[layout.vertex], model.region("scalp")[layout.vertex]
    assert drop[chin].mean() < -5 and np.abs(drop[scalp]).max() < 1


def test_pictures_are_the_heads_and_v_points_down(model, head, glb):
    material = next(m for m in glb.json["materials"] if m["name"] == "skin")
    image = glb.json["images"][
        glb.json["textures"][material["pbrMetallicRoughness"]["baseColorTexture"]["index"]]["source"]
    ]
    with Image.open(io.BytesIO(glb.view(image["bufferView"]))) as picture:
        pixels = np.asarray(picture, np.int64)
    assert np.abs(pixels - head.textures.albedo).mean() < 4
    uv = glb.accessor(glb.primitive(MESH_NAME, "skin")["attributes"]["TEXCOORD_0"])
    expected = model.uv[layouts_of(model)[0].texel]
    assert np.abs(uv - np.stack([expected[:, 0], 1 - expected[:, 1]], 1)).max() < 1e-6
    normal = glb.json["images"][glb.json["textures"][material["normalTexture"]["index"]]["source"]]
    with Image.open(io.BytesIO(glb.view(normal["bufferView"]))) as picture:
        assert (np.asarray(picture) == head.textures.normal).all()


def test_tangents_point_along_u_on_the_surface(model, head, glb):
    layout = layouts_of(model)[0]
    attributes = glb.primitive(MESH_NAME, "skin")["attributes"]
    tangent, normal = glb.accessor(attributes["TANGENT"]), glb.accessor(attributes["NORMAL"])
    assert np.abs(np.einsum("vc,vc->v", tangent[:, :3], normal)).max() < 1e-3
    a, b, c = (layout.triangles[:, k] for k in range(3))
    uv, points = model.uv[layout.texel].astype(float), head.neutral[layout.vertex].astype(float)
    edges_uv = np.stack([uv[b] - uv[a], uv[c] - uv[a]], 1)
    good = np.abs(np.linalg.det(edges_uv)) > 1e-9
    along = np.linalg.solve(edges_uv[good], np.stack([points[b] - points[a], points[c] - points[a]], 1)[good])
    u, v = (along[:, k] / np.linalg.norm(along[:, k], axis=1, keepdims=True) for k in (0, 1))
    at = a[good]
    assert np.median(np.einsum("fc,fc->f", u, tangent[at, :3])) > 0.97
    bitangent = np.cross(normal[at], tangent[at, :3]) * tangent[at, 3:]
    # The atlas keeps no right angles, so that v leans away from the bitangent, but not to the other side.
    assert np.median(np.einsum("fc,fc->f", v, bitangent)) > 0.7
    assert (np.einsum("fc,fc->f", v, bitangent) > 0).mean() > 0.98


def test_hair_hangs_on_the_head_joint_and_brows_go_with_the_skin(model, head, glb):
    names = [node["name"] for node in glb.json["nodes"]]
    assert {"hair_cap_1", "hair_brows"} <= set(names)
    cap, brows = glb.mesh("hair_cap_1"), glb.mesh("hair_brows")
    assert "targets" not in cap["primitives"][0]
    assert tuple(brows["extras"]["targetNames"]) == ARKIT_NAMES
    materials = {m["name"]: m for m in glb.json["materials"]}
    assert materials["hair_cap_1"]["alphaMode"] == "MASK" and materials["hair_brows"]["alphaMode"] == "BLEND"
    assert materials["hair_cap_1"]["doubleSided"] and materials["hair_brows"]["doubleSided"]
    joints = glb.accessor(cap["primitives"][0]["attributes"]["JOINTS_0"])
    assert set(joints[:, 0]) == {model.joint_names.index("head")}
    shown = 1000 * glb.shown("hair_brows", brows["primitives"][0])
    rest = 1000 * glb.accessor(brows["primitives"][0]["attributes"]["POSITION"])
    placed = next(p for p in head.hair if p.name == "brows").vertices
    assert np.abs(shown - placed).max() < 0.4 < np.abs(rest - placed).max()


def test_terms_travel_with_the_file(head, glb):
    asset = glb.json["asset"]
    assert asset["extras"]["licence"] == asset["copyright"] == head.licence
    assert asset["extras"]["model"] == head.model and asset["extras"]["engine"] == head.engine


def test_another_reader_finds_the_same_surface(model, head, data):
    scene = trimesh.load(io.BytesIO(data), file_type="glb", process=False)
    own = trimesh.Trimesh(head.neutral / 1000, model.triangles, process=False)
    parts = [g for n, g in scene.geometry.items() if not n.startswith("hair")]
    assert sum(g.area for g in parts) == pytest.approx(own.area, rel=1e-5)


def test_a_head_without_pictures_has_colours_and_no_texture_coordinates(model, head, options):
    bare = dataclasses.replace(head, textures=None, hair=())
    glb = read_glb(write_glb(model, bare, None, options))
    assert "images" not in glb.json
    for part in PARTS:
        assert "TEXCOORD_0" not in glb.primitive(MESH_NAME, part)["attributes"]
    colours = {json.dumps(m["pbrMetallicRoughness"]["baseColorFactor"]) for m in glb.json["materials"]}
    assert len(colours) == len(PARTS)


def test_the_file_is_no_larger_than_it_need_be(data, glb):
    morphs = sum(1 for p in glb.mesh(MESH_NAME)["primitives"] for t in p["targets"] for _ in t)
    dense = sum(
        12 * glb.json["accessors"][i]["count"]
        for p in glb.mesh(MESH_NAME)["primitives"]
        for t in p["targets"]
        for i in t.values()
    )
    assert morphs == 2 * 52 * len(PARTS)
    assert len(data) < dense / 2
