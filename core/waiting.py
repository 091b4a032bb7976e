"""Which corners wait: what the grammar knows to be due before each corner of a mesh, for a transformer that is told (`waiting_corners`)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.grammar import ABSENT, CodeGrammar
from core.mesh import IntArray
from core.tokenizer import Tokenizer


def waiting_corners(tokenizer: Tokenizer, codes: Tensor, given: Tensor | None) -> Tensor:
    """[b, n + 1, v, k] the symbols of what waits before each corner of codes [b, n, v k], padded with -1, and before the first corner of
    one face more; `end` where nothing does.

    given: [b] how many of the first faces are a given part, before whose corners nothing waits.
    """
    v, end = tokenizer.vertices_per_face, tokenizer.codebook_size + 1
    waiting = torch.full((len(codes), codes.shape[1] + 1, v, tokenizer.codes_per_vertex), end)
    counts = (codes[..., 0] >= 0).sum(1).tolist()
    firsts = [0] * len(codes) if given is None else given.tolist()
    known: dict[tuple[int, bytes], Tensor] = {}  # rows are often alike
    for row, faces, first, count in zip(waiting, codes.numpy(force=True), firsts, counts, strict=True):
        whole = first, faces[:count].tobytes()
        if whole not in known:
            known[whole] = torch.from_numpy(walk(tokenizer.grammar(faces[:first]), faces[first:count]))
        row[first : count + 1] = known[whole]
    return waiting.to(codes.device)


def walk(grammar: CodeGrammar, faces: IntArray) -> IntArray:
    """[n + 1, v, k] the same for the faces [n, v k] of one mesh, which the grammar takes."""
    v, k = grammar.vertices_per_face, grammar.codes_per_vertex
    found = np.full((len(faces) + 1, v, k), grammar.end)
    for place, corner in enumerate(faces.reshape(-1, k).tolist()):
        if waiting := grammar.waiting():
            found[divmod(place, v)] = waiting
        for code in corner:
            grammar.push(grammar.absent if code == ABSENT else code)
    if waiting := grammar.waiting():
        found[-1, 0] = waiting
    return found
