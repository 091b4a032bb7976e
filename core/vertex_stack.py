"""The fine stack that sees every vertex so far, which is how the corners of neighbouring faces come out equal.

Of each vertex one key and one value are kept, those of its first position, which knows the whole vertex before it; the positions of its
later codes only ask. The memory is a third of the codes, and copying a shared corner, which is most of what a mesh is made of, takes one
look. Letters: b batch, n faces, v vertices of a face, k codes of a vertex, g = n v vertices in sequence, d width, h heads, t text tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from core.conditioning import Text
from core.gateloop import GateLoops


class Memory:
    """Keys and values of one attention layer [b, h, length, d / h], in room set aside once for `capacity` of them."""

    def __init__(self, batch: int, heads: int, capacity: int, width: int, like: Tensor) -> None:
        self.keys = like.new_empty(batch, heads, capacity, width)
        self.values = torch.empty_like(self.keys)
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> None:
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end

    def read(self, window: int | None) -> tuple[Tensor, Tensor]:
        """Those of the last `window` positions, or all."""
        start = 0 if window is None else max(0, self.length - window)
        return self.keys[:, :, start : self.length], self.values[:, :, start : self.length]

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        self.keys, self.values = self.keys[rows], self.values[rows]


TextMemory = tuple[Tensor, Tensor, Tensor]  # keys and values [b, h, t, d / h], mask [b, 1, 1, t]


@dataclass
class VertexMemory:
    """What the fine stack keeps: of the gate loops, of each layer's vertices, of the text for each layer, if there is any."""

    layers: list[Memory]
    text: list[TextMemory]
    before: list[Tensor] = field(default_factory=list)

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        self.before = [h[rows] for h in self.before]
        self.text = [(keys[rows], values[rows], mask[rows]) for keys, values, mask in self.text]
        for layer in self.layers:
            layer.select(rows)


Angles = tuple[Tensor, Tensor]  # cosines and signed sines [g, d / h]


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021): angles for `positions` places and heads of width `width`."""

    def __init__(self, width: int, positions: int) -> None:
        super().__init__()
        frequency = 10000.0 ** (-torch.arange(0, width, 2) / width)
        angle = torch.arange(positions)[:, None] * frequency
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", torch.cat([angle.cos(), angle.cos()], 1), persistent=False)
        self.register_buffer("sin", torch.cat([-angle.sin(), angle.sin()], 1), persistent=False)

    def forward(self, start: int, count: int) -> Angles:
        """Those of `count` positions from `start` on."""
        return self.cos[start : start + count], self.sin[start : start + count]


def rotate(x: Tensor, angles: Angles) -> Tensor:
    """x: [..., g, d / h]."""
    cos, sin = angles
    return x * cos.to(x.dtype) + x.roll(x.shape[-1] // 2, -1) * sin.to(x.dtype)


class VertexAttention(nn.Module):
    """Causal attention among vertices [b, g, k, d], of each of which only the first position is remembered.

    That position knows the whole vertex before it; the others know part of their own. window: how many vertices it reaches.
    """

    def __init__(self, dim: int, heads: int, dim_head: int, window: int | None) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.query = nn.Linear(dim, heads * dim_head, bias=False)
        self.key_value = nn.Linear(dim, 2 * heads * dim_head, bias=False)
        self.out = nn.Linear(heads * dim_head, dim, bias=False)

    def forward(self, x: Tensor, angles: Angles, memory: Memory | None) -> Tensor:
        """All vertices at once; a memory, empty so far, takes what is remembered of them."""
        g, k = x.shape[1:3]
        query = rotate(rearrange(self.query(x), "b g k (h d) -> (b k) h g d", h=self.heads), angles)
        keys, values = rearrange(self.key_value(x[:, :, 0]), "b g (two h d) -> two b h g d", two=2, h=self.heads)
        keys = rotate(keys, angles)
        if memory is not None:
            memory.append(keys, values)
        keys, values = (repeat(t, "b h g d -> (b k) h g d", k=k) for t in (keys, values))
        near = None
        if self.window is not None and self.window < g:
            near = torch.ones(g, g, dtype=torch.bool, device=x.device).tril().triu(1 - self.window)
        out = F.scaled_dot_product_attention(query, keys, values, attn_mask=near, is_causal=near is None)
        return self.out(rearrange(out, "(b k) h g d -> b g k (h d)", k=k))

    def step(self, x: Tensor, angles: Angles, memory: Memory, remember: bool) -> Tensor:
        """One position [b, d] of the vertex at hand; remember: whether it is the vertex's first."""
        shape = len(x), self.heads, 1, -1
        query = rotate(self.query(x).view(shape), angles)
        if remember:
            keys, values = self.key_value(x).chunk(2, -1)
            memory.append(rotate(keys.view(shape), angles), values.view(shape))
        return self.out(F.scaled_dot_product_attention(query, *memory.read(self.window)).flatten(1))


class TextAttention(nn.Module):
    """Attention from positions [b, length, d] to text tokens."""

    def __init__(self, dim: int, heads: int, dim_head: int, text_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, heads * dim_head, bias=False)
        self.key_value = nn.Linear(text_width, 2 * heads * dim_head, bias=False)
        self.out = nn.Linear(heads * dim_head, dim, bias=False)

    def project(self, text: Text) -> TextMemory:
        """Of a text: worked out once, used at every step."""
        keys, values = rearrange(self.key_value(text.tokens), "b t (two h d) -> two b h t d", two=2, h=self.heads)
        return keys, values, rearrange(text.mask, "b t -> b 1 1 t")

    def forward(self, x: Tensor, text: TextMemory) -> Tensor:
        keys, values, mask = text
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return self.out(out.transpose(1, 2).flatten(2))


class VertexBlock(nn.Module):
    """Pre-normalised attention to vertices, to the text if there is any, feed-forward. `step` is `forward` for one position [b, d]."""

    def __init__(self, dim: int, heads: int, dim_head: int, text_width: int | None, window: int | None, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = nn.LayerNorm(dim, bias=False), nn.LayerNorm(dim, bias=False)
        self.attention = VertexAttention(dim, heads, dim_head, window)
        self.dropout = nn.Dropout(dropout)
        if text_width is not None:
            self.text_norm = nn.LayerNorm(dim, bias=False)
            self.text = TextAttention(dim, heads, dim_head, text_width)
        self.feed = nn.Sequential(nn.Linear(dim, 4 * dim, bias=False), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim, bias=False))

    def forward(self, x: Tensor, angles: Angles, memory: Memory | None, text: TextMemory | None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), angles, memory))
        if text is not None:
            x = x + self.text(self.text_norm(x).flatten(1, 2), text).view_as(x)
        return x + self.feed(self.feed_norm(x))

    def step(self, x: Tensor, angles: Angles, memory: Memory, text: TextMemory | None, remember: bool) -> Tensor:
        x = x + self.attention.step(self.attention_norm(x), angles, memory, remember)
        if text is not None:
            x = x + self.text(self.text_norm(x)[:, None], text)[:, 0]
        return x + self.feed(self.feed_norm(x))


class VertexStack(nn.Module):
    """Gate loops along the codes, then blocks that look back at every vertex so far.

    positions: the longest mesh, in vertices. window: how many vertices attention reaches, the present one included; None for all.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        dim_head: int,
        *,
        positions: int,
        text_width: int | None,
        before: int,
        window: int | None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.dim_head, self.positions = heads, dim_head, positions
        self.before = GateLoops(dim, before)
        self.rotary = Rotary(dim_head, positions)
        self.blocks: list[VertexBlock] = nn.ModuleList(  # type: ignore[assignment]
            VertexBlock(dim, heads, dim_head, text_width, window, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, bias=False)
        self.text = text_width is not None

    def read(self, text: Text | None) -> list[TextMemory]:
        """What each block keeps of a text."""
        return [block.text.project(text) for block in self.blocks] if self.text and text is not None else []

    def forward(self, x: Tensor, text: Text | None, memory: VertexMemory | None = None) -> Tensor:
        """x: [b, n, v, k, d], answered alike; a memory, empty so far, takes what is remembered."""
        shape = x.shape
        codes = self.before(rearrange(x, "b n v k d -> b (n v k) d"), memory.before if memory else None)
        x = codes.reshape(shape).flatten(1, 2)
        angles, texts = self.rotary(0, x.shape[1]), memory.text if memory else self.read(text)
        for i, block in enumerate(self.blocks):
            x = block(x, angles, memory.layers[i] if memory else None, texts[i] if texts else None)
        return self.norm(x).view(shape)

    def memory(self, rows: int, faces: int, text: Text | None) -> VertexMemory:
        """An empty memory for `rows` meshes of `faces` vertices."""
        like = self.norm.weight
        return VertexMemory([Memory(rows, self.heads, faces, self.dim_head, like) for _ in self.blocks], self.read(text))

    def step(self, x: Tensor, memory: VertexMemory, vertex: int, level: int) -> Tensor:
        """The next code's position [b, d]; the first of a vertex is remembered."""
        x = self.before(x[:, None], memory.before)[:, 0]
        angles = self.rotary(memory.layers[0].length - (level > 0), 1)
        for i, block in enumerate(self.blocks):
            x = block.step(x, angles, memory.layers[i], memory.text[i] if memory.text else None, level == 0)
        return self.norm(x)
