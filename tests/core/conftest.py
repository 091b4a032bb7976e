"""A checkpoint small enough to make in a test: real parts, untrained weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.discretizer import MeshDiscretizer
from core.transformer import MeshTransformer
from core.transformer_config import TransformerConfig

SMALL = TransformerConfig(
    dim=(32, 24),
    max_seq_len=40 * 12,
    attn_depth=1,
    attn_dim_head=16,
    attn_heads=2,
    fine_attn_depth=1,
    fine_attn_dim_head=12,
    fine_attn_heads=2,
    condition_on_text=True,
    text_condition_model_kwargs=({"width": 16, "layers": 1, "heads": 2},),
)
FACTS = {
    "name": "small",
    "domain": ["chair", "table"],
    "nouns": ["chair", "seat", "table"],
    "sampling": {"temperature": 0.9, "min_p": 0.01, "guidance_scale": 1.5},
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole, untrained checkpoint."""
    return untrained(tmp_path_factory.mktemp("checkpoint"), SMALL)


@pytest.fixture(scope="session")
def knowing_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another, of a model that knows properties."""
    return untrained(tmp_path_factory.mktemp("knowing"), replace(SMALL, condition_on_properties=True))


def untrained(folder: Path, config: TransformerConfig) -> Path:
    """Write a checkpoint of weights that are random everywhere."""
    torch.manual_seed(0)
    model = MeshTransformer(MeshDiscretizer(17), config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder, facts=FACTS, dtype=torch.float16)
    return folder
