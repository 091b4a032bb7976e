"""Grammars: which code may come next. Asked at every step of generation, so that what is drawn is always a mesh.

A vocabulary is a codebook, then `absent` (each code of the corner that a triangle lacks), then `end` (in place of a face's first code).
Ask `allowed()`, draw from what it allows, `push` the draw. When nothing is allowed the sample has run into a corner and is given up.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from core.mesh import IntArray

VERTICES_PER_FACE = 4
ABSENT = -1  # an absent corner's code in a face of codes

Corner = tuple[int, ...]  # z, y, x on the grid
Edge = tuple[Corner, Corner]  # from, to
Box = tuple[Corner, Corner]  # its lowest corner and its highest
NO_CORNER: Corner = ()  # a triangle's fourth


class CodeGrammar:
    """What holds for codes of any meaning: only a fourth corner is absent, all of it or nothing, and a mesh ends after a whole face.

    codebook_size, codes_per_vertex, vertices_per_face (3 or 4): the tokenizer's. given: [faces, codes a face] a part that is to be found
    again in the mesh, which is not asked for here: what the mesh lacks of it belongs to it all the same.
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

    def settled(self) -> bool:
        """Whether the next code follows from those before it, so that nothing is said by it."""
        return self.face[-1:] == [ABSENT]

    def leave_open(self) -> None:
        """Between faces: what is open now need not be closed, nor the box be filled."""

    def tell(self, low: Corner, high: Corner) -> None:
        """Between faces: the box between two corners of the grid is the one that the mesh fills, as far as is known."""

    def fill(self, low: Corner, high: Corner) -> None:
        """The same, and from now on nothing new lies outside the box, and the mesh ends only when it reaches every side of it, or is a step
        away."""

    def close_later(self) -> None:
        """Between faces: the next one begins below the lowest corner of what is open, if anything is."""

    def stuck(self) -> Corner:
        """Where the face at hand begins, or else the corner that waits; NO_CORNER if there is none or if that is not known."""
        return NO_CORNER

    def waiting(self) -> Corner:
        """Before a corner: the one that is most likely due there, as symbols; NO_CORNER if none is known that may come."""
        return NO_CORNER

    def expected(self) -> Corner:
        """Before a corner: where a plain face would have it, whether there is a corner or not; NO_CORNER if that is not known."""
        return NO_CORNER

    def next_waiting(self) -> Corner:
        """Before the last corner but one: which one waits for the last; NO_CORNER if none is known."""
        return NO_CORNER

    def mirrored(self) -> Corner:
        """Before a corner: where the mirror image of a face that has been would have it, as symbols; NO_CORNER if none is known."""
        return NO_CORNER

    def unreached(self) -> Box:
        """Of the box that was told the lowest and the highest coordinates that no face has reached, as symbols; `end` for the others."""
        nothing = (self.end,) * self.codes_per_vertex
        return nothing, nothing

    def push(self, code: int) -> None:
        """Take the next code, one that `allowed()` allows."""
        if code == self.end:
            self.ended = True
            return
        self.face.append(ABSENT if code == self.absent else code)
        if len(self.face) == self.vertices_per_face * self.codes_per_vertex:
            self.previous, self.face, self.begun = self.face, [], True

    def push_all(self, faces: Sequence[Sequence[int]]) -> None:
        """Take faces of codes."""
        for code in chain.from_iterable(faces):
            self.push(self.absent if code == ABSENT else code)


class CoordinateGrammar(CodeGrammar):
    """What holds for grid coordinates z, y, x beside: faces come in canonical order, none repeats a corner or another face, each has an
    area, and the mesh closes: every edge lies on two faces, which run along it in opposite directions.

    Those given come as they are, each where it is next in order, and count as there from the start: what they leave open is to be closed,
    and no new face repeats one of them or runs along an edge of theirs in the same direction. So two corners tell a copy from a new face.

    No face to come reaches below the first corner of the face at hand, so at every corner it is known whether the mesh can still close: no
    face may begin above the lower end of an open edge; no second corner may lie above one that an open edge leads to from the first; and
    the edge from the last corner to the first must match an open one, or be one that a later second corner can still match.
    """

    def __init__(self, codebook_size: int, given: IntArray | None = None, vertices_per_face: int = VERTICES_PER_FACE) -> None:
        super().__init__(codebook_size, 3, given, vertices_per_face)
        self.top: Corner = (self.absent - 1,) * 3  # the highest corner of the grid
        self.corners: list[Corner] = []  # of the face so far
        self.last: list[Corner] = []  # the corners of the last new face
        self.completions: dict[frozenset[Corner], list[Corner]] = {}  # by all corners but one, the missing ones of faces that have them
        self.after: dict[Corner, set[Corner]] = defaultdict(set)  # where the edges of faces lead to from a corner
        self.before: dict[Corner, set[Corner]] = defaultdict(set)  # from where they lead to it
        self.missing: dict[Corner, set[Edge]] = {}  # by their lower ends, the edges that new faces must have
        self.span_low, self.span_high = [self.absent] * 3, [-1] * 3  # coordinates of all faces, z, y, x
        self.images: list[list[Corner]] = []  # mirror images of faces, in canonical order, that may still come
        self.ahead: deque[list[int]] = deque(given.tolist() if given is not None else [])  # faces given that are still to come
        for face in self.ahead:
            self.remember(corners(face))
        self.may_copy = False  # whether the face at hand may be the next one given
        self.closes_later = False  # whether the next face begins below what is missing
        self.told: Box | None = None  # that the mesh fills, as far as is known
        self.box: Box | None = None  # that nothing new leaves
        self.to_fill: Box | None = None  # the same, as long as all sides of it are to be reached
        self.begin_corner()

    def begin_corner(self) -> None:
        """Work out what holds for the next corner: within `low` and `high`, or one of `matching`, and none of `barred`."""
        so_far, vertex = self.corners, len(self.corners)
        self.low: Corner = (0, 0, 0)
        self.high: Corner = self.top
        self.matching: set[Corner] = set()
        self.barred: set[Corner] = set()
        self.closes: Corner = NO_CORNER  # the lowest from which a missing edge leads back to the first corner
        coming = corners(self.ahead[0])[:2] if self.ahead else []
        if vertex == 0:
            self.low, self.high = (self.last or [self.low])[0], min(self.missing, default=self.top)
            if self.closes_later and self.missing:
                self.high = self.next_below(self.high)
            if self.to_fill and (bottom := self.to_fill[0][0] + 1) < self.span_low[0]:  # no later face reaches lower
                self.high = min(self.high, (bottom, self.absent - 1, self.absent - 1))
            self.may_copy = bool(coming) and coming[0] <= self.high and coming[1] <= self.due(coming[0])
            self.high = min([self.high, *coming[:1]])
            return
        first = so_far[0]
        self.closes = self.leading_to(first)
        self.low, self.barred = self.next_to(first), {*so_far, *self.after[so_far[-1]]}
        if vertex == 1:
            if self.last and first == self.last[0]:
                self.low = self.next_to(self.last[1])
            self.high = min([self.due(first), *(coming[1:] if coming[:1] == so_far else [])])
        elif vertex == self.vertices_per_face - 1:
            self.low = self.next_to(so_far[1])
            self.matching = {corner for corner in self.after[first] - self.before[first] if corner > first}
            self.barred |= self.before[first].union(self.completions.get(frozenset(so_far), ()))

    def due(self, first: Corner) -> Corner:
        """The lowest corner to which an edge from `first` is missing, or the highest of all."""
        return min((end for start, end in self.missing.get(first, ()) if start == first), default=self.top)

    def leave_open(self) -> None:
        self.missing.clear()
        self.to_fill = None
        self.begin_corner()

    def tell(self, low: Corner, high: Corner) -> None:
        self.told = low, high

    def fill(self, low: Corner, high: Corner) -> None:
        self.told = self.box = self.to_fill = low, high
        self.begin_corner()

    def close_later(self) -> None:
        self.closes_later = True
        self.begin_corner()

    def stuck(self) -> Corner:
        return (self.corners or [self.waiting()])[0]

    def waiting(self) -> Corner:
        """At the first corner the lowest that is a missing edge's lower end; at the second the lowest that one leads to from the first; at
        the last the lowest from which one leads back to the first, or else to which one leads from the corner before. In between the lowest
        from which one leads to the `next_waiting` one, or else to which one leads from the second, or else that corner. A fourth corner is
        absent if the third leads back to the first. The next face given waits too; once two corners are its own, alone.

        What is missing below the last face stays open, in meshes that were not drawn here, and does not wait.
        """
        so_far, vertex = self.corners, len(self.corners)
        is_copy = bool(self.ahead) and self.ahead[0][: len(self.face)] == self.face
        coming = self.ahead[0][3 * vertex : 3 * vertex + 3] if is_copy else []
        if vertex >= 2 and is_copy:
            return tuple(self.absent if code == ABSENT else code for code in coming)
        copy = [tuple(coming)] if is_copy else []
        if vertex == 0:
            return min([*copy, *(corner for corner in self.missing if corner >= (self.last or [corner])[0])], default=NO_CORNER)
        due = self.lowest(self.before[so_far[-1]] - self.after[so_far[-1]])
        if vertex == 1:
            return min(filter(None, [*copy, due]), default=NO_CORNER)
        if vertex == 3 and so_far[0] in self.before[so_far[-1]] - self.after[so_far[-1]] and self.fits_three():
            return (self.absent,) * 3
        if vertex == self.vertices_per_face - 1:
            return self.first_fitting((self.closes, NO_CORNER), (due, NO_CORNER))
        return self.first_fitting((self.closes and self.leading_to(self.closes), self.closes), (due, self.closes), (self.closes, NO_CORNER))

    def next_waiting(self) -> Corner:
        """The lowest from which a missing edge leads back to the first corner: the fourth, or the third of a triangle."""
        return self.closes if len(self.corners) == 2 == self.vertices_per_face - 2 else NO_CORNER

    def expected(self) -> Corner:
        """The third and the fourth corner where they make the face a parallelogram (Touma and Gotsman 1998), if that is on the grid; the
        third only where something waits for the fourth."""
        if self.vertices_per_face == 3 or len(self.corners) < 2:
            return NO_CORNER
        first, second, *third = self.corners
        opposite = (first, *third) if third else (second, self.next_waiting())
        between = second if third else first
        if NO_CORNER in opposite:
            return NO_CORNER
        corner = tuple(a + b - c for a, b, c in zip(*opposite, between, strict=True))
        on_grid = all(0 <= code < self.absent for code in corner)
        return self.first_fitting((corner, NO_CORNER if third else self.closes)) if on_grid else NO_CORNER

    def mirrored(self) -> Corner:
        """The next corner of the first mirror image, left for right or front for back in the middle of the grid, that begins like the face
        so far and comes behind the last one. Of all that is given the images are known from the start."""
        so_far = self.corners
        behind = [self.last[0], self.next_to(self.last[1])] if self.last else []
        at = bisect_left(self.images, max(so_far, behind))
        if at == len(self.images) or self.images[at][: len(so_far)] != so_far:
            return NO_CORNER
        corner, then = [*self.images[at][len(so_far) :], NO_CORNER, NO_CORNER][:2]
        if len(so_far) == 3 and not corner:
            return (self.absent,) * 3 if self.fits_three() else NO_CORNER
        return self.first_fitting((corner, then))

    def unreached(self) -> Box:
        if self.told is None:
            return super().unreached()
        (low, high), end = self.told, self.end
        below = tuple(side if reached > side else end for side, reached in zip(low, self.span_low, strict=True))
        return below, tuple(side if reached < side else end for side, reached in zip(high, self.span_high, strict=True))

    def first_fitting(self, *hints: tuple[Corner, Corner]) -> Corner:
        """The first of these corners that fits; behind each stands the one that would come next, if that is known."""
        return next((corner for corner, then in hints if corner and self.fits(corner, then)), NO_CORNER)

    def fits(self, corner: Corner, then: Corner) -> bool:
        """Whether a new corner may come here, as far as that is known from the faces that have been and from the box: no edge and no face
        would be there twice. then: a fourth corner that would come behind a third one."""
        so_far = self.corners
        if corner in self.barred or not self.is_inside(corner):
            return False
        if len(so_far) == self.vertices_per_face - 1:
            return corner >= self.low or corner in self.matching
        if len(so_far) < 2 or not then:
            return True
        repeated = then in self.completions.get(frozenset([*so_far, corner]), ())
        return not (repeated or then in self.after[corner] or so_far[0] in self.after[then])

    def fits_three(self) -> bool:
        """The same of three corners as a whole face."""
        first, second, third = self.corners
        closes = third in self.matching or (third > second and third not in self.before[first])
        return closes and NO_CORNER not in self.completions.get(frozenset(self.corners), ())

    def is_inside(self, corner: Corner) -> bool:
        """Whether a corner lies in the box, if there is one."""
        return self.box is None or all(low <= code <= high for low, code, high in zip(self.box[0], corner, self.box[1], strict=True))

    def leading_to(self, corner: Corner) -> Corner:
        """The lowest from which a missing edge leads to this one."""
        return self.lowest(self.after[corner] - self.before[corner])

    def lowest(self, corners: set[Corner]) -> Corner:
        """The lowest of those that may still come in this face."""
        return min((corner for corner in corners if corner > self.corners[0] and corner not in self.corners), default=NO_CORNER)

    def next_to(self, corner: Corner) -> Corner:
        """The lowest corner above this one."""
        z, y, x = corner
        top = self.absent - 1
        return (z, y, x + 1) if x < top else (z, y + 1, 0) if y < top else (z + 1, 0, 0)

    def next_below(self, corner: Corner) -> Corner:
        """The highest corner below this one; one that no code has for the lowest of all."""
        z, y, x = corner
        top = self.absent - 1
        return (z, y, x - 1) if x else (z, y - 1, top) if y else (z - 1, top, top)

    def may_be_a_copy(self) -> bool:
        """Whether the face so far is how the next one given begins."""
        return self.may_copy and self.face == self.ahead[0][: len(self.face)]

    def settled(self) -> bool:
        return super().settled() or (len(self.face) >= 6 and self.may_be_a_copy())

    def allowed(self) -> NDArray[np.bool_]:
        if not self.may_be_a_copy():
            return self.allowed_anew()
        mask = np.zeros(self.end + 1, bool) if self.settled() else self.allowed_anew()
        code = self.ahead[0][len(self.face)]
        mask[self.absent if code == ABSENT else code] = True
        return mask

    def allowed_anew(self) -> NDArray[np.bool_]:
        """[codebook_size + 2] the codes of new faces that may be pushed."""
        mask = super().allowed()
        vertex, level = divmod(len(self.face), 3)
        if vertex == 3 and level and self.face[9] == ABSENT:
            return mask
        if vertex == 0 and level == 0 and (self.missing or self.ahead or not self.is_full()):
            mask[self.end] = False
        elif vertex == 3 and level == 0:
            mask[self.absent] = self.may_be_a_triangle()
        started = tuple(self.face[3 * vertex :])
        mask[: self.absent] = started > self.low[:level]
        if started == self.low[:level]:
            mask[self.low[level] : self.absent] = True
        if started == self.high[:level]:
            mask[self.high[level] + 1 : self.absent] = False
        for corner in self.matching:
            if corner[:level] == started:
                mask[corner[level]] = True
        if level == 2:
            for corner in self.barred:
                if corner[:2] == started:
                    mask[corner[2]] = False
        if level and vertex == self.vertices_per_face - 1:
            mask[: self.absent] &= ~self.leads_to_no_area(vertex, level)
        if self.box:
            mask[: self.box[0][level]] = mask[self.box[1][level] + 1 : self.absent] = False
        return mask

    def is_full(self) -> bool:
        """Whether every side of the box that is to be filled is reached, or a step away."""
        if self.to_fill is None:
            return True
        low, high = self.to_fill
        reached_low = all(one <= side + 1 for one, side in zip(self.span_low, low, strict=True))
        return reached_low and all(one >= side - 1 for one, side in zip(self.span_high, high, strict=True))

    def may_be_a_triangle(self) -> bool:
        """Whether the face may be left with the three corners that it has."""
        return self.fits_three() and not flat(self.face[:8], np.array(self.face[8:])).all()

    def leads_to_no_area(self, vertex: int, level: int) -> NDArray[np.bool_]:
        """[codebook_size] which last coordinates leave this face without area; which next to last ones do, whatever comes then."""
        face, codes = self.face, np.arange(self.absent)
        if level == 2:
            return flat(face, codes)
        if face[3 * vertex - 3 : 3 * vertex - 1] != face[:2]:  # the area depends on the last coordinate
            return np.zeros(len(codes), bool)
        return np.array([flat([*face, code], codes[:1]).all() for code in codes.tolist()])

    def push(self, code: int) -> None:
        super().push(code)
        if self.ended:
            return
        whole = self.face or self.previous
        if len(whole) % 3 == 0 and whole[-1] != ABSENT:
            self.corners.append(tuple(whole[-3:]))
        if not self.face:
            if self.ahead and self.previous == self.ahead[0]:
                self.ahead.popleft()
            else:
                self.remember(self.corners)
            self.last, self.corners, self.closes_later = self.corners, [], False
        if len(whole) % 3 == 0:
            self.begin_corner()

    def remember(self, face: list[Corner]) -> None:
        """Note a face, which may not come again, and its edges, which may not either."""
        for axis, coordinates in enumerate(zip(*face, strict=True)):
            self.span_low[axis] = min(self.span_low[axis], *coordinates)
            self.span_high[axis] = max(self.span_high[axis], *coordinates)
        whole = frozenset(face)
        if len(face) == self.vertices_per_face - 1:
            self.completions.setdefault(whole, []).append(NO_CORNER)
        else:
            for corner in face:
                self.completions.setdefault(whole - {corner}, []).append(corner)
        for start, end in zip(face, face[1:] + face[:1], strict=True):
            if end in self.after[start]:
                continue
            del self.images[bisect_left(self.images, [start, end]) : bisect_left(self.images, [start, self.next_to(end)])]
            self.after[start].add(end)
            self.before[end].add(start)
            missing = self.missing.setdefault(min(start, end), set())
            if (start, end) in missing:
                missing.remove((start, end))
            elif start not in self.after[end]:
                missing.add((end, start))
            if not missing:
                del self.missing[min(start, end)]
        for image in mirror_images(face, self.absent - 1):
            if image[1] not in self.after.get(image[0], ()):
                insort(self.images, image)


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


def mirror_images(face: list[Corner], top: int) -> list[list[Corner]]:
    """A face seen in a mirror that stands upright in the middle of a grid from 0 to `top`: left for right, and front for back."""
    images: list[list[Corner]] = [[(z, y, top - x) for z, y, x in reversed(face)], [(z, top - y, x) for z, y, x in reversed(face)]]
    return [image[first:] + image[:first] for image in images for first in [image.index(min(image))]]


def corners(face: list[int]) -> list[Corner]:
    """The corners of a face of coordinate codes, in order."""
    return [tuple(face[i : i + 3]) for i in range(0, len(face), 3) if face[i] != ABSENT]
