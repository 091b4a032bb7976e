"""Beds and lamps."""

from __future__ import annotations

from math import cos, pi, sin

from numpy.random import Generator

from training.procedural.captions import Facts, sized
from training.procedural.draws import chance, pick
from training.procedural.legs import leg
from training.procedural.parts import Solid, box, lathe, prism
from training.procedural.registry import family


@family
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
        solids.append(prism(6, pole, height - 0.8 * shade_height - hub, (0, 0, hub)))
        for angle in (pi / 2, pi * 7 / 6, pi * 11 / 6):
            c, s = cos(angle) * 1.2 * shade, sin(angle) * 1.2 * shade
            solids.append(leg("straight", 2 * pole, hub + 0.04 * height, (c, s, 0), (-0.92 * c, -0.92 * s)))
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
