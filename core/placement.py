"""A given part in the unit box: what is known of it once it is placed, and where it may stand as a part of something larger."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from core.mesh import Frame, Mesh, quantise
from core.tokenizer import Tokenizer

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)  # longest side of a given part over that of the whole
HEIGHTS = (0.0, 0.5, 1.0)
STEPS = (1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128)  # of the box's side and of the part's size, to look for a better placement
MOST_FACES = 5000  # in all placements together, from which on no further ones are looked at: a large part says more of where it belongs


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
AXES = (("x", -0.5, 0.5), ("y", -0.5, 0.5), ("z", 0.0, 1.0))  # of a placement


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

    def nearby(self, mesh: Mesh, step: float) -> list[Placement]:
        """Those of a mesh a step away: it is larger or smaller by that share of itself, or stands that share of the box to a side."""
        extents = np.ptp(mesh.vertices, axis=0)
        room = 1 - self.share * extents / extents.max()
        found = [replace(self, share=min(1.0, self.share * factor)) for factor in (1 + step, 1 / (1 + step))]
        for (axis, low, high), free in zip(AXES, room.tolist(), strict=True):
            if free > 0:
                found += [replace(self, **{axis: min(high, max(low, getattr(self, axis) + way / free))}) for way in (-step, step)]
        return found


def placements() -> list[Placement]:
    """Where to look first: as large as the whole or smaller, on the floor, half way up and at the top."""
    return [Placement(share, 0.0, 0.0, z) for share, z in product(SHARES, HEIGHTS)]


def likeliest(tokenizer: Tokenizer, mesh: Mesh, costs: Costs) -> Prefix:
    """The part where its faces are likeliest: of all `placements`, and then by ever smaller steps from there (Hooke and Jeeves 1961)."""
    search = Search(tokenizer, mesh, costs)
    best = search.best(placements())
    for step in STEPS:
        while search.goes_on() and (better := search.best([best, *best.nearby(mesh, step)])) != best:
            best = better
    return search.prefix(best)


class Search:
    """What each placement that was looked at costs a part, in nats a face; those in which faces are too small for the grid are none.

    A likelihood on the grid is that of coordinates as fine as its cells. A part that is a smaller share of the whole stands on fewer
    cells and is likelier for that alone, so every coordinate it has counts by how large the cells are.
    """

    def __init__(self, tokenizer: Tokenizer, mesh: Mesh, costs: Costs) -> None:
        self.tokenizer, self.mesh, self.costs = tokenizer, mesh, costs
        self.nats: dict[Placement, float] = {}
        self.faces = len(Prefix(tokenizer, mesh, mesh.frame()).codes)
        grid = quantise(mesh.frame().to_unit(mesh.vertices), tokenizer.levels)
        self.coordinates = sum(len(np.unique(axis)) for axis in grid.T) / len(mesh.faces)

    def prefix(self, placement: Placement) -> Prefix:
        """The part, placed there."""
        return Prefix(self.tokenizer, self.mesh, placement.frame(self.mesh))

    def goes_on(self) -> bool:
        """Whether there may be further placements."""
        return len(self.nats) * self.faces < MOST_FACES

    def best(self, candidates: Sequence[Placement]) -> Placement:
        """The one that costs least, the first of several."""
        prefixes = {placement: self.prefix(placement) for placement in candidates if placement not in self.nats}
        whole = {placement: prefix for placement, prefix in prefixes.items() if len(prefix.codes) == self.faces}
        self.nats |= dict.fromkeys(prefixes, math.inf)
        for placement, nats in zip(whole, self.costs([*whole.values()]) if whole else (), strict=True):
            self.nats[placement] = nats - self.coordinates * math.log(placement.share)
        return min(candidates, key=self.nats.__getitem__)
