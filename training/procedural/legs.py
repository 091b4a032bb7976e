"""What furniture stands on."""

from __future__ import annotations

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
