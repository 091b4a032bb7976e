"""The decode loop: from a text and, perhaps, given faces to new faces, one code at a time, one face streamed at a time.

The loop runs over a `Stepper`: the engine, or the transformer itself. Rows of a batch are independent: each has its own random numbers
and its own grammar, so that a sample does not depend on its company. A row that has ended leaves the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.conditioning import Text, guide
from core.drafts import Corner, EdgeDrafter
from core.engine import Engine
from core.grammar import CodeGrammar
from core.hints import hints
from core.mesh import IntArray

OnFace = Callable[[int], None]  # the row that has a new face

NOTHING = -1  # drawn where nothing is allowed
LOWEST = -1e30  # below every logit that is allowed
TINY = 1e-300


class Stepper(Protocol):
    """What generates a code at a time. A state has `select(rows)`: row i becomes what row rows[i] was, between faces."""

    @property
    def vertices_per_face(self) -> int:
        """v."""

    @property
    def codes_per_vertex(self) -> int:
        """k."""

    @property
    def codes_per_face(self) -> int:
        """v k."""

    @property
    def reads_hints(self) -> bool:
        """Whether it is told before each corner what the grammar knows of it (core.hints)."""

    @property
    def has_small_steps(self) -> bool:
        """Whether its steps are too small for more than one thread."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def begin(self, text: Text | None, given: Tensor | None, capacity: int, *, drawn: int = 0) -> Any:
        """The state before the first new face, with room for `capacity` faces, after the faces `given` [b, n, v k].

        drawn: how many of them, the last ones, were not given but drawn. Without text and given faces there is one row.
        """

    def tell_hints(self, state: Any, symbols: Tensor) -> None:
        """Before the codes of a corner: the symbols [b, 6, k] of the hints, `end` for none; only where it `reads_hints`."""

    def step_fine(self, state: Any, vertex: int, level: int) -> Tensor:
        """Logits [b, vocabulary] of a code of the face at hand."""

    def take(self, state: Any, level: int, symbols: Tensor) -> None:
        """Take the symbols [b] drawn for it."""

    def finish_face(self, state: Any, symbols: Tensor) -> None:
        """The face of symbols [b, v, k] is complete."""


@dataclass(frozen=True)
class Sampling:
    """temperature: of what is neither the end nor waits (see `weights`); 0 takes the likeliest code. min_p: codes less likely than this
    share of the likeliest are never drawn.

    guidance_scale: 1 follows the text as trained, above 1 more strictly (both branches run in one batch). remove_parallel_component: as
    in core.conditioning.guide. give_up: a row whose grammar allows less than this share of what the model expects next has gone wrong
    before, and is given up; not in its first face, before which nothing was drawn. choice_temperature: of whether it is the end, what waits
    or something else that comes; above 0.
    Raises ValueError if that is not so.
    """

    temperature: float = 1.0
    min_p: float = 0.0
    guidance_scale: float = 1.0
    remove_parallel_component: bool = False
    give_up: float = 0.0
    choice_temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.choice_temperature > 0:
            raise ValueError(f"choice_temperature is {self.choice_temperature}; use a number above 0")

    @property
    def branches(self) -> int:
        """Rows that a sample takes in a batch: with guidance 2, with the text and without."""
        return 1 if self.guidance_scale == 1 else 2


@dataclass
class Row:
    """A sample in the making. faces: codes of each. ended: whether the model itself ended it.

    drafter: guesses at corners, for speculative decoding (Leviathan et al. 2023): a corner is worked out in one go as if the guess were
    right, and again from where something else is drawn. As a guess is a single corner and every code has its own random number, what is
    drawn is the same with a drafter and without. Used by the engine, where all rows have one.
    """

    grammar: CodeGrammar
    random: np.random.Generator
    faces: list[list[int]]
    ended: bool = False
    drafter: EdgeDrafter | None = None


@torch.inference_mode()
def decode(
    stepper: Stepper,
    text: Text | None,
    rows: list[Row],
    sampling: Sampling,
    *,
    given: IntArray | None = None,
    drawn: int = 0,
    max_faces: int,
    on_face: OnFace | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> bool:
    """Fill `rows` with new faces until each has ended, has `max_faces` of them, has nowhere to go or is given up. Returns False if it was
    stopped.


    text: for each row, or one for all of them; with guidance as many again below, without text. None for a model without text.
    given: [m, codes a face] faces to go on from, the same for all rows. drawn: how many of them, the last ones, are of an earlier sample,
    whose rows go on. should_stop: asked after every face.
    Raises ValueError if text has another number of rows.
    """
    branches, said = sampling.branches, count_texts(text, len(rows), sampling)
    device = stepper.device
    prefix = None if given is None else torch.from_numpy(given).to(device).expand(said, -1, -1)
    state = stepper.begin(text, prefix, max_faces + (0 if given is None else len(given)), drawn=drawn)

    def keep(places: list[int], of: int) -> None:
        """Of each branch, which has so many rows, go on with the rows in these places."""
        state.select(torch.tensor([branch * of + place for branch in range(branches) for place in places], device=device))

    if said < branches * len(rows):
        keep([0] * len(rows), of=1)
    active = list(range(len(rows)))
    while active:
        with step_threads(stepper):
            codes, whole = draw_face(stepper, state, [rows[i] for i in active], sampling)
        for place in whole:
            row = rows[active[place]]
            row.faces.append(row.grammar.previous)
            if row.drafter:
                row.drafter.add(split(codes[place], stepper.codes_per_vertex))
            if on_face:
                on_face(active[place])
        if should_stop and should_stop():
            return False
        kept = [place for place in whole if len(rows[active[place]].faces) < max_faces]
        if not kept:
            return True
        if len(kept) < len(active):
            keep(kept, of=len(active))
        active = [active[place] for place in kept]
        faces = torch.from_numpy(np.concatenate([codes[kept]] * branches)).to(device)
        with step_threads(stepper):
            stepper.finish_face(state, faces.unflatten(1, (stepper.vertices_per_face, -1)))
    return True


def count_texts(text: Text | None, rows: int, sampling: Sampling) -> int:
    """Rows of a text for so many samples, 1 for none. Raises ValueError if they are neither one a branch nor one for each sample."""
    said, branches = 1 if text is None else len(text.tokens), sampling.branches
    if said not in (branches, branches * rows):
        raise ValueError(
            f"text has {said} rows; with guidance scale {sampling.guidance_scale} there must be {branches} or {branches * rows}"
        )
    return said


@contextmanager
def step_threads(stepper: Stepper) -> Iterator[None]:
    """Small steps run on one thread, however many there are for whole passes and for large ones.

    On a busy machine two threads were slower at every size measured, a small matrix four times (docs/performance.md).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if stepper.has_small_steps else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def draw_face(stepper: Stepper, state: Any, rows: list[Row], sampling: Sampling) -> tuple[IntArray, list[int]]:
    """A face of symbols [b, v k] for each row, and the rows for which it is whole: the others have come to their end."""
    guided = sampling.branches == 2

    def tensor(symbols: IntArray) -> Tensor:
        """Symbols [b, ...] for each branch."""
        return torch.from_numpy(np.concatenate([symbols, symbols]) if guided else symbols).to(stepper.device)

    chances = np.stack([row.random.random(stepper.codes_per_face) for row in rows], 1)
    face = np.zeros((stepper.codes_per_face, len(rows)), np.int64)
    live = list(range(len(rows)))
    guess, ahead = face.T, None  # [b, k] a draft of the corner at hand, and its logits for as long as what is drawn is what was guessed
    for at, symbols in enumerate(face):
        vertex, level = divmod(at, stepper.codes_per_vertex)
        if level == 0:
            told = np.array([hints(row.grammar) for row in rows])
            waiting = told[:, 0]
            if stepper.reads_hints:
                stepper.tell_hints(state, tensor(told))
        if level == 0 and isinstance(stepper, Engine) and (draft := guesses(rows, face[:at], stepper.codes_per_vertex)) is not None:
            guess, ahead = draft, stepper.step_vertex(state, vertex, tensor(draft))
        elif level == 0:
            ahead = None
        if level and isinstance(stepper, Engine) and all(rows[place].grammar.settled() for place in live):
            drawn = [int(row.grammar.allowed().argmax()) for row in rows]  # the engine remembers nothing of it
        else:
            logits = stepper.step_fine(state, vertex, level) if ahead is None else ahead[:, level]
            logits = guide(logits, sampling.guidance_scale, sampling.remove_parallel_component) if guided else logits
            drawn = draw(logits.numpy(force=True), rows, live, waiting[:, level], chances[at], sampling)
        live = push(rows, live, drawn, symbols)
        waiting[symbols != waiting[:, level]] = rows[0].grammar.end
        if not live:
            break
        stepper.take(state, level, tensor(symbols))
        if ahead is not None and (guess[live, level] != symbols[live]).any():
            ahead = None
    return face.T, live


def guesses(rows: list[Row], face: IntArray, k: int) -> IntArray | None:
    """A draft [b, k] of the next corner of each row, after the symbols [at, b] of a face so far; None unless there is one for all rows."""
    drafts = [row.drafter and row.drafter.guess(split(face[:, place], k)) for place, row in enumerate(rows)]
    return np.array(drafts) if all(drafts) else None


def split(symbols: IntArray, k: int) -> list[Corner]:
    """The corners of a face of symbols [v k]."""
    return list(map(tuple, symbols.reshape(-1, k).tolist()))


def push(rows: list[Row], live: list[int], drawn: list[int], symbols: IntArray) -> list[int]:
    """Give each live row what was drawn for it, and note it in `symbols` [b]. Returns those that live on."""
    going_on = []
    for place in live:
        grammar, symbol = rows[place].grammar, drawn[place]
        if symbol == NOTHING:
            continue
        grammar.push(symbol)
        if grammar.ended:
            rows[place].ended = True
            continue
        symbols[place] = symbol
        going_on.append(place)
    return going_on


def draw(
    logits: NDArray[np.float32],
    rows: list[Row],
    live: list[int],
    waiting: IntArray,
    chances: NDArray[np.float64],
    sampling: Sampling,
) -> list[int]:
    """A symbol for each row, or NOTHING if its grammar allows none or too little; what it is for rows that are not live does not matter.

    logits: [b, vocabulary], overwritten. waiting: [b] the next symbol of the corner that waits, `end` for none. chances: [b] random
    numbers in 0..1.
    """
    expected = np.exp(logits - logits.max(1, keepdims=True))
    for place in live:
        grammar = rows[place].grammar
        allowed = grammar.allowed()
        hopeless = rows[place].faces and not grammar.settled() and expected[place] @ allowed < sampling.give_up * expected[place].sum()
        np.copyto(logits[place], -np.inf, where=~allowed | bool(hopeless))
    peak = logits.max(1)
    if sampling.temperature == 0:
        symbols = logits.argmax(1)
    else:
        total = weights(logits - np.maximum(peak, LOWEST)[:, None], waiting, rows[0].grammar.end, sampling).cumsum(1)
        symbols = (total <= (chances * total[:, -1])[:, None]).sum(1)
    return [symbol if highest > LOWEST else NOTHING for symbol, highest in zip(symbols.tolist(), peak.tolist(), strict=True)]


def weights(logits: NDArray[np.float32], waiting: IntArray, end: int, sampling: Sampling) -> NDArray[np.float64]:
    """[b, vocabulary] how likely each symbol is to be drawn.

    What comes is the end, the corner that waits, or something else. Which of the three it is has a temperature of its own, and so has what
    it is among all else; min_p counts after each. Were one temperature to count among all symbols, something new, which may be in many
    places, would hardly ever come where one of the others may, which are single symbols: parts would be left out.
    """
    row, single = np.arange(len(logits)), np.stack([np.full(len(logits), end), waiting])
    likely = np.exp(logits, dtype=np.float64)
    of_single = likely[row, single]
    likely[row, single] = 0
    of_single, of_others = (chances ** (1 / sampling.choice_temperature) for chances in (of_single, likely.sum(1)))
    least = sampling.min_p * np.maximum(of_single.max(0), of_others)
    if (of_others < least).all():  # as mostly: what waits is all but certain
        likely.fill(0)
    else:
        likely = (likely / np.maximum(likely.max(1, keepdims=True), TINY)) ** (1 / sampling.temperature)
        likely *= likely >= sampling.min_p
        likely *= (of_others * (of_others >= least) / np.maximum(likely.sum(1), TINY))[:, None]
    likely[row, single] = of_single * (of_single >= least)
    return likely
