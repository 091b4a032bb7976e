"""Trees, rocks and mushrooms."""

from __future__ import annotations

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, ball, prism
from training.procedural.registry import family


@family
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
        parameters={"kind": "conifer", "tiers": tiers},
    )
