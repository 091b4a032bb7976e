"""Meshes that are there already: the same on the grid, or so near that no one would call it another; also turned by quarters or mirrored.

Exact: equal canonical forms under one of the eight symmetries of the box (`symmetric_key`). Near: under one of the eight, every corner of
each mesh is within NEAR of a corner of the other, and every corner, edge middle and face middle (CHECKED of them, where there are more)
within NEAR of its surface; the corners are asked for because a tile with a road on it has nearly the surface of one without. Related, which
keeps both but never on two sides of a split: the mean distance to corners is within 2 RELATED and to the surface within RELATED. So that
not every pair is compared, `features` of nearly equal shapes are nearly equal: candidates are the NEIGHBOURS nearest within REACH.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from tqdm import tqdm

from core.mesh import LEVELS, FloatArray, Mesh, quantise, rotate_to_lowest
from training.preparation.cleaning import reversed_faces
from training.preparation.guarded import guarded_map

STEP = 1 / (LEVELS - 1)
NEAR = 2 * STEP
RELATED = 1.5 * STEP
REACH = 0.03
NEIGHBOURS = 16
COMPARING = 60.0  # seconds that two meshes may take
CHECKED = 192  # points of each mesh that are measured against the other's surface

SYMMETRIES = [(turned, x, y) for turned, x, y in product((False, True), (1, -1), (1, -1))]


def move(points: NDArray[Any], symmetry: tuple[bool, int, int]) -> NDArray[Any]:
    """Points [..., 3] under one of SYMMETRIES: x and y exchanged or not, then either or both turned over."""
    turned, x, y = symmetry
    return (points[..., [1, 0, 2]] if turned else points) * np.array([x, y, 1], points.dtype)


def symmetric_key(mesh: Mesh) -> bytes:
    """16 bytes that are equal for canonical meshes that are the same, also after a quarter turn about z or a mirror image."""
    grid, faces = quantise(mesh.vertices), mesh.quads().faces
    keys = []
    for symmetry in SYMMETRIES:
        moved = move(grid, symmetry)
        place = (moved - moved.min(0)) @ [1, LEVELS, LEVELS**2]
        order = np.argsort(place)
        rank = np.append(np.argsort(order), -1)
        turned, x, y = symmetry
        wound = faces if x * y == (-1 if turned else 1) else reversed_faces(faces)
        renamed = rotate_to_lowest(rank[wound])
        renamed = renamed[np.lexsort(renamed.T[::-1])]
        keys.append(blake2b(place[order].tobytes() + renamed.tobytes(), digest_size=16).digest())
    return min(keys)


def features(mesh: Mesh) -> NDArray[np.float32]:
    """[8] of a canonical mesh: its extents; mean and spread of its surface's height, spread along x and y; the square root of its area.

    The same under quarter turns and mirrors, because the larger of x and y comes first; nearly the same for nearly the same surface.
    """
    corners = mesh.vertices[mesh.triangles()].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    middles = (corners + np.roll(corners, 1, 1)) / 2  # their mean integrates squares over a triangle exactly
    mean = np.average(middles.mean(1), axis=0, weights=area)
    spread = np.sqrt(np.average(np.square(middles - mean).mean(1), axis=0, weights=area))
    across, along = np.sort(np.ptp(mesh.vertices, axis=0)[:2]), np.sort(spread[:2])
    return np.array([*across, mesh.vertices[:, 2].max(), mean[2], spread[2], *along, np.sqrt(area.sum()) / 4], np.float32)


@dataclass
class Found:
    """What was found among meshes numbered 0 and on.

    copy_of: of a mesh that is to go, the one kept in its place. exact: those of them that are equal to it. group: [meshes] numbers, equal
    for meshes that belong on one side of a split.
    """

    copy_of: dict[int, int] = field(default_factory=dict)
    exact: set[int] = field(default_factory=set)
    group: list[int] = field(default_factory=list)


class Groups:
    """Sets that grow together (union-find): the number of a set is that of its first member."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def of(self, member: int) -> int:
        while self.parent[member] != member:
            self.parent[member] = self.parent[self.parent[member]]
            member = self.parent[member]
        return member

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.of(one), self.of(other)))
        self.parent[second] = first


def find_duplicates(
    keys: Sequence[bytes],
    described: NDArray[np.float32],
    weights: Sequence[float],
    groups: Sequence[str],
    meshes: Sequence[Mesh],
    processes: int,
) -> Found:
    """Which meshes go and which belong together. Of copies the one with the largest weight stays, of equal weights the first.

    keys, described: `symmetric_key` and `features` of each. groups: names known before, "" for none. meshes: canonical.
    """
    joined, found = Groups(len(keys)), Found()
    named: dict[str, int] = {}
    for number, name in enumerate(groups):
        if name:
            joined.join(named.setdefault(name, number), number)
    order = sorted(range(len(keys)), key=lambda number: (-weights[number], number))
    first: dict[bytes, int] = {}
    for number in order:
        same = first.setdefault(keys[number], number)
        if same != number:
            found.copy_of[number] = same
            found.exact.add(number)
            joined.join(same, number)
    rest = [number for number in order if number not in found.copy_of]
    pairs = [(number, other) for number, others in zip(rest, neighbours(described[rest], rest), strict=True) for other in others]
    results = guarded_map(compare, Pairs(meshes, pairs), processes, COMPARING)
    compared = {pairs[place]: result for place, result in tqdm(results, total=len(pairs), desc="looking for copies")}
    for number, other in pairs:
        if number in found.copy_of or other in found.copy_of or isinstance(compared[number, other], str):
            continue
        near, related = compared[number, other]
        if near or related:
            joined.join(number, other)
        if near:
            found.copy_of[number] = other
    for number, original in found.copy_of.items():
        while original in found.copy_of:  # what an equal one was kept for may have turned out to be near to another
            original = found.copy_of[original]
        found.copy_of[number] = original
    found.group = [joined.of(number) for number in range(len(keys))]
    return found


def neighbours(described: NDArray[np.float32], names: Sequence[int]) -> list[list[int]]:
    """Of each mesh the names of those before it whose features [meshes, features] are nearest, the nearest first."""
    if len(names) < 2:
        return [[] for _ in names]
    distances, places = KDTree(described).query(described, min(NEIGHBOURS + 1, len(names)), distance_upper_bound=REACH)
    return [
        [names[place] for distance, place in zip(*pair, strict=True) if np.isfinite(distance) and place < number]
        for number, pair in enumerate(zip(distances.tolist(), places.tolist(), strict=True))
    ]


class Pairs(Sequence[tuple[Mesh, Mesh]]):
    """Pairs of meshes by their numbers, looked up when they are asked for."""

    def __init__(self, meshes: Sequence[Mesh], numbers: Sequence[tuple[int, int]]) -> None:
        self.meshes, self.numbers = meshes, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        one, other = self.numbers[index]
        return self.meshes[one], self.meshes[other]


def compare(pair: tuple[Mesh, Mesh]) -> tuple[bool, bool]:
    """Whether two canonical meshes are near, and whether they are related, as defined above."""
    one, other = map(centred, pair)
    points, other_points, other_corners = probes(one), probes(other), KDTree(other.vertices)
    near = related = False
    for symmetry in SYMMETRIES:
        moved = Mesh(move(one.vertices, symmetry), one.faces)
        apart = other_corners.query(moved.vertices)[0], KDTree(moved.vertices).query(other.vertices)[0]
        if max(distances.mean() for distances in apart) > 2 * RELATED:
            continue
        off = surface_distances(move(points, symmetry), other), surface_distances(other_points, moved)
        related |= bool(max(distances.mean() for distances in off) <= RELATED)
        near = bool(max(distances.max() for distances in (*apart, *off)) <= NEAR)
        if near:
            break
    return near, related


def centred(mesh: Mesh) -> Mesh:
    """The mesh with the middle of its box on the z axis, which a box of an odd number of steps misses by half a step."""
    middle = (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
    return Mesh(mesh.vertices - middle * [1, 1, 0], mesh.faces)


def probes(mesh: Mesh) -> FloatArray:
    """At most CHECKED of the corners, edge middles and face middles of a mesh, spread over all of them."""
    edges = np.unique(np.sort(mesh.edges(), 1), axis=0)
    points = np.concatenate([mesh.vertices, mesh.vertices[edges].mean(1), mesh.vertices[mesh.triangles()].mean(1)])
    chosen = np.random.default_rng(0).permutation(len(points))[:CHECKED]
    return np.asarray(points[chosen], np.float32)


def surface_distances(points: FloatArray, mesh: Mesh) -> NDArray[np.float32]:
    """[points] how far each of points [points, 3] is from the nearest point of a mesh's faces."""
    a, b, c = mesh.vertices[mesh.triangles()].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    solid = length > 1e-9
    a, b, c, normal = a[solid], b[solid], c[solid], normal[solid] / length[solid, None]
    height = np.abs(points @ normal.T - (a * normal).sum(1))
    squared = np.full(height.shape, np.inf, np.float32)
    inside = np.ones(height.shape, bool)
    for start, end in ((a, b), (b, c), (c, a)):
        along, inward = end - start, np.cross(normal, end - start)
        inside &= points @ inward.T >= (start * inward).sum(1)
        share = np.clip((points @ along.T - (start * along).sum(1)) / (along * along).sum(1), 0, 1)
        offset = points[:, None] - start - share[..., None] * along
        np.minimum(squared, (offset * offset).sum(-1), out=squared)
    distances: NDArray[np.float32] = np.where(inside, height, np.sqrt(squared)).min(1)
    return distances
