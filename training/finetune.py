"""Teach a model the meshes of a folder, in minutes on a CPU: prepare them, and go on training with them and some of what it knew before.

    python -m training.finetune furniture/ --captions captions.csv --out runs/furniture

What is left in runs/furniture/checkpoint is a model like the one it began from, for the add-on and the command line alike. Settings are in
training/configs/finetune.yaml; `name=value` arguments override.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.checkpoint import read_config as read_facts
from core.errors import MeshGPTError
from training.data.dataset import HELD_OUT_SEEDS, build
from training.data.parquet import Rows, write_shards
from training.prepare import Settings, prepare
from training.procedural import FAMILIES
from training.run import bad_setting
from training.train_transformer import TrainingConfig, make_model, read_config, train

SETTINGS = Path(__file__).parent / "configs/finetune.yaml"
REHEARSED, MEASURED = 60, 8  # meshes of each family that the model knew: to train on, and to validate on
OWN_SHARE = 0.5  # of the faces that are trained on, those from the folder


def finetune(folder: Path, captions: str, config: TrainingConfig, out: Path) -> None:
    """Train the model in config.init on the meshes of a folder; leaves `out`/data and `out`/rehearsal beside what a run leaves.

    captions: a list as training.prepare takes it, "" for the words in file names.
    Raises MeshGPTError: bad_data if no mesh of the folder can be learned, bad_setting if config.init names no model, others as `train`.
    """
    if not config.init:
        raise bad_setting("init is empty", "name the folder of the model to begin from")
    max_faces = make_model(config).max_faces
    report = prepare(Settings((str(folder),), captions, max_faces), out / "data", os.cpu_count() or 1)
    own, held_out = Rows(out / "data/train"), Rows(out / "data/validation")
    if not len(own):
        reasons = ", ".join(f"{reason}: {count}" for reason, count in report["left_out"].items())
        raise MeshGPTError(f"no mesh in {folder} can be learned ({reasons})", hint="give meshes that are simpler or whole", code="bad_data")
    data, validation = {out / "data/train": 1.0}, [out / "data/validation"] if len(held_out) else []
    if families := [family for family in read_facts(Path(config.init), ("domain",))["domain"] if family in FAMILIES]:
        rehearsal = rehearse(families, max_faces, out / "rehearsal")
        times = OWN_SHARE / (1 - OWN_SHARE) * rehearsal.lengths.sum() / own.lengths.sum()
        data = {out / "data/train": float(times), out / "rehearsal/train": 1.0}
        validation.append(out / "rehearsal/validation")
    train(replace(config, data={str(place): times for place, times in data.items()}, validation=list(map(str, validation))), out)


def rehearse(families: list[str], max_faces: int, out: Path) -> Rows:
    """Write meshes of the families that a model knows into `out`/train and `out`/validation; returns the former."""
    for name, seeds in {"train": range(REHEARSED), "validation": range(HELD_OUT_SEEDS, HELD_OUT_SEEDS + MEASURED)}.items():
        write_shards(out / name, build(families, seeds, max_faces, os.cpu_count() or 1))
    return Rows(out / "train")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the meshes: GLB, glTF, OBJ, PLY, STL, OFF or .blend")
    parser.add_argument("--captions", default="", metavar="FILE", help="JSON lines or CSV: file and captions (default: words in names)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; a run that is there already goes on")
    parser.add_argument("overrides", nargs="*", metavar="name=value")
    options = parser.parse_intermixed_args(arguments)
    try:
        config = read_config(SETTINGS, ["data={}", "validation=[]", *options.overrides])
        finetune(options.folder, options.captions, config, options.out)
    except MeshGPTError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
