"""A given part in the unit box: what is known of it once it is placed, and where it may stand as a part of something larger."""

from __future__ import annotations

import numpy as np

from core.mesh import Frame, Mesh, quantise
from core.tokenizer import Tokenizer

PLACEMENT_SCALES = (0.8, 0.65, 0.5)  # longest side of a given part over that of the whole


class Prefix:
    """A given part, placed. codes, faces: its faces, in order and as a set. vertices: its own coordinates by grid point, so that new faces
    join it exactly.
    """

    def __init__(self, tokenizer: Tokenizer, mesh: Mesh, frame: Frame) -> None:
        self.mesh, self.frame = mesh, frame
        self.codes = tokenizer.encode(mesh, frame)
        self.faces = set(map(tuple, self.codes.tolist()))
        grid = quantise(frame.to_unit(mesh.vertices), tokenizer.levels)
        self.vertices = dict(zip(map(tuple, grid.tolist()), mesh.vertices, strict=True))


def placements(tight: Frame) -> list[Frame]:
    """Boxes that hold what fills the box `tight`: of the same size, and larger with the part on the floor, at the top or at a side."""
    frames = [tight]
    for share in PLACEMENT_SCALES:
        scale = tight.scale / share
        room = scale - tight.scale
        for x, y, z in [(0, 0, 0), (0, 0, 1), (0, 0, 0.5), (-0.5, 0, 0), (0.5, 0, 0), (0, -0.5, 0), (0, 0.5, 0)]:
            origin = np.array(tight.origin) - np.array([x, y, z]) * room
            frames.append(Frame(tuple(origin.tolist()), scale))
    return frames
