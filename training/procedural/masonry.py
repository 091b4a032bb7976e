"""What buildings and yards are put together from: columns, stairs, doors, tombstones."""

from __future__ import annotations

from math import pi

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, arc, box, extrude, lathe, pair, plate, prism
from training.procedural.registry import family


@family(held_out={"shaft": "round", "capital": "flared", "steps": 2})
def column(rng: Generator) -> tuple[list[Solid], Facts]:
    shaft, steps, capital = pick(rng, ("round", "round", "square")), whole(rng, 0, 2), pick(rng, ("square", "flared", "none"))
    sides, radius, height, taper = pick(rng, (6, 8, 10)), rng.uniform(0.2, 0.32), rng.uniform(1.4, 2.6), rng.uniform(0.75, 1.0)
    bands, broken = whole(rng, 0, 2), capital == "none" and chance(rng, 0.5)

    if shaft == "round":
        pillar = lathe(sides, (radius, 0), (radius * taper, height))
    else:
        pillar = box(1.7 * radius, 1.7 * radius, height, top=(taper, taper))
    if broken:
        pillar = slanted(pillar, rng.uniform(0.35, 0.6), height)
    solids = [pillar]
    step = 0.09 * height
    for i in range(steps):
        size = radius * (3.2 - 0.6 * i)
        solids.append(box(size, size, step, (0, 0, 0.9 * i * step)))
    reach = radius * taper
    if capital == "square":
        solids.append(box(2.5 * reach, 2.5 * reach, 0.09 * height, (0, 0, 0.95 * height)))
    if capital == "flared":
        solids.append(lathe(8 if shaft == "round" else 4, (1.2 * reach, 0.88 * height), (1.75 * reach, 1.02 * height)))
        solids.append(box(2.9 * reach, 2.9 * reach, 0.06 * height, (0, 0, height)))
    for i in range(bands):
        z = (0.3, 0.62)[i] * height
        here = radius * (1 - (1 - taper) * z / height) + 0.045
        solids.append(
            prism(sides, here, 0.06 * height, (0, 0, z)) if shaft == "round" else box(1.8 * here, 1.8 * here, 0.06 * height, (0, 0, z))
        )

    return solids, Facts(
        names=("column", "pillar", *(("broken column", "ruined pillar") if broken else ())),
        adjectives=(*sized(height / radius, 6.5, 9.0, "stout", "tall"), shaft),
        features=(
            {"square": "a square capital", "flared": "a flared capital", "none": "a broken top" if broken else "no capital"}[capital],
            *((several(steps, "base step"),) if steps else ("no base",)),
            *((several(bands, "band"),) if bands else ()),
            *(("a tapered shaft",) if taper < 0.85 else ()),
        ),
        materials=("stone", "marble", "ancient"),
        parameters={"shaft": shaft, "steps": steps, "capital": capital, "bands": bands, "broken": broken},
    )


def slanted(solid: Solid, slope: float, height: float) -> Solid:
    """With its upper end cut askew: higher on the left."""
    vertices = solid.vertices.copy()
    vertices[:, 2] -= (vertices[:, 2] > 0.99 * height) * vertices[:, 0] * 2 * slope
    return Solid(vertices, solid.faces)


@family(held_out={"steps": 6, "kind": "solid"})
def staircase(rng: Generator) -> tuple[list[Solid], Facts]:
    kind, steps, rails = pick(rng, ("solid", "solid", "open")), whole(rng, 3, 8), whole(rng, 0, 2)
    width, tread, riser = rng.uniform(0.8, 1.9), rng.uniform(0.25, 0.32), rng.uniform(0.16, 0.24)
    length, height = steps * tread, steps * riser

    if kind == "solid":
        outline = [(0.0, 0.0)]
        for i in range(steps):
            outline += [(i * tread, (i + 1) * riser), ((i + 1) * tread, (i + 1) * riser)]
        solids = [stair_block(outline, length, width).moved(y=-length / 2)]
    else:
        solids = [box(width - 0.06, tread + 0.06, 0.07, (0, (i + 0.5) * tread - length / 2, (i + 1) * riser - 0.07)) for i in range(steps)]
        beam = extrude([(0, 0), (0.2, 0), (length - 0.02, height - 0.24), (length - 0.02, height - 0.04)], 0.09).turned(pi / 2)
        solids += pair(beam.moved(width / 2 - 0.01, -length / 2))
    rail_height, slope = 0.75, riser / tread
    for side in (1, -1)[:rails]:
        x = side * (width / 2 - 0.09)
        for share in (0.5, steps - 0.5):
            z = (int(share) + 1) * riser
            solids.append(box(0.07, 0.07, rail_height + 0.03, (x, share * tread - length / 2, z - 0.035)))
        run = length - tread
        bar = box(0.12, run + 0.24, 0.09, (0, 0, 0))
        tilt = bar.vertices.copy()
        tilt[:, 2] += slope * tilt[:, 1]
        solids.append(Solid(tilt, bar.faces).moved(x, 0, riser + rail_height - 0.05 + slope * run / 2))

    return solids, Facts(
        names=("staircase", "flight of stairs", "set of stairs", "stairway", "set of steps"),
        adjectives=(*sized(width, 1.05, 1.55, "narrow", "wide"), *sized(riser / tread, 0.6, 0.82, "shallow", "steep")),
        features=(
            several(steps, "step"),
            {0: "no railings", 1: "one railing", 2: "two railings"}[rails],
            "open steps" if kind == "open" else "solid steps",
        ),
        materials=("stone", "wooden"),
        parameters={"kind": kind, "steps": steps, "railings": rails},
    )


def stair_block(outline: list[tuple[float, float]], length: float, width: float) -> Solid:
    """Solid steps that rise towards the back; the outline runs up the steps as (y, z)."""
    flat = extrude([*((-y, z) for y, z in outline), (-length, 0.0)], width, fan=True)
    return flat.turned(-pi / 2)


@family(held_out={"shape": "arched", "panels": 2})
def door(rng: Generator) -> tuple[list[Solid], Facts]:
    shape, panels = pick(rng, ("rectangular", "rectangular", "arched")), pick(rng, (0, 1, 2, 2, 3, 4))
    width, height, side = rng.uniform(0.75, 1.05), rng.uniform(1.7, 2.1), rng.uniform(0.09, 0.15)
    double, step = chance(rng, 0.25), chance(rng, 0.3)
    wide = width * (1.7 if double else 1.0)

    inner = [(wide / 2, 0.0), (wide / 2, height)]
    if shape == "arched":
        inner = [(wide / 2, 0.0), *((x, height - wide / 2 + z + 0.12) for x, z in arc(wide / 2, 0, pi / 2, 4))]
        inner[-1] = (0.0, inner[-1][1])
    outer = [(x + side if x else 0.0, z + (side if i == len(inner) - 1 else side * (i > 0) * 0.7)) for i, (x, z) in enumerate(inner)]
    whole_inner, whole_outer = both_sides(inner), both_sides(outer)
    solids = [extrude(whole_outer + whole_inner[::-1], 0.26)]
    solids.append(plate(0.1, *[(max(x - 0.01, 0.0), max(z - 0.01, 0.02)) for x, z in inner]))
    leaves = (-1, 1) if double else (0,)
    straight = height - (0.42 * wide if shape == "arched" else 0.0)
    for leaf in leaves:
        for i in range(panels):
            rows, columns = (2, 2) if panels == 4 else (panels, 1)
            tall, broad = straight / rows, 0.92 * width * (0.9 if double else 1.0) / columns
            x = leaf * 0.42 * width + ((i % columns) - (columns - 1) / 2) * broad
            solids.append(box(0.72 * broad, 0.17, 0.74 * tall, (x, 0, (i // columns) * tall + 0.13 * tall + 0.02)))
        hand = leaf * 0.1 * width if double else 0.42 * width
        solids.append(box(0.07, 0.26, 0.09, (hand, -0.02, 0.46 * height)))
    if double:
        solids.append(box(0.05, 0.15, straight - 0.1, (0, 0, 0.03)))
    if step:
        solids.append(box(wide + 2 * side + 0.16, 0.55, 0.1, (0, -0.1, -0.06)))

    return solids, Facts(
        names=("door", "double door" if double else "front door"),
        adjectives=(*sized(height / wide, 1.4, 2.2, "wide", "narrow"), shape),
        features=(
            *((several(panels * len(leaves), "panel"),) if panels else ("no panels",)),
            "two handles" if double else "a handle",
            "a step" if step else "no step",
            "a frame",
        ),
        materials=("wooden", "metal"),
        parameters={"shape": shape, "panels": panels * len(leaves), "double": double, "handles": len(leaves)},
    )


def both_sides(right: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A chain of points on the right, upwards, and its mirror image on the left, downwards; a point in the middle stands once."""
    return right + [(-x, z) for x, z in right[::-1] if x]


@family(held_out={"shape": "round", "grave": True})
def tombstone(rng: Generator) -> tuple[list[Solid], Facts]:
    shape = pick(rng, ("round", "pointed", "square", "cross"))
    base, grave, tablet = whole(rng, 1, 2), chance(rng, 0.3), chance(rng, 0.4) and shape != "cross"
    half, height, thick = rng.uniform(0.3, 0.42), rng.uniform(0.75, 1.2), rng.uniform(0.16, 0.26)

    lift = 0.13 * base
    profiles = {
        "round": ((half, 0), (half, height - half), (0.87 * half, height - 0.5 * half), (0.5 * half, height - 0.13 * half), (0, height)),
        "pointed": ((half, 0), (half, height - 0.6 * half), (0, height)),
        "square": ((half, 0), (half, height)),
    }
    if shape == "cross":
        bar, place = 0.3 * half, 0.62 * height
        solids = [
            box(0.56 * half, thick, height + 0.05, (0, 0, lift - 0.05)),
            box(1.9 * half, 0.8 * thick, 2 * bar, (0, 0, lift + place - bar)),
        ]
    else:
        solids = [plate(thick, *profiles[shape], at=(0, 0, lift - 0.04))]
    if shape == "square":
        solids.append(box(2.3 * half, thick + 0.1, 0.12, (0, 0, lift + height - 0.1)))
    if tablet:
        solids.append(box(1.1 * half, 0.12, 0.4 * height, (0, -thick / 2, lift + 0.22 * height)))
    for i in range(base):
        solids.append(box((2.5 + 0.4 * (base - 1 - i)) * half, thick + 0.2 + 0.2 * (base - 1 - i), 0.15, (0, 0, 0.12 * i)))
    if grave:
        solids.append(box(1.9 * half, 1.2, 0.16, (0, -0.72 - thick / 2, 0), top=(0.8, 0.9)))

    return solids, Facts(
        names=("tombstone", "gravestone", "headstone", *(("grave",) if grave else ())),
        adjectives=(
            *sized(height / half, 2.3, 3.2, "low", "tall"),
            *({"round": ("rounded",), "pointed": ("pointed",), "square": ("square",)}.get(shape, ())),
        ),
        features=(
            {"round": "a rounded top", "pointed": "a pointed top", "square": "a flat top", "cross": "a cross"}[shape],
            *(("a tablet",) if tablet else ()),
            several(base, "base step"),
            "a stone slab in front" if grave else "no slab",
        ),
        materials=("stone", "mossy", "weathered"),
        parameters={"shape": shape, "steps": base, "grave": grave, "tablet": tablet},
    )
