"""core.trainer on models of a few weights: what it trains, logs and keeps, and that a run goes on as if it had never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from accelerate import tracking
from accelerate.state import AcceleratorState
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR, SequentialLR
from torch.utils.data import Dataset

from core import MeshAutoencoderTrainer, MeshTransformerTrainer
from core.errors import MeshGPTError
from core.state import load_state, save_state
from core.trainer import EMA, plain


class Parts(NamedTuple):
    reconstruction: Tensor
    commitment: Tensor


class TinyAutoencoder(nn.Module):
    """Moves every vertex of a face by one linear layer; its loss is the mean over meshes of the mean over their faces."""

    def __init__(self, dropout: float = 0.0, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(9, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 9))
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.tensor(0))

    def forward(
        self, *, vertices: Tensor, faces: Tensor, face_edges: Tensor | None = None, return_loss_breakdown: bool = False
    ) -> tuple[Tensor, Parts]:
        assert return_loss_breakdown
        self.seen += 1
        real = faces[..., 0] >= 0
        corners = torch.stack([mesh[face] for mesh, face in zip(vertices, faces.clamp(min=0), strict=True)]).flatten(-2)
        error = (self.scale * self.layers(corners) - corners).square().mean(-1)
        loss = ((error * real).sum(1) / real.sum(1)).mean()
        return loss, Parts(loss.detach(), loss.detach() * 0)


class TinyTransformer(nn.Module):
    """Reads the number of faces off the text; its first layer is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(1, 1).requires_grad_(False)
        self.read = nn.Linear(1, 1)
        self.calls: list[dict[str, Any]] = []

    def forward(self, *, vertices: Tensor, faces: Tensor, texts: list[str]) -> Tensor:
        self.calls.append({"vertices": vertices, "faces": faces, "texts": texts})
        lengths = torch.tensor([[float(len(text))] for text in texts], device=faces.device)
        return (self.read(self.frozen(lengths)) - (faces[..., 0] >= 0).sum(1, keepdim=True)).square().mean()


class Meshes(Dataset[Any]):
    """Random triangles: mesh i has 2 + i % 3 faces, or as many as are asked for."""

    def __init__(self, count: int = 12, faces: int | None = None, noise: float = 0.0) -> None:
        self.count, self.faces, self.noise = count, faces, noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        n = self.faces or 2 + index % 3
        generator = torch.Generator().manual_seed(index)
        vertices = torch.rand(3 * n, 3, generator=generator) + self.noise * torch.rand(())
        return vertices, torch.arange(3 * n).reshape(n, 3)


class Captioned(Meshes):
    data_kwargs = ["vertices", "faces", "texts"]

    def __getitem__(self, index: int) -> Any:
        return (*super().__getitem__(index), "a" * (1 + index % 3))


def make(folder: Path, dropout: float = 0.0, **settings: Any) -> MeshAutoencoderTrainer:
    """A trainer that always begins from the same weights."""
    torch.manual_seed(0)
    settings = {"dataset": Meshes(), "num_train_steps": 12, "batch_size": 3, "learning_rate": 1e-2, "warmup_steps": 0, **settings}
    return MeshAutoencoderTrainer(TinyAutoencoder(dropout), checkpoint_folder=folder, **settings)


def weights(trainer: MeshAutoencoderTrainer | MeshTransformerTrainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.unwrapped_model.state_dict().items()}


def logged(folder: Path, name: str) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(folder))
    log.Reload()
    return [event.value for event in log.Scalars(name)]


@pytest.fixture(autouse=True)
def _one_precision_a_test() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps the first one of a process


# ---- training


def test_the_loss_falls_and_every_part_of_it_is_logged(tmp_path: Path) -> None:
    make(tmp_path, num_train_steps=60)()
    losses = logged(tmp_path / "mesh-autoencoder", "loss")
    assert len(losses) == 60
    assert losses[-1] < 0.5 * losses[0]
    assert logged(tmp_path / "mesh-autoencoder", "reconstruction") == losses
    assert logged(tmp_path / "mesh-autoencoder", "commitment") == [0] * 60


def test_a_transformer_learns_from_texts_that_come_as_a_list(tmp_path: Path) -> None:
    model = TinyTransformer()
    frozen = model.frozen.weight.clone()
    trainer = MeshTransformerTrainer(model, Captioned(), 80, 4, learning_rate=0.1, warmup_steps=0, checkpoint_folder=tmp_path)
    trainer()
    losses = logged(tmp_path / "mesh-transformer", "loss")
    assert losses[-1] < 0.1 * losses[0]
    call = model.calls[0]
    assert [len(text) + 1 for text in call["texts"]] == (call["faces"][..., 0] >= 0).sum(1).tolist()
    assert model.frozen.weight.equal(frozen)


def test_the_autoencoder_does_not_get_the_texts(tmp_path: Path) -> None:
    make(tmp_path, dataset=Captioned(), num_train_steps=1)()  # its forward takes none


def test_accumulated_batches_make_the_update_of_one_large_batch(tmp_path: Path) -> None:
    several = make(tmp_path / "a", dataset=Meshes(faces=3), batch_size=2, grad_accum_every=3, num_train_steps=4)
    one = make(tmp_path / "b", dataset=Meshes(faces=3), batch_size=6, num_train_steps=4)
    several()
    one()
    assert logged(tmp_path / "a/mesh-autoencoder", "loss") == pytest.approx(logged(tmp_path / "b/mesh-autoencoder", "loss"), rel=1e-5)
    for name, weight in one.unwrapped_model.named_parameters():
        torch.testing.assert_close(weights(several)[name], weight.detach())


def test_data_that_other_processes_read_ahead_gives_the_same_weights(tmp_path: Path) -> None:
    here, there = (make(tmp_path / str(n), dataset=Meshes(noise=0.1), num_workers=n, num_train_steps=3) for n in (0, 1))
    here()
    there()
    for name, weight in weights(here).items():
        assert weights(there)[name].equal(weight)


def test_the_rate_warms_up_and_then_follows_the_scheduler(tmp_path: Path) -> None:
    make(
        tmp_path,
        num_train_steps=8,
        learning_rate=1.0,
        warmup_steps=4,
        scheduler=MultiStepLR,
        scheduler_kwargs={"milestones": [6], "gamma": 0.1},
    )()
    assert logged(tmp_path / "mesh-autoencoder", "rate") == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.1, 0.1])


def test_the_optimiser_steps_with_the_rate_that_is_logged(tmp_path: Path) -> None:
    trainer = make(tmp_path, num_train_steps=1, learning_rate=0.5, warmup_steps=50)
    before = weights(trainer)["layers.0.weight"]
    trainer()
    steps = (weights(trainer)["layers.0.weight"] - before).abs()
    torch.testing.assert_close(steps, torch.full_like(steps, 0.5 / 50), rtol=1e-3, atol=0)  # Adam's first step is as long as the rate


def test_long_gradients_are_shortened(tmp_path: Path) -> None:
    norms = []
    trainer = make(tmp_path, num_train_steps=3, max_grad_norm=1e-3)
    trainer.optimizer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: norms.append(torch.cat([p.grad.flatten() for g in optimizer.param_groups for p in g["params"]]).norm())
    )
    trainer()
    assert [norm.item() for norm in norms] == pytest.approx([1e-3] * 3, rel=1e-2)
    assert min(logged(tmp_path / "mesh-autoencoder", "gradient")) > 1e-2


def test_vectors_do_not_decay_and_frozen_weights_are_not_optimised(tmp_path: Path) -> None:
    trainer = MeshTransformerTrainer(TinyTransformer(), Captioned(), 1, 4, weight_decay=0.3, checkpoint_folder=tmp_path)
    sizes = {group["weight_decay"]: [p.ndim for p in group["params"]] for group in trainer.optimizer.param_groups}
    assert sizes == {0.3: [2], 0.0: [1]}


def test_a_model_without_weights_to_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeshGPTError, match="no weight of the model needs a gradient"):
        MeshAutoencoderTrainer(TinyAutoencoder().requires_grad_(False), Meshes(), 1, 4, checkpoint_folder=tmp_path)  # type: ignore[arg-type]


def test_half_precision_trains_single_precision_weights(tmp_path: Path) -> None:
    trainer = make(tmp_path, num_train_steps=3, accelerator_kwargs={"mixed_precision": "bf16"}, val_dataset=Meshes(4), val_every=2)
    trainer()
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in trainer.ema_tokenizer.parameters())


def test_a_loss_that_is_no_number_stops_the_run_before_it_spoils_the_weights(tmp_path: Path) -> None:
    class Broken(Meshes):
        def __getitem__(self, index: int) -> Any:
            vertices, faces = super().__getitem__(index)
            return vertices * float("nan"), faces

    trainer = make(tmp_path, dataset=Broken())
    before = weights(trainer)
    with pytest.raises(MeshGPTError, match="diverged at step 1: loss nan"):
        trainer()
    for name, parameter in trainer.unwrapped_model.named_parameters():
        assert before[name].equal(parameter)


@pytest.mark.parametrize("name", ["batch_size", "grad_accum_every", "val_every", "val_num_batches", "checkpoint_every"])
def test_settings_below_one_are_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(MeshGPTError, match=f"{name} is 0"):
        make(tmp_path, **{name: 0})


def test_without_accelerate_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match="pip install accelerate"):
        make(tmp_path)


# ---- the average


def test_the_average_is_that_of_the_weights_after_each_of_its_steps() -> None:
    model = nn.Linear(2, 2)
    ema = EMA(model, beta=0.9, update_after_step=2, update_every=2, inv_gamma=1.0, power=0.5)
    expected = 0.0
    for step in range(1, 40):
        nn.init.constant_(model.weight, float(step**2))
        ema.update(model, step)
        if step <= 2:
            expected = step**2
        elif step % 2 == 0:
            decay = min(0.9, 1 - 1 / (1 + step - 2) ** 0.5)
            expected = decay * expected + (1 - decay) * step**2
        assert ema.ema_model.weight[0, 0].item() == pytest.approx(expected)


def test_a_tensor_with_two_names_moves_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    ema = EMA(model, update_after_step=0, update_every=1, inv_gamma=1.0, power=1.0)
    before = model[0].weight.detach().clone()
    nn.init.constant_(model[0].weight, 3.0)
    ema.update(model, 1)
    torch.testing.assert_close(ema.ema_model[0].weight, (before + 3) / 2)


def test_the_average_is_always_in_evaluation_mode(tmp_path: Path) -> None:
    trainer = make(tmp_path, dropout=0.5, num_train_steps=1)
    trainer()
    assert trainer.model.training
    trainer.ema_model.train()
    assert not any(module.training for module in trainer.ema_tokenizer.modules())


def test_validation_is_the_average_model_on_the_validation_set(tmp_path: Path) -> None:
    held_out = Meshes(4, faces=3, noise=0.0)
    trainer = make(
        tmp_path, num_train_steps=6, val_dataset=held_out, val_every=6, batch_size=8, ema_kwargs={"update_after_step": 2}, dropout=0.5
    )
    trainer()
    vertices, faces = (torch.stack(parts) for parts in zip(*[held_out[i] for i in range(4)], strict=True))
    expected, _ = trainer.ema_model(vertices=vertices, faces=faces, return_loss_breakdown=True)
    assert logged(tmp_path / "mesh-autoencoder", "val_loss") == [pytest.approx(expected.item())]
    assert logged(tmp_path / "mesh-autoencoder", "val_reconstruction") == [pytest.approx(expected.item())]


def test_validation_leaves_no_trace_in_the_training(tmp_path: Path) -> None:
    watched = make(tmp_path / "a", dropout=0.5, val_dataset=Meshes(5), val_every=1, num_train_steps=4)
    unwatched = make(tmp_path / "b", dropout=0.5, num_train_steps=4)
    watched()
    unwatched()
    for name, weight in weights(unwatched).items():
        assert weights(watched)[name].equal(weight)


# ---- checkpoints

SETTINGS: dict[str, Any] = {
    "dropout": 0.5,
    "dataset": Meshes(noise=0.1),
    "grad_accum_every": 2,
    "warmup_steps": 7,
    "checkpoint_every": 3,
    "ema_kwargs": {"update_after_step": 2, "update_every": 2},
}


def cosine_after_rise(optimizer: torch.optim.Optimizer) -> LRScheduler:
    rise = MultiStepLR(optimizer, [2, 4], gamma=1.5)
    return SequentialLR(optimizer, [rise, CosineAnnealingLR(optimizer, 8)], milestones=[4])


SCHEDULES: list[dict[str, Any]] = [
    {},
    {"scheduler": CosineAnnealingLR, "scheduler_kwargs": {"T_max": 12}},
    {"scheduler": OneCycleLR, "scheduler_kwargs": {"max_lr": 0.1, "total_steps": 12}},
    {"scheduler": cosine_after_rise},
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_that_is_loaded_ends_as_one_that_never_stopped(tmp_path: Path, schedule: dict[str, Any]) -> None:
    whole = make(tmp_path / "whole", **SETTINGS, **schedule)
    whole()
    resumed = make(tmp_path / "resumed", **SETTINGS, **schedule)
    nn.init.zeros_(resumed.unwrapped_model.layers[0].weight)  # type: ignore[index, union-attr]
    resumed.load(tmp_path / "whole/mesh-autoencoder.ckpt.3")
    assert resumed.step == 3
    resumed()
    for name in ("model", "average", "optimizer-0"):
        files = [load_file(tmp_path / run / f"mesh-autoencoder.ckpt.12/{name}.safetensors") for run in ("whole", "resumed")]
        assert files[0].keys() == files[1].keys()
        assert [key for key, value in files[0].items() if not files[1][key].equal(value)] == []
    assert logged(tmp_path / "resumed/mesh-autoencoder", "rate") == logged(tmp_path / "whole/mesh-autoencoder", "rate")[3:]


def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint_to_the_same_weights(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        "from pathlib import Path\nfrom tests.core.test_trainer import SETTINGS, make\n"
        f"make(Path({str(tmp_path / 'killed')!r}), **{{**SETTINGS, 'num_train_steps': 100_000}})()\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    process = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "killed/mesh-autoencoder.ckpt.6"
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.is_dir() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.wait()
    resumed, whole = make(tmp_path / "resumed", **SETTINGS), make(tmp_path / "whole", **SETTINGS)
    resumed.load(checkpoint)
    resumed()
    whole()
    for name, weight in weights(whole).items():
        assert weights(resumed)[name].equal(weight)
        assert resumed.ema_tokenizer.state_dict()[name].equal(whole.ema_tokenizer.state_dict()[name])


def test_the_last_step_leaves_a_checkpoint_of_safetensors_and_json(tmp_path: Path) -> None:
    make(tmp_path, num_train_steps=5, checkpoint_every=2, scheduler=CosineAnnealingLR, scheduler_kwargs={"T_max": 5})()
    assert sorted(path.name for path in tmp_path.glob("*.ckpt.*")) == [f"mesh-autoencoder.ckpt.{step}" for step in (2, 4, 5)]
    assert {path.suffix for path in tmp_path.glob("*.ckpt.*/*")} == {".safetensors", ".json"}


def test_saving_says_what_is_in_the_way(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.save(tmp_path / "a")
    trainer.save(tmp_path / "a")
    with pytest.raises(MeshGPTError, match="exists already"):
        trainer.save(tmp_path / "a", overwrite=False)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/one.tex").write_text("mine")
    for path in ("thesis", "thesis/one.tex"):
        with pytest.raises(MeshGPTError, match="exists already"):
            trainer.save(tmp_path / path)
    assert (tmp_path / "thesis/one.tex").read_text() == "mine"


def test_what_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    with pytest.raises(MeshGPTError, match="holds no checkpoint of a MeshAutoencoderTrainer"):
        trainer.load(tmp_path / "missing")
    wide = MeshAutoencoderTrainer(TinyAutoencoder(width=5), Meshes(), 1, 3, checkpoint_folder=tmp_path)
    wide.save(tmp_path / "wide")
    with pytest.raises(MeshGPTError, match=r"(?s)damaged or of another model.*size mismatch"):
        trainer.load(tmp_path / "wide")
    trainer.save(tmp_path / "damaged")
    (tmp_path / "damaged/model.safetensors").write_bytes(b"{}")
    with pytest.raises(MeshGPTError, match="damaged or of another model"):
        trainer.load(tmp_path / "damaged")


def test_a_state_whose_saver_was_killed_between_its_two_moves_is_still_there(tmp_path: Path) -> None:
    model, average = nn.Linear(2, 2), nn.Linear(2, 2).state_dict()
    save_state(tmp_path / "state", model, average, [], {"step": 4})
    os.replace(tmp_path / "state", tmp_path / "state.old")
    assert load_state(tmp_path / "state", nn.Linear(2, 2), average, []) == {"step": 4}


def test_of_a_schedulers_state_only_what_json_keeps_is_kept() -> None:
    state = {"a": (1, [2.5, None]), "b": {"c": True, "d": print}, "e": {3: 4}, "f": [torch.zeros(1)]}
    assert plain(state) == {"a": [1, [2.5, None]], "b": {"c": True}}


# ---- logs and processes


def test_wandb_gets_the_project_the_run_its_settings_and_the_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class FakeWandb(GeneralTracker):
        name = "wandb"
        requires_logging_directory = False
        tracker = None

        def __init__(self, project: str, name: str) -> None:
            super().__init__()
            told.append((project, name))

        def store_init_configuration(self, values: Any) -> None:
            told.append(values)

        def log(self, values: Any, step: int | None, **_: Any) -> None:
            told.append((step, sorted(values)))

        def finish(self) -> None:
            told.append("finished")

    monkeypatch.setattr(tracking, "_available_trackers", [LoggerType.WANDB])
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", FakeWandb)
    trainer = make(tmp_path, use_wandb_tracking=True, num_train_steps=1)
    with trainer.wandb_tracking("meshes", run="first", hps={"depth": 3}):
        trainer()
    losses = (1, ["commitment", "gradient", "loss", "rate", "reconstruction"])
    assert told == [("meshes", "first"), {"depth": 3}, losses, "finished"]


def test_a_logger_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_available_trackers", [])
    with pytest.warns(UserWarning, match="no supported trackers"), pytest.raises(ImportError, match="pip install wandb"):
        make(tmp_path, use_wandb_tracking=True)


def test_wandb_has_to_be_asked_for_when_the_trainer_is_made(tmp_path: Path) -> None:
    with pytest.raises(MeshGPTError, match="use_wandb_tracking=True"), make(tmp_path).wandb_tracking("meshes"):
        pass


def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        "from pathlib import Path\nfrom tests.core.test_trainer import Meshes, make\n"
        f"trainer = make(Path({str(tmp_path / 'two')!r}), batch_size=2, grad_accum_every=2, val_dataset=Meshes(8, 3), val_every=3,\n"
        "    num_train_steps=6)\n"
        "assert trainer.accelerator.num_processes == 2\n"
        "trainer()\n"
        "trainer.accelerator.end_training()\n"
        "import os; os._exit(0)\n"  # gloo's threads may abort an interpreter that is leaving
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    environment["ACCELERATE_USE_CPU"] = "true"  # the flag --cpu would want mpirun for a second process
    settings = ["--multi_gpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *settings, "--main_process_port=0", str(script)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    one = make(tmp_path / "one", batch_size=4, grad_accum_every=2, val_dataset=Meshes(8, 3), val_every=3, num_train_steps=6)
    one()
    for name in ("loss", "gradient", "val_loss"):
        logs = [logged(tmp_path / run / "mesh-autoencoder", name) for run in ("two", "one")]
        assert logs[0] == pytest.approx(logs[1], rel=1e-4), name
    kept = load_file(tmp_path / "two/mesh-autoencoder.ckpt.6/model.safetensors")
    for name, weight in one.unwrapped_model.named_parameters():
        torch.testing.assert_close(kept[name], weight.detach(), rtol=1e-4, atol=1e-6)
