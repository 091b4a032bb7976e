"""Tables and desks."""

from __future__ import annotations

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.legs import LEG_STYLES, four_legs, leg, legs_around
from training.procedural.parts import Solid, box, prism
from training.procedural.registry import family


@family(held_out={"shape": "square", "shelf": True})
def table(rng: Generator) -> tuple[list[Solid], Facts]:
    shape = pick(rng, ("rectangular", "round", "square"))
    low = chance(rng, 0.3)
    height = rng.uniform(0.36, 0.46) if low else rng.uniform(0.68, 0.8)
    width = rng.uniform(1.2, 1.9) * (0.8 if low else 1.0) if shape == "rectangular" else rng.uniform(0.8, 1.15)
    depth = rng.uniform(0.5, 0.62) * width if shape == "rectangular" else width
    board, thickness = rng.uniform(0.045, 0.075), rng.uniform(0.06, 0.1)
    style, stand = pick(rng, LEG_STYLES), pick(rng, ("legs", "legs", "pedestal")) if shape == "round" else "legs"
    count = 0 if stand == "pedestal" else whole(rng, 3, 4) if shape == "round" else 4
    apron, shelf = shape != "round" and chance(rng, 0.35), shape != "round" and chance(rng, 0.25)

    rise = height + board / 2
    if shape == "round":
        solids = [prism(12, 0.51 * width, board, (0, 0, height))]
        solids += legs_around(count, style, thickness, rise, 0.36 * width) if count else []
        if stand == "pedestal":
            solids += [prism(8, 0.06, rise - 0.03, (0, 0, 0.03)), prism(8, 0.28 * width, 0.06, top=0.8)]
    else:
        solids = [box(width, depth, board, (0, 0, height)), *four_legs(style, thickness, rise, width - 0.06, depth - 0.06)]
    if apron:
        solids.append(box(width - 0.14, depth - 0.14, 0.08 + 0.2 * board, (0, 0, height - 0.08)))
    if shelf:
        solids.append(box(width - 0.06 - thickness, depth - 0.06 - thickness, 0.05, (0, 0, 0.25 * height)))

    names = ("coffee table",) if low else ("dining table",) if width > 1.1 else ("side table",)
    return solids, Facts(
        names=("table", *names),
        adjectives=(*(("low",) if low else ()), *(("long",) if width > 1.8 * depth else ()), shape),
        features=(
            *((several(count, "leg"), several(count, f"{style} leg")) if count else ("a pedestal", "one central leg", "a round base")),
            *sized(board / max(width, height), 0.04, 0.06, "a thin top", "a thick top"),
            *(("an apron",) if apron else ()),
            *(("a lower shelf",) if shelf else ()),
        ),
        materials=("wooden", "metal", "glass", "stone"),
        parameters={"shape": shape, "legs": count, "leg_style": style, "low": low, "apron": apron, "shelf": shelf},
    )


@family(held_out={"drawers": 6, "panel": True})
def desk(rng: Generator) -> tuple[list[Solid], Facts]:
    width, depth, height = rng.uniform(1.1, 1.6), rng.uniform(0.55, 0.75), rng.uniform(0.68, 0.78)
    board, thickness, unit = rng.uniform(0.045, 0.065), rng.uniform(0.055, 0.08), rng.uniform(0.34, 0.42)
    sides, drawers = pick(rng, (1, 1, 2)), whole(rng, 2, 4)
    stand, panel = ("drawers" if sides == 2 else pick(rng, ("legs", "slab"))), chance(rng, 0.5)
    hand = pick(rng, (-1, 1))

    x, rise = (width - unit) / 2 - 0.03, height + 0.35 * board
    tower = [box(unit, depth - 0.1, rise - 0.04, (x, 0, 0.04))]
    share = (height - 0.06) / drawers
    tower += [box(unit - 0.08, 0.09, share - 0.045, (x, -(depth - 0.1) / 2, 0.065 + i * share)) for i in range(drawers)]
    if hand < 0:
        tower = [part.mirrored() for part in tower]
    solids = [box(width, depth, board, (0, 0, height)), *tower]
    if sides == 2:
        solids += [part.mirrored() for part in tower]
    away = -hand * ((width - thickness) / 2 - 0.03)
    if stand == "legs":
        far = (depth - thickness) / 2 - 0.03
        solids += [leg("straight", thickness, rise, (away, y, 0)) for y in (-far, far)]
    if stand == "slab":
        solids.append(box(thickness, depth - 0.06, rise, (away, 0, 0)))
    if panel:
        low, rear = 0.4 * height, depth / 2 - 0.09
        solids.append(box(width - 0.06 - thickness, 0.045, height - low + 0.7 * board, (0, rear, low)))

    place = "both sides" if sides == 2 else "one side"
    return solids, Facts(
        names=("desk", "writing desk", "office desk", "work table"),
        adjectives=sized(width / height, 1.65, 2.05, "narrow", "wide"),
        features=(
            several(sides * drawers, "drawer") + pick(rng, ("", f" on {place}")),
            *({"legs": ("two legs",), "slab": ("a side panel",), "drawers": ()}[stand]),
            *(("a back panel",) if panel else ()),
        ),
        materials=("wooden", "metal"),
        parameters={"drawers": sides * drawers, "sides": sides, "legs": 2 if stand == "legs" else 0, "panel": panel},
    )
