"""What the training scripts share: settings, the learning rate's course, and the use of averaged weights.

A run's folder holds `state` (to go on from, see core.state), `log` (TensorBoard) and `checkpoint` (what the run is for). What a step draws
depends on its number alone, so that a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml
from accelerate import PartialState
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
    PartialState().destroy_process_group()


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
    for given, of in ((values, kind), *((values.get(group) or {}, of) for group, of in groups.items())):
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


@contextmanager
def averaged(model: nn.Module, average: dict[str, Tensor]) -> Iterator[None]:
    """The model with the averaged weights, in evaluation mode; afterwards it is as it was."""
    own, training = {name: value.clone() for name, value in model.state_dict().items()}, model.training
    model.load_state_dict(average)
    model.eval()
    try:
        yield
    finally:
        model.load_state_dict(own)
        model.train(training)
