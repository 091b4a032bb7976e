"""Cars."""

from __future__ import annotations

from numpy.random import Generator

from training.procedural.captions import Facts, sized
from training.procedural.draws import chance, pick
from training.procedural.parts import Solid, box, pair, prism
from training.procedural.registry import family

# Where a cabin begins and ends along the car, its height and how far its windscreen and its rear slope (times the cabin's height).
CABINS = {
    "sedan": (0.27, 0.83, 1.0, 0.75, 0.55),
    "hatchback": (0.28, 0.97, 1.0, 0.75, 0.3),
    "pickup": (0.24, 0.55, 1.0, 0.75, 0.15),
    "van": (0.12, 0.97, 1.4, 0.75, 0.15),
}
NAMES = {"sedan": ("sedan",), "hatchback": ("hatchback",), "pickup": ("pickup truck", "pickup"), "van": ("van", "minivan")}


@family
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
