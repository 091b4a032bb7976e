"""What the training scripts share: settings, the learning rate's course, averaged weights, and the state of a run on disk.

A run's folder holds `state` (to go on from: weights, their average, the optimisers' moments, where the run stands), `log` (TensorBoard)
and `checkpoint` (what the run is for). Safetensors and JSON, no pickle.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.errors import MeshGPTError

PRECISIONS = {"fp32": "no", "bf16": "bf16"}  # our names and accelerate's


def command_line(description: str, read: Callable[[Path, Sequence[str]], Any], train: Callable[[Any, Path], object]) -> None:
    """The command line of a training script: --config FILE --out FOLDER [name=value ...]."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; a run that is there already goes on")
    parser.add_argument("overrides", nargs="*", metavar="name=value")
    options = parser.parse_args()
    try:
        train(read(options.config, options.overrides), options.out)
    except MeshGPTError as error:
        parser.exit(2, f"{error}\n")


def read_settings(path: Path, overrides: Sequence[str], kind: Any, groups: dict[str, Any]) -> dict[str, Any]:
    """The YAML file's values with `name=value` (or `group.name=value`) overrides.

    kind: the dataclass whose fields may be set. groups: those of its fields that are settings of another dataclass.
    Raises MeshGPTError (bad_setting) for a name that there is not, or one that is missing.
    """
    values: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    for override in overrides:
        name, _, value = override.partition("=")
        group, _, inner = name.partition(".")
        target, key = (values.setdefault(group, {}), inner) if inner else (values, name)
        target[key] = yaml.safe_load(value)
    for given, of in ((values, kind), *((values.get(group, {}), of) for group, of in groups.items())):
        known = [setting.name for setting in fields(of)]
        if unknown := sorted(set(given) - set(known)):
            raise bad_setting(f"there is no setting {', '.join(unknown)}", f"use {', '.join(known)}")
    required = [setting.name for setting in fields(kind) if setting.default is MISSING and setting.default_factory is MISSING]
    if missing := sorted(set(required) - set(values)):
        raise bad_setting(f"the setting {', '.join(missing)} is missing", f"add it to {path} or to the command")
    return values


def check_precision(name: str) -> None:
    """Raises MeshGPTError (bad_setting) for a precision that there is not."""
    if name not in PRECISIONS:
        raise bad_setting(f"precision is {name!r}", f"use {' or '.join(PRECISIONS)}")


def bad_setting(message: str, hint: str) -> MeshGPTError:
    """What the configuration or the run's folder does not allow."""
    return MeshGPTError(message, hint=hint, code="bad_setting")


def schedule(progress: float, warmup: float) -> float:
    """The learning rate over its peak at that share of the run: linear up, cosine down to a fiftieth."""
    if progress < warmup:
        return max(progress / warmup, 0.02)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Move the average towards the model's present weights; what is counted, not weighed, is copied."""
    for name, value in model.state_dict().items():
        average[name].lerp_(value, 1 - decay) if value.is_floating_point() else average[name].copy_(value)


@contextmanager
def averaged(model: nn.Module, average: dict[str, Tensor]) -> Iterator[None]:
    """The model with the averaged weights; afterwards it has its own again."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average)
    yield
    model.load_state_dict(own)


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
