"""Hints: what the grammar knows before each corner of a mesh, for a transformer that is told (`corner_hints`): which corner waits,
where a plain face would have it, which one waits behind it, and where the mirror image of a face has it. And, where the extents of the mesh
are known, the sides of its box that no face has reached yet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.conditioning import Text
from core.grammar import ABSENT, Box, CodeGrammar, Corner
from core.mesh import Frame, IntArray, quantise
from core.symbols import to_symbols
from core.tokenizer import Tokenizer

HINTS = 6  # CodeGrammar.waiting, expected, next_waiting and mirrored, and the two of unreached
CORNERS = 4  # of these tell corners; the others each code for itself


def corner_hints(tokenizer: Tokenizer, codes: Tensor, given: Tensor | None, text: Text | None = None) -> Tensor:
    """[b, n + 1, v, 6, k] the symbols of the hints before each corner of codes [b, n, v k], padded with -1, and before the first corner of
    one face more; `end` for none.

    given: [b] how many of the first faces are a given part, before whose corners stands what the part alone tells. text: [b] what is said
    of each mesh, its extents included.
    """
    v, end = tokenizer.vertices_per_face, tokenizer.codebook_size + 1
    hints = torch.full((len(codes), codes.shape[1] + 1, v, HINTS, tokenizer.codes_per_vertex), end)
    counts = (codes[..., 0] >= 0).sum(1).tolist()
    firsts = [0] * len(codes) if given is None else given.tolist()
    boxes: list[Box | None] = [None] * len(codes)
    if text is not None and text.extents is not None:
        boxes = [box_of(extents, tokenizer.levels) for extents in text.extents.tolist()]
    known: dict[tuple[int, Box | None, bytes], Tensor] = {}  # rows are often alike
    for row, faces, first, count, box in zip(hints, codes.numpy(force=True), firsts, counts, boxes, strict=True):
        whole = first, box, faces[:count].tobytes()
        if whole not in known:
            part, mesh = tokenizer.grammar(None), tokenizer.grammar(faces[:first])
            if box:
                part.tell(*box)
                mesh.tell(*box)
            known[whole] = torch.from_numpy(np.concatenate([walk(part, faces[:first])[:first], walk(mesh, faces[first:count])]))
        row[: count + 1] = known[whole]
    return hints.to(codes.device)


def walk(grammar: CodeGrammar, faces: IntArray) -> IntArray:
    """[n + 1, v, 6, k] the same for the faces [n, v k] of one mesh, which the grammar takes."""
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
    corners = grammar.waiting(), grammar.expected(), grammar.next_waiting(), grammar.mirrored()
    return [*(corner or nothing for corner in corners), *grammar.unreached()]


def box_of(extents: Sequence[float], levels: int) -> Box | None:
    """The box that a canonical mesh of these extents x, y, z fills on a grid of so many levels; None where they are not known (NaN)."""
    return None if math.isnan(extents[0]) else box_between((0, 0, 0), extents, levels)


def box_between(low: Sequence[float], high: Sequence[float], levels: int) -> Box:
    """The same of a mesh between two corners x, y, z in its own units."""
    corners = np.array([low, high], float)
    lowest, highest = quantise(Frame.around(*corners).to_unit(corners), levels)[:, ::-1].tolist()
    return tuple(lowest), tuple(highest)


def told(hints: Tensor, end: int) -> Tensor:
    """[..., k, 6] what each of the hints [..., 6, k] tells of each code of a corner, none of which is known yet; `end` + 1 for nothing."""
    return hints.masked_fill(hints == end, end + 1).transpose(-1, -2)


def still_told(told: Tensor, level: int, symbols: Tensor, end: int) -> Tensor:
    """The same once the codes of a level are known to be these symbols [...]: of the corners that said otherwise nothing is left."""
    wrong = told[..., level, :] != symbols[..., None]
    wrong[..., CORNERS:] = False
    return told.masked_fill(wrong[..., None, :], end + 1)


def told_by_level(told: Tensor, symbols: Tensor, end: int) -> list[Tensor]:
    """Of each level [..., 6]: what is still told of it once the codes of a corner are known to be these symbols [..., k]."""
    levels = []
    for level in range(told.shape[-2]):
        levels.append(told[..., level, :])
        told = still_told(told, level, symbols[..., level], end)
    return levels


def told_of_faces(hints: Tensor, codes: Tensor, codebook_size: int) -> list[Tensor]:
    """Of each level [b (n + 1) v, 6]: what hints [b, n + 1, v, 6, k] tell of the codes [b, n, v k] of faces and of one face more."""
    symbols, end = F.pad(to_symbols(codes, hints.shape[-1], codebook_size), (0, 0, 0, 0, 0, 1)), codebook_size + 1
    return told_by_level(told(hints, end).flatten(0, 2), symbols.flatten(0, 2), end)


def point(scores: Tensor, told: Tensor) -> Tensor:
    """[rows, vocabulary] logits from the scores [rows, vocabulary + 6] of codes, the last of which say how much each hint is trusted:
    that is added to the score of the code that it tells [rows, 6].

    So a code that is hinted at can be copied whatever it is, as by a pointer (Vinyals et al. 2015).
    """
    return scores.scatter_add(1, told, scores[:, -HINTS:])[:, :-HINTS]
