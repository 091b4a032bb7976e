"""What a model that can be saved and shared has: one dataclass of options, and a checkpoint folder or a Hub repository to live in."""

from __future__ import annotations

import difflib
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from core.checkpoint import bad_checkpoint, locate, read_config, read_weights, save_checkpoint

Config = TypeVar("Config")


def configure(kind: type[Config], config: Config | None, options: dict[str, Any]) -> Config:
    """The configuration that a constructor was given: the dataclass itself, or its fields as keywords.

    Raises ValueError if both are given, or for a keyword that is no field, naming the nearest ones.
    """
    if config is not None:
        if options:
            raise ValueError(f"both a {kind.__name__} and {', '.join(options)} are given; put all options into one of them")
        return config
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names) or sorted(names)
            raise ValueError(f"{kind.__name__} has no option {name!r}; did you mean {' or '.join(near)}?")
    return kind(**options)


class Pretrained:
    """Mixed into a module that has a `config` dataclass: to a folder and back, and to the Hugging Face Hub."""

    config: Any

    def describe(self) -> dict[str, Any]:
        """Plain values from which `build` makes the same module, without its weights."""
        return {"model": type(self).__name__, "config": asdict(self.config)}

    @classmethod
    def build(cls, facts: dict[str, Any]) -> Self:
        """The module that `describe` described. Raises TypeError or ValueError for values that are not its own."""
        return cls(**facts["config"])

    def save_pretrained(self, folder: str | Path, *, facts: dict[str, Any] | None = None, dtype: torch.dtype | None = None) -> None:
        """Write config.json and safetensors shards. facts: more plain values for config.json. dtype: that of floating point weights
        on disk; None keeps theirs.
        """
        weights: dict[str, Tensor] = self.state_dict()  # type: ignore[attr-defined]
        save_checkpoint(Path(folder), self.describe() | (facts or {}), weights, dtype)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Self:
        """The module saved in a folder, or in a Hub repository "owner/name", which is downloaded; in evaluation mode.

        Raises MeshGPTError (bad_checkpoint) if it is missing, damaged, or holds another kind of model.
        """
        folder = locate(source)
        facts = read_config(folder)
        if (found := facts["model"]) != cls.__name__:
            raise bad_checkpoint(f"{folder} holds a {found}, not a {cls.__name__}", f"use {found}.from_pretrained")
        try:
            model = cls.build(facts)
            model.load_state_dict(read_weights(folder, facts["shards"]))  # type: ignore[attr-defined]
        except (KeyError, TypeError, RuntimeError) as error:
            raise bad_checkpoint(f"the weights in {folder} do not fit its config.json", "copy or download the model again") from error
        model.eval()  # type: ignore[attr-defined]
        return model

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Save into the Hub repository "owner/name", made if it is not there; returns its address. Needs huggingface_hub and a login."""
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        address = str(api.create_repo(repo_id, private=private, exist_ok=True))
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=f"Save a {type(self).__name__}")
        return address
