"""A transformer's weights, by the names that MeshTransformer gives them, as the engine's layers take them."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.transformer_config import TransformerConfig

FINE_NAMES = ("attention_norm", "attention.query", "attention.key_value", "attention.out", "feed_norm", "feed.0", "feed.3")
Weights = Mapping[str, Tensor]  # by name, as in MeshTransformer.state_dict()


class Reader(UserDict[str, Tensor]):
    """A transformer's own weights on a device, which notes what of them is read: what is left over belongs to another configuration."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        own = [name for name in weights if not name.startswith(("text.", "tokenizer."))]
        super().__init__({name: weights[name].detach().to(device) for name in own})
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return super().__getitem__(name)

    def numbers(self) -> int:
        """How many numbers all of them are."""
        return sum(weight.numel() for weight in self.data.values())

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
