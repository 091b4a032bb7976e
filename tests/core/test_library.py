"""The library as docs/library.md describes it: its examples run, and the trainers and caches fit the models they are for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from core import (
    Mesh,
    MeshAutoencoderTrainer,
    MeshTransformer,
    MeshTransformerTrainer,
    cache_face_edges_for_dataset,
    cache_text_embeds_for_dataset,
)
from core.autoencoder import MeshAutoencoder
from core.data import Batches
from tests.core.test_trainer import Captioned, Meshes, logged, weights

SMALL: dict[str, Any] = {
    "codebook_size": 64,
    "dim_codebook": 16,
    "encoder_dims_through_depth": (16,),
    "decoder_dims_through_depth": (16, 16),
}
TINY: dict[str, Any] = {"dim": 32, "max_seq_len": 96, "attn_depth": 1, "attn_heads": 2, "fine_attn_depth": 1, "fine_attn_heads": 2}


@pytest.fixture(autouse=True)
def _one_precision_a_test() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps the first one of a process


def test_the_examples_of_the_documentation_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/library.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meshes").mkdir()
    for i in range(5):
        corners = np.random.default_rng(i).random((4 + i, 3))
        Mesh(corners, np.array([[j, j + 1, j + 2] for j in range(2 + i)])).save(tmp_path / f"meshes/thing {i}.obj")
    space: dict[str, Any] = {}
    for example in examples:
        exec(example, space)
    assert space["trainer"].step == 30
    assert space["cached"].data_kwargs == ["vertices", "faces", "text_embeds", "face_edges"]


@pytest.mark.parametrize("use_residual_lfq", [True, False])
def test_the_autoencoder_itself_goes_on_as_if_it_had_never_stopped(tmp_path: Path, use_residual_lfq: bool) -> None:
    def trainer(folder: str) -> MeshAutoencoderTrainer:
        torch.manual_seed(0)
        model = MeshAutoencoder(use_residual_lfq=use_residual_lfq, **SMALL)
        return MeshAutoencoderTrainer(
            model, Meshes(noise=0.1), 8, 4, learning_rate=1e-2, warmup_steps=3, checkpoint_every=4, checkpoint_folder=tmp_path / folder
        )

    whole, resumed = trainer("whole"), trainer("resumed")
    whole()
    resumed.load(tmp_path / "whole/mesh-autoencoder.ckpt.4")
    resumed()
    for name, weight in weights(whole).items():
        assert weights(resumed)[name].equal(weight), name


def test_the_autoencoder_itself_learns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MeshAutoencoder(**SMALL)
    MeshAutoencoderTrainer(model, Meshes(), 80, 4, learning_rate=1e-2, warmup_steps=5, checkpoint_folder=tmp_path)()
    losses = logged(tmp_path / "mesh-autoencoder", "reconstruction")
    assert sum(losses[-8:]) < 0.85 * sum(losses[:8])
    assert len(logged(tmp_path / "mesh-autoencoder", "codebook_use")) == 80


def test_the_averaged_autoencoder_tokenizes(tmp_path: Path) -> None:
    trainer = MeshAutoencoderTrainer(MeshAutoencoder(**SMALL), Meshes(), 1, 4, checkpoint_folder=tmp_path)
    vertices, faces = Meshes()[0]
    codes = trainer.tokenize(vertices=vertices[None], faces=faces[None])
    assert codes.shape == (1, 3 * len(faces), 2)
    assert codes.equal(trainer.ema_tokenizer.tokenize(vertices=vertices[None], faces=faces[None]))


def test_the_transformer_itself_goes_on_as_if_it_had_never_stopped_and_leaves_the_autoencoder_alone(tmp_path: Path) -> None:
    def trainer(folder: str) -> MeshTransformerTrainer:
        torch.manual_seed(0)
        model = MeshTransformer(MeshAutoencoder(**SMALL), **TINY, condition_on_text=True)
        settings = {"warmup_steps": 3, "checkpoint_every": 3, "checkpoint_folder": tmp_path / folder, "learning_rate": 1e-2}
        return MeshTransformerTrainer(model, Captioned(), 6, 4, **settings)

    whole, resumed = trainer("whole"), trainer("resumed")
    before = {name: weight.clone() for name, weight in whole.unwrapped_model.tokenizer.state_dict().items()}  # type: ignore[union-attr]
    whole()
    resumed.load(tmp_path / "whole/mesh-transformer.ckpt.3")
    resumed()
    for name, weight in weights(whole).items():
        assert weights(resumed)[name].equal(weight), name
    for name, weight in whole.unwrapped_model.tokenizer.state_dict().items():  # type: ignore[union-attr]
        assert weight.equal(before[name]), name


def test_cached_embeddings_give_the_loss_that_the_texts_give(tmp_path: Path) -> None:
    model = MeshTransformer(MeshAutoencoder(**SMALL), **TINY, condition_on_text=True).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)  # some layers begin at zero
    cached = cache_text_embeds_for_dataset(model.embed_texts, 40, tmp_path)(Captioned)()
    batches = [Batches(dataset, 4, [], seed=0)[0] for dataset in (Captioned(), cached)]
    assert "text_embeds" in batches[1]
    losses = [model(**batch).item() for batch in batches]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    batches[1]["text_embeds"] = -batches[1]["text_embeds"]
    assert model(**batches[1]).item() != pytest.approx(losses[0], rel=1e-4)


def test_cached_neighbours_give_the_loss_that_the_autoencoder_finds_by_itself(tmp_path: Path) -> None:
    class Fans(Meshes):
        def __getitem__(self, index: int) -> Any:
            vertices, faces = super().__getitem__(index)
            return vertices, torch.stack([torch.zeros(len(faces)), torch.arange(len(faces)) + 1, torch.arange(len(faces)) + 2], 1).long()

    model = MeshAutoencoder(**SMALL).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)  # some layers begin at zero
    plainly, cached = Fans(), cache_face_edges_for_dataset(100, tmp_path)(Fans)()
    batches = [Batches(dataset, 4, ["vertices", "faces", "face_edges"], seed=0)[0] for dataset in (plainly, cached)]
    assert [sorted(batch) for batch in batches] == [["faces", "vertices"], ["face_edges", "faces", "vertices"]]
    losses = [model(**batch).item() for batch in batches]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    batches[1]["face_edges"] = torch.full((4, 1, 2), -1)
    assert model(**batches[1]).item() != pytest.approx(losses[0], rel=1e-5)
