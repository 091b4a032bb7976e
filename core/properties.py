"""What a mesh may be asked to be, beside what its text says: its number of faces, its proportions, triangles or quads.

Each may be left open. In training each is dropped at random, so that the model knows what to do without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import MeshGPTError

POLYGONS = ("triangles", "quads")
NUMBERS = 5  # of a mesh's properties: faces, extents x, y, z, polygons
KINDS = ((0, 1), (1, 4), (4, 5))  # which of the numbers belong together
EXTENTS = slice(1, 4)  # which are the extents


@dataclass(frozen=True)
class Properties:
    """Properties of a whole mesh, None where open.

    faces: about how many, 1 or more. extents: its sizes along x, y and z; only their proportions count. polygons: "triangles" if it has no
    quads, "quads" if at least half of its faces are quads.
    Raises MeshGPTError (bad_request) for a value that is none.
    """

    faces: int | None = None
    extents: tuple[float, float, float] | None = None
    polygons: str | None = None

    def __post_init__(self) -> None:
        if self.faces is not None and (isinstance(self.faces, bool) or not isinstance(self.faces, int) or self.faces < 1):
            raise bad_property(f"faces is {self.faces!r:.40}", "give a whole number from 1 on")
        if self.extents is not None and not are_extents(self.extents):
            raise bad_property(f"extents is {self.extents!r:.60}", "give three sizes, none below 0 and one at least above it")
        if self.polygons is not None and self.polygons not in POLYGONS:
            raise bad_property(f"polygons is {self.polygons!r:.40}", f"use {' or '.join(POLYGONS)}")

    @classmethod
    def of(cls, grid: NDArray[np.int16]) -> Properties:
        """Those of a mesh on the grid, [faces, 12] with -1 for an absent corner."""
        present = grid.reshape(-1, 3)[grid.reshape(-1, 3)[:, 0] >= 0]
        z, y, x = np.ptp(present, axis=0).tolist()
        quads = (grid[:, -1] >= 0).mean()
        return cls(len(grid), (x, y, z), "triangles" if quads == 0 else "quads" if quads >= 0.5 else None)

    def numbers(self) -> list[float]:
        """[5] as the transformer reads them, each in 0..1 or a little above; NaN where open."""
        longest = max(self.extents) if self.extents else 1.0
        return [
            math.nan if self.faces is None else math.log2(self.faces) / 10,
            *(size / longest for size in self.extents or (math.nan,) * 3),
            math.nan if self.polygons is None else float(POLYGONS.index(self.polygons)),
        ]


def are_extents(sizes: Sequence[object]) -> bool:
    """Whether they are three sizes of a box that is not a point."""
    numbers = [float(size) for size in sizes if isinstance(size, int | float) and math.isfinite(size) and size >= 0]
    return len(sizes) == len(numbers) == 3 and max(numbers) > 0


def bad_property(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_request")
