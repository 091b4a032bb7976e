"""Pictures of meshes without Blender: a NumPy z-buffer, and Pillow for contact sheets and words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.mesh import Mesh

Floats = NDArray[np.float64]

CELL, LABEL, SHARPER = 160, 50, 2  # pixels of a cell and of its label; samples a pixel and axis
LINES, LETTERS = 4, 26  # of a label
COLOURS = 64  # few, so that a file is small
TURN, TILT = np.radians(30.0), np.radians(22.0)
LIGHT = np.array([-0.35, -0.75, 0.56])
PAPER, INK = (246, 245, 242), (60, 60, 60)


def contact_sheet(cells: Sequence[tuple[Mesh, str]], columns: int) -> Image.Image:
    """Meshes in reading order, each over its label; the cell of a mesh without faces stays empty."""
    sheet = Image.new("RGB", (columns * CELL, -(-len(cells) // columns) * (CELL + LABEL)), PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, (mesh, label) in enumerate(cells):
        x, y = place % columns * CELL, place // columns * (CELL + LABEL)
        if len(mesh.faces):
            sheet.paste(Image.fromarray(picture(mesh, CELL)), (x, y))
        pen.text((x + 5, y + CELL), "\n".join(wrap(label, LETTERS)[:LINES]), INK, spacing=1)
    return sheet


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
