"""Cacti, palm trees, flowers, bushes and potted plants."""

from __future__ import annotations

from math import pi

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, ball, box, lathe, loft, prism, ring
from training.procedural.registry import family


@family(held_out={"arms": 2, "pot": True})
def cactus(rng: Generator) -> tuple[list[Solid], Facts]:
    pot, flower = chance(rng, 0.35), chance(rng, 0.3)
    arms = pick(rng, (0, 0, 1, 2) if pot else (1, 2, 2, 3))
    sides, radius, height = pick(rng, (6, 8)), rng.uniform(0.2, 0.3), rng.uniform(1.0, 1.8)
    thickness = rng.uniform(0.5, 0.65) * radius

    solids = [finger(sides, radius, height)]
    for i in range(arms):
        place, reach, rise = height * rng.uniform(0.3, 0.5), radius + rng.uniform(0.2, 0.34), height * rng.uniform(0.22, 0.4)
        slim = thickness
        if i == 2:  # above the first, shorter
            slim = 0.85 * thickness
            place, reach, rise = 0.7 * height, radius + 0.16, 0.18 * height
        inside = (0.3, 0.4, 0.55)[i] * radius  # arms must not end in the same place
        across = prism(6, 0.88 * slim, reach - inside).lying_along_x().moved(inside, 0, place)
        upward = finger(6, 1.08 * slim, rise + slim).moved(reach, 0, place - 0.95 * slim)
        solids += [part.mirrored() if i == 1 else part for part in (across, upward)]
    if flower:
        solids.append(lathe(6, (0.05, 0), (0.55 * radius, 0.14), (0.2 * radius, 0.16), at=(0, 0, height - 0.04)))
    if pot:
        solids = [part.moved(z=0.28) for part in solids] + flowerpot(6, 1.8 * radius, 0.4)

    return solids, Facts(
        names=("cactus", "desert cactus", *(("potted cactus",) if pot else ("saguaro",) if arms else ())),
        adjectives=sized(height / radius, 5.0, 6.8, "stubby", "tall"),
        features=(
            several(arms, "arm") if arms else "no arms",
            "a pot" if pot else "no pot",
            *(("a flower on top",) if flower else ()),
            *sized(thickness / radius, 0.54, 0.61, "thin arms", "thick arms")[: min(arms, 1)],
        ),
        materials=("prickly",),
        parameters={"arms": arms, "pot": pot, "flower": flower},
    )


def finger(sides: int, radius: float, height: float) -> Solid:
    """An upright column with a blunt tip."""
    return lathe(sides, (0.85 * radius, 0), (radius, 0.2 * height), (0.95 * radius, height - 0.5 * radius), (0.5 * radius, height))


def flowerpot(sides: int, radius: float, height: float) -> list[Solid]:
    """A pot with a rim and earth in it, its upper edge `height` above the floor."""
    rim = 0.3 * height
    return [
        lathe(sides, (0.68 * radius, 0), (0.9 * radius, height - rim + 0.02), (0.9 * radius, height - 0.45 * rim)),
        ring(sides, radius, 0.8 * radius, rim, (0, 0, height - rim)),
    ]


@family(held_out={"leaves": 7, "coconuts": 2})
def palm_tree(rng: Generator) -> tuple[list[Solid], Facts]:
    leaves, coconuts, pieces = whole(rng, 5, 8), pick(rng, (0, 0, 2, 3)), pick(rng, (2, 3))
    height, thickness, lean = rng.uniform(1.5, 2.6), rng.uniform(0.12, 0.17), pick(rng, (0.0, rng.uniform(0.1, 0.3)))
    reach, droop = rng.uniform(0.8, 1.1), rng.uniform(0.15, 0.5)

    step, solids = height / pieces, []
    for i in range(pieces):
        size = thickness * (1 - 0.12 * i)
        piece = lathe(6, (0.8 * size, 0), (1.1 * size, step + 0.04)).leaning_sideways(lean * ((i + 1) ** 1.5 - i**1.5))
        solids.append(piece.moved(lean * i**1.5 * step, 0, i * step))
    x = lean * pieces**1.5 * step
    for i in range(leaves):
        leaf = loft(4, (-0.07, 0, 0, 0), (-0.45 * reach, 0.12, 0.3, 0.08), (-reach, -droop, 0, 0))
        solids.append(leaf.turned(2 * pi * (i + 0.5) / leaves).moved(x, 0, height + 0.02 + 0.03 * (i % 2)))
    for i in range(coconuts):
        solids.append(ball(5, 0.11, 0.2, (0, -thickness - 0.05, height - 0.22)).turned(2 * pi * i / coconuts + 0.2).moved(x))

    return solids, Facts(
        names=("palm tree", "palm", "coconut palm" if coconuts else "tropical tree"),
        adjectives=(*sized(height / reach, 1.8, 2.5, "low", "tall"), *(("leaning",) if lean else ("straight",))),
        features=(
            several(leaves, "leaf"),
            "a curved trunk" if lean else "a straight trunk",
            several(coconuts, "coconut") if coconuts else "no coconuts",
            *(("drooping leaves",) if droop > 0.38 else ()),
        ),
        materials=(),
        parameters={"leaves": leaves, "coconuts": coconuts, "leaning": lean > 0},
    )


@family(held_out={"petals": 6, "leaves": 2})
def flower(rng: Generator) -> tuple[list[Solid], Facts]:
    kind, leaves = pick(rng, ("daisy", "tulip")), whole(rng, 0, 2)
    petals = whole(rng, 5, 8) if kind == "daisy" else pick(rng, (3, 4, 5))
    stem, thickness = rng.uniform(0.6, 1.15), rng.uniform(0.035, 0.05)

    solids = [prism(5, thickness, stem)]
    if kind == "daisy":
        heart, reach, tilt = rng.uniform(0.13, 0.18), rng.uniform(0.32, 0.46), rng.uniform(-0.05, 0.25)
        width = min(0.3, 1.15 * pi * 2 * (heart + 0.5 * reach) / petals * 0.55)
        petal = loft(4, (0, 0, 0, 0), (-0.6 * reach, 0.6 * tilt * reach, width, 0.05), (-reach, tilt * reach, 0.4 * width, 0.05))
        solids += [petal.moved(0, -0.6 * heart, stem + 0.02 + 0.025 * (i % 2)).turned(2 * pi * i / petals) for i in range(petals)]
        solids.append(lathe(6, (0.8 * heart, -0.04), (heart, 0.04), (0.5 * heart, 0.12), at=(0, 0, stem)))
        size = heart + reach
    else:
        size, cup = rng.uniform(0.2, 0.27), rng.uniform(0.36, 0.5)
        solids.append(lathe(petals + 3, (0.35 * size, 0), (size, 0.4 * cup), (0.85 * size, 0.62 * cup), at=(0, 0, stem - 0.04)))
        for i in range(petals):
            petal = box(1.1 * size, 0.07, 0.55 * cup, (0, -0.72 * size, stem - 0.04 + 0.5 * cup), top=(0.25, 1.0), shift=(0, 0.05))
            solids.append(petal.turned(2 * pi * i / petals))
    for i in range(leaves):
        leaf = loft(4, (-0.01, 0, 0, 0), (-0.22, 0.2, 0.2, 0.06), (-0.42, 0.26, 0, 0))
        solids.append(leaf.turned((0.5 - i) * pi + 0.2).moved(0, 0, (0.18 + 0.14 * i) * stem))

    return solids, Facts(
        names=("flower", kind, "blossom"),
        adjectives=sized(stem / size, 1.6, 3.2, "short", "tall"),
        features=(
            *((several(petals, "petal"),) if kind == "daisy" else ("a closed blossom",)),
            several(leaves, "leaf") if leaves else "no leaves",
            *sized(stem / size, 1.8, 3.0, "a short stem", "a long stem"),
        ),
        materials=(),
        parameters={"kind": kind, "petals": petals, "leaves": leaves},
    )


@family(held_out={"kind": "round", "balls": 3, "height": (0.75, 0.95)})
def bush(rng: Generator) -> tuple[list[Solid], Facts]:
    kind = pick(rng, ("round", "round", "round", "hedge", "cone"))
    balls = {"round": whole(rng, 1, 4), "hedge": whole(rng, 3, 5), "cone": 1}[kind]
    stem = balls == 1 and (kind == "round" or (kind == "cone" and chance(rng, 0.5)))
    radius, height = rng.uniform(0.55, 0.75), rng.uniform(0.75, 1.15)
    lift = rng.uniform(0.15, 0.35) if stem else 0.0

    solids = []
    if kind == "round":
        solids.append(lump(8, radius, height, lift))
        spots = ((0.85, -0.15, 0.72), (-0.8, 0.1, 0.62), (-0.1, -0.8, 0.5))
        for x, y, size in spots[: balls - 1]:
            solids.append(lump(6, size * radius, size * height * rng.uniform(0.85, 1.1), 0).turned(0.3).moved(x * radius, y * radius))
    for i in range(balls if kind == "hedge" else 0):
        part = lump(6, 0.75 * radius, height * rng.uniform(0.85, 1.05), 0.02 * (i % 2))
        solids.append(part.scaled(y=rng.uniform(0.65, 0.8)).moved((i - (balls - 1) / 2) * 0.85 * radius))
    if kind == "cone":
        solids.append(
            lathe(
                8,
                (0.75 * radius, lift),
                (0.9 * radius, lift + 0.15 * height),
                (0.45 * radius, lift + 0.9 * height),
                (0, lift + 1.5 * height),
            )
        )
    if stem:
        solids.append(prism(6, 0.13, lift + 0.25, top=0.8))

    return solids, Facts(
        names=("bush", "hedge" if kind == "hedge" else "shrub", *(("garden bush",) if stem else ())),
        adjectives=(*sized(height / radius, 1.3, 1.6, "low", "tall"), {"round": "round", "hedge": "long", "cone": "pointed"}[kind]),
        features=(
            *({"round": (several(balls, "ball") + " of leaves",), "hedge": (several(balls, "ball") + " in a row",), "cone": ()}[kind]),
            *(("a stem",) if stem else ()),
        ),
        materials=("leafy",),
        parameters={"kind": kind, "balls": balls, "stem": stem, "height": height},
    )


def lump(sides: int, radius: float, height: float, z: float) -> Solid:
    """A ball of leaves, flat where it sits."""
    return lathe(sides, (0.7 * radius, z), (radius, z + 0.35 * height), (0.75 * radius, z + 0.8 * height), (0.3 * radius, z + height))


@family(held_out={"plant": "blades", "leaves": 6})
def potted_plant(rng: Generator) -> tuple[list[Solid], Facts]:
    plant, sides = pick(rng, ("blades", "ball", "fern", "cone")), pick(rng, (4, 6, 8))
    pot, height, leaves = rng.uniform(0.24, 0.34), rng.uniform(0.34, 0.5), 0
    tall = rng.uniform(0.5, 0.95)
    solids = flowerpot(sides, pot * (1.2 if sides == 4 else 1.0), height)
    earth = 0.8 * height
    if plant == "blades":
        leaves = whole(rng, 4, 7)
        for i in range(leaves):
            size = rng.uniform(0.75, 1.0) * tall
            blade = lathe(4, (0, 0), (0.1, 0.4 * size), (0, size)).scaled(y=0.5).leaning_back(-rng.uniform(0.2, 0.55), 0)
            solids.append(blade.moved(0, -0.06).turned(2 * pi * i / leaves + 0.4).moved(z=earth))
    if plant == "fern":
        leaves = whole(rng, 5, 8)
        for i in range(leaves):
            leaf = loft(4, (-0.04, 0, 0, 0), (-0.3, 0.45 * tall, 0.2, 0.07), (-0.62, 0.3 * tall, 0, 0))
            solids.append(leaf.turned(2 * pi * (i + 0.3) / leaves).moved(z=earth + 0.02 + 0.06 * (i % 2)))
    if plant in ("ball", "cone"):
        solids.append(prism(6, 0.05, 0.45 * tall + 0.1, (0, 0, earth)))
    if plant == "ball":
        solids.append(ball(8, rng.uniform(0.3, 0.42), 0.75 * tall, (0, 0, earth + 0.3 * tall)))
    if plant == "cone":
        solids.append(lathe(8, (0.25, 0), (0.34, 0.12 * tall), (0, tall), at=(0, 0, earth + 0.16 * tall)).turned(0.2))

    kinds = {"blades": "long upright leaves", "fern": "arching leaves", "ball": "a round crown", "cone": "a pointed crown"}
    return solids, Facts(
        names=("potted plant", "house plant", "plant in a pot"),
        adjectives=sized((earth + tall) / pot, 3.2, 4.0, "low", "tall"),
        features=(
            kinds[plant],
            *((several(leaves, "leaf"),) if leaves else ()),
            {4: "a square pot", 6: "a six-sided pot", 8: "a round pot"}[sides],
        ),
        materials=("green",),
        parameters={"plant": plant, "leaves": leaves, "sides": sides},
    )
