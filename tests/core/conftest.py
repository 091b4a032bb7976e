"""A checkpoint small enough to make in a test: real parts, untrained weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.checkpoint import save_checkpoint
from core.conditioning import TextConfig
from core.discretizer import MeshDiscretizer
from core.model import ModelConfig, TextToMesh
from core.transformer import TransformerConfig

TEXT = TextConfig(width=16, layers=1, heads=2)
SMALL = ModelConfig(
    TransformerConfig(
        codes_per_vertex=3,
        codebook_size=17,
        code_width=32,
        dim=32,
        depth=1,
        heads=2,
        fine_dim=24,
        fine_depth=1,
        fine_heads=2,
        text_width=16,
        max_faces=40,
    ),
    TEXT,
)
FACTS = {
    "name": "small",
    "tokenizer": "discretizer",
    "levels": 17,
    "domain": ["chair", "table"],
    "nouns": ["chair", "seat", "table"],
    "sampling": {"temperature": 0.9, "min_p": 0.01, "guidance_scale": 1.5},
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole, untrained checkpoint."""
    torch.manual_seed(0)
    model = TextToMesh(SMALL, MeshDiscretizer(17).code_vectors())
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, SMALL.describe() | FACTS, model.state_dict(), torch.float16)
    return folder
