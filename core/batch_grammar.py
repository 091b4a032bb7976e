"""Grammars of many rows at once, as tensors: what core.grammar allows, worked out where the logits are and without asking the host.

All rows are at the same code of their face, so that place is a plain number and everything else a tensor of fixed shape. A row that has
ended goes on being asked and pushed to, and what it is then told means nothing.

A corner is one number: its coordinates are the digits of it, in a base one above the grid, so that a bound is one comparison and "one
above" never carries. Letters: r rows, v corners of a face, c vocabulary, n any number.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from core.grammar import ABSENT, NO_CORNER, CodeGrammar, CoordinateGrammar, Corner

T = TypeVar("T")

ANYTHING = 2**62  # above every corner, and its negative below whatever may come of one
NO_BOUND = -1  # below every corner
NEVER = -2  # no corner at all
NOT_NEGATIVE = 2**63 - 1  # a mask that makes negative numbers very large


class BatchGrammar:
    """CodeGrammar for `rows` rows. faces: room for all faces of a mesh, the given ones included."""

    def __init__(
        self, rows: int, faces: int, codebook_size: int, codes_per_vertex: int, vertices_per_face: int, device: torch.device
    ) -> None:
        self.absent, self.end = codebook_size, codebook_size + 1
        self.k, self.v = codes_per_vertex, vertices_per_face
        self.all_columns = column = torch.arange(codebook_size + 2, device=device)
        self.codes, self.only_absent = column < self.absent, column == self.absent
        self.codes_or_absent = column <= self.absent
        self.first = self.codes.repeat(rows, 1)  # [r, c] what may begin a face
        self.lacks = torch.zeros(rows, dtype=torch.bool, device=device)  # who is at a fourth corner that is absent
        self.nothing_waits = torch.full((rows, codes_per_vertex), self.end, device=device)

    def load(self, grammars: Sequence[CodeGrammar]) -> None:
        """Stand where these stand, between faces; rows beyond them are like the first."""
        begun = [grammar.begun for grammar in padded(grammars, len(self.first))]
        self.first[:, self.end] = torch.tensor(begun, device=self.first.device)

    def allowed(self, vertex: int, level: int, faces: int) -> Tensor:
        """[r, c] or [c], True for the codes that may be pushed. faces: at least how many there are, the given ones included."""
        if vertex == 0 and level == 0:
            return self.first
        if vertex < 3:
            return self.codes
        return self.codes_or_absent if level == 0 else torch.where(self.lacks[:, None], self.only_absent, self.codes)

    def settled(self, vertex: int) -> Tensor:
        """[r] whether the next code of that corner follows from those before it."""
        return self.lacks

    def waiting(self, vertex: int) -> Tensor:
        """[r, k] CodeGrammar.waiting at that corner, `end` for nothing. Asked after what is allowed as its first code."""
        return self.nothing_waits

    def expected(self, vertex: int) -> Tensor:
        """[r, k] CodeGrammar.expected, in the same way."""
        return self.nothing_waits

    def next_waiting(self, vertex: int) -> Tensor:
        """[r, k] CodeGrammar.next_waiting, in the same way."""
        return self.nothing_waits

    def mirrored(self, vertex: int) -> Tensor:
        """[r, k] CodeGrammar.mirrored, in the same way."""
        return self.nothing_waits

    def unreached(self) -> tuple[Tensor, Tensor]:
        """[r, k] each: CodeGrammar.unreached."""
        return self.nothing_waits, self.nothing_waits

    def hints(self, vertex: int) -> Tensor:
        """[r, 6, k] core.hints.hints."""
        corners = self.waiting(vertex), self.expected(vertex), self.next_waiting(vertex), self.mirrored(vertex)
        return torch.stack([*corners, *self.unreached()], 1)

    def push(self, vertex: int, level: int, symbols: Tensor) -> None:
        """Take the codes [r] that were drawn."""
        if vertex == 3 and level == 0:
            torch.eq(symbols, self.absent, out=self.lacks)
        if vertex == self.v - 1 and level == self.k - 1:
            self.first[:, self.end].fill_(True)
            self.lacks.fill_(False)


class BatchCoordinateGrammar(BatchGrammar):
    """CoordinateGrammar for `rows` rows."""

    def __init__(self, rows: int, faces: int, codebook_size: int, vertices_per_face: int, device: torch.device) -> None:
        super().__init__(rows, faces, codebook_size, 3, vertices_per_face, device)
        self.base = codebook_size + 1
        self.weights = [self.base**2, self.base, 1]  # of the digits
        self.no_corner = self.absent * sum(self.weights)  # what an absent corner's codes make
        self.no_box = (ANYTHING // 2,) * 3, (-ANYTHING // 2,) * 3  # all of it is reached
        self.columns = column = self.all_columns[:codebook_size]
        self.digit = torch.arange(3, device=device)
        self.floor = torch.full((3, codebook_size + 2), ANYTHING, device=device)  # the lowest corner that can still come of a code
        self.reach = torch.full((3, codebook_size + 2), -ANYTHING, device=device)  # the highest one
        for level, weight in enumerate(self.weights):
            self.floor[level, :codebook_size] = column * weight
            self.reach[level, :codebook_size] = column * weight + (codebook_size - 1) * sum(self.weights[level + 1 :])
        self.reach_or_other = self.reach.abs()  # what is no code is as high as can be
        self.last = torch.full((rows, 2), NO_BOUND, device=device)  # the first corners of the last face
        # of faces given that are still to come: where they begin, two corners, and their symbols; how many have come
        self.ahead = torch.zeros(rows, faces + 1, 2 + vertices_per_face * 3, dtype=torch.long, device=device)
        self.copied = torch.zeros(rows, dtype=torch.long, device=device)
        self.closes_later = torch.zeros(rows, dtype=torch.long, device=device)  # 1 where the next face begins below what is missing
        self.seen = torch.full((rows, faces, vertices_per_face), NEVER, device=device)  # corners of all faces
        self.edges = torch.full((2, rows, faces * vertices_per_face), NEVER, device=device)  # of all faces: from where, and where to
        self.open = torch.zeros(self.edges.shape, dtype=torch.bool, device=device)  # which lack their opposite; of which it must come
        self.told = torch.full((rows, 2, 3), ANYTHING, device=device)  # of the box that is known, the lowest and highest coordinates
        # of the box to be filled, the lowest and highest coordinates that its sides are reached with; which codes lie in it
        self.sides = torch.full((rows, 2, 3), ANYTHING, device=device)
        self.inside = torch.ones(rows, 3, codebook_size + 2, dtype=torch.bool, device=device)
        self.spans = torch.zeros(rows, 2, 3, dtype=torch.long, device=device)  # the lowest and highest coordinates of all faces
        self.images = torch.full((rows, 2 * faces, vertices_per_face), NEVER, device=device)  # of all faces, those that may still come
        self.count = torch.zeros(1, dtype=torch.long, device=device)  # of faces
        self.corner = torch.arange(vertices_per_face, device=device)
        self.nothing = torch.zeros(rows, dtype=torch.long, device=device)
        self.never, self.anything = torch.tensor([NEVER, ANYTHING], device=device).unbind()
        # of the face at hand, all set before they are read
        self.face: list[Tensor] = []  # its corners [r]
        self.slots = 0  # of edges that may be filled
        self.started = self.low = self.high = self.nothing  # what the codes so far make of a corner [r]; what it lies within [r]
        self.closes = self.nothing  # [r] the lowest corner from which a missing edge leads back to the first; ANYTHING for none
        self.matching = self.neighbours = self.completions = self.barred = self.seen[:, 0]  # [r, n] corners
        self.start, self.coming = self.ahead[:, 0].split([2, vertices_per_face * 3], 1)  # of the next face given
        self.copying = self.lacks  # [r] whether the face so far may be that one

    def load(self, grammars: Sequence[CodeGrammar]) -> None:
        """As above. Raises ValueError if there are more faces already than there is room for."""
        super().load(grammars)
        known = [grammar for grammar in grammars if isinstance(grammar, CoordinateGrammar)]
        faces, edges = [self.known_faces(grammar) for grammar in known], [self.known_edges(grammar) for grammar in known]
        slots, room = max(map(len, edges)), self.seen.shape[1]
        images = [[self.image(image) for image in grammar.images] for grammar in known]
        most = max(*map(len, faces), -(-slots // self.v), *(-(-len(of_row) // 2) for of_row in images))
        if most > room:
            raise ValueError(f"the grammars know {most} faces and there is room for {room}; make room for all faces of a mesh")
        self.seen.copy_(self.filled(faces, [NEVER] * self.v, room))
        table = self.filled(edges, [NEVER, NEVER, False, False], self.edges.shape[2]).movedim(2, 0)
        self.images.copy_(self.filled(images, [NEVER] * self.v, 2 * room))
        self.edges.copy_(table[:2])
        self.open.copy_(table[2:])
        last = [[*map(self.number, grammar.last[:2])] or [NO_BOUND] * 2 for grammar in known]
        self.last.copy_(torch.tensor(padded(last, len(self.last))))
        ahead = [[self.beginning_and_symbols(face) for face in grammar.ahead] for grammar in known]
        self.ahead.copy_(self.filled(ahead, [ANYTHING] * 2 + [NEVER] * self.v * 3, room + 1))
        self.copied.zero_()
        self.closes_later.copy_(torch.tensor(padded([grammar.closes_later for grammar in known], len(self.closes_later))))
        self.spans.copy_(torch.tensor(padded([[grammar.span_low, grammar.span_high] for grammar in known], len(self.spans))))
        boxes = torch.tensor(padded([grammar.box or self.no_box for grammar in known], len(self.sides)), device=self.sides.device)
        self.told.copy_(torch.tensor(padded([grammar.told or self.no_box for grammar in known], len(self.told))))
        to_fill = [grammar.to_fill or self.no_box for grammar in known]
        self.sides.copy_(torch.tensor(padded(to_fill, len(self.sides))) + torch.tensor([[1], [-1]]))
        low, high = boxes[..., None].unbind(1)
        self.inside.copy_((low <= self.all_columns) & (self.all_columns <= high) | (low > high) | (self.all_columns >= self.absent))
        self.count.fill_(most)

    def filled(self, items: list[list[list[int]]], filling: list[int], room: int) -> Tensor:
        """[r, room, numbers] of each row its items, then what is none."""
        table = torch.tensor(filling).repeat(len(self.seen), room, 1)
        for row, of_row in enumerate(padded(items, len(table))):
            table[row, : len(of_row)] = torch.tensor(of_row, dtype=torch.long).view(-1, len(filling))
        return table

    def known_faces(self, grammar: CoordinateGrammar) -> list[list[int]]:
        """The faces that may not come again, as corners in any order."""
        faces = {known if missing == NO_CORNER else known | {missing} for known, ends in grammar.completions.items() for missing in ends}
        return [[*map(self.number, face), *[self.no_corner] * (self.v - len(face))] for face in faces]

    def known_edges(self, grammar: CoordinateGrammar) -> list[list[int]]:
        """From where, where to, whether it lacks its opposite and whether that must come, of each edge that may not come again."""
        return [
            [
                self.number(start),
                self.number(end),
                end not in grammar.before.get(start, ()),
                (end, start) in grammar.missing.get(min(start, end), ()),
            ]
            for start, ends in grammar.after.items()
            for end in ends
        ]

    def image(self, corners: Sequence[Corner]) -> list[int]:
        """A mirror image as `images` has it: what it lacks comes before all else."""
        return [*map(self.number, corners), *[NO_BOUND] * (self.v - len(corners))]

    def beginning_and_symbols(self, face: list[int]) -> list[int]:
        """A face of codes as `ahead` has it."""
        return [self.number(face[:3]), self.number(face[3:6]), *(self.absent if code == ABSENT else code for code in face)]

    def number(self, corner: Sequence[int]) -> int:
        z, y, x = corner
        return (z * self.base + y) * self.base + x

    def allowed(self, vertex: int, level: int, faces: int) -> Tensor:
        if level == 0:
            self.begin_corner(vertex, max(faces, 1))
        low = (self.low - self.started)[:, None]
        if vertex < 3 and (vertex or level):
            mask = self.reach[level] >= low
        else:
            mask = super().allowed(vertex, level, faces) & (self.reach_or_other[level] >= low)
        if vertex < 2:
            mask.logical_and_(self.floor[level] <= (self.high - self.started)[:, None])  # the end is above what an open edge allows
        if vertex == self.v - 1:
            mask.scatter_(1, self.codes_to(self.matching, level), True)
            mask[:, self.end].fill_(False)
        if vertex and level == 2:
            mask.scatter_(1, self.codes_to(self.barred, level), False)
        if vertex == 3 and level == 0:
            mask[:, self.absent].logical_and_(self.may_be_a_triangle())
        if vertex == self.v - 1 and level:
            mask[:, : self.absent].logical_and_(~self.leads_to_no_area(level))
        mask = mask & self.inside[:, level]
        if vertex == 0 and level == 0:
            mask[:, self.end].logical_and_(self.is_full())
        copies = self.copying[:, None] & (self.coming[:, 3 * vertex + level, None] == self.all_columns)
        return mask.logical_or_(copies) if vertex < 2 else torch.where(self.copying[:, None], copies, mask)

    def settled(self, vertex: int) -> Tensor:
        return self.lacks if vertex < 2 else self.lacks | self.copying

    def begin_corner(self, vertex: int, faces: int) -> None:
        """Work out what holds for a corner: within `low` and `high`, or one of `matching`, and none of `barred`."""
        self.started, self.slots = self.nothing, faces * self.v
        (starts, ends), (unmatched, due) = self.edges[..., : self.slots], self.open[..., : self.slots]
        if vertex == 0:
            self.face, self.low = [], self.last[:, 0]
            self.high = torch.where(due, torch.minimum(starts, ends), self.anything).amin(1)
            self.high = self.high - self.closes_later * (self.high < ANYTHING)
            bottom = self.sides[:, 0, 0]
            as_high = (bottom + 1) * self.weights[0] - self.base - 2  # (bottom, top, top)
            self.high = torch.where(bottom < self.spans[:, 0, 0], torch.minimum(self.high, as_high), self.high)
            place = self.copied[:, None, None].expand(-1, 1, self.ahead.shape[2])
            self.start, self.coming = self.ahead.gather(1, place)[:, 0].split([2, self.v * 3], 1)
            first, second = self.start.unbind(1)
            due_there = torch.where(due & (ends == first[:, None]), starts, self.anything).amin(1)
            self.copying = (first <= self.high) & (second <= due_there) & (first < ANYTHING)
            self.high = torch.minimum(self.high, first)
            return
        so_far = torch.stack(self.face, 1)
        first, before = so_far[:, :1], so_far[:, -1:]
        self.closes = self.leading_to(self.face[0])
        self.low = self.face[0] + 1
        self.neighbours = torch.where(starts == before, ends, self.never)
        if vertex == 1:
            self.low = torch.where(self.face[0] == self.last[:, 0], self.last[:, 1] + 1, self.low)
            self.high = torch.where(due & (ends == first), starts, self.anything).amin(1)
            self.high = torch.where(self.face[0] == self.start[:, 0], torch.minimum(self.high, self.start[:, 1]), self.high)
        if vertex < self.v - 1:
            self.barred = torch.cat([so_far, self.neighbours], 1)
            return
        self.low = self.face[1] + 1
        self.matching = torch.where(unmatched & (starts == first) & (ends > first), ends, self.never)
        self.neighbours = torch.where(ends == first, starts, self.neighbours)
        self.completions = self.completing(so_far, self.seen[:, :faces])
        self.barred = torch.cat([so_far, self.neighbours, self.completions], 1)

    def waiting(self, vertex: int) -> Tensor:
        (starts, ends), (unmatched, due) = self.edges[..., : self.slots], self.open[..., : self.slots]
        if vertex == 0:
            lower = torch.minimum(starts, ends)
            due_first = torch.where(due & (lower >= self.last[:, :1]), lower, self.anything).amin(1)
            return self.symbols(torch.minimum(due_first, self.start[:, 0]))
        first, last = self.face[0][:, None], self.face[-1][:, None]
        led_to = self.lowest(starts, unmatched & (ends == last))
        if vertex == 1:
            copy = torch.where(self.face[0] == self.start[:, 0], self.start[:, 1], self.anything)
            return self.symbols(torch.minimum(led_to, copy))
        if vertex == self.v - 1:
            found = self.symbols(self.first_fitting(vertex, self.closes, led_to))
        else:
            onward = self.leading_to(self.closes)
            ahead = self.first_fitting(vertex, onward, led_to, then=self.closes)
            found = self.symbols(self.first_fitting(vertex, ahead, self.closes))
        if vertex == 3:
            closes = (unmatched & (starts == first) & (ends == last)).any(1) & self.fits_three()
            found = found.masked_fill(closes[:, None], self.absent)
        return torch.where(self.copying[:, None], self.coming[:, 3 * vertex : 3 * vertex + 3], found)

    def expected(self, vertex: int) -> Tensor:
        if vertex < 2 or self.v == 3:
            return self.nothing_waits
        first, second, *third = map(self.places, self.face)
        found = first + third[0] - second if third else second + self.places(self.closes) - first
        on_grid = ((found >= 0) & (found < self.absent)).all(1)
        known = on_grid if third else on_grid & (self.closes < ANYTHING)
        corner = torch.where(known, sum(place * weight for place, weight in zip(found.unbind(1), self.weights, strict=True)), self.anything)
        return self.symbols(self.first_fitting(vertex, corner, then=None if third else self.closes))

    def next_waiting(self, vertex: int) -> Tensor:
        return self.symbols(self.closes) if vertex == 2 == self.v - 2 else self.nothing_waits

    def mirrored(self, vertex: int) -> Tensor:
        images = self.images[:, : 2 * self.slots // self.v]
        first, second = images[..., 0], images[..., 1]
        last_first, last_second = self.last[..., None].unbind(1)
        may_come = (first > last_first) | (first == last_first) & (second > last_second)
        for place, corner in enumerate(self.face):
            may_come = may_come & (images[..., place] == corner[:, None])
        corner = torch.where(may_come, images[..., vertex], self.anything).amin(1)
        then = None
        if vertex == 2 < self.v - 1:
            then = torch.where(may_come & (images[..., 2] == corner[:, None]), images[..., 3], self.anything).amin(1)
        found = self.symbols(self.first_fitting(vertex, corner, then=then))
        return found.masked_fill(((corner == NO_BOUND) & self.fits_three())[:, None], self.absent) if vertex == 3 else found

    def unreached(self) -> tuple[Tensor, Tensor]:
        (low, high), (lowest, highest) = self.told.unbind(1), self.spans.unbind(1)
        return torch.where(lowest > low, low, self.nothing_waits), torch.where(highest < high, high, self.nothing_waits)

    def first_fitting(self, vertex: int, *corners: Tensor, then: Tensor | None = None) -> Tensor:
        """[r] the first of these corners [r] that fits; ANYTHING if there is none. then: [r] the fourth that would come behind a third."""
        found = torch.full_like(corners[0], ANYTHING)
        for corner in reversed(corners):
            found = torch.where((corner >= 0) & (corner < ANYTHING) & self.fits(vertex, corner, then), corner, found)
        return found

    def fits(self, vertex: int, corner: Tensor, then: Tensor | None) -> Tensor:
        """[r] CoordinateGrammar.fits of corners [r], and of those behind them."""
        fits = self.inside.gather(2, self.places(corner)[..., None])[..., 0].all(1)
        if vertex:
            fits = fits & ~(self.barred == corner[:, None]).any(1)
        if vertex == self.v - 1:
            return fits & ((corner >= self.low) | (self.matching == corner[:, None]).any(1))
        if then is None:
            return fits
        edge = torch.stack([corner, then], 1), torch.stack([then, self.face[0]], 1)
        (starts, ends), so_far = self.edges[..., : self.slots], torch.stack([*self.face, corner], 1)
        twice = ((starts[:, None] == edge[0][..., None]) & (ends[:, None] == edge[1][..., None])).any(2).any(1)
        repeated = (self.completing(so_far, self.seen[:, : self.slots // self.v]) == then[:, None]).any(1)
        return fits & ((then < 0) | (then >= ANYTHING) | ~(twice | repeated))

    def fits_three(self) -> Tensor:
        """[r] CoordinateGrammar.fits_three."""
        second, third = self.face[1:]
        matches, is_taken = (self.matching == third[:, None]).any(1), (self.neighbours == third[:, None]).any(1)
        return (matches | (third > second) & ~is_taken) & ~(self.completions == self.no_corner).any(1)

    def leading_to(self, corners: Tensor) -> Tensor:
        """[r] the lowest corner from which a missing edge leads to this one [r] and that may still come in this face."""
        starts, ends = self.edges[..., : self.slots]
        return self.lowest(ends, self.open[0, :, : self.slots] & (starts == corners[:, None]))

    def lowest(self, corners: Tensor, there: Tensor) -> Tensor:
        """[r] of those corners [r, n] that are there [r, n] and may still come in this face; ANYTHING for none."""
        taken = (corners[..., None] == torch.stack(self.face, 1)[:, None]).any(2)
        return torch.where(there & (corners > self.face[0][:, None]) & ~taken, corners, self.anything).amin(1)

    def symbols(self, corners: Tensor) -> Tensor:
        """[r, 3] the symbols of corners [r]; `end` where there is none."""
        return torch.where((corners < ANYTHING)[:, None], self.places(corners), self.nothing_waits)

    def codes_to(self, corners: Tensor, level: int) -> Tensor:
        """[r, n] the codes from which corners [r, n] can still come; `end` for those that no longer can."""
        ahead = (corners - self.started[:, None]).bitwise_and_(NOT_NEGATIVE)
        return ahead.floor_divide_(self.weights[level]).clamp_(max=self.end)

    def is_full(self) -> Tensor:
        """[r] whether every side of the box that is to be filled is reached, or a step away."""
        (low, high), (lowest, highest) = self.sides.unbind(1), self.spans.unbind(1)
        return ((lowest <= low) & (highest >= high)).all(1)

    def may_be_a_triangle(self) -> Tensor:
        """[r] whether the face may be left with the three corners that it has."""
        return self.fits_three() & ~self.flat(self.face[:2], self.places(self.face[2])[:, None])[:, 0]

    def leads_to_no_area(self, level: int) -> Tensor:
        """[r, codebook_size] which last coordinates leave the face without area; which next to last ones do, whatever comes then."""
        begun, digit, columns = self.places(self.started)[:, None], self.digit, self.columns[:, None]
        if level == 2:
            return self.flat(self.face, torch.where(digit == 2, columns, begun))
        last = torch.where(digit == 1, columns, begun)  # with 0 as its last digit, and with 1
        return self.flat(self.face, last) & self.flat(self.face, last + (digit == 2).long())

    def places(self, corners: Tensor) -> Tensor:
        """[r, 3, ...] the digits of corners [r, ...]."""
        return torch.stack([corners // weight % self.base for weight in self.weights], 1)

    def flat(self, known: list[Tensor], last: Tensor) -> Tensor:
        """[r, n] which places of the last corner [r, n, 3] leave a face of the corners known without area."""
        first, *others = map(self.places, known)
        others = [(other - first)[:, None] for other in others]
        normal = torch.linalg.cross(others[-1], last - first[:, None])
        for one, next_one in pairwise(others):
            normal = normal + torch.linalg.cross(one, next_one)
        return (normal == 0).all(2)

    def completing(self, known: Tensor, seen: Tensor) -> Tensor:
        """[r, n] of each face that has been, the corner that it has beside those `known` [r, v - 1], if it has them all."""
        has_all = (seen[..., None] == known[:, None, None]).any(2).all(2)
        return torch.where(has_all, seen.sum(2) - known.sum(1, keepdim=True), self.never)

    def push(self, vertex: int, level: int, symbols: Tensor) -> None:
        super().push(vertex, level, symbols)
        self.started = torch.add(self.started, symbols, alpha=self.weights[level])
        self.copying = self.copying & (symbols == self.coming[:, 3 * vertex + level])
        if level < 2:
            return
        self.face.append(self.started)
        if vertex == self.v - 1:
            self.remember(torch.stack(self.face, 1))

    def remember(self, face: Tensor) -> None:
        """Note a face [r, v], which may not come again, and its edges, which may not either. Of a copy all that is known already."""
        self.last.copy_(face[:, :2])
        self.closes_later.zero_()
        self.copied.add_(self.copying)
        self.widen(face)
        face = torch.where(self.copying[:, None], self.never, face)
        self.seen.index_copy_(1, self.count, face[:, None])
        absent = face == self.no_corner  # of a triangle: the edge that leads to it is none, the one from it begins at the corner before
        starts, ends = torch.where(absent, face.roll(1, 1), face), torch.where(absent, self.never, face).roll(-1, 1)
        (old_starts, old_ends), still_open = self.edges[..., : self.slots, None], self.open[..., : self.slots]
        opposite = (old_starts == ends[:, None]) & (old_ends == starts[:, None])
        still_open.logical_and_(~opposite.any(2))
        slots = self.count * self.v + self.corner
        self.edges.index_copy_(2, slots, torch.stack([starts, ends]))
        unmatched = ~opposite.any(1) & (ends != NEVER)
        self.open.index_copy_(2, slots, torch.stack([unmatched, unmatched]))
        old, new = self.images[:, : 2 * self.slots // self.v], self.mirror_images(face)
        old.masked_fill_(self.begins_with(old, starts, ends)[..., None], NEVER)
        taken = self.begins_with(new, starts, ends) | self.begins_with(new, *self.edges[..., : self.slots])
        images = new.masked_fill((taken | self.copying[:, None])[..., None], NEVER)
        self.images.index_copy_(1, 2 * self.count + self.corner[:2], images)
        self.count.add_(1)

    def widen(self, face: Tensor) -> None:
        """The spans of all faces, with this face [r, v]."""
        places, absent = self.places(face), (face == self.no_corner)[:, None]
        lowest, highest = self.spans.unbind(1)
        torch.minimum(lowest, places.masked_fill(absent, ANYTHING).amin(2), out=lowest)
        torch.maximum(highest, places.masked_fill(absent, -ANYTHING).amax(2), out=highest)

    def mirror_images(self, face: Tensor) -> Tensor:
        """[r, 2, v] core.grammar.mirror_images of faces [r, v]."""
        absent = (face == self.no_corner)[:, None]
        x, y = face % self.base, face // self.base % self.base
        mirrored = torch.stack([face + self.absent - 1 - 2 * x, face + (self.absent - 1 - 2 * y) * self.base], 1)
        lowest = mirrored.masked_fill(absent, ANYTHING).argmin(2, keepdim=True)
        corners = self.v - absent.sum(2, keepdim=True)
        return mirrored.gather(2, (lowest - self.corner) % corners).masked_fill(self.corner >= corners, NO_BOUND)

    def begins_with(self, images: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
        """[r, n] which images [r, n, v] begin along one of these edges [r, m]."""
        return ((images[..., :1] == starts[:, None]) & (images[..., 1:2] == ends[:, None])).any(2)


def padded(items: Sequence[T], count: int) -> list[T]:
    """As many as `count`, the first one over and over behind the others."""
    return [*items, *[items[0]] * (count - len(items))]
