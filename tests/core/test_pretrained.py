"""What can be saved and shared comes back as it was, or says why it cannot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from torch import nn

from core.errors import MeshGPTError
from core.pretrained import Pretrained, configure


@dataclass(frozen=True)
class Sizes:
    width: int = 3
    depth: int = 2


class Model(Pretrained, nn.Module):
    def __init__(self, config: Sizes | None = None, **options: Any) -> None:
        super().__init__()
        self.config = configure(Sizes, config, options)
        self.weight = nn.Parameter(torch.randn(self.config.depth, self.config.width))
        self.register_buffer("count", torch.tensor(1 << 40))


class OtherModel(Model):
    pass


def test_options_are_the_fields_of_the_dataclass() -> None:
    assert configure(Sizes, None, {"depth": 5}) == Sizes(depth=5)
    assert configure(Sizes, Sizes(1), {}) == Sizes(1)


def test_an_option_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Sizes has no option 'witdh'; did you mean width"):
        Model(witdh=3)


def test_a_dataclass_and_options_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="both a Sizes and depth"):
        Model(Sizes(), depth=1)


def test_what_is_saved_comes_back_to_the_bit(tmp_path: Path) -> None:
    model = Model(width=5).train()
    model.save_pretrained(tmp_path, facts={"by": "us"})
    again = Model.from_pretrained(tmp_path)
    assert again.config == Sizes(width=5)
    assert torch.equal(again.weight, model.weight)
    assert again.count == model.count
    assert not again.training
    assert json.loads((tmp_path / "config.json").read_text())["by"] == "us"


def test_half_precision_on_disk_spares_what_is_counted(tmp_path: Path) -> None:
    model = Model()
    model.save_pretrained(tmp_path, dtype=torch.float16)
    again = Model.from_pretrained(tmp_path)
    assert torch.equal(again.weight, model.weight.half().float())
    assert again.count == model.count


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    Model().save_pretrained(tmp_path)
    with pytest.raises(MeshGPTError, match=r"holds a Model, not a OtherModel; use Model.from_pretrained"):
        OtherModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("change", [{"width": 4}, {"wide": 4}])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    Model().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"config": change}))
    with pytest.raises(ValueError, match=r"do not fit|no option"):
        Model.from_pretrained(tmp_path)


def test_a_hub_repository_is_fetched_and_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub itself is out of reach of a test: a folder stands for it."""
    said: dict[str, Any] = {}

    class Api:
        def __init__(self, token: str | None) -> None:
            said["token"] = token

        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> str:
            return f"https://hub/{repo_id}"

        def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> None:
            Path(folder_path).rename(tmp_path / "hub")
            Path(folder_path).mkdir()

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: str(tmp_path / "hub"))
    model = Model()
    assert model.push_to_hub("someone/chairs", token="secret") == "https://hub/someone/chairs"
    assert said["token"] == "secret"
    assert torch.equal(Model.from_pretrained("someone/chairs").weight, model.weight)


def test_a_repository_that_cannot_be_reached_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> SimpleNamespace:
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(MeshGPTError, match="no such model could be fetched from the Hub"):
        Model.from_pretrained("nobody/nothing")
