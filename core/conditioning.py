"""Text as the transformer sees it: a tower that turns prompts into token embeddings, and the arithmetic of guidance.

The tower is OpenCLIP's text transformer over OpenCLIP's byte-pair tokenizer, small and trained with the rest, so that nothing is
downloaded. An absent condition is the empty prompt.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


@cache
def open_clip() -> Any:
    """The open_clip package, imported on first use: it takes seconds.

    Beside a torch without CUDA its torchvision fails to import for want of two operators that text never calls; then they are declared.
    """
    try:
        return importlib.import_module("open_clip")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        module: Any = importlib.import_module("open_clip")
        module.declared_operators = library  # they vanish with the object that declared them
        return module


@dataclass(frozen=True)
class TextConfig:
    """width: of a token embedding. layers, heads: of the tower. context: longest prompt in tokens; the rest is cut off."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    context: int = 32
    vocabulary: int = 49408


@dataclass(frozen=True)
class Text:
    """Prompts as the transformer reads them. tokens: [b, t, width]. mask: [b, t], True where a token stands."""

    tokens: Tensor
    mask: Tensor


class TextTower(nn.Module):
    """Token ids [b, t] to Text."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = open_clip().transformer.TextTransformer(
            context_length=config.context,
            vocab_size=config.vocabulary,
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            output_dim=None,
            proj_type="none",
            output_tokens=True,
        )

    def forward(self, ids: Tensor) -> Text:
        """ids: [b, context]. The Text is as long as the longest of the prompts."""
        _, tokens = self.transformer(ids)
        ends = ids.argmax(1, keepdim=True)  # the end token has the highest id
        longest = int(ends.max()) + 1
        return Text(tokens[:, :longest], torch.arange(longest, device=ids.device) <= ends)


def tokenize(texts: list[str], context: int) -> Tensor:
    """Token ids [texts, context], padded with zeros; what does not fit is cut off."""
    ids: Tensor = byte_pairs(context)(texts)
    return ids


@cache
def byte_pairs(context: int) -> Any:
    """OpenCLIP's tokenizer: reading its vocabulary takes a tenth of a second."""
    return open_clip().tokenizer.SimpleTokenizer(context_length=context)


def guide(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022): logits [2 b, ...], first with the text, then without, to [b, ...].

    scale: 1 leaves the text's own logits; above 1 moves further from those without text.
    """
    given, null = logits.chunk(2)
    return null + scale * (given - null)
