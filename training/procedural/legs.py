"""What furniture stands on."""

from __future__ import annotations

from math import cos, pi, sin, sqrt

from training.procedural.parts import Point, Solid, box, pair, prism

LEG_STYLES = ("straight", "tapered", "round")


def leg(style: str, thickness: float, height: float, at: Point, lean: tuple[float, float] = (0.0, 0.0)) -> Solid:
    """One leg, `at` the middle of its foot; a straight or tapered one may lean. style: one of LEG_STYLES."""
    if style == "round":
        return prism(6, 0.55 * thickness, height, at)
    slim = 0.65 if style == "tapered" else 1.0
    return box(thickness * slim, thickness * slim, height, at, top=(1 / slim, 1 / slim), shift=lean)


def four_legs(style: str, thickness: float, height: float, width: float, depth: float, y: float = 0.0) -> list[Solid]:
    """Legs whose outer sides span width by depth around (0, y)."""
    x, half = (width - thickness) / 2, (depth - thickness) / 2
    return pair(leg(style, thickness, height, (x, y - half, 0.0)), leg(style, thickness, height, (x, y + half, 0.0)))


def legs_around(count: int, style: str, thickness: float, height: float, reach: float, lean: float = 0.0) -> list[Solid]:
    """Three legs, one of them behind, or four; their feet `reach` from the z axis, their upper ends nearer to it by `lean`."""
    c, s = (sin(pi / 3), cos(pi / 3)) if count == 3 else (sqrt(0.5), sqrt(0.5))
    front = leg(style, thickness, height, (c * reach, -s * reach, 0.0), (-c * lean, s * lean))
    if count == 3:
        return [leg(style, thickness, height, (0.0, reach, 0.0), (0.0, -lean)), *pair(front)]
    return pair(front, leg(style, thickness, height, (c * reach, s * reach, 0.0), (-c * lean, -s * lean)))
