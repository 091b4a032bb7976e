"""Checkpoints: a folder with `config.json` and `model-0000N.safetensors` shards of at most 15 MB. No pickle.

config.json says what the model is (`model`, `config` and, for a transformer, `tokenizer`), the shards' names and SHA-256 sums, and whatever
the trainer says of the model (its domain, its data, its sampling defaults). Every byte is checked before a weight is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from core.errors import MeshGPTError

FORMAT = 2
SHARD_BYTES = 15_000_000
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def save_checkpoint(folder: Path, facts: Mapping[str, Any], weights: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> None:
    """Write a checkpoint. facts: plain values for config.json. weights: a module's state_dict(). dtype: of floating point weights on
    disk; None keeps theirs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("model-*.safetensors"):
        old.unlink()
    stored = {name: as_stored(weight, dtype) for name, weight in weights.items()}
    shards = []
    for number, names in enumerate(shard_names(stored), 1):
        content = save({name: stored[name] for name in names})
        path = folder / f"model-{number:05d}.safetensors"
        path.write_bytes(content)
        shards.append({"file": path.name, "sha256": hashlib.sha256(content).hexdigest()})
    text = json.dumps({"format": FORMAT, **facts, "shards": shards}, indent=1)
    (folder / "config.json").write_text(text + "\n")


def as_stored(weight: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A copy, for tensors that share their memory cannot be saved."""
    kept = weight.dtype if dtype is None or not weight.is_floating_point() else dtype
    return weight.detach().to("cpu", kept, copy=True).contiguous()


def shard_names(weights: Mapping[str, Tensor]) -> list[list[str]]:
    """The names of the weights, in as many lists as shards are needed to keep each under SHARD_BYTES, unless one alone is larger."""
    shards: list[list[str]] = [[]]
    room = SHARD_BYTES
    for name, weight in weights.items():
        size = weight.numel() * weight.element_size()
        if size > room and shards[-1]:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(name)
        room -= size
    return shards


def locate(source: str | Path) -> Path:
    """The folder of a checkpoint: the folder itself, or the local copy of the Hub repository "owner/name", downloaded if need be.

    Raises MeshGPTError (bad_checkpoint) if there is no such repository or it cannot be reached.
    """
    folder = Path(source)
    if folder.exists() or not HUB_NAME.fullmatch(str(source)):
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), allow_patterns=["*.json", "*.safetensors", "*.md"]))
    except Exception as error:  # the network, the Hub and its cache each fail in their own way
        raise bad_checkpoint(
            f"there is no folder {source}, and no such model could be fetched from the Hub ({type(error).__name__})",
            "name a folder that holds a checkpoint, or a Hub repository",
        ) from error


def read_config(folder: Path, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """All of config.json, in which `needed` must be named.

    Raises MeshGPTError (bad_checkpoint) if the folder is no checkpoint, or one of another format.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise bad_checkpoint(f"there is no model in {folder} (config.json is missing)", "name a folder that holds a checkpoint")
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
        if facts["format"] != FORMAT:
            raise bad_checkpoint(
                f"{folder} is a checkpoint of format {facts['format']}, this version reads {FORMAT}", "use the version it was made with"
            )
        if missing := [name for name in ("model", "shards", *needed) if name not in facts]:
            raise bad_checkpoint(f"{path} is damaged (it lacks {', '.join(missing)})", "copy or download the model again")
        return facts
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise bad_checkpoint(f"{path} is damaged ({error})", "copy or download the model again") from error


def read_weights(folder: Path, shards: list[dict[str, str]]) -> dict[str, Tensor]:
    """All weights by name, the floating point ones in single precision.

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
        weights |= {name: weight.float() if weight.is_floating_point() else weight for name, weight in load(content).items()}
    return weights


def bad_checkpoint(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_checkpoint")
