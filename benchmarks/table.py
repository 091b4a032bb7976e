"""A row of the comparison, what it has to reach, and how rows are written down: as one Markdown table, and as JSON with every figure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

HEADER = ("what", "ours", "theirs", "theirs, 1 stream", "ratio", "share of the floor", "bar", "met")
VERDICTS = {True: "yes", False: "**no**", None: "not measured"}


@dataclass(frozen=True)
class Bar:
    """What a row has to reach. of: the figure that is held against the limit.

    "ours" is our figure, "ratio" how many times better it is than each of theirs, "shipped" the same for theirs as it ships alone, and
    "share" ours of the floor. at_most: the limit may not be exceeded; else it has to be reached.
    """

    of: Literal["ours", "ratio", "shipped", "share"]
    limit: float
    at_most: bool = False


@dataclass(frozen=True)
class Row:
    """One line. ours, theirs, single: what each round gave, of ours, of theirs as it ships and of theirs with one residual stream.

    A line's figures are the medians, in `unit`. rising: more is better. share, their_share: of the floor, of ours and of theirs as it
    ships. facts: what else the JSON should say.
    """

    what: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    single: Sequence[float] = ()
    rising: bool = False
    share: float | None = None
    their_share: float | None = None
    bars: Sequence[Bar] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def ratio(self, others: Sequence[float]) -> list[float]:
        """How many times better ours is, none if one of the two was not measured."""
        if not self.ours or not others:
            return []
        ours, other = statistics.median(self.ours), statistics.median(others)
        return [ours / other if self.rising else other / ours]

    def met(self, bar: Bar) -> bool | None:
        """Whether a bar is reached; None if what it asks for was not measured."""
        figures = {
            "ours": [statistics.median(self.ours)] if self.ours else [],
            "ratio": self.ratio(self.theirs) + self.ratio(self.single),
            "shipped": self.ratio(self.theirs),
            "share": [] if self.share is None else [self.share],
        }[bar.of]
        if not figures:
            return None
        return all(figure <= bar.limit if bar.at_most else figure >= bar.limit for figure in figures)

    def as_dict(self) -> dict[str, Any]:
        """Everything there is to say, in plain values."""
        return {
            "what": self.what,
            "unit": self.unit,
            "ours": spread(self.ours),
            "theirs": spread(self.theirs),
            "theirs_1_stream": spread(self.single),
            "ratio": self.ratio(self.theirs),
            "ratio_1_stream": self.ratio(self.single),
            "share_of_floor": self.share,
            "their_share_of_floor": self.their_share,
            "bars": [asdict(bar) | {"met": self.met(bar)} for bar in self.bars],
            "facts": self.facts,
        }


def spread(figures: Sequence[float]) -> dict[str, Any] | None:
    """The median, the extremes and all of them; None for none."""
    if not figures:
        return None
    return {"median": statistics.median(figures), "low": min(figures), "high": max(figures), "all": list(figures)}


def render(rows: Sequence[Row]) -> str:
    """The rows as one Markdown table."""
    return markdown([HEADER, *(cells(row) for row in rows)])


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table of those cells, the first line its head."""
    head, *body = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))


def cells(row: Row) -> tuple[str, ...]:
    shares = [f"{share:.0%}{whose}" for share, whose in ((row.share, ""), (row.their_share, " (theirs)")) if share is not None]
    return (
        row.what,
        *(figure_text(statistics.median(figures), row.unit) if figures else "" for figures in (row.ours, row.theirs, row.single)),
        ", ".join(figure_text(ratio, "x") for ratio in row.ratio(row.theirs) + row.ratio(row.single)),
        ", ".join(shares),
        ", ".join(bar_text(bar, row.unit) for bar in row.bars),
        ", ".join(VERDICTS[row.met(bar)] for bar in row.bars),
    )


def bar_text(bar: Bar, unit: str) -> str:
    limit = f"{bar.limit:.0%}" if bar.of == "share" else figure_text(bar.limit, unit if bar.of == "ours" else "x")
    return limit + (" or less" if bar.at_most else " or more")


def figure_text(figure: float, unit: str) -> str:
    """Three digits that count, and the unit."""
    digits = f"{figure:.0f}" if abs(figure) >= 100 else f"{figure:.3g}"
    return digits + unit if unit in ("x", "%") else f"{digits} {unit}".strip()
