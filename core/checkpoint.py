"""Checkpoints: a folder with `config.json` and half-precision `model-0000N.safetensors` shards of at most 15 MB. No pickle.

config.json holds the model's configuration, the shards' names and SHA-256 sums, and whatever the trainer says of the model (its domain,
its data, its sampling defaults). Every byte is checked before a weight is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from core.conditioning import TextConfig
from core.errors import MeshGPTError
from core.model import ModelConfig
from core.transformer import TransformerConfig

FORMAT = 1
FACTS = ("name", "tokenizer", "levels", "domain", "nouns", "shards")  # what config.json must say beside the sizes
SHARD_BYTES = 15_000_000


def save_checkpoint(folder: Path, config: ModelConfig, weights: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a checkpoint. weights: by name as in TextToMesh.state_dict(). facts: plain values about the model, kept as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("model-*.safetensors"):
        old.unlink()
    shards = []
    for number, names in enumerate(shard_names(weights), 1):
        content = save({name: weights[name].detach().to("cpu", torch.float16).contiguous() for name in names})
        path = folder / f"model-{number:05d}.safetensors"
        path.write_bytes(content)
        shards.append({"file": path.name, "sha256": hashlib.sha256(content).hexdigest()})
    text = json.dumps({"format": FORMAT, **dataclasses.asdict(config), "shards": shards, **facts}, indent=1)
    (folder / "config.json").write_text(text + "\n")


def shard_names(weights: dict[str, Tensor]) -> list[list[str]]:
    """The names of the weights, in as many lists as shards are needed to keep each under SHARD_BYTES in half precision."""
    shards: list[list[str]] = [[]]
    room = SHARD_BYTES
    for name, weight in weights.items():
        size = 2 * weight.numel()
        if size > room and shards[-1]:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(name)
        room -= size
    return shards


def read_config(folder: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The model's configuration and all of config.json.

    Raises MeshGPTError (bad_checkpoint) if the folder is no checkpoint, or one of a later format.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise bad_checkpoint(f"there is no model in {folder} (config.json is missing)", "name a folder that holds a checkpoint")
    try:
        facts = json.loads(path.read_text())
        if facts["format"] != FORMAT:
            raise bad_checkpoint(
                f"{folder} is a checkpoint of format {facts['format']}, this version reads {FORMAT}", "use the version it was made with"
            )
        if missing := [name for name in FACTS if name not in facts]:
            raise bad_checkpoint(f"{path} is damaged (it lacks {', '.join(missing)})", "copy or download the model again")
        return ModelConfig(TransformerConfig(**facts["transformer"]), TextConfig(**facts["text"])), facts
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise bad_checkpoint(f"{path} is damaged ({error})", "copy or download the model again") from error


def read_weights(folder: Path, shards: list[dict[str, str]]) -> dict[str, Tensor]:
    """All weights, in single precision, by name.

    Raises MeshGPTError (bad_checkpoint) if a shard is missing or differs by a byte from what was saved.
    """
    weights: dict[str, Tensor] = {}
    for shard in shards:
        path = folder / shard["file"]
        if not path.is_file():
            raise bad_checkpoint(f"the model file {path} is missing", "copy or download the model again")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != shard["sha256"]:
            raise bad_checkpoint(f"the model file {path} is damaged (its checksum differs)", "copy or download the model again")
        weights |= {name: weight.float() for name, weight in load(content).items()}
    return weights


def bad_checkpoint(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_checkpoint")
