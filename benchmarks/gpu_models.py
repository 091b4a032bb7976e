"""Models of given sizes with random weights, and as much of a tokenizer as they need: what codes mean does not change what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.gpu_card import Bench

SIZES: dict[str, dict[str, Any]] = {
    "512/12": {"codebook": 16384, "dim": 512, "attn_depth": 12, "fine_attn_depth": 2, "max_faces": 1024},
    "10M": {"codebook": 4096, "dim": 256, "attn_depth": 6, "attn_heads": 4, "fine_attn_depth": 2, "fine_attn_heads": 4, "max_faces": 1024},
    "100M": {"codebook": 16384, "dim": 512, "attn_depth": 19, "fine_attn_depth": 2, "max_faces": 4096},
    "350M": {
        "codebook": 4096,
        "dim": 1024,
        "attn_depth": 24,
        "attn_heads": 16,
        "fine_attn_depth": 2,
        "fine_attn_heads": 16,
        "max_faces": 1024,
    },
}
SMALL = {"codebook": 64, "dim": 32, "attn_depth": 2, "attn_heads": 2, "fine_attn_depth": 1, "fine_attn_heads": 2}


@dataclass
class Learned:
    """As much of a tokenizer with learned codes as generation and training ask for: what codes mean does not change what they cost."""

    codebook_size: int
    vertices_per_face: int = 3
    codes_per_vertex: int = 2
    levels: int = 128

    @property
    def codes_per_face(self) -> int:
        return self.vertices_per_face * self.codes_per_vertex

    def code_vectors(self) -> torch.Tensor:
        return torch.randn(self.codes_per_vertex, self.codebook_size, 32, generator=torch.Generator().manual_seed(0))

    def grammar(self, given: Any = None) -> Any:
        from core.grammar import CodeGrammar

        return CodeGrammar(self.codebook_size, self.codes_per_vertex, given, self.vertices_per_face)


def network(bench: Bench, size: str, **options: Any) -> Any:
    """A MeshTransformer of that size with random weights."""
    from core.transformer import MeshTransformer

    sizes = {**SIZES[size], **(SMALL | {"max_faces": 64} if bench.small else {})}
    tokenizer: Any = Learned(sizes.pop("codebook"))
    faces = options.pop("faces", sizes.pop("max_faces"))
    sizes.pop("max_faces", None)
    torch.manual_seed(0)
    return MeshTransformer(tokenizer, max_seq_len=faces * tokenizer.codes_per_face, **sizes, **options)
