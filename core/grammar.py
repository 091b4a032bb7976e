"""Grammars: which code may come next. Asked at every step of generation, so that what is drawn is always a mesh.

A vocabulary is a codebook, then `absent` (each code of the corner that a triangle lacks), then `end` (in place of a face's first code).
Ask `allowed()`, draw from what it allows, `push` the draw. When nothing is allowed the sample has run into a corner and is given up.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.mesh import IntArray

VERTICES_PER_FACE = 4
ABSENT = -1  # an absent corner's code in a face of codes

Corner = tuple[int, ...]  # z, y, x on the grid
NO_CORNER: Corner = ()  # a triangle's fourth


class CodeGrammar:
    """What holds for codes of any meaning: only a fourth corner is absent, all of it or nothing, and a mesh ends after a whole face.

    codebook_size, codes_per_vertex, vertices_per_face (3 or 4): the tokenizer's. given: [faces, codes a face] what the mesh has already.
    """

    def __init__(
        self, codebook_size: int, codes_per_vertex: int, given: IntArray | None = None, vertices_per_face: int = VERTICES_PER_FACE
    ) -> None:
        self.absent, self.end = codebook_size, codebook_size + 1
        self.codes_per_vertex, self.vertices_per_face = codes_per_vertex, vertices_per_face
        self.face: list[int] = []
        self.previous: list[int] = []  # the last whole face
        self.begun = given is not None and len(given) > 0
        self.ended = False

    def allowed(self) -> NDArray[np.bool_]:
        """[codebook_size + 2] the codes that may be pushed."""
        vertex, level = divmod(len(self.face), self.codes_per_vertex)
        fourth = vertex == 3
        mask = np.ones(self.end + 1, bool)
        mask[self.end] = not self.face and self.begun
        mask[self.absent] = fourth and (level == 0 or self.face[-1] == ABSENT)
        if fourth and level > 0 and self.face[-1] == ABSENT:
            mask[: self.absent] = False
        return mask

    def push(self, code: int) -> None:
        """Take the next code, one that `allowed()` allows."""
        if code == self.end:
            self.ended = True
            return
        self.face.append(ABSENT if code == self.absent else code)
        if len(self.face) == self.vertices_per_face * self.codes_per_vertex:
            self.previous, self.face, self.begun = self.face, [], True


class CoordinateGrammar(CodeGrammar):
    """What holds for grid coordinates z, y, x beside: no face repeats a corner or another face, each has an area, and faces come in
    canonical order.

    New faces are in order among themselves, and repeat none of those given. A code costs the same however many faces there are: what
    would make a face that has been out of all corners but the last is looked up.
    """

    def __init__(self, codebook_size: int, given: IntArray | None = None, vertices_per_face: int = VERTICES_PER_FACE) -> None:
        super().__init__(codebook_size, 3, given, vertices_per_face)
        self.tied = False  # whether the face so far is the face before it
        self.completions: dict[frozenset[Corner], list[Corner]] = {}  # by all corners but one, the missing ones of faces that have them
        for face in given.tolist() if given is not None else []:
            self.remember(face)

    def allowed(self) -> NDArray[np.bool_]:
        mask = super().allowed()
        face, at = self.face, len(self.face)
        vertex, level = divmod(at, 3)
        if vertex == 3 and level and face[9] == ABSENT:
            return mask
        low = 0
        if self.tied:  # no lower than the face before
            low = self.previous[at]
            if vertex == 3 and level == 0 and low != ABSENT:
                mask[self.absent] = False
        if vertex and face[3 * vertex :] == face[:level]:  # later corners lie above the first
            low = max(low, face[level] + (level == 2))
        mask[: max(low, 0)] = False
        if level == 2:
            self.forbid_repeats(mask, vertex)
        if level and vertex == self.vertices_per_face - 1:
            mask[: self.absent] &= ~self.leads_to_no_area(vertex, level)
        elif vertex == 3 and level == 0:
            lacks_area = flat(face[:8], np.array(face[8:])).all()
            if lacks_area or NO_CORNER in self.completions.get(corners(face), ()):
                mask[self.absent] = False
        return mask

    def leads_to_no_area(self, vertex: int, level: int) -> NDArray[np.bool_]:
        """[codebook_size] which last coordinates leave this face without area; which next to last ones do, whatever comes then."""
        face, codes = self.face, np.arange(self.absent)
        if level == 2:
            return flat(face, codes)
        if face[3 * vertex - 3 : 3 * vertex - 1] != face[:2]:  # the area depends on the last coordinate
            return np.zeros(len(codes), bool)
        return np.array([flat([*face, code], codes[:1]).all() for code in codes.tolist()])

    def forbid_repeats(self, mask: NDArray[np.bool_], vertex: int) -> None:
        """Strike out a last coordinate that would repeat a corner of this face, or this face one that has been."""
        face = self.face
        started = tuple(face[-2:])
        for at in range(0, 3 * vertex, 3):
            if face[at] == started[0] and face[at + 1] == started[1]:
                mask[face[at + 2]] = False
        if vertex == self.vertices_per_face - 1:
            for corner in self.completions.get(corners(face[: 3 * vertex]), ()):
                if corner[:2] == started:
                    mask[corner[2]] = False

    def push(self, code: int) -> None:
        at = len(self.face)
        super().push(code)
        if self.ended:
            return
        if self.face:
            self.tied = self.tied and self.face[at] == self.previous[at]
        else:
            self.tied = True
            self.remember(self.previous)

    def remember(self, face: list[int]) -> None:
        """Note a face that may not come again."""
        whole = corners(face)
        if len(whole) == self.vertices_per_face - 1:
            self.completions.setdefault(whole, []).append(NO_CORNER)
        elif len(whole) == self.vertices_per_face:
            for corner in whole:
                self.completions.setdefault(whole - {corner}, []).append(corner)


def flat(face: list[int], last: IntArray) -> NDArray[np.bool_]:
    """Which values [n] of its last coordinate leave a face without area. face: its other coordinates, z, y, x of each corner.

    Twice the area is the length of a sum of cross products of the corners' places from the first one.
    """
    az, ay, ax, *others = face
    places = [(others[i] - az, others[i + 1] - ay, others[i + 2] - ax) for i in range(0, len(others) - 2, 3)]
    normal = [0, 0, 0]
    for (pz, py, px), (qz, qy, qx) in pairwise(places):
        normal = [normal[0] + py * qx - px * qy, normal[1] + px * qz - pz * qx, normal[2] + pz * qy - py * qz]
    (pz, py, px), qz, qy, x = places[-1], others[-2] - az, others[-1] - ay, last - ax
    if normal[2] + pz * qy - py * qz:
        return np.zeros(len(last), bool)
    none: NDArray[np.bool_] = (normal[0] + py * x - px * qy == 0) & (normal[1] + px * qz - pz * x == 0)
    return none


def corners(face: list[int]) -> frozenset[Corner]:
    """The corners of a face of coordinate codes, whatever their order."""
    return frozenset(tuple(face[i : i + 3]) for i in range(0, len(face), 3) if face[i] != ABSENT)
