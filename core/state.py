"""The state of a training run: averaged weights, and everything on disk that a run needs to go on as if it had never stopped.

Safetensors and JSON, no pickle. core.trainer and the training scripts use the same functions. Weights may be shared out over processes
(torch's DTensor); what is on disk is always whole, so that a run goes on with any number of processes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

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
    writes: bool = True,
) -> None:
    """Write everything beside `folder`, then put it in its place, so that a run killed while saving keeps the state before.

    progress: where the run stands, plain values for JSON. writes: whether this process is the one that does; the others need to call it
    only if weights are shared out.
    """
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    if writes:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
    for name, tensors in state_files(model, average, optimizers):
        copies = gathered(tensors, writes)
        if writes:
            save_file(copies, fresh / f"{name}.safetensors")
    if not writes:
        return
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

    Every process calls it, and none may save before all have. Raises MeshGPTError (bad_checkpoint) if the state is damaged, or that of
    another model; the arguments may then be half changed.
    """
    old = folder.with_name(folder.name + ".old")
    if old.exists() and not folder.exists():  # killed between the two moves of save_state
        with suppress(FileNotFoundError):  # another process was quicker
            os.replace(old, folder)
    if not (folder / "progress.json").is_file():
        return {"step": 0, "faces": 0, "elapsed": 0.0}
    try:
        model.load_state_dict(shared_out(load_file(folder / "model.safetensors"), model.state_dict()))
        for name, value in shared_out(load_file(folder / "average.safetensors"), average).items():
            average[name].copy_(value)
        for number, optimizer in enumerate(optimizers):
            load_moments(optimizer, load_file(folder / f"optimizer-{number}.safetensors"))
        progress: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
        reason = f"the state in {folder} is damaged or of another model ({error})"
        raise MeshGPTError(reason[:600], hint="make the model with the same settings, or train anew", code="bad_checkpoint") from error
    return progress


def state_files(
    model: nn.Module, average: Mapping[str, Tensor], optimizers: Sequence[torch.optim.Optimizer]
) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """The tensors of a run, by the names of the files that hold them."""
    yield "model", model.state_dict()
    yield "average", average
    for number, optimizer in enumerate(optimizers):
        entries = optimizer.state_dict()["state"].items()
        yield f"optimizer-{number}", {f"{i}.{name}": value for i, entry in entries for name, value in entry.items()}


def load_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    """Put what `state_files` gave of an optimiser into one over the same weights."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in saved.items():
        index, name = key.split(".")
        weight = weights[int(index)]
        state.setdefault(int(index), {})[name] = shared_out_as(weight, value) if value.shape == weight.shape else value  # or a step
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def gathered(tensors: Mapping[str, Tensor], kept: bool = True) -> dict[str, Tensor]:
    """Copies of whole tensors in main memory; every process calls it, and those that do not keep them get none.

    Tensors of two names, such as those of a shared codebook, become two, for safetensors wants them apart.
    """
    copies = {}
    for name, value in tensors.items():
        entire = whole(value)
        if kept:
            copies[name] = entire.detach().to("cpu", copy=True).contiguous()
    return copies


def whole(value: Tensor) -> Tensor:
    """The tensor itself, or put together if it is shared out, for which every process calls it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def shared_out(values: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole tensors, shared out over processes where those of the same name are."""
    return {name: shared_out_as(like.get(name), value) for name, value in values.items()}


def shared_out_as(like: Tensor | None, value: Tensor) -> Tensor:
    return distribute_tensor(value, like.device_mesh, like.placements) if isinstance(like, DTensor) else value
