"""The text tower and the arithmetic of guidance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.conditioning import FiLM, Text, TextConditioner, TextConfig, TextTower, guide, open_clip, open_clip_tower, tokenize

CONFIG = TextConfig(width=16, layers=2, heads=2, context=12)


@pytest.fixture(scope="module")
def tower() -> TextTower:
    torch.manual_seed(0)
    return TextTower(CONFIG).eval()


def test_a_prompt_is_the_same_alone_and_in_a_batch(tower: TextTower) -> None:
    prompts = ["a chair", "a low round wooden table with three legs", ""]
    together = tower(tokenize(prompts, CONFIG.context))
    for row, prompt in enumerate(prompts):
        alone = tower(tokenize([prompt], CONFIG.context))
        length = alone.tokens.shape[1]
        assert together.mask[row].tolist() == [True] * length + [False] * (together.mask.shape[1] - length)
        torch.testing.assert_close(together.tokens[row, :length], alone.tokens[0])


def test_no_text_is_two_tokens_and_longer_texts_are_cut(tower: TextTower) -> None:
    assert tower(tokenize([""], CONFIG.context)).tokens.shape == (1, 2, 16)
    assert tower(tokenize(["a very " * 50 + "long bench"], CONFIG.context)).tokens.shape == (1, 12, 16)


def test_other_words_are_other_tokens(tower: TextTower) -> None:
    chair, table = (tower(tokenize([text], CONFIG.context)).tokens for text in ("a chair", "a table"))
    assert (chair - table).abs().max() > 1e-3


def test_guidance_moves_away_from_no_text() -> None:
    given, null = torch.tensor([[1.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    both = torch.cat([given, null])
    torch.testing.assert_close(guide(both, 1.0), given)
    torch.testing.assert_close(guide(both, 0.0), null)
    torch.testing.assert_close(guide(both, 3.0), torch.tensor([[3.0, 8.0]]))


def test_guidance_at_right_angles_keeps_the_component_along_the_text() -> None:
    torch.manual_seed(0)
    given, null = torch.randn(3, 7), torch.randn(3, 7)
    moved = guide(torch.cat([given, null]), 5.0, remove_parallel_component=True) - given
    torch.testing.assert_close((moved * given).sum(1), torch.zeros(3), atol=1e-4, rtol=0)
    assert moved.norm() > 1


@pytest.mark.parametrize("name", ["ViT-S-32-alt", "ViT-B-32-quickgelu"])
def test_an_open_clip_tower_says_what_the_whole_model_says(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = open_clip().create_model(name).eval()
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    tower = open_clip_tower(name, str(tmp_path / "whole.safetensors")).eval()
    ids = tokenize(["a chair", "a round table with a long name"], tower.config.context)
    torch.testing.assert_close(tower(ids).pooled() @ whole.text_projection, whole.encode_text(ids), atol=1e-4, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in tower.parameters())


def test_weights_are_fetched_only_if_the_user_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def download(weights: dict[str, str]) -> str:
        fetched.append(weights["hf_hub"])
        save_file(open_clip_tower("ViT-S-32-alt").transformer.state_dict(), tmp_path / "tower.safetensors")
        return str(tmp_path / "tower.safetensors")

    monkeypatch.setattr(open_clip(), "download_pretrained", download)
    monkeypatch.setattr(open_clip(), "get_pretrained_cfg", lambda name, tag: {"hf_hub": "there"} if tag == "good" else {})
    with pytest.raises(ValueError, match="nothing is fetched unasked; add download=True"):
        open_clip_tower("ViT-S-32-alt", "good")
    assert fetched == []
    open_clip_tower("ViT-S-32-alt", "good", download=True)
    assert fetched == ["there"]
    with pytest.raises(ValueError, match="no such weights of ViT-S-32-alt"):
        open_clip_tower("ViT-S-32-alt", "bad", download=True)


def test_weights_of_another_tower_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="it lacks positional_embedding"):
        open_clip_tower("ViT-S-32-alt", str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("name", ["ViT-Z-1", "roberta-ViT-B-32"])
def test_a_model_without_a_text_tower_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"with a text tower of its own; use one of .*ViT-B-32"):
        open_clip_tower(name)


def test_two_towers_stand_side_by_side() -> None:
    torch.manual_seed(0)
    small = {"width": 16, "layers": 1, "heads": 2}
    both = TextConditioner(["small", "small"], [small, {**small, "width": 24}]).eval()
    text = both(["a chair", "a much longer description of a chair"])
    assert text.tokens.shape[-1] == 16
    assert text.mask.sum(1).tolist() == [2 * 4, 2 * 9]
    alone = both(["a chair"])
    torch.testing.assert_close(text.tokens[0][text.mask[0]], alone.tokens[0])


def test_pooled_text_is_its_last_token() -> None:
    tokens = torch.randn(2, 4, 3)
    text = Text(tokens, torch.tensor([[True, True, False, False], [True, True, False, True]]))
    assert text.pooled().equal(torch.stack([tokens[0, 1], tokens[1, 3]]))


def test_film_begins_as_nothing() -> None:
    x = torch.randn(2, 5, 3)
    assert FiLM(4, 3)(x, torch.randn(2, 4)).equal(x)
