"""training.prompts: embeddings of frozen towers are worked out once and change nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from core.discretizer import MeshDiscretizer
from core.transformer import MeshTransformer
from training import prompts
from training.prompts import Prompts

CODES = torch.randint(0, 129, (3, 4, 12), generator=torch.Generator().manual_seed(0))
CAPTIONS = ["a chair", "a round table with one leg", ""]


def transformer(frozen: bool, **options: Any) -> MeshTransformer:
    """With two towers, as different in width as a layer between them allows for."""
    torch.manual_seed(0)
    towers = [{"width": 16, "layers": 1, "heads": 2}] * 2
    text = {"condition_on_text": True, "text_condition_model_types": ["small"] * 2, "text_condition_model_kwargs": towers}
    sizes = {"dim": 32, "max_seq_len": 96, "attn_depth": 1, "attn_heads": 2, "fine_attn_depth": 1, "fine_attn_heads": 2}
    model = MeshTransformer(MeshDiscretizer(), **{**sizes, **text, **options})
    torch.nn.init.normal_(model.head)
    if model.text:
        model.text.towers.requires_grad_(not frozen)  # type: ignore[attr-defined]
    return model


def loss(model: MeshTransformer, texts: dict[str, Any]) -> Tensor:
    return model(codes=CODES, **texts, cond_drop_prob=0.0)


def count_calls(model: MeshTransformer, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []
    embed = model.embed_texts
    monkeypatch.setattr(model, "embed_texts", lambda texts: calls.append(list(texts)) or embed(texts))
    return calls


def test_cached_embeddings_give_the_loss_of_the_captions_themselves() -> None:
    model = transformer(frozen=True)
    given = Prompts(model)(CAPTIONS)
    assert set(given) == {"text_embeds"}
    torch.testing.assert_close(loss(model, given), loss(model, {"texts": CAPTIONS}))


def test_a_caption_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = transformer(frozen=True)
    calls = count_calls(model, monkeypatch)
    texts = Prompts(model)
    first = texts(CAPTIONS)["text_embeds"]
    again = texts([CAPTIONS[2], "a stool", CAPTIONS[0], "a stool"])["text_embeds"]
    assert calls == [CAPTIONS, ["a stool"]]
    torch.testing.assert_close(again[2, : first.shape[1]], first[0, : again.shape[1]])


def test_no_more_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MOST", 2)
    texts = Prompts(transformer(frozen=True))
    texts(CAPTIONS)
    texts(["a stool"])
    assert list(texts.known) == ["a stool"]


def test_towers_that_learn_get_the_captions() -> None:
    assert Prompts(transformer(frozen=False))(CAPTIONS) == {"texts": CAPTIONS}


def test_a_transformer_without_text_gets_none() -> None:
    assert Prompts(transformer(frozen=False, condition_on_text=False))(CAPTIONS) == {}
