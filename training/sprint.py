"""Train on a large machine that is there for a short time: a few commands of some minutes, each going on where the one before stopped.

    python -m training.sprint --work /scratch/sprint --out kept --minutes 9 --real data/lowpoly     again, until it says "the run is over"
    python -m training.sprint --work /scratch/sprint --out kept --evaluate --real data/lowpoly

The first command draws the procedural meshes on all cores and measures what the machine can do at best. Each ends by the clock with the
run in --work, and leaves in --out the speed so far, in tokens a second and as a share of the best. The last one evaluates the model and
leaves it in --out with its report, the log and the pictures. Settings are in training/configs/sprint.yaml; `name=value` arguments override.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from core.errors import MeshGPTError
from core.transformer import MeshTransformer
from training.data.dataset import HELD_OUT_SEEDS, build
from training.data.parquet import write_shards
from training.procedural import FAMILIES
from training.train_transformer import TrainingConfig, make_model, read_config, train

SETTINGS = Path(__file__).parent / "configs/sprint.yaml"
REAL_TIMES = 5.0  # that an epoch shows the real meshes
SPARE = 60.0  # seconds of a command that reading the data, keeping the state and drawing samples may take


def sprint(config: TrainingConfig, work: Path, out: Path, deadline: float) -> dict[str, Any]:
    """Train until `deadline`, in seconds of time.monotonic; writes and returns `out`/speed.json. Raises MeshGPTError as `train` does."""
    progress = work / "run/state/progress.json"
    best = best_operations(work / "best.json")
    before = json.loads(progress.read_text()) if progress.is_file() else {"faces": 0, "elapsed": 0.0}
    train(config, work / "run", pause=max(0.0, deadline - SPARE - time.monotonic()))
    after = json.loads(progress.read_text())
    faces_a_second = (after["faces"] - before["faces"]) / max(after["elapsed"] - before["elapsed"], 1e-9)
    model = make_model(config)
    operations = operations_a_face(model)
    speed = after | {
        "minutes_left": config.minutes - after["elapsed"] / 60,
        "faces_a_second": faces_a_second,
        "tokens_a_second": faces_a_second * model.codes_per_face,
        "operations_a_face": operations,
        "best_operations_a_second": best,
        "share_of_the_best": faces_a_second * operations / best,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").write_text(json.dumps(speed, indent=1) + "\n")
    return speed


def evaluate(run: Path, data: Path, real: Path | None, prompts: int, out: Path) -> None:
    """Evaluate the run's checkpoint and put it into `out`, with report.zip: evaluation, log and samples."""
    reals = [real / "train", real / "validation"] if real else []
    command = [sys.executable, "-m", "training.evaluate", "--model", run / "checkpoint", "--out", run / "evaluation", "--prompts", prompts]
    command += ["--training", data / "train", *reals[:1], *(["--data", *reals[1:]] if reals else [])]
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run(list(map(str, command)), check=True)
    for file in (run / "checkpoint").iterdir():
        shutil.copy(file, out)
    for folder in ("evaluation", "log", "samples"):
        shutil.copytree(run / folder, run / "report" / folder, dirs_exist_ok=True)
    shutil.make_archive(str(out / "report"), "zip", run / "report")


def draw(data: Path, per_family: int, max_faces: int) -> None:
    """Draw procedural meshes into `data`/train and `data`/validation on all cores, unless they are there."""
    for name, seeds in {"train": range(per_family), "validation": range(HELD_OUT_SEEDS, HELD_OUT_SEEDS + 20)}.items():
        if not (data / name).exists():
            fresh = data / f"{name}.new"
            write_shards(fresh, build(list(FAMILIES), seeds, max_faces, os.cpu_count() or 1))
            fresh.rename(data / name)


# ---- speed


def best_operations(path: Path) -> float:
    """Operations a second of a large bf16 matrix product on this machine, measured once and kept in a file."""
    if not path.is_file():
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        size = 8192 if device else 1024
        a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
        seconds = min(product_seconds(a, b) for _ in range(10))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(2 * size**3 / seconds))
    best: float = json.loads(path.read_text())
    return best


def product_seconds(a: Tensor, b: Tensor) -> float:
    begin = time.perf_counter()
    a @ b
    if a.device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - begin


def operations_a_face(model: MeshTransformer) -> float:
    """Floating point operations of a face's forward and backward pass; attention's own products are not counted."""
    codes = torch.zeros(1, 64, model.codes_per_face, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(codes=codes).backward()
    return counter.get_total_flops() / codes.shape[1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder on that machine: data and run")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is to be taken home")
    parser.add_argument("--minutes", type=float, default=9, help="of this command, drawing the data counted in (default 9)")
    parser.add_argument("--real", type=Path, help="folder that training.prepare wrote: real meshes to add")
    parser.add_argument("--per-family", type=int, default=4000, help="procedural meshes of each family (default 4000)")
    parser.add_argument("--evaluate", action="store_true", help="evaluate the run as it stands instead of training")
    parser.add_argument("--prompts", type=int, default=128, help="of the evaluation (default 128)")
    parser.add_argument("overrides", nargs="*", metavar="name=value")
    options = parser.parse_intermixed_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    data = options.work / "data"
    real = {name: [options.real / name] if options.real else [] for name in ("train", "validation")}
    try:
        if options.evaluate:
            evaluate(options.work / "run", data, options.real, options.prompts, options.out)
            return
        sets = {str(data / "train"): 1.0} | {str(folder): REAL_TIMES for folder in real["train"]}
        validation = [str(data / "validation"), *map(str, real["validation"])]
        config = read_config(SETTINGS, [f"data={json.dumps(sets)}", f"validation={json.dumps(validation)}", *options.overrides])
        draw(data, options.per_family, make_model(config).max_faces)
        speed = sprint(config, options.work, options.out, deadline)
    except MeshGPTError as error:
        parser.exit(2, f"{error}\n")
    print(json.dumps(speed))
    print("the run is over" if speed["minutes_left"] <= 0 else f"{speed['minutes_left']:.1f} of {config.minutes:g} minutes are left")


if __name__ == "__main__":
    main()
