"""Captions as the transformer takes them in training: embeddings that no training changes are worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from core.transformer import MeshTransformer

MOST = 20_000  # embeddings that are kept: half a gigabyte of a large tower's


class Prompts:
    """Captions of a batch to the text arguments of MeshTransformer.forward.

    Where all towers are frozen, as OpenCLIP's are, these are embeddings, each worked out when it is first needed; else the captions.
    """

    def __init__(self, model: MeshTransformer) -> None:
        self.model = model
        towers = [] if model.text is None else [*model.text.towers, *model.text.same_width]
        self.frozen = not any(weight.requires_grad for tower in towers for weight in tower.parameters())
        self.known: dict[str, Tensor] = {}

    def __call__(self, captions: Sequence[str]) -> dict[str, Any]:
        if self.model.text is None:
            return {}
        if not self.frozen:
            return {"texts": captions}
        if len(self.known) > MOST:
            self.known.clear()
        if missing := [caption for caption in dict.fromkeys(captions) if caption not in self.known]:
            for caption, tokens in zip(missing, self.model.embed_texts(missing), strict=True):
                self.known[caption] = tokens[(tokens != 0).any(-1)]
        return {"text_embeds": pad_sequence([self.known[caption] for caption in captions], batch_first=True)}
