"""What a captured face is made of: an engine's weights as one reads them, what the stacks remember, and the steps of a layer.

Everything stays where it is and has its full size from the beginning, so that a CUDA graph can be recorded over it; see core.captured.

Letters: b rows of all branches, h heads, w width of a head, d width, g positions in sequence, t text tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.engine import Engine
from core.engine_layers import Int8Matrix, Layer, Matrix, TextMemory

CLOSED = -1e30  # what is added to the logits of places that nothing is remembered at
SPARE = 8  # numbers behind each key and query, of which the first adds CLOSED or nothing; eight keep rows aligned


# ---- weights


class Block:
    """A layer's matrices [in, out], the engine's own where they can stay as they are."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        self.heads, self.width, self.norm = layer.heads, layer.width, layer.norm
        self.query, self.qkv, self.out = (plain(matrix).to(dtype) for matrix in (layer.query, layer.qkv, layer.out))
        self.up, self.down = ((plain(matrix) * 2**0.5).to(dtype) for matrix in (layer.up, layer.down))  # GELU is one operation here
        self.reads_text = layer.reads_text
        if layer.reads_text:
            self.text_query, self.text_out = plain(layer.text_query).to(dtype), plain(layer.text_out).to(dtype)


class Weights:
    """An engine's weights as a face reads them. dtype: of the matrices."""

    def __init__(self, engine: Engine, dtype: torch.dtype) -> None:
        self.engine, self.dtype = engine, dtype
        self.coarse = [Block(layer, dtype) for layer in engine.coarse]
        self.fine = [Block(layer, dtype) for layer in engine.fine]
        self.last_vertex, self.plan = plain(engine.last_vertex).to(dtype), plain(engine.plan).to(dtype)
        self.face_projection = plain(engine.face_projection).to(dtype)
        self.heads = [plain(head).to(dtype) for head in engine.heads]


def plain(matrix: Matrix) -> Tensor:
    """Raises ValueError if it is in int8."""
    if isinstance(matrix, Int8Matrix):
        raise ValueError('the engine has int8 weights; make it with precision="fp32" for a GPU')
    return matrix.weight


# ---- memory


class Memories:
    """What one stack remembers, and where a query meets it.

    blocks: its layers. length: positions that can be attended to. ring: whether there may be more, of which the last are kept.
    layers: of each [b h, g, 2, w + SPARE], keys and values side by side. A query has a one where a key has CLOSED or, once something is
    remembered there, zero: so no mask is needed.
    """

    def __init__(self, blocks: list[Block], batch: int, length: int, ring: bool, turns: Tensor) -> None:
        self.blocks, self.length, self.ring, self.turns = blocks, length, ring, turns
        self.heads, self.width = blocks[0].heads, blocks[0].width
        shape = batch * self.heads, length, 2, self.width + SPARE
        self.layers = [torch.zeros(shape, device=turns.device) for _ in blocks]
        self.turned = torch.zeros(batch * self.heads, 3, self.width + SPARE, device=turns.device)  # query, key and value of this position
        self.turned[:, 0, self.width] = 1
        pairs = self.turned[..., : self.width].unflatten(-1, (-1, 2))
        self.turned_pairs = torch.view_as_complex(pairs)
        self.position = torch.zeros(1, dtype=torch.long, device=turns.device)
        self.turn, self.slot = self.turns[:1], self.position  # of the present position, and where it is remembered

    def load(self, layers: list[Layer], source: Tensor, count: int) -> None:
        """Take over what the engine remembers of `count` positions, in row i that of its row source[i]."""
        heads = (source[:, None] * self.heads + torch.arange(self.heads, device=source.device)).flatten()
        kept = torch.arange(max(0, count - self.length), count, device=source.device)
        for memory, layer in zip(self.layers, layers, strict=True):
            memory[:, :, 0, self.width] = CLOSED
            places = kept % self.length
            memory[:, places, 0, self.width] = 0
            memory[:, places, 0, : self.width] = layer.memory.keys[heads][:, :, kept].transpose(1, 2)
            memory[:, places, 1, : self.width] = layer.memory.values[heads][:, kept]
        self.position.fill_(count - 1)

    def advance(self) -> None:
        """Go to the next position, whose key and value the next `attend` remembers."""
        self.position.add_(1)
        self.turn = self.turns.index_select(0, self.position)
        if self.ring:
            self.slot = self.position.remainder(self.length)

    def attend(self, layer: int, x: Tensor, length: int, remember: bool) -> None:
        """Add to x [b, d] what its attention to the first `length` places finds; before that, remember it, or only ask."""
        block, memory = self.blocks[layer], self.layers[layer]
        h, parts = torch.layer_norm(x, block.norm), 3 if remember else 1
        pairs = torch.mm(h, block.qkv if remember else block.query).float().view(-1, parts, self.width // 2, 2)
        torch.mul(torch.view_as_complex(pairs), self.turn[:, :parts], out=self.turned_pairs[:, :parts])
        if remember:
            memory.index_copy_(1, self.slot, self.turned[:, None, 1:])
        near = memory[:, :length]
        logits = torch.bmm(self.turned[:, :1], near[:, :, 0].transpose(1, 2))
        h = torch.bmm(logits.softmax(-1), near[:, :, 1, : self.width])
        x.addmm_(h.view(len(x), -1).to(x.dtype), block.out)


class Texts:
    """What one coarse layer keeps of the texts of b rows, in room for t tokens."""

    def __init__(self, block: Block, batch: int, tokens: int, device: torch.device) -> None:
        self.block = block
        self.keys = torch.zeros(batch * block.heads, block.width, tokens, device=device)
        self.values = torch.zeros(batch * block.heads, tokens, block.width, device=device)
        self.bias = torch.zeros(batch * block.heads, 1, tokens, device=device)

    def load(self, text: TextMemory, source: Tensor) -> None:
        """Row i is to read what is said to row source[i]."""
        heads = (source[:, None] * self.block.heads + torch.arange(self.block.heads, device=source.device)).flatten()
        tokens = text.bias.shape[2]
        self.bias.fill_(CLOSED)
        self.bias[..., :tokens] = text.bias[heads].clamp_min(CLOSED)
        self.keys[..., :tokens], self.values[:, :tokens] = text.keys[heads], text.values[heads]

    def attend(self, x: Tensor) -> None:
        block = self.block
        h = torch.mm(torch.layer_norm(x, block.norm), block.text_query).float().view(-1, 1, block.width)
        h = torch.bmm(torch.baddbmm(self.bias, h, self.keys).softmax(-1), self.values)
        x.addmm_(h.view(len(x), -1).to(x.dtype), block.text_out)


def feed(x: Tensor, block: Block) -> None:
    x.addmm_(torch.nn.functional.gelu(torch.mm(torch.layer_norm(x, block.norm), block.up)), block.down)
