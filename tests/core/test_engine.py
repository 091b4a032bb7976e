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

from core import Mesh, MeshGPT
from core.conditioning import Text
from core.decoding import Row, Sampling, Stepper, decode
from core.discretizer import MeshDiscretizer
from core.drafts import EdgeDrafter
from core.engine import Engine
from core.engine_layers import WHOLE, int8_pays, matrix
from core.grammar import CodeGrammar
from core.hints import corner_hints
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


def a_transformer(codes: Codes | MeshDiscretizer | None = None, std: float = 0.3, **changes: Any) -> MeshTransformer:
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
    return Text(torch.randn(rows, tokens, 16), mask, some_extents(rows))


def some_extents(rows: int) -> Tensor:
    """Those of the last row are open, if there are others."""
    extents = torch.rand(rows, 3)
    extents[max(1, rows - 1) :] = torch.nan
    return extents


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
    faces, waiting = [], corner_hints(transformer.tokenizer, codes, torch.full((len(codes),), given), text) if stepper.reads_hints else None
    for face in range(given, codes.shape[1]):
        for vertex in range(stepper.vertices_per_face):
            if waiting is not None:
                stepper.tell_hints(state, waiting[:, face, vertex])
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


@pytest.mark.parametrize("given", [0, 4])
def test_it_is_told_what_waits_as_the_transformer_is(given: int) -> None:
    transformer = a_transformer(MeshDiscretizer(BOOK), corner_hints=True)
    codes, text, counts = some_codes(3, 7), some_text(3), torch.full((3,), given)
    engine = an_engine(transformer)
    found = logits_of(engine, transformer, codes, text, given)
    at_once = transformer.logits(codes, text, counts)[:, given:7]
    torch.testing.assert_close(found, at_once, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(found, logits_of(transformer, transformer, codes, text, given), atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(engine.nats(codes, text, counts), transformer.nats(codes, text, counts), atol=1e-3, rtol=1e-4)
    assert (found - logits_of(an_engine(a_transformer(MeshDiscretizer(BOOK))), transformer, codes, text, given)).abs().max() > 1e-2


@pytest.mark.skipif(not int8_pays(), reason="no int8 here")
def test_int8_maps_many_rows_at_once_as_it_maps_few() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x, residual = (torch.randn(shape, generator=generator) for shape in ((96, 64), (WHOLE, 64), (WHOLE, 96)))
    whole, step = matrix(weight, "int8"), torch.cat([matrix(weight, "int8")(rows) for rows in x.split(7)])
    torch.testing.assert_close(whole(x), step, atol=0.02, rtol=0.01)
    torch.testing.assert_close(whole.add(residual, x), residual + step, atol=0.02, rtol=0.01)


@pytest.mark.parametrize("width", [24, 32, 100, 192])
@pytest.mark.parametrize("outputs", [1, 13, 64])
def test_an_int8_map_is_near_the_full_one_whatever_its_size(width: int, outputs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(outputs, width, generator=generator), torch.randn(5, width, generator=generator)
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
    stepper: Stepper,
    rows: int,
    sampling: Sampling,
    given: Tensor | None = None,
    seed: int = 0,
    faces: int = 6,
    drafters: list[EdgeDrafter] | None = None,
) -> list[list[list[int]]]:
    """The faces of `rows` samples."""
    torch.manual_seed(7)
    text = some_text(2 if sampling.guidance_scale != 1 else 1)
    samples = [Row(CodeGrammar(BOOK, stepper.codes_per_vertex), np.random.default_rng((seed, row)), []) for row in range(rows)]
    for sample, drafter in zip(samples, drafters or [], strict=drafters is not None):
        sample.drafter = drafter
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


@pytest.mark.parametrize("wrong_from", [0, 1, 3])
def test_a_drafted_corner_has_the_logits_of_its_codes_up_to_where_the_draft_is_wrong(wrong_from: int) -> None:
    transformer, rows = a_transformer(), 2
    codes, text = some_codes(rows, 3), some_text(rows)
    codes[:, :, 9:] = 1
    expected, symbols = transformer.logits(codes, text), transformer.symbols(codes)
    engine = an_engine(transformer)
    run = engine.begin(text, None, 3)
    for face in range(3):
        for vertex in range(4):
            draft = symbols[:, face, vertex].clone()
            draft[:, wrong_from:] = (draft[:, wrong_from:] + 1) % BOOK
            ahead = engine.step_vertex(run, vertex, draft)
            for level in range(3):
                logits = ahead[:, level] if level <= wrong_from else engine.step_fine(run, vertex, level)
                torch.testing.assert_close(logits, expected[:, face, vertex, level], atol=2e-4, rtol=1e-4)
                engine.take(run, level, symbols[:, face, vertex, level])
        engine.finish_face(run, symbols[:, face])


class Guesser(EdgeDrafter):
    """Guesses what a mesh that is known beforehand has there, one time in `right` what it has, else something else."""

    def __init__(self, mesh: list[list[int]], right: int, codes_per_vertex: int) -> None:
        super().__init__(BOOK, 4, codes_per_vertex, grid=False)
        self.mesh, self.right, self.k, self.at, self.asked = mesh, right, codes_per_vertex, 0, 0

    def add(self, face: Any) -> None:
        self.at += 1

    def guess(self, face: Any) -> tuple[int, ...]:
        self.asked += 1
        known = self.mesh[min(self.at, len(self.mesh) - 1)][self.k * len(face) :][: self.k]
        return tuple((BOOK if code < 0 else code) if self.asked % self.right else 0 for code in known)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("right", [1, 2, 1000])
def test_a_draft_good_or_bad_changes_nothing_that_is_drawn(guidance: float, temperature: float, right: int) -> None:
    engine, sampling = an_engine(a_transformer(std=0.2)), Sampling(temperature, 0.0, guidance)
    plain = drawn(engine, 3, sampling)
    drafters: list[EdgeDrafter] = [Guesser(mesh, right, 3) for mesh in plain]
    assert drawn(engine, 3, sampling, drafters=drafters) == plain


def test_what_is_drawn_with_drafts_is_distributed_as_the_logits_say() -> None:
    kind = Codes(codes_per_vertex=2, codebook_size=3)
    transformer = a_transformer(kind, std=0.15)
    engine, text, samples = an_engine(transformer), some_text(1), 1500
    corners = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    codes = torch.cat([corners, torch.zeros(9, 6, dtype=torch.long)], 1)[:, None]
    logits = transformer.logits(codes, text.select(torch.zeros(9, dtype=torch.long)))[:, 0, 0, :, :3].log_softmax(-1)
    expected = logits.gather(-1, corners[..., None]).sum((1, 2)).exp() * samples
    counts = torch.zeros(9)
    for seed in range(samples):
        grammar, drafter = CodeGrammar(3, 2), Guesser([[1, 2, 0, 0, 0, 0, 0, 0]], 3, 2)
        row = Row(grammar, np.random.default_rng(seed), [], drafter=drafter)
        decode(engine, text, [row], Sampling(), max_faces=1)
        counts[row.faces[0][0] * 3 + row.faces[0][1]] += 1
    assert expected.min() > 5
    assert ((counts - expected) ** 2 / expected).sum() < 26.1  # chi-square of 8 degrees of freedom, once in a thousand


def test_edges_guess_the_corners_of_a_box() -> None:
    box = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
    sides = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]])
    drafter, right = EdgeDrafter(129, 4, 3, grid=True), 0
    for face in MeshDiscretizer().encode(Mesh(box, sides)).reshape(-1, 4, 3).tolist():
        corners = [tuple(corner) for corner in face]
        right += sum(drafter.guess(corners[:at]) == corners[at] for at in range(4))
        drafter.add(corners)
    assert right >= 15  # of 24; eight corners are new


@pytest.mark.parametrize(("precision", "large", "count"), [("fp32", 0, 1), ("int8", 0, 2), ("int8", 2**25, 1)])
def test_small_steps_run_on_one_thread_and_everything_else_on_as_many_as_before(
    monkeypatch: pytest.MonkeyPatch, precision: str, large: int, count: int
) -> None:
    monkeypatch.setattr("core.engine.LARGE", large)
    engine, threads, before = an_engine(a_transformer(), precision=precision), [], torch.get_num_threads()
    step = engine.step_fine

    def noted(*step_of: Any) -> Tensor:
        threads.append(torch.get_num_threads())
        return step(*step_of)

    monkeypatch.setattr(engine, "step_fine", noted)
    torch.set_num_threads(2)
    drawn(engine, 1, Sampling(), faces=2)
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert set(threads) == {count}
    assert after == 2


def test_what_is_certain_of_an_absent_corner_takes_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, steps = an_engine(a_transformer()), []
    step = engine.step_fine

    def noted(run: Any, vertex: int, level: int) -> Tensor:
        steps.append((vertex, level))
        logits = step(run, vertex, level)
        logits[:, BOOK] += 100  # absent, wherever it may be
        return logits

    monkeypatch.setattr(engine, "step_fine", noted)
    faces = drawn(engine, 2, Sampling(), faces=1)
    assert [face[0][9:] for face in faces] == [[-1, -1, -1]] * 2
    assert steps == [(vertex, level) for vertex in range(3) for level in range(3)] + [(3, 0)]
