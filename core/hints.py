"""Hints: what the grammar knows before each corner of a mesh, for a transformer that is told (`corner_hints`): which corner waits,
where a plain face would have it, which one waits behind it, and where the mirror image of a face has it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.grammar import ABSENT, CodeGrammar, Corner
from core.mesh import IntArray
from core.tokenizer import Tokenizer

HINTS = 4  # CodeGrammar.waiting, expected, next_waiting and mirrored


def corner_hints(tokenizer: Tokenizer, codes: Tensor, given: Tensor | None) -> Tensor:
    """[b, n + 1, v, 4, k] the symbols of the hints before each corner of codes [b, n, v k], padded with -1, and before the first corner of
    one face more; `end` for none.

    given: [b] how many of the first faces are a given part, before whose corners there are none.
    """
    v, end = tokenizer.vertices_per_face, tokenizer.codebook_size + 1
    hints = torch.full((len(codes), codes.shape[1] + 1, v, HINTS, tokenizer.codes_per_vertex), end)
    counts = (codes[..., 0] >= 0).sum(1).tolist()
    firsts = [0] * len(codes) if given is None else given.tolist()
    known: dict[tuple[int, bytes], Tensor] = {}  # rows are often alike
    for row, faces, first, count in zip(hints, codes.numpy(force=True), firsts, counts, strict=True):
        whole = first, faces[:count].tobytes()
        if whole not in known:
            known[whole] = torch.from_numpy(walk(tokenizer.grammar(faces[:first]), faces[first:count]))
        row[first : count + 1] = known[whole]
    return hints.to(codes.device)


def walk(grammar: CodeGrammar, faces: IntArray) -> IntArray:
    """[n + 1, v, 4, k] the same for the faces [n, v k] of one mesh, which the grammar takes."""
    v, k = grammar.vertices_per_face, grammar.codes_per_vertex
    found = np.full((len(faces) + 1, v, HINTS, k), grammar.end)
    for place, corner in enumerate(faces.reshape(-1, k).tolist()):
        found[divmod(place, v)] = hints(grammar)
        for code in corner:
            grammar.push(grammar.absent if code == ABSENT else code)
    found[-1, 0] = hints(grammar)
    return found


def hints(grammar: CodeGrammar) -> list[Corner]:
    """The symbols of the hints before the corner at hand, that of what waits first."""
    nothing = (grammar.end,) * grammar.codes_per_vertex
    return [hint or nothing for hint in (grammar.waiting(), grammar.expected(), grammar.next_waiting(), grammar.mirrored())]
