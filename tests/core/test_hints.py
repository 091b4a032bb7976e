"""Hints: what is told of the codes of a corner, for how long, and how far it moves their logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.conditioning import Text
from core.discretizer import MeshDiscretizer
from core.grammar import CoordinateGrammar
from core.hints import box_of, corner_hints, point, told, told_by_level
from core.properties import EXTENTS, Properties
from training.procedural import generate

END = 8  # of a grid of seven levels
NO = END + 1  # tells nothing


def test_a_hint_is_trusted_until_it_was_wrong() -> None:
    hints = torch.tensor([[[1, 2, 3], [1, 5, 6], [END] * 3, [4, 2, 3], [END] * 3, [END] * 3]])
    levels = told_by_level(told(hints, END), torch.tensor([[1, 5, 0]]), END)
    assert torch.cat(levels).tolist() == [[1, 1, NO, 4, NO, NO], [2, 5, NO, NO, NO, NO], [NO, 6, NO, NO, NO, NO]]
    scores = torch.tensor([[0.0] * (END + 1) + [0.5, 0.25, 7.0, 0.125, 0.0, 0.0]])
    assert point(scores, levels[0])[0].tolist() == [0, 0.75, 0, 0, 0.125, 0, 0, 0, 0]
    assert point(scores, levels[2])[0].tolist() == [0, 0, 0, 0, 0, 0, 0.25, 0, 0]


def test_a_side_is_told_of_each_code_for_itself() -> None:
    hints = torch.tensor([[*[[END] * 3] * 4, [0, END, 2], [5, 6, END]]])
    levels = told_by_level(told(hints, END), torch.tensor([[3, 6, 4]]), END)
    assert torch.cat(levels)[:, 4:].tolist() == [[0, 5], [NO, 6], [2, NO]]


@pytest.mark.parametrize("family", ["table", "windmill", "sword"])
def test_sides_are_told_until_they_are_reached(family: str) -> None:
    codes = torch.from_numpy(MeshDiscretizer().encode(generate(family, 3).mesh))[None]
    extents = torch.tensor([Properties.of(codes[0].numpy().astype(np.int16)).numbers()])[:, EXTENTS]
    text = Text(torch.zeros(1, 1, 8), torch.ones(1, 1, dtype=torch.bool), extents)
    sides, end = corner_hints(MeshDiscretizer(), codes, None, text)[0, :, :, 4:], MeshDiscretizer().levels + 1
    corners = codes[0].view(len(codes[0]), 4, 3)
    absent = corners < 0
    low, high = corners.masked_fill(absent, 999).amin((0, 1)), corners.amax((0, 1))
    assert sides[0, 0].tolist() == [low.tolist(), high.tolist()], "nothing is reached before the first face"
    lowest, highest = corners.masked_fill(absent, 999).amin(1).cummin(0).values, corners.amax(1).cummax(0).values
    assert (sides[1:, 0, 0] == torch.where(lowest > low, low, end)).all()
    assert (sides[1:, 0, 1] == torch.where(highest < high, high, end)).all()
    assert (sides[-1, 0] == end).all(), "all of it is reached in the end"
    given = corner_hints(MeshDiscretizer(), torch.cat([codes[:, -6:], codes], 1), torch.tensor([6]), text)[0, 6, 0, 4:]
    reached = corners[-6:].amax((0, 1))
    assert given[1].tolist() == torch.where(reached < high, high, end).tolist(), "what is given counts from the start"


def test_nothing_is_told_of_a_box_that_is_not_known() -> None:
    assert box_of([math.nan] * 3, 7) is None
    grammar = CoordinateGrammar(7)
    assert grammar.unreached() == ((END,) * 3, (END,) * 3)
    box = box_of([0.5, 1, 0.25], 9)
    assert box == ((0, 0, 2), (2, 8, 6))
    grammar.tell(*box)
    assert grammar.unreached() == box
    assert grammar.allowed()[:7].all(), "it is told, not demanded"
