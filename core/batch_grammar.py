"""Grammars of many rows at once, as tensors: what core.grammar allows, worked out where the logits are and without asking the host.

All rows are at the same code of their face, so that place is a plain number and everything else a tensor of fixed shape. A row that has
ended goes on being asked and pushed to, and what it is then told means nothing.

A corner is one number: its coordinates are the digits of it, in a base one above the grid, so that "no lower than" is one comparison and
"one above" never carries. Letters: r rows, v corners of a face, n faces there is room for, c vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from core.grammar import ABSENT, NO_CORNER, CodeGrammar, CoordinateGrammar

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
        column = torch.arange(codebook_size + 2, device=device)
        self.codes, self.only_absent = column < self.absent, column == self.absent
        self.codes_or_absent = column <= self.absent
        self.first = self.codes.repeat(rows, 1)  # [r, c] what may begin a face
        self.lacks = torch.zeros(rows, dtype=torch.bool, device=device)  # whose fourth corner is absent

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

    def push(self, vertex: int, level: int, symbols: Tensor) -> None:
        """Take the codes [r] that were drawn."""
        if vertex == 3 and level == 0:
            torch.eq(symbols, self.absent, out=self.lacks)
        if vertex == self.v - 1 and level == self.k - 1:
            self.first[:, self.end].fill_(True)


class BatchCoordinateGrammar(BatchGrammar):
    """CoordinateGrammar for `rows` rows."""

    def __init__(self, rows: int, faces: int, codebook_size: int, vertices_per_face: int, device: torch.device) -> None:
        super().__init__(rows, faces, codebook_size, 3, vertices_per_face, device)
        self.base = codebook_size + 1
        self.weights = [self.base**2, self.base, 1]  # of the digits
        self.no_corner = self.absent * sum(self.weights)  # what an absent corner's codes make
        self.columns = column = torch.arange(codebook_size, device=device)
        self.digit = torch.arange(3, device=device)
        self.reach = torch.full((3, codebook_size + 2), -ANYTHING, device=device)  # the highest corner that can still come of a code
        for level, weight in enumerate(self.weights):
            self.reach[level, :codebook_size] = column * weight + (weight - 1)
        self.reach_or_other = self.reach.abs()  # what is no code is as high as can be
        self.previous = torch.full((rows, vertices_per_face), NO_BOUND, device=device)  # corners of the last face
        self.seen = torch.full((rows, faces, vertices_per_face), NEVER, device=device)  # corners of all faces
        self.count = torch.zeros(1, dtype=torch.long, device=device)  # of them
        self.no_bound = torch.tensor(NO_BOUND, device=device)
        self.face: list[Tensor] = []  # corners [r] of this face
        self.bound = self.rest = self.previous[:, 0]  # no lower than this corner; the same less the codes so far
        self.tied = self.taken = self.above_first = self.previous[:, 0]  # set before they are read

    def load(self, grammars: Sequence[CodeGrammar]) -> None:
        """As above. Raises ValueError if there are more faces already than there is room for."""
        super().load(grammars)
        faces = [self.known(grammar) for grammar in grammars if isinstance(grammar, CoordinateGrammar)]
        most, room = max(map(len, faces)), self.seen.shape[1]
        if most > room:
            raise ValueError(f"the grammars know {most} faces and there is room for {room}; make room for all faces of a mesh")
        self.seen.fill_(NEVER)
        self.previous.fill_(NO_BOUND)
        if most:
            filled = torch.tensor([face + [[NEVER] * self.v] * (most - len(face)) for face in padded(faces, len(self.seen))])
            self.seen[:, :most] = filled.to(self.seen.device)
        last = [self.numbers(grammar.previous) if grammar.previous else [NO_BOUND] * self.v for grammar in grammars]
        self.previous.copy_(torch.tensor(padded(last, len(self.seen))))
        self.count.fill_(most)

    def known(self, grammar: CoordinateGrammar) -> list[list[int]]:
        """The faces that may not come again, as corners in any order."""
        faces = {known if missing == NO_CORNER else known | {missing} for known, ends in grammar.completions.items() for missing in ends}
        return [[*map(self.number, face), *[self.no_corner] * (self.v - len(face))] for face in faces]

    def number(self, corner: Sequence[int]) -> int:
        return sum(code * weight for code, weight in zip(corner, self.weights, strict=True))

    def numbers(self, face: list[int]) -> list[int]:
        """The corners, in order, of a face of codes."""
        return [self.no_corner if face[at] == ABSENT else self.number(face[at : at + 3]) for at in range(0, 3 * self.v, 3)]

    def allowed(self, vertex: int, level: int, faces: int) -> Tensor:
        if level == 0:
            self.begin_corner(vertex, faces)
        if vertex < 3 and (vertex or level):
            mask = self.reach[level] >= self.rest[:, None]
        else:
            mask = super().allowed(vertex, level, faces) & (self.reach_or_other[level] >= self.rest[:, None])
        if vertex == 3 and level == 0:
            lacks_area = self.flat(self.face[:2], self.places(self.face[2])[:, None])[:, 0]
            mask[:, self.absent].logical_and_(~self.tied & ~lacks_area & (self.taken != self.no_corner).all(1))
        if vertex == self.v - 1 and level:
            mask[:, : self.absent].logical_and_(~self.leads_to_no_area(level))
        if vertex and level == 2:
            places = (self.taken + (self.rest - self.bound)[:, None]).bitwise_and_(NOT_NEGATIVE).clamp_(max=self.end)
            mask.scatter_(1, places, False)  # `end`, which is not allowed here, stands for corners that are elsewhere
        return mask

    def begin_corner(self, vertex: int, faces: int) -> None:
        """What holds for a corner: it is above the first, and no lower than that of the face before if all before it are equal."""
        if vertex == 0:
            self.face, self.bound = [], self.previous[:, 0]
        else:
            equal = self.face[-1] == self.previous[:, vertex - 1]
            self.tied = equal if vertex == 1 else equal & self.tied
            if vertex == 1:
                self.above_first = self.face[0] + 1
            if vertex == 3:  # no corner is lower than an absent one
                self.tied = self.tied & (self.previous[:, 3] != self.no_corner)
            self.bound = torch.maximum(torch.where(self.tied, self.previous[:, vertex], self.no_bound), self.above_first)
            self.taken = torch.stack(self.face, 1)
            if vertex == self.v - 1:
                self.taken = torch.cat([self.taken, self.missing(self.taken, self.seen[:, :faces])], 1)
        self.rest = self.bound

    def leads_to_no_area(self, level: int) -> Tensor:
        """[r, codebook_size] which last coordinates leave the face without area; which next to last ones do, whatever comes then."""
        begun, digit, columns = self.places(self.bound - self.rest)[:, None], self.digit, self.columns[:, None]
        if level == 2:
            return self.flat(self.face, torch.where(digit == 2, columns, begun))
        last = torch.where(digit == 1, columns, begun)  # with 0 as its last digit, and with 1
        return self.flat(self.face, last) & self.flat(self.face, last + (digit == 2).long())

    def places(self, corners: Tensor) -> Tensor:
        """[r, 3] the digits of corners [r]."""
        return torch.stack([corners // weight % self.base for weight in self.weights], 1)

    def flat(self, known: list[Tensor], last: Tensor) -> Tensor:
        """[r, n] which places of the last corner [r, n, 3] leave a face of the corners known without area."""
        first, *others = map(self.places, known)
        others = [(other - first)[:, None] for other in others]
        normal = torch.linalg.cross(others[-1], last - first[:, None])
        for one, next_one in pairwise(others):
            normal = normal + torch.linalg.cross(one, next_one)
        return (normal == 0).all(2)

    def missing(self, known: Tensor, seen: Tensor) -> Tensor:
        """[r, n] of each face that has been, the corner that it has beside those `known` [r, v - 1], if it has them all."""
        has_all = (seen[..., None] == known[:, None, None]).any(2).all(2)
        return torch.where(has_all, seen.sum(2) - known.sum(1, keepdim=True), self.no_bound)

    def push(self, vertex: int, level: int, symbols: Tensor) -> None:
        super().push(vertex, level, symbols)
        self.rest = torch.sub(self.rest, symbols, alpha=self.weights[level])
        if level < 2:
            return
        self.face.append(self.bound - self.rest)
        if vertex == self.v - 1:
            torch.stack(self.face, 1, out=self.previous)
            self.seen.index_copy_(1, self.count, self.previous[:, None])
            self.count.add_(1)


def padded(items: Sequence[T], count: int) -> list[T]:
    """As many as `count`, the first one over and over behind the others."""
    return [*items, *[items[0]] * (count - len(items))]
