"""Chairs, stools, benches and sofas."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.legs import LEG_STYLES, four_legs, legs_around
from training.procedural.parts import Solid, box, pair, prism
from training.procedural.registry import family


@family(held_out={"back": "rungs", "arms": True})
def chair(rng: Generator) -> tuple[list[Solid], Facts]:
    width, depth = rng.uniform(0.42, 0.56), rng.uniform(0.42, 0.52)
    seat, back = rng.uniform(0.38, 0.52), rng.uniform(0.36, 0.66)
    board, thickness = rng.uniform(0.04, 0.07), rng.uniform(0.045, 0.06)
    legs, style = pick(rng, LEG_STYLES), pick(rng, ("panel", "slats", "rungs"))
    count = {"panel": 0, "slats": whole(rng, 2, 4), "rungs": whole(rng, 2, 3)}[style]
    arms, stretchers = chance(rng, 0.25), chance(rng, 0.25)
    slope = pick(rng, (0.0, 0.1, 0.18))

    top, rear = seat + board, (depth - thickness) / 2 - 0.01
    inner = width - 0.04
    solids = [box(width, depth, board, (0, 0, seat))]
    solids += four_legs(legs, thickness, seat + 0.35 * board, inner, depth - 0.04)
    solids += [part.leaning_back(slope, top) for part in chair_back(style, count, inner, back, rear, top, 0.35 * board)]
    if arms:
        height = rng.uniform(0.2, 0.25)
        reach = slope * height + rear
        x, front = (inner - 0.045) / 2, -depth / 2 + 0.08
        rest = box(0.065, reach - front + 0.05, 0.04, (x, (reach + front - 0.05) / 2, top + height))
        solids += pair(rest, box(0.04, 0.04, height + 0.02 + 0.3 * board, (x, front, top - 0.3 * board)))
    if stretchers:
        x = (inner - thickness) / 2
        solids += pair(box(0.032, depth - 0.04 - thickness, 0.035, (x, 0, rng.uniform(0.25, 0.45) * seat)))

    backs = {"panel": "a solid back", "slats": "a slatted back", "rungs": "a ladder back"}
    counted = {"panel": "a plain back", "slats": several(count, "vertical slat"), "rungs": several(count, "horizontal rung")}
    return solids, Facts(
        names=("chair", "armchair" if arms else "dining chair"),
        adjectives=sized((top + back) / width, 1.7, 2.2, "low", "tall"),
        features=(
            "four legs",
            f"four {legs} legs",
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
        return [box(width, 0.05, height + sunk, (0, y, z - sunk))]
    solids = pair(box(0.045, 0.06, height + sunk, ((width - 0.045) / 2, y, z - sunk)))
    if style == "slats":
        rail = 0.08
        solids.append(box(width - 0.05, 0.046, rail, (0, y, z + height - rail - 0.015)))
        places = np.linspace(-0.5, 0.5, count + 2)[1:-1] * (width - 0.045)
        solids += [box(0.04, 0.028, height - rail / 2, (x, y, z - sunk)) for x in places.tolist()]
        return solids
    places = np.linspace(height - 0.085, 0.08, count)
    return solids + [box(width - 0.05, 0.03, 0.07, (0, y, z + place)) for place in places.tolist()]


@family(held_out={"shape": "round", "legs": 3, "leg_style": "tapered"})
def stool(rng: Generator) -> tuple[list[Solid], Facts]:
    shape = pick(rng, ("round", "square"))
    count = pick(rng, (0, 3, 4, 4)) if shape == "round" else pick(rng, (0, 4, 4))
    width, height, board = rng.uniform(0.32, 0.42), rng.uniform(0.38, 0.78), rng.uniform(0.04, 0.08)
    thickness, lean, style = rng.uniform(0.042, 0.055), pick(rng, (0.0, 0.06, 0.1)), pick(rng, ("straight", "tapered"))
    footrests = count == 4 and chance(rng, 0.5)

    rise = height + board / 2
    solids = [prism(8, 0.54 * width, board, (0, 0, height)) if shape == "round" else box(width, width, board, (0, 0, height))]
    if count == 0:
        solids += [prism(6, 0.04, rise - 0.02, (0, 0, 0.02)), prism(8, 0.45 * width, 0.04)]
    else:
        reach = (0.36 if shape == "round" else 0.55) * width + lean
        solids += legs_around(count, style, thickness, rise, reach, lean)
    if footrests:
        place = rng.uniform(0.25, 0.4)
        out = (reach - lean * place) * sqrt(0.5)
        solids += [box(2 * out, 0.03, 0.034, (0, y, place * height)) for y in (-out, out)]

    legs = (several(count, "leg"), several(count, f"{style} leg"), several(count, "splayed leg" if lean else "upright leg"))
    return solids, Facts(
        names=("stool", "bar stool" if height > 0.6 else "footstool" if height < 0.46 else "kitchen stool"),
        adjectives=(*sized((height + board) / width, 1.4, 1.75, "low", "tall"), shape),
        features=(*(legs if count else ("a pedestal", "a round base", "one central leg")), *(("footrests",) if footrests else ())),
        materials=("wooden", "metal"),
        parameters={"shape": shape, "legs": count, "leg_style": style, "footrests": footrests},
    )


@family(held_out={"rails": 2, "arms": True})
def bench(rng: Generator) -> tuple[list[Solid], Facts]:
    width, depth, seat = rng.uniform(1.2, 1.8), rng.uniform(0.36, 0.5), rng.uniform(0.4, 0.48)
    planks, rails = pick(rng, (1, 1, 2, 3)), pick(rng, (0, 0, 1, 2, 3))
    stand, arms = pick(rng, ("legs", "slabs")), rails > 0 and chance(rng, 0.35)
    board, thickness = rng.uniform(0.05, 0.08), rng.uniform(0.06, 0.09)
    inset = rng.uniform(0.04, 0.22)

    top, gap = seat + board, 0.045
    plank = (depth - gap * (planks - 1)) / planks
    solids = [box(width, plank, board, (0, i * (plank + gap) - (depth - plank) / 2, seat)) for i in range(planks)]
    if stand == "slabs":
        solids += pair(box(thickness, depth - 0.06, seat + 0.35 * board, (width / 2 - inset - thickness / 2, 0, 0)))
    else:
        solids += four_legs("straight", thickness, seat + 0.35 * board, width - 2 * inset, depth - 0.06)
        if planks > 1:
            solids += pair(box(thickness + 0.04, depth - 0.03, 0.06, (width / 2 - inset - thickness / 2, 0, seat - 0.05)))
    if rails:
        back, slope = rng.uniform(0.35, 0.48), 0.15
        y, x = depth / 2 - 0.045, width / 2 - 0.12
        upright = pair(box(0.06, 0.06, back + 0.35 * board, (x, y, top - 0.35 * board)))
        rail = (back - 0.1 - gap * (rails - 1)) / rails
        upright += [box(width - 0.03, 0.05, rail, (0, y - 0.05, top + 0.12 + i * (rail + gap))) for i in range(rails)]
        solids += [part.leaning_back(slope, top) for part in upright]
        if arms:
            height, front = 0.22, -depth / 2 + 0.05
            reach = y + slope * height - front
            solids += pair(box(0.1, reach + 0.05, 0.05, (x, front + reach / 2 - 0.025, top + height)))
            solids += pair(box(0.055, 0.055, height + 0.025 + 0.3 * board, (x, front, top - 0.3 * board)))

    return solids, Facts(
        names=("bench", *(("park bench", "garden bench") if rails and planks > 1 else ())),
        adjectives=sized(width / depth, 3.1, 4.0, "short", "long"),
        features=(
            "a back" if rails else "no back",
            *((several(rails, "back board"),) if rails else ()),
            several(planks, "seat plank") if planks > 1 else "a solid seat",
            "four legs" if stand == "legs" else "two slab legs",
            *(("armrests",) if arms else ()),
        ),
        materials=("wooden", "stone", "metal"),
        parameters={"planks": planks, "rails": rails, "stand": stand, "legs": 4 if stand == "legs" else 2, "arms": arms},
    )


@family(held_out={"seats": 2, "arm": (0.2, 0.23)})
def sofa(rng: Generator) -> tuple[list[Solid], Facts]:
    seats, cushions = pick(rng, (2, 3)), chance(rng, 0.5)
    place, arm, depth = rng.uniform(0.55, 0.75), rng.uniform(0.14, 0.26), rng.uniform(0.8, 0.98)
    foot, base, back, rest = rng.uniform(0.1, 0.16), rng.uniform(0.18, 0.25), rng.uniform(0.36, 0.5), rng.uniform(0.16, 0.28)
    thickness, pad = rng.uniform(0.18, 0.24), rng.uniform(0.12, 0.17)

    inner = seats * place
    width, top = inner + 2 * arm, foot + base
    front, rear = -depth / 2, depth / 2
    solids = [
        box(inner + arm, depth - 0.15, base, (0, 0, foot)),
        box(inner + 0.7 * arm, thickness, base + back + 0.08, (0, rear - thickness / 2, foot + 0.04)),
        *pair(box(arm, depth - 0.04, base + pad + rest, ((inner + arm) / 2, -0.03, foot - 0.03))),
        *four_legs("straight", 0.09, foot + 0.02, width - 0.08, depth - 0.22),
    ]
    seat_depth = depth - thickness
    for i in range(seats):
        x = (i - (seats - 1) / 2) * place
        solids.append(box(place - 0.045, seat_depth, pad + 0.03, (x, front + seat_depth / 2 + 0.01, top - 0.03)))
        if cushions:
            y = rear - thickness - 0.05
            solids.append(box(place - 0.09, 0.16, back - pad, (x, y, top + pad - 0.02), top=(0.92, 0.7), shift=(0, 0.03)))

    return solids, Facts(
        names=("sofa", "couch", f"{('two', 'three')[seats - 2]}-seat sofa", "settee"),
        adjectives=sized(width / depth, 1.8, 2.5, "short", "long"),
        features=(
            several(seats, "seat"),
            several(seats, "seat cushion"),
            several(seats, "back cushion") if cushions else "no back cushions",
            *sized(arm, 0.18, 0.22, "thin armrests", "thick armrests"),
            *sized(back, 0.4, 0.46, "a low back", "a high back"),
        ),
        materials=("leather", "fabric"),
        parameters={"seats": seats, "back_cushions": seats * cushions, "legs": 4, "arm": arm},
    )
