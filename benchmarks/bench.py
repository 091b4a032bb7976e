"""One run of the comparison: both sides, each started when it is first asked, and measurements that take turns."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks.floor import Reads
from benchmarks.side import Figures, Side

STREAMS = (4, 1)  # residual streams of theirs: as it ships, and one


@dataclass(frozen=True)
class Ask:
    """A measurement of a side, "ours" or "theirs". alone: in a process of its own."""

    side: str
    measurement: str
    arguments: dict[str, Any]
    alone: bool = False


def ours(measurement: str, *, alone: bool = False, **arguments: Any) -> Ask:
    return Ask("ours", measurement, arguments, alone)


def theirs(measurement: str, *, alone: bool = False, **arguments: Any) -> list[Ask]:
    """Of theirs as it ships, then of theirs with one stream."""
    return [Ask("theirs", measurement, arguments | {"streams": streams}, alone) for streams in STREAMS]


class Bench(ExitStack):
    """Both sides. Their processes end with the `with` block."""

    def __init__(self) -> None:
        super().__init__()
        self.sides: dict[str, Side] = {}

    def take(self, ask: Ask) -> Figures:
        """One measurement. Raises as Side does."""
        if ask.alone:
            with Side(ask.side) as fresh:
                return fresh.ask(ask.measurement, **ask.arguments)
        if ask.side not in self.sides:
            self.sides[ask.side] = self.enter_context(Side(ask.side))
        return self.sides[ask.side].ask(ask.measurement, **ask.arguments)

    def turns(self, rounds: int, *asks: Ask) -> list[list[Figures]]:
        """What each of them gave, round after round; within a round one follows the other."""
        taken = [[self.take(ask) for ask in asks] for _ in range(rounds)]
        return [list(figures) for figures in zip(*taken, strict=True)]

    @cached_property
    def bandwidth(self) -> float:
        """Bytes a second that this machine reads of memory."""
        return self.take(ours("bandwidth"))["bytes_a_second"]

    def share(self, reads: Ask, seconds: float, earlier: float) -> float:
        """Of the floor, reached by a face that took so long after so many earlier ones. reads: asks what it reads."""
        return Reads(**self.take(reads)).share(seconds, earlier, self.bandwidth)
