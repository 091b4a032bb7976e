"""TextToMesh: the weights of a checkpoint in one module, the text tower and the transformer that reads it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from core.conditioning import TextConfig, TextTower
from core.transformer import MeshTransformer, TransformerConfig


@dataclass(frozen=True)
class ModelConfig:
    transformer: TransformerConfig
    text: TextConfig

    def describe(self) -> dict[str, Any]:
        """Plain values, as config.json holds them."""
        return {"model": TextToMesh.__name__, **asdict(self)}

    @classmethod
    def read(cls, facts: dict[str, Any]) -> ModelConfig:
        """From what `describe` wrote. Raises TypeError or KeyError for anything else."""
        return cls(TransformerConfig(**facts["transformer"]), TextConfig(**facts["text"]))


class TextToMesh(nn.Module):
    """What is trained: token ids and codes in, nats a face out."""

    def __init__(self, config: ModelConfig, code_vectors: Tensor) -> None:
        super().__init__()
        self.text = TextTower(config.text)
        self.transformer = MeshTransformer(config.transformer, code_vectors)

    def forward(self, codes: Tensor, ids: Tensor, given: Tensor) -> Tensor:
        """[b, n + 1] nats of every face and of the end; arguments as in MeshTransformer.forward and TextTower.forward."""
        losses: Tensor = self.transformer(codes, self.text(ids), given)
        return losses
