"""Engine: the transformer's weights in the form that generation wants, and the loop's steps over them without anything that can be spared.

It stands between a MeshTransformer and core.decoding, which asks it for the same steps as the transformer itself (`Stepper`), and its
logits are the transformer's. What differs: matrices that read the same input are one matrix, norms' gains and the attention's scale are
part of the matrix behind them, memories are set aside once and used again by the next request, and no module is called in a step.

Letters: r rows, h heads, w width of a head, d width, g positions in sequence, t text tokens.
"""

from __future__ import annotations

import dataclasses
from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from core.conditioning import Text
from core.symbols import IGNORE, to_symbols, to_targets
from core.tokenizer import Tokenizer
from core.transformer_config import TransformerConfig

KNOWN = {
    *("dim", "max_seq_len", "attn_depth", "attn_dim_head", "attn_heads", "fine_attn_depth", "fine_attn_dim_head", "fine_attn_heads"),
    *("flash_attn", "dropout", "local_attn_window_size", "quads", "condition_on_text"),
    *("text_condition_model_types", "text_condition_model_kwargs", "text_condition_cond_drop_prob"),
}  # options of which it knows every value, or which do not change what is generated
ROOM = 64  # memories grow by this many positions at a time
TINY = 1e-12  # the least scale of a row of int8 weights
INT8_WIDTH = 32  # a row of int8 weights has a multiple of this many numbers


FINE_NAMES = ("attention_norm", "attention.query", "attention.key_value", "attention.out", "feed_norm", "feed.0", "feed.3")
Weights = Mapping[str, Tensor]  # by name, as in MeshTransformer.state_dict()


# ---- reading the transformer's weights


class Reader(UserDict[str, Tensor]):
    """A transformer's own weights on a device, which notes what of them is read: what is left over belongs to another configuration."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        own = [name for name in weights if not name.startswith(("text.", "tokenizer."))]
        super().__init__({name: weights[name].detach().to(device) for name in own})
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return super().__getitem__(name)

    def unread(self) -> set[str]:
        """Names that nothing has asked for."""
        return set(self.data) - self.read


@dataclass(frozen=True)
class BlockWeights:
    """A block's matrices [out, in] with the gains of the norms before them; query, key and value are stacked in that order.

    turned: [w] the places in a head of the numbers that rotary turns together, pair by pair.
    """

    heads: int
    turned: Tensor
    qkv: Tensor
    out: Tensor
    up: Tensor
    down: Tensor
    text_query: Tensor | None = None
    text_key_value: Tensor | None = None
    text_out: Tensor | None = None


def read_coarse(weights: Weights, config: TransformerConfig) -> list[BlockWeights]:
    """The blocks of the coarse stack: of x-transformers' layers, each a norm and what is behind it."""
    turned = torch.arange(config.attn_dim_head)
    layers, blocks = iter(range(3 * config.attn_depth)), []

    def layer(*names: str) -> list[Tensor]:
        """Of the next layer, the gain of its norm, and those matrices."""
        prefix = f"coarse.attention.layers.{next(layers)}"
        return [1 + weights[f"{prefix}.0.0.gamma"], *(weights[f"{prefix}.1.{name}.weight"] for name in names)]

    for _ in range(config.attn_depth):
        gain, query, key, value, out = layer("to_q", "to_k", "to_v", "to_out")
        text = {}
        if config.condition_on_text:
            text_gain, text_query, text_key, text_value, text_out = layer("to_q", "to_k", "to_v", "to_out")
            text = {
                "text_query": text_query * text_gain,
                "text_key_value": torch.cat([text_key, text_value]),
                "text_out": text_out,
            }
        feed_gain, up, down = layer("ff.0.0", "ff.2")
        qkv = torch.cat([query, key, value]) * gain
        blocks.append(BlockWeights(config.attn_heads, turned, qkv, out, up * feed_gain, down, **text))
    return blocks


def read_fine(weights: Weights, config: TransformerConfig) -> list[BlockWeights]:
    """The blocks of the fine stack."""
    blocks = []
    for i in range(config.fine_attn_depth):
        block = {name: weights[f"fine.blocks.{i}.{name}.weight"] for name in FINE_NAMES}
        blocks.append(
            BlockWeights(
                heads=config.fine_attn_heads,
                turned=halves(config.fine_attn_dim_head),
                qkv=torch.cat([block["attention.query"], block["attention.key_value"]]) * block["attention_norm"],
                out=block["attention.out"],
                up=block["feed.0"] * block["feed_norm"],
                down=block["feed.3"],
            )
        )
    return blocks


def halves(width: int) -> Tensor:
    """`turned` of a rotary embedding that turns number i with number i + w / 2."""
    return torch.arange(width).view(2, -1).t().flatten()


# ---- the parts of a step


class Matrix:
    """A linear map [out, in] without bias, of fp32 numbers [n, in]."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach().t().contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        return torch.mm(x, self.weight)

    def add(self, residual: Tensor, x: Tensor) -> Tensor:
        """residual [n, out] + the map of x."""
        return torch.addmm(residual, x, self.weight)


class Int8Matrix(Matrix):
    """The same in a quarter of the bytes: whole numbers in -127..127 and a scale for each row out. Maps to bf16, whatever it is given."""

    def __init__(self, weight: Tensor) -> None:
        weight = weight.detach()
        self.scale = (weight.abs().amax(1) / 127).clamp_min(TINY).bfloat16()
        self.weight = (weight / self.scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        return torch._weight_int8pack_mm(x.bfloat16(), self.weight, self.scale)

    def add(self, residual: Tensor, x: Tensor) -> Tensor:
        return residual + torch._weight_int8pack_mm(x.bfloat16(), self.weight, self.scale)


def matrix(weight: Tensor, precision: str) -> Matrix:
    """A linear map with this weight, in int8 if that is the precision and the kernel, which does not check it, can take this width."""
    return Int8Matrix(weight) if precision == "int8" and weight.shape[1] % INT8_WIDTH == 0 else Matrix(weight)


def int8_pays() -> bool:
    """Whether this processor reads int8 weights faster than fp32 with torch's kernel: with AVX-512 it does, with AVX2 it was no faster for
    small matrices, and elsewhere there may be only a plain loop. The same answer at every start, so that a seed gives the same mesh.
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


class Memory:
    """Keys [r h, w, g] and values [r h, g, w] of one layer. What is set aside once stays, and grows if a request needs more of it.

    near_keys, near_values: the part that the present position attends to.
    """

    def __init__(self, heads: int, width: int, device: torch.device) -> None:
        self.heads, self.device = heads, device
        self.keys = torch.empty(0, width, 0, device=device)
        self.values = torch.empty(0, 0, width, device=device)
        self.near_keys, self.near_values = self.keys, self.values

    def append(self, keys: Tensor, values: Tensor, seen: slice) -> None:
        """Keys and values [r h, w] of the last of the positions `seen`, which are attended to from now on."""
        count = keys.shape[0]
        self.near_keys, self.near_values = self.keys[:count, :, seen], self.values[:count, seen]
        self.near_keys[:, :, -1] = keys
        self.near_values[:, -1] = values

    def reserve(self, rows: int, positions: int) -> None:
        """Make room; what is remembered stays."""
        taken, width, room = self.keys.shape
        if rows * self.heads <= taken and positions <= room:
            return
        rows, positions = max(rows * self.heads, taken), max(-(-positions // ROOM) * ROOM, room)
        with torch.inference_mode(False):
            keys = torch.empty(rows, width, positions, device=self.device)
            values = torch.empty(rows, positions, width, device=self.device)
        keys[:taken, :, :room], values[:taken, :room] = self.keys, self.values
        self.keys, self.values = keys, values

    def select(self, rows: Tensor, positions: int) -> None:
        """Row i becomes what row rows[i] was. positions: how many are remembered."""
        self.reserve(len(rows), positions)
        places = (rows[:, None] * self.heads + torch.arange(self.heads, device=self.device)).flatten()
        self.keys[: len(places), :, :positions] = self.keys[places, :, :positions]
        self.values[: len(places), :positions] = self.values[places, :positions]


@dataclass
class TextMemory:
    """Keys [r h, w, t] and values [r h, t, w] of a text for one layer. bias: [r h, 1, t], minus infinity where no token stands."""

    keys: Tensor
    values: Tensor
    bias: Tensor


class Layer:
    """A block: its matrices, its memory, and what it keeps of the text."""

    def __init__(self, weights: BlockWeights, precision: str) -> None:
        d, inner = weights.out.shape
        self.heads, self.width = weights.heads, inner // weights.heads
        scale = self.width**-0.5
        query, key, value = weights.qkv.detach().view(3, self.heads, self.width, d)
        turned = weights.turned.to(query.device)
        query, key = query[:, turned] * scale, key[:, turned]
        self.query = matrix(query.reshape(inner, d), precision)
        self.qkv = matrix(torch.stack([query, key, value], 1).view(3 * inner, d), precision)  # head by head
        self.out = matrix(weights.out, precision)
        self.up = matrix(weights.up * 0.5**0.5, precision)  # see `feed`
        self.down = matrix(weights.down * 0.5**0.5, precision)
        self.memory = Memory(self.heads, self.width, query.device)
        self.norm = (d,)
        self.reads_text = weights.text_query is not None
        if weights.text_query is not None and weights.text_key_value is not None and weights.text_out is not None:
            self.text_query = matrix(weights.text_query * scale, precision)
            self.text_key_value = matrix(weights.text_key_value, precision)
            self.text_out = matrix(weights.text_out, precision)

    def read(self, text: Text) -> TextMemory:
        """What the layer keeps of a text."""
        rows, tokens, _ = text.tokens.shape
        both = self.text_key_value(text.tokens.flatten(0, 1)).float().view(rows, tokens, 2, self.heads, self.width).permute(2, 0, 3, 1, 4)
        keys, values = both.reshape(2, rows * self.heads, tokens, self.width)
        bias = torch.zeros(rows, 1, 1, tokens, device=keys.device).masked_fill(~text.mask[:, None, None], -torch.inf)
        return TextMemory(keys.transpose(1, 2).contiguous(), values, bias.expand(-1, self.heads, -1, -1).reshape(-1, 1, tokens))

    # ---- one position

    def step(self, x: Tensor, turn: Tensor, seen: slice | None, text: TextMemory | None = None) -> Tensor:
        """x: [r, d]. turn: [3, w / 2] what rotary does to query, key and value.

        seen: the positions attended to, of which this one is the last and will be remembered; None for a later position of the group at
        hand, which attends to the same and is not remembered.
        """
        x = self.attend(x, turn, seen)
        if text is not None:
            h = self.text_query(torch.layer_norm(x, self.norm)).float().view(-1, 1, self.width)
            h = torch.bmm(torch.baddbmm(text.bias, h, text.keys).softmax(-1), text.values)
            x = self.text_out.add(x, h.view(x.shape[0], -1))
        return self.feed(x)

    def attend(self, x: Tensor, turn: Tensor, seen: slice | None) -> Tensor:
        h = torch.layer_norm(x, self.norm)
        memory, pairs = self.memory, self.width // 2
        if seen is None:
            h = torch.view_as_real(torch.view_as_complex(self.query(h).float().view(-1, 1, pairs, 2)) * turn[0]).flatten(2)
        else:
            h = torch.view_as_real(torch.view_as_complex(self.qkv(h).float().view(-1, 3, pairs, 2)) * turn).flatten(2)
            h, keys, values = h.unbind(1)
            memory.append(keys, values, seen)
            h = h.unsqueeze(1)
        h = torch.bmm(torch.bmm(h, memory.near_keys).softmax(-1), memory.near_values)
        return self.out.add(x, h.view(x.shape[0], -1))

    def step_group(self, x: Tensor, turn: Tensor, seen: slice) -> Tensor:
        """All positions [r, k, d] of a group, of which the first is remembered: `step` of each, in one go and without text."""
        rows, k, d = x.shape
        h = torch.layer_norm(x, self.norm)
        first = torch.view_as_complex(self.qkv(h[:, 0]).float().view(-1, 3, self.width // 2, 2)) * turn
        _, keys, values = torch.view_as_real(first).flatten(2).unbind(1)
        self.memory.append(keys, values, seen)
        query = self.query(h.flatten(0, 1)).float().view(rows, k, self.heads, -1, 2).transpose(1, 2).flatten(0, 1)
        query = torch.view_as_real(torch.view_as_complex(query) * turn[0]).flatten(2)
        h = torch.bmm(torch.bmm(query, self.memory.near_keys).softmax(-1), self.memory.near_values)
        h = h.view(rows, self.heads, k, -1).transpose(1, 2).reshape(rows * k, -1)
        return self.feed(self.out.add(x.flatten(0, 1), h)).view(rows, k, d)

    def feed(self, x: Tensor) -> Tensor:
        """x: [n, d]. GELU(u) = (t + t erf t) / sqrt 2 with t = u / sqrt 2; both roots are in the matrices."""
        h = self.up(torch.layer_norm(x, self.norm))
        return self.down.add(x, torch.addcmul(h, h, torch.erf(h)))

    # ---- all positions at once

    def read_all(self, x: Tensor, turns: Tensor, window: int | None, text: TextMemory | None) -> Tensor:
        """x: [r, g, k, d], of each group the first remembered. turns: [g, 3, w / 2]."""
        rows, length, k, d = x.shape
        h = torch.layer_norm(x, self.norm)
        first = self.qkv(h[:, :, 0].flatten(0, 1)).float().view(rows, length, self.heads, 3, -1, 2)
        query, keys, values = turn_pairs(first, turns[:, None]).permute(3, 0, 2, 1, 4)
        queries = [query]
        if k > 1:
            later = self.query(h[:, :, 1:].flatten(0, 2)).float().view(rows, length, k - 1, self.heads, -1, 2)
            queries += turn_pairs(later, turns[:, None, None, 0]).permute(2, 0, 3, 1, 4).unbind()
        count = rows * self.heads
        self.memory.keys[:count, :, :length] = keys.transpose(2, 3).flatten(0, 1)
        self.memory.values[:count, :length] = values.flatten(0, 1)
        answers = torch.stack([attend_all(query, keys, values, window) for query in queries])
        x = self.out.add(x.flatten(0, 2), rearrange(answers, "k r h g w -> (r g k) (h w)"))
        if text is not None:
            query = self.text_query(torch.layer_norm(x, self.norm)).float()
            query = rearrange(query, "(r n) (h w) -> (r h) n w", r=rows, h=self.heads)
            h = torch.bmm(torch.baddbmm(text.bias, query, text.keys).softmax(-1), text.values)
            x = self.text_out.add(x, rearrange(h, "(r h) n w -> (r n) (h w)", h=self.heads))
        return self.feed(x).view(rows, length, k, d)


def turn_pairs(x: Tensor, turns: Tensor) -> Tensor:
    """x [..., w / 2, 2], pairs turned by complex factors [..., w / 2], as [..., w]."""
    return torch.view_as_real(torch.view_as_complex(x) * turns).flatten(-2)


def attend_all(query: Tensor, keys: Tensor, values: Tensor, window: int | None) -> Tensor:
    """Causal attention [r, h, g, w] over the last `window` positions, or all; in pieces, so that memory does not grow with g squared."""
    length = query.shape[2]
    if window is None or length <= window:
        return F.scaled_dot_product_attention(query, keys, values, is_causal=True, scale=1.0)
    pieces = []
    for begin in range(0, length, window):
        end, first = min(begin + window, length), max(0, begin - window + 1)
        back = torch.arange(begin, end, device=query.device)[:, None] - torch.arange(first, end, device=query.device)
        mask = (back >= 0) & (back < window)
        near_keys, near_values = keys[:, :, first:end], values[:, :, first:end]
        pieces.append(F.scaled_dot_product_attention(query[:, :, begin:end], near_keys, near_values, attn_mask=mask, scale=1.0))
    return torch.cat(pieces, 2)


class Turns:
    """What rotary does at each position: a complex factor for every pair of numbers of a query, a key and (nothing) a value."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.frequency = 10000.0 ** (-torch.arange(0, width, 2, device=device) / width)
        self.table = torch.empty(0, 3, width // 2, device=device)

    def reach(self, positions: int) -> None:
        """Work them out for so many positions."""
        if positions <= len(self.table):
            return
        angle = torch.arange(positions, device=self.frequency.device)[:, None] * self.frequency
        turn = torch.polar(torch.ones_like(angle), angle)
        with torch.inference_mode(False):
            self.table = torch.stack([turn, turn, torch.ones_like(turn)], 1).clone()


# ---- the engine


@dataclass
class Run:
    """What one generation carries from step to step; an engine has one at a time.

    faces, vertices: remembered so far by the coarse and the fine stack. text: of each coarse layer. base: what each code of this face
    starts from [r, d], the plan and its place. vertex: embedding of what is known of this vertex [r, d]. known: the same, and what is
    known of the vertex before. turn, seen: what rotary does at this vertex, and what it attends to. corners: this face's finished vertices,
    behind the last one of the face before.
    """

    engine: Engine
    text: list[TextMemory | None]
    base: tuple[Tensor, ...]
    corners: list[Tensor]
    faces: int
    vertices: int
    vertex: Tensor = field(init=False)
    known: Tensor = field(init=False)
    turn: Tensor = field(init=False)
    seen: slice = field(init=False)

    def select(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was: rows leave, or are there several times. Between faces only."""
        for layers, length in ((self.engine.coarse, self.faces), (self.engine.fine, self.vertices)):
            for layer in layers:
                layer.memory.select(rows, length)
        heads = self.engine.coarse[0].heads
        places = (rows[:, None] * heads + torch.arange(heads, device=rows.device)).flatten()
        self.text = [text and TextMemory(text.keys[places], text.values[places], text.bias[places]) for text in self.text]
        self.base = tuple(base[rows] for base in self.base)
        self.corners = [corner[rows] for corner in self.corners]


class Engine:
    """The steps of generation over a transformer's weights, as they are now: training goes on without it.

    tokenizer: the transformer's. weights: by name, as in MeshTransformer.state_dict(), on any device. Raises ValueError if the engine does
    not know transformers of that configuration, KeyError or ValueError if the weights are not of that configuration.

    window: faces that are attended to, the present one included; None for all of them. The time of a face is then bounded, and faces
    further back are forgotten. precision: of the weights, "fp32" or "int8", or "auto" for the faster one: int8 on a CPU with AVX-512.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: TransformerConfig,
        weights: Weights,
        device: torch.device | str = "cpu",
        window: int | None = None,
        precision: str = "auto",
    ) -> None:
        if reason := self.supports(config):
            raise ValueError(f"the engine cannot run this transformer: {reason}; decode with the transformer itself")
        self.vertices_per_face, self.codes_per_vertex = tokenizer.vertices_per_face, tokenizer.codes_per_vertex
        self.codes_per_face, self.codebook_size = tokenizer.codes_per_face, tokenizer.codebook_size
        self.max_faces = config.max_seq_len // self.codes_per_face
        self.device = torch.device(device)
        self.window = config.local_attn_window_size if window is None else window
        if precision == "auto":
            precision = "int8" if self.device.type == "cpu" and int8_pays() else "fp32"
        weights = Reader(weights, self.device)
        self.coarse = [Layer(block, precision) for block in read_coarse(weights, config)]
        self.fine = [Layer(block, precision) for block in read_fine(weights, config)]
        self.coarse_turns, self.fine_turns = (Turns(layers[0].width, self.device) for layers in (self.coarse, self.fine))
        vectors = F.pad(tokenizer.code_vectors().to(self.device), (0, 0, 0, 2))
        self.table = weights["code_embedding"] + vectors @ weights["code_projection"]
        self.start_vertex, self.start_face = weights["start_vertex"], weights["start_faces"][0]
        self.places = weights["slot_embedding"].flatten(0, 1)[:, None]  # [v k, 1, d]
        self.given = weights["given_embedding.weight"]
        self.last_vertex = matrix(weights["last_vertex.weight"], precision)
        self.text_start = Matrix(weights["text_start.weight"]) if config.condition_on_text else None
        self.plan = matrix(weights["plan.weight"] * (1 + weights["coarse.attention.final_norm.gamma"]), precision)
        projection = weights["face_projection.weight"]
        self.face_projection = matrix(projection, precision)
        self.heads = [matrix(head.t() * weights["fine.norm.weight"], precision) for head in weights["head"]]
        dim, d = config.widths
        fits = projection.shape == (dim, self.vertices_per_face * d) and len(self.heads) == self.codes_per_vertex
        if not fits or weights.unread():
            raise ValueError(f"the weights are not those of a transformer of width {dim} with {config.attn_depth} layers")

    @staticmethod
    def supports(config: TransformerConfig) -> str | None:
        """None, or why a transformer of this configuration is not for the engine."""
        plain = TransformerConfig()
        names = [field.name for field in dataclasses.fields(config)]
        changed = [name for name in names if name not in KNOWN and getattr(config, name) != getattr(plain, name)]
        return f"it does not know {' and '.join(changed)}" if changed else None

    # ---- before the first new face

    def begin(self, text: Text | None, given: Tensor | None, capacity: int) -> Run:
        """As MeshTransformer.begin: memories for `capacity` faces, filled with the faces `given` [r, n, v k] in one pass.

        Ends the run before, whose memories it takes over.
        """
        rows = len(text.tokens) if text is not None else 1 if given is None else len(given)
        self.reserve(rows, capacity)
        kept, start = self.read(text), self.start(text, rows)
        if given is None or not given.shape[1]:
            plan = self.read_faces((start + self.given[0])[:, None], kept)[:, -1]
            return Run(self, kept, self.base(plan), [self.start_vertex.expand(rows, -1)], faces=1, vertices=0)
        vertices, count = self.embed(given).sum(3), given.shape[1]
        ahead = torch.cat([self.given[1].expand(count, -1), self.given[:1]])
        plan = self.read_faces(torch.cat([start[:, None], self.join(vertices)], 1) + ahead, kept)
        x = self.before(vertices) + self.places[:: self.codes_per_vertex, 0] + plan[:, :-1, None]
        self.read_vertices(x.flatten(1, 2)[:, :, None])
        return Run(self, kept, self.base(plan[:, -1]), [vertices[:, -1, -1]], faces=count + 1, vertices=count * self.vertices_per_face)

    def reserve(self, rows: int, capacity: int) -> None:
        """Room for so many rows of so many faces."""
        faces, vertices = capacity + 1, (capacity + 1) * self.vertices_per_face
        for layers, turns, positions in ((self.coarse, self.coarse_turns, faces), (self.fine, self.fine_turns, vertices)):
            turns.reach(positions)
            for layer in layers:
                layer.memory.reserve(rows, positions)

    def embed(self, codes: Tensor) -> Tensor:
        """Faces of codes [r, n, v k] as embeddings [r, n, v, k, d]."""
        symbols = to_symbols(codes, self.codes_per_vertex, self.codebook_size)
        return torch.stack([self.table[level][symbols[..., level]] for level in range(self.codes_per_vertex)], 3)

    def join(self, vertices: Tensor) -> Tensor:
        """Vertices [r, n, v, d] as faces [r, n, D]."""
        return self.face_projection(vertices.flatten(0, 1).flatten(1)).unflatten(0, vertices.shape[:2])

    def start(self, text: Text | None, rows: int) -> Tensor:
        """[r, D] what the coarse stack reads before the first face."""
        if text is None or self.text_start is None:
            return self.start_face.expand(rows, -1)
        return self.start_face + self.text_start(text.pooled())

    def read(self, text: Text | None) -> list[TextMemory | None]:
        """What each coarse layer keeps of a text."""
        return [None if text is None else layer.read(text) for layer in self.coarse]

    def read_faces(self, x: Tensor, text: list[TextMemory | None]) -> Tensor:
        """The plans [r, n, d] after the start and faces x [r, n, D]."""
        x = x[:, :, None]
        for layer, kept in zip(self.coarse, text, strict=True):
            x = layer.read_all(x, self.coarse_turns.table[: x.shape[1]], self.window, kept)
        return self.plan(torch.layer_norm(x, x.shape[-1:]).flatten(0, 2)).unflatten(0, x.shape[:2])

    def before(self, vertices: Tensor) -> Tensor:
        """What the fine stack reads of the vertex before each of the vertices [r, n, v, d]."""
        flat = vertices.flatten(1, 2)
        flat = torch.cat([self.start_vertex.expand(len(flat), 1, -1), flat[:, :-1]], 1)
        return self.last_vertex(flat.flatten(0, 1)).view(vertices.shape)

    def read_vertices(self, x: Tensor) -> Tensor:
        """[r, g, k, d] the fine stack's answer to the codes x [r, g, k, d] of all vertices, which it remembers."""
        window = None if self.window is None else self.window * self.vertices_per_face
        for layer in self.fine:
            x = layer.read_all(x, self.fine_turns.table[: x.shape[1]], window, None)
        return x

    def base(self, plan: Tensor) -> tuple[Tensor, ...]:
        """What each of the codes of a face with this plan [r, d] starts from [r, d]."""
        return (self.places + plan).unbind()

    # ---- steps

    def step_fine(self, run: Run, vertex: int, level: int) -> Tensor:
        """Logits [r, vocabulary] of code `level` of corner `vertex` of the face that is planned."""
        if level == 0:
            self.begin_vertex(run)
        x = run.base[vertex * self.codes_per_vertex + level] + run.known
        for layer in self.fine:
            x = layer.step(x, run.turn, None if level else run.seen)
        return self.heads[level](torch.layer_norm(x, self.fine[0].norm)).float()

    def step_vertex(self, run: Run, vertex: int, draft: Tensor) -> Tensor:
        """Logits [r, k, vocabulary] of all codes of a corner in one go, each as if those before it were the draft's [r, k].

        In place of the corner's first `step_fine`; from where something else is drawn than the draft, `step_fine` goes on.
        """
        k = self.codes_per_vertex
        self.begin_vertex(run)
        embeddings = [self.table[level].index_select(0, draft[:, level]) for level in range(k - 1)]
        x = torch.stack([run.known, *embeddings], 1).cumsum(1) + torch.stack(run.base[vertex * k : (vertex + 1) * k], 1)
        for layer in self.fine:
            x = layer.step_group(x, run.turn, run.seen)
        x = torch.layer_norm(x, self.fine[0].norm)
        return torch.stack([head(x[:, level]).float() for level, head in enumerate(self.heads)], 1)

    def begin_vertex(self, run: Run) -> None:
        run.known = self.last_vertex(run.corners[-1])
        run.vertices += 1
        run.turn = self.fine_turns.table[run.vertices - 1]
        run.seen = self.seen(run.vertices, self.vertices_per_face)

    def seen(self, length: int, of_a_face: int) -> slice:
        """The positions that the last of `length` attends to. of_a_face: how many positions a face has."""
        return slice(0 if self.window is None else max(0, length - self.window * of_a_face), length)

    def take(self, run: Run, level: int, symbols: Tensor) -> None:
        """Take the symbols [r] drawn for that level of the present corner."""
        embedding = self.table[level].index_select(0, symbols)
        run.known = run.known + embedding
        run.vertex = run.vertex + embedding if level else embedding
        if level == self.codes_per_vertex - 1:
            run.corners.append(run.vertex)

    def finish_face(self, run: Run, symbols: Tensor) -> None:
        """The face that was taken is complete: plan the next one. symbols: [r, v, k], which a run knows already."""
        x = self.face_projection(torch.cat(run.corners[1:], 1)) + self.given[0]
        turn, seen = self.coarse_turns.table[run.faces], self.seen(run.faces + 1, 1)
        run.faces += 1
        for layer, text in zip(self.coarse, run.text, strict=True):
            x = layer.step(x, turn, seen, text)
        run.base = self.base(self.plan(torch.layer_norm(x, x.shape[-1:])))
        run.corners = run.corners[-1:]

    # ---- a whole mesh at once

    def nats(self, codes: Tensor, text: Text | None, given: Tensor) -> Tensor:
        """[r, n + 1] as MeshTransformer.nats: what every face and the end cost. Ends the run before."""
        rows, count = codes.shape[:2]
        self.reserve(rows, count)
        embedded = self.embed(codes)
        vertices = embedded.sum(3)
        ahead = self.given[(torch.arange(count + 1, device=self.device) < given[:, None]).long()]
        plan = self.read_faces(torch.cat([self.start(text, rows)[:, None], self.join(vertices)], 1) + ahead, self.read(text))
        embedded = F.pad(embedded, (0, 0, 0, 0, 0, 0, 0, 1))
        x = embedded.cumsum(3) - embedded + self.before(F.pad(vertices, (0, 0, 0, 0, 0, 1)))[:, :, :, None]
        x = self.read_vertices((x + self.places.view(x.shape[2:]) + plan[:, :, None, None]).flatten(1, 2))
        x, wanted = torch.layer_norm(x, x.shape[-1:]), to_targets(codes, self.codes_per_vertex, self.codebook_size).flatten(0, 2)
        logits = [head(x[:, :, level].flatten(0, 1)).float() for level, head in enumerate(self.heads)]
        nats = [F.cross_entropy(logit, wanted[:, level], ignore_index=IGNORE, reduction="none") for level, logit in enumerate(logits)]
        return torch.stack(nats).sum(0).view(rows, count + 1, -1).sum(-1)
