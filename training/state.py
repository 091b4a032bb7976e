"""The state of a run on disk: weights, their average, both optimisers' moments and where the run stands. Safetensors and JSON."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def save_state(
    folder: Path, model: nn.Module, average: dict[str, Tensor], optimizers: Sequence[torch.optim.Optimizer], progress: dict[str, float]
) -> None:
    """Write everything beside `folder`, then put it in its place, so that a run killed while saving keeps the state before."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, fresh / "model.safetensors")
    save_file({name: value.contiguous() for name, value in average.items()}, fresh / "average.safetensors")
    for number, optimizer in enumerate(optimizers):
        moments = {f"{i}.{name}": value for i, entry in optimizer.state_dict()["state"].items() for name, value in entry.items()}
        save_file(moments, fresh / f"optimizer-{number}.safetensors")
    (fresh / "progress.json").write_text(json.dumps(progress))
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def load_state(
    folder: Path, model: nn.Module, average: dict[str, Tensor], optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, float]:
    """Put a saved state into the arguments and return where the run stands; zeros if there is none in `folder`."""
    if not (folder / "progress.json").is_file():
        return {"step": 0, "faces": 0, "elapsed": 0.0}
    model.load_state_dict(load_file(folder / "model.safetensors"))
    for name, value in load_file(folder / "average.safetensors").items():
        average[name].copy_(value)
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in load_file(folder / f"optimizer-{number}.safetensors").items():
            index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    progress: dict[str, float] = json.loads((folder / "progress.json").read_text())
    return progress
