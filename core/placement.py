"""A given part in the unit box: what is known of it once it is placed, and where it may stand as a part of something larger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from core.mesh import Frame, Mesh, quantise
from core.tokenizer import Tokenizer

SHARES = (1.0, 0.8, 0.6, 0.45)  # longest side of a given part over that of the whole
HEIGHTS = (0.0, 0.5, 1.0)
STEPS = (0.25, 0.125)  # by which a placement is changed to find a better one


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


@dataclass(frozen=True)
class Placement:
    """share: of the box's side that the longest side of a part takes, up to 1. x, y: -0.5..0.5 and z: 0..1, where in the room that is left
    along each axis it stands: 0 in the middle of x and y, and on the floor.
    """

    share: float
    x: float
    y: float
    z: float

    def frame(self, mesh: Mesh) -> Frame:
        """The box of the whole around the part."""
        low, high = mesh.vertices.min(0).astype(float), mesh.vertices.max(0).astype(float)
        scale = float((high - low).max()) / self.share
        floor = np.array([*(low + high)[:2] / 2, low[2]]) - np.array([self.x, self.y, self.z]) * (scale - (high - low))
        return Frame(tuple(floor.tolist()), scale)

    def nearby(self, step: float) -> list[Placement]:
        """Itself, and those a step away: larger or smaller by that share of itself, or to a side."""
        moves = [self, *(replace(self, share=min(1.0, self.share * (1 + sign * step))) for sign in (-1, 1))]
        for axis, low, high in (("x", -0.5, 0.5), ("y", -0.5, 0.5), ("z", 0.0, 1.0)):
            moves += [replace(self, **{axis: min(high, max(low, getattr(self, axis) + sign * step))}) for sign in (-1, 1)]
        return moves


def placements() -> list[Placement]:
    """Where to look first: as large as the whole or smaller, on the floor, half way up and at the top."""
    return [Placement(share, 0.0, 0.0, z) for share, z in product(SHARES, HEIGHTS)]


def coordinates_of(mesh: Mesh, levels: int) -> int:
    """How many different coordinates a mesh has on a grid over it, of its three axes together."""
    grid = quantise(mesh.frame().to_unit(mesh.vertices), levels)
    return sum(len(np.unique(axis)) for axis in grid.T)
