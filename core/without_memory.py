"""Generation that remembers nothing: every code is worked out from all before it. What memories are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from core.conditioning import Text

if TYPE_CHECKING:
    from core.transformer import MeshTransformer


@dataclass
class SoFar:
    """codes: [b, n, v k] of the faces so far. face: [b] symbols of the face at hand. given: how many faces came from outside."""

    text: Text | None
    codes: Tensor
    face: list[Tensor]
    given: int

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        self.text = self.text and self.text.select(rows)
        self.codes = self.codes[rows]


class WithoutMemory:
    """The steps of core.decoding.Stepper over MeshTransformer.logits."""

    def __init__(self, transformer: MeshTransformer) -> None:
        self.transformer, self.device = transformer, transformer.device
        self.vertices_per_face, self.codes_per_vertex = transformer.vertices_per_face, transformer.codes_per_vertex
        self.codes_per_face = transformer.codes_per_face
        self.reads_hints = False  # they are worked out anew too
        self.has_small_steps = True

    def begin(self, text: Text | None, given: Tensor | None, capacity: int, drawn: int = 0) -> SoFar:
        """As MeshTransformer.begin."""
        rows = 1 if text is None else len(text.tokens)
        codes = torch.zeros(rows, 0, self.codes_per_face, dtype=torch.long, device=self.device) if given is None else given
        return SoFar(text, codes, [], codes.shape[1] - drawn)

    def tell_hints(self, state: SoFar, symbols: Tensor) -> None:
        """Never asked for."""

    def step_fine(self, state: SoFar, vertex: int, level: int) -> Tensor:
        """Logits [b, vocabulary] of the next code; what comes after it in its face cannot matter and is zero."""
        rows = len(state.codes)
        known = torch.stack(state.face, 1) if state.face else state.codes.new_zeros(rows, 0)
        known = known.masked_fill(known == self.transformer.codebook_size, -1)
        codes = torch.cat([state.codes, F.pad(known, (0, self.codes_per_face - known.shape[1]))[:, None]], 1)
        given = torch.full((rows,), state.given, device=self.device)
        return self.transformer.logits(codes, state.text, given)[:, -2, vertex, level]

    def take(self, state: SoFar, level: int, symbols: Tensor) -> None:
        """Take the symbols [b] drawn for it."""
        state.face.append(symbols)

    def finish_face(self, state: SoFar, symbols: Tensor) -> None:
        """The face of symbols [b, v, k] is complete."""
        codes = symbols.masked_fill(symbols == self.transformer.codebook_size, -1).flatten(1)
        state.codes, state.face = torch.cat([state.codes, codes[:, None]], 1), []
