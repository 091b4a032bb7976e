"""training.train_autoencoder on runs of a few steps: it learns, goes on after a kill as if nothing had happened, and says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from core.autoencoder import MeshAutoencoder
from core.errors import MeshGPTError
from core.mesh import Mesh, quantise
from training import train_autoencoder
from training.data.lowpoly import RealMesh
from training.procedural import generate
from training.run import schedule
from training.train_autoencoder import AutoencoderTraining, Batches, collate, read_config, train, vary

TINY = AutoencoderTraining(
    steps=12,
    batch=3,
    max_faces=60,
    save_every=6,
    validation=4,
    autoencoder={
        "quads": True,
        "num_discrete_coors": 129,
        "encoder_dims_through_depth": [16, 24],
        "dim_codebook": 24,
        "codebook_size": 64,
        "decoder_dims_through_depth": [24, 24],
    },
)
SETTINGS = """
steps: 12
batch: 3
max_faces: 60
save_every: 6
validation: 4
autoencoder:
  quads: true
  num_discrete_coors: 129
  encoder_dims_through_depth: [16, 24]
  dim_codebook: 24
  codebook_size: 64
  decoder_dims_through_depth: [24, 24]
"""


def weights(out: Path) -> dict[str, torch.Tensor]:
    return {**load_file(out / "state/model.safetensors"), **load_file(out / "checkpoint/model-00001.safetensors")}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    train(TINY, out)
    return out


@pytest.fixture(autouse=True)
def _one_precision_a_test() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps the first one of a process


# ---- the run


def test_the_loss_falls_and_is_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(replace(TINY, steps=61, save_every=100), tmp_path)
    log = EventAccumulator(str(tmp_path / "log"))
    log.Reload()
    losses = [event.value for event in log.Scalars("training/reconstruction")]
    assert losses[-1] < 0.8 * losses[0]
    assert len(log.Scalars("validation/triangle_accuracy_procedural")) == 1


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_weights(whole_run: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SETTINGS)
    out = tmp_path / "out"
    killed = f"""
import os, signal
from pathlib import Path
import training.train_autoencoder as script

def save_and_die(*arguments, save=script.save_state):
    save(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

script.save_state = save_and_die
script.train(script.read_config(Path({str(tmp_path / "tiny.yaml")!r}), []), Path({str(out)!r}))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", killed], env=environment, stderr=subprocess.DEVNULL, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert json.loads((out / "state/progress.json").read_text()) == {"step": 6}
    train(TINY, out)
    resumed, straight = weights(out), weights(whole_run)
    assert resumed.keys() == straight.keys()
    assert [name for name in straight if not resumed[name].equal(straight[name])] == []


def test_a_finished_run_leaves_an_autoencoder_that_encodes(whole_run: Path) -> None:
    tokenizer = MeshAutoencoder.from_pretrained(whole_run / "checkpoint")
    codes = tokenizer.encode(generate("chair", 0).mesh)
    assert codes.shape[1] == 8
    facts = json.loads((whole_run / "checkpoint/config.json").read_text())
    assert facts["steps"] == 12
    assert set(facts["triangle_accuracy"]) == {"procedural"}


def test_half_precision_trains_too(tmp_path: Path) -> None:
    model = train(replace(TINY, steps=2, precision="bf16"), tmp_path)
    assert all(p.isfinite().all() for p in model.parameters())
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_a_folder_with_a_run_of_other_settings_is_left_alone(whole_run: Path) -> None:
    before = (whole_run / "settings.json").read_bytes()
    with pytest.raises(MeshGPTError, match="run with other settings"):
        train(replace(TINY, learning_rate=1e-4), whole_run)
    assert (whole_run / "settings.json").read_bytes() == before


# ---- data


def test_a_batch_depends_on_its_number_alone() -> None:
    first, second = Batches(TINY, []), Batches(TINY, [])
    second[3]
    assert all(a.equal(b) for a, b in zip(first[5], second[5], strict=True))
    assert first[5][1].shape != first[6][1].shape or not first[5][0].equal(first[6][0])


def test_real_meshes_are_drawn_in_their_share_and_by_their_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    common, rare, unlike = (RealMesh(generate("rock", 0).mesh, ("a rock",), "rock", "train", weight) for weight in (0.9, 0.1, 0.0))
    drawn: list[Mesh] = []
    monkeypatch.setattr(train_autoencoder, "vary", lambda mesh, rng, levels: drawn.append(mesh) or vary(mesh, rng, levels))
    Batches(replace(TINY, batch=400, max_faces=400, real_share=0.5), [common, rare, unlike])[0]
    counts = [sum(mesh is real.mesh for mesh in drawn) for real in (common, rare, unlike)]
    assert sum(counts) == pytest.approx(200, abs=40)
    assert counts[0] > 5 * counts[1] > 0
    assert counts[2] == 0


def test_meshes_that_are_too_large_are_never_drawn() -> None:
    _, faces = Batches(replace(TINY, batch=100, max_faces=40), [])[0]
    assert (faces[..., 0] >= 0).sum(1).max() <= 40


def test_quads_are_cut_for_an_autoencoder_of_triangles() -> None:
    _, faces = Batches(replace(TINY, autoencoder={"quads": False}), [])[0]
    assert (faces[..., 3] == -1).all()


def test_batches_are_grid_indices_padded_behind_each_mesh() -> None:
    meshes = [generate(family, 0).mesh.canonical() for family in ("chair", "barrel")]
    vertices, faces = collate(meshes, 129)
    for row, mesh in enumerate(meshes):
        assert np.array_equal(vertices[row, : len(mesh.vertices)], quantise(mesh.vertices))
        assert np.array_equal(faces[row, : len(mesh.faces)], mesh.quads().faces)
        assert (faces[row, len(mesh.faces) :] == -1).all()


def test_variations_keep_the_winding_and_stay_in_the_box() -> None:
    mesh = generate("barrel", 0).mesh
    for seed in range(20):
        varied = vary(mesh, np.random.default_rng(seed), 129)
        assert len(varied.faces) == len(mesh.faces)
        assert (varied.vertices.min(0) >= [-0.5, -0.5, 0]).all()
        assert (varied.vertices.max(0) <= [0.5, 0.5, 1]).all()
        assert volume(varied) > 0
    assert volume(mesh) > 0


def volume(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.triangles()].transpose(1, 0, 2).astype(float)
    return float((np.cross(a, b) * c).sum() / 6)


# ---- settings


def test_settings_come_from_the_file_and_arguments_win(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("steps: 7\nautoencoder: {codebook_size: 64}\n")
    config = read_config(tmp_path / "a.yaml", ["batch=2", "autoencoder.dim_codebook=4"])
    assert config == AutoencoderTraining(steps=7, batch=2, autoencoder={"codebook_size": 64, "dim_codebook": 4})


@pytest.mark.parametrize("override", ["setps=3", "autoencoder.codebok_size=3"])
def test_an_unknown_setting_is_refused_by_its_name(tmp_path: Path, override: str) -> None:
    (tmp_path / "a.yaml").write_text("")
    with pytest.raises(MeshGPTError, match=r"there is no setting (setps|codebok_size)"):
        read_config(tmp_path / "a.yaml", [override])


def test_a_precision_that_there_is_not_is_refused() -> None:
    with pytest.raises(MeshGPTError, match="use fp32 or bf16"):
        AutoencoderTraining(precision="no")


def test_the_settings_that_come_along_can_be_read() -> None:
    path = Path(train_autoencoder.__file__).parent / "configs/autoencoder.yaml"
    assert read_config(path, []).autoencoder["num_discrete_coors"] == 129


def test_the_rate_rises_then_falls_to_a_fiftieth() -> None:
    assert schedule(0.01, 0.02) == 0.5
    assert schedule(0.02, 0.02) == 1
    assert schedule(0.51, 0.02) == pytest.approx(0.51)
    assert schedule(1, 0.02) == pytest.approx(0.02)
