"""Train the text tower and the transformer on sets of meshes.

    python -m training.data.dataset --out data/train --per-family 1200
    python -m training.data.dataset --out data/seldom --per-family 2400 --families rock mountain
    python -m training.data.dataset --out data/validation --validation --per-family 20
    python -m training.train_transformer --config training/configs/default.yaml --out runs/default

Run again with the same --out, it goes on where it stopped. What the run needs is in the configuration; `name=value` arguments override.
"""

from __future__ import annotations

import itertools
import math
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from core.checkpoint import read_config as read_facts
from core.checkpoint import read_weights, save_checkpoint
from core.data import seed_generators
from core.decoding import Sampling
from core.errors import MeshGPTError
from core.pipeline import MeshGPT
from core.state import gathered, load_state, save_state, update_average, whole
from core.transformer import MeshTransformer
from core.transformer_config import TransformerConfig
from core.vocabulary import FILE as DICTIONARY
from training.data.augment import Augmentation
from training.data.dataset import Batch, CodeSet, Feed, load_mixed, read_tokenizer
from training.domain import domain_and_nouns
from training.picture import draw_samples, pick_captions
from training.processes import over_processes, start, together
from training.prompts import Prompts
from training.run import averaged, bad_setting, check_precision, command_line, read_settings, schedule

VALIDATION_BATCHES, VALIDATION_FACES = 8, 1000  # of each set, and padded faces of each batch
LOG_EVERY = 20  # steps


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    data: sets of codes, and how many times an epoch shows each. validation: further sets, each measured by itself. autoencoder: folder of
    the one whose codes they are, "" for grid coordinates. init: checkpoint folder of a transformer to begin from, "" to begin anew.
    name: what the model calls itself, "" for the name of the run's folder. enough: from how many meshes on a category that is no procedural
    family is listed among what the model knows.
    minutes: how long the run takes; warm-up and cosine are laid over it by the clock.
    batch_faces: padded faces of a batch. accumulate: batches a step and process. learning_rate: its peak, for Muon (matrices) and AdamW
    (the rest) alike. precision: "fp32" or "bf16". ema: decay of the averaged weights, which are the ones kept.
    shard: share the weights out over the processes, as in training.processes.
    text_dropout, given_share: as in training.data.dataset.batches. workers: processes that make batches ahead. save_every: minutes.
    transformer, sampling, augmentation: fields of TransformerConfig, Sampling and Augmentation that differ from their defaults, the first
    two from what `init` has, if there is one; without augmentation the meshes and captions are taken as they are.
    Raises MeshGPTError (bad_setting) for another precision, and for sampling that Sampling refuses.
    """

    data: dict[str, float]
    validation: list[str]
    autoencoder: str = ""
    init: str = ""
    name: str = ""
    enough: int = 20
    minutes: float = 60
    batch_faces: int = 1000
    accumulate: int = 1
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warmup: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    text_dropout: float = 0.1
    given_share: float = 0.2
    precision: str = "bf16"
    shard: bool = False
    threads: int = 1
    workers: int = 0
    seed: int = 0
    save_every: float = 5
    transformer: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_precision(self.precision)
        try:
            Sampling(**self.sampling)
        except ValueError as error:
            raise bad_setting(f"sampling cannot be so: {error}", "see core.decoding.Sampling") from error


def train(config: TrainingConfig, out: Path, clock: Callable[[], float] = time.monotonic, pause: float = math.inf) -> None:
    """Train until `clock` (in seconds) says that the run is over, or `pause` seconds of this call; leaves `out`/state (to go on from),
    `out`/log (TensorBoard), `out`/samples (pictures) and `out`/checkpoint.

    Raises MeshGPTError: bad_data for sets that cannot be trained on, bad_checkpoint if `init` or the run in `out` is of another model,
    bad_setting for what does not go together.
    """
    run = Run(config, out)
    feed = run.feed()
    if not run.step:
        run.report(run.validate())
    started, saved, pause = clock() - run.elapsed, run.elapsed, run.elapsed + pause
    hidden = None if run.is_main else True  # None: where nobody watches; there the lines of `report` say how far it is
    bar = tqdm(total=round(config.minutes * 60), initial=round(saved), unit="s", disable=hidden)
    while run.elapsed < min(config.minutes * 60, pause):
        batches = list(itertools.islice(feed, config.accumulate))
        # one clock for all processes, so that they stop together
        faces, now = together(run.accelerator, sum(map(faces_of, batches)), clock() - started if run.is_main else 0)
        bar.update(round(now) - round(run.elapsed))
        run.elapsed = now
        nats = run.update(batches, round(faces))
        if run.step % LOG_EVERY == 0:
            bar.set_postfix_str(f"step {run.step}, {run.faces / now:.0f} faces/s, {nats:.2f} nats/face")
        if now - saved > config.save_every * 60:
            saved = now
            run.keep()
    bar.close()
    run.keep()


class Run:
    """What a run is made of, and where it stands: updates, faces seen by all processes, seconds."""

    def __init__(self, config: TrainingConfig, out: Path) -> None:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config, self.out = config, out
        self.accelerator = start(config.precision)
        self.is_main = bool(self.accelerator.is_main_process)
        self.model = make_model(config).to(self.accelerator.device)
        self.data = load_mixed(config.data, self.model.max_faces)
        self.validation = {folder: load_mixed({folder: 1}, self.model.max_faces) for folder in config.validation}
        for data in (self.data, *self.validation.values()):
            check_data(data, self.model)
        self.prompts = Prompts(self.model)
        self.wrapped = over_processes(self.model, self.accelerator, config.shard)
        self.optimizers = make_optimizers(self.model, config)
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        progress = load_state(out / "state", self.model, self.average, self.optimizers)
        self.accelerator.wait_for_everyone()  # before one may save
        self.step, self.faces, self.elapsed = int(progress["step"]), int(progress["faces"]), float(progress["elapsed"])
        self.writer = SummaryWriter(str(out / "log"), purge_step=self.step) if self.is_main else None
        self.before = read_facts(Path(config.init)) if config.init else {}
        self.known = domain_and_nouns(self.data, config.enough, self.before)

    # ---- training

    def feed(self) -> Iterator[Batch]:
        """This process's batches from where the run stands, without end."""
        c = self.config
        options: dict[str, Any] = {"faces": c.batch_faces, "seed": c.seed, "text_dropout": c.text_dropout, "given_share": c.given_share}
        fits = {"most_cut": self.model.max_faces // 2}  # cut into triangles, a mesh has up to twice the faces
        augmentation = None if c.augmentation is None else Augmentation(**fits | c.augmentation)
        batches = Feed(self.data, start=self.step * c.accumulate, **self.place(), **options, augmentation=augmentation)
        return iter(DataLoader(batches, batch_size=None, num_workers=c.workers))

    def place(self) -> dict[str, int]:
        """Which of how many processes this is."""
        return {"rank": self.accelerator.process_index, "ranks": self.accelerator.num_processes}

    def update(self, batches: Sequence[Batch], faces: int) -> Tensor:
        """One step of the optimisers along the gradient of the mean over all faces of all processes' batches, which are `faces` in all.

        Returns that mean, as far as this process knows it.
        """
        c, nats = self.config, torch.zeros((), device=self.accelerator.device)
        share = self.accelerator.num_processes / faces  # gradients are averaged over processes, and faces are to be
        for number, batch in enumerate(batches):
            seed_generators(c.seed, self.step * c.accumulate + number, self.accelerator.process_index)
            with self.accelerator.no_sync(self.wrapped) if number + 1 < len(batches) else nullcontext():
                part = self.face_nats(self.wrapped, batch) * (faces_of(batch) * share)
                self.accelerator.backward(part)
            nats += part.detach()
        rate = c.learning_rate * schedule(self.elapsed / 60 / c.minutes, c.warmup)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), c.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.faces += faces
        update_average(self.average, self.model, min(c.ema, self.step / (self.step + 10)))
        if self.step % LOG_EVERY == 0:
            nats = self.accelerator.reduce(nats, "mean")
            self.log("training", {"nats_a_face": nats.item(), "gradient": whole(norm).item(), "rate": rate, "faces": self.faces})
        return nats

    def face_nats(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean nats a face over a batch."""
        device = self.accelerator.device
        codes, given = torch.from_numpy(batch.codes).to(device), torch.from_numpy(batch.given).to(device)
        properties = torch.from_numpy(batch.properties) if self.model.config.condition_on_properties else None
        with self.accelerator.autocast():
            nats: Tensor = model(codes=codes, **self.prompts(batch.captions), properties=properties, given=given, cond_drop_prob=0.0)
        return nats

    # ---- what is kept

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Nats a face of the averaged weights on each held-out set, whole meshes with their text; the processes share its batches."""
        found = {}
        each = -(-VALIDATION_BATCHES // self.accelerator.num_processes)
        with averaged(self.model, self.average):
            for folder, data in self.validation.items():
                batches = list(itertools.islice(Feed(data, faces=VALIDATION_FACES, seed=0, **self.place()), each))
                nats = sum(self.face_nats(self.model, batch).item() * faces_of(batch) for batch in batches)
                total, faces = together(self.accelerator, nats, sum(map(faces_of, batches)))
                found[folder] = total / faces
        return found

    def keep(self) -> None:
        """Validate the averaged weights and write everything that is kept."""
        nats = self.validate()
        self.report(nats)
        progress = {"step": self.step, "faces": self.faces, "elapsed": self.elapsed}
        save_state(self.out / "state", self.model, self.average, self.optimizers, progress, self.is_main)
        weights = gathered(self.average, self.is_main)
        if self.is_main:
            save_checkpoint(self.out / "checkpoint", self.model.describe() | self.facts(nats), weights, torch.float16)
            if self.config.init and (words := Path(self.config.init) / DICTIONARY).is_file():
                shutil.copy(words, self.out / "checkpoint")
            self.draw()
        self.accelerator.wait_for_everyone()

    def report(self, nats: dict[str, float]) -> None:
        """Say and log what validation found."""
        said = ", ".join(f"{value:.3f} ({folder})" for folder, value in nats.items())
        if self.is_main:
            at = f"{self.elapsed / 60:.1f} of {self.config.minutes:g} min, step {self.step}, {self.faces} faces"
            tqdm.write(f"{at}: validation nats/face {said or 'not measured'}")
        self.log("validation", nats)

    def log(self, group: str, values: dict[str, float]) -> None:
        """To TensorBoard, from the process that writes."""
        if self.writer:
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, self.step)
            self.writer.flush()

    def draw(self) -> None:
        """What the checkpoint makes of a few captions of the validation sets, as a file and in TensorBoard."""
        captions = pick_captions(list(self.validation.values()))
        if not captions:
            return
        sheet = draw_samples(MeshGPT.from_pretrained(self.out / "checkpoint", str(self.accelerator.device)), captions)
        (self.out / "samples").mkdir(exist_ok=True)
        sheet.save(self.out / "samples" / f"{self.step:06}.png", optimize=True)
        if self.writer:
            self.writer.add_image("samples", np.asarray(sheet.convert("RGB")), self.step, dataformats="HWC")

    def facts(self, nats: dict[str, float]) -> dict[str, Any]:
        """What config.json says of the model beside its sizes."""
        return {
            "name": self.config.name or self.out.resolve().name,
            **self.known,
            **{name: self.before[name] for name in ("candidates",) if name in self.before},
            "sampling": asdict(Sampling(**self.before.get("sampling", {}) | self.config.sampling)),
            "training": {
                **asdict(self.config),
                "meshes": len(self.data),
                "faces_seen": self.faces,
                "minutes_taken": round(self.elapsed / 60, 1),
                "processes": self.accelerator.num_processes,
                "validation_nats_a_face": {folder: round(value, 4) for folder, value in nats.items()},
                "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip(),
            },
        }


# ---- what a run is made of


def make_model(config: TrainingConfig) -> MeshTransformer:
    """The transformer to train, with the settings and weights of the one in `init` where there is one and `transformer` does not differ.

    What the weights lack, such as tokens for properties, keeps its first values.
    Raises MeshGPTError (bad_checkpoint) if there are weights that the transformer has no place for, or has in another size.
    """
    tokenizer = read_tokenizer(Path(config.autoencoder) if config.autoencoder else None)
    if not config.init:
        return MeshTransformer(tokenizer, **config.transformer)
    folder = Path(config.init)
    facts = read_facts(folder, ("config", "tokenizer"))
    model = MeshTransformer(tokenizer, **facts["config"] | config.transformer)
    weights, own = read_weights(folder, facts["shards"]), model.state_dict()
    if wrong := [name for name, value in weights.items() if name not in own or own[name].shape != value.shape]:
        problem = f"{folder} has {wrong[0]}, which does not fit the transformer that is to begin from it"
        hint = "leave such sizes out of `transformer`, and name the autoencoder whose codes it was trained on"
        raise MeshGPTError(problem, hint=hint, code="bad_checkpoint")
    model.load_state_dict(own | weights)
    return model


def check_data(data: CodeSet, model: MeshTransformer) -> None:
    """Raises MeshGPTError (bad_data) if the codes cannot be the tokenizer's, or no mesh is short enough."""
    tokenizer = model.tokenizer
    if data.codes.shape[1] != tokenizer.codes_per_face or data.codes.max() >= tokenizer.codebook_size:
        raise MeshGPTError(
            f"the data has {data.codes.shape[1]} codes a face up to {data.codes.max()}, the tokenizer {tokenizer.codes_per_face} "
            f"below {tokenizer.codebook_size}",
            hint="make the data with the same autoencoder that the configuration names",
            code="bad_data",
        )
    if not data.weights.any():
        problem = f"none of the {len(data)} meshes has at most {model.max_faces} faces, or weighs anything"
        raise MeshGPTError(problem, hint="simplify the meshes, or use a larger transformer.max_seq_len", code="bad_data")


def faces_of(batch: Batch) -> int:
    """Faces that are no padding."""
    return int((batch.codes[..., 0] >= 0).sum())


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


def read_config(path: Path, overrides: Sequence[str]) -> TrainingConfig:
    """The configuration in a YAML file, as in training.run.read_settings."""
    groups = {"transformer": TransformerConfig, "sampling": Sampling, "augmentation": Augmentation}
    return TrainingConfig(**read_settings(path, overrides, TrainingConfig, groups))


if __name__ == "__main__":
    command_line(__doc__, read_config, train)
