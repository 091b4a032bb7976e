"""The closed solids that every family is put together from, and joining them into one mesh.

Two shapes cover nearly everything: a box (which may taper and lean) and a lathe (a profile turned around the z axis). A loft is a body
along y, a plate and an extrusion are flat shapes given a thickness. All are z-up and wound outwards. Solids may pass through each other;
they must not share vertices, or the grid would weld them into one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray

from core.mesh import IntArray, Mesh

Floats = NDArray[np.float64]
Point = tuple[float, float, float]
ORIGIN: Point = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Solid:
    """One or more closed surfaces. vertices: [vertices, 3] float64. faces: [faces, 4] indices, -1 as the last corner of a triangle."""

    vertices: Floats
    faces: IntArray

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Solid:
        return Solid(self.vertices + np.array((x, y, z)), self.faces)

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Solid:
        """Factors above 0, about the origin."""
        return Solid(self.vertices * (x, y, z), self.faces)

    def mirrored(self) -> Solid:
        """The other hand: x negated, winding kept outwards."""
        faces = np.where(self.faces[:, 3:] < 0, self.faces[:, [0, 2, 1, 3]], self.faces[:, [0, 3, 2, 1]])
        return Solid(self.vertices * (-1.0, 1.0, 1.0), faces)

    def turned(self, angle: float) -> Solid:
        """Turned around the z axis, counter-clockwise seen from above, in radians."""
        c, s = np.cos(angle), np.sin(angle)
        return Solid(self.vertices @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]), self.faces)

    def rolled(self, angle: float) -> Solid:
        """Turned around the y axis, clockwise seen from the front, in radians."""
        c, s = np.cos(angle), np.sin(angle)
        return Solid(self.vertices @ np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]]), self.faces)

    def pitched(self, angle: float) -> Solid:
        """Turned around the x axis, what is above towards the front, in radians."""
        c, s = np.cos(angle), np.sin(angle)
        return Solid(self.vertices @ np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]]), self.faces)

    def lying_along_x(self) -> Solid:
        """The z axis laid down along x: a wheel out of a disc."""
        return Solid(self.vertices[:, [2, 0, 1]], self.faces)

    def lying_along_y(self) -> Solid:
        """The z axis laid down towards the front: what was above is at -y, what was behind is above."""
        return Solid(self.vertices[:, [0, 2, 1]] * (1.0, -1.0, 1.0), self.faces)

    def leaning_back(self, slope: float, above: float) -> Solid:
        """Pushed towards +y by `slope` for every unit of height over `above`; what is below stays."""
        vertices = self.vertices.copy()
        vertices[:, 1] += slope * np.maximum(vertices[:, 2] - above, 0.0)
        return Solid(vertices, self.faces)

    def leaning_sideways(self, slope: float) -> Solid:
        """Pushed towards +x by `slope` for every unit of height."""
        return Solid(self.vertices + self.vertices[:, 2:] * (slope, 0.0, 0.0), self.faces)


def join(solids: Iterable[Solid]) -> Solid:
    """All solids as one, in the order given."""
    solids = list(solids)
    starts = np.cumsum([0] + [len(solid.vertices) for solid in solids])
    faces = [np.where(solid.faces < 0, -1, solid.faces + start) for solid, start in zip(solids, starts, strict=False)]
    return Solid(np.concatenate([solid.vertices for solid in solids]), np.concatenate(faces))


def to_mesh(solids: Iterable[Solid]) -> Mesh:
    """All solids as one mesh of quads and triangles."""
    whole = join(solids)
    return Mesh(whole.vertices.astype(np.float32), whole.faces)


def pair(*solids: Solid) -> list[Solid]:
    """Every solid and its mirror image across x = 0."""
    return [side for solid in solids for side in (solid, solid.mirrored())]


# ---- boxes

CORNERS = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], np.float64) / (2, 2, 1)
BOX_FACES = np.array([[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]], np.int64)
GABLE_FACES = np.array([[0, 3, 2, 1], [0, 1, 5, 4], [2, 3, 4, 5], [1, 2, 5, -1], [3, 0, 4, -1]], np.int64)


def box(
    width: float,
    depth: float,
    height: float,
    at: Point = ORIGIN,
    *,
    top: tuple[float, float] = (1.0, 1.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> Solid:
    """Six quads. `at` is the middle of the floor; the upper side is scaled by `top` in x and y, then moved by `shift`."""
    vertices = CORNERS * (width, depth, height)
    vertices[4:, :2] = vertices[4:, :2] * top + shift
    return Solid(vertices + at, BOX_FACES)


def gable(width: float, depth: float, height: float, at: Point = ORIGIN) -> Solid:
    """A saddle roof: three quads, two triangles, the ridge along x. `at` is the middle of the floor."""
    vertices = CORNERS[:6] * (width, depth, height)
    vertices[4:, 1] = 0.0
    return Solid(vertices + at, GABLE_FACES)


# ---- turned shapes


def lathe(sides: int, *profile: tuple[float, float], at: Point = ORIGIN) -> Solid:
    """The profile's (radius, z) pairs, from the bottom upwards, as rings around the z axis.

    Rings are joined by quads. A radius of 0 as first or last is a point, joined by triangles; any other end is closed by a strip of
    quads (and one triangle if `sides` is odd). A flat side faces the front, and the shape is symmetric about x = 0.
    The profile may turn back down inside itself: that hollows the shape out.
    """
    pointed = profile[0][0] == 0, profile[-1][0] == 0
    rings = np.array(profile)
    circle = unit_circle(sides)
    vertices = np.empty((len(rings), sides, 3))
    vertices[:, :, :2] = circle * rings[:, None, :1]
    vertices[:, :, 2] = rings[:, 1:]
    kept = vertices.reshape(-1, 3)[(sides - 1) * pointed[0] : len(rings) * sides - (sides - 1) * pointed[1]]
    return Solid(kept + at, lathe_faces(sides, len(rings), *pointed))


def prism(sides: int, radius: float, height: float, at: Point = ORIGIN, *, top: float = 1.0) -> Solid:
    """An upright n-gon prism, the radius at its upper end scaled by `top`; 0 makes it a cone."""
    return lathe(sides, (radius, 0.0), (radius * top, height), at=at)


def ball(sides: int, radius: float, height: float, at: Point = ORIGIN) -> Solid:
    """A low-poly ball or egg: three rings between two points, 4 faces for every side. `at` is its lowest point."""
    return lathe(sides, (0, 0), (0.75 * radius, 0.16 * height), (radius, 0.5 * height), (0.75 * radius, 0.84 * height), (0, height), at=at)


def ring(sides: int, outer: float, inner: float, height: float, at: Point = ORIGIN) -> Solid:
    """A flat ring around the z axis, 4 quads for every side, `at` the middle of its floor."""
    whole = lathe(sides, (outer, 0.0), (outer, height), (inner, height), (inner, 0.0), at=at)
    index = np.arange(4 * sides).reshape(4, sides)
    below = np.stack([index[3], np.roll(index[3], -1), np.roll(index[0], -1), index[0]], 1)
    return Solid(whole.vertices, np.concatenate([whole.faces[: 3 * sides], below]))


def loft(sides: int, *sections: tuple[float, float, float, float]) -> Solid:
    """A body along y out of upright rings: the (y, z, width, height) of each, from the rear to the front, z the ring's middle.

    A width of 0 as first or last is a point. Four sides make it of rectangles.
    """
    pointed = sections[0][2] == 0, sections[-1][2] == 0
    circle = unit_circle(sides) / (2 * np.abs(unit_circle(sides)).max(0))
    rings = np.array(sections)[:, None]
    vertices = np.stack(np.broadcast_arrays(circle[:, 0] * rings[..., 2], rings[..., 0], rings[..., 1] + circle[:, 1] * rings[..., 3]), 2)
    kept = vertices.reshape(-1, 3)[(sides - 1) * pointed[0] : len(rings) * sides - (sides - 1) * pointed[1]]
    return Solid(kept, lathe_faces(sides, len(rings), *pointed))


@lru_cache
def unit_circle(sides: int) -> Floats:
    angle = 2 * pi * (np.arange(sides) + 0.5) / sides - pi / 2
    half = np.stack([np.cos(angle), np.sin(angle)], 1)
    symmetric: Floats = (half + half[::-1] * (-1, 1)) / 2  # to the last bit, whatever the rounding
    return symmetric


@lru_cache
def lathe_faces(sides: int, rings: int, pointed_below: bool, pointed_above: bool) -> IntArray:
    index = np.arange(rings * sides).reshape(rings, sides) - (sides - 1) * pointed_below
    index[0] = index[0].max() if pointed_below else index[0]
    index[-1] = index[-1].min() if pointed_above else index[-1]
    following = np.roll(index, -1, 1)
    walls = np.stack([index[:-1], following[:-1], following[1:], index[1:]], 2)
    if pointed_below:
        walls[0] = np.stack([index[0], following[1], index[1], np.full(sides, -1)], 1)
    if pointed_above:
        walls[-1, :, 3] = -1
    below = [] if pointed_below else [face[::-1] for face in cap(index[0].tolist())]
    above = [] if pointed_above else cap(index[-1].tolist())
    caps = [face + [-1] * (4 - len(face)) for face in below + above]
    return np.concatenate([walls.reshape(-1, 4), np.array(caps, np.int64).reshape(-1, 4)])


def cap(ring: list[int]) -> list[list[int]]:
    """A convex polygon cut into a strip of quads, with one triangle at the end if its number of corners is odd."""
    n = len(ring)
    quads = [[ring[i], ring[i + 1], ring[n - 2 - i], ring[n - 1 - i]] for i in range((n - 2) // 2)]
    middle = n // 2
    return quads + ([[ring[middle - 1], ring[middle], ring[middle + 1]]] if n % 2 else [])


# ---- flat shapes


def extrude(outline: Sequence[tuple[float, float]], depth: float, at: Point = ORIGIN, *, fan: bool = False) -> Solid:
    """A flat shape of (x, z) corners, counter-clockwise seen from the front, given a depth along y; `at` is in the middle of it.

    Both sides are cut into quads between the outline's first half and its second, corner by corner, as a ladder; or, as a fan, into quads
    around the last corner, which must see all others.
    """
    n = len(outline)
    vertices = np.empty((2, n, 3))
    vertices[..., 0::2] = outline
    vertices[0, :, 1], vertices[1, :, 1] = -depth / 2, depth / 2
    return Solid(vertices.reshape(-1, 3) + at, extrusion_faces(n, fan))


def plate(depth: float, *profile: tuple[float, float], at: Point = ORIGIN) -> Solid:
    """A flat shape, symmetric about x = 0, given a depth along y: the profile's (half width, z) pairs from the bottom upwards.

    A half width of 0 is possible as first or last.
    """
    pointed = profile[0][0] == 0, profile[-1][0] == 0
    right = list(profile)
    left = [(-x, z) for x, z in profile[pointed[0] : len(profile) - pointed[1]]]
    n = len(right) + len(left)
    vertices = np.empty((2, n, 3))
    vertices[..., 0::2] = right + left[::-1]
    vertices[0, :, 1], vertices[1, :, 1] = -depth / 2, depth / 2
    return Solid(vertices.reshape(-1, 3) + at, plate_faces(len(right), *pointed))


def arc(radius: float, start: float, end: float, points: int) -> list[tuple[float, float]]:
    """Points on a circle around the origin, from angle to angle in radians, 0 to the right and counter-clockwise."""
    return [
        (radius * cos(start + (end - start) * i / (points - 1)), radius * sin(start + (end - start) * i / (points - 1)))
        for i in range(points)
    ]


@lru_cache
def extrusion_faces(corners: int, fan: bool) -> IntArray:
    last = corners - 1
    around = [[last, i, i + 1, i + 2] if i + 2 < last else [last, i, i + 1] for i in range(0, last - 1, 2)]
    return thickened(corners, around if fan else cap(list(range(corners))))


@lru_cache
def plate_faces(levels: int, pointed_below: bool, pointed_above: bool) -> IntArray:
    n = 2 * levels - pointed_below - pointed_above
    right = list(range(levels))
    left = [0] * pointed_below + list(range(n - 1, levels - 1, -1)) + [levels - 1] * pointed_above
    rungs = [[left[i], right[i], right[i + 1], left[i + 1]] for i in range(levels - 1)]
    return thickened(n, [list(dict.fromkeys(rung)) for rung in rungs])


def thickened(corners: int, front: list[list[int]]) -> IntArray:
    """The faces of a front, of its copy behind (its corners follow those of the front), and of the walls between."""
    behind = [[i + corners for i in reversed(face)] for face in front]
    walls = [[(i + 1) % corners, i, i + corners, (i + 1) % corners + corners] for i in range(corners)]
    return np.array([face + [-1] * (4 - len(face)) for face in front + behind + walls], np.int64)
