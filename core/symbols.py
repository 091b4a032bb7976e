"""Codes as entries of the vocabulary: the codebook, then `absent` (a triangle's fourth corner), then `end` (only as a face's first code).

Letters: b batch, n faces, v vertices of a face, k codes of a vertex.
"""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

IGNORE = -100


def to_symbols(codes: Tensor, codes_per_vertex: int, codebook_size: int) -> Tensor:
    """Codes [b, n, v k] to vocabulary entries [b, n, v, k]; -1 is `absent`."""
    codes = rearrange(codes, "b n (v k) -> b n v k", k=codes_per_vertex)
    return codes.masked_fill(codes < 0, codebook_size)


def to_targets(codes: Tensor, codes_per_vertex: int, codebook_size: int) -> Tensor:
    """[b, n + 1, v, k] symbols to predict for codes [b, n, v k] and the end; IGNORE for padding and for what is certain."""
    padding = codes[:, :, 0] < 0
    symbols = to_symbols(codes, codes_per_vertex, codebook_size)
    certain = (symbols == codebook_size).cumsum(-1) > 1
    symbols = symbols.masked_fill(certain | padding[:, :, None, None], IGNORE)
    symbols = F.pad(symbols, (0, 0, 0, 0, 0, 1), value=IGNORE)
    symbols[:, :, 0, 0].scatter_(1, (~padding).sum(1, keepdim=True), codebook_size + 1)
    return symbols
