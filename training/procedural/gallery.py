"""A contact sheet of every family: numpy z-buffer, Pillow for the picture and the words."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from textwrap import fill

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.mesh import Mesh
from training.procedural.parts import Floats
from training.procedural.registry import FAMILIES, generate

CELL, LABEL, SHARPER = 160, 34, 2  # pixels of a cell and of its label; samples a pixel and axis
COLOURS = 48  # few, so that the file is small
TURN, TILT = np.radians(30.0), np.radians(22.0)
LIGHT = np.array([-0.35, -0.75, 0.56])
PAPER = (246, 245, 242)


def draw_gallery(path: Path, per_family: int, columns: int) -> None:
    """The first seeds of every family, in reading order, each object labelled with a caption and its number of faces."""
    places = [(name, seed) for name in FAMILIES for seed in range(per_family)]
    sheet = Image.new("RGB", (columns * CELL, -(-len(places) // columns) * (CELL + LABEL)), PAPER)
    words = ImageDraw.Draw(sheet)
    for place, (name, seed) in enumerate(places):
        sample = generate(name, seed)
        mesh = sample.mesh.canonical()
        corner = place % columns * CELL, place // columns * (CELL + LABEL)
        sheet.paste(Image.fromarray(picture(mesh, CELL)), corner)
        label = f"{sample.captions[seed % 4]} ({len(mesh.faces)})"
        words.text((corner[0] + 6, corner[1] + CELL), fill(label, CELL // 6), fill=(60, 60, 60))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(COLOURS).save(path, optimize=True)


def picture(mesh: Mesh, size: int) -> NDArray[np.uint8]:
    """[size, size, 3] the mesh from the front, right and above, in parallel projection, shaded by its normals, edges darker."""
    pixels = size * SHARPER
    centred = mesh.vertices.astype(np.float64) - (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
    x = centred[:, 0] * np.cos(TURN) + centred[:, 1] * np.sin(TURN)
    away = centred[:, 1] * np.cos(TURN) - centred[:, 0] * np.sin(TURN)
    up, away = centred[:, 2] * np.cos(TILT) + away * np.sin(TILT), away * np.cos(TILT) - centred[:, 2] * np.sin(TILT)
    scale = 0.9 * pixels / max(1.0, float(np.ptp(x)), float(np.ptp(up)))
    middle = (up.min() + up.max()) / 2
    x -= (x.min() + x.max()) / 2
    screen = np.stack([pixels / 2 + x * scale, pixels / 2 - (up - middle) * scale, away * scale], 1)
    colours, depth = np.full((pixels, pixels, 3), PAPER, np.float64), np.full((pixels, pixels), np.inf)
    for face in mesh.quads().faces.tolist():
        corners = [index for index in face if index >= 0]
        shade = 0.55 + 0.45 * float(normal(mesh.vertices[corners]) @ LIGHT)
        for second, third in pairwise(corners[1:]):
            fill_triangle(colours, depth, screen[[corners[0], second, third]], np.array([150.0, 180.0, 205.0]) * shade + 25)
    smooth: NDArray[np.uint8] = colours.reshape(size, SHARPER, size, SHARPER, 3).mean((1, 3)).clip(0, 255).astype(np.uint8)
    return smooth


def fill_triangle(colours: Floats, depth: Floats, corners: Floats, colour: Floats) -> None:
    """Colour the pixels of a triangle [3, (x, y, depth)] that nothing nearer has taken."""
    low = np.maximum(np.floor(corners[:, :2].min(0)), 0).astype(int)
    high = np.minimum(np.ceil(corners[:, :2].max(0)) + 1, len(depth)).astype(int)
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners.tolist()
    twice = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if abs(twice) < 1e-9:
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    b = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / twice
    c = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / twice
    distance = az + b * (bz - az) + c * (cz - az)
    window = slice(low[1], high[1]), slice(low[0], high[0])
    nearer = (b >= 0) & (c >= 0) & (b + c <= 1) & (distance < depth[window])
    depth[window][nearer] = distance[nearer]
    colours[window][nearer] = colour


def normal(corners: NDArray[np.float32]) -> Floats:
    """The unit normal of a polygon [corners, 3], which may be bent."""
    following = np.roll(corners, -1, 0)
    total = np.cross(corners, following).sum(0).astype(np.float64)
    unit: Floats = total / max(float(np.linalg.norm(total)), 1e-12)
    return unit
