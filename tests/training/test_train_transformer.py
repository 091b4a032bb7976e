"""A small training run: it learns, it goes on after a kill as if nothing had happened, and what it leaves can be used."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from core.autoencoder import MeshAutoencoder
from core.errors import MeshGPTError
from core.pipeline import MeshGPT
from training.data.dataset import CodeSet, build
from training.data.parquet import write_shards
from training.train_transformer import read_config, train

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


def ticking(until: float = float("inf")) -> Callable[[], float]:
    """A clock that gains a second whenever it is asked, which is once a step, and dies at `until`."""
    ticks = itertools.count()

    def clock() -> float:
        now = float(next(ticks))
        if now >= until:
            raise KeyboardInterrupt
        return now

    return clock


def test_a_killed_run_goes_on_as_if_it_had_never_stopped(settings: Path, tmp_path: Path) -> None:
    config = read_config(settings, [])
    train(config, tmp_path / "whole", ticking())
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "killed", ticking(until=13))
    train(config, tmp_path / "killed", ticking())
    for name in ("model", "average"):
        whole, resumed = (load_file(tmp_path / run / "state" / f"{name}.safetensors") for run in ("whole", "killed"))
        for key, value in whole.items():
            torch.testing.assert_close(resumed[key], value, atol=0, rtol=0)


def test_it_learns_and_leaves_a_checkpoint_that_makes_meshes(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(read_config(settings, ["minutes=1", "ema=0.9"]), tmp_path, ticking())
    losses = [float(found) for found in re.findall(r"validation nats/face ([\d.]+)", capsys.readouterr().out)]
    assert losses[-1] < 0.93 * losses[0]
    model = MeshGPT.from_pretrained(tmp_path / "checkpoint", "cpu")
    assert model.info()["domain"] == ["stool"]
    assert len(model.generate("a stool", max_faces=4)[0].faces) > 0
    assert any(path.name.startswith("events") for path in (tmp_path / "log").iterdir())


def test_overrides_reach_their_setting_and_unknown_ones_are_refused(settings: Path) -> None:
    config = read_config(settings, ["learning_rate=0.5", "transformer.attn_depth=7"])
    assert (config.learning_rate, config.transformer["attn_depth"], config.transformer["dim"]) == (0.5, 7, 32)
    with pytest.raises(MeshGPTError, match="no setting colour"):
        read_config(settings, ["colour=blue"])
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
