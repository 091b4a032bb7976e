"""Shelves, cabinets and barrels."""

from __future__ import annotations

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.legs import four_legs
from training.procedural.parts import Solid, box, lathe, pair, prism
from training.procedural.registry import family


@family
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


@family
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


@family
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
