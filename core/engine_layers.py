"""The parts of the engine's steps: matrices, memories, and the layers over them, without anything that can be spared.

Letters: r rows, h heads, w width of a head, d width, g positions in sequence, t text tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from core.conditioning import Text
from core.engine_weights import BlockWeights

ROOM = 64  # memories grow by this many positions at a time
PIECE = 256  # positions that look back over a window at once: more take more memory, and look at more that they may not see
TINY = 1e-12  # the least scale of a row of int8 weights
AT_ONCE = 2048  # rows of x that feed-forward widens at once: of a long mesh that would take more memory than all else
WHOLE = 512  # rows of x from which on a pass is a whole one: no step has as many
INT8_WIDTH = 32  # a row of int8 weights has a multiple of this many numbers


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
    """The same in a quarter of the bytes: whole numbers in -127..127 and a scale for each row out. Maps to bf16, whatever it is given.

    Steps, which read more than they calculate, take the kernel that reads the fewest bytes, and whole passes the one that calculates
    fastest. The weights are the same: -127..127 are exact in bf16.
    """

    def __init__(self, weight: Tensor) -> None:
        weight = weight.detach()
        self.scale = (weight.abs().amax(1) / 127).clamp_min(TINY).bfloat16()
        self.weight = (weight / self.scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) >= WHOLE:
            return torch.mm(x.bfloat16(), self.weight.bfloat16().t()).mul_(self.scale)
        return torch._weight_int8pack_mm(x.bfloat16(), self.weight, self.scale)

    def add(self, residual: Tensor, x: Tensor) -> Tensor:
        return residual + self(x)


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
        if len(x) > AT_ONCE:
            return torch.cat([self.feed(piece) for piece in x.chunk(-(-len(x) // AT_ONCE))])
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
    for begin in range(0, length, PIECE):
        end, first = min(begin + PIECE, length), max(0, begin - window + 1)
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
