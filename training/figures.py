"""Contact sheet of the head model: ``python -m training.figures -o FOLDER``."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maquette.geometry.raster import Scene
from maquette.geometry.surface import vertex_normals
from maquette.geometry.transform import rotation_x, rotation_y
from maquette.headmodel import HeadModel, load_head_model
from maquette.types import Camera

_COLOURS = {
    "skin": (205, 190, 178),
    "eye_left": (245, 245, 245),
    "eye_right": (245, 245, 245),
    "teeth": (240, 235, 220),
    "gums": (190, 110, 110),
    "tongue": (200, 120, 125),
    "mouth": (120, 60, 60),
    "eye_socket": (150, 100, 95),
}


def shade(
    model: HeadModel,
    vertices: NDArray[np.float32],
    *,
    yaw: float = 0,
    pitch: float = 0,
    size: int = 240,
    span: float = 330,
    centre: tuple[float, float, float] = (0, -10, 0),
    colours: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]:
    """Clay picture (size, size, 3) uint8 BGR of some vertices; back faces are red."""
    distance = 2000.0
    turn = np.diag([1.0, -1.0, -1.0]) @ rotation_x(pitch) @ rotation_y(yaw)
    camera = Camera(size / span * distance, np.full(2, size / 2), turn, np.zeros(3), size, size)
    x = (vertices - np.array(centre)) @ turn.T + [0, 0, distance]
    raster = Scene(x, model.triangles).view(camera)
    if colours is None:
        table = np.array([_COLOURS[n] for n in model.component_names], np.float64)
        colours = table[model.component]
    normals = raster.interpolate(vertex_normals(x, model.triangles), model.triangles)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    lamps = np.array([[-0.4, -0.5, -0.8], [0.7, -0.1, -0.6]])
    lamps /= np.linalg.norm(lamps, axis=1, keepdims=True)
    light = 0.25 + np.clip(normals @ lamps.T, 0, 1) @ [0.65, 0.3]
    picture = np.full((size, size, 3), 255.0)
    picture[raster.covered] = raster.interpolate(colours, model.triangles) * light[:, None]
    t = raster.triangle[raster.covered]
    a, b, c = (x[model.triangles[t, k]] for k in range(3))
    back = (np.cross(b - a, c - a) * a).sum(1) > 0
    picture[np.argwhere(raster.covered)[back][:, 0], np.argwhere(raster.covered)[back][:, 1]] = (220, 40, 40)
    return np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8)[..., ::-1])


def _label(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    out = picture.copy()
    cv2.putText(out, text, (5, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (60, 40, 30), 1, cv2.LINE_AA)
    return out


def _grid(tiles: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    blank = np.full_like(tiles[0], 255)
    tiles = tiles + [blank] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def sheet(model: HeadModel, modes: int = 9) -> NDArray[np.uint8]:
    """Mean, first modes at ±3 sd, directions and all blendshapes."""
    columns = 12
    tiles = [
        _label(shade(model, model.mean, yaw=y, pitch=p), f"mean {y} {p}")
        for y, p in ((0, 0), (-40, 0), (-90, 0), (180, 0), (0, 35), (0, -35))
    ]
    table = np.random.default_rng(3).uniform(90, 240, (len(model.region_names), 3))
    colours = np.full((len(model.mean), 3), 200.0)
    for row, mask in zip(table, model.regions, strict=True):
        if not mask[model.part("skin")].all():
            colours[mask] = row
    tiles += [_label(shade(model, model.mean, yaw=y, colours=colours), "regions") for y in (0, -60)]
    jaw = np.repeat(model.skin_weights[:, 2:3] * 255, 3, 1).astype(np.float64)
    neck = np.repeat(model.skin_weights[:, 0:1] * 255, 3, 1).astype(np.float64)
    tiles += [_label(shade(model, model.mean, yaw=-60, colours=c), n) for c, n in ((jaw, "jaw"), (neck, "neck"))]
    marked = model.landmarks(model.mean)
    dots = shade(model, model.mean, size=240, span=180, centre=(0, 0, 0))
    for p in marked:
        cv2.circle(dots, (round(120 + p[0] * 240 / 180), round(120 - p[1] * 240 / 180)), 1, (0, 0, 200), -1)
    tiles.append(_label(dots, "landmarks"))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    for k in range(modes):
        for s in (-3, 3):
            c = np.zeros(k + 1)
            c[k] = s
            tiles += [_label(shade(model, model.vertices(c), yaw=y), f"mode {k} {s:+d} sd") for y in (0, -60)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    for name, d in zip(model.direction_names, model.directions, strict=True):
        tiles += [_label(shade(model, model.vertices(s * d), yaw=-25), f"{name} {s:+d}") for s in (-1, 1)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    for k, name in enumerate(model.expression_names):
        e = np.zeros(len(model.expression_names))
        e[k] = 1
        if name in ("tongueOut", "mouthClose"):
            e[model.expression_names.index("jawOpen")] = 1 if name == "mouthClose" else 0.6
        view = shade(model, model.vertices(None, e), yaw=-15, span=200, centre=(0, 0, 60))
        tiles.append(_label(view, name))
    return _grid(tiles, columns)


def layout(model: HeadModel, size: int = 1200) -> NDArray[np.uint8]:
    """The UV atlas as lines."""
    picture = np.full((size, size, 3), 255, np.uint8)
    p = np.stack([model.uv[:, 0], 1 - model.uv[:, 1]], 1) * size
    lines = [np.rint(p[q] * 8).astype(np.int32) for q in model.uv_quads]
    cv2.polylines(picture, lines, True, (120, 90, 60), 1, cv2.LINE_AA, 3)
    return picture


def main() -> None:
    """Write ``model.png`` and ``atlas.png``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/figures"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    model = load_head_model()
    for name, picture in (("model.png", sheet(model)), ("atlas.png", layout(model))):
        cv2.imwrite(str(args.output / name), picture)
        print(args.output / name)


if __name__ == "__main__":
    main()
