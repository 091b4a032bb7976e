"""The decode loop: from a text and, perhaps, given faces to new faces, one code at a time, one face streamed at a time.

Rows of a batch are independent: each has its own random numbers and its own grammar, so that a sample does not depend on its company.
A row that has ended leaves the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from core.conditioning import Text, guide
from core.grammar import CodeGrammar
from core.mesh import IntArray
from core.transformer import MeshTransformer

OnFace = Callable[[int], None]  # the row that has a new face


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
    transformer: MeshTransformer,
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

    text: one row each; with guidance, twice as many, those without text behind. given: [m, codes a face] faces to go on from, the same for
    all rows. should_stop: asked after every face.
    """
    guided = sampling.guidance_scale != 1
    device = text.tokens.device
    prefix = None if given is None else torch.from_numpy(given).to(device).expand(len(text.tokens), -1, -1)
    state = transformer.begin(text, prefix, max_faces + (0 if given is None else len(given)))
    config = transformer.config
    active = list(range(len(rows)))
    while active:
        over: set[int] = set()
        for vertex in range(config.vertices_per_face):
            for level in range(config.codes_per_vertex):
                logits = transformer.step_fine(state, vertex, level)
                logits = guide(logits, sampling.guidance_scale) if guided else logits
                symbols = draw(logits.cpu().double().numpy(), [rows[i] for i in active], over, sampling)
                for place, i in enumerate(active):
                    if place not in over:
                        rows[i].grammar.push(int(symbols[place]))
                        if rows[i].grammar.ended:
                            rows[i].ended = True
                            over.add(place)
                if len(over) == len(active):
                    return True
                transformer.take(state, level, torch.from_numpy(np.tile(symbols, 1 + guided)).to(device))
        for place, i in enumerate(active):
            if place not in over:
                rows[i].faces.append(rows[i].grammar.previous)
                if on_face:
                    on_face(i)
        if should_stop and should_stop():
            return False
        kept = [place for place, i in enumerate(active) if place not in over and len(rows[i].faces) < max_faces]
        if len(kept) < len(active):
            state.select(torch.tensor(kept + [place + len(active) for place in kept] * guided, dtype=torch.long, device=device))
            active = [active[place] for place in kept]
        if active:
            faces = torch.tensor([rows[i].faces[-1] for i in active] * (1 + guided), device=device)
            transformer.finish_face(state, transformer.symbols(faces[:, None])[:, 0])
    return True


def draw(logits: NDArray[np.float64], rows: list[Row], over: set[int], sampling: Sampling) -> IntArray:
    """The next symbol of each row [b], from logits [b, vocabulary] and what the row's grammar allows.

    over: places of rows that have come to their end; a row that is allowed nothing joins them.
    """
    symbols = np.zeros(len(rows), np.int64)
    for place, row in enumerate(rows):
        if place in over:
            continue
        allowed = row.grammar.allowed()
        if not allowed.any():
            over.add(place)
            continue
        scores = np.where(allowed, logits[place], -np.inf)
        if sampling.temperature == 0:
            symbols[place] = scores.argmax()
            continue
        weights = np.exp((scores - scores.max()) / sampling.temperature)
        weights[weights < sampling.min_p] = 0
        total = weights.cumsum()
        symbols[place] = np.searchsorted(total, row.random.random() * total[-1], side="right")
    return symbols
