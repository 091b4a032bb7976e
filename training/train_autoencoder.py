"""Train the learned tokenizer on procedural and real meshes.

    python -m accelerate.commands.launch -m training.train_autoencoder --config training/configs/autoencoder.yaml --out runs/autoencoder

Run again with the same --out, it goes on where it stopped, and ends with the same weights as if it had never stopped: what a step sees
depends on its number alone. `name=value` arguments override the configuration.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from core.autoencoder import AutoencoderConfig, LossBreakdown, MeshAutoencoder
from core.data import seed_generators
from core.errors import MeshGPTError
from core.mesh import Frame, Mesh, quantise
from core.state import load_state, save_state, update_average
from training.data.dataset import HELD_OUT_SEEDS
from training.data.lowpoly import RealMesh, read_lowpoly
from training.metrics import triangle_accuracy
from training.procedural import FAMILIES, generate
from training.processes import start
from training.run import averaged, bad_setting, check_precision, command_line, read_settings, schedule


@dataclass(frozen=True)
class AutoencoderTraining:
    """A training run.

    steps: updates in all; warm-up (a share of them) and cosine are laid over them. batch: meshes a step and process.
    real: folder of real meshes, "" for none; real_share: how many of the meshes drawn are real. max_faces: larger meshes are left out.
    learning_rate: its peak. clip: largest norm of the gradient. ema: decay of the averaged weights, which are the ones kept.
    precision: "fp32" or "bf16". threads, workers: of torch, and processes that prepare batches. save_every: steps from one checkpoint and
    validation to the next. validation: procedural meshes, and at most as many real ones, to validate on.
    autoencoder: fields of AutoencoderConfig that differ from their defaults. Raises MeshGPTError (bad_setting) for another precision.
    """

    steps: int = 20_000
    batch: int = 32
    real: str = ""
    real_share: float = 0.5
    max_faces: int = 400
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.02
    clip: float = 1.0
    ema: float = 0.999
    precision: str = "fp32"
    threads: int = 1
    workers: int = 0
    seed: int = 0
    save_every: int = 500
    validation: int = 64
    autoencoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_precision(self.precision)


def train(config: AutoencoderTraining, out: Path) -> MeshAutoencoder:
    """Train to the last step and return the averaged model; leaves `out`/state (to go on from), `out`/log (TensorBoard) and
    `out`/checkpoint (see MeshAutoencoder.from_pretrained).

    Raises MeshGPTError: bad_setting if `out` holds a run with other settings, bad_data if the real meshes cannot be read.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    accelerator = start(config.precision)
    with accelerator.main_process_first():
        claim_folder(out, config)
    real = [entry for entry in read_lowpoly(config.real) if len(entry.mesh.faces) <= config.max_faces] if config.real else []
    held_out = validation_meshes(config, real)
    model = MeshAutoencoder(AutoencoderConfig(**config.autoencoder))
    optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay)
    wrapped = accelerator.prepare_model(model)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    done = int(load_state(out / "state", model, average, [optimizer])["step"])
    accelerator.wait_for_everyone()  # before one may save
    writer = SummaryWriter(str(out / "log"), purge_step=done) if accelerator.is_main_process else None
    hidden = None if accelerator.is_main_process else True  # None: where nobody watches
    steps = tqdm(range(done, config.steps), initial=done, total=config.steps, disable=hidden)
    rank, ranks = accelerator.process_index, accelerator.num_processes
    drawn = Batches(config, [entry for entry in real if entry.split == "train"])
    feed = DataLoader(drawn, batch_size=None, sampler=range(done * ranks + rank, config.steps * ranks, ranks), num_workers=config.workers)

    for step, (vertices, faces) in zip(steps, feed, strict=True):
        seed_generators(config.seed, step, rank)  # the quantiser draws numbers too
        rate = config.learning_rate * schedule(step / config.steps, config.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with accelerator.autocast():
            given = {"vertices": vertices.to(accelerator.device), "faces": faces.to(accelerator.device)}
            loss, parts = wrapped(**given, return_loss_breakdown=True)
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        update_average(average, model, min(config.ema, (step + 1) / (step + 10)))
        if step % 20 == 0 and writer:
            for name, value in {**described(parts), "gradient": norm, "rate": rate}.items():
                writer.add_scalar(f"training/{name}", float(value), step)
            steps.set_postfix_str(f"{parts.reconstruction:.3f} nats a coordinate")
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            if writer:
                accuracy = validate(model, average, held_out)
                for name, value in accuracy.items():
                    writer.add_scalar(f"validation/triangle_accuracy_{name}", value, step + 1)
                    tqdm.write(f"step {step + 1}: {value:.2%} of held-out {name} faces come back exactly")
                save_state(out / "state", model, average, [optimizer], {"step": step + 1})
                with averaged(model, average):
                    model.save_pretrained(out / "checkpoint", facts={"steps": step + 1, "triangle_accuracy": accuracy})
            accelerator.wait_for_everyone()
    if writer:
        writer.close()
    model.load_state_dict(average)
    return model.eval()


# ---- data


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """Batch number i, whichever process asks for it and when: vertices [b, v, 3] grid indices and faces [b, n, 4], padded with -1.

    For an autoencoder that knows triangles only, quads are cut.
    """

    def __init__(self, config: AutoencoderTraining, real: Sequence[RealMesh]) -> None:
        self.config, self.real = config, real
        self.sizes = AutoencoderConfig(**config.autoencoder)
        weights = np.array([entry.weight for entry in real])
        self.chances = weights / weights.sum() if real else weights
        self.families = list(FAMILIES)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.config.seed, index))
        return collate([self.draw(rng) for _ in range(self.config.batch)], self.sizes.num_discrete_coors)

    def draw(self, rng: np.random.Generator) -> Mesh:
        """A mesh in canonical form, of at most max_faces faces, stretched, turned and placed at random."""
        while True:
            if self.real and rng.random() < self.config.real_share:
                mesh = self.real[rng.choice(len(self.real), p=self.chances)].mesh
            else:
                mesh = generate(self.families[rng.integers(len(self.families))], int(rng.integers(HELD_OUT_SEEDS))).mesh
            mesh = fitting(mesh, self.sizes)
            if len(mesh.faces) > self.config.max_faces:
                continue
            try:
                return vary(mesh, rng, self.sizes.num_discrete_coors)
            except MeshGPTError:  # nothing left on the grid
                continue


def fitting(mesh: Mesh, sizes: AutoencoderConfig) -> Mesh:
    """The mesh in the faces that the autoencoder knows."""
    return mesh if sizes.quads else Mesh(mesh.vertices, mesh.triangles())


def vary(mesh: Mesh, rng: np.random.Generator, levels: int) -> Mesh:
    """The mesh stretched along each axis, turned by quarters, in canonical form; one in four stands small in a larger box, as a part
    that is to be completed does."""
    vertices = mesh.vertices * rng.uniform(0.75, 1.25, 3)
    for _ in range(rng.integers(4)):
        vertices = vertices[:, [1, 0, 2]] * [-1, 1, 1]
    mesh = Mesh(vertices, mesh.faces)
    if rng.random() > 0.25:
        return mesh.canonical(levels=levels)
    tight = mesh.frame()
    scale = tight.scale / rng.uniform(0.5, 1)
    x, y, z = np.array(tight.origin) - rng.uniform([-0.5, -0.5, 0], [0.5, 0.5, 1]) * (scale - tight.scale)
    return mesh.canonical(Frame((x, y, z), scale), levels)


def collate(meshes: Sequence[Mesh], levels: int) -> tuple[Tensor, Tensor]:
    """Canonical meshes as vertices [b, v, 3] grid indices and faces [b, n, 4], padded with zeros and -1."""
    vertices = np.zeros((len(meshes), max(len(mesh.vertices) for mesh in meshes), 3), np.int64)
    faces = np.full((len(meshes), max(len(mesh.faces) for mesh in meshes), 4), -1, np.int64)
    for row, mesh in enumerate(meshes):
        vertices[row, : len(mesh.vertices)] = quantise(mesh.vertices, levels)
        faces[row, : len(mesh.faces)] = mesh.quads().faces
    return torch.from_numpy(vertices), torch.from_numpy(faces)


def validation_meshes(config: AutoencoderTraining, real: Sequence[RealMesh]) -> dict[str, list[Mesh]]:
    """Meshes that training never sees, of each kind that it does see."""
    families = list(FAMILIES)
    drawn = [generate(families[i % len(families)], HELD_OUT_SEEDS + i).mesh for i in range(config.validation)]
    kinds = {"procedural": drawn, "real": [entry.mesh for entry in real if entry.split == "val"][: config.validation]}
    sizes = AutoencoderConfig(**config.autoencoder)
    return {kind: [fitting(mesh, sizes) for mesh in meshes] for kind, meshes in kinds.items() if meshes}


# ---- steps


def described(parts: LossBreakdown) -> dict[str, float]:
    """What is logged of a loss: its parts, and the share of the codebook in use at each level."""
    use = {f"codebook_use_{level}": value for level, value in enumerate(parts.codebook_use.tolist())}
    return {"reconstruction": float(parts.reconstruction), "joint": float(parts.joint), "commitment": float(parts.commitment), **use}


def validate(model: MeshAutoencoder, average: dict[str, Tensor], held_out: dict[str, list[Mesh]]) -> dict[str, float]:
    """Triangle accuracy of the averaged weights on each kind of held-out meshes. The model keeps its own weights."""
    with averaged(model, average):
        return {kind: triangle_accuracy(model, meshes) for kind, meshes in held_out.items()}


# ---- files


def claim_folder(out: Path, config: AutoencoderTraining) -> None:
    """Write the settings into the run's folder, or see that they are those it was started with."""
    path, settings = out / "settings.json", json.loads(json.dumps(asdict(config)))
    if path.is_file() and json.loads(path.read_text()) != settings:
        raise bad_setting(f"{out} holds a run with other settings", "choose another --out, or the settings in its settings.json")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1))


def read_config(path: Path, overrides: Sequence[str]) -> AutoencoderTraining:
    """The configuration in a YAML file, as in training.run.read_settings."""
    return AutoencoderTraining(**read_settings(path, overrides, AutoencoderTraining, {"autoencoder": AutoencoderConfig}))


if __name__ == "__main__":
    command_line(__doc__, read_config, train)
