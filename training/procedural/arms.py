"""Swords, axes, hammers, shields, anvils and keys; what has a handle stands on it."""

from __future__ import annotations

from math import pi

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, box, extrude, lathe, pair, plate, prism, ring
from training.procedural.registry import family


@family(held_out={"guard": "curved", "pommel": "round"})
def sword(rng: Generator) -> tuple[list[Solid], Facts]:
    guard, pommel = pick(rng, ("straight", "straight", "curved", "round")), pick(rng, ("round", "square", "none"))
    blade, width, grip = rng.uniform(0.7, 1.4), rng.uniform(0.1, 0.17), rng.uniform(0.2, 0.36)
    tip, fuller = rng.uniform(0.12, 0.3), chance(rng, 0.35)
    reach, foot = rng.uniform(0.16, 0.26), 0.06 if pommel != "none" else 0.0

    hilt = foot + grip
    straight = lathe(4, (0.5 * width, 0), (0.46 * width, blade - tip), (0, blade), at=(0, 0, 0)).turned(pi / 4).scaled(y=0.45)
    solids = [straight.scaled(x=1.35).moved(z=hilt), prism(6, 0.042, grip + 0.04, (0, 0, foot - 0.02))]
    if guard == "straight":
        solids.append(box(2 * reach, 0.1, 0.075, (0, 0, hilt - 0.03)))
    if guard == "curved":
        solids.append(box(0.16, 0.1, 0.08, (0, 0, hilt - 0.03)))
        solids += pair(box(0.075, 0.09, reach, top=(0.7, 0.8), shift=(-0.09, 0)).rolled(pi / 2).moved(0.05, 0, hilt + 0.01))
    if guard == "round":
        solids.append(prism(8, 0.75 * reach, 0.055, (0, 0, hilt - 0.02)))
    if pommel == "round":
        solids.append(lathe(6, (0.035, 0), (0.075, 0.05), (0.035, 0.1)))
    if pommel == "square":
        solids.append(box(0.11, 0.1, 0.1))
    if fuller:
        solids.append(box(0.28 * width, 0.42 * width, 0.6 * (blade - tip), (0, 0, hilt + 0.05), top=(0.7, 0.9)))

    total = hilt + blade
    return solids, Facts(
        names=("sword", "longsword" if total > 1.45 else "short sword" if total < 1.15 else "broadsword", "blade"),
        adjectives=(*sized(total, 1.15, 1.5, "short", "long"), *sized(width / blade, 0.1, 0.17, "narrow", "wide")),
        features=(
            {"straight": "a straight guard", "curved": "a curved guard", "round": "a round guard"}[guard],
            {"round": "a round pommel", "square": "a square pommel", "none": "no pommel"}[pommel],
            *sized(grip / blade, 0.2, 0.36, "a short grip", "a long grip"),
            *(("a ridge on the blade",) if fuller else ()),
        ),
        materials=("steel", "metal", "knight's"),
        parameters={"guard": guard, "pommel": pommel, "fuller": fuller},
    )


@family(held_out={"blades": 2, "spike": True})
def axe(rng: Generator) -> tuple[list[Solid], Facts]:
    blades, spike, knob = pick(rng, (1, 1, 2)), chance(rng, 0.35), chance(rng, 0.5)
    height, thick, reach, edge = rng.uniform(0.9, 1.5), rng.uniform(0.07, 0.1), rng.uniform(0.24, 0.38), rng.uniform(0.22, 0.36)
    curve, straps = rng.uniform(0.02, 0.1), whole(rng, 0, 2)
    middle = height - 0.2

    solids = [prism(6, 0.6 * thick, height)]
    outline = [(0.02, -0.09), (reach, -edge), (reach + curve + 0.03, 0.0), (reach, 0.9 * edge), (0.02, 0.09)]
    head = wedge(outline, 1.5 * thick, 0.45 * thick).moved(z=middle)
    solids += [head, head.mirrored().moved(0, 0.008, 0)][:blades]
    if blades == 1:
        solids.append(box(0.14, 1.3 * thick, 0.17, (-0.09, 0, middle - 0.085), top=(0.9, 0.9)))
    else:
        solids.append(box(1.9 * thick, 1.9 * thick, 0.22, (0, 0, middle - 0.11)))
    if spike:
        solids.append(prism(4, 0.8 * thick, 0.22, (0, 0, height - 0.02), top=0.0))
    if knob:
        solids.append(prism(6, 0.95 * thick, 0.08))
    for i in range(straps):
        solids.append(prism(6, 0.78 * thick, 0.07, (0, 0, 0.2 + 0.16 * i)))

    return solids, Facts(
        names=("axe", "double axe" if blades == 2 else "hatchet" if height < 1.1 else "woodcutter's axe", "battle axe"),
        adjectives=(*sized(height, 1.05, 1.3, "short", "long"),),
        features=(
            several(blades, "blade"),
            "a spike on top" if spike else "no spike",
            *sized(edge, 0.26, 0.32, "a small blade", "a large blade")[: 2 - blades],
            *(("a knob at the end",) if knob else ()),
            *((several(straps, "grip band"),) if straps else ()),
        ),
        materials=("steel", "iron", "viking"),
        parameters={"blades": blades, "spike": spike, "straps": straps, "bands": straps},
    )


def wedge(outline: list[tuple[float, float]], root: float, edge: float) -> Solid:
    """An extrusion whose thickness falls from `root` at its least x to `edge` at its greatest."""
    solid = extrude(outline, 1.0)
    x = solid.vertices[:, 0]
    vertices = solid.vertices.copy()
    vertices[:, 1] *= root + (edge - root) * (x - x.min()) / (x.max() - x.min())
    return Solid(vertices, solid.faces)


@family(held_out={"kind": "mallet", "collar": True})
def hammer(rng: Generator) -> tuple[list[Solid], Facts]:
    kind, collar, straps = pick(rng, ("claw", "mallet", "sledge")), chance(rng, 0.4), whole(rng, 0, 2)
    height, thick = rng.uniform(0.75, 1.3), rng.uniform(0.07, 0.095)
    size, length = rng.uniform(0.1, 0.14), rng.uniform(0.2, 0.3)
    top, middle = height - 0.06, height - 0.09

    solids = [prism(6, 0.62 * thick, top, top=0.9)]
    if kind == "mallet":
        solids.append(prism(8, 1.3 * size, 2.4 * length).lying_along_x().moved(-1.2 * length, 0, middle))
        solids += pair(prism(8, 1.5 * size, 0.09).lying_along_x().moved(1.2 * length - 0.06, 0, middle))
    if kind == "sledge":
        solids.append(box(2.4 * length, 2.1 * size, 2.1 * size, (0, 0, middle - size)))
        solids += pair(box(0.1, 2.5 * size, 2.5 * size, (1.1 * length, 0, middle - 1.25 * size)))
    if kind == "claw":
        solids.append(box(0.24, 1.3 * size, 1.3 * size, (0.02, 0, middle - 0.65 * size)))
        solids.append(prism(6, 0.85 * size, 0.14).lying_along_x().moved(0.11, 0, middle))
        claw = extrude([(-0.05, -0.05), (-0.05, 0.05), (-0.22, 0.02), (-0.34, -0.13), (-0.21, -0.07)], 0.4 * size)
        solids += [claw.moved(0, y * 0.32 * size, middle) for y in (-1, 1)]
    if collar:
        solids.append(prism(6, thick, 0.1, (0, 0, middle - 1.5 * size - 0.1)))
    for i in range(straps):
        solids.append(prism(6, 0.8 * thick, 0.06, (0, 0, 0.08 + 0.14 * i)))

    return solids, Facts(
        names=(
            "hammer",
            {"claw": "claw hammer", "mallet": "mallet", "sledge": "sledgehammer"}[kind],
            *(("war hammer",) if kind == "sledge" else ()),
        ),
        adjectives=sized(height, 0.9, 1.15, "short", "long"),
        features=(
            {"claw": "a split claw", "mallet": "a round head", "sledge": "a square head"}[kind],
            *(("a collar",) if collar else ()),
            *((several(straps, "grip band"),) if straps else ()),
            *sized(size, 0.11, 0.13, "a small head", "a big head"),
        ),
        materials=("iron", "wooden", "steel"),
        parameters={"kind": kind, "collar": collar, "bands": straps},
    )


# Shields as (half width, height) from the bottom upwards, both of 1.
SHIELDS = {
    "heater": ((0, 0), (0.55, 0.22), (0.92, 0.5), (1.0, 1.0)),
    "kite": ((0, 0), (0.6, 0.4), (0.95, 0.72), (0.7, 0.94), (0.3, 1.0)),
    "tower": ((0.8, 0), (1.0, 0.07), (1.0, 0.93), (0.8, 1.0)),
}


@family(held_out={"form": "heater", "emblem": "boss"})
def shield(rng: Generator) -> tuple[list[Solid], Facts]:
    form, emblem = pick(rng, ("round", "heater", "kite", "tower")), pick(rng, ("none", "boss", "cross", "stripe"))
    half, rivets, rim = rng.uniform(0.42, 0.55), pick(rng, (0, 0, 4)), chance(rng, 0.6)
    height = {"round": 2 * half, "heater": rng.uniform(1.1, 1.3), "kite": rng.uniform(1.4, 1.7), "tower": rng.uniform(1.3, 1.6)}[form]
    sides, thick = pick(rng, (8, 10, 12)), 0.09

    if form == "round":
        solids = [lathe(sides, (half, 0), (half, 0.06), (0.6 * half, 0.13)).lying_along_y().moved(z=half)]
        if rim:
            solids.append(ring(sides, 1.08 * half, 0.86 * half, 0.12).lying_along_y().moved(0, 0.03, half))
    else:
        profile = [(half * x, height * z) for x, z in SHIELDS[form]]
        solids = [plate(thick, *profile)]
        if rim:
            inner = [(0.8 * x, 0.1 * height + 0.82 * z) for x, z in profile]
            solids.append(plate(0.1, *inner, at=(0, -0.05, 0)))
    z = half if form == "round" else {"heater": 0.6, "kite": 0.68, "tower": 0.5}[form] * height
    front = -0.13 if form == "round" else -0.12 if rim else -0.07
    if emblem == "boss":
        solids.append(lathe(6, (0.32 * half, 0), (0.26 * half, 0.09), (0, 0.15)).lying_along_y().moved(0, front + 0.05, z))
    if emblem == "cross":
        solids.append(box(0.2 * half, 0.12, 0.62 * height, (0, front, z - 0.36 * height + (0.05 * height if form == "round" else 0))))
        solids.append(box(1.2 * half, 0.08, 0.2 * half, (0, front, z - 0.02)))
    if emblem == "stripe":
        solids.append(box(0.34 * half, 0.1, 0.66 * height, (0, front, z - (0.38 if form != "round" else 0.33) * height)))
    if rivets:
        spots = (
            [(0.62 * half, 0.26), (0.62 * half, -0.12)] if form != "round" else [(0.42 * half, 0.42 * half), (0.42 * half, -0.42 * half)]
        )
        solids += pair(*(box(0.09, 0.14, 0.09, (x, front + 0.02, z + dz - 0.045)) for x, dz in spots))

    names = {
        "round": ("round shield", "buckler"),
        "heater": ("knight's shield", "heater shield"),
        "kite": ("kite shield",),
        "tower": ("tower shield", "square shield"),
    }
    return solids, Facts(
        names=("shield", *names[form]),
        adjectives=({"round": "round", "heater": "pointed", "kite": "long", "tower": "rectangular"}[form],),
        features=(
            {"none": "a plain front", "boss": "a pointed boss", "cross": "a cross", "stripe": "a vertical stripe"}[emblem],
            *(("a raised rim" if form == "round" else "a raised panel",) if rim else ()),
            *(("four rivets",) if rivets else ("no rivets",)),
        ),
        materials=("wooden", "steel", "metal"),
        parameters={"form": form, "emblem": emblem, "rim": rim, "rivets": rivets},
    )


@family(held_out={"base": "stump", "horn": (0.5, 0.6)})
def anvil(rng: Generator) -> tuple[list[Solid], Facts]:
    base, horn, tail = pick(rng, ("block", "block", "stump")), rng.uniform(0.3, 0.6), chance(rng, 0.6)
    length, width, waist = rng.uniform(0.7, 0.95), rng.uniform(0.3, 0.42), rng.uniform(0.45, 0.62)
    height = rng.uniform(0.5, 0.7)
    lift = rng.uniform(0.45, 0.6) if base == "stump" else 0.0

    solids = [
        box(0.8 * length, 1.15 * width, 0.18 * height, (0, 0, lift), top=(0.9, 0.9)),
        box(0.66 * length, width, 0.28 * height, (0, 0, lift + 0.14 * height), top=(1.09 * waist, 0.7)),
        box(waist * 0.64 * length, 0.66 * width, 0.4 * height, (0, 0, lift + 0.36 * height), top=(1.6, 1.3)),
        box(length, width, 0.3 * height, (0, 0, lift + 0.7 * height)),
        prism(6, 0.42 * width, horn, top=0.0)
        .lying_along_x()
        .scaled(z=0.32 * height / width)
        .moved(length / 2 - 0.03, 0, lift + 0.84 * height),
    ]
    if tail:
        solids.append(box(0.22, 0.7 * width, 0.2 * height, (-length / 2 - 0.08, 0, lift + 0.78 * height)))
    if base == "stump":
        solids.append(lathe(8, (0.62 * length, 0), (0.55 * length, 0.3 * lift), (0.53 * length, lift + 0.02)))

    return solids, Facts(
        names=("anvil", "blacksmith's anvil", "smith's anvil"),
        adjectives=sized(length / height, 1.2, 1.6, "short", "long"),
        features=(
            *sized(horn, 0.38, 0.52, "a short horn", "a long horn"),
            "a pointed horn",
            "a heel" if tail else "no heel",
            *(("a wooden stump below",) if base == "stump" else ("a wide foot",)),
        ),
        materials=("iron", "steel", "heavy"),
        parameters={"base": base, "horn": horn, "heel": tail},
    )


@family(held_out={"bow": "round", "teeth": 3})
def key(rng: Generator) -> tuple[list[Solid], Facts]:
    bow, teeth, collars = pick(rng, ("round", "square", "clover")), whole(rng, 1, 3), whole(rng, 0, 2)
    size, shaft, thick = rng.uniform(0.2, 0.28), rng.uniform(0.6, 0.95), rng.uniform(0.05, 0.065)
    sides = {"round": 8, "square": 4, "clover": 6}[bow]

    middle = shaft + 0.85 * size
    solids = [prism(6, thick, shaft + 0.06, (0, 0, 0))]
    if bow == "clover":
        third = 0.56 * size
        for x, z in ((-0.72 * size, 0), (0.72 * size, 0), (0, 0.85 * size)):
            solids.append(ring(6, third, 0.5 * third, 0.11).lying_along_y().moved(x, 0.055 + 0.01 * (x != 0), middle + z))
        solids.append(box(0.36 * size, 0.14, 1.1 * size, (0, 0, shaft)))
    else:
        loop = ring(sides, size * (1.2 if bow == "square" else 1.0), 0.55 * size * (1.2 if bow == "square" else 1.0), 0.15)
        solids.append(loop.lying_along_y().moved(0, 0.075, shaft + 0.95 * size))
    for i in range(collars):
        solids.append(prism(6, 1.7 * thick, 0.06, (0, 0, shaft - 0.1 - 0.12 * i)))
    for i in range(teeth):
        solids.append(box(0.22 - 0.04 * (i % 2), 0.07, 0.075, (0.11 - 0.02 * (i % 2), 0, 0.03 + 0.115 * i)))

    return solids, Facts(
        names=("key", "door key", "old key"),
        adjectives=sized(shaft / size, 2.9, 3.9, "short", "long"),
        features=(
            {"round": "a round bow", "square": "a square bow", "clover": "a clover bow"}[bow],
            several(teeth, "tooth"),
            *((several(collars, "collar"),) if collars else ("no collar",)),
        ),
        materials=("metal", "golden", "rusty"),
        parameters={"bow": bow, "teeth": teeth, "collars": collars},
    )
