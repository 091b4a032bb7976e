"""The text tower and the arithmetic of guidance."""

from __future__ import annotations

import pytest
import torch

from core.conditioning import TextConfig, TextTower, guide, tokenize

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
