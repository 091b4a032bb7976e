"""Meshes to measure with, the same for both sides. Only numpy is needed here, for both environments import it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CORNERS = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
SIDES = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]])
ROW = 16  # boxes


def boxes(quads: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes in rows on the floor, of so many quads in all: vertices [8 boxes, 3], faces [quads, 4]."""
    count = -(-quads // len(SIDES))
    places = [np.array([2 * (i % ROW), 2 * (i // ROW % ROW), 2 * (i // ROW**2)], np.float32) for i in range(count)]
    vertices = np.concatenate([CORNERS + place for place in places])
    return vertices, np.concatenate([SIDES + len(CORNERS) * i for i in range(count)])[:quads]


def triangles(faces: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The same boxes, each quad cut in two: vertices [8 boxes, 3] in -1..1, faces [faces, 3]."""
    vertices, quads = boxes(-(-faces // 2))
    cut = quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)[:faces]
    return 2 * vertices / vertices.max() - 1, cut
