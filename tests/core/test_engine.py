"""The engine against the transformer whose weights it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core import MeshGPT
from core.conditioning import Text
from core.decoding import Row, Sampling, Stepper, decode
from core.engine import Engine, matrix
from core.grammar import CodeGrammar
from core.transformer import MeshTransformer
from core.transformer_config import TransformerConfig
from training.data.dataset import HELD_OUT_SEEDS
from training.procedural import generate

BOOK = 11
CONFIG = TransformerConfig(
    dim=(32, 32),
    max_seq_len=40 * 12,
    attn_depth=2,
    attn_heads=2,
    attn_dim_head=20,
    fine_attn_depth=2,
    fine_attn_heads=2,
    fine_attn_dim_head=12,
    condition_on_text=True,
    text_condition_model_kwargs=({"width": 16, "layers": 1, "heads": 2},),
)


@dataclass
class Codes:
    """As much of a tokenizer as a transformer needs to be built."""

    codes_per_vertex: int = 3
    vertices_per_face: int = 4
    codebook_size: int = BOOK

    @property
    def codes_per_face(self) -> int:
        return self.vertices_per_face * self.codes_per_vertex

    def code_vectors(self) -> Tensor:
        return torch.randn(self.codes_per_vertex, self.codebook_size, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def a_transformer(codes: Codes | None = None, std: float = 0.3, **changes: Any) -> MeshTransformer:
    torch.manual_seed(0)
    tokenizer: Any = codes or Codes()
    transformer = MeshTransformer(tokenizer, replace(CONFIG, **changes)).eval()
    for parameter in transformer.parameters():  # what starts at zero must not hide a mistake
        torch.nn.init.normal_(parameter, std=std)
    return transformer


def an_engine(transformer: MeshTransformer, window: int | None = None, precision: str = "fp32") -> Engine:
    return Engine(transformer.tokenizer, transformer.config, transformer.state_dict(), window=window, precision=precision)


def some_text(rows: int, tokens: int = 5) -> Text:
    mask = torch.ones(rows, tokens, dtype=torch.bool)
    mask[-1, 3:] = False
    return Text(torch.randn(rows, tokens, 16), mask)


def some_codes(rows: int, faces: int, kind: Codes | None = None) -> Tensor:
    kind = kind or Codes()
    codes = torch.randint(0, kind.codebook_size, (rows, faces, kind.codes_per_face))
    if kind.vertices_per_face == 4:
        codes[:, ::2, 3 * kind.codes_per_vertex :] = -1
    return codes


def logits_of(stepper: Stepper, transformer: MeshTransformer, codes: Tensor, text: Text | None, given: int) -> Tensor:
    """[b, n - given, v, k, vocabulary] of the faces after the given ones, a step at a time."""
    symbols = transformer.symbols(codes)
    state = stepper.begin(text, codes[:, :given] if given else None, codes.shape[1])
    faces = []
    for face in range(given, codes.shape[1]):
        for vertex in range(stepper.vertices_per_face):
            for level in range(stepper.codes_per_vertex):
                faces.append(stepper.step_fine(state, vertex, level))
                stepper.take(state, level, symbols[:, face, vertex, level])
        stepper.finish_face(state, symbols[:, face])
    shape = -1, stepper.vertices_per_face, stepper.codes_per_vertex
    return torch.stack(faces, 1).unflatten(1, shape)


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("given", [0, 4])
@pytest.mark.parametrize("kind", [Codes(), Codes(1), Codes(2, 3), Codes(4)], ids=str)
def test_its_logits_are_those_of_the_transformer_at_once_and_step_by_step(rows: int, given: int, kind: Codes) -> None:
    transformer = a_transformer(kind)
    codes, text = some_codes(rows, 7, kind), some_text(rows)
    found = logits_of(an_engine(transformer), transformer, codes, text, given)
    at_once = transformer.logits(codes, text, torch.full((rows,), given))[:, given:7]
    torch.testing.assert_close(found, at_once, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(found, logits_of(transformer, transformer, codes, text, given), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("width", [24, 32, 100, 192])
@pytest.mark.parametrize("outputs", [1, 13, 64])
def test_an_int8_map_is_near_the_full_one_whatever_its_size(width: int, outputs: int) -> None:
    weight, x = torch.randn(outputs, width), torch.randn(5, width)
    expected = x @ weight.t()
    error = (matrix(weight, "int8")(x).float() - expected).abs().max()
    assert error < 0.03 * width**0.5  # of terms of size 1, each off by a hundredth or two


def test_after_a_choice_of_rows_each_goes_on_as_it_was() -> None:
    transformer = a_transformer()
    codes, text, rows = some_codes(3, 6), some_text(3), torch.tensor([2, 0, 0, 1, 2])
    symbols = transformer.symbols(codes)
    expected = transformer.logits(codes, text, torch.full((3,), 2))
    engine = an_engine(transformer)
    run = engine.begin(text, codes[:, :2], 6)
    for face in range(2, 6):
        if face == 3:
            run.select(rows)
            symbols, expected = symbols[rows], expected[rows]
        for vertex in range(4):
            for level in range(3):
                torch.testing.assert_close(engine.step_fine(run, vertex, level), expected[:, face, vertex, level], atol=2e-4, rtol=1e-4)
                engine.take(run, level, symbols[:, face, vertex, level])
        engine.finish_face(run, symbols[:, face])


def drawn(
    stepper: Stepper, rows: int, sampling: Sampling, given: Tensor | None = None, seed: int = 0, faces: int = 6
) -> list[list[list[int]]]:
    """The faces of `rows` samples."""
    torch.manual_seed(7)
    text = some_text(2 if sampling.guidance_scale != 1 else 1)
    samples = [
        Row(CodeGrammar(BOOK, stepper.codes_per_vertex), np.random.default_rng((seed, row)), []) for row in range(rows)
    ]
    decode(stepper, text, samples, sampling, given=None if given is None else given[0].numpy(), max_faces=faces)
    return [sample.faces for sample in samples]


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_it_draws_the_codes_that_the_transformer_draws(guidance: float, temperature: float) -> None:
    transformer, sampling = a_transformer(), Sampling(temperature, 0.01, guidance)
    given = some_codes(1, 3)
    assert drawn(an_engine(transformer), 3, sampling, given) == drawn(transformer, 3, sampling, given)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_sample_is_the_same_alone_and_among_eight(guidance: float, precision: str) -> None:
    engine, sampling = an_engine(a_transformer(std=0.15), precision=precision), Sampling(guidance_scale=guidance)
    eight = drawn(engine, 8, sampling, faces=20)
    assert len({len(faces) for faces in eight}) > 1  # rows left one after the other
    assert drawn(engine, 1, sampling, faces=20) == eight[:1]


def test_another_request_in_between_changes_nothing() -> None:
    engine = an_engine(a_transformer())
    first = drawn(engine, 2, Sampling(), seed=3)
    drawn(engine, 8, Sampling(), some_codes(1, 9), seed=4)
    assert drawn(engine, 2, Sampling(), seed=3) == first


def test_memories_stay_where_they_are() -> None:
    engine = an_engine(a_transformer())
    drawn(engine, 4, Sampling())
    places = [(layer.memory.keys.data_ptr(), layer.memory.values.data_ptr()) for layer in engine.coarse + engine.fine]
    drawn(engine, 4, Sampling(), seed=1)
    drawn(engine, 2, Sampling(), some_codes(1, 3), seed=1)
    assert places == [(layer.memory.keys.data_ptr(), layer.memory.values.data_ptr()) for layer in engine.coarse + engine.fine]


def test_a_given_part_costs_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, passes = an_engine(a_transformer(max_seq_len=300 * 12)), []
    for name in ("read_faces", "read_vertices", "step_fine", "finish_face"):

        def counted(*arguments: object, name: str = name, method: object = getattr(engine, name)) -> object:
            passes.append(name)
            return method(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(engine, name, counted)
    drawn(engine, 8, Sampling(), some_codes(1, 200), faces=1)
    assert passes == ["read_faces", "read_vertices"] + ["step_fine"] * 12


def test_a_window_as_wide_as_the_mesh_changes_nothing() -> None:
    transformer = a_transformer()
    codes, text = some_codes(2, 8), some_text(2)
    found, expected = (logits_of(an_engine(transformer, window), transformer, codes, text, 3) for window in (9, None))
    torch.testing.assert_close(found, expected)


def test_what_is_outside_the_window_is_forgotten_by_a_pass_as_by_steps() -> None:
    transformer = a_transformer()
    transformer.given_embedding.weight.zero_()  # given or drawn, a face is then the same
    engine = an_engine(transformer, window=3)
    codes, text = some_codes(2, 12), some_text(2)
    by_steps = logits_of(engine, transformer, codes, text, 0)[:, 10:]
    torch.testing.assert_close(logits_of(engine, transformer, codes, text, 10), by_steps, atol=2e-4, rtol=1e-4)
    assert (by_steps - logits_of(an_engine(transformer), transformer, codes, text, 0)[:, 10:]).abs().max() > 1e-2


@pytest.mark.parametrize("rows", [1, 3])
def test_what_a_mesh_costs_is_what_the_transformer_says(rows: int) -> None:
    transformer = a_transformer()
    codes, text, given = some_codes(rows, 7), some_text(rows), torch.tensor([2, 0, 7])[:rows]
    codes[-1, 5:] = -1
    torch.testing.assert_close(an_engine(transformer).nats(codes, text, given), transformer.nats(codes, text, given), atol=1e-3, rtol=1e-4)


def test_without_text_it_agrees_too() -> None:
    transformer = a_transformer(condition_on_text=False)
    codes = some_codes(1, 5)
    found, expected = (logits_of(stepper, transformer, codes, None, 2) for stepper in (an_engine(transformer), transformer))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_a_configuration_it_does_not_know_is_refused_with_the_reason() -> None:
    assert Engine.supports(CONFIG) is None
    transformer = a_transformer(num_sos_tokens=2, attn_kwargs={"ff_glu": True})
    with pytest.raises(ValueError, match="does not know attn_kwargs and num_sos_tokens"):
        an_engine(transformer)


def test_int8_weights_cost_less_than_half_a_percent_of_the_loss_on_held_out_meshes() -> None:
    model = MeshGPT.from_pretrained(Path(__file__).parents[2] / "models" / "default", "cpu")
    samples = [generate(family, HELD_OUT_SEEDS + 7) for family in ("table", "chair", "shelf", "bed", "lamp", "house", "sofa", "barrel")]
    meshes = [torch.from_numpy(model.tokenizer.encode(sample.mesh)) for sample in samples]
    codes = torch.nn.utils.rnn.pad_sequence(meshes, batch_first=True, padding_value=-1)
    text, given = model.text_conditioner([sample.captions[0] for sample in samples]), torch.zeros(len(samples), dtype=torch.long)
    full, small = (
        float(Engine(model.tokenizer, model.config, model.weights, precision=precision).nats(codes, text, given).sum())
        for precision in ("fp32", "int8")
    )
    assert small < 1.005 * full
