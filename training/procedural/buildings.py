"""Houses."""

from __future__ import annotations

from math import pi

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, box, gable, pair
from training.procedural.registry import family


@family
def house(rng: Generator) -> tuple[list[Solid], Facts]:
    storeys = pick(rng, (1, 1, 2))
    width, depth = rng.uniform(3.6, 6.0), rng.uniform(3.6, 5.0)
    wall, pitch, eaves = rng.uniform(2.1, 2.7) * (1.0 if storeys == 1 else 1.75), rng.uniform(0.7, 1.2), rng.uniform(0.25, 0.45)
    roof, chimney, windows = pick(rng, ("side", "front", "front", "hip")), chance(rng, 0.5), 2 * whole(rng, 0, storeys)
    front = -depth / 2

    span = (width if roof == "front" else depth) + 2 * eaves
    rise = pitch * span / 2
    solids = [box(width, depth, wall + 0.5 * pitch * eaves)]
    if roof == "hip":
        solids.append(box(width + 2 * eaves, span, rise * 0.8, (0, 0, wall), top=(0.4, 0.1)))
    elif roof == "front":
        solids.append(gable(depth + 2 * eaves, span, rise, (0, 0, wall)).turned(pi / 2))
    else:
        solids.append(gable(width + 2 * eaves, span, rise, (0, 0, wall)))
    solids.append(box(0.9, 0.4, 1.7, (0, front, 0.1)))
    for row in range(windows // 2):
        solids += pair(box(0.75, 0.36, 0.8, (0.32 * width, front, 0.9 + 1.9 * row)))
    if chimney:
        side = pick(rng, (-1, 1))
        solids.append(box(0.55, 0.55, rise + 0.1, (side * 0.26 * width, 0.2 * depth, wall + 0.2)))

    roofs = {"side": "a gabled roof", "front": "a front gable", "hip": "a hipped roof"}
    return solids, Facts(
        names=("house", "cottage" if storeys == 1 else "two-storey house", "home", "building"),
        adjectives=(*sized((wall + rise) / width, 0.8, 1.2, "low", "tall"), *sized(width / depth, 0.95, 1.3, "narrow", "wide")),
        features=(
            roofs[roof],
            *sized(pitch, 0.82, 1.05, "a low roof", "a steep roof"),
            "a chimney" if chimney else "no chimney",
            several(windows, "window") if windows else "no windows",
            "a door",
            *(("two floors",) if storeys == 2 else ("one floor",)),
        ),
        materials=("wooden", "stone", "brick"),
        parameters={"storeys": storeys, "roof": roof, "chimney": chimney, "windows": windows},
    )
