"""The state of a training run: averaged weights, and everything on disk that a run needs to go on as if it had never stopped.

Safetensors and JSON, no pickle. core.trainer and the training scripts use the same functions.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.errors import MeshGPTError


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], model: nn.Module, decay: float) -> None:
    """Move the average, some or all of the model's state by name, towards the present weights; what is counted, not weighed, is copied."""
    weights = model.state_dict()
    for name, value in average.items():
        value.lerp_(weights[name], 1 - decay) if value.is_floating_point() else value.copy_(weights[name])


def save_state(
    folder: Path,
    model: nn.Module,
    average: Mapping[str, Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    progress: Mapping[str, Any],
) -> None:
    """Write everything beside `folder`, then put it in its place, so that a run killed while saving keeps the state before.

    progress: where the run stands, plain values for JSON.
    """
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(apart(model.state_dict()), fresh / "model.safetensors")
    save_file(apart(average), fresh / "average.safetensors")
    for number, optimizer in enumerate(optimizers):
        moments = {f"{i}.{name}": value for i, entry in optimizer.state_dict()["state"].items() for name, value in entry.items()}
        save_file(apart(moments), fresh / f"optimizer-{number}.safetensors")
    (fresh / "progress.json").write_text(json.dumps(progress))
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def load_state(
    folder: Path, model: nn.Module, average: Mapping[str, Tensor], optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any]:
    """Put a saved state into the arguments and return where the run stands; zeros if there is none in `folder`.

    Raises MeshGPTError (bad_checkpoint) if the state is damaged, or that of another model; the arguments may then be half changed.
    """
    old = folder.with_name(folder.name + ".old")
    if old.exists() and not folder.exists():  # killed between the two moves of save_state
        os.replace(old, folder)
    if not (folder / "progress.json").is_file():
        return {"step": 0, "faces": 0, "elapsed": 0.0}
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
        for name, value in load_file(folder / "average.safetensors").items():
            average[name].copy_(value)
        for number, optimizer in enumerate(optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in load_file(folder / f"optimizer-{number}.safetensors").items():
                index, name = key.split(".")
                state.setdefault(int(index), {})[name] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        progress: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
        reason = f"the state in {folder} is damaged or of another model ({error})"
        raise MeshGPTError(reason[:600], hint="make the model with the same settings, or train anew", code="bad_checkpoint") from error
    return progress


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in main memory. Tensors of two names, such as those of a shared codebook, become two, for safetensors wants them apart."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
