"""The transformer: what a code may depend on, and that every way of computing its distribution agrees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core.conditioning import Text
from core.transformer import IGNORE, MeshTransformer, TransformerConfig

BOOK = 11
CONFIG = TransformerConfig(
    codes_per_vertex=3,
    codebook_size=BOOK,
    code_width=8,
    dim=32,
    depth=2,
    heads=2,
    fine_dim=24,
    fine_depth=2,
    fine_heads=2,
    text_width=16,
    max_faces=20,
)


@pytest.fixture
def transformer() -> MeshTransformer:
    torch.manual_seed(0)
    model = MeshTransformer(CONFIG, torch.randn(3, BOOK, 8)).eval()
    for parameter in model.parameters():  # what starts at zero must not hide a mistake
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def some_text(rows: int, length: int = 5) -> Text:
    return Text(torch.randn(rows, length, 16), torch.ones(rows, length, dtype=torch.bool))


def some_codes(rows: int, faces: int) -> Tensor:
    codes = torch.randint(0, BOOK, (rows, faces, 12))
    codes[:, ::2, 9:] = -1
    return codes


def test_a_code_depends_on_earlier_codes_alone(transformer: MeshTransformer) -> None:
    codes, text = some_codes(1, 4), some_text(1)
    before = transformer.logits(codes, text)
    for at in range(4 * 12):
        changed = codes.clone().view(1, -1)
        if changed[0, at] < 0:
            continue
        changed[0, at] = (changed[0, at] + 1) % BOOK
        after = transformer.logits(changed.view(1, 4, 12), text)
        difference = (after - before).abs().sum(-1).flatten()
        assert difference[: at + 1].max() < 1e-4
        assert difference[at + 1 :].max() > 1e-3


def test_alone_equals_in_a_batch(transformer: MeshTransformer) -> None:
    codes, text = some_codes(3, 6), some_text(3)
    text.mask[1, 3:] = False
    codes[0, 4:] = -1
    codes[2, 2:] = -1
    given = torch.tensor([1, 0, 2])
    together = transformer(codes, text, given)
    for row, faces in enumerate((4, 6, 2)):
        length = int(text.mask[row].sum())
        lone_text = Text(text.tokens[row : row + 1, :length], text.mask[row : row + 1, :length])
        alone = transformer(codes[row : row + 1, :faces], lone_text, given[row : row + 1])
        torch.testing.assert_close(together[row, : faces + 1], alone[0], atol=1e-4, rtol=1e-4)
        assert together[row, faces + 1 :].abs().sum() == 0


@pytest.mark.parametrize("given", [0, 1, 3])
def test_a_step_at_a_time_equals_all_at_once(transformer: MeshTransformer, given: int) -> None:
    codes, text = some_codes(2, 5), some_text(2)
    expected = transformer.logits(codes, text, torch.tensor([given, given]))
    symbols = transformer.symbols(codes)
    state = transformer.begin(text, codes[:, :given] if given else None, capacity=5)
    for face in range(given, 5):
        for vertex in range(4):
            for level in range(3):
                logits = transformer.step_fine(state, vertex, level)
                torch.testing.assert_close(logits, expected[:, face, vertex, level], atol=1e-4, rtol=1e-4)
                transformer.take(state, level, symbols[:, face, vertex, level])
        transformer.finish_face(state, symbols[:, face])


def test_the_text_reaches_the_first_code(transformer: MeshTransformer) -> None:
    codes = some_codes(1, 1)
    first, second = (transformer.logits(codes, some_text(1))[0, 0, 0, 0] for _ in range(2))
    assert (first - second).abs().max() > 1e-2


def test_a_given_part_changes_what_follows(transformer: MeshTransformer) -> None:
    codes, text = some_codes(1, 4), some_text(1)
    free, given = (transformer.logits(codes, text, torch.tensor([n])) for n in (0, 2))
    assert (free - given).abs().max() > 1e-3


def test_targets_leave_out_padding_and_what_is_certain(transformer: MeshTransformer) -> None:
    codes = some_codes(1, 3)
    codes[0, 2:] = -1
    targets = transformer.targets(codes)[0]
    assert targets[0, 3].tolist() == [BOOK, IGNORE, IGNORE]
    assert (targets[1] >= 0).all()
    assert targets[2].flatten().tolist() == [BOOK + 1] + [IGNORE] * 11
    assert (targets[3] == IGNORE).all()


def test_gradients_reach_every_parameter(transformer: MeshTransformer) -> None:
    transformer(some_codes(2, 4), some_text(2), torch.tensor([0, 2])).sum().backward()
    assert [name for name, p in transformer.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


def test_a_few_steps_learn_a_repeated_batch() -> None:
    torch.manual_seed(0)
    model = MeshTransformer(CONFIG, torch.randn(3, BOOK, 8))
    codes, text = some_codes(2, 4), some_text(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = model(codes, text).sum().item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(codes, text).sum()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first


def test_too_many_faces_are_refused_with_the_reason(transformer: MeshTransformer) -> None:
    with pytest.raises(ValueError, match="21 faces does not fit a context of 20"):
        transformer(some_codes(1, 21), some_text(1))
