"""Cars, boats, planes, rockets, trains and carts."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, box, extrude, gable, lathe, loft, pair, prism
from training.procedural.registry import family

# Where a cabin begins and ends along the car, its height and how far its windscreen and its rear slope (times the cabin's height).
CABINS = {
    "sedan": (0.27, 0.83, 1.0, 0.75, 0.55),
    "hatchback": (0.28, 0.97, 1.0, 0.75, 0.3),
    "pickup": (0.24, 0.55, 1.0, 0.75, 0.15),
    "van": (0.12, 0.97, 1.4, 0.75, 0.15),
}
NAMES = {"sedan": ("sedan",), "hatchback": ("hatchback",), "pickup": ("pickup truck", "pickup"), "van": ("van", "minivan")}


@family(held_out={"kind": "pickup", "bumpers": True})
def car(rng: Generator) -> tuple[list[Solid], Facts]:
    kind = pick(rng, ("sedan", "sedan", "hatchback", "hatchback", "pickup", "van"))
    width = rng.uniform(1.65, 1.95)
    length = rng.uniform(3.4, 3.9) if kind == "hatchback" else rng.uniform(4.2, 4.9)
    wheel, clear, body, cabin = rng.uniform(0.34, 0.44), rng.uniform(0.24, 0.36), rng.uniform(0.5, 0.65), rng.uniform(0.5, 0.7)
    lights, bumpers = chance(rng, 0.5), chance(rng, 0.35)
    front, top = -length / 2, clear + body

    solids = [box(width, length, body, (0, 0, clear))]
    start, end, rise, windscreen, rear = (factor * cabin if i > 1 else factor * length for i, factor in enumerate(CABINS[kind]))
    roof, lean = (end - start - windscreen - rear) / (end - start), (windscreen - rear) / 2
    middle = front + (start + end) / 2
    solids.append(box(width - 0.14, end - start, rise + 0.1, (0, middle, top - 0.1), top=(0.84, roof), shift=(0, lean)))
    if kind == "pickup":
        side = box(0.16, 0.42 * length, 0.5, (width / 2 - 0.14, front + 0.765 * length, top - 0.2))
        solids += [*pair(side), box(width - 0.2, 0.16, 0.35, (0, -front - 0.12, top - 0.11))]
    for share in (0.2, 0.79):
        disc = prism(8, wheel, 0.3).lying_along_x()
        solids += pair(disc.moved(width / 2 - 0.18, front + share * length, wheel * 0.924))
    if lights:
        solids += pair(box(0.32, 0.24, 0.18, (0.32 * width, front, clear + 0.45 * body)))
    if bumpers:
        solids += [box(width - 0.1, 0.32, 0.15, (0, y, clear + 0.04)) for y in (front, -front)]

    return solids, Facts(
        names=("car", *NAMES[kind]),
        adjectives=(*sized(length / width, 2.1, 2.65, "short", "long"), *sized((top + rise) / length, 0.3, 0.43, "low", "tall")),
        features=(
            "four wheels",
            *sized(wheel, 0.36, 0.41, "small wheels", "large wheels"),
            *(("headlights",) if lights else ()),
            *(("bumpers",) if bumpers else ()),
        ),
        materials=("boxy",),
        parameters={"kind": kind, "wheels": 4, "lights": lights, "bumpers": bumpers},
    )


@family(held_out={"kind": "rowing", "seats": 2, "oars": True})
def boat(rng: Generator) -> tuple[list[Solid], Facts]:
    kind = pick(rng, ("rowing", "sailing", "motor"))
    length, width, height = rng.uniform(2.2, 3.4), rng.uniform(0.8, 1.1), rng.uniform(0.38, 0.55)
    seats, oars, sails = 0, False, 0
    solids = [hull(length, width, height)]
    floor = 0.4 * height
    if kind == "rowing":
        seats, oars = whole(rng, 1, 3), chance(rng, 0.5)
        for i in range(seats):
            y = (i - (seats - 1) / 2) * 0.24 * length + 0.06 * length
            solids.append(box(0.9 * width, 0.2, 0.08, (0, y, 0.74 * height)))
        if oars:
            oar = [box(0.06, 0.06, 0.95 * width), box(0.06, 0.17, 0.36, (0, 0, 0.86 * width))]
            solids += pair(*(part.rolled(1.85).moved(0.3 * width, -0.05 * length, 1.16 * height) for part in oar))
    if kind == "sailing":
        sails, mast, boom = pick(rng, (1, 2)), rng.uniform(0.85, 1.15) * length, 0.44 * length
        y = -0.12 * length
        solids.append(prism(6, 0.055, mast, (0, y, floor - 0.02)))
        solids.append(fin([(0.04, 1.45 * height), (boom, 1.45 * height), (0.04, floor + 0.95 * mast)], 0.06).moved(y=y))
        solids.append(box(0.09, boom, 0.09, (0, y + boom / 2 + 0.03, 1.25 * height - 0.04)))
        if sails == 2:
            solids.append(fin([(-0.3 * length, 1.3 * height), (-0.06, 1.3 * height), (-0.06, floor + 0.75 * mast)], 0.06).moved(y=y))
    if kind == "motor":
        cabin = rng.uniform(0.3, 0.42) * length
        solids.append(box(0.64 * width, cabin, 0.95 * height, (0, 0.06 * length, 0.3 * height), top=(0.85, 0.8), shift=(0, 0.05)))
        solids.append(box(0.72 * width, cabin, 0.09, (0, 0.08 * length, 1.22 * height)))
        solids.append(box(0.66 * width, 0.22 * length, 0.12, (0, -0.24 * length, 0.78 * height), top=(0.6, 1.0)))
        solids.append(box(0.2, 0.22, 0.5 * height, (0, length / 2 - 0.02, 0.55 * height)))

    names = {
        "rowing": ("rowing boat", "rowboat", "dinghy"),
        "sailing": ("sailing boat", "sailboat", "yacht"),
        "motor": ("motorboat", "fishing boat"),
    }
    features = {
        "rowing": (several(seats, "seat"), "two oars" if oars else "no oars"),
        "sailing": (several(sails, "sail"), "a mast", "a boom"),
        "motor": ("a cabin", "an outboard motor"),
    }
    return solids, Facts(
        names=("boat", *names[kind]),
        adjectives=sized(length / width, 2.6, 3.3, "short", "long"),
        features=(*features[kind], "a pointed bow"),
        materials=("wooden", "small"),
        parameters={"kind": kind, "seats": seats, "oars": oars, "sails": sails},
    )


def hull(length: float, width: float, height: float) -> Solid:
    """An open hull with its bow in front: rings around z, drawn out along y and narrowed towards -y."""
    profile = ((0.6, 0.0), (1.0, height), (0.84, height), (0.66, 0.4 * height))
    round_one = lathe(8, *profile)
    radii = np.repeat([radius for radius, _ in profile], 8)
    x, y, z = round_one.vertices.T
    forward = np.maximum(-y / radii, 0.0)
    narrowed = x * (1 - 0.75 * forward**2) * width / 1.85
    raised = z + 0.28 * height * forward**2 * (z > 0.5 * height) + 0.12 * height * forward * (z <= 0.5 * height)
    return Solid(np.stack([narrowed, y * length / 1.85, raised], 1), round_one.faces)


def fin(outline: list[tuple[float, float]], thickness: float) -> Solid:
    """A flat shape in the plane x = 0 out of (y, z) corners."""
    return extrude(outline, thickness).turned(pi / 2)


@family(held_out={"kind": "propeller", "wings": "high", "blades": 3})
def plane(rng: Generator) -> tuple[list[Solid], Facts]:
    kind = pick(rng, ("propeller", "propeller", "jet", "biplane"))
    length, girth, span = rng.uniform(2.2, 2.9), rng.uniform(0.34, 0.44), rng.uniform(1.0, 1.45)
    wings, blades, gear = pick(rng, ("low", "high")) if kind == "propeller" else "low", 0, kind != "jet" and chance(rng, 0.7)
    front, sides = -length / 2, pick(rng, (6, 8))
    sweep = rng.uniform(0.35, 0.6) if kind == "jet" else rng.uniform(0.0, 0.12)
    chord = rng.uniform(0.42, 0.56) * (1.2 if kind == "jet" else 1.0)

    nose = 0.42 if kind == "jet" else 0.72
    solids = [
        loft(
            sides,
            (length / 2, 0.16 * girth, 0.55 * girth, 0.5 * girth),
            (0.12 * length, 0, 0.95 * girth, girth),
            (-0.3 * length, 0, girth, 1.05 * girth),
            (front, -0.06 * girth, nose * girth, nose * girth),
        ),
        box(0.55 * girth, 0.3 * length, 0.4 * girth, (0, -0.08 * length, 0.36 * girth), top=(0.7, 0.55)),
        box(0.07, 0.2 * length, 0.6, (0, 0.42 * length, -0.02 * girth), top=(1, 0.55), shift=(0, 0.1)),
        *pair(
            box(0.17 * length, 0.06, 0.48, top=(0.6, 1), shift=(0.5 * sweep, 0)).lying_along_x().moved(0.03, 0.41 * length, 0.16 * girth)
        ),
    ]
    level = 0.38 * girth if wings == "high" else -0.26 * girth
    wing = box(chord, 0.08, span, top=(0.6, 0.85), shift=(sweep, 0.0)).lying_along_x()
    solids += pair(wing.moved(0.2 * girth, -0.06 * length, level))
    if kind == "biplane":
        solids += pair(
            wing.moved(0.04 * girth, -0.1 * length, 1.0 * girth), box(0.06, 0.08, 1.3 * girth, (0.62 * span, -0.07 * length, level))
        )
    if kind == "jet":
        engine = prism(6, 0.13, 0.5).lying_along_y()
        solids += pair(engine.moved(0.45 * span, 0.34, level - 0.1))
    else:
        blades = pick(rng, (2, 3, 4))
        solids.append(lathe(6, (0.12, 0), (0.09, 0.12), (0, 0.2)).lying_along_y().moved(0, front + 0.03, -0.06 * girth))
        for i in range(blades):
            blade = box(0.1, 0.06, 0.4, (0, 0, 0.08), top=(1.3, 1)).rolled(2 * pi * (i + 0.15) / blades)
            solids.append(blade.moved(0, front - 0.07, -0.06 * girth))
    if gear:
        wheel = prism(6, 0.13, 0.09).lying_along_x().moved(0.24, -0.2 * length, -0.5 * girth - 0.26)
        solids += pair(wheel, box(0.06, 0.09, 0.4, (0.25, -0.2 * length, -0.5 * girth - 0.22), shift=(-0.1, 0)))

    names = {
        "propeller": ("airplane", "propeller plane", "small aircraft"),
        "jet": ("jet", "jet plane", "airplane"),
        "biplane": ("biplane", "aircraft"),
    }
    return solids, Facts(
        names=("plane", *names[kind]),
        adjectives=sized(length / span, 1.8, 2.3, "wide", "long"),
        features=(
            *((several(blades, "propeller blade"), "a propeller") if blades else ("two engines", "swept wings")),
            "two pairs of wings" if kind == "biplane" else f"{wings} wings",
            *(("wheels",) if gear else ("no wheels",)),
            *sized(span, 1.15, 1.3, "short wings", "long wings"),
        ),
        materials=("metal", "toy"),
        parameters={"kind": kind, "wings": wings, "blades": blades, "wheels": 2 * gear},
    )


@family(held_out={"fins": 4, "boosters": 2, "windows": 1})
def rocket(rng: Generator) -> tuple[list[Solid], Facts]:
    fins, boosters, windows = whole(rng, 3, 4), pick(rng, (0, 0, 2)), whole(rng, 0, 2)
    sides, radius, height, bulge = pick(rng, (6, 8)), rng.uniform(0.3, 0.42), rng.uniform(1.3, 2.2), rng.uniform(1.0, 1.3)
    nose, lift, band = rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.34), chance(rng, 0.4)

    solids = [
        lathe(
            sides,
            (0.8 * radius, lift),
            (bulge * radius, lift + 0.45 * height),
            (0.85 * radius, lift + height),
            (0.4 * radius, lift + height + 0.6 * nose),
            (0, lift + height + nose),
        ),
        prism(sides, 0.62 * radius, 0.2, (0, 0, lift - 0.14), top=0.7),
    ]
    reach, tall = rng.uniform(0.3, 0.5), rng.uniform(0.5, 0.8)
    outline = [(0, lift + tall + 0.2), (0, lift + 0.1), (-reach, 0), (-reach, 0.42 * tall)]
    for i in range(fins):
        solids.append(fin(outline, 0.09).moved(y=-0.66 * radius).turned(2 * pi * (i + 0.5) / fins))
    if boosters:
        side = lathe(6, (0.16, 0.1), (0.16, 0.1 + 0.6 * height), (0, 0.35 + 0.6 * height))
        solids += pair(side.moved(bulge * radius + 0.12))
    for i in range(windows):
        z = lift + height * (0.62, 0.9)[i] - 0.02 * i
        here = radius * (bulge - (bulge - 0.85) * (0.31, 0.81)[i])
        solids.append(prism(6, 0.3 * radius, 0.2).lying_along_y().moved(0, -0.87 * here + 0.1, z))
    if band:
        solids.append(prism(sides, 0.92 * radius + (bulge - 0.85) * 0.13 * radius + 0.02, 0.1, (0, 0, lift + 0.94 * height)))

    return solids, Facts(
        names=("rocket", "space rocket", "rocket ship"),
        adjectives=(*sized(height / radius, 4.2, 5.6, "stubby", "tall"), *sized(bulge, 1.08, 1.22, "straight", "bulging")),
        features=(
            several(fins, "fin"),
            several(boosters, "booster") if boosters else "no boosters",
            several(windows, "round window") if windows else "no windows",
            *sized(nose / height, 0.3, 0.48, "a short nose", "a long nose"),
        ),
        materials=("metal", "toy", "retro"),
        parameters={"fins": fins, "boosters": boosters, "windows": windows},
    )


@family(held_out={"wagons": 1, "roof": "flat", "load": "open"})
def train(rng: Generator) -> tuple[list[Solid], Facts]:
    wagons, roof, load = whole(rng, 0, 1), pick(rng, ("flat", "gabled")), pick(rng, ("box", "open"))
    axles, width, boiler = whole(rng, 2, 3), rng.uniform(0.8, 1.0), rng.uniform(1.0, 1.5)
    cab, wheel, chimney, plow = rng.uniform(0.6, 0.8), rng.uniform(0.18, 0.24), rng.uniform(0.3, 0.55), chance(rng, 0.6)
    length, deck, r = boiler + cab, 1.3 * wheel, 0.42 * width

    engine = [
        box(0.78 * width, length + 0.1, 0.16, (0, 0, deck - 0.06)),
        prism(8, r, boiler + 0.02).lying_along_y().moved(0, -length / 2 + boiler + 0.06, deck + 0.06 + 0.92 * r),
        box(width, cab, 1.05 * width, (0, length / 2 - cab / 2, deck + 0.04)),
        lathe(6, (0.1, 0), (0.1, 0.6 * chimney), (0.17, chimney), at=(0, -length / 2 + 0.24, deck + 1.8 * r)),
        lathe(6, (0.14, 0), (0.12, 0.16), (0.05, 0.22), at=(0, -length / 2 + 0.62 * boiler, deck + 1.8 * r)),
    ]
    upper = deck + 0.02 + 1.05 * width
    if roof == "flat":
        engine.append(box(1.14 * width, cab + 0.2, 0.1, (0, length / 2 - cab / 2, upper)))
    else:
        engine.append(gable(cab + 0.2, 1.2 * width, 0.3, (0, 0, 0)).turned(pi / 2).moved(0, length / 2 - cab / 2, upper))
    if plow:
        engine.append(box(0.9 * width, 0.3, 0.9 * deck, (0, -length / 2 - 0.12, 0.04), top=(0.8, 0.35), shift=(0, 0.1)))
    engine += axle_pairs(axles, length - 0.1, wheel, width)
    solids, long = engine, 1.2
    if wagons:
        wagon = [
            box(0.76 * width, long, 0.14, (0, 0, deck - 0.05)),
            box(0.1, 0.26, 0.08, (0, -long / 2 - 0.1, deck - 0.02)),
            *axle_pairs(2, 0.9 * long, wheel, width),
        ]
        if load == "box":
            wagon += [
                box(0.98 * width, long - 0.06, 0.9 * width, (0, 0, deck + 0.04)),
                box(1.06 * width, long + 0.02, 0.09, (0, 0, deck + 0.9 * width)),
            ]
        else:
            tub = lathe(4, (0.88, 0), (1, 0.6 * width), (0.8, 0.6 * width), (0.78, 0.2 * width))
            wagon.append(tub.scaled(0.7071 * width, 0.7071 * long).moved(z=deck + 0.04))
        solids += [part.moved(y=length / 2 + 0.18 + long / 2) for part in wagon]

    return solids, Facts(
        names=("train", "steam train", *(("locomotive", "steam engine") if wagons == 0 else ("toy train",))),
        adjectives=sized(length / width, 1.9, 2.3, "short", "long") if wagons == 0 else (),
        features=(
            ("an open wagon" if load == "open" else "a closed wagon") if wagons else "no wagon",
            f"a {roof} cab roof",
            *sized(chimney, 0.36, 0.48, "a short chimney", "a tall chimney"),
            *(("a cowcatcher",) if plow else ()),
            several(2 * axles + 4 * wagons, "wheel"),
        ),
        materials=("steam", "toy", "old"),
        parameters={"wagons": wagons, "roof": roof, "load": load if wagons else "none", "wheels": 2 * axles + 4 * wagons},
    )


def axle_pairs(count: int, length: float, radius: float, width: float) -> list[Solid]:
    """Wheels on both sides, evenly along `length`."""
    wheel = prism(6, radius, 0.14).lying_along_x().moved(0.5 * width - 0.09, 0, 0.87 * radius)
    return [side for i in range(count) for side in pair(wheel.moved(y=(i / (count - 1) - 0.5) * (length - 1.2 * radius)))]


@family(held_out={"wheels": 4, "load": "hay"})
def cart(rng: Generator) -> tuple[list[Solid], Facts]:
    wheels, load, boards = pick(rng, (2, 2, 4)), pick(rng, ("none", "none", "hay", "crates")), chance(rng, 0.75)
    width, length = rng.uniform(0.9, 1.15), rng.uniform(1.3, 1.9)
    wheel = rng.uniform(0.4, 0.52) if wheels == 2 else rng.uniform(0.27, 0.34)
    side, deck, sides = rng.uniform(0.25, 0.4), wheel * 1.1, pick(rng, (8, 10))

    solids = [box(width, length, 0.1, (0, 0, deck))]
    if boards:
        solids += pair(box(0.08, length - 0.1, side, (width / 2 - 0.03, 0, deck + 0.05), shift=(0.06, 0)))
        solids += [box(width - 0.08, 0.08, side - 0.04, (0, y * (length / 2 - 0.13), deck + 0.06)) for y in (-1, 1)]
    for y in (0.0,) if wheels == 2 else (-0.32 * length, 0.32 * length):
        disc = prism(sides, wheel, 0.1).lying_along_x()
        hub = prism(6, 0.26 * wheel, 0.2).lying_along_x()
        solids += pair(disc.moved(width / 2 + 0.07, y, wheel), hub.moved(width / 2 + 0.02, y, wheel))
        solids.append(box(width + 0.2, 0.1, 0.1, (0, y, wheel - 0.05)))
    if wheels == 2:
        solids += pair(box(0.09, 1.0, 0.09, (0.32 * width, -length / 2 - 0.42, deck - 0.06)))
        solids.append(box(0.8 * width, 0.08, 0.09, (0, -length / 2 - 0.86, deck - 0.09)))
    else:
        solids.append(box(0.09, 0.95, 0.09, (0, -length / 2 - 0.4, deck - 0.06)))
    if load == "hay":
        solids.append(lathe(8, (0.62, 0), (0.58, 0.35), (0.3, 0.62)).scaled(0.72 * width, 0.72 * length).moved(z=deck + 0.07))
    if load == "crates":
        solids += [box(0.4 * width, 0.4 * width, 0.42, (x * width, y * length, deck + 0.06)) for x, y in ((0.2, -0.22), (-0.18, 0.18))]

    return solids, Facts(
        names=("cart", "handcart" if wheels == 2 else "wagon", "wooden cart", "farm cart"),
        adjectives=sized(length / width, 1.4, 1.75, "short", "long"),
        features=(
            several(wheels, "wheel"),
            "side boards" if boards else "no side boards",
            {"none": "no load", "hay": "a load of hay", "crates": "two crates on it"}[load],
            *(("two handles",) if wheels == 2 else ("a drawbar",)),
        ),
        materials=("wooden", "medieval"),
        parameters={"wheels": wheels, "load": load, "boards": boards},
    )
