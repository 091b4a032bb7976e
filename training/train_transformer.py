"""Train the text tower and the transformer on a set of codes.

    python -m training.data.dataset --out data/train
    python -m training.data.dataset --out data/validation --validation --per-family 40
    python -m accelerate.commands.launch -m training.train_transformer --config training/configs/default.yaml --out runs/default

Run again with the same --out, it goes on where it stopped. What the run needs is in the configuration; `name=value` arguments override.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from core.checkpoint import read_config as read_facts
from core.checkpoint import read_weights, save_checkpoint
from core.decoding import Sampling
from core.errors import MeshGPTError
from core.state import load_state, save_state, update_average
from core.tokenizer import Tokenizer
from core.transformer import MeshTransformer
from core.transformer_config import TransformerConfig
from training.data.augment import Augmentation
from training.data.dataset import Batch, CodeSet, batches, load_mixed, read_tokenizer
from training.procedural import FAMILIES, generate
from training.run import (
    PRECISIONS,
    averaged,
    check_precision,
    command_line,
    read_settings,
    schedule,
)


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    data: sets of codes, and how many times an epoch shows each. validation: further sets, each measured by itself. autoencoder: folder of
    the one whose codes they are, "" for grid coordinates. init: checkpoint folder of a transformer to begin from, "" to begin anew.
    minutes: how long the run takes; warm-up and cosine are laid over it by the clock.
    batch_faces: padded faces a step and process. learning_rate: its peak, for Muon (matrices) and AdamW (the rest) alike.
    precision: "fp32" or "bf16". ema: decay of the averaged weights, which are the ones kept.
    text_dropout, given_share: as in training.data.dataset.batches.
    transformer, sampling, augmentation: fields of TransformerConfig, Sampling and Augmentation that differ from their defaults; without
    augmentation the meshes and captions are taken as they are.
    Raises MeshGPTError (bad_setting) for another precision.
    """

    data: dict[str, float]
    validation: list[str]
    autoencoder: str = ""
    init: str = ""
    minutes: float = 60
    batch_faces: int = 1000
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warmup: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    text_dropout: float = 0.1
    given_share: float = 0.2
    precision: str = "bf16"
    threads: int = 1
    seed: int = 0
    save_every: float = 5
    transformer: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_precision(self.precision)


def train(config: TrainingConfig, out: Path, clock: Callable[[], float] = time.monotonic) -> None:
    """Train until `clock` (in seconds) says stop; leaves `out`/state (to go on from), `out`/log (TensorBoard) and `out`/checkpoint."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    accelerator = Accelerator(mixed_precision=PRECISIONS[config.precision])
    tokenizer = read_tokenizer(Path(config.autoencoder) if config.autoencoder else None)
    model = MeshTransformer(tokenizer, **config.transformer).to(accelerator.device)
    if config.init:
        begin_from(model, Path(config.init))
    data = load_mixed(config.data, model.max_faces)
    validation = {folder: load_mixed({folder: 1}, model.max_faces) for folder in config.validation}
    check_codes(data, tokenizer)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    wrapped, *optimizers = accelerator.prepare(model, *make_optimizers(model, config))
    progress = load_state(out / "state", model, average, optimizers)
    step, faces, elapsed = int(progress["step"]), int(progress["faces"]), progress["elapsed"]
    feed = batches(
        data,
        faces=config.batch_faces,
        seed=config.seed,
        start=step,
        rank=accelerator.process_index,
        ranks=accelerator.num_processes,
        text_dropout=config.text_dropout,
        given_share=config.given_share,
        augmentation=None if config.augmentation is None else Augmentation(**config.augmentation),
    )
    writer = SummaryWriter(str(out / "log"), purge_step=step)
    bar = tqdm(total=round(config.minutes * 60), initial=round(elapsed), unit="s", disable=not accelerator.is_local_main_process)

    def keep() -> None:
        """Validate the averaged weights and write everything that is kept."""
        held_out = {folder: validation_nats(model, average, one, accelerator) for folder, one in validation.items()}
        for folder, nats in held_out.items():
            writer.add_scalar(f"validation/{folder}", nats, step)
        said = ", ".join(f"{nats:.3f} ({folder})" for folder, nats in held_out.items())
        tqdm.write(f"{elapsed / 60:.1f} min, step {step}, {faces} faces: validation nats/face {said}")
        save_state(out / "state", model, average, optimizers, {"step": step, "faces": faces, "elapsed": elapsed})
        save_checkpoint(out / "checkpoint", model.describe() | facts(config, data, faces, elapsed, held_out), average, torch.float16)

    started, saved = clock() - elapsed, elapsed
    while elapsed < config.minutes * 60:
        batch = next(feed)
        rate = config.learning_rate * schedule(elapsed / 60 / config.minutes, config.warmup)
        nats = face_nats(wrapped, batch, accelerator)
        accelerator.backward(nats)
        norm = accelerator.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        update_average(average, model, min(config.ema, step / (step + 10)))
        faces += int((batch.codes[..., 0] >= 0).sum()) * accelerator.num_processes
        now = torch.tensor(clock() - started, device=accelerator.device)
        before, elapsed = elapsed, broadcast(now).item()  # one clock for all processes, so that they stop together
        bar.update(round(elapsed) - round(before))
        if step % 20 == 0:
            for name, value in {"nats_a_face": nats.item(), "gradient": float(norm), "rate": rate, "faces": faces}.items():
                writer.add_scalar(f"training/{name}", value, step)
            bar.set_postfix_str(f"step {step}, {faces / elapsed:.0f} faces/s, {nats.item():.2f} nats/face")
        if accelerator.is_main_process and elapsed - saved > config.save_every * 60:
            saved = elapsed
            keep()
    if accelerator.is_main_process:
        keep()
    writer.close()


def begin_from(model: MeshTransformer, folder: Path) -> None:
    """Take the weights of a transformer's checkpoint; what it lacks keeps its first values.

    Raises MeshGPTError (bad_checkpoint) if it has weights that the model has no place for, or has in another size.
    """
    weights = read_weights(folder, read_facts(folder)["shards"])
    own = model.state_dict()
    if wrong := [name for name, value in weights.items() if name not in own or own[name].shape != value.shape]:
        problem, hint = f"{folder} has {wrong[0]}, which does not fit", "make the transformer with the settings in its config.json"
        raise MeshGPTError(problem, hint=hint, code="bad_checkpoint")
    model.load_state_dict(own | weights)


def check_codes(data: CodeSet, tokenizer: Tokenizer) -> None:
    """Raises MeshGPTError (bad_data) if the codes cannot be the tokenizer's."""
    if data.codes.shape[1] != tokenizer.codes_per_face or data.codes.max() >= tokenizer.codebook_size:
        raise MeshGPTError(
            f"the data has {data.codes.shape[1]} codes a face up to {data.codes.max()}, the tokenizer {tokenizer.codes_per_face} "
            f"below {tokenizer.codebook_size}",
            hint="make the data with the same autoencoder that the configuration names",
            code="bad_data",
        )


def make_optimizers(model: MeshTransformer, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices inside the stacks, AdamW for embeddings, heads and norms."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = {name: p for name, p in trained.items() if p.ndim == 2 and re.search(r"^(coarse|fine)\.|resblocks", name)}
    others = [p for name, p in trained.items() if name not in matrices]
    return [
        torch.optim.Muon(
            matrices.values(), lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=config.learning_rate, betas=(0.9, 0.97), weight_decay=config.weight_decay, fused=True),
    ]


def face_nats(model: torch.nn.Module, batch: Batch, accelerator: Accelerator) -> Tensor:
    """Mean nats a face over a batch."""
    device, config = accelerator.device, accelerator.unwrap_model(model).config
    codes, given = torch.from_numpy(batch.codes).to(device), torch.from_numpy(batch.given).to(device)
    with accelerator.autocast():
        properties = torch.from_numpy(batch.properties) if config.condition_on_properties else None
        nats: Tensor = model(codes=codes, texts=batch.captions, properties=properties, given=given, cond_drop_prob=0.0)
    return nats


@torch.no_grad()
def validation_nats(model: MeshTransformer, average: dict[str, Tensor], validation: CodeSet, accelerator: Accelerator) -> float:
    """Nats a face of the averaged weights on held-out meshes, with their text and nothing given. The model keeps its own weights."""
    feed = itertools.islice(batches(validation, faces=1000, seed=0), 8)
    with averaged(model, average):
        results = [(face_nats(model, batch, accelerator).item(), int((batch.codes[..., 0] >= 0).sum())) for batch in feed]
    return sum(nats * faces for nats, faces in results) / sum(faces for _, faces in results)


def facts(config: TrainingConfig, data: CodeSet, faces: int, elapsed: float, held_out: dict[str, float]) -> dict[str, Any]:
    """What config.json says of the model beside its sizes."""
    names = {name for label in set(data.labels) & set(FAMILIES) for seed in range(40) for name in generate(label, seed).names}
    return {
        "name": "default",
        "domain": sorted(set(data.labels)),
        "sampling": asdict(Sampling(**config.sampling)),
        "nouns": sorted({name.split()[-1] for name in names | set(data.labels)}),
        "training": {
            **asdict(config),
            "meshes": len(data),
            "faces_seen": faces,
            "minutes_taken": round(elapsed / 60, 1),
            "validation_nats_a_face": {folder: round(nats, 4) for folder, nats in held_out.items()},
            "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip(),
        },
    }


def read_config(path: Path, overrides: Sequence[str]) -> TrainingConfig:
    """The configuration in a YAML file, as in training.run.read_settings."""
    groups = {"transformer": TransformerConfig, "sampling": Sampling, "augmentation": Augmentation}
    return TrainingConfig(**read_settings(path, overrides, TrainingConfig, groups))


if __name__ == "__main__":
    command_line(__doc__, read_config, train)
