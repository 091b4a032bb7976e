"""Trees, rocks, mushrooms and mountains."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, ball, lathe, lathe_faces, prism
from training.procedural.registry import family


@family(held_out={"tiers": 3, "trunk": (0.5, 0.6)})
def tree(rng: Generator) -> tuple[list[Solid], Facts]:
    if chance(rng, 0.45):
        return conifer(rng)
    trunk, radius, crown = rng.uniform(0.6, 1.4), rng.uniform(0.55, 0.95), rng.uniform(1.2, 2.0)
    thickness, count = rng.uniform(0.09, 0.15), pick(rng, (1, 1, 2, 3))
    solids = [prism(6, thickness, trunk + 0.3 * crown, top=0.7)]
    solids += [ball(8, radius, crown, (0, 0, trunk))]
    if count > 1:
        side = ball(6, 0.62 * radius, 0.6 * crown, (0.75 * radius, 0, trunk + 0.05 * crown))
        solids += [side, side.mirrored().moved(z=0.12 * crown)][: count - 1]
    return solids, Facts(
        names=("tree", "leafy tree", "broadleaf tree"),
        adjectives=sized((trunk + crown) / radius, 3.0, 4.2, "low", "tall"),
        features=(
            "a round crown" if count == 1 else several(count, "crown"),
            *sized(trunk / crown, 0.45, 0.8, "a short trunk", "a long trunk"),
            *sized(thickness / radius, 0.13, 0.2, "a thin trunk", "a thick trunk"),
        ),
        materials=(),
        parameters={"kind": "leafy", "crowns": count},
    )


def conifer(rng: Generator) -> tuple[list[Solid], Facts]:
    tiers, sides = whole(rng, 2, 4), pick(rng, (6, 8))
    trunk, radius, tier = rng.uniform(0.3, 0.6), rng.uniform(0.6, 0.95), rng.uniform(0.65, 0.95)
    thickness = rng.uniform(0.1, 0.15)
    solids = [prism(6, thickness, trunk + 0.2 * tier)]
    for i in range(tiers):
        size = 1.0 - 0.6 * i / tiers
        solids.append(prism(sides, radius * size, tier, (0, 0, trunk + 0.55 * tier * i), top=0.0))
    height = trunk + tier * (1 + 0.55 * (tiers - 1))
    return solids, Facts(
        names=("tree", "pine tree", "fir tree", "conifer", "pine"),
        adjectives=sized(height / radius, 2.4, 3.4, "low", "tall"),
        features=(several(tiers, "tier"), *sized(trunk / height, 0.17, 0.25, "a short trunk", "a long trunk"), "a pointed top"),
        materials=(),
        parameters={"kind": "conifer", "tiers": tiers, "trunk": trunk},
    )


@family(held_out={"stones": 2, "height": (1.1, 1.4)})
def rock(rng: Generator) -> tuple[list[Solid], Facts]:
    height, stretch, stones = rng.uniform(0.6, 1.4), rng.uniform(0.8, 1.3), pick(rng, (1, 1, 1, 2, 3))
    solids = [stone(rng, whole(rng, 6, 8), height).scaled(x=stretch)]
    for side in (-1, 1)[: stones - 1]:
        solids.append(stone(rng, 5, height * 0.8).scaled(0.42, 0.42, 0.42).moved(side * (stretch + 0.42), rng.uniform(-0.5, 0.0)))
    return solids, Facts(
        names=("rock", "boulder", "stone") if stones == 1 else ("rock", "pile of rocks", "group of rocks"),
        adjectives=(*sized(height, 0.8, 1.15, "flat", "tall"), *(("wide",) if stretch > 1.15 else ())),
        features=(several(stones - 1, "smaller stone") + " beside it",) if stones > 1 else (),
        materials=("grey", "rough", "rugged"),
        parameters={"stones": stones, "height": height},
    )


def stone(rng: Generator, sides: int, height: float) -> Solid:
    """An irregular lump about 2 wide: three uneven rings and a peak."""
    even = lathe(sides, (0.95, 0.0), (1.0, 0.4 * height), (0.66, 0.82 * height), (0.0, height))
    vertices = even.vertices.copy()
    vertices[:, :2] *= rng.uniform(0.82, 1.14, (len(vertices), 1))
    vertices[sides:, 2] += rng.uniform(-0.09, 0.09, len(vertices) - sides) * height
    vertices[-1, :2] += rng.uniform(-0.2, 0.2, 2)
    return Solid(vertices, even.faces)


@family(held_out={"cap": "flat", "count": 3})
def mushroom(rng: Generator) -> tuple[list[Solid], Facts]:
    cap, count = pick(rng, ("round", "pointed", "flat")), pick(rng, (1, 1, 2, 3))
    stem, radius, thickness = rng.uniform(0.5, 1.0), rng.uniform(0.42, 0.65), rng.uniform(0.13, 0.22)
    height = {"round": rng.uniform(0.7, 0.95), "pointed": rng.uniform(1.0, 1.5), "flat": rng.uniform(0.32, 0.45)}[cap] * radius

    whole_one = [prism(6, thickness, stem + 0.25 * height, top=0.75), mushroom_cap(cap, radius, height, stem)]
    solids = list(whole_one)
    for side, size in ((-1, 0.6), (1, 0.45))[: count - 1]:
        x = side * (0.75 * radius + size * radius)
        solids += [part.scaled(size, size, size).moved(x, -0.3 * radius) for part in whole_one]
    return solids, Facts(
        names=("mushroom", "toadstool") if count == 1 else ("mushroom", "group of mushrooms", "cluster of mushrooms"),
        adjectives=sized((stem + height) / radius, 2.2, 2.9, "squat", "tall"),
        features=(
            f"a {cap} cap",
            *sized(thickness / stem, 0.18, 0.31, "a thin stem", "a thick stem"),
            *((several(count, "stem"), several(count, "cap")) if count > 1 else ()),
            *sized(radius / stem, 0.55, 0.85, "a small cap", "a wide cap"),
        ),
        materials=(),
        parameters={"cap": cap, "count": count},
    )


def mushroom_cap(style: str, radius: float, height: float, z: float) -> Solid:
    profiles = {
        "round": ((1.0, 0.0), (0.95, 0.4), (0.6, 0.85), (0.0, 1.0)),
        "pointed": ((1.0, 0.0), (0.55, 0.45), (0.0, 1.0)),
        "flat": ((1.0, 0.0), (0.9, 0.55), (0.5, 1.0)),
    }
    return lathe(8, *((radius * r, height * h) for r, h in profiles[style]), at=(0, 0, z))


@family(held_out={"peaks": 2, "snow": True})
def mountain(rng: Generator) -> tuple[list[Solid], Facts]:
    peaks, snow, sides = pick(rng, (1, 1, 2, 3)), chance(rng, 0.5), whole(rng, 6, 8)
    height, width = rng.uniform(0.9, 1.7), rng.uniform(0.85, 1.15)
    places = ((0.0, 0.0, 1.0), (0.85, -0.1, rng.uniform(0.55, 0.75)), (-0.9, 0.05, rng.uniform(0.5, 0.8)))

    solids = []
    for x, y, size in places[:peaks]:
        peak = crag(rng, sides, height)
        parts = [peak, snowcap(rng, peak, sides)] if snow else [peak]
        solids += [part.scaled(width * size, width * size, size).moved(x * width, y * width) for part in parts]

    return solids, Facts(
        names=("mountain", "mountain peak") if peaks == 1 else ("mountain", "mountain range", "group of mountains"),
        adjectives=sized(height / width, 1.1, 1.5, "low", "steep"),
        features=(several(peaks, "peak"), "a snow cap" if snow else "no snow cap"),
        materials=("rocky", "stone", "grey"),
        parameters={"peaks": peaks, "snow": snow, "height": height},
    )


def crag(rng: Generator, sides: int, height: float) -> Solid:
    """A pointed mountain of radius 1 with uneven ridges."""
    even = lathe(sides, (1.0, 0.0), (0.66, 0.36 * height), (0.34, 0.66 * height), (0.0, height))
    vertices = even.vertices.copy()
    zigzag = (-1.0) ** np.arange(sides)
    vertices[:-1, :2] *= np.concatenate([1 + 0.12 * zigzag, 1 - 0.2 * zigzag, 1 + 0.14 * zigzag])[:, None] * rng.uniform(
        0.88, 1.12, (3 * sides, 1)
    )
    vertices[sides:-1, 2] += rng.uniform(-0.1, 0.1, 2 * sides) * height
    vertices[-1, :2] += rng.uniform(-0.12, 0.12, 2)
    return Solid(vertices, even.faces)


def snowcap(rng: Generator, peak: Solid, sides: int) -> Solid:
    """A thick cover of the mountain's tip, its lower edge jagged."""
    ring, tip = peak.vertices[2 * sides : 3 * sides], peak.vertices[-1]
    reach = 1.15 + 0.2 * (-1.0) ** np.arange(sides) + rng.uniform(-0.06, 0.06, sides)
    edge, shoulder = (tip + (ring - tip) * (stretch, stretch, fall) for stretch, fall in ((1.35, 1.0), (0.75, 0.45)))
    edge[:, 2] = tip[2] + (ring[:, 2] - tip[2]) * reach
    return Solid(np.concatenate([edge, shoulder, tip[None] + (0, 0, 0.05)]), lathe_faces(sides, 3, False, True))
