"""The decode loop: from a text and, perhaps, given faces to new faces, one code at a time, one face streamed at a time.

The loop runs over a `Stepper`: the engine, or the transformer itself. Rows of a batch are independent: each has its own random numbers
and its own grammar, so that a sample does not depend on its company. A row that has ended leaves the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.conditioning import Text, guide
from core.grammar import CodeGrammar
from core.mesh import IntArray
from core.transformer import TransformerConfig

OnFace = Callable[[int], None]  # the row that has a new face


class Stepper(Protocol):
    """What generates a code at a time. A state has `select(rows)`: row i becomes what row rows[i] was, between faces."""

    @property
    def config(self) -> TransformerConfig:
        """Sizes."""

    def begin(self, text: Text, given: Tensor | None, capacity: int) -> Any:
        """The state before the first new face, with room for `capacity` faces, after the faces `given` [b, n, v k]."""

    def step_fine(self, state: Any, vertex: int, level: int) -> Tensor:
        """Logits [b, vocabulary] of a code of the face at hand."""

    def take(self, state: Any, level: int, symbols: Tensor) -> None:
        """Take the symbols [b] drawn for it."""

    def finish_face(self, state: Any, symbols: Tensor) -> None:
        """The face of symbols [b, v, k] is complete."""


@dataclass(frozen=True)
class Sampling:
    """temperature: 0 takes the likeliest code. min_p: codes less likely than this share of the likeliest are never drawn.

    guidance_scale: 1 follows the text as trained, above 1 more strictly (both branches run in one batch).
    """

    temperature: float = 1.0
    min_p: float = 0.0
    guidance_scale: float = 1.0


@dataclass
class Row:
    """A sample in the making. faces: codes of each. ended: whether the model itself ended it."""

    grammar: CodeGrammar
    random: np.random.Generator
    faces: list[list[int]]
    ended: bool = False


@torch.inference_mode()
def decode(
    stepper: Stepper,
    text: Text,
    rows: list[Row],
    sampling: Sampling,
    *,
    given: IntArray | None = None,
    max_faces: int,
    on_face: OnFace | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> bool:
    """Fill `rows` with new faces until each has ended, has `max_faces` of them or has nowhere to go. Returns False if it was stopped.

    text: one row, the same for all rows; with guidance a second one, without text. given: [m, codes a face] faces to go on from, the same
    for all rows. should_stop: asked after every face.
    Raises ValueError if text has another number of rows.
    """
    branches = 2 if sampling.guidance_scale != 1 else 1
    if len(text.tokens) != branches:
        raise ValueError(f"text has {len(text.tokens)} rows; with guidance scale {sampling.guidance_scale} there must be {branches}")
    device, config = text.tokens.device, stepper.config
    prefix = None if given is None else torch.from_numpy(given).to(device).expand(branches, -1, -1)
    state = stepper.begin(text, prefix, max_faces + (0 if given is None else len(given)))

    def keep(places: list[int], of: int) -> None:
        """Of each branch, which has so many rows, go on with the rows in these places."""
        state.select(torch.tensor([branch * of + place for branch in range(branches) for place in places], device=device))

    if len(rows) > 1:
        keep([0] * len(rows), of=1)
    active = list(range(len(rows)))
    while active:
        codes = draw_face(stepper, state, [rows[i] for i in active], sampling)
        kept = []
        for place, i in enumerate(active):
            row = rows[i]
            if codes[place, -1] < 0:
                continue
            row.faces.append(row.grammar.previous)
            if on_face:
                on_face(i)
            if len(row.faces) < max_faces:
                kept.append(place)
        if should_stop and should_stop():
            return False
        if kept and len(kept) < len(active):
            keep(kept, of=len(active))
        active = [active[place] for place in kept]
        if active:
            faces = torch.from_numpy(np.tile(codes[kept], (branches, 1))).to(device)
            stepper.finish_face(state, faces.unflatten(1, (config.vertices_per_face, -1)))
    return True


def draw_face(stepper: Stepper, state: Any, rows: list[Row], sampling: Sampling) -> IntArray:
    """A face of symbols [b, v k] for each row; where a row has come to its end, from there on -1."""
    config = stepper.config
    guided = sampling.guidance_scale != 1
    chances = np.stack([row.random.random(config.codes_per_face) for row in rows])
    face = np.full((len(rows), config.codes_per_face), -1, np.int64)
    live = list(range(len(rows)))
    at = 0
    for vertex in range(config.vertices_per_face):
        for level in range(config.codes_per_vertex):
            logits = stepper.step_fine(state, vertex, level)
            logits = guide(logits, sampling.guidance_scale) if guided else logits
            scores = logits.cpu().numpy()[live]
            scores[~np.stack([rows[place].grammar.allowed() for place in live])] = -np.inf
            live = push(rows, live, draw(scores, chances[live, at], sampling), face[:, at])
            if not live:
                return face
            symbols = torch.from_numpy(np.tile(face[:, at].clip(0), 1 + guided)).to(logits.device)
            stepper.take(state, level, symbols)
            at += 1
    return face


def push(rows: list[Row], live: list[int], symbols: list[int], column: IntArray) -> list[int]:
    """Give each live row its symbol, in `column` [b] too. Returns those that live on: a symbol was allowed and was not the end."""
    going_on = []
    for place, symbol in zip(live, symbols, strict=True):
        row = rows[place]
        if symbol < 0:
            continue
        row.grammar.push(symbol)
        row.ended = row.grammar.ended
        if not row.ended:
            column[place] = symbol
            going_on.append(place)
    return going_on


def draw(scores: NDArray[np.float32], chances: NDArray[np.float64], sampling: Sampling) -> list[int]:
    """A symbol for each row, or -1 if it is allowed none.

    scores: [b, vocabulary] logits, minus infinity for what is not allowed. chances: [b] random numbers in 0..1.
    """
    peak = scores.max(1)
    if sampling.temperature == 0:
        symbols = scores.argmax(1)
    else:
        with np.errstate(invalid="ignore"):  # a row of nothing but minus infinity
            weights = np.exp((scores - peak[:, None]).astype(np.float64) / sampling.temperature)
        if sampling.min_p:
            weights[weights < sampling.min_p] = 0
        total = weights.cumsum(1)
        symbols = (total <= (chances * total[:, -1])[:, None]).sum(1)
    return np.where(peak > -np.inf, symbols, -1).tolist()
