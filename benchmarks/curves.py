"""A picture of learning curves: nats left against processor time, on a logarithmic scale, so that equal shares look equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Curve = Sequence[dict[str, float]]

WIDTH, HEIGHT, MARGIN, LEGEND = 900, 460, 50, 330
FINER = 2  # drawn so many times larger, and made smaller at the end, for smooth lines
COLOURS = ["#000000", "#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#7f7f7f"]
INK, GRID = "#333333", "#dddddd"


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Write a picture of the curves by name, each a list of points with `minutes` and `nats_a_mesh`."""
    points = {name: [(point["minutes"], point["nats_a_mesh"]) for point in curve] for name, curve in curves.items()}
    right = max(x for curve in points.values() for x, _ in curve)
    heights = marks([y for curve in points.values() for _, y in curve])
    bottom, top = heights[0], heights[-1]
    picture = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13 * FINER)

    def place(x: float, y: float) -> tuple[float, float]:
        """Where a point of a curve stands in the picture."""
        across, up = WIDTH - LEGEND - 2 * MARGIN, HEIGHT - 2 * MARGIN
        return (MARGIN + x / right * across) * FINER, (HEIGHT - MARGIN - math.log(y / bottom) / math.log(top / bottom) * up) * FINER

    for y in heights:
        pen.line([place(0, y), place(right, y)], GRID, FINER)
        pen.text((place(0, y)[0] - 8 * FINER, place(0, y)[1]), f"{y:g}", INK, font, "rm")
    for x in steps(right):
        pen.line([place(x, bottom), place(x, top)], GRID, FINER)
        pen.text((place(x, bottom)[0], place(x, bottom)[1] + 6 * FINER), f"{x:g}", INK, font, "mt")
    pen.text((place(0, top)[0], 12 * FINER), "validation, nats a mesh", INK, font, "lt")
    pen.text((place(right, bottom)[0], (HEIGHT - 18) * FINER), "minutes of processor time", INK, font, "rt")
    best_first = sorted(points, key=lambda name: points[name][-1][1])
    for number, name in enumerate(best_first):
        colour, style = COLOURS[number % len(COLOURS)], 2 + 2 * (number >= len(COLOURS))
        for start, end in pairwise(place(*point) for point in points[name]):
            pen.line([start, end], colour, style * FINER)
        x, y = (WIDTH - LEGEND - 30) * FINER, (MARGIN + 26 * number) * FINER
        pen.line([(x, y), (x + 20 * FINER, y)], colour, style * FINER)
        pen.text((x + 28 * FINER, y), f"{points[name][-1][1]:.0f}  {name}", INK, font, "lm")
    picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).quantize(64).save(path, optimize=True)


def marks(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, 20, 50 and so on, from the last that is not above all values to the first that is not below them."""
    every = [unit * 10.0**power for power in range(-3, 7) for unit in (1, 2, 5)]
    first = max(i for i, mark in enumerate(every) if mark <= min(values))
    last = min(i for i, mark in enumerate(every) if mark >= max(values))
    return every[first : max(last, first + 1) + 1]


def steps(largest: float) -> list[float]:
    """Four to ten round numbers from 0 to the largest."""
    size = next(unit * 10.0**power for power in range(-3, 7) for unit in (1, 2, 5) if largest / (unit * 10.0**power) <= 9)
    return [i * size for i in range(int(largest / size) + 1)]
