"""Bottles, mugs, buckets and candles."""

from __future__ import annotations

from math import pi

from numpy.random import Generator

from training.procedural.captions import Facts, sized
from training.procedural.draws import chance, pick
from training.procedural.parts import Solid, arc, box, extrude, lathe, prism, ring
from training.procedural.registry import family

# Outlines of bottles without their necks: (radius, height), both of 1.
BOTTLES = {
    "straight": ((0.92, 0.0), (1.0, 0.05), (1.0, 0.75), (0.4, 1.0)),
    "round": ((0.6, 0.0), (1.0, 0.35), (0.85, 0.7), (0.3, 1.0)),
    "conical": ((1.0, 0.0), (0.95, 0.18), (0.28, 1.0)),
    "pinched": ((0.85, 0.0), (1.0, 0.25), (0.72, 0.55), (0.9, 0.75), (0.35, 1.0)),
}


@family(held_out={"form": "round", "sides": 6})
def bottle(rng: Generator) -> tuple[list[Solid], Facts]:
    form, stopper, sides = pick(rng, tuple(BOTTLES)), pick(rng, ("cork", "cap", "none")), pick(rng, (4, 6, 8, 8))
    radius, body, neck = rng.uniform(0.24, 0.36), rng.uniform(0.6, 0.95), rng.uniform(0.14, 0.5)
    collar, label = chance(rng, 0.4), form == "straight" and chance(rng, 0.5)

    profile = [(radius * r, body * z) for r, z in BOTTLES[form]]
    throat = profile[-1][0]
    profile.append((0.85 * throat, body + neck))
    solids = [lathe(sides, *profile)]
    if collar:
        solids.append(prism(sides, 1.3 * throat, 0.07, (0, 0, body + 0.6 * neck)))
    if stopper == "cork":
        solids.append(prism(6, 0.6 * throat, 0.16, (0, 0, body + neck - 0.05), top=1.15))
    if stopper == "cap":
        solids.append(prism(sides, 1.12 * throat, 0.13, (0, 0, body + neck - 0.05)))
    if label:
        solids.append(prism(sides, radius + 0.02, 0.36 * body, (0, 0, 0.24 * body)))

    names = {
        "straight": ("wine bottle", "glass bottle"),
        "round": ("flask", "potion"),
        "conical": ("flask", "potion bottle"),
        "pinched": ("soda bottle", "glass bottle"),
    }
    return solids, Facts(
        names=("bottle", *names[form]),
        adjectives=(
            *sized((body + neck) / radius, 3.1, 4.2, "squat", "tall"),
            *(("square",) if sides == 4 else ("round",) if sides == 8 else ()),
        ),
        features=(
            {"cork": "a cork", "cap": "a cap", "none": "no cork"}[stopper],
            *sized(neck / body, 0.3, 0.5, "a short neck", "a long neck"),
            {"straight": "a straight body", "round": "a round belly", "conical": "a conical body", "pinched": "a narrow waist"}[form],
            *(("a label",) if label else ()),
        ),
        materials=("glass",),
        parameters={"form": form, "stopper": stopper, "sides": sides},
    )


@family(held_out={"handle": "square", "saucer": True})
def mug(rng: Generator) -> tuple[list[Solid], Facts]:
    sides, handle, filled = pick(rng, (6, 8, 8)), pick(rng, ("round", "square")), chance(rng, 0.4)
    radius, height, flare = rng.uniform(0.34, 0.46), rng.uniform(0.6, 1.0), rng.uniform(0.72, 1.05)
    saucer, bands = chance(rng, 0.25), chance(rng, 0.25)
    lift = 0.05 if saucer else 0.0

    floor = 0.82 * height if filled else 0.12
    foot = radius * flare
    inner = foot + (radius - foot) * floor / height - 0.085
    solids = [lathe(sides, (foot, 0), (radius, height), (radius - 0.08, height), (inner, floor), at=(0, 0, lift))]
    reach, middle = 0.3 * height, lift + 0.52 * height
    start = 0.9 * radius * (1 + flare) / 2
    if handle == "round":
        points = [(start + x, middle + z) for x, z in arc(reach, -pi / 2, pi / 2, 5)]
        inside = [(start + x, middle + z) for x, z in arc(reach - 0.085, -pi / 2, pi / 2, 5)]
    else:
        points = [(start, middle - reach), (start + reach, middle - reach), (start + reach, middle + reach), (start, middle + reach)]
        thin = reach - 0.085
        inside = [(start, middle - thin), (start + thin, middle - thin), (start + thin, middle + thin), (start, middle + thin)]
    solids.append(extrude(points + inside[::-1], 0.12))
    if saucer:
        solids.append(lathe(8, (0.9 * radius, 0), (1.75 * radius, 0.12), (1.65 * radius, 0.14), (0.9 * radius, 0.07)))
    if bands:
        solids += [band(sides, foot + (radius - foot) * (share + 0.05), 0.1 * height, lift + share * height) for share in (0.1, 0.74)][
            : 1 if saucer else 2
        ]

    return solids, Facts(
        names=("mug", "cup", "coffee mug" if not bands else "tankard", *(("tea cup",) if saucer else ())),
        adjectives=(*sized(height / radius, 1.7, 2.2, "low", "tall"), *sized(height / radius, 1.6, 9.9, "wide", "")),
        features=(
            f"a {handle} handle",
            "one handle",
            *(("a saucer",) if saucer else ("no saucer",)),
            *(("hot coffee",) if filled else ("nothing in it",)),
            *(("metal bands",) if bands and not saucer else ()),
        ),
        materials=("ceramic", "wooden"),
        parameters={"handle": handle, "saucer": saucer, "filled": filled, "sides": sides, "handles": 1},
    )


def band(sides: int, radius: float, height: float, z: float) -> Solid:
    """A hoop around a vessel that has that radius."""
    return ring(sides, radius + 0.04, radius - 0.06, height, (0, 0, z))


@family(held_out={"hoops": 2, "handle": "lowered"})
def bucket(rng: Generator) -> tuple[list[Solid], Facts]:
    sides, hoops, handle = pick(rng, (6, 8, 8)), pick(rng, (0, 1, 2)), pick(rng, ("raised", "raised", "lowered", "none"))
    radius, height, taper = rng.uniform(0.38, 0.48), rng.uniform(0.6, 0.95), rng.uniform(0.66, 0.85)
    filled = chance(rng, 0.35)

    foot, floor = radius * taper, (0.72 if filled else 0.1) * height
    inner = foot + (radius - foot) * floor / height - 0.07
    solids = [lathe(sides, (foot, 0), (radius, height), (radius - 0.07, height), (inner, floor))]
    for share in ((0.45,), (0.2, 0.74))[hoops - 1] if hoops else ():
        solids.append(band(sides, foot + (radius - foot) * (share + 0.09), 0.09 * height, share * height))
    if handle != "none":
        apothem = radius * 0.94
        bow = arc(apothem, 0, pi, 7) + arc(apothem - 0.07, pi, 0, 7)
        grip = extrude(bow, 0.07).moved(z=-0.02)
        if handle == "lowered":
            grip = grip.pitched(1.3)
        solids.append(grip.moved(z=height - 0.03 if handle == "raised" else height + 0.035))

    return solids, Facts(
        names=("bucket", "pail", *(("water bucket",) if filled else ("empty bucket",))),
        adjectives=(*sized(height / radius, 1.6, 2.0, "low", "tall"), *(("tapered",) if taper < 0.74 else ())),
        features=(
            {"raised": "a raised handle", "lowered": "a lowered handle", "none": "no handle"}[handle],
            *(({1: "one hoop", 2: "two hoops"}[hoops],) if hoops else ("no hoops",)),
            "water in it" if filled else "an open top",
        ),
        materials=("wooden", "metal"),
        parameters={"hoops": hoops, "handle": handle, "filled": filled, "sides": sides},
    )


@family(held_out={"holder": "dish", "candles": 1, "flame": False})
def candle(rng: Generator) -> tuple[list[Solid], Facts]:
    holder, flame = pick(rng, ("none", "dish", "stick")), chance(rng, 0.65)
    candles = pick(rng, (1, 1, 2, 3)) if holder == "none" else 1
    sides, radius, height = pick(rng, (6, 8)), rng.uniform(0.13, 0.22), rng.uniform(0.5, 1.0)

    lift, solids = 0.0, []
    if holder == "dish":
        lift = 0.1
        solids.append(lathe(8, (0.34, 0), (0.48, 0.16), (0.4, 0.16), (0.32, 0.06)))
        solids.append(extrude(arc(0.17, -pi / 2, pi / 2, 4) + arc(0.09, pi / 2, -pi / 2, 4), 0.08).moved(0.42, 0, 0.17))
    if holder == "stick":
        tall = rng.uniform(0.4, 0.7)
        lift = tall + 0.02
        solids.append(
            lathe(
                8,
                (0.34, 0),
                (0.3, 0.07),
                (0.09, 0.14),
                (0.07, 0.55 * tall),
                (0.13, 0.62 * tall),
                (0.07, 0.7 * tall),
                (0.26, tall - 0.08),
                (0.28, tall + 0.03),
            )
        )
    size = 0.8 if holder == "stick" else 1.0
    for i in range(candles):
        x, y, share = ((0.0, 0.0, 1.0), (2.1 * radius, -0.3 * radius, 0.66), (-1.3 * radius, -1.9 * radius, 0.42))[i]
        solids += [part.moved(x, y, lift) for part in wax(sides, radius * size, height * share, flame)]

    return solids, Facts(
        names=("candle", "lit candle" if flame else "wax candle", *(("candle in a holder", "candlestick") if holder == "stick" else ()))
        if candles == 1
        else ("candle", "group of candles", "cluster of candles"),
        adjectives=sized(height / radius, 3.3, 5.2, "short", "tall"),
        features=(
            "a flame" if flame else "no flame",
            {"none": "no holder", "dish": "a dish with a ring handle", "stick": "a candlestick"}[holder],
            *((("two candles", "three candles")[candles - 2],) if candles > 1 else ()),
            "a wick",
        ),
        materials=("wax", "white"),
        parameters={"holder": holder, "flame": flame, "candles": candles},
    )


def wax(sides: int, radius: float, height: float, flame: bool) -> list[Solid]:
    """A candle with a wick, and a flame on it."""
    solids = [prism(sides, radius, height, top=0.93), box(0.05, 0.05, 0.14, (0, 0, height - 0.03))]
    if flame:
        solids.append(lathe(5, (0, height + 0.04), (0.5 * radius, height + 0.16), (0, height + 0.4)))
    return solids
