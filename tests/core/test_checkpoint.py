"""Checkpoints: what is saved comes back, and what is damaged is refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from core.checkpoint import SHARD_BYTES, read_config, read_weights, save_checkpoint, shard_names
from core.errors import MeshGPTError
from core.pipeline import MeshGPT
from tests.core.conftest import FACTS


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


def test_what_is_saved_comes_back_in_half_precision(tmp_path: Path) -> None:
    weights = {"a.b": torch.randn(3, 4), "c": torch.randn(7)}
    save_checkpoint(tmp_path, {"model": "any"} | FACTS, weights, torch.float16)
    facts = read_config(tmp_path)
    assert {name: facts[name] for name in FACTS} == FACTS
    read = read_weights(tmp_path, facts["shards"])
    assert read.keys() == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(read[name], weight.half().float(), atol=0, rtol=0)


def test_saving_again_leaves_no_shard_of_the_old_model(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {}, {str(i): torch.zeros(SHARD_BYTES // 4) for i in range(5)}, torch.float16)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    save_checkpoint(tmp_path, {}, {"a": torch.zeros(1)})
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model-00001.safetensors"]


def test_no_shard_is_larger_than_it_may_be() -> None:
    weights = {str(i): torch.empty(SHARD_BYTES // 5, device="meta", dtype=torch.float16) for i in range(7)}
    shards = shard_names(weights)
    assert [name for shard in shards for name in shard] == list(weights)
    assert max(sum(2 * weights[name].numel() for name in shard) for shard in shards) <= SHARD_BYTES


@pytest.mark.parametrize("at", [0, 100, -1])
def test_one_flipped_byte_is_noticed(copy: Path, at: int) -> None:
    shard = copy / "model-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[at] ^= 1
    shard.write_bytes(content)
    with pytest.raises(MeshGPTError, match="damaged") as caught:
        MeshGPT.from_pretrained(copy, "cpu")
    assert caught.value.code == "bad_checkpoint"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "there is no model in"),
        (lambda folder: (folder / "model-00001.safetensors").unlink(), "is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "is damaged"),
        (lambda folder: (folder / "config.json").write_text("{}"), "is damaged"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), "is damaged"),
    ],
)
def test_a_damaged_folder_is_refused(copy: Path, damage: object, words: str) -> None:
    damage(copy)  # type: ignore[operator]
    with pytest.raises(MeshGPTError, match=words) as caught:
        MeshGPT.from_pretrained(copy, "cpu")
    assert caught.value.code == "bad_checkpoint"
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["config"]["dim"] = 64
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(MeshGPTError, match="do not fit"):
        MeshGPT.from_pretrained(copy, "cpu")


def test_sampling_that_cannot_be_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["sampling"]["choice_temperature"] = 0
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(MeshGPTError, match="do not fit") as caught:
        MeshGPT.from_pretrained(copy, "cpu")
    assert caught.value.code == "bad_checkpoint"


def test_a_configuration_that_leaves_something_out_is_refused_at_once(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["nouns"], config["config"]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(MeshGPTError, match="lacks config, nouns") as caught:
        MeshGPT.from_pretrained(copy, "cpu")
    assert caught.value.code == "bad_checkpoint"


def test_a_later_format_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["format"] = 99
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(MeshGPTError, match="format 99"):
        MeshGPT.from_pretrained(copy, "cpu")


def test_a_device_that_is_not_there_is_refused(checkpoint: Path) -> None:
    with pytest.raises(MeshGPTError, match="no device 'abacus'") as caught:
        MeshGPT.from_pretrained(checkpoint, "abacus")
    assert caught.value.code == "bad_device"
