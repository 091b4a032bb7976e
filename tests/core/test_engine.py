"""The engine against the transformer whose weights it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core import MeshGPT
from core.conditioning import Text, tokenize
from core.decoding import Row, Sampling, Stepper, decode
from core.engine import Engine, matrix
from core.grammar import CodeGrammar
from core.transformer import IGNORE, MeshTransformer, TransformerConfig
from training.data.dataset import HELD_OUT_SEEDS
from training.procedural import generate

BOOK = 11
CONFIG = TransformerConfig(
    codes_per_vertex=3,
    codebook_size=BOOK,
    code_width=8,
    dim=32,
    depth=2,
    heads=2,
    fine_dim=32,
    fine_depth=2,
    fine_heads=2,
    text_width=16,
    max_faces=40,
)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def a_transformer(config: TransformerConfig = CONFIG, std: float = 0.3) -> MeshTransformer:
    torch.manual_seed(0)
    transformer = MeshTransformer(config, torch.randn(config.codes_per_vertex, config.codebook_size, config.code_width)).eval()
    for parameter in transformer.parameters():  # what starts at zero must not hide a mistake
        torch.nn.init.normal_(parameter, std=std)
    return transformer


def some_text(rows: int, tokens: int = 5) -> Text:
    mask = torch.ones(rows, tokens, dtype=torch.bool)
    mask[-1, 3:] = False
    return Text(torch.randn(rows, tokens, 16), mask)


def some_codes(config: TransformerConfig, rows: int, faces: int) -> Tensor:
    codes = torch.randint(0, config.codebook_size, (rows, faces, config.codes_per_face))
    if config.vertices_per_face == 4:
        codes[:, ::2, 3 * config.codes_per_vertex :] = -1
    return codes


def logits_of(stepper: Stepper, transformer: MeshTransformer, codes: Tensor, text: Text, given: int) -> Tensor:
    """[b, n - given, v, k, vocabulary] of the faces after the given ones, a step at a time."""
    symbols, config = transformer.symbols(codes), transformer.config
    state = stepper.begin(text, codes[:, :given] if given else None, codes.shape[1])
    faces = []
    for face in range(given, codes.shape[1]):
        for vertex in range(config.vertices_per_face):
            for level in range(config.codes_per_vertex):
                faces.append(stepper.step_fine(state, vertex, level))
                stepper.take(state, level, symbols[:, face, vertex, level])
        stepper.finish_face(state, symbols[:, face])
    shape = -1, config.vertices_per_face, config.codes_per_vertex
    return torch.stack(faces, 1).unflatten(1, shape)


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("given", [0, 4])
@pytest.mark.parametrize(
    "kind", [{}, {"codes_per_vertex": 1}, {"codes_per_vertex": 2, "vertices_per_face": 3}, {"codes_per_vertex": 4, "fine_dim": 24}]
)
def test_its_logits_are_those_of_the_transformer_at_once_and_step_by_step(rows: int, given: int, kind: dict[str, int]) -> None:
    transformer = a_transformer(replace(CONFIG, **kind))
    codes, text = some_codes(transformer.config, rows, 7), some_text(rows)
    found = logits_of(Engine(transformer, precision="fp32"), transformer, codes, text, given)
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
    codes, text, rows = some_codes(CONFIG, 3, 6), some_text(3), torch.tensor([2, 0, 0, 1, 2])
    symbols = transformer.symbols(codes)
    expected = transformer.logits(codes, text, torch.full((3,), 2))
    engine = Engine(transformer, precision="fp32")
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
    config = stepper.config
    samples = [
        Row(CodeGrammar(config.codebook_size, config.codes_per_vertex), np.random.default_rng((seed, row)), []) for row in range(rows)
    ]
    decode(stepper, text, samples, sampling, given=None if given is None else given[0].numpy(), max_faces=faces)
    return [sample.faces for sample in samples]


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_it_draws_the_codes_that_the_transformer_draws(guidance: float, temperature: float) -> None:
    transformer, sampling = a_transformer(), Sampling(temperature, 0.01, guidance)
    given = some_codes(CONFIG, 1, 3)
    assert drawn(Engine(transformer, precision="fp32"), 3, sampling, given) == drawn(transformer, 3, sampling, given)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_sample_is_the_same_alone_and_among_eight(guidance: float, precision: str) -> None:
    engine, sampling = Engine(a_transformer(std=0.15), precision=precision), Sampling(guidance_scale=guidance)
    eight = drawn(engine, 8, sampling, faces=20)
    assert len({len(faces) for faces in eight}) > 1  # rows left one after the other
    assert drawn(engine, 1, sampling, faces=20) == eight[:1]


def test_another_request_in_between_changes_nothing() -> None:
    engine = Engine(a_transformer())
    first = drawn(engine, 2, Sampling(), seed=3)
    drawn(engine, 8, Sampling(), some_codes(CONFIG, 1, 9), seed=4)
    assert drawn(engine, 2, Sampling(), seed=3) == first


def test_memories_stay_where_they_are() -> None:
    engine = Engine(a_transformer())
    drawn(engine, 4, Sampling())
    places = [(layer.memory.keys.data_ptr(), layer.memory.values.data_ptr()) for layer in engine.coarse + engine.fine]
    drawn(engine, 4, Sampling(), seed=1)
    drawn(engine, 2, Sampling(), some_codes(CONFIG, 1, 3), seed=1)
    assert places == [(layer.memory.keys.data_ptr(), layer.memory.values.data_ptr()) for layer in engine.coarse + engine.fine]


def test_a_given_part_costs_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, passes = Engine(a_transformer(replace(CONFIG, max_faces=300))), []
    for name in ("read_faces", "read_vertices", "step_fine", "finish_face"):

        def counted(*arguments: object, name: str = name, method: object = getattr(engine, name)) -> object:
            passes.append(name)
            return method(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(engine, name, counted)
    drawn(engine, 8, Sampling(), some_codes(CONFIG, 1, 200), faces=1)
    assert passes == ["read_faces", "read_vertices"] + ["step_fine"] * 12


def test_a_window_as_wide_as_the_mesh_changes_nothing() -> None:
    transformer = a_transformer()
    codes, text = some_codes(CONFIG, 2, 8), some_text(2)
    found, expected = (logits_of(Engine(transformer, window, "fp32"), transformer, codes, text, 3) for window in (9, None))
    torch.testing.assert_close(found, expected)


def test_what_is_outside_the_window_is_forgotten_by_a_pass_as_by_steps() -> None:
    transformer = a_transformer()
    transformer.given_embedding.weight.zero_()  # given or drawn, a face is then the same
    engine = Engine(transformer, 3, "fp32")
    codes, text = some_codes(CONFIG, 2, 12), some_text(2)
    by_steps = logits_of(engine, transformer, codes, text, 0)[:, 10:]
    torch.testing.assert_close(logits_of(engine, transformer, codes, text, 10), by_steps, atol=2e-4, rtol=1e-4)
    assert (by_steps - logits_of(Engine(transformer, None, "fp32"), transformer, codes, text, 0)[:, 10:]).abs().max() > 1e-2


@dataclass(frozen=True)
class Richer(TransformerConfig):
    """A configuration with something the engine has never heard of."""

    gates: bool = False


def test_a_configuration_it_does_not_know_is_refused_with_the_reason() -> None:
    assert Engine.supports(Richer(**asdict(CONFIG))) is None
    transformer = a_transformer()
    transformer.config = Richer(**asdict(CONFIG), gates=True)
    with pytest.raises(ValueError, match="does not know gates"):
        Engine(transformer)


def nats(stepper: Stepper, transformer: MeshTransformer, codes: Tensor, text: Text) -> float:
    """What meshes cost without their end, all rows and faces together, by the stepper's logits."""
    targets = transformer.targets(codes)[:, :-1]
    logits = logits_of(stepper, transformer, codes, text, 0)
    return float(F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORE, reduction="sum"))


def test_int8_weights_cost_less_than_half_a_percent_of_the_loss_on_held_out_meshes() -> None:
    model = MeshGPT.from_pretrained(Path(__file__).parents[2] / "models" / "default", "cpu")
    samples = [generate(family, HELD_OUT_SEEDS + 7) for family in ("table", "chair", "shelf", "bed", "lamp", "house", "sofa", "barrel")]
    meshes = [torch.from_numpy(model.tokenizer.encode(sample.mesh)) for sample in samples]
    codes = torch.nn.utils.rnn.pad_sequence(meshes, batch_first=True, padding_value=-1)
    tower = model.text_tower
    text = tower(tokenize([sample.captions[0] for sample in samples], tower.config.context))
    full, small = (nats(Engine(model.transformer, precision=kind), model.transformer, codes, text) for kind in ("fp32", "int8"))
    assert small < 1.005 * full
