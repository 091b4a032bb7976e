"""Beds, lamps, books, televisions and clocks."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.legs import four_legs, legs_around
from training.procedural.parts import BOX_FACES, Solid, box, extrude, gable, lathe, pair, plate, prism, ring
from training.procedural.registry import family


@family(held_out={"stand": "tripod", "shade": "drum"})
def lamp(rng: Generator) -> tuple[list[Solid], Facts]:
    floor = chance(rng, 0.5)
    height = rng.uniform(1.3, 1.7) if floor else rng.uniform(0.5, 0.75)
    shade, shade_height = rng.uniform(0.2, 0.28) * (1.15 if floor else 0.75), rng.uniform(0.28, 0.4) * (1.0 if floor else 0.6)
    form, stand = pick(rng, ("conical", "drum")), pick(rng, ("round", "square", "tripod") if floor else ("round", "square", "body"))
    pole, plate = 0.022 * height, 0.045 * height
    spread = 0.62 * shade

    solids = [prism(8, shade, shade_height, (0, 0, height - shade_height), top=0.5 if form == "conical" else 0.92)]
    if stand == "tripod":
        hub = 0.55 * height
        solids.append(prism(6, pole, height - 0.8 * shade_height - hub - 0.8 * plate, (0, 0, hub + 0.8 * plate)))
        solids.append(prism(6, 0.08 * height, plate, (0, 0, hub)))
        solids += legs_around(3, "straight", 2 * pole, hub + 0.5 * plate, 1.2 * shade, 0.96 * shade)
    else:
        solids.append(prism(6, pole, height - 0.8 * shade_height - plate / 2, (0, 0, plate / 2)))
    if stand == "round":
        solids.append(prism(8, spread, plate))
    if stand == "square":
        solids.append(box(1.6 * spread, 1.6 * spread, plate))
    if stand == "body":
        body = height - 1.35 * shade_height
        solids.append(lathe(8, (0.7 * spread, 0), (spread, 0.35 * body), (0.35 * spread, body)))

    stands = {"round": "a round base", "square": "a square base", "tripod": "three legs", "body": "a bulging body"}
    return solids, Facts(
        names=("lamp", *(("floor lamp", "standing lamp") if floor else ("table lamp", "desk lamp", "bedside lamp"))),
        adjectives=sized(height / shade, 3.4, 5.5, "low", "tall"),
        features=(stands[stand], f"a {form} shade", *sized(shade / height, 0.17, 0.33, "a narrow shade", "a wide shade")),
        materials=("metal", "wooden"),
        parameters={"kind": "floor" if floor else "table", "shade": form, "stand": stand, "legs": 3 if stand == "tripod" else 0},
    )


@family(held_out={"headboard": "slatted", "footboard": True})
def bed(rng: Generator) -> tuple[list[Solid], Facts]:
    double = chance(rng, 0.5)
    width, length = rng.uniform(1.4, 1.8) if double else rng.uniform(0.85, 1.1), rng.uniform(1.95, 2.15)
    foot, rail, pad = rng.uniform(0.14, 0.24), rng.uniform(0.14, 0.2), rng.uniform(0.14, 0.24)
    headboard, footboard = pick(rng, ("solid", "solid", "slatted", "none")), chance(rng, 0.35)
    pillows, blanket = 2 if double else 1, chance(rng, 0.5)
    high = rng.uniform(0.3, 0.55)

    top, surface, head = foot + rail, foot + rail + pad, length / 2
    solids = [
        *four_legs("straight", rng.uniform(0.09, 0.13), foot + 0.06, width - 0.08, length - 0.08),
        box(width, length, rail, (0, 0, foot)),
        box(width - 0.12, length - 0.12, pad + 0.04, (0, 0, top - 0.04)),
    ]
    if headboard == "solid":
        solids.append(box(width + 0.08, 0.09, surface + high - foot, (0, head, foot + 0.06)))
    if headboard == "slatted":
        solids += pair(box(0.1, 0.12, surface + high - foot, (width / 2 - 0.03, head, foot + 0.06)))
        solids.append(box(width, 0.085, 0.12, (0, head, surface + high - 0.1)))
        for x in (-0.33, -0.11, 0.11, 0.33) if double else (-0.25, 0.0, 0.25):
            solids.append(box(0.08, 0.05, surface + high - foot - 0.1, (x * width, head, foot + 0.1)))
    if footboard:
        solids.append(box(width + 0.08, 0.09, rail + pad + 0.06, (0, -head, foot + 0.06)))
    place = (width - 0.16) / pillows
    for i in range(pillows):
        solids.append(box(place - 0.12, 0.36, 0.14, ((i - (pillows - 1) / 2) * place, head - 0.34, surface - 0.03), top=(0.85, 0.75)))
    if blanket:
        reach = 0.6 * length
        solids.append(box(width - 0.03, reach, pad + 0.03, (0, -head + 0.1 + reach / 2, top + 0.03)))

    heads = {"solid": "a headboard", "slatted": "a slatted headboard", "none": "no headboard"}
    return solids, Facts(
        names=("bed", "double bed" if double else "single bed"),
        adjectives=("wide",) if double else ("narrow",),
        features=(
            heads[headboard],
            *(("a high headboard",) if headboard != "none" and high > 0.45 else ()),
            "a footboard" if footboard else "no footboard",
            several(pillows, "pillow"),
            *(("a blanket",) if blanket else ()),
        ),
        materials=("wooden", "metal"),
        parameters={"double": double, "headboard": headboard, "footboard": footboard, "pillows": pillows, "blanket": blanket, "legs": 4},
    )


@family(held_out={"pose": "open", "ribbon": True})
def book(rng: Generator) -> tuple[list[Solid], Facts]:
    pose, bands = pick(rng, ("lying", "standing", "open")), whole(rng, 0, 3)
    ribbon = pose != "standing" and chance(rng, 0.4)
    width, height, thick = rng.uniform(0.55, 0.75), rng.uniform(0.8, 1.0), rng.uniform(0.17, 0.32)
    cover = rng.uniform(0.032, 0.042)

    if pose == "open":
        thick, tilt, bands = rng.uniform(0.11, 0.16), rng.uniform(0.1, 0.3), 0
        pages = extrude(
            [
                (0.03, cover + 0.01),
                (0.93 * width, cover * 0.8),
                (0.93 * width, 0.7 * thick),
                (0.4 * width, 1.1 * thick),
                (0.03, 0.75 * thick),
            ],
            0.92 * height,
        )
        board = box(width, height, cover, (width / 2 + 0.015, 0, 0))
        solids = pair(*(Solid(part.vertices + np.abs(part.vertices[:, :1]) * (0.0, 0.0, tilt), part.faces) for part in (pages, board)))
        if ribbon:
            solids.append(box(0.06, 0.5 * height, 0.05, (0, -0.42 * height, 0.5 * thick)))
    else:
        solids = [
            box(cover, height, thick, (-width / 2, 0, 0)),
            box(width - 0.004, height - 0.03, cover, (0.012, 0, 0.015)),
            box(width - 0.004, height - 0.03, cover, (0.012, 0, thick - cover - 0.015)),
            box(0.9 * width, 0.9 * height, thick - 1.2 * cover - 0.02, (-0.01 * width, 0, 0.6 * cover + 0.01)),
        ]
        for i in range(bands):
            solids.append(box(cover + 0.05, 0.06, thick + 0.03, (-width / 2 + 0.01, (i - (bands - 1) / 2) * 0.28 * height, -0.015)))
        if ribbon:
            solids.append(box(0.07, 0.3, 0.03, (-0.1 * width, -0.54 * height, 0.45 * thick)))
        if pose == "standing":  # on its lower edge, the spine to the left, its front cover towards the front
            solids = [Solid(part.vertices[:, [0, 2, 1]] * (1, -1, 1) + (0, 0, height / 2), part.faces) for part in solids]

    return solids, Facts(
        names=(
            "book",
            *(
                ("open book",)
                if pose == "open"
                else ("closed book", "tome" if thick > 0.26 else "notebook" if thick < 0.21 else "hardback")
            ),
        ),
        adjectives=(*(sized(thick, 0.2, 0.26, "thin", "thick") if pose != "open" else ()), *((pose,) if pose == "standing" else ())),
        features=(
            {"lying": "closed covers", "standing": "closed covers", "open": "open pages"}[pose],
            "a ribbon" if ribbon else "no ribbon",
            *((several(bands, "spine band"),) if bands else ()),
        ),
        materials=("leather", "old"),
        parameters={"pose": pose, "ribbon": ribbon, "bands": bands},
    )


@family(held_out={"kind": "flat", "stand": "feet", "speakers": 2})
def television(rng: Generator) -> tuple[list[Solid], Facts]:
    kind = pick(rng, ("flat", "old", "old"))
    stand = pick(rng, ("foot", "feet")) if kind == "flat" else pick(rng, ("legs", "none"))
    antennas, knobs, speaker = (whole(rng, 1, 2), whole(rng, 0, 3), chance(rng, 0.25)) if kind == "old" else (0, 0, chance(rng, 0.4))
    height = rng.uniform(0.6, 0.85)
    width = height * (rng.uniform(1.5, 1.85) if kind == "flat" else rng.uniform(1.15, 1.4))
    depth, lift = (0.09, rng.uniform(0.14, 0.24)) if kind == "flat" else (rng.uniform(0.5, 0.75), 0.25 if stand == "legs" else 0.0)
    front = -depth / 2

    rim = 0.06 if kind == "flat" else 0.09
    wide = width - 2 * rim - (0.24 if knobs else 0.0)
    solids = [rimmed(width, depth, height, wide, rim, (knobs > 0) * -0.12).moved(z=lift)]
    if kind == "flat" and stand == "foot":
        solids += [box(0.14, 0.07, lift + 0.02, (0, 0.03, 0.02)), box(0.45 * width, 0.32, 0.06)]
    if kind == "flat" and stand == "feet":
        solids += pair(box(0.09, 0.34, lift + 0.05, (0.33 * width, 0.01, 0), top=(1, 0.2)))
    if stand == "legs":
        solids += four_legs("tapered", 0.1, lift + 0.03, width - 0.06, depth - 0.06)
    if kind == "old":
        solids.append(box(0.75 * width, 0.3, 0.7 * height, (0, depth / 2 + 0.1, lift + 0.12 * height)))
    for i in range(knobs):
        solids.append(prism(6, 0.065, 0.1).lying_along_y().moved(width / 2 - 0.15, front + 0.04, lift + height * (0.72 - 0.22 * i)))
    for i in range(antennas):
        rod = box(0.04, 0.04, 0.55).rolled((-0.5, 0.5)[i] if antennas == 2 else 0.35)
        solids.append(rod.moved((-0.03, 0.03)[i], 0.05, lift + height - 0.03))
    if antennas:
        solids.append(box(0.24, 0.16, 0.08, (0, 0.05, lift + height - 0.02)))
    if speaker:
        solids += pair(box(0.12, 0.7 * max(depth, 0.14), 0.8 * height, (width / 2 + 0.03, 0.01, lift + 0.1 * height)))

    return solids, Facts(
        names=("television", "tv", "flat screen tv" if kind == "flat" else "old tv set", "television set"),
        adjectives=("flat",) if kind == "flat" else ("boxy",),
        features=(
            {"foot": "a stand", "feet": "two feet", "legs": "four legs", "none": "no legs"}[stand],
            *((several(antennas, "antenna"), several(knobs, "knob") if knobs else "no knobs") if kind == "old" else ("a wide screen",)),
            *(("speakers on both sides",) if speaker else ()),
        ),
        materials=("retro",) if kind == "old" else ("modern",),
        parameters={
            "kind": kind,
            "stand": stand,
            "antennas": antennas,
            "knobs": knobs,
            "speakers": 2 * speaker,
            "legs": 4 if stand == "legs" else 0,
        },
    )


def rimmed(width: float, depth: float, height: float, wide: float, rim: float, x: float) -> Solid:
    """A box with a sunken screen in its front, `wide` across and `x` off the middle: 14 quads."""
    case, hole = box(width, depth, height).vertices, box(wide, depth, height - 2 * rim, (x, 0, rim)).vertices[[0, 1, 5, 4]]
    vertices = np.concatenate([case, hole, hole + np.array([0.0, 0.4 * min(depth, 0.1), 0.0])])
    around = [[a, b, d, c] for a, b, c, d in ((0, 1, 8, 9), (1, 5, 9, 10), (5, 4, 10, 11), (4, 0, 11, 8))]
    sunk = [[a, b, b + 4, a + 4] for a, b in ((8, 9), (9, 10), (10, 11), (11, 8))]
    kept = [face for face in BOX_FACES.tolist() if set(face) != {0, 1, 5, 4}]
    return Solid(vertices, np.array([*kept, *around, *sunk, [12, 13, 14, 15]], np.int64))


@family(held_out={"weights": 1, "crown": "gabled"})
def clock(rng: Generator) -> tuple[list[Solid], Facts]:
    kind, sides = pick(rng, ("alarm", "grandfather", "mantel")), pick(rng, (8, 10, 12))
    hour, minute = rng.uniform(0, 2 * pi), rng.uniform(0, 2 * pi)
    solids, (y, z, dial), facts = {"alarm": alarm_clock, "grandfather": grandfather_clock, "mantel": mantel_clock}[kind](rng, sides)
    for reach, angle, wide, out in ((0.55, hour, 0.06, 0.0), (0.8, minute, 0.05, 0.03)):
        solids.append(box(wide, 0.05, reach * dial, (0, 0, -0.02)).rolled(angle).moved(0, y - out, z))

    return solids, Facts(
        names=("clock", *facts.names),
        adjectives=facts.adjectives,
        features=("two hands", "a round dial", *facts.features),
        materials=facts.materials,
        parameters={"kind": kind, "hands": 2, **facts.parameters},
    )


# The case of a clock; where its hands turn, as y, z and the radius of the dial; and what is true of it.
Case = tuple[list[Solid], tuple[float, float, float], Facts]


def alarm_clock(rng: Generator, sides: int) -> Case:
    radius, bells = rng.uniform(0.32, 0.4), pick(rng, (0, 2, 2))
    z = radius + 0.14
    solids = [
        prism(sides, radius, 0.28).lying_along_y().moved(0, 0.14, z),
        ring(sides, 1.1 * radius, 0.84 * radius, 0.12).lying_along_y().moved(0, -0.1, z),
        *pair(box(0.09, 0.12, 0.26, (0.72 * radius, 0, 0), shift=(-0.12, 0))),
    ]
    if bells:
        solids += pair(lathe(6, (0.17, 0), (0.13, 0.1), (0.04, 0.14)).rolled(0.55).moved(0.6 * radius, 0, z + 0.93 * radius))
        solids.append(box(0.05, 0.06, 0.34, (0, 0, z + 0.9 * radius)))
    facts = Facts(
        names=("alarm clock", "bedside clock"),
        adjectives=("round",),
        features=("two legs", several(bells, "bell") if bells else "no bells"),
        materials=("metal",),
        parameters={"legs": 2, "bells": bells},
    )
    return solids, (-0.14, z, radius), facts


def grandfather_clock(rng: Generator, sides: int) -> Case:
    width, height, weights, crown = rng.uniform(0.42, 0.52), rng.uniform(1.7, 2.2), whole(rng, 0, 2), pick(rng, ("gabled", "flat"))
    deep, dial = 0.3, 0.42 * width
    z, front = height - 0.34, -deep / 2
    solids = [
        box(1.25 * width, deep + 0.12, 0.34),
        box(width, deep, height - 0.6, (0, 0, 0.3)),
        box(1.2 * width, deep + 0.06, 0.56, (0, 0, height - 0.62)),
        prism(sides, 1.2 * dial, 0.1).lying_along_y().moved(0, front + 0.03, z),
        box(0.7 * width, 0.08, height - 1.16, (0, front, 0.42)),
    ]
    if crown == "gabled":
        solids.append(gable(1.4 * width, deep + 0.2, 0.2, (0, 0, height - 0.08)))
    else:
        solids.append(box(1.4 * width, deep + 0.16, 0.1, (0, 0, height - 0.08)))
    solids += [prism(6, 0.055, 0.32, ((i - (weights - 1) / 2) * 0.2, front - 0.06, 0.62)) for i in range(weights)]
    facts = Facts(
        names=("grandfather clock", "longcase clock"),
        adjectives=("tall",),
        features=(several(weights, "weight") if weights else "no weights", f"a {crown} top"),
        materials=("wooden", "antique"),
        parameters={"weights": weights, "crown": crown},
    )
    return solids, (front - 0.07, z, dial), facts


def mantel_clock(rng: Generator, sides: int) -> Case:
    width, radius, feet = rng.uniform(0.8, 1.05), rng.uniform(0.28, 0.34), chance(rng, 0.4)
    z, lift = radius + 0.14, 0.07 if feet else 0.0
    solids = [
        plate(0.3, (width / 2, 0), (0.42 * width, 0.16), (0.98 * radius, 1.1 * radius), (0.62 * radius, 2.1 * radius), at=(0, 0, 0.08)),
        box(1.12 * width, 0.42, 0.1),
        prism(sides, 0.82 * radius, 0.1).lying_along_y().moved(0, -0.1, z),
    ]
    solids = [part.moved(z=lift) for part in solids]
    if feet:
        solids += pair(*(box(0.1, 0.1, 0.1, (0.47 * width, y, 0)) for y in (-0.13, 0.13)))
    facts = Facts(
        names=("mantel clock", "table clock"),
        adjectives=("low",),
        features=("a wide base", "four feet" if feet else "no feet"),
        materials=("wooden", "antique"),
        parameters={"feet": 4 * feet},
    )
    return solids, (-0.21, z + lift, 0.82 * radius), facts
