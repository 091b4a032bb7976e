"""Other ways to write a mesh down than the canonical one, to see which are learnt faster: orders of its faces, axes, and triangles.

Each takes the faces of one mesh as grid coordinates [n, 12] (z, y, x of four corners, -1 for an absent one), in canonical order, and gives
those that a model is to learn instead. They are for comparing likelihoods: nothing here can be generated in, as a grammar would have to
know the order.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from core.grammar import ABSENT
from core.mesh import IntArray, rotate_to_lowest
from training.data.dataset import components

Change = Callable[[IntArray], IntArray]


def unchanged(grid: IntArray) -> IntArray:
    """Lowest corner first, by z, y, x."""
    return grid


def by_pieces(grid: IntArray) -> IntArray:
    """One connected piece after the other, pieces by their lowest face, the faces of each in canonical order."""
    _, first, piece = np.unique(components(grid.astype(np.int16)), return_index=True, return_inverse=True)
    return grid[np.argsort(first[piece], kind="stable")]


def breadth_first(grid: IntArray) -> IntArray:
    """From the lowest face over its neighbours to theirs, then from the lowest face that is left."""
    return grid[walk(grid, deque.popleft)]


def depth_first(grid: IntArray) -> IntArray:
    """From the lowest face to a neighbour, from there to one of its own, and back only where there is none left."""
    return grid[walk(grid, deque.pop)]


def x_first(grid: IntArray) -> IntArray:
    """Everything by x, then y, then z, the coordinates of a corner too."""
    return sorted_faces(grid.reshape(len(grid), -1, 3)[..., ::-1])


def triangles(grid: IntArray) -> IntArray:
    """[m, 9] every quad cut in two, along the diagonal from its lowest corner, in canonical order."""
    corners = grid.reshape(len(grid), -1, 3)
    halves = corners[grid[:, -1] != ABSENT][:, [0, 2, 3]]
    return sorted_faces(np.concatenate([corners[:, :3], halves]))


def walk(grid: IntArray, take: Callable[[deque[int]], int]) -> list[int]:
    """The faces in the order in which they are met over common edges. take: which of the faces met is gone on from."""
    neighbours = neighbours_by_edge(grid)
    order: list[int] = []
    met = np.zeros(len(grid), bool)
    for start in range(len(grid)):
        waiting = deque([] if met[start] else [start])
        while waiting:
            face = take(waiting)
            if met[face]:
                continue
            met[face] = True
            order.append(face)
            lowest_next = sorted(neighbours[face], reverse=take is deque.pop)
            waiting.extend(other for other in lowest_next if not met[other])
    return order


def neighbours_by_edge(grid: IntArray) -> list[set[int]]:
    """Of every face, those that have an edge in common with it."""
    at_edge: dict[frozenset[tuple[int, ...]], list[int]] = defaultdict(list)
    for number, face in enumerate(grid.reshape(len(grid), -1, 3).tolist()):
        corners = [tuple(corner) for corner in face if corner[0] != ABSENT]
        for edge in pairwise([*corners, corners[0]]):
            at_edge[frozenset(edge)].append(number)
    neighbours: list[set[int]] = [set() for _ in range(len(grid))]
    for faces in at_edge.values():
        for face in faces:
            neighbours[face].update(other for other in faces if other != face)
    return neighbours


def sorted_faces(corners: IntArray) -> IntArray:
    """[n, 3 v] faces of corners [n, v, 3], each begun at its lowest corner, then sorted; the first of the coordinates weighs most."""
    n, v, _ = corners.shape
    levels = corners.max() + 1
    keys = np.where(corners[..., 0] == ABSENT, ABSENT, corners @ [levels**2, levels, 1])
    keys = rotate_to_lowest(keys.astype(np.int64))
    keys = keys[np.lexsort(keys.T[::-1])]
    places = np.stack(np.unravel_index(keys.clip(0), (levels,) * 3), -1)
    faces: IntArray = np.where(keys[..., None] == ABSENT, ABSENT, places).reshape(n, 3 * v)
    return faces
