"""Small training runs: they learn, go on after a kill as if nothing had happened, are the same on two processes as on one, and what they
leave can be used."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.autoencoder import MeshAutoencoder
from core.errors import MeshGPTError
from core.pipeline import MeshGPT
from core.state import load_state, save_state  # noqa: F401 (for the scripts)
from training import train_transformer
from training.data.dataset import Batch, CodeSet, build
from training.data.parquet import write_shards
from training.train_transformer import Run, faces_of, make_model, read_config, train

LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
PROCESSES = Path(train_transformer.__file__).parent / "configs/accelerate/processes.yaml"

STEPS = 24


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_shards(folder / "train", build(["stool"], range(12), 60, 1))
    write_shards(folder / "validation", build(["stool"], range(1_000_000, 1_000_004), 60, 1))
    values = {
        "data": {str(folder / "train"): 1},
        "validation": [str(folder / "validation")],
        "minutes": STEPS / 60,  # the tests' clock ticks a second a step
        "save_every": 8 / 60,
        "batch_faces": 120,
        "precision": "fp32",
        "transformer": {
            "dim": 32,
            "max_seq_len": 64 * 12,
            **{"attn_depth": 1, "attn_heads": 2, "attn_dim_head": 16, "fine_attn_depth": 1, "fine_attn_heads": 2, "fine_attn_dim_head": 16},
            "condition_on_text": True,
            "text_condition_model_kwargs": [{"width": 16, "layers": 1, "heads": 2}],
        },
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(values))
    return folder / "small.yaml"


def ticking() -> Callable[[], float]:
    """A clock that gains a second whenever it is asked, which is once a step."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


def run_script(folder: Path, text: str, *launcher: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, or in those of a launcher."""
    script = folder / "script.py"
    script.write_text(f"from pathlib import Path\nfrom tests.training.test_train_transformer import *\n{text}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    command = [*(launcher or [sys.executable]), str(script)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def state(run: Path) -> dict[str, torch.Tensor]:
    return {f"{path.stem}/{name}": value for path in (run / "state").glob("*.safetensors") for name, value in load_file(path).items()}


def logged(run: Path, name: str) -> list[float]:
    log = EventAccumulator(str(run / "log"))
    log.Reload()
    return [event.value for event in log.Scalars(name)]


# ---- a run


def test_it_learns_and_leaves_a_checkpoint_that_makes_meshes(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(read_config(settings, ["minutes=1", "ema=0.9"]), tmp_path / "stools", ticking())
    losses = [float(found) for found in re.findall(r"validation nats/face ([\d.]+)", capsys.readouterr().out)]
    assert losses[-1] < 0.93 * losses[0]
    model = MeshGPT.from_pretrained(tmp_path / "stools/checkpoint", "cpu")
    assert (model.info()["name"], model.info()["domain"]) == ("stools", ["stool"])
    assert len(model.generate("a stool", max_faces=4)[0].faces) > 0
    assert len(logged(tmp_path / "stools", "training/nats_a_face")) == 3


def test_every_checkpoint_comes_with_a_picture_of_its_samples(settings: Path, tmp_path: Path) -> None:
    train(read_config(settings, ["minutes=0.2"]), tmp_path, ticking())
    pictures = sorted((tmp_path / "samples").iterdir())
    assert [path.name for path in pictures] == ["000009.png", "000012.png"]
    with Image.open(pictures[-1]) as sheet:
        assert len(np.unique(np.asarray(sheet.convert("RGB")).reshape(-1, 3), axis=0)) > 3
    log = EventAccumulator(str(tmp_path / "log"))
    log.Reload()
    assert [event.step for event in log.Images("samples")] == [9, 12]


def test_validation_is_without_dropout_and_leaves_no_trace(settings: Path, tmp_path: Path) -> None:
    run = Run(read_config(settings, ["transformer.dropout=0.5", "precision=fp32"]), tmp_path)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    assert run.validate() == run.validate()
    assert run.model.training
    assert all(value.equal(before[name]) for name, value in run.model.state_dict().items())


# ---- going on


def test_a_run_that_is_killed_goes_on_to_the_same_bits(settings: Path, tmp_path: Path) -> None:
    options = ["minutes=0.16", "save_every=0.05", "transformer.dropout=0.2", "accumulate=2"]
    killed = run_script(
        tmp_path,
        f"""
def dying(clock):
    return lambda: now if (now := clock()) < 7 else os.kill(os.getpid(), signal.SIGKILL)
train(read_config(Path({str(settings)!r}), {options}), Path({str(tmp_path / "killed")!r}), dying(ticking()))
""",
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert json.loads((tmp_path / "killed/state/progress.json").read_text())["step"] == 4
    config = read_config(settings, options)
    train(config, tmp_path / "killed", ticking())
    train(config, tmp_path / "whole", ticking())
    resumed, whole = state(tmp_path / "killed"), state(tmp_path / "whole")
    assert resumed.keys() == whole.keys()
    assert [name for name in whole if not resumed[name].equal(whole[name])] == []


def test_a_run_begins_with_the_settings_and_weights_of_another(settings: Path, tmp_path: Path) -> None:
    train(read_config(settings, ["minutes=0.1"]), tmp_path / "first", ticking())
    config = read_config(settings, [f"init={tmp_path}/first/checkpoint", "transformer={condition_on_properties: true, max_seq_len: 1200}"])
    model, first = make_model(config), MeshGPT.from_pretrained(tmp_path / "first/checkpoint", "cpu")
    assert (model.config.widths, model.max_faces) == (first.config.widths, 100)
    assert all(model.state_dict()[name].equal(value) for name, value in first.weights.items())
    with pytest.raises(MeshGPTError, match="does not fit the transformer that is to begin from it"):
        make_model(read_config(settings, [f"init={tmp_path}/first/checkpoint", "transformer.dim=48"]))


# ---- several batches and processes as one


def joined(batches: list[Batch]) -> Batch:
    longest = max(batch.codes.shape[1] for batch in batches)
    codes = [np.pad(batch.codes, ((0, 0), (0, longest - batch.codes.shape[1]), (0, 0)), constant_values=-1) for batch in batches]
    captions = [caption for batch in batches for caption in batch.captions]
    given, properties = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("given", "properties"))
    return Batch(np.concatenate(codes), captions, given, properties)


def test_accumulated_batches_have_the_gradient_of_a_large_one(settings: Path, tmp_path: Path) -> None:
    small = list(itertools.islice(Run(read_config(settings, []), tmp_path / "feed").feed(), 3))
    assert len({faces_of(batch) for batch in small}) > 1
    gradients = []
    for batches in (small, [joined(small)]):
        run = Run(read_config(settings, []), tmp_path / str(len(batches)))
        found: dict[int, torch.Tensor] = {}
        for optimizer in run.optimizers:
            optimizer.register_step_pre_hook(lambda *_, run=run, found=found: found.update(grads(run.model)))
        nats = run.update(batches, sum(map(faces_of, batches)))
        gradients.append({"nats": nats, **found})
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], rtol=1e-4, atol=1e-6)


def grads(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


SHORT = ["minutes=0.1", "save_every=1"]


@pytest.fixture(scope="module")
def in_one_process(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_transformer, "LOG_EVERY", 2)
        train(read_config(settings, [*SHORT, "accumulate=2"]), out, ticking())
    return out


@pytest.mark.parametrize("shard", [False, True], ids=["copied", "shared out"])
def test_two_processes_train_as_one_with_twice_the_batches(settings: Path, in_one_process: Path, tmp_path: Path, shard: bool) -> None:
    out = tmp_path / "two"
    ended = run_script(
        tmp_path,
        f"""
train_transformer.LOG_EVERY = 2
config, out = read_config(Path({str(settings)!r}), [*SHORT, "shard={shard}"]), Path({str(out)!r})
train(config, out, ticking())
run = Run(config, out / "again")
load_state(out / "state", run.model, run.average, run.optimizers)
save_state(out / "again/state", run.model, run.average, run.optimizers, {{}}, run.is_main)
run.accelerator.end_training()
os._exit(0)  # gloo's threads may abort an interpreter that is leaving
""",
        *[*LAUNCH, str(PROCESSES), "--num_processes=2", "--main_process_port=0"],
    )
    assert ended.returncode == 0, ended.stderr
    validation = f"validation/{settings.parent / 'validation'}"
    for name, error in {"training/faces": 0, "training/nats_a_face": 1e-4, "training/gradient": 1e-3, validation: 1e-4}.items():
        values, expected = logged(out, name), logged(in_one_process, name)
        assert values
        assert values == pytest.approx(expected, rel=error), name
    saved, again = state(out), state(out / "again")
    assert saved.keys() == again.keys() == state(in_one_process).keys()
    assert [name for name in saved if not saved[name].equal(again[name])] == []


# ---- settings and data


def test_overrides_reach_their_setting_and_unknown_ones_are_refused(settings: Path) -> None:
    config = read_config(settings, ["learning_rate=0.5", "transformer.attn_depth=7"])
    assert (config.learning_rate, config.transformer["attn_depth"], config.transformer["dim"]) == (0.5, 7, 32)
    with pytest.raises(MeshGPTError, match="no setting colour"):
        read_config(settings, ["colour=blue"])
    with pytest.raises(MeshGPTError, match="choice_temperature is 0; use a number above 0"):
        read_config(settings, ["sampling.choice_temperature=0"])
    (settings.parent / "empty.yaml").write_text("minutes: 1")
    with pytest.raises(MeshGPTError, match="data, validation is missing"):
        read_config(settings.parent / "empty.yaml", [])


def test_learned_codes_train_and_generate_too(settings: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = {"dim_coor_embed": 8, "dim_codebook": 16, "codebook_size": 64}
    layers = {"encoder_dims_through_depth": (16,), "decoder_dims_through_depth": (16, 16)}
    sizes = MeshAutoencoder(quads=True, num_discrete_coors=129, **small, **layers)
    sizes.save_pretrained(tmp_path / "autoencoder")
    write_shards(tmp_path / "codes", build(["stool"], range(4), 60, 1, autoencoder=tmp_path / "autoencoder"))
    data = CodeSet.load(tmp_path / "codes")
    assert data.codes.shape[1] == 4 * sizes.codes_per_vertex
    assert data.grid.shape[1] == 12
    files = [f"data={{{tmp_path}/codes: 1}}", f"validation=[{tmp_path}/codes]"]
    train(read_config(settings, [*files, f"autoencoder={tmp_path}/autoencoder", "minutes=0.1"]), tmp_path / "run", ticking())
    model = MeshGPT.from_pretrained(tmp_path / "run" / "checkpoint", "cpu")
    assert model.info()["tokenizer"] == "MeshAutoencoder"
    assert len(model.generate("a stool", max_faces=4)[0].faces) > 0
    with pytest.raises(MeshGPTError, match="same autoencoder"):
        train(read_config(settings, files), tmp_path / "other", ticking())


def test_meshes_that_are_all_too_long_are_refused(settings: Path, tmp_path: Path) -> None:
    with pytest.raises(MeshGPTError, match="none of the 12 meshes has at most 5 faces"):
        train(read_config(settings, ["transformer.max_seq_len=60"]), tmp_path, ticking())


@pytest.mark.parametrize("name", ["default", "finetune"])
def test_the_settings_that_come_along_can_be_read(name: str) -> None:
    read_config(Path(train_transformer.__file__).parent / f"configs/{name}.yaml", ["data={}", "validation=[]"])
