"""Which architecture and which order of codes learn fastest at equal processor time.

    python -m benchmarks.learning --minutes 4 --out runs/learning

Every variant is a transformer of about the same size, trained from nothing on the same meshes for the same processor time on one thread:
the trainer's optimizers, its schedule laid over that time, averaged weights, bf16. Only steps count, neither the reading of data nor
validation. What is done is kept in learning.json; run again, the command goes on with the variants that are missing, then writes the
table and the picture of all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.curves import draw
from benchmarks.orders import Change, breadth_first, by_pieces, depth_first, triangles, unchanged, x_first
from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.state import update_average
from core.tokenizer import Tokenizer
from core.transformer import MeshTransformer
from training.data.dataset import PADDING, Batch, CodeSet, batches, collate, epoch_batches, load_mixed
from training.run import averaged, schedule
from training.train_transformer import TrainingConfig, make_optimizers

PLAIN = MeshDiscretizer()
FAMILIES = ("bed", "bench", "cabinet", "chair", "desk", "house", "lamp", "mushroom", "shelf", "stool", "table", "tree")


@dataclass(frozen=True)
class Settings:
    """What all variants have in common. minutes: of processor time. families: kinds of object. max_faces: larger meshes are left out.
    batch_faces: padded faces a step, of the meshes as they are. per_family: validation meshes of each family. points: validations, evenly
    spread over the time.
    """

    minutes: float = 4
    families: tuple[str, ...] = FAMILIES
    max_faces: int = 60
    batch_faces: int = 400
    learning_rate: float = 3e-3
    per_family: int = 8
    points: int = 8
    train: tuple[str, ...] = ("data/train", "data/lowpoly/train")
    validation: tuple[str, ...] = ("data/validation",)
    seed: int = 0


@dataclass(frozen=True)
class Variant:
    """One line of the table. what: in words. transformer: options beside SIZES. muon: False for AdamW alone. learning_rate: over that of
    the settings. change: how the faces of each mesh are written down. tokenizer: what the codes then mean.
    """

    what: str
    transformer: dict[str, Any] = field(default_factory=dict)
    muon: bool = True
    learning_rate: float = 1.0
    change: Change = unchanged
    tokenizer: Tokenizer = PLAIN


SIZES: dict[str, Any] = {
    "dim": (256, 192),
    "attn_depth": 4,
    "attn_heads": 4,
    "fine_attn_depth": 2,
    "fine_attn_heads": 3,
    "condition_on_text": True,
    "condition_on_properties": True,
    "text_condition_model_kwargs": ({"width": 128, "layers": 2, "heads": 4},),
}
VARIANTS = {
    "default": Variant("as the default model"),
    "face": Variant("fine stack sees its own face alone", {"fine_reach": "face"}),
    "pieces": Variant("one connected piece after the other", change=by_pieces),
    "breadth": Variant("faces breadth-first over neighbours", change=breadth_first),
    "adamw": Variant("AdamW for the matrices too", muon=False),
    "fine": Variant("3 coarse layers, 4 fine", {"attn_depth": 3, "fine_attn_depth": 4}),
    "coarse": Variant("5 coarse layers, 1 fine", {"attn_depth": 5, "fine_attn_depth": 1}),
    "triangles": Variant("triangles instead of quads", change=triangles, tokenizer=MeshDiscretizer(quads=False)),
    "x": Variant("x before y before z", change=x_first),
    "gateloop": Variant("2 gate loops before coarse attention", {"coarse_pre_gateloop_depth": 2}),
    "geometry": Variant("angles, area and normal of each face as input", {"face_geometry": True}),
    "distance": Variant("attention among faces biased by distance", {"face_distance_bias": True}),
    "window": Variant("attention reaches 16 faces back", {"local_attn_window_size": 16}),
    "depth": Variant("faces depth-first over neighbours", change=depth_first),
    "adamw-slow": Variant("AdamW at a third of the learning rate", muon=False, learning_rate=1 / 3),
}


# ---- one variant


def learn(variant: Variant, data: CodeSet, held_out: CodeSet, settings: Settings) -> tuple[dict[str, Any], MeshTransformer]:
    """Train a variant. Returns what there is to tell of it, and the model with its averaged weights.

    The former: `parameters` (outside of the text tower, whose size is the same for all), `steps`, and the `curve`: a list of `minutes` of
    processor time, `meshes` and `faces` seen, `nats_a_face` and `nats_a_mesh` on the held-out meshes.
    """
    torch.manual_seed(settings.seed)
    longest = 2 * settings.max_faces * variant.tokenizer.codes_per_face  # as triangles, a mesh has up to twice as many faces
    model = MeshTransformer(variant.tokenizer, **{"max_seq_len": longest, **SIZES, **variant.transformer})
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    config = TrainingConfig({}, [], learning_rate=settings.learning_rate * variant.learning_rate)
    optimizers = make_optimizers(model, config) if variant.muon else [adamw(model, config)]
    tests = [changed(batch, variant.change) for batch in whole(held_out, settings)]
    curve: list[dict[str, float]] = []
    step = meshes = faces = 0
    spent, limit = 0.0, settings.minutes * 60
    for batch in batches(data, faces=settings.batch_faces, seed=settings.seed, text_dropout=config.text_dropout):
        if spent >= limit * (len(curve) + 1) / settings.points:
            with averaged(model, average):
                found = validate(model, tests)
            curve.append({"minutes": spent / 60, "meshes": meshes, "faces": faces, **found})
        if spent >= limit:
            break
        batch = changed(batch, variant.change)
        started = time.process_time()
        update(model, optimizers, batch, config.learning_rate * schedule(spent / limit, config.warmup), config.clip)
        step += 1
        update_average(average, model, min(config.ema, step / (step + 10)))
        spent += time.process_time() - started
        meshes += len(batch.codes)
        faces += count_faces(batch)
    model.load_state_dict(average)
    return {"parameters": trained_size(model), "steps": step, "curve": curve}, model.eval()


def update(model: MeshTransformer, optimizers: Sequence[torch.optim.Optimizer], batch: Batch, rate: float, clip: float) -> None:
    """One step at that learning rate."""
    face_nats(model, batch).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()


def face_nats(model: MeshTransformer, batch: Batch) -> Tensor:
    """Mean nats a face over a batch."""
    with torch.autocast("cpu", torch.bfloat16):
        codes, properties = torch.from_numpy(batch.codes), torch.from_numpy(batch.properties)
        nats: Tensor = model(codes=codes, texts=batch.captions, properties=properties, cond_drop_prob=0.0)
    return nats


def adamw(model: MeshTransformer, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW for all weights, otherwise as the trainer has it for those that are no matrices."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=config.learning_rate, betas=(0.9, 0.97), weight_decay=config.weight_decay, fused=True)


def trained_size(model: MeshTransformer) -> int:
    """How many weights are trained outside of the text tower."""
    return sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and not name.startswith("text."))


@torch.no_grad()
def validate(model: MeshTransformer, tests: Sequence[Batch]) -> dict[str, float]:
    """Mean nats of a face and of a mesh over the batches, the end of each mesh included."""
    counts = [count_faces(batch) for batch in tests]
    nats = sum(face_nats(model, batch).item() * count for batch, count in zip(tests, counts, strict=True))
    return {"nats_a_face": nats / sum(counts), "nats_a_mesh": nats / sum(len(batch.codes) for batch in tests)}


# ---- data


def read_data(settings: Settings) -> tuple[CodeSet, CodeSet]:
    """The meshes to train on, and those to validate on: as many of each family.

    Raises MeshGPTError (bad_data) if a set is missing.
    """
    data = load_mixed(dict.fromkeys(settings.train, 1.0), settings.max_faces)
    held_out = load_mixed(dict.fromkeys(settings.validation, 1.0), settings.max_faces)
    chosen = np.zeros(len(held_out), np.float32)
    for family in settings.families:
        members = [i for i, own in enumerate(held_out.labels) if own == family and held_out.weights[i] > 0]
        chosen[members[: settings.per_family]] = 1
    return replace(data, weights=data.weights * np.isin(data.labels, settings.families)), replace(held_out, weights=chosen)


def whole(data: CodeSet, settings: Settings) -> list[Batch]:
    """Every mesh of the set once, in batches that are the same for every run."""
    found = epoch_batches(data, settings.batch_faces, np.random.default_rng(0))
    return [collate(data, indices, np.random.default_rng(number), 0.0, 0.0) for number, indices in enumerate(found)]


def changed(batch: Batch, change: Change) -> Batch:
    """The batch with every mesh written down another way."""
    meshes = [torch.from_numpy(np.ascontiguousarray(change(codes[codes[:, 0] != PADDING]), np.int64)) for codes in batch.codes]
    padded: Tensor = torch.nn.utils.rnn.pad_sequence(meshes, True, PADDING)
    return replace(batch, codes=padded.numpy())


def count_faces(batch: Batch) -> int:
    """How many faces there are beside padding."""
    return int((batch.codes[..., 0] != PADDING).sum())


# ---- files


def read_results(path: Path, settings: Settings) -> dict[str, Any]:
    """Runs by name, from a file that an earlier command left, if there is one.

    Raises MeshGPTError (bad_setting) if those were run with other settings.
    """
    if not path.is_file():
        return {}
    document = json.loads(path.read_text())
    if document["settings"] != json.loads(json.dumps(asdict(settings))):
        raise MeshGPTError(f"{path} holds runs with other settings", hint="choose another --out, or those settings", code="bad_setting")
    runs: dict[str, Any] = document["runs"]
    return runs


def write_results(path: Path, settings: Settings, runs: dict[str, Any]) -> None:
    """Everything that was measured, for the next command and for programs."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps({"settings": asdict(settings), "runs": runs}, indent=1) + "\n")
    unfinished.replace(path)


def table(runs: dict[str, Any]) -> str:
    """The runs in Markdown, the fewest nats a mesh first."""
    lines = ["| variant | | weights | steps | faces seen | meshes seen | nats a face | nats a mesh |", "|---|---|---|---|---|---|---|---|"]
    for name, run in sorted(runs.items(), key=lambda item: item[1]["curve"][-1]["nats_a_mesh"]):
        end = run["curve"][-1]
        lines.append(
            f"| `{name}` | {VARIANTS[name].what} | {run['parameters'] / 1e6:.2f}M | {run['steps']} | {end['faces']:,} | "
            f"{end['meshes']:,} | {end['nats_a_face']:.2f} | {end['nats_a_mesh']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=Settings.minutes, help="processor time of each variant (default 4)")
    parser.add_argument("--out", type=Path, required=True, help="folder of learning.json, .md and .png")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--seed", type=int, default=Settings.seed, help="of first weights and batches (default 0)")
    options = parser.parse_args()
    settings = Settings(options.minutes, seed=options.seed)
    torch.set_num_threads(1)
    path = options.out / "learning.json"
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        runs = read_results(path, settings)
        data, held_out = read_data(settings)
    except MeshGPTError as error:
        parser.exit(2, f"{error}\n")
    for name in (name for name in options.only if name not in runs):
        runs[name], _ = learn(VARIANTS[name], data, held_out, settings)
        write_results(path, settings, runs)
        end = runs[name]["curve"][-1]
        print(f"{name}: {end['nats_a_face']:.3f} nats a face, {end['nats_a_mesh']:.1f} a mesh after {end['faces']} faces", flush=True)
    (options.out / "learning.md").write_text(table(runs))
    draw({VARIANTS[name].what: run["curve"] for name, run in runs.items()}, options.out / "learning.png")
    print(table(runs))


if __name__ == "__main__":
    main()
