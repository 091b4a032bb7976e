"""Chairs, stools, benches and sofas."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.legs import LEG_STYLES, four_legs, leg
from training.procedural.parts import Solid, box, pair, prism
from training.procedural.registry import family


@family
def chair(rng: Generator) -> tuple[list[Solid], Facts]:
    width, depth = rng.uniform(0.42, 0.56), rng.uniform(0.42, 0.52)
    seat, back = rng.uniform(0.38, 0.52), rng.uniform(0.36, 0.66)
    board, thickness = rng.uniform(0.04, 0.07), rng.uniform(0.045, 0.06)
    legs, style = pick(rng, LEG_STYLES), pick(rng, ("panel", "slats", "rungs"))
    count = {"panel": 0, "slats": whole(rng, 2, 4), "rungs": whole(rng, 2, 3)}[style]
    arms, stretchers = chance(rng, 0.25), chance(rng, 0.25)
    slope = pick(rng, (0.0, 0.1, 0.18))

    top = seat + board
    inner = width - 0.04
    solids = [box(width, depth, board, (0, 0, seat))]
    solids += four_legs(legs, thickness, seat + board / 2, inner, depth - 0.04)
    solids += [part.leaning_back(slope, top) for part in chair_back(style, count, inner, back, (depth - thickness) / 2 - 0.01, top, board)]
    if arms:
        height = rng.uniform(0.2, 0.25)
        reach = slope * height + (depth - thickness) / 2 - 0.01
        x, front = (inner - 0.045) / 2, -depth / 2 + 0.08
        rest = box(0.065, reach - front + 0.05, 0.04, (x, (reach + front - 0.05) / 2, top + height))
        solids += pair(rest, box(0.04, 0.04, height + board, (x, front, seat + 0.02)))
    if stretchers:
        x = (inner - thickness) / 2
        solids += pair(box(0.032, depth - 0.04 - thickness, 0.035, (x, 0, rng.uniform(0.25, 0.45) * seat)))

    backs = {"panel": "a solid back", "slats": "a slatted back", "rungs": "a ladder back"}
    counted = {"panel": "a plain back", "slats": several(count, "vertical slat"), "rungs": several(count, "horizontal rung")}
    return solids, Facts(
        names=("chair", "armchair" if arms else "dining chair", "seat" if not arms else "chair with arms"),
        adjectives=sized((top + back) / width, 1.7, 2.2, "low", "tall"),
        features=(
            f"{legs} legs" if legs != "straight" else "four legs",
            backs[style],
            counted[style],
            "armrests" if arms else "no armrests",
            *(("stretchers",) if stretchers else ()),
            *sized(back / seat, 0.9, 1.3, "a low back", "a high back"),
        ),
        materials=("wooden", "metal", "plastic"),
        parameters={"legs": 4, "leg_style": legs, "back": style, "slats": count, "arms": arms, "stretchers": stretchers},
    )


def chair_back(style: str, count: int, width: float, height: float, y: float, z: float, sunk: float) -> list[Solid]:
    """A solid panel, or two posts with a top rail and vertical slats or horizontal rungs between; upright at y, from z, sunk below it."""
    if style == "panel":
        return [box(width, 0.05, height + sunk / 2, (0, y, z - sunk / 2))]
    solids = pair(box(0.045, 0.05, height + sunk / 2, ((width - 0.045) / 2, y, z - sunk / 2)))
    rail = 0.08
    if style == "slats":
        solids.append(box(width - 0.05, 0.035, rail, (0, y, z + height - rail - 0.015)))
        places = np.linspace(-0.5, 0.5, count + 2)[1:-1] * (width - 0.045)
        solids += [box(0.04, 0.026, height - rail / 2, (x, y, z - sunk / 2)) for x in places.tolist()]
        return solids
    places = np.linspace(height - rail - 0.015, 0.12, count)
    return solids + [box(width - 0.05, 0.03, rail, (0, y, z + place)) for place in places.tolist()]


@family
def stool(rng: Generator) -> tuple[list[Solid], Facts]:
    shape, kind = pick(rng, ("round", "square")), pick(rng, ("three", "four", "four", "pedestal"))
    if shape == "square" and kind == "three":
        kind = "four"
    width, height, board = rng.uniform(0.32, 0.42), rng.uniform(0.38, 0.78), rng.uniform(0.04, 0.08)
    thickness, lean = rng.uniform(0.042, 0.055), rng.uniform(0.0, 0.08)
    style = pick(rng, ("straight", "tapered"))
    bars = kind == "four" and chance(rng, 0.5)

    seat = prism(8, 0.54 * width, board, (0, 0, height)) if shape == "round" else box(width, width, board, (0, 0, height))
    solids = [seat]
    rise = height + board / 2
    if kind == "pedestal":
        solids += [prism(6, 0.04, height + board / 2 - 0.02, (0, 0, 0.02)), prism(8, 0.45 * width, 0.04)]
    elif kind == "three":
        for angle in (pi / 2, pi * 7 / 6, pi * 11 / 6):
            reach, c, s = 0.36 * width, cos(angle), sin(angle)
            solids.append(leg(style, thickness, rise, ((reach + lean) * c, (reach + lean) * s, 0), (-lean * c, -lean * s)))
    else:
        reach = (0.26 if shape == "round" else 0.4) * width
        foot = reach + 0.7 * lean
        solids += [
            leg(style, thickness, rise, (x * foot, y * foot, 0), (-0.7 * x * lean, -0.7 * y * lean)) for x in (-1, 1) for y in (-1, 1)
        ]
        if bars:
            place = rng.uniform(0.25, 0.4)
            out = foot - 0.7 * lean * place
            bar = box(2 * out, 0.03, 0.034, (0, 0, place * height))
            solids += [bar.moved(y=-out), bar.moved(y=out)]

    count = {"three": 3, "four": 4, "pedestal": 0}[kind]
    words = (several(count, "leg"), f"{style} legs", *(("splayed legs",) if lean > 0.04 else ()), "footrests" if bars else "no footrests")
    return solids, Facts(
        names=("stool", "bar stool" if height > 0.6 else "footstool" if height < 0.46 else "seat"),
        adjectives=(*sized((height + board) / width, 1.4, 1.75, "low", "tall"), shape),
        features=words if count else ("a pedestal", "a round base", "one central leg"),
        materials=("wooden", "metal"),
        parameters={"shape": shape, "legs": count, "leg_style": style, "footrests": bars},
    )
