"""Drafts for speculative decoding: a guess at the next corner, from the faces so far.

Most corners have been before. In a closed mesh every edge is walked twice, once each way, so a face that has been waits for neighbours
that walk its edges back. A draft is only ever a guess: decoding draws exactly what it would have drawn without one.
"""

from __future__ import annotations

from collections.abc import Sequence

Corner = tuple[int, ...]  # the symbols of its codes


class EdgeDrafter:
    """Guesses from the edges that nobody has walked back yet.

    absent: the symbol for each code of an absent corner. corners: of a face, 3 or 4. grid: whether codes are coordinates, so that the
    fourth corner of a parallelogram can be guessed from three.
    """

    def __init__(self, absent: int, corners: int, codes_per_vertex: int, grid: bool) -> None:
        self.absent, self.corners, self.grid = absent, corners, grid
        self.no_corner: Corner = (absent,) * codes_per_vertex
        self.waiting: dict[Corner, list[Corner]] = {}  # by the corner where an edge would start, those where it would end
        self.first: Corner = ()  # the first corner of the last face

    def add(self, face: Sequence[Corner]) -> None:
        """Take a whole face."""
        corners = [corner for corner in face if corner != self.no_corner]
        for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
            if end in self.waiting.get(start, ()):
                self.waiting[start].remove(end)
            else:
                self.waiting.setdefault(end, []).append(start)
        self.first = corners[0]

    def guess(self, face: Sequence[Corner]) -> Corner | None:
        """The next corner after those of a face so far, or None."""
        if not face:
            return self.guess_first()
        ends = self.waiting.get(face[-1], [])
        if len(face) == 3 and face[0] in ends:
            return self.no_corner
        known = [end for end in ends if end > face[0] and end not in face]
        if known:
            return known[-1]
        return self.parallelogram(face) if len(face) == 3 and self.grid else None

    def guess_first(self) -> Corner | None:
        """Faces are sorted by their first corner: the same one again, or the next one that an edge waits at."""
        if self.waiting.get(self.first):
            return self.first
        return min((corner for corner, ends in self.waiting.items() if ends and corner > self.first), default=None)

    def parallelogram(self, face: Sequence[Corner]) -> Corner | None:
        fourth = tuple(a - b + c for a, b, c in zip(*face, strict=True))
        return fourth if all(0 <= code < self.absent for code in fourth) else None
