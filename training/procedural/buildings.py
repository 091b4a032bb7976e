"""Houses, towers, castles, churches and windmills."""

from __future__ import annotations

from math import cos, pi

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, box, gable, lathe, pair, plate, prism
from training.procedural.registry import family


@family(held_out={"roof": "hip", "storeys": 2})
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


@family(held_out={"shape": "round", "top": "roof", "windows": 2})
def tower(rng: Generator) -> tuple[list[Solid], Facts]:
    shape, top, windows = pick(rng, ("round", "square")), pick(rng, ("battlements", "battlements", "roof")), whole(rng, 0, 3)
    radius, height = rng.uniform(0.8, 1.1), rng.uniform(2.4, 4.6)
    foot, door = chance(rng, 0.5), chance(rng, 0.7)
    rise, sides = rng.uniform(1.1, 2.2) * radius, 8 if shape == "round" else 4

    solids = [drum(sides, radius, 0.94, height)]
    if foot:
        solids.append(drum(sides, 1.18 * radius, 0.9, 0.14 * height))
    if top == "roof":
        solids.append(drum(sides, 1.25 * radius, 0.0, rise).moved(z=height - 0.05))
    else:
        solids += battlements(sides, 1.2 * radius, height - 0.1, 0.3 * radius)
    if door:
        solids.append(box(0.6 * radius, 0.5 * radius, 1.1 * radius, (0, -radius, 0.04)))
    lowest = 1.35 * radius if door else 0.25 * height
    for i in range(windows):
        storey = (height - 0.3 * radius - lowest) / windows
        solids.append(box(0.3 * radius, 0.36 * radius, min(0.45 * radius, 0.6 * storey), (0, -0.92 * radius, lowest + (i + 0.15) * storey)))

    return solids, Facts(
        names=("tower", "watchtower", "castle tower" if top == "battlements" else "wizard tower"),
        adjectives=(*sized(height / radius, 3.0, 4.2, "low", "tall"), shape),
        features=(
            "battlements" if top == "battlements" else "a pointed roof",
            several(windows, "window") if windows else "no windows",
            "a door" if door else "no door",
            *(("a thick foot",) if foot else ()),
        ),
        materials=("stone", "brick", "medieval"),
        parameters={"shape": shape, "top": top, "windows": windows, "door": door},
    )


def drum(sides: int, apothem: float, top: float, height: float) -> Solid:
    """A prism or pyramid whose flat side stands at y = -apothem below, its upper end scaled by `top`."""
    return prism(sides, apothem / cos(pi / sides), height, top=top)


def battlements(sides: int, apothem: float, z: float, height: float) -> list[Solid]:
    """A wider crown with a sunken floor, and a merlon on every side; two and the corners if it is square."""
    outer, inner, size = apothem / cos(pi / sides), 0.76 * apothem / cos(pi / sides), 0.36 * apothem
    solids = [lathe(sides, (0.84 * outer, 0), (outer, height), (outer, 2 * height), (inner, 2 * height), (inner, height), at=(0, 0, z))]
    deep = 0.16 * apothem
    for i in range(sides):
        merlon = box(size, deep, height + 0.1, (0, -0.885 * apothem, z + 2 * height - 0.1))
        solids.append(merlon.turned(2 * pi * i / sides))
        if sides == 4:
            corner = box(0.16 * apothem, 0.16 * apothem, height + 0.1, (0.885 * apothem, -0.885 * apothem, z + 2 * height - 0.1))
            solids.append(corner.turned(2 * pi * i / sides))
    return solids


@family(held_out={"towers": 2, "roofs": True, "keep": False})
def castle(rng: Generator) -> tuple[list[Solid], Facts]:
    towers, roofs, keep = pick(rng, (2, 4, 4)), chance(rng, 0.6), chance(rng, 0.6)
    width, wall, radius = rng.uniform(2.4, 3.4), rng.uniform(0.8, 1.1), rng.uniform(0.4, 0.55)
    depth, height = width * rng.uniform(0.75, 1.0), wall * rng.uniform(1.4, 1.8)
    sides, front = 6 if towers == 4 else 8, -depth / 2

    solids = [lathe(4, (1, 0), (1, wall), (0.8, wall), (0.8, 0.3 * wall)).scaled(width * 0.7071, depth * 0.7071)]
    corners = [(1, -1), (-1, -1), (1, 1), (-1, 1)][:towers]
    for x, y in corners:
        at = (x * width / 2, y * depth / 2)
        parts = [prism(sides, radius, height)]
        if roofs:
            parts.append(prism(sides, 1.3 * radius, 1.6 * radius, (0, 0, 0.97 * height), top=0.0))
        else:
            crown = ((1.25 * radius, 0.88), (1.25 * radius, 1.18), (0.9 * radius, 1.18), (0.9 * radius, 1.06))
            parts.append(lathe(sides, *((r, z * height) for r, z in crown)))
        solids += [part.moved(*at) for part in parts]
    solids += pair(box(0.11 * width, 0.07 * depth, 0.2 * wall + 0.06, (0.24 * width, 0.9 * front, wall - 0.06)))
    solids.append(box(0.28 * width, 0.24 * depth, 1.2 * wall, (0, 0.98 * front, 0)))
    solids.append(
        plate(0.3 * depth, (0.075 * width, 0), (0.075 * width, 0.5 * wall), (0.03 * width, 0.7 * wall), at=(0, 0.96 * front, 0.1))
    )
    if keep:
        tall = height * rng.uniform(1.2, 1.6)
        solids += [
            box(0.36 * width, 0.36 * depth, tall, (0, 0.12 * depth, 0.05)),
            box(0.42 * width, 0.42 * depth, 0.16 * tall, (0, 0.12 * depth, 0.9 * tall)),
        ]
        if roofs:
            solids.append(box(0.38 * width, 0.38 * depth, 0.3 * width, (0, 0.12 * depth, 1.05 * tall), top=(0.1, 0.1)))

    return solids, Facts(
        names=("castle", "fortress", "medieval castle", "fort"),
        adjectives=sized(height / width, 0.45, 0.55, "low", "tall"),
        features=(
            several(towers, "tower"),
            "pointed roofs" if roofs else "flat tower tops",
            "a keep in the middle" if keep else "an open courtyard",
            "a gate",
        ),
        materials=("stone", "medieval"),
        parameters={"towers": towers, "roofs": roofs, "keep": keep},
    )


@family(held_out={"windows": 4, "cross": False})
def church(rng: Generator) -> tuple[list[Solid], Facts]:
    width, length, wall = rng.uniform(1.8, 2.4), rng.uniform(2.8, 4.2), rng.uniform(1.4, 1.9)
    side, height, spire = rng.uniform(0.95, 1.3), rng.uniform(2.8, 3.8), rng.uniform(0.9, 2.0)
    windows, cross, apse = 2 * whole(rng, 1, 3), chance(rng, 0.65), chance(rng, 0.4)
    rise, front = rng.uniform(0.5, 0.75) * width, -length / 2

    solids = [
        box(width, length, wall + 0.12),
        gable(length + 0.3, width + 0.45, rise, (0, 0, wall)).turned(pi / 2),
        box(side, side, height, (0, front - 0.3 * side, 0)),
        drum(4, 0.6 * side, 0.0, spire).moved(0, front - 0.3 * side, height - 0.06),
        plate(0.3, (0.2, 0), (0.2, 0.6), (0, 0.85), at=(0, front - 0.8 * side, 0.03)),
    ]
    tip = height - 0.06 + spire
    if cross:
        solids.append(box(0.13, 0.2, 0.75, (0, front - 0.3 * side, tip - 0.25)))
        solids.append(box(0.5, 0.1, 0.13, (0, front - 0.3 * side, tip + 0.16)))
    for i in range(windows // 2):
        y = front + 0.7 * side + (length - 0.9 * side) * (i + 0.5) / (windows // 2)
        solids += pair(box(0.24, 0.3, 0.7, (width / 2, y, 0.35 * wall)))
    if apse:
        solids.append(lathe(8, (0.34 * width, 0), (0.34 * width, 0.75 * wall), (0, 1.15 * wall), at=(0, -front, 0)))

    return solids, Facts(
        names=("church", "chapel" if length < 3.3 else "village church"),
        adjectives=(*sized(length / width, 1.4, 1.9, "short", "long"), *sized(tip / length, 1.1, 1.55, "low", "tall")),
        features=(
            "a bell tower",
            *sized(spire / side, 1.1, 1.5, "a low spire", "a tall spire"),
            several(windows, "window"),
            "a cross" if cross else "no cross",
            *(("a round apse",) if apse else ()),
        ),
        materials=("stone", "white", "wooden"),
        parameters={"windows": windows, "cross": cross, "apse": apse},
    )


@family(held_out={"blades": 3, "body": "square"})
def windmill(rng: Generator) -> tuple[list[Solid], Facts]:
    blades, body = pick(rng, (3, 4, 4, 4, 6)), pick(rng, ("round", "round", "square"))
    radius, height, top, windows = rng.uniform(0.8, 1.05), rng.uniform(2.2, 3.0), rng.uniform(0.58, 0.72), whole(rng, 0, 2)
    reach, angle, cap = rng.uniform(1.5, 2.0), rng.uniform(0, 2 * pi / blades), pick(rng, ("pointed", "gabled"))
    sides, upper = 8 if body == "round" else 4, top * radius

    solids = [drum(sides, radius, top, height), box(0.44, 0.2, 0.8, (0, -0.96 * radius, 0.03))]
    if cap == "pointed":
        solids.append(drum(sides, 1.2 * upper, 0.0, 1.1 * upper).moved(z=height - 0.06))
    else:
        solids.append(gable(2.5 * upper, 2.3 * upper, 1.1 * upper, (0, 0, height - 0.06)).turned(pi / 2))
    for i in range(windows):
        z = height * (0.45, 0.68)[i]
        y = -radius * (1 - (1 - top) * z / height)
        solids.append(box(0.28, 0.3, 0.32, (0, y, z)))
    hub = height - 0.2
    lowest = max(0.0, hub - reach - 0.12)
    axle = -radius * (1 - (1 - top) * lowest / height) - 0.16  # the blades must pass the foot of the body
    solids.append(prism(6, 0.16, 0.16 - axle).lying_along_y().moved(0, 0, hub))
    for i in range(blades):
        blade = [box(0.08, 0.14, reach, (0, 0, 0.12)), box(0.36, 0.06, 0.7 * reach, (0.2, 0, 0.12 + 0.27 * reach))]
        solids += [part.rolled(angle + 2 * pi * i / blades).moved(0, axle, hub) for part in blade]

    return solids, Facts(
        names=("windmill", "mill", "dutch windmill"),
        adjectives=(*sized(height / radius, 2.5, 3.0, "squat", "tall"), body),
        features=(
            several(blades, "blade"),
            f"a {cap} roof",
            several(windows, "window") if windows else "no windows",
            *sized(reach / height, 0.6, 0.75, "short blades", "long blades"),
            "a door",
        ),
        materials=("wooden", "stone"),
        parameters={"blades": blades, "body": body, "windows": windows},
    )
