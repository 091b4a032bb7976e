"""Grammars: which code may come next. Asked at every step of generation, so that what is drawn is always a mesh.

A vocabulary is a codebook, then `absent` (each code of the corner that a triangle lacks), then `end` (in place of a face's first code).
Ask `allowed()`, draw from what it allows, `push` the draw. When nothing is allowed the sample has run into a corner and is given up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.mesh import IntArray

VERTICES_PER_FACE = 4
ABSENT = -1  # an absent corner's code in a face of codes


class CodeGrammar:
    """What holds for codes of any meaning: only a fourth corner is absent, all of it or nothing, and a mesh ends after a whole face.

    codebook_size, codes_per_vertex: the tokenizer's. given: [faces, codes a face] what the mesh has already.
    """

    def __init__(self, codebook_size: int, codes_per_vertex: int, given: IntArray | None = None) -> None:
        self.absent, self.end = codebook_size, codebook_size + 1
        self.codes_per_vertex = codes_per_vertex
        self.face: list[int] = []
        self.previous: list[int] = []  # the last whole face
        self.begun = given is not None and len(given) > 0
        self.ended = False

    def allowed(self) -> NDArray[np.bool_]:
        """[codebook_size + 2] the codes that may be pushed."""
        vertex, level = divmod(len(self.face), self.codes_per_vertex)
        last = vertex == VERTICES_PER_FACE - 1
        mask = np.ones(self.end + 1, bool)
        mask[self.end] = not self.face and self.begun
        mask[self.absent] = last and (level == 0 or self.face[-1] == ABSENT)
        if last and level > 0 and self.face[-1] == ABSENT:
            mask[: self.absent] = False
        return mask

    def push(self, code: int) -> None:
        """Take the next code, one that `allowed()` allows."""
        if code == self.end:
            self.ended = True
            return
        self.face.append(ABSENT if code == self.absent else code)
        if len(self.face) == VERTICES_PER_FACE * self.codes_per_vertex:
            self.previous, self.face, self.begun = self.face, [], True


class CoordinateGrammar(CodeGrammar):
    """What holds for grid coordinates z, y, x beside: no face repeats a corner or another face, and faces come in canonical order.

    New faces are in order among themselves, and repeat none of those given.
    """

    def __init__(self, codebook_size: int, given: IntArray | None = None) -> None:
        super().__init__(codebook_size, 3, given)
        self.seen = {corners(face) for face in given.tolist()} if given is not None else set()

    def allowed(self) -> NDArray[np.bool_]:
        mask = super().allowed()
        face, at = self.face, len(self.face)
        vertex, level = divmod(at, 3)
        if vertex == 3 and level and face[9] == ABSENT:
            return mask
        low = 0
        if self.previous and face == self.previous[:at]:  # as the face before so far: no lower than it
            low = self.previous[at]
            if vertex == 3 and level == 0 and low != ABSENT:
                mask[self.absent] = False
        if vertex and face[3 * vertex :] == face[:level]:  # later corners lie above the first
            low = max(low, face[level] + (level == 2))
        mask[: max(low, 0)] = False
        if level == 2:
            self.forbid_repeats(mask, vertex)
        elif vertex == 3 and corners(face) in self.seen:
            mask[self.absent] = False
        return mask

    def forbid_repeats(self, mask: NDArray[np.bool_], vertex: int) -> None:
        """Strike out a last coordinate that would repeat a corner of this face, or this face one that has been."""
        face = self.face
        started = tuple(face[-2:])
        for corner in range(vertex):
            if tuple(face[3 * corner : 3 * corner + 2]) == started:
                mask[face[3 * corner + 2]] = False
        if vertex == 3:
            three = corners(face[:9])
            for other in self.seen:
                if len(other) == 4 and three < other:
                    (missing,) = other - three
                    if missing[:2] == started:
                        mask[missing[2]] = False

    def push(self, code: int) -> None:
        super().push(code)
        if not self.face and not self.ended:
            self.seen.add(corners(self.previous))


def corners(face: list[int]) -> frozenset[tuple[int, ...]]:
    """The corners of a face of coordinate codes, whatever their order."""
    return frozenset(tuple(face[i : i + 3]) for i in range(0, len(face), 3) if face[i] != ABSENT)
