"""MeshTransformer: the distribution of the next face code, given the text and all codes before it.

Two stacks, as in the decoder of MeshGPT's public reimplementations. The coarse one takes a step a face, reads the text and plans.
The fine one takes a step a code: it starts each face from the coarse state and looks back at every vertex so far, which is how the
corners of neighbouring faces come out equal. Vertices are remembered whole, so its memory has one entry a vertex, not one a code.

Letters: b batch, n faces, v vertices of a face, k codes of a vertex, g = n v vertices in sequence, d width, h heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from core.conditioning import Text

IGNORE = -100


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a MeshTransformer.

    codes_per_vertex, codebook_size, code_width: the tokenizer's; code_width is that of its code vectors.
    dim, depth, heads: the coarse stack. fine_dim, fine_depth, fine_heads: the fine stack. text_width: of a text token.
    max_faces: the longest mesh, in faces.
    """

    codes_per_vertex: int
    codebook_size: int
    code_width: int
    dim: int = 256
    depth: int = 6
    heads: int = 4
    fine_dim: int = 192
    fine_depth: int = 2
    fine_heads: int = 3
    text_width: int = 128
    max_faces: int = 256
    vertices_per_face: int = 4

    @property
    def codes_per_face(self) -> int:
        return self.vertices_per_face * self.codes_per_vertex

    @property
    def vocabulary(self) -> int:
        """The codebook, then `absent` (a triangle's fourth corner), then `end` (only as the first code of a face)."""
        return self.codebook_size + 2


class Memory:
    """Keys and values of one attention layer [b, h, length, d / h], in room set aside once for `capacity` of them."""

    def __init__(self, batch: int, heads: int, capacity: int, width: int, device: torch.device) -> None:
        self.keys = torch.empty(batch, heads, capacity, width, device=device)
        self.values = torch.empty_like(self.keys)
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> None:
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end

    def read(self) -> tuple[Tensor, Tensor]:
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        self.keys, self.values = self.keys[rows], self.values[rows]


TextMemory = tuple[Tensor, Tensor, Tensor]  # keys and values [b, h, t, d / h], mask [b, 1, 1, t]


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


class SelfAttention(nn.Module):
    """Causal attention among groups of positions [b, g, k, d], in which only the first position of a group is remembered.

    In the coarse stack a group is one face. In the fine stack it is a vertex: the first of its positions knows the whole vertex before
    it, the others know part of their own.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, angles: Angles, memory: Memory | None) -> Tensor:
        """All groups at once; a memory, empty so far, takes what is remembered of them."""
        k = x.shape[2]
        query = rotate(rearrange(self.query(x), "b g k (h d) -> (b k) h g d", h=self.heads), angles)
        keys, values = rearrange(self.key_value(x[:, :, 0]), "b g (two h d) -> two b h g d", two=2, h=self.heads)
        keys = rotate(keys, angles)
        if memory is not None:
            memory.append(keys, values)
        keys, values = (repeat(t, "b h g d -> (b k) h g d", k=k) for t in (keys, values))
        out = F.scaled_dot_product_attention(query, keys, values, is_causal=True)
        return self.out(rearrange(out, "(b k) h g d -> b g k (h d)", k=k))

    def step(self, x: Tensor, angles: Angles, memory: Memory, remember: bool) -> Tensor:
        """One position [b, d] of the group at hand; remember: whether it is the group's first."""
        shape = len(x), self.heads, 1, -1
        query = rotate(self.query(x).view(shape), angles)
        if remember:
            keys, values = self.key_value(x).chunk(2, -1)
            memory.append(rotate(keys.view(shape), angles), values.view(shape))
        return self.out(F.scaled_dot_product_attention(query, *memory.read()).view(x.shape))


class CrossAttention(nn.Module):
    """Attention from faces [b, n, d] to text tokens."""

    def __init__(self, dim: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(text_width, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def project(self, text: Text) -> TextMemory:
        """Of a text: worked out once, used at every step."""
        keys, values = rearrange(self.key_value(text.tokens), "b t (two h d) -> two b h t d", two=2, h=self.heads)
        return keys, values, rearrange(text.mask, "b t -> b 1 1 t")

    def forward(self, x: Tensor, text: TextMemory) -> Tensor:
        keys, values, mask = text
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return self.out(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-normalised self-attention, text if there is any, feed-forward. `step` is `forward` for one position [b, d]."""

    def __init__(self, dim: int, heads: int, text_width: int | None = None) -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = nn.LayerNorm(dim, bias=False), nn.LayerNorm(dim, bias=False)
        self.attention = SelfAttention(dim, heads)
        if text_width is not None:
            self.text_norm = nn.LayerNorm(dim, bias=False)
            self.text = CrossAttention(dim, heads, text_width)
        self.feed = nn.Sequential(nn.Linear(dim, 4 * dim, bias=False), nn.GELU(), nn.Linear(4 * dim, dim, bias=False))

    def forward(self, x: Tensor, angles: Angles, memory: Memory | None, text: TextMemory | None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), angles, memory)
        if text is not None:
            x = x + self.text(self.text_norm(x.squeeze(2)), text).unsqueeze(2)
        return x + self.feed(self.feed_norm(x))

    def step(self, x: Tensor, angles: Angles, memory: Memory, text: TextMemory | None, remember: bool) -> Tensor:
        x = x + self.attention.step(self.attention_norm(x), angles, memory, remember)
        if text is not None:
            x = x + self.text(self.text_norm(x).unsqueeze(1), text).squeeze(1)
        return x + self.feed(self.feed_norm(x))


class Stack(nn.Module):
    """Blocks one after the other for up to `positions` groups, and a last normalisation."""

    def __init__(self, dim: int, depth: int, heads: int, positions: int, text_width: int | None = None) -> None:
        super().__init__()
        self.rotary = Rotary(dim // heads, positions)
        self.blocks: list[Block] = nn.ModuleList(Block(dim, heads, text_width) for _ in range(depth))  # type: ignore[assignment]
        self.norm = nn.LayerNorm(dim, bias=False)

    def read(self, text: Text) -> list[TextMemory]:
        """What each block keeps of a text."""
        return [block.text.project(text) for block in self.blocks]

    def memories(self, batch: int, capacity: int, device: torch.device) -> list[Memory]:
        """Empty memories for each block."""
        attention = self.blocks[0].attention
        width = attention.query.out_features // attention.heads
        return [Memory(batch, attention.heads, capacity, width, device) for _ in self.blocks]

    def forward(self, x: Tensor, memories: list[Memory] | None = None, text: list[TextMemory] | None = None) -> Tensor:
        """All groups [b, g, k, d] at once; memories, empty so far, take what is remembered of them."""
        angles = self.rotary(0, x.shape[1])
        for i, block in enumerate(self.blocks):
            x = block(x, angles, memories[i] if memories else None, text[i] if text else None)
        return self.norm(x)

    def step(self, x: Tensor, memories: list[Memory], text: list[TextMemory] | None = None, remember: bool = True) -> Tensor:
        """One position [b, d], the first of the next group or, if it is not to be remembered, a later one of the group at hand."""
        angles = self.rotary(memories[0].length - (not remember), 1)
        for i, block in enumerate(self.blocks):
            x = block.step(x, angles, memories[i], text[i] if text else None, remember)
        return self.norm(x)


@dataclass
class DecodeState:
    """What generation carries from step to step.

    coarse, fine: the memories of both stacks. text: what the coarse one keeps of the text. table: embeddings [k, vocabulary, d].
    last_vertex, partial: the vertex before this one, and what is known of this one [b, d]. plan: for the face at hand [b, d].
    ground: what all codes of this vertex start from [b, d].
    """

    coarse: list[Memory]
    fine: list[Memory]
    text: list[TextMemory]
    table: Tensor
    last_vertex: Tensor
    partial: Tensor = field(init=False)
    plan: Tensor = field(init=False)
    ground: Tensor = field(init=False)

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        for memory in self.coarse + self.fine:
            memory.select(rows)
        self.text = [(keys[rows], values[rows], mask[rows]) for keys, values, mask in self.text]
        self.last_vertex, self.plan = self.last_vertex[rows], self.plan[rows]


class MeshTransformer(nn.Module):
    """Coarse over faces, fine over codes.

    code_vectors: [k, codebook_size, code_width] from the tokenizer; they enter through a linear layer, beside a learned embedding.
    """

    def __init__(self, config: TransformerConfig, code_vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        c, d = config, config.fine_dim
        self.code_vectors: Tensor
        self.register_buffer("code_vectors", F.pad(code_vectors.clone(), (0, 0, 0, 2)), persistent=False)
        self.code_embedding = nn.Parameter(torch.randn(c.codes_per_vertex, c.vocabulary, d) * 0.2)
        self.code_projection = nn.Parameter(torch.randn(c.codes_per_vertex, c.code_width, d) * 0.1)
        self.start_vertex = nn.Parameter(torch.randn(d) * 0.2)
        self.slot_embedding = nn.Parameter(torch.randn(c.vertices_per_face, c.codes_per_vertex, d) * 0.2)
        self.last_vertex = nn.Linear(d, d, bias=False)
        self.plan = nn.Linear(c.dim, d, bias=False)

        self.face_projection = nn.Linear(c.vertices_per_face * d, c.dim, bias=False)
        self.start_face = nn.Parameter(torch.randn(c.dim) * 0.5)
        self.given_embedding = nn.Embedding(2, c.dim)
        self.text_start = nn.Linear(c.text_width, c.dim, bias=False)

        self.coarse = Stack(c.dim, c.depth, c.heads, c.max_faces + 1, c.text_width)
        self.fine = Stack(d, c.fine_depth, c.fine_heads, (c.max_faces + 1) * c.vertices_per_face)
        self.head = nn.Parameter(torch.zeros(c.codes_per_vertex, d, c.vocabulary))
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.out.weight", "text.out.weight", "feed.2.weight")):
                nn.init.zeros_(parameter)

    # ---- training: all codes at once

    def forward(self, codes: Tensor, text: Text, given: Tensor | None = None) -> Tensor:
        """Negative log-likelihood in nats of every face and of the end: [b, n + 1].

        codes: [b, n, v k] integers in 0..codebook_size-1, -1 for an absent last corner; a face of nothing but -1 is padding.
        given: [b] how many of the first faces are a given part of the mesh, in their own canonical order; the rest then completes it.
        Raises ValueError if there are more faces than the context holds.
        """
        logits, targets = self.logits(codes, text, given), self.targets(codes)
        losses = F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), ignore_index=IGNORE, reduction="none")
        return losses.view(*targets.shape[:2], -1).sum(-1)

    def logits(self, codes: Tensor, text: Text, given: Tensor | None = None) -> Tensor:
        """[b, n + 1, v, k, vocabulary] for every code of every face and of one face more, whose first code may be the end."""
        if codes.shape[1] > self.config.max_faces:
            raise ValueError(
                f"a mesh of {codes.shape[1]} faces does not fit a context of {self.config.max_faces}; train with a larger max_faces"
            )
        embedded = self.embed(self.symbols(codes))
        vertices = embedded.sum(3)
        start, faces = self.start(text), self.join(vertices)
        plan = self.plan_faces(torch.cat([start[:, None], faces], 1), given, self.coarse.read(text))

        embedded = F.pad(embedded, (0, 0, 0, 0, 0, 0, 0, 1))
        partial = embedded.cumsum(3) - embedded
        before = self.before(F.pad(vertices, (0, 0, 0, 0, 0, 1)))
        x = partial + before[:, :, :, None] + self.slot_embedding + rearrange(plan, "b n d -> b n 1 1 d")
        x = self.fine(rearrange(x, "b n v k d -> b (n v) k d"))
        logits = torch.einsum("b g k d, k d c -> b g k c", x, self.head)
        return rearrange(logits, "b (n v) k c -> b n v k c", v=self.config.vertices_per_face)

    def targets(self, codes: Tensor) -> Tensor:
        """[b, n + 1, v, k] symbols to predict; IGNORE for padding and for what is certain."""
        padding = codes[:, :, 0] < 0
        symbols = self.symbols(codes)
        certain = (symbols == self.config.codebook_size).cumsum(-1) > 1
        symbols = symbols.masked_fill(certain | padding[:, :, None, None], IGNORE)
        symbols = F.pad(symbols, (0, 0, 0, 0, 0, 1), value=IGNORE)
        ends = (~padding).sum(1)
        symbols[torch.arange(len(codes), device=codes.device), ends, 0, 0] = self.config.codebook_size + 1
        return symbols

    def symbols(self, codes: Tensor) -> Tensor:
        """Codes [b, n, v k] to vocabulary entries [b, n, v, k]."""
        codes = rearrange(codes, "b n (v k) -> b n v k", k=self.config.codes_per_vertex)
        return codes.masked_fill(codes < 0, self.config.codebook_size)

    def table(self) -> Tensor:
        """[k, vocabulary, d] the embedding of each code at each level."""
        return self.code_embedding + self.code_vectors @ self.code_projection

    def embed(self, symbols: Tensor) -> Tensor:
        """Symbols [..., k] to embeddings [..., k, d]."""
        table = self.table()
        return torch.stack([F.embedding(symbols[..., k], table[k]) for k in range(symbols.shape[-1])], -2)

    def join(self, vertices: Tensor) -> Tensor:
        """Vertices [b, n, v, d] to faces as the coarse stack reads them [b, n, d]."""
        return self.face_projection(rearrange(vertices, "b n v d -> b n (v d)"))

    def start(self, text: Text) -> Tensor:
        """[b, d] what the coarse stack reads before the first face: the text, in view from the start."""
        last = text.mask.sum(1) - 1
        return self.start_face + self.text_start(text.tokens[torch.arange(len(last), device=last.device), last])

    def plan_faces(self, x: Tensor, given: Tensor | None, text: list[TextMemory], memories: list[Memory] | None = None) -> Tensor:
        """From the start and the faces so far [b, n + 1, d], the plan for the face after each [b, n + 1, d].

        given: [b] how many of the faces ahead belong to a given part; None for none.
        """
        ahead = torch.zeros_like(x[..., 0], dtype=torch.long)
        if given is not None:
            ahead = (torch.arange(x.shape[1], device=x.device) < given[:, None]).long()
        x = self.coarse(rearrange(x + self.given_embedding(ahead), "b n d -> b n 1 d"), memories, text)
        return self.plan(x.squeeze(2))

    def before(self, vertices: Tensor) -> Tensor:
        """For each of the vertices [b, n, v, d], the one before it, or the start, as the fine stack reads it."""
        flat = rearrange(vertices, "b n v d -> b (n v) d")
        flat = torch.cat([self.start_vertex.expand(len(flat), 1, -1), flat[:, :-1]], 1)
        return rearrange(self.last_vertex(flat), "b (n v) d -> b n v d", v=self.config.vertices_per_face)

    # ---- generation: one step at a time

    def begin(self, text: Text, given: Tensor | None, capacity: int) -> DecodeState:
        """The state before the first new face: memories for `capacity` faces, filled with the faces `given` [b, n, v k] in one pass."""
        batch, device = len(text.tokens), text.tokens.device
        state = DecodeState(
            coarse=self.coarse.memories(batch, capacity + 1, device),
            fine=self.fine.memories(batch, (capacity + 1) * self.config.vertices_per_face, device),
            text=self.coarse.read(text),
            table=self.table(),
            last_vertex=self.start_vertex.expand(batch, -1),
        )
        x = self.start(text)[:, None]
        if given is None or not given.shape[1]:
            state.plan = self.plan_faces(x, None, state.text, state.coarse)[:, 0]
            return state
        vertices = self.embed(self.symbols(given)).sum(3)
        count = torch.full((batch,), given.shape[1], device=device)
        plan = self.plan_faces(torch.cat([x, self.join(vertices)], 1), count, state.text, state.coarse)
        x = self.before(vertices) + self.slot_embedding[:, 0] + plan[:, :-1, None]
        self.fine(rearrange(x, "b n v d -> b (n v) 1 d"), state.fine)
        state.plan, state.last_vertex = plan[:, -1], vertices[:, -1, -1]
        return state

    def step_fine(self, state: DecodeState, vertex: int, level: int) -> Tensor:
        """Logits [b, vocabulary] of code `level` of corner `vertex` of the face that is planned."""
        if level == 0:
            state.partial = torch.zeros_like(state.last_vertex)
            state.ground = state.plan + self.last_vertex(state.last_vertex)
        x = state.ground + state.partial + self.slot_embedding[vertex, level]
        return self.fine.step(x, state.fine, remember=level == 0) @ self.head[level]

    def take(self, state: DecodeState, level: int, symbols: Tensor) -> None:
        """Take the symbols [b] drawn for that level of the present corner."""
        state.partial = state.partial + state.table[level, symbols]
        if level == self.config.codes_per_vertex - 1:
            state.last_vertex = state.partial

    def finish_face(self, state: DecodeState, symbols: Tensor) -> None:
        """The face of symbols [b, v, k] is complete: plan the next one."""
        vertices = torch.stack([state.table[k, symbols[..., k]] for k in range(symbols.shape[-1])]).sum(0)
        x = self.face_projection(vertices.flatten(1)) + self.given_embedding.weight[0]
        state.plan = self.plan(self.coarse.step(x, state.coarse, state.text))
