"""People and snowmen."""

from __future__ import annotations

from math import pi

from numpy.random import Generator

from training.procedural.captions import Facts, several, sized
from training.procedural.draws import chance, pick, whole
from training.procedural.parts import Solid, ball, box, pair, prism
from training.procedural.registry import family


@family(held_out={"pose": "spread", "hat": True})
def person(rng: Generator) -> tuple[list[Solid], Facts]:
    pose, dress, hat = pick(rng, ("hanging", "hanging", "spread", "raised")), chance(rng, 0.25), chance(rng, 0.3)
    leg, torso, shoulder = rng.uniform(0.65, 0.95), rng.uniform(0.5, 0.65), rng.uniform(0.4, 0.56)
    head, round_head = rng.uniform(0.24, 0.36), chance(rng, 0.5)
    hip, top = 0.8 * shoulder, leg + torso

    solids = [
        box(hip, 0.22, torso, (0, 0, leg), top=(shoulder / hip, 1.05)),
        box(0.12, 0.12, 0.16, (0, 0, top - 0.05)),
        *pair(box(0.3 * hip, 0.17, leg + 0.06, (0.25 * hip, 0, 0.02), top=(1.1, 1.1))),
        *pair(box(0.42 * hip, 0.3, 0.1, (0.25 * hip, -0.09, 0), top=(1, 0.8), shift=(0, 0.02))),
    ]
    chin = top + 0.06
    if round_head:
        solids.append(ball(6, 0.5 * head, 1.15 * head, (0, 0, chin)))
    else:
        solids.append(box(0.85 * head, 0.85 * head, 1.1 * head, (0, 0, chin), top=(0.9, 0.9)))
    if hat:
        rim = chin + (0.75 if round_head else 0.85) * head
        solids += [prism(8, 0.8 * head, 0.06, (0, 0, rim)), prism(8, 0.55 * head, 0.45 * head, (0, 0, rim + 0.03), top=0.85)]
    reach, angle = 0.9 * torso + 0.1, {"hanging": 0.92 * pi, "spread": 0.5 * pi, "raised": 0.2 * pi}[pose]
    arm = box(0.12, 0.14, reach, top=(0.8, 0.8)).rolled(angle)
    hand = box(0.13, 0.16, 0.14, (0, 0, reach - 0.02)).rolled(angle)
    solids += pair(arm.moved(0.5 * shoulder - 0.03, 0, top - 0.11), hand.moved(0.5 * shoulder - 0.03, 0, top - 0.11))
    if dress:
        solids.append(box(1.5 * hip, 0.48, 0.75 * leg, (0, 0, 0.32 * leg), top=(0.62, 0.5)))

    arms = {"hanging": "arms hanging down", "spread": "arms spread wide", "raised": "raised arms"}
    return solids, Facts(
        names=("person", "woman" if dress else "man", "human figure", "character", "standing person"),
        adjectives=(
            *sized((top + head) / shoulder, 3.0, 3.8, "stocky", "slim"),
            *sized(head / (top + head), 0.17, 0.2, "tall", "cartoonish"),
        ),
        features=(
            arms[pose],
            "a round head" if round_head else "a square head",
            "a hat" if hat else "no hat",
            *(("a dress",) if dress else ("two legs",)),
            *sized(leg / torso, 1.25, 1.6, "short legs", "long legs"),
        ),
        materials=(),
        parameters={"pose": pose, "dress": dress, "hat": hat, "round_head": round_head, "legs": 2},
    )


@family(held_out={"balls": 2, "arms": True, "hat": True})
def snowman(rng: Generator) -> tuple[list[Solid], Facts]:
    balls, sides = pick(rng, (2, 3, 3)), pick(rng, (6, 8))
    hat, arms, nose, buttons = chance(rng, 0.65), chance(rng, 0.6), rng.uniform(0.25, 0.5), whole(rng, 0, 3)
    base, shrink = rng.uniform(0.55, 0.7), rng.uniform(0.7, 0.8)

    solids, z, radius = [], 0.0, base
    for i in range(balls):
        radius = base * shrink**i
        tall = 1.75 * radius
        solids.append(ball(sides, radius, tall, (0, 0, z)))
        middle, z = z + tall / 2, z + 0.82 * tall
    body = middle - 0.82 * 1.75 * radius / 2 - 0.32 * 1.75 * radius / shrink
    top = middle + 0.32 * 1.75 * radius
    solids.append(prism(5, 0.17 * radius, nose + 0.3 * radius, top=0.0).lying_along_y().moved(0, -0.65 * radius, middle))
    solids += pair(box(0.14 * radius, 0.14 * radius, 0.14 * radius, (0.34 * radius, -0.84 * radius, middle + 0.22 * radius)))
    if hat:
        solids += [prism(8, 0.95 * radius, 0.09, (0, 0, top)), prism(8, 0.62 * radius, 0.8 * radius, (0, 0, top + 0.05), top=0.95)]
    if arms:
        arm = box(0.075, 0.075, rng.uniform(0.55, 0.75)).rolled(rng.uniform(0.28, 0.42) * pi)
        solids += pair(arm.moved(0.75 * radius / shrink, 0, body))
    out = radius / shrink
    for i in range(buttons):
        solids.append(
            box(
                0.16 * radius,
                0.2 * radius,
                0.16 * radius,
                (0, -0.9 * out + 0.08 * abs(i - 1) * out, body + (0.34 * (i - (buttons - 1) / 2) - 0.05) * out),
            )
        )

    return solids, Facts(
        names=("snowman", "snow man"),
        adjectives=sized(top / base, 2.6, 3.3, "squat", "tall"),
        features=(
            several(balls, "snowball"),
            "a hat" if hat else "no hat",
            "stick arms" if arms else "no arms",
            *sized(nose, 0.32, 0.42, "a short nose", "a long carrot nose"),
            several(buttons, "button") if buttons else "no buttons",
        ),
        materials=(),
        parameters={"balls": balls, "hat": hat, "arms": arms, "buttons": buttons, "snowballs": balls},
    )
