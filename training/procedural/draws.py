"""Three ways to draw a parameter that numpy's generator says less plainly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from numpy.random import Generator

T = TypeVar("T")


def chance(rng: Generator, probability: float) -> bool:
    """True with that probability."""
    return rng.random() < probability


def pick(rng: Generator, options: Sequence[T]) -> T:
    """One of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def whole(rng: Generator, low: int, high: int) -> int:
    """A whole number in low..high, both included."""
    return low + int(rng.random() * (high - low + 1))
