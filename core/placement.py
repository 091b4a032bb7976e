"""A given part in the unit box: what is known of it once it is placed, and where it may stand as a part of something larger."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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


Costs = Callable[[list[Prefix]], Sequence[float]]  # nats a face of each


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


def likeliest(tokenizer: Tokenizer, mesh: Mesh, costs: Costs) -> Prefix:
    """The part where its faces are likeliest: first of all `placements`, then of those near the best, then of those nearer to that."""
    best, prefix = cheapest(tokenizer, mesh, placements(), costs)
    for step in STEPS:
        best, prefix = cheapest(tokenizer, mesh, best.nearby(step), costs)
    return prefix


def cheapest(tokenizer: Tokenizer, mesh: Mesh, candidates: list[Placement], costs: Costs) -> tuple[Placement, Prefix]:
    """Of some placements, without those in which faces are too small for the grid, that where the part's faces are likeliest.

    A likelihood on the grid is that of coordinates as fine as its cells. A part that is a smaller share of the whole stands on fewer
    cells and is likelier for that alone, so every coordinate it has counts by how large the cells are.
    """
    pairs = [(placement, Prefix(tokenizer, mesh, placement.frame(mesh))) for placement in candidates]
    most = max(len(prefix.codes) for _, prefix in pairs)
    whole = [(placement, prefix) for placement, prefix in pairs if len(prefix.codes) == most]
    grid = quantise(mesh.frame().to_unit(mesh.vertices), tokenizer.levels)
    coordinates = sum(len(np.unique(axis)) for axis in grid.T) / len(mesh.faces)
    nats = costs([prefix for _, prefix in whole])
    return whole[int(np.argmin([cost - coordinates * math.log(placement.share) for cost, (placement, _) in zip(nats, whole, strict=True)]))]
