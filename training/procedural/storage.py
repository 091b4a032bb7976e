"""Shelves, cabinets, barrels, crates and chests."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.legs import four_legs
from training.procedural.parts import BOX_FACES, Solid, box, extrude, lathe, pair, plate, prism
from training.procedural.registry import family


@family(held_out={"shelves": 4, "back": True})
def shelf(rng: Generator) -> tuple[list[Solid], Facts]:
    count, step = whole(rng, 2, 5), rng.uniform(0.3, 0.42)
    width, depth = rng.uniform(0.65, 1.25), rng.uniform(0.28, 0.38)
    back, plinth = chance(rng, 0.5), rng.uniform(0.04, 0.12)
    height = plinth + count * step
    board = 0.032 * max(height, width)

    solids = pair(box(board, depth, height + 0.6 * board, ((width - board) / 2, 0, 0)))
    solids.append(box(width + board, depth + board, board, (0, 0, height)))
    solids += [box(width - board, depth - 1.2 * board, board, (0, -0.2 * board, plinth + i * step)) for i in range(count)]
    if back:
        solids.append(box(width - 1.7 * board, board, height - plinth - 0.1 * board, (0, depth / 2 - 0.8 * board, plinth + 0.3 * board)))

    return solids, Facts(
        names=("shelf", "bookcase", "bookshelf", "shelving unit"),
        adjectives=(*sized(height / width, 1.2, 1.8, "low", "tall"), *sized(width / height, 0.55, 0.85, "narrow", "wide")),
        features=(several(count, "shelf"), several(count, "compartment"), "a back panel" if back else "an open back"),
        materials=("wooden", "metal"),
        parameters={"shelves": count, "back": back},
    )


# What a cabinet can be: width, height (in metres), doors and drawers, each from-to, and its other names.
CABINETS = (
    ((0.42, 0.55), (0.45, 0.6), (0, 0), (1, 2), ("nightstand", "bedside table")),
    ((0.7, 1.1), (0.75, 1.0), (0, 0), (3, 4), ("chest of drawers", "dresser")),
    ((0.5, 0.65), (0.7, 1.1), (1, 1), (0, 1), ("cupboard",)),
    ((0.8, 1.2), (0.75, 1.2), (2, 2), (0, 1), ("cupboard", "sideboard")),
    ((0.8, 1.2), (1.7, 2.0), (2, 2), (0, 1), ("wardrobe", "closet")),
)


@family(held_out={"kind": "wardrobe", "drawers": 1})
def cabinet(rng: Generator) -> tuple[list[Solid], Facts]:
    widths, heights, door_range, drawer_range, names = pick(rng, CABINETS)
    width, height, depth = rng.uniform(*widths), rng.uniform(*heights), rng.uniform(0.38, 0.55)
    doors, drawers, legs = whole(rng, *door_range), whole(rng, *drawer_range), chance(rng, 0.5)
    unit = max(width, height)
    foot, board, gap = (rng.uniform(0.1, 0.16) if legs else 0.0) * unit, 0.05 * unit, 0.03 * unit

    solids = [box(width, depth, height - foot - 0.5 * board, (0, 0, foot))]
    solids.append(box(width + board, depth + board, board, (0, 0, height - board)))
    if legs:
        solids += four_legs("straight", 0.07 * unit, foot + 0.4 * gap, width - gap, depth - gap)
    front, floor, ceiling = -depth / 2, foot + gap, height - board
    each = (ceiling - floor) / (drawers + (2.6 if doors else 0))
    for i in range(drawers):
        z = ceiling - (i + 1) * each
        solids += [panel(width - 2 * gap, each - gap, (0, front, z), unit), knob((0, front, z + (each - gap) / 2), unit)]
    tall, middle = ceiling - drawers * each - floor - gap, floor + 0.5 * (ceiling - drawers * each - floor)
    if doors == 1:
        solids += [panel(width - 2 * gap, tall, (0, front, floor), unit), knob((0.5 * width - 3 * gap, front, middle), unit)]
    if doors == 2:
        wide = (width - 3 * gap) / 2
        solids += pair(panel(wide, tall, ((wide + gap) / 2, front, floor), unit), knob((2 * gap, front, middle), unit))

    return solids, Facts(
        names=("cabinet", *names),
        adjectives=(*sized(height / width, 0.95, 1.5, "low", "tall"), *sized(width / height, 0.65, 1.05, "narrow", "wide")),
        features=(
            *((several(doors, "door"),) if doors else ()),
            *((several(drawers, "drawer"),) if drawers else ()),
            "four legs" if legs else "no legs",
            "knobs",
        ),
        materials=("wooden", "metal"),
        parameters={"kind": names[0], "doors": doors, "drawers": drawers, "legs": 4 * legs},
    )


def panel(width: float, height: float, at: tuple[float, float, float], unit: float) -> Solid:
    """A drawer's or a door's front, half sunk into the body behind it."""
    return box(width, 0.07 * unit, height, at)


def knob(at: tuple[float, float, float], unit: float) -> Solid:
    """A small block in front of a panel; `at` is its middle, in the plane of the body."""
    x, y, z = at
    return box(0.045 * unit, 0.08 * unit, 0.045 * unit, (x, y - 0.035 * unit, z - 0.0225 * unit))


@family(held_out={"hoops": 3, "open": True})
def barrel(rng: Generator) -> tuple[list[Solid], Facts]:
    sides, height = pick(rng, (8, 10)), rng.uniform(0.8, 1.1)
    radius, bulge = rng.uniform(0.28, 0.4), rng.uniform(1.12, 1.3)
    hoops, opened = pick(rng, (2, 2, 3)), chance(rng, 0.3)

    profile = [(radius, 0.0), (radius * bulge, height / 2), (radius, height)]
    if opened:
        profile += [(radius * 0.82, height), (radius * 0.82, 0.75 * height)]
    solids = [lathe(sides, *profile)]
    for share in (0.2, 0.5, 0.8) if hoops == 3 else (0.22, 0.78):
        here = radius * (1 + (bulge - 1) * (1 - abs(2 * share - 1)))
        solids.append(prism(sides, here + 0.045, 0.09 * height, (0, 0, (share - 0.045) * height)))

    return solids, Facts(
        names=("barrel", "cask", "keg"),
        adjectives=sized(height / radius, 2.4, 3.1, "squat", "tall"),
        features=(
            several(hoops, "hoop"),
            "an open top" if opened else "a closed top",
            *sized(bulge, 1.16, 1.25, "straight sides", "bulging sides"),
        ),
        materials=("wooden", "metal"),
        parameters={"hoops": hoops, "open": opened, "sides": sides},
    )


@family(held_out={"brace": "cross", "long": True})
def crate(rng: Generator) -> tuple[list[Solid], Facts]:
    kind, long = pick(rng, ("framed", "framed", "slatted")), chance(rng, 0.4)
    height = rng.uniform(0.8, 1.0)
    width, depth = (
        (rng.uniform(1.3, 1.8), rng.uniform(0.75, 0.95)) if long else (height * rng.uniform(0.95, 1.05), height * rng.uniform(0.95, 1.05))
    )
    brace, slats, opened, lid = "none", 0, False, kind == "framed" and chance(rng, 0.3)

    if kind == "framed":
        brace, rim = pick(rng, ("none", "none", "board", "cross")), rng.uniform(0.09, 0.17)
        solids = [framed_box(width, depth, height, rim, rng.uniform(0.04, 0.075))]
        bar = 0.8 * rim
        if lid:
            solids.append(box(width + 0.09, depth + 0.09, 0.09, (0, 0, height - 0.03)))
        if brace == "board":
            solids += [box(width - 1.8 * rim, 0.09, bar, (0, y * (depth / 2 - 0.065), height / 2 - bar / 2)) for y in (-1, 1)]
        if brace == "cross":
            solids += [slanting_board(width - 1.8 * rim, height - 1.8 * rim, bar, y * (depth / 2 - 0.06), 0.9 * rim, y) for y in (-1, 1)]
    else:
        slats, opened = whole(rng, 2, 4), chance(rng, 0.5)
        post, board = 0.12, (height - 0.04) / slats
        solids = pair(*(box(post, post, height, (width / 2 - post / 2, y * (depth / 2 - post / 2), 0)) for y in (-1, 1)))
        for i in range(slats):
            z = 0.03 + i * board
            solids += [box(width - 0.05, 0.06, 0.74 * board, (0, y * (depth / 2 + 0.01), z)) for y in (-1, 1)]
            solids += pair(box(0.06, depth - 0.14, 0.74 * board, (width / 2 + 0.005, 0, z)))
        solids.append(box(width - 0.1, depth - 0.1, 0.08, (0, 0, 0.05 if opened else height - 0.05)))

    return solids, Facts(
        names=("crate", "wooden crate", "box", "shipping crate" if kind == "framed" else "slatted crate"),
        adjectives=("long",) if long else (pick(rng, ("square", "cube-shaped")),),
        features=(
            "a frame around recessed panels" if kind == "framed" else several(slats, "slat") + " on each side",
            *({"none": (), "board": ("a board across the front",), "cross": ("a diagonal brace",)}[brace]),
            "an open top" if opened else "a lid" if lid else "a closed top",
        ),
        materials=("wooden", "old"),
        parameters={"kind": kind, "long": long, "brace": brace, "slats": slats, "open": opened, "lid": lid},
    )


def framed_box(width: float, depth: float, height: float, rim: float, sunk: float) -> Solid:
    """A box whose six sides are sunk inside a frame of that width: 54 quads."""
    outside = box(width, depth, height).vertices
    middle = np.array([0.0, 0.0, height / 2])
    vertices, faces = [*outside], []
    for corners in BOX_FACES.tolist():
        flat = outside[corners]
        normal = np.cross(flat[1] - flat[0], flat[3] - flat[0])
        normal /= np.linalg.norm(normal)
        inwards = np.where(np.abs(normal) > 0.5, 0.0, -np.sign(flat - middle)) * rim
        start = len(vertices)
        vertices += [*(flat + inwards), *(flat + inwards - sunk * normal)]
        upper, lower = [start + i for i in range(4)], [start + 4 + i for i in range(4)]
        for i in range(4):
            j = (i + 1) % 4
            faces += [[corners[i], corners[j], upper[j], upper[i]], [upper[i], upper[j], lower[j], lower[i]]]
        faces.append(lower)
    return Solid(np.array(vertices), np.array(faces, np.int64))


def slanting_board(width: float, height: float, thickness: float, y: float, z: float, side: int) -> Solid:
    """A board from corner to corner of a width by height panel that stands from z on."""
    x, t = width / 2, 1.4 * thickness
    outline = [
        (-x + 0.02, z + 0.02),
        (-x + t, z + 0.02),
        (x - 0.02, z + height - t),
        (x - 0.02, z + height - 0.02),
        (x - t, z + height - 0.02),
        (-x + 0.02, z + t),
    ]
    board = extrude(outline, 0.1, (0, y, 0))
    return board if side < 0 else board.mirrored()


@family(held_out={"lid": "flat", "bands": 3})
def chest(rng: Generator) -> tuple[list[Solid], Facts]:
    lid, opened, bands = pick(rng, ("rounded", "rounded", "flat")), chance(rng, 0.3), pick(rng, (0, 2, 2, 3))
    width, depth, height = rng.uniform(0.9, 1.3), rng.uniform(0.55, 0.75), rng.uniform(0.36, 0.5)
    feet, lock, wide = chance(rng, 0.3), chance(rng, 0.75), rng.uniform(0.1, 0.14)
    lift, half, rise = 0.09 if feet else 0.0, depth / 2, rng.uniform(0.2, 0.32)

    profile = (
        [(half, 0.0), (half, 0.4 * rise), (0.6 * half, rise), (0.0, 1.12 * rise)] if lid == "rounded" else [(half, 0.0), (half, 0.5 * rise)]
    )
    if lid == "rounded":
        profile = [*profile[:3], (0.2 * half, 1.1 * rise)]

    def cover(length: float, grow: float) -> Solid:
        """A lid, or a band over it, along x, its hinge at the origin."""
        grown = [(x + grow * (x > 0.5 * half), z + (grow if i else 0.3 * grow)) for i, (x, z) in enumerate(profile)]
        solid = plate(length, *grown).turned(pi / 2).moved(0, -half, 0)
        return solid.pitched(-1.9) if opened else solid

    hinge = (0.0, half, lift + height + 0.02)
    if opened:
        inside = 0.78
        body = lathe(4, (0.94, 0), (1, height), (inside, height), (inside - 0.02, 0.35 * height)).scaled(width * 0.7071, depth * 0.7071)
    else:
        body = box(0.94 * width, 0.94 * depth, height, top=(1 / 0.94, 1 / 0.94))
    solids = [body.moved(z=lift), cover(width, 0.0).moved(*hinge)]
    for x in ({2: (-0.3, 0.3), 3: (-0.36, 0.0, 0.36)}[bands]) if bands else ():
        solids.append(cover(wide, 0.04).moved(x * width, hinge[1], hinge[2]))
        solids.append(box(0.96 * wide, 0.08, height - 0.05, (x * width, -0.47 * depth, lift + 0.03), top=(1, 1), shift=(0, -0.03 * depth)))
    if lock:
        solids.append(box(0.15, 0.12, 0.18, (0, -half - 0.01, lift + height - 0.13)))
    if feet:
        solids += pair(*(box(0.13, 0.13, 0.13, (0.47 * width - 0.08, y * (0.47 * depth - 0.08), 0)) for y in (-1, 1)))

    return solids, Facts(
        names=("chest", "treasure chest", "trunk", "open chest" if opened else "closed chest"),
        adjectives=(*sized(width / depth, 1.5, 1.9, "compact", "long"), *sized(height / width, 0.33, 0.46, "low", "tall")),
        features=(
            f"a {lid} lid",
            "an open lid" if opened else "a closed lid",
            several(bands, "band") if bands else "no bands",
            "a lock" if lock else "no lock",
            *(("four feet",) if feet else ()),
        ),
        materials=("wooden", "pirate", "old"),
        parameters={"lid": lid, "open": opened, "bands": bands, "lock": lock, "feet": 4 * feet},
    )
