"""The stacks of MeshTransformer that are x-transformers' Decoder: the coarse one over faces, and a fine one that sees its own face.

Each has a `forward` for everything at once and a memory for one step at a time. Letters: b batch, n faces, v vertices of a face, k codes
of a vertex, d width, h heads, t text tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from x_transformers import Decoder
from x_transformers.x_transformers import LayerIntermediates

from core.conditioning import Text
from core.gateloop import GateLoops
from core.reversible import ReversibleDecoder

# ---- x-transformers


def decoder(
    dim: int, depth: int, heads: int, dim_head: int, *, text_width: int | None, reversible: bool = False, **options: Any
) -> Decoder:
    """A causal stack: pre-normalised, rotary positions over whole heads, without biases, silent at first.

    text_width: of the text tokens it attends to; None for none. options: further ones of x-transformers' AttentionLayers.
    """
    kind = ReversibleDecoder if reversible else Decoder
    cross = {} if text_width is None else {"cross_attend": True, "cross_attn_dim_context": text_width, "cross_attn_max_attend_past": None}
    defaults = {
        **{"rotary_pos_emb": True, "rotary_emb_dim": dim_head, "ff_no_bias": True, "zero_init_branch_output": True, "verbose": False},
        "attn_project_out": True,  # x-transformers leaves it out for a single head, and then fails
    }
    stack: Decoder = kind(dim=dim, depth=depth, heads=heads, attn_dim_head=dim_head, **{**defaults, **cross, **options})
    rotary = stack.rotary_pos_emb
    rotary.register_buffer("inv_freq", rotary.inv_freq, persistent=False)  # half precision on disk would bend it
    return stack


def select_cache(cache: LayerIntermediates | None, rows: Tensor) -> None:
    """Keep these rows of the batch in what x-transformers remembers."""
    for layer in cache.attn_intermediates if cache else ():
        layer.cached_kv = tuple(kept[rows] for kept in layer.cached_kv)
        layer.values = None if layer.values is None else layer.values[rows]


# ---- the coarse stack


@dataclass
class CoarseMemory:
    """What the coarse stack keeps from step to step: of the gate loops before and after, and of attention."""

    before: list[Tensor] = field(default_factory=list)
    attention: LayerIntermediates | None = None
    after: list[Tensor] = field(default_factory=list)

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        self.before, self.after = [h[rows] for h in self.before], [h[rows] for h in self.after]
        select_cache(self.attention, rows)


class CoarseStack(nn.Module):
    """Gate loops, attention among faces and to the text, gate loops.

    text_width: of the text's tokens, None without text. adaptive: whether the text's pooled vector sets the norms' gains. window: how many
    faces attention reaches, the present one included; None for all. options: of x-transformers' AttentionLayers.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        dim_head: int,
        *,
        text_width: int | None,
        before: int,
        after: int,
        adaptive: bool,
        reversible: bool,
        window: int | None,
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        norms = {"use_adaptive_rmsnorm": True, "dim_condition": text_width} if adaptive else {}
        options = {"attn_max_attend_past": None if window is None else window - 1, **norms, **options}
        self.before, self.after = GateLoops(dim, before), GateLoops(dim, after)
        self.attention = decoder(dim, depth, heads, dim_head, text_width=text_width, reversible=reversible, **options)
        self.adaptive = adaptive
        self.memory_tokens = options.get("attn_num_mem_kv", 0)

    def forward(self, x: Tensor, text: Text | None, bias: Tensor | None = None, memory: CoarseMemory | None = None) -> Tensor:
        """x: [b, n, d]. bias: [b, h, n, length so far] added to the attention logits among faces. memory: what came before x, if anything;
        x, then a single face, is added to it.
        """
        given: dict[str, Any] = {}
        if text is not None:
            given |= {"context": text.tokens, "context_mask": text.mask}
            if self.adaptive:
                given |= {"condition": text.pooled()}
        if bias is not None:
            given |= {"attn_bias": F.pad(bias, (self.memory_tokens, 0))}
        if memory is None:
            return self.after(self.attention(self.before(x), **given))
        x = self.before(x, memory.before)
        if memory.attention is not None:
            given |= {"cache": memory.attention}
        x, memory.attention = self.attention(x, return_hiddens=True, **given)
        return self.after(x, memory.after)


# ---- the fine stack that sees its own face


@dataclass
class FaceMemory:
    """What the fine stack keeps of the face at hand. text: that it attends to, if it does."""

    text: Text | None
    before: list[Tensor] = field(default_factory=list)
    attention: LayerIntermediates | None = None

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        self.text = self.text.select(rows) if self.text else None
        self.before = [h[rows] for h in self.before]
        select_cache(self.attention, rows)


class FaceStack(nn.Module):
    """Codes of a face among themselves, as in MeshGPT's public reimplementations. options: of x-transformers' AttentionLayers."""

    def __init__(
        self, dim: int, depth: int, heads: int, dim_head: int, *, text_width: int | None, before: int, options: dict[str, Any]
    ) -> None:
        super().__init__()
        self.before = GateLoops(dim, before)
        self.attention = decoder(dim, depth, heads, dim_head, text_width=text_width, **options)
        self.text = text_width is not None

    def forward(self, x: Tensor, text: Text | None, memory: FaceMemory | None = None) -> Tensor:
        """x: [b, n, v, k, d], answered alike. A memory takes nothing from whole faces."""
        b, n, v = x.shape[:3]
        given: dict[str, Any] = {}
        if self.text and text is not None:
            tokens = repeat(text.tokens, "b t d -> (b n) t d", n=n)
            given = {"context": tokens, "context_mask": repeat(text.mask, "b t -> (b n) t", n=n)}
        out = self.attention(self.before(rearrange(x, "b n v k d -> (b n) (v k) d")), **given)
        return rearrange(out, "(b n) (v k) d -> b n v k d", b=b, v=v)

    def memory(self, rows: int, faces: int, text: Text | None) -> FaceMemory:
        """An empty memory."""
        return FaceMemory(text if self.text else None)

    def step(self, x: Tensor, memory: FaceMemory, vertex: int, level: int) -> Tensor:
        """The next code's position [b, d] of the face at hand."""
        if vertex == 0 and level == 0:
            memory.before, memory.attention = [], None
        given: dict[str, Any] = {}
        if self.text and memory.text:
            given = {"context": memory.text.tokens, "context_mask": memory.text.mask}
        if memory.attention is not None:
            given |= {"cache": memory.attention}
        x = self.before(x[:, None], memory.before)
        x, memory.attention = self.attention(x, return_hiddens=True, **given)
        return x[:, 0]
