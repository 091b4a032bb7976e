"""Beds and lamps."""

from __future__ import annotations

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick
from training.procedural.legs import four_legs, legs_around
from training.procedural.parts import Solid, box, lathe, pair, prism
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


@family
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
