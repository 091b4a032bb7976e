"""Trainers for the autoencoder and the transformer, on Hugging Face accelerate: `trainer()` trains to the last step.

What a step sees depends on its number alone: its batch, and the random numbers it draws. A run that was stopped and loaded again therefore
ends with the same weights as one that never stopped. `python -m accelerate.commands.launch script.py` trains on several processes.
accelerate, tqdm and tensorboard come with the extra called training.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset

from core.data import PADDING, Batches, seed_generators
from core.errors import MeshGPTError
from core.state import load_state, save_state, update_average


@dataclass(eq=False, repr=False)
class Trainer(ABC):
    """What both trainers share.

    model: trained in place. dataset: a map-style data set whose items core.data describes. num_train_steps: updates in all.
    batch_size: meshes a step, process and accumulation. grad_accum_every: batches whose gradients make one update.
    val_dataset: the averaged model's losses on val_num_batches * grad_accum_every of its batches (fewer if it is smaller; the same ones
    every time) are logged every val_every steps.
    learning_rate: its peak. weight_decay: of matrices; vectors never decay. max_grad_norm: longer gradients are shortened to it; None
    for no limit. warmup_steps: the rate rises linearly over so many. scheduler: a class of torch.optim.lr_scheduler, made with
    scheduler_kwargs, one step an update; None for a constant rate. optimizer_kwargs: of torch.optim.AdamW, betas (0.9, 0.99) if not given.
    ema_kwargs: of EMA. accelerator_kwargs: of accelerate.Accelerator, such as mixed_precision="bf16" or log_with.
    checkpoint_every: steps from one checkpoint, a folder in checkpoint_folder, to the next; the last step leaves one too.
    data_kwargs: names of the parts of items that are tuples, unless the data set has data_kwargs of its own.
    use_wandb_tracking: log to Weights & Biases instead of TensorBoard, whose files are under checkpoint_folder.
    num_workers: processes that read data ahead. seed: of the order of the data and of all that is drawn.
    Raises ImportError if accelerate or the logger is missing, MeshGPTError (bad_setting, bad_data) for what cannot be trained.
    """

    model: nn.Module
    dataset: Dataset[Any]
    num_train_steps: int
    batch_size: int
    grad_accum_every: int = 1
    _: KW_ONLY
    val_dataset: Dataset[Any] | None = None
    val_every: int = 100
    val_num_batches: int = 5
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    max_grad_norm: float | None = 1.0
    warmup_steps: int = 1000
    scheduler: Callable[..., LRScheduler] | None = None
    scheduler_kwargs: Mapping[str, Any] = field(default_factory=dict)
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    ema_kwargs: Mapping[str, Any] = field(default_factory=dict)
    accelerator_kwargs: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_every: int = 1000
    checkpoint_folder: str | Path = "./checkpoints"
    data_kwargs: Sequence[str] = ("vertices", "faces", "face_edges")
    use_wandb_tracking: bool = False
    num_workers: int = 0
    seed: int = 0

    name: ClassVar[str]  # of checkpoints and logs

    def __post_init__(self) -> None:
        for name in ("batch_size", "grad_accum_every", "val_every", "val_num_batches", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise bad_setting(f"{name} is {getattr(self, name)}", "use 1 or more")
        self.checkpoint_folder = Path(self.checkpoint_folder)
        log_with = "wandb" if self.use_wandb_tracking else "tensorboard"
        self.accelerator = make_accelerator({"log_with": log_with, "project_dir": self.checkpoint_folder, **self.accelerator_kwargs})
        if not self.accelerator.log_with and "log_with" not in self.accelerator_kwargs:  # accelerate would go on without a log
            raise ImportError(f"logging needs {log_with}; run pip install {log_with}")
        pad_id = getattr(getattr(self.model, "config", None), "pad_id", PADDING)
        self.ema_model = EMA(self.model, **self.ema_kwargs).to(self.accelerator.device)  # before accelerate puts its hand on `forward`
        optimizer = make_optimizer(self.model, self.learning_rate, self.weight_decay, self.optimizer_kwargs)
        self.model, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        self.schedule = self.scheduler(optimizer, **self.scheduler_kwargs) if self.scheduler else None
        self.batches = Batches(self.dataset, self.batch_size, self.data_kwargs, self.seed, pad_id)
        self.step = 0
        if self.val_dataset is not None:
            size = min(self.batch_size, len(self.val_dataset)) or 1  # type: ignore[arg-type]
            self.val_batches = Batches(self.val_dataset, size, self.data_kwargs, self.seed, pad_id)

    # ---- what the trainers differ in

    @abstractmethod
    def losses(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Scalars of a batch by name; the first, called loss, is the one to train on."""

    # ---- use

    def __call__(self) -> None:
        """Train to num_train_steps, from where the run stands.

        Raises MeshGPTError (diverged) if the loss or the gradient is no finite number; the weights are then those before that step.
        """
        from tqdm import tqdm

        self.start_log()
        self.model.train()
        feed = self.feed()
        for _ in (bar := tqdm(range(self.step, self.num_train_steps), disable=not self.accelerator.is_local_main_process)):
            values = self.update(feed)
            self.step += 1
            self.ema_model.update(self.unwrapped_model, self.step)
            self.accelerator.log(values, step=self.step)
            bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
            if self.val_dataset is not None and self.step % self.val_every == 0:
                values = self.validate()
                self.accelerator.log(values, step=self.step)
                if self.is_main:
                    tqdm.write(f"step {self.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items()))
            if self.step % self.checkpoint_every == 0 or self.step == self.num_train_steps:
                self.save(Path(self.checkpoint_folder) / f"{self.name}.ckpt.{self.step}")
                self.accelerator.wait_for_everyone()

    def save(self, path: str | Path, overwrite: bool = True) -> None:
        """Write all that the run needs to go on into a folder; only the main process does.

        Raises MeshGPTError (bad_setting) if the path exists, unless it is a checkpoint that may be overwritten.
        """
        folder = Path(path)
        if not self.is_main:
            return
        if folder.exists() and not (overwrite and (folder / "progress.json").is_file()):  # never delete what is no checkpoint
            raise bad_setting(f"{folder} exists already", "choose another folder, or with overwrite=True one that holds a checkpoint")
        scaler = self.accelerator.scaler
        progress = {
            "trainer": self.name,
            "step": self.step,
            "groups": [plain(group) for group in self.optimizer.param_groups],
            "schedule": plain(self.schedule.state_dict()) if self.schedule else {},
            "scaler": scaler.state_dict() if scaler else {},
        }
        save_state(folder, self.unwrapped_model, self.ema_model.ema_model.state_dict(), [self.optimizer], progress)

    def load(self, path: str | Path) -> None:
        """Go on from a folder that `save` wrote: weights, average, optimiser, schedule and step.

        Raises MeshGPTError (bad_checkpoint) if there is none, or it is damaged or of another model.
        """
        folder = Path(path)
        average = self.ema_model.ema_model.state_dict()
        progress = load_state(folder, self.unwrapped_model, average, [self.optimizer])
        if progress.get("trainer") != self.name:
            reason = f"{folder} holds no checkpoint of a {type(self).__name__}"
            raise MeshGPTError(reason, hint=f"give a folder that it saved, such as {self.name}.ckpt.1000", code="bad_checkpoint")
        self.step = progress["step"]
        for group, saved in zip(self.optimizer.param_groups, progress["groups"], strict=True):
            group.update(saved)
        if self.schedule:
            self.schedule.load_state_dict(progress["schedule"])
        if self.accelerator.scaler and progress["scaler"]:
            self.accelerator.scaler.load_state_dict(progress["scaler"])

    @property
    def unwrapped_model(self) -> nn.Module:
        """The model itself, without what accelerate wraps around it."""
        model: nn.Module = self.accelerator.unwrap_model(self.model)
        return model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.accelerator.is_main_process)

    @contextmanager
    def wandb_tracking(self, project: str, run: str | None = None, hps: dict[str, Any] | None = None) -> Iterator[None]:
        """Log what is trained inside to this project and run of Weights & Biases; hps: plain values to keep with the run.

        Raises MeshGPTError (bad_setting) unless the trainer was made with use_wandb_tracking=True.
        """
        if not self.use_wandb_tracking:
            raise bad_setting("wandb_tracking is used, but the trainer does not log to wandb", "make it with use_wandb_tracking=True")
        self.accelerator.init_trackers(project, config=hps, init_kwargs={"wandb": {"name": run}})
        try:
            yield
        finally:
            for tracker in self.accelerator.trackers:
                tracker.finish()
            self.accelerator.trackers = []

    # ---- a step

    def feed(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """From where the run stands, the batches of this process on its device, and their numbers."""
        from accelerate.utils import send_to_device

        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        first, last = (step * self.grad_accum_every * ranks for step in (self.step, self.num_train_steps))
        numbers = range(first + rank, last, ranks)
        loader = DataLoader(self.batches, batch_size=None, sampler=numbers, num_workers=self.num_workers)
        for number, batch in zip(numbers, loader, strict=True):
            yield number, send_to_device(batch, self.device)

    def update(self, feed: Iterator[tuple[int, dict[str, Any]]]) -> dict[str, float]:
        """One update of the weights; what to log of it, means over accumulation and processes."""
        sums: dict[str, Tensor] = {}
        for i in range(self.grad_accum_every):
            number, batch = next(feed)
            seed_generators(self.seed, number, 1)
            last = i + 1 == self.grad_accum_every
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                losses = self.losses(self.model, batch)
                self.accelerator.backward(losses["loss"] / self.grad_accum_every)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach() / self.grad_accum_every
        values = self.means(sums)
        values["gradient"] = float(self.accelerator.clip_grad_norm_(self.model.parameters(), self.max_grad_norm or math.inf))
        values["rate"] = self.optimizer.param_groups[0]["lr"] * self.warmth()
        overflow_is_handled = self.accelerator.scaler is not None  # half precision: the scaler skips such steps
        if not math.isfinite(values["loss"]) or not (math.isfinite(values["gradient"]) or overflow_is_handled):
            raise MeshGPTError(
                f"training diverged at step {self.step + 1}: loss {values['loss']}, norm of the gradient {values['gradient']}",
                hint="go on from the last checkpoint with a lower learning_rate or max_grad_norm, and look for broken meshes",
                code="diverged",
            )
        self.descend()
        return values

    def descend(self) -> None:
        """A step of the optimiser and of the schedule, which never sees the warm-up: some schedules go on from the rate they find."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group in self.optimizer.param_groups:
            group["lr"] *= self.warmth()
        self.optimizer.step()
        self.optimizer.zero_grad()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        if self.schedule and not self.accelerator.optimizer_step_was_skipped:
            self.schedule.step()

    def warmth(self) -> float:
        """The share of the learning rate that the next update uses, rising to 1 over the warm-up."""
        return min(1.0, (self.step + 1) / self.warmup_steps) if self.warmup_steps else 1.0

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The averaged model's losses on the validation set, called val_ and the name."""
        from accelerate.utils import send_to_device

        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        count = min(self.val_num_batches * self.grad_accum_every, max(1, self.val_batches.per_epoch // ranks))
        sums: dict[str, Tensor] = {}
        for number in range(rank, count * ranks, ranks):
            batch = send_to_device(self.val_batches[number], self.device)
            with self.accelerator.autocast():
                losses = self.losses(self.ema_model, batch)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value / count
        return {f"val_{name}": value for name, value in self.means(sums).items()}

    def means(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Scalars of this process to means over all of them, as plain numbers."""
        together: Tensor = self.accelerator.reduce(torch.stack([value.float() for value in sums.values()]), "mean")
        return dict(zip(sums, together.tolist(), strict=True))

    def start_log(self) -> None:
        """Begin the log, unless one is open; what a run that is gone on with had logged after its checkpoint is hidden."""
        if not self.accelerator.trackers:
            self.accelerator.init_trackers(self.name, init_kwargs={"tensorboard": {"purge_step": self.step + 1}})


class MeshAutoencoderTrainer(Trainer):
    """Trains `model(vertices=, faces=[, face_edges=], return_loss_breakdown=True) -> (loss, breakdown)`.

    breakdown: a named tuple; the means of its tensors are logged by their names. Texts in the data are left out. Arguments as in Trainer.
    """

    name = "mesh-autoencoder"

    @property
    def ema_tokenizer(self) -> Any:
        """The autoencoder with the averaged weights, in evaluation mode: the one to build a transformer on."""
        return self.ema_model.ema_model

    def tokenize(self, *args: Any, **kwargs: Any) -> Tensor:
        """`tokenize` of the autoencoder with the averaged weights."""
        codes: Tensor = self.ema_model.ema_model.tokenize(*args, **kwargs)
        return codes

    def losses(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        meshes = {name: value for name, value in batch.items() if name not in ("texts", "text_embeds")}
        loss, breakdown = model(**meshes, return_loss_breakdown=True)
        return {"loss": loss, **{name: value.mean() for name, value in breakdown._asdict().items()}}


@dataclass(eq=False, repr=False)
class MeshTransformerTrainer(Trainer):
    """Trains `model(vertices=, faces=[, face_edges=][, texts= | text_embeds=]) -> loss`, or with codes= instead of a mesh.

    Weights that need no gradient, such as those of the autoencoder inside, stay as they are. Arguments as in Trainer.
    """

    learning_rate: float = 2e-4
    max_grad_norm: float | None = 0.5
    data_kwargs: Sequence[str] = ("vertices", "faces", "face_edges", "texts")

    name = "mesh-transformer"

    def losses(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        return {"loss": model(**batch)}


class EMA(nn.Module):
    """A copy of a model, `ema_model`, whose weights are the average of the model's over time; calling this calls the copy.

    beta: largest decay of an update. update_after_step: until then the copy follows the model. update_every: steps from one update to
    the next. inv_gamma, power, min_value: after e further steps the decay is 1 - (1 + e / inv_gamma) ** -power, at least min_value.
    The decay rises as in K. Crowson's k-diffusion.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        beta: float = 0.9999,
        update_after_step: int = 100,
        update_every: int = 10,
        inv_gamma: float = 1.0,
        power: float = 2 / 3,
        min_value: float = 0.0,
    ) -> None:
        super().__init__()
        self.ema_model: Any = copy.deepcopy(model).eval().requires_grad_(False)
        self.beta, self.update_after_step, self.update_every = beta, update_after_step, update_every
        self.inv_gamma, self.power, self.min_value = inv_gamma, power, min_value

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.ema_model(*args, **kwargs)

    def train(self, mode: bool = True) -> EMA:
        """Stays in evaluation mode."""
        return super().train(False)

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the model's weights after its step number `step`, from 1."""
        if step % self.update_every and step > self.update_after_step:
            return
        names = {id(value): name for name, value in self.ema_model.state_dict(keep_vars=True).items()}  # a shared tensor moves once
        average = self.ema_model.state_dict()
        update_average({name: average[name] for name in names.values()}, model, self.decay(step))

    def decay(self, step: int) -> float:
        """What the average keeps of itself at this step."""
        further = step - self.update_after_step
        if further <= 0:
            return 0.0
        return min(self.beta, max(self.min_value, 1 - (1 + further / self.inv_gamma) ** -self.power))


def make_accelerator(settings: Mapping[str, Any]) -> Any:
    """An accelerate.Accelerator that lets weights be unused in a step."""
    try:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs
    except ImportError as error:
        raise ImportError(f"training needs accelerate ({error}); run pip install accelerate tqdm tensorboard") from error
    return Accelerator(**{"kwargs_handlers": [DistributedDataParallelKwargs(find_unused_parameters=True)], **settings})


def make_optimizer(model: nn.Module, rate: float, weight_decay: float, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """AdamW over the weights that need a gradient; vectors and scalars do not decay. MeshGPTError (bad_setting) if there are none."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise bad_setting("no weight of the model needs a gradient", "train the autoencoder before it becomes part of a transformer")
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, **{"lr": rate, "betas": (0.9, 0.99), **settings})


def plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON can hold of an optimiser's group or a scheduler's state; the rest is what its constructor sets."""

    def kept(value: Any) -> Any:
        if isinstance(value, Mapping):
            return plain(value)
        return [kept(part) for part in value] if isinstance(value, list | tuple) else value

    def fits(value: Any) -> bool:
        if isinstance(value, Mapping):
            return all(isinstance(key, str) for key in value)
        return all(map(fits, value)) if isinstance(value, list | tuple) else isinstance(value, bool | int | float | str | None)

    return {name: kept(value) for name, value in state.items() if fits(value)}


def bad_setting(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_setting")
