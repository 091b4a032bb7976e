"""Dogs, cats, horses, birds and fish, all looking towards the front."""

from __future__ import annotations

from math import pi

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick
from training.procedural.legs import four_legs
from training.procedural.parts import Solid, box, extrude, loft, pair, prism
from training.procedural.registry import family


@family(held_out={"ears": "floppy", "tail": "short"})
def dog(rng: Generator) -> tuple[list[Solid], Facts]:
    length, leg, girth = rng.uniform(0.75, 1.1), rng.uniform(0.2, 0.46), rng.uniform(0.3, 0.38)
    ears, tail, snout = pick(rng, ("floppy", "pointed")), pick(rng, ("raised", "raised", "hanging", "short")), rng.uniform(0.4, 0.85)
    collar = chance(rng, 0.25)
    front, rear, middle = -length / 2, length / 2, leg + 0.45 * girth
    y, z = front - 0.25 * girth, middle + girth

    solids = [
        loft(
            6,
            (rear, middle + 0.08 * girth, 0.6 * girth, 0.6 * girth),
            (0.3 * length, middle, 0.85 * girth, 0.85 * girth),
            (-0.28 * length, middle - 0.03 * girth, girth, 1.1 * girth),
            (front, middle + 0.15 * girth, 0.6 * girth, 0.7 * girth),
        ),
        *four_legs("tapered", 0.3 * girth, leg + 0.35 * girth, 0.85 * girth, 0.86 * length),
        box(0.5 * girth, 0.55 * girth, 0.9 * girth, (0, front + 0.2 * girth, middle), top=(0.9, 0.85), shift=(0, -0.35 * girth)),
        loft(
            6,
            (y + 0.4 * girth, z, 0.5 * girth, 0.5 * girth),
            (y + 0.1 * girth, z, 0.85 * girth, 0.75 * girth),
            (y - 0.25 * girth, z - 0.05 * girth, 0.6 * girth, 0.6 * girth),
        ),
        loft(
            4,
            (y - 0.15 * girth, z - 0.1 * girth, 0.44 * girth, 0.36 * girth),
            (y - (0.25 + snout) * girth, z - 0.15 * girth, 0.3 * girth, 0.26 * girth),
        ),
    ]
    if ears == "floppy":
        solids += pair(box(0.14 * girth, 0.3 * girth, 0.6 * girth, (0.43 * girth, y + 0.1 * girth, z - 0.32 * girth), top=(0.9, 0.7)))
    else:
        solids += pair(prism(4, 0.21 * girth, 0.5 * girth, (0.24 * girth, y + 0.1 * girth, z + 0.2 * girth), top=0.0))
    reach = {"raised": (0.35, 0.9), "hanging": (0.5, -0.75), "short": (0.2, 0.35)}[tail]
    root = (0, rear - 0.1 * girth, middle + 0.18 * girth)
    solids.append(limb(0.2 * girth, 0.11 * girth, root, (reach[0] * girth, reach[1] * girth)))
    if collar:
        solids.append(box(0.62 * girth, 0.68 * girth, 0.14 * girth, (0, front + 0.03 * girth, middle + 0.42 * girth)))

    return solids, Facts(
        names=("dog", "puppy" if leg < 0.26 else "hound", "pet dog"),
        adjectives=(*sized(leg / length, 0.28, 0.45, "short-legged", "long-legged"), *sized(length / girth, 2.5, 3.1, "stocky", "long")),
        features=(
            f"{ears} ears",
            {"raised": "a raised tail", "hanging": "a hanging tail", "short": "a short tail"}[tail],
            *sized(snout, 0.52, 0.72, "a short snout", "a long snout"),
            "four legs",
            *(("a collar",) if collar else ()),
        ),
        materials=(),
        parameters={"ears": ears, "tail": tail, "collar": collar, "legs": 4},
    )


def limb(root: float, tip: float, at: tuple[float, float, float], reach: tuple[float, float]) -> Solid:
    """A tapering tail from `at`, its square end `reach` further in y and z; up or down."""
    if reach[1] > 0:
        return box(root, root, reach[1], at, top=(tip / root, tip / root), shift=(0, reach[0]))
    x, y, z = at
    return box(tip, tip, -reach[1], (x, y + reach[0], z + reach[1]), top=(root / tip, root / tip), shift=(0, -reach[0]))


@family(held_out={"pose": "sitting", "tail": "curved"})
def cat(rng: Generator) -> tuple[list[Solid], Facts]:
    pose, tail = pick(rng, ("standing", "standing", "sitting")), pick(rng, ("raised", "raised", "curved", "low"))
    length, leg, girth, head = rng.uniform(0.7, 0.95), rng.uniform(0.22, 0.34), rng.uniform(0.23, 0.3), rng.uniform(0.28, 0.36)
    if pose == "standing":
        front, rear, middle = -length / 2, length / 2, leg + 0.45 * girth
        y, z = front - 0.2 * head, middle + 0.5 * girth + 0.25 * head
        solids = [
            loft(
                6,
                (rear, middle + 0.05 * girth, 0.6 * girth, 0.6 * girth),
                (0.25 * length, middle, 0.95 * girth, 0.95 * girth),
                (-0.3 * length, middle, 0.9 * girth, girth),
                (front, middle + 0.15 * girth, 0.6 * girth, 0.7 * girth),
            ),
            *four_legs("tapered", 0.34 * girth, leg + 0.35 * girth, 0.85 * girth, 0.84 * length),
            box(0.5 * girth, 0.5 * girth, z - middle, (0, front + 0.18 * girth, middle), shift=(0, -0.3 * girth)),
        ]
        root = (0.0, rear - 0.1 * girth, middle + 0.1 * girth)
    else:
        height, deep = 0.62 * length, 0.5 * length
        y, z = -0.14 * length, height + 0.32 * head
        solids = [
            prism(6, 0.62 * girth, height, top=0.55).scaled(y=deep / girth / 1.2).leaning_back(-0.16, 0),
            *pair(
                box(0.26 * girth, 0.26 * girth, 0.7 * height, (0.24 * girth, -0.5 * deep, 0), top=(0.85, 0.85), shift=(0, 0.06 * length))
            ),
            *pair(
                loft(
                    6, (0.4 * deep, 0.26 * height, 0.3 * girth, 0.3 * height), (-0.2 * deep, 0.2 * height, 0.46 * girth, 0.38 * height)
                ).moved(0.46 * girth)
            ),
        ]
        root = (0.0, 0.42 * deep, 0.04 * length)
    solids.append(
        loft(
            6,
            (y + 0.5 * head, z, 0.55 * head, 0.5 * head),
            (y + 0.15 * head, z, head, 0.8 * head),
            (y - 0.25 * head, z - 0.03 * head, 0.85 * head, 0.66 * head),
            (y - 0.48 * head, z - 0.1 * head, 0.4 * head, 0.3 * head),
        )
    )
    solids += pair(prism(4, 0.22 * head, 0.42 * head, (0.28 * head, y + 0.12 * head, z + 0.26 * head), top=0.0))
    solids += cat_tail(tail, 0.28 * girth, length, root)

    return solids, Facts(
        names=("cat", "kitten" if length < 0.76 else "house cat", "pet cat"),
        adjectives=(*((pose,) if pose == "sitting" or chance(rng, 0.4) else ()), *sized(length / girth, 2.9, 3.5, "plump", "slim")),
        features=(
            {"raised": "a raised tail", "curved": "a curved tail", "low": "a low tail"}[tail],
            "pointed ears",
            "a long tail",
            *sized(head / length, 0.34, 0.42, "a small head", "a big head"),
        ),
        materials=(),
        parameters={"pose": pose, "tail": tail, "legs": 4},
    )


def cat_tail(style: str, thickness: float, length: float, root: tuple[float, float, float]) -> list[Solid]:
    """Upright, upright with the end bent back, or stretched out behind."""
    x, y, z = root
    if style == "low":
        return [
            loft(4, (y + 0.6 * length, z + 0.1 * length, 0.7 * thickness, 0.7 * thickness), (y, z + thickness / 2, thickness, thickness))
        ]
    rise = 0.55 * length
    solids = [box(thickness, thickness, rise, root, top=(0.8, 0.8), shift=(0, 0.14 * length))]
    if style == "curved":
        end = (x, y + 0.14 * length, z + 0.92 * rise)
        solids.append(box(0.74 * thickness, 0.74 * thickness, 0.26 * length, end, top=(0.8, 0.8), shift=(0, 0.22 * length)))
    return solids


@family(held_out={"saddle": True, "head": "raised"})
def horse(rng: Generator) -> tuple[list[Solid], Facts]:
    length, leg, girth = rng.uniform(1.5, 1.85), rng.uniform(0.75, 1.05), rng.uniform(0.5, 0.62)
    neck, head, mane, saddle = rng.uniform(0.75, 0.95), pick(rng, ("raised", "lowered")), chance(rng, 0.6), chance(rng, 0.25)
    front, rear, middle = -length / 2, length / 2, leg + 0.42 * girth
    rise, lean = (neck, 0.5) if head == "raised" else (0.5 * neck, 0.85)
    y, z = front + 0.1 - lean, middle + 0.1 + rise

    solids = [
        loft(
            6,
            (rear, middle + 0.06, 0.6 * girth, 0.65 * girth),
            (0.3 * length, middle + 0.03, girth, 1.05 * girth),
            (-0.3 * length, middle, 0.95 * girth, 1.05 * girth),
            (front, middle + 0.05, 0.55 * girth, 0.75 * girth),
        ),
        *four_legs("tapered", 0.36 * girth, leg + 0.2, 0.92 * girth, 0.88 * length),
        *pair(*(box(0.2, 0.24, 0.14, (0.28 * girth, place, 0), top=(0.8, 0.8)) for place in (0.44 * length - 0.12, -0.44 * length + 0.09))),
        box(0.3, 0.5, rise + 0.18, (0, front + 0.22, middle - 0.05), top=(0.75, 0.62), shift=(0, -lean)),
        loft(4, (y + 0.28, z + 0.08, 0.26, 0.3), (y - 0.05, z + 0.05, 0.28, 0.32), (y - 0.5, z - 0.22, 0.18, 0.2)),
        *pair(prism(4, 0.07, 0.24, (0.085, y + 0.12, z + 0.16), top=0.0)),
        limb(0.16, 0.1, (0, rear - 0.13, middle + 0.2), (0.31, -0.8 * leg)),
    ]
    if mane:
        solids.append(box(0.1, 0.3, rise + 0.22, (0, front + 0.38, middle + 0.05), top=(1, 0.6), shift=(0, -lean)))
    if saddle:
        solids.append(box(1.1 * girth, 0.42, 0.2, (0, -0.04, middle + 0.42 * girth), top=(0.8, 0.9)))

    return solids, Facts(
        names=("horse", "pony" if leg < 0.85 else "stallion", *(("riding horse",) if saddle else ())),
        adjectives=sized(leg / length, 0.47, 0.6, "short-legged", "long-legged"),
        features=(
            f"a {head} head",
            "a mane" if mane else "no mane",
            "a saddle" if saddle else "no saddle",
            "a hanging tail",
            "four legs",
            *sized(neck, 0.8, 0.9, "a short neck", "a long neck"),
        ),
        materials=(),
        parameters={"head": head, "mane": mane, "saddle": saddle, "legs": 4},
    )


@family(held_out={"pose": "flying", "beak": (0.3, 0.36)})
def bird(rng: Generator) -> tuple[list[Solid], Facts]:
    pose = pick(rng, ("standing", "flying"))
    length, girth, head, beak = rng.uniform(0.75, 1.0), rng.uniform(0.32, 0.44), rng.uniform(0.26, 0.34), rng.uniform(0.16, 0.4)
    leg, tail = rng.uniform(0.2, 0.5), rng.uniform(0.25, 0.45)
    front, rear, middle = -length / 2, length / 2, leg + 0.45 * girth
    y, z = front - 0.02, middle + 0.3 * girth + 0.3 * head

    solids = [
        loft(
            6,
            (rear, middle - 0.02, 0.25 * girth, 0.25 * girth),
            (0.15 * length, middle - 0.02, 0.9 * girth, 0.85 * girth),
            (-0.25 * length, middle, girth, girth),
            (front, middle + 0.2 * girth, 0.5 * girth, 0.55 * girth),
        ),
        loft(
            6, (y + 0.5 * head, z, 0.55 * head, 0.55 * head), (y + 0.1 * head, z, head, head), (y - 0.4 * head, z, 0.6 * head, 0.6 * head)
        ),
        loft(4, (y - 0.3 * head, z - 0.05 * head, 0.4 * head, 0.36 * head), (y - 0.4 * head - beak, z - 0.12 * head, 0, 0)),
        loft(4, (rear + tail, middle + 0.12 * tail, 0.34, 0.05), (rear - 0.12, middle, 0.16, 0.09)),
    ]
    if pose == "standing":
        solids += pair(
            loft(
                6,
                (rear + 0.1, middle - 0.08, 0.05, 0.08),
                (0.1 * length, middle, 0.09, 0.6 * girth),
                (-0.3 * length, middle + 0.05, 0.06, 0.3 * girth),
            ).moved(0.47 * girth)
        )
        solids += pair(box(0.055, 0.055, middle, (0.2 * girth, 0.02, 0.02)), box(0.1, 0.2, 0.05, (0.2 * girth, -0.03, 0)))
    else:
        span, lift = rng.uniform(0.65, 0.95), rng.uniform(0.05, 0.35)
        wing = box(0.48 * length, 0.07, span, top=(0.45, 0.7), shift=(0.12, lift)).lying_along_x()
        solids += pair(wing.moved(0.25 * girth, -0.02 * length, middle + 0.12 * girth))

    return solids, Facts(
        names=("bird", "songbird" if beak < 0.25 else "seabird"),
        adjectives=((pose,) if chance(rng, 0.6) else ()) + sized(length / girth, 2.0, 2.6, "plump", "slim"),
        features=(
            "folded wings" if pose == "standing" else "spread wings",
            *sized(beak, 0.22, 0.32, "a short beak", "a long beak"),
            *((several(2, "leg"), *sized(leg, 0.27, 0.42, "short legs", "long legs")) if pose == "standing" else ("no legs",)),
            *sized(tail, 0.3, 0.38, "a short tail", "a long tail"),
        ),
        materials=(),
        parameters={"pose": pose, "beak": beak, "legs": 2 if pose == "standing" else 0},
    )


@family(held_out={"body": "tall", "tail": "forked", "side_fins": False})
def fish(rng: Generator) -> tuple[list[Solid], Facts]:
    body, tail, dorsal = pick(rng, ("slender", "tall", "round")), pick(rng, ("forked", "fan")), chance(rng, 0.75)
    sides = chance(rng, 0.7)
    height = {"slender": rng.uniform(0.24, 0.32), "round": rng.uniform(0.45, 0.55), "tall": rng.uniform(0.6, 0.75)}[body]
    width = {"slender": rng.uniform(0.16, 0.22), "round": rng.uniform(0.36, 0.46), "tall": rng.uniform(0.16, 0.22)}[body]
    spread, back = rng.uniform(0.22, 0.34), 0.5

    solids = [
        loft(
            6,
            (back, 0, 0.08, 0.12),
            (0.2, 0, 0.7 * width, 0.7 * height),
            (-0.1, 0, width, height),
            (-0.38, 0, 0.7 * width, 0.6 * height),
            (-0.56, 0, 0.3 * width, 0.2 * height),
        )
    ]
    if tail == "forked":
        fin = [(-0.06, -0.05), (0.34, -spread), (0.16, 0.0), (0.34, spread), (-0.06, 0.05)]
        outline = [fin[2], fin[3], fin[4], fin[0], fin[1]]
    else:
        outline = [(0.24, -spread), (0.24, spread), (-0.06, 0.06), (-0.06, -0.06)]
    solids.append(upright(outline, 0.05).moved(0, back, 0))
    if dorsal:
        fin_height, top = rng.uniform(0.14, 0.22), 0.5 * height
        solids.append(upright([(-0.2, top - 0.1), (0.26, 0.3 * height - 0.1), (0.22, top - 0.02), (0.02, top + fin_height)], 0.05))
    if sides:
        solids += pair(box(0.2, 0.05, 0.26, top=(0.6, 0.8), shift=(0.12, -0.1)).lying_along_x().moved(0.36 * width, -0.22, -0.04))

    return solids, Facts(
        names=("fish", "tropical fish" if body == "tall" else "goldfish" if body == "round" else "river fish"),
        adjectives=({"slender": "slender", "round": "fat", "tall": "flat"}[body],),
        features=(
            f"a {tail} tail" if tail == "forked" else "a fan-shaped tail",
            "a dorsal fin" if dorsal else "no dorsal fin",
            "side fins" if sides else "no side fins",
        ),
        materials=(),
        parameters={"body": body, "tail": tail, "dorsal": dorsal, "side_fins": sides},
    )


def upright(outline: list[tuple[float, float]], thickness: float) -> Solid:
    """A fin in the plane x = 0: (y, z) corners, the first half of them opposite to the second."""
    return extrude(outline, thickness).turned(pi / 2)
