"""What stands about outdoors: fences, bridges, wells, tents, street lights, signposts and mailboxes."""

from __future__ import annotations

from math import pi

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, arc, ball, box, extrude, gable, lathe, pair, plate, prism, ring
from training.procedural.registry import family


@family(held_out={"kind": "rails", "posts": 4, "rails": 2})
def fence(rng: Generator) -> tuple[list[Solid], Facts]:
    kind = pick(rng, ("rails", "pickets", "boards"))
    posts, rails = whole(rng, 2, 5), whole(rng, 2, 3)
    height, bay, caps = rng.uniform(0.8, 1.2), rng.uniform(0.9, 1.3), chance(rng, 0.3)
    pickets = 0
    if kind == "pickets":
        posts, bay = 2, rng.uniform(1.4, 2.2)
        pickets = whole(rng, 4, 7)
    if kind == "boards":
        posts = min(posts, 4)
    length, thick = bay * (posts - 1), rng.uniform(0.1, 0.14)

    places = [-length / 2 + bay * i for i in range(posts)]
    solids = [box(thick, thick, height, (x, 0, 0)) for x in places]
    if caps:
        solids += [box(1.5 * thick, 1.5 * thick, 0.08, (x, 0, height - 0.04)) for x in places]
    if kind == "boards":
        gap = rng.uniform(0.03, 0.05)
        board = (height - 0.2) / (rails + 1)
        solids += [box(length + 0.05, 0.06, board - gap, (0, 0, 0.1 + i * board)) for i in range(rails + 1)]
    else:
        solids += [box(length + 0.24, 0.06, 0.11, (0, 0.01, height * (i + 0.75) / (rails + 0.2))) for i in range(rails)]
    for i in range(pickets):
        x = (length - thick) * ((i + 0.5) / pickets - 0.5)
        half = 0.28 * (length - thick) / pickets
        solids.append(plate(0.06, (half, 0), (half, 0.92 * height), (0, 1.06 * height), at=(x, -0.06, 0.06)))

    names = {"rails": ("rail fence",), "pickets": ("picket fence", "garden fence"), "boards": ("board fence", "plank fence")}
    return solids, Facts(
        names=("fence", *names[kind]),
        adjectives=(*sized(height, 0.9, 1.1, "low", "tall"), *sized(length / height, 1.4, 2.8, "narrow", "long")),
        features=(
            several(posts, "post"),
            *((several(rails, "rail"),) if kind != "boards" else (several(rails + 1, "board"),)),
            *((several(pickets, "picket"), "pointed pickets") if pickets else ()),
            *(("post caps",) if caps else ()),
        ),
        materials=("wooden", "white", "metal"),
        parameters={"kind": kind, "posts": posts, "rails": rails if kind != "boards" else 0, "pickets": pickets},
    )


@family(held_out={"arches": 2, "walls": True})
def bridge(rng: Generator) -> tuple[list[Solid], Facts]:
    kind, arches = pick(rng, ("arched", "arched", "plank")), pick(rng, (1, 1, 2, 3))
    length, width, height = rng.uniform(3.0, 4.6), rng.uniform(1.0, 1.7), rng.uniform(0.7, 1.2)
    hump, wall = rng.uniform(0.0, 0.35), chance(rng, 0.8)
    if kind == "plank":
        posts = whole(rng, 2, 4)
        return plank_bridge(length, width, 0.6 * height, posts, chance(rng, 0.6))

    half, steps = length / 2, 4
    span = 0.82 * length / arches
    radius, lower = 0.42 * span, [(-half, 0.0)]
    for i in range(arches):
        middle = (i - (arches - 1) / 2) * span
        lower += [(middle + x, z * min(1.0, (height - 0.22) / radius)) for x, z in arc(radius, pi, 0, steps + 1)]
    lower.append((half, 0.0))
    upper = [(x, height + hump * (1 - (x / half) ** 2)) for x, _ in lower]
    solids = [extrude(lower + upper[::-1], width)]
    if wall:
        few = [upper[0], *upper[2:-2:2], upper[-1]]
        rail = extrude([(x * 1.01, z - 0.08) for x, z in few] + [(x * 1.01, z + 0.28) for x, z in few[::-1]], 0.18)
        solids += [rail.moved(y=y * (width / 2 - 0.04)) for y in (-1, 1)]
    return solids, Facts(
        names=("bridge", "arched bridge", "stone bridge"),
        adjectives=(*sized(length / width, 2.4, 3.4, "short", "long"), *sized(width, 1.15, 1.5, "narrow", "wide")),
        features=(
            several(arches, "arch"),
            "side walls" if wall else "no side walls",
            *sized(hump, 0.1, 0.25, "a flat deck", "a humped deck"),
        ),
        materials=("stone", "brick", "old"),
        parameters={"kind": kind, "arches": arches, "walls": wall},
    )


def plank_bridge(length: float, width: float, height: float, posts: int, sloped: bool) -> tuple[list[Solid], Facts]:
    """A deck of boards on beams, with a railing on both sides."""
    boards = 7
    each = length / boards
    solids = [box(0.86 * each, width, 0.12, ((i - (boards - 1) / 2) * each, 0, height)) for i in range(boards)]
    for y in (-1, 1):
        side = y * (width / 2 - 0.13)
        solids.append(box(0.92 * length, 0.14, 0.2, (0, 0.8 * side, height - 0.17)))
        solids += [box(0.16, 0.16, height + 0.85, ((i / (posts - 1) - 0.5) * 0.9 * length, side, 0)) for i in range(posts)]
        solids.append(box(0.97 * length, 0.06, 0.11, (0, side, height + 0.68)))
        if sloped:
            solids.append(box(0.97 * length, 0.06, 0.09, (0, side, height + 0.36)))
    return solids, Facts(
        names=("bridge", "wooden bridge", "footbridge", "plank bridge"),
        adjectives=(*sized(length / width, 2.4, 3.4, "short", "long"), *sized(width, 1.15, 1.5, "narrow", "wide")),
        features=(several(2 * posts, "post"), "railings", several(boards, "plank"), *(("double rails",) if sloped else ())),
        materials=("wooden", "old"),
        parameters={"kind": "plank", "arches": 0, "posts": 2 * posts},
    )


@family(held_out={"shape": "square", "roof": "gabled", "bucket": True})
def well(rng: Generator) -> tuple[list[Solid], Facts]:
    shape, roof, bucket = pick(rng, ("round", "round", "square")), pick(rng, ("gabled", "gabled", "pyramid", "none")), chance(rng, 0.5)
    radius, wall, height = rng.uniform(0.6, 0.8), rng.uniform(0.55, 0.8), rng.uniform(1.4, 1.9)
    bucket = bucket or roof == "none"
    sides, rim = pick(rng, (6, 8)) if shape == "round" else 4, chance(rng, 0.5)
    scale = 1.25 if sides == 4 else 1.0

    r = radius * scale
    solids = [lathe(sides, (r, 0), (r, wall), (0.74 * r, wall), (0.74 * r, 0.12))]
    if rim:
        solids.append(ring(sides, 1.12 * r, 0.66 * r, 0.16, (0, 0, wall - 0.1)))
    x = {4: 0.77, 6: 0.87, 8: 0.8}[sides] * radius
    solids += pair(box(0.12, 0.12, height - wall + 0.24, (x, 0, wall - 0.2)))
    solids.append(prism(6, 0.07, 2 * x + 0.2).lying_along_x().moved(-x - 0.1, 0, wall + 0.45 * (height - wall)))
    if roof == "gabled":
        solids.append(gable(2.7 * radius, 1.9 * radius, 0.75 * radius, (0, 0, height - 0.02)))
    if roof == "pyramid":
        solids.append(box(2.5 * radius, 2.1 * radius, 0.9 * radius, (0, 0, height - 0.02), top=(0.08, 0.08)))
    if bucket:
        hang = wall + 0.45 * (height - wall)
        solids += [box(0.045, 0.045, 0.3, (0, 0, hang - 0.28)), prism(6, 0.13, 0.26, (0, 0, hang - 0.5), top=1.25)]

    return solids, Facts(
        names=("well", "water well", "wishing well"),
        adjectives=(*sized(height / radius, 2.2, 2.8, "low", "tall"), shape),
        features=(
            f"a {roof} roof" if roof != "none" else "no roof",
            "a bucket" if bucket else "no bucket",
            *(("a wide rim",) if rim else ()),
            "two posts",
        ),
        materials=("stone", "brick", "old"),
        parameters={"shape": shape, "roof": roof, "bucket": bucket, "posts": 2},
    )


@family(held_out={"kind": "ridge", "open": False, "pegs": True})
def tent(rng: Generator) -> tuple[list[Solid], Facts]:
    kind, opened, pegs = pick(rng, ("ridge", "ridge", "cone", "canopy")), chance(rng, 0.6), chance(rng, 0.5)
    width, length, height = rng.uniform(1.6, 2.3), rng.uniform(1.8, 3.0), rng.uniform(1.1, 1.7)
    front, half = -length / 2, width / 2

    if kind == "ridge":
        thick = 0.08
        roof = [
            (half + thick, 0.0),
            (0.0, height),
            (-half - thick, 0.0),
            (-half + thick, 0.0),
            (0.0, height - 1.6 * thick),
            (half - thick, 0.0),
        ]
        solids = [extrude(roof, length)]
        solids.append(plate(0.07, (half - 0.5 * thick, 0.015), (0, height - thick), at=(0, -front - 0.12, 0)))
        solids += [box(0.08, 0.08, height + 0.22, (0, y, 0.01)) for y in (front - 0.03, -front + 0.03)]
        if opened:
            flap = extrude([(0.5 * half, 0.02), (half - 0.05, 0.02), (0.06, height - 0.16)], 0.06)
            solids += pair(flap.moved(y=front + 0.1))
        else:
            solids.append(plate(0.07, (half - 0.5 * thick, 0.015), (0, height - thick), at=(0, front + 0.12, 0)))
        if pegs:
            solids += pair(*(box(0.08, 0.08, 0.24, (half + 0.35, y, 0), shift=(0.06, 0)) for y in (0.8 * front, -0.8 * front)))
    elif kind == "cone":
        sides, opened = pick(rng, (6, 8)), False
        solids = [lathe(sides, (half, 0), (0.08 * half, 1.25 * height))]
        solids += [box(0.05, 0.05, 0.55, (0, 0, 1.15 * height), shift=(0.24, 0.0)).turned(2 * pi * (i + 0.3) / 3) for i in range(3)]
        solids.append(plate(0.5 * half, (0.3 * half, 0), (0, 0.62 * height), at=(0, -0.72 * half, 0.015)))
        pegs = False
    else:
        opened, pegs = True, False
        deep = 0.8 * length
        solids = pair(*(box(0.1, 0.1, height, (half - 0.08, y * (deep / 2 - 0.08), 0)) for y in (-1, 1)))
        solids += [
            box(width + 0.1, deep + 0.1, 0.2, (0, 0, height - 0.12)),
            box(width + 0.2, deep + 0.2, 0.5 * height, (0, 0, height + 0.04), top=(0.08, 0.08)),
        ]

    names = {"ridge": ("camping tent", "ridge tent"), "cone": ("teepee", "tipi"), "canopy": ("party tent", "canopy tent")}
    features = {
        "ridge": ("an open front" if opened else "a closed front", "tent pegs" if pegs else "no tent pegs", "two tent poles"),
        "cone": ("crossed poles", "three poles", "a triangular entrance"),
        "canopy": ("four posts", "open sides", "a pointed roof"),
    }
    return solids, Facts(
        names=("tent", *names[kind]),
        adjectives=sized(height / width, 0.6, 0.85, "low", "tall"),
        features=features[kind],
        materials=("canvas", "camping"),
        parameters={"kind": kind, "open": opened, "pegs": pegs, "posts": 4 if kind == "canopy" else 0},
    )


@family(held_out={"kind": "arm", "lamps": 2})
def street_light(rng: Generator) -> tuple[list[Solid], Facts]:
    kind, lamps = pick(rng, ("arm", "lantern", "globe")), pick(rng, (1, 1, 2))
    height, thick, base = rng.uniform(2.6, 3.6), rng.uniform(0.08, 0.11), rng.uniform(0.4, 0.7)
    solids = [prism(6, thick, height), prism(pick(rng, (6, 8)), 2.2 * thick, base, top=0.75)]
    reach, sides = rng.uniform(0.5, 0.9), (1, -1)[:lamps]
    if kind == "arm":
        rise = rng.uniform(0.15, 0.4)
        for side in sides:
            arm = box(0.11, 0.11, reach, top=(0.9, 0.8), shift=(0, rise)).lying_along_x().moved(0.02, 0, height - 0.09)
            head = box(0.5, 0.24, 0.12, (reach + 0.16, 0, height - 0.12 + rise), top=(0.8, 0.7))
            solids += [part if side > 0 else part.mirrored().moved(y=0.012) for part in (arm, head)]
    else:
        size = rng.uniform(0.17, 0.23)
        places = [(0.0, height - 0.04)] if lamps == 1 else [(0.45, height - 0.35), (-0.45, height - 0.35)]
        if lamps == 2:
            solids.append(box(1.05, 0.09, 0.09, (0, 0, height - 0.45)))
        for x, z in places:
            if kind == "globe":
                solids += [ball(6, 1.1 * size, 2.1 * size, (x, 0, z)), box(1.7 * size, 1.7 * size, 0.09, (x, 0, z - 0.05))]
            else:
                solids += [
                    lathe(4, (0.7 * size, 0), (1.15 * size, 1.9 * size), at=(x, 0, z)),
                    prism(4, 1.6 * size, 0.9 * size, (x, 0, z + 1.9 * size - 0.03), top=0.2),
                ]
    return solids, Facts(
        names=("street light", "street lamp", "lamp post", "streetlamp"),
        adjectives=sized(height, 2.8, 3.3, "low", "tall"),
        features=(
            several(lamps, "lamp"),
            {
                "arm": "a lamp arm" if lamps == 1 else "two arms",
                "lantern": "a lantern" if lamps == 1 else "two lanterns",
                "globe": "a globe" if lamps == 1 else "two globes",
            }[kind],
            *sized(base, 0.48, 0.62, "a low foot", "a high foot"),
        ),
        materials=("metal", "old-fashioned") if kind != "arm" else ("metal", "modern"),
        parameters={"kind": kind, "lamps": lamps},
    )


@family(held_out={"kind": "arrows", "signs": 2, "stones": True})
def signpost(rng: Generator) -> tuple[list[Solid], Facts]:
    kind = pick(rng, ("arrows", "arrows", "board"))
    signs = whole(rng, 1, 3) if kind == "arrows" else 1
    height, thick, stones, cap = rng.uniform(1.6, 2.3), rng.uniform(0.1, 0.14), chance(rng, 0.35), chance(rng, 0.3)
    width, tall = rng.uniform(0.8, 1.2), rng.uniform(0.22, 0.3)

    solids = [box(thick, thick, height)]
    left = right = 0
    if kind == "board":
        tall = rng.uniform(0.5, 0.75)
        solids.append(box(width, 0.08, tall, (0, -thick / 2 - 0.01, height - tall - 0.12)))
        if chance(rng, 0.5):
            solids.append(box(0.86 * width, 0.08, 0.75 * tall, (0, -thick / 2 - 0.04, height - 0.87 * tall - 0.12)))
    else:
        side = pick(rng, (1, -1))
        for i in range(signs):
            z = height - 0.1 - (i + 1) * (tall + 0.1)
            arrow = extrude(
                [(-0.3 * width, 0), (0.5 * width, 0), (0.5 * width + 0.6 * tall, tall / 2), (0.5 * width, tall), (-0.3 * width, tall)], 0.08
            )
            arrow = arrow.moved(0, -thick / 2 - 0.01, z)
            solids.append(arrow if side > 0 else arrow.mirrored())
            left, right, side = left + (side < 0), right + (side > 0), -side
    if cap:
        solids.append(box(1.6 * thick, 1.6 * thick, 0.1, (0, 0, height - 0.05), top=(0.5, 0.5)))
    if stones:
        solids += [lathe(5, (0.17, 0), (0.13, 0.12), (0.05, 0.17)).moved(x, y) for x, y in ((0.14, -0.1), (-0.15, 0.02), (0.03, 0.16))]

    pointing = "two directions" if left and right else "the right" if right else "the left"
    return solids, Facts(
        names=("signpost", "wooden sign" if kind == "board" else "arrow sign", "road sign", "sign"),
        adjectives=sized(height, 1.8, 2.1, "low", "tall"),
        features=(
            *(
                (several(signs, "arrow board"), f"{'an arrow' if signs == 1 else 'arrows'} to {pointing}")
                if kind == "arrows"
                else ("a rectangular board",)
            ),
            "stones around the post" if stones else "one post",
            *(("a post cap",) if cap else ()),
        ),
        materials=("wooden", "old", "weathered"),
        parameters={"kind": kind, "signs": signs, "stones": stones, "boards": signs},
    )


@family(held_out={"shape": "gabled", "flag": True, "stand": "cross"})
def mailbox(rng: Generator) -> tuple[list[Solid], Facts]:
    shape, stand, flag = pick(rng, ("rounded", "rounded", "gabled")), pick(rng, ("post", "post", "cross")), chance(rng, 0.6)
    width, length, wall = rng.uniform(0.34, 0.44), rng.uniform(0.6, 0.85), rng.uniform(0.2, 0.28)
    height, thick = rng.uniform(0.75, 1.15), rng.uniform(0.09, 0.13)
    half = width / 2

    if shape == "rounded":
        profile = [(half, 0.0), (half, wall), (0.7 * half, wall + 0.7 * half), (0.28 * half, wall + half)]
    else:
        profile = [(half, 0.0), (half, wall), (0.0, wall + 0.9 * half)]
    solids = [box(thick, thick, height + 0.05), plate(length, *profile, at=(0, 0, height))]
    solids.append(plate(0.07, *[(0.86 * x, 0.03 + 0.88 * z) for x, z in profile], at=(0, -length / 2, height)))
    solids.append(box(0.09, 0.08, 0.06, (0, -length / 2 - 0.05, height + wall)))
    if flag:
        solids += [
            box(0.04, 0.06, 0.34, (half + 0.02, -0.1, height + 0.5 * wall)),
            box(0.05, 0.2, 0.12, (half + 0.05, 0, height + 0.5 * wall + 0.24)),
        ]
    if stand == "cross":
        solids.append(box(0.07, 0.8 * length, 0.09, (0, 0, height - 0.06)))
        solids += [box(0.75, 0.6 * thick, 0.08), box(0.6 * thick, 0.75, 0.06)]
    return solids, Facts(
        names=("mailbox", "letter box", "post box"),
        adjectives=(*sized(height / length, 1.1, 1.5, "low", "tall"), *({"rounded": ("rounded",)}.get(shape, ()))),
        features=(
            "a rounded top" if shape == "rounded" else "a gabled top",
            "a flag" if flag else "no flag",
            "a post" if stand == "post" else "a cross-shaped foot",
            "a front flap",
        ),
        materials=("metal", "wooden"),
        parameters={"shape": shape, "stand": stand, "flag": flag},
    )
