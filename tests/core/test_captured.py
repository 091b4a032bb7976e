"""Faces as one function over tensors that stay, run as it is on the CPU, against the decode loop over the same engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from core import MeshGPT
from core.captured import ROOMS, SHORTEST, Captured, Room, knows, shortest
from core.captured_layers import Memories
from core.conditioning import Text
from core.decoding import Row, Sampling, decode
from core.discretizer import MeshDiscretizer
from core.engine import Engine
from core.grammar import ABSENT, CodeGrammar
from core.mesh import IntArray, Mesh
from core.transformer import MeshTransformer
from core.transformer_config import TransformerConfig

LEVELS = 17
CONFIG = TransformerConfig(
    dim=(32, 24),
    max_seq_len=100 * 12,
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
class Learned:
    """As much of a tokenizer with learned codes as is needed here."""

    codes_per_vertex: int = 2
    vertices_per_face: int = 3
    codebook_size: int = 11
    levels: int = 128

    @property
    def codes_per_face(self) -> int:
        return self.vertices_per_face * self.codes_per_vertex

    def code_vectors(self) -> Tensor:
        return torch.randn(self.codes_per_vertex, self.codebook_size, 8, generator=torch.Generator().manual_seed(1))

    def grammar(self, given: IntArray | None = None) -> CodeGrammar:
        return CodeGrammar(self.codebook_size, self.codes_per_vertex, given, self.vertices_per_face)


TOKENIZERS = {
    "quads": MeshDiscretizer(LEVELS),
    "triangles": MeshDiscretizer(LEVELS, quads=False),
    "few points": MeshDiscretizer(4),
    "learned": Learned(),
    "learned quads": Learned(3, 4),
}


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def an_engine(kind: str = "quads", std: float = 0.3, window: int | None = None, precision: str = "fp32", **changes: Any) -> Engine:
    torch.manual_seed(0)
    tokenizer: Any = TOKENIZERS[kind]
    transformer = MeshTransformer(tokenizer, replace(CONFIG, **changes)).eval()
    for parameter in transformer.parameters():  # what starts at zero must not hide a mistake
        torch.nn.init.normal_(parameter, std=std)
    transformer.head[0, :, -1] = 0  # the end is seldom what is likeliest
    return Engine(tokenizer, transformer.config, transformer.state_dict(), window=window, precision=precision)


def some_text(rows: int, tokens: int = 5) -> Text:
    mask = torch.ones(rows, tokens, dtype=torch.bool)
    mask[-1, 3:] = False
    generator = torch.Generator().manual_seed(2)
    extents = torch.rand(1, 3, generator=generator).expand(rows, -1)  # the same with the prompt and without
    return Text(torch.randn(rows, tokens, 16, generator=generator), mask, extents)


def a_part(kind: str, sides: int = 3) -> IntArray:
    """Faces to go on from: some of a box, low enough that much may follow, or all six; for learned codes anything."""
    tokenizer: Any = TOKENIZERS[kind]
    if not isinstance(tokenizer, MeshDiscretizer):
        return np.random.default_rng(0).integers(0, tokenizer.codebook_size, (3, tokenizer.codes_per_face))
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
    quads = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]])[:sides]
    faces = quads if tokenizer.vertices_per_face == 4 else quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
    return tokenizer.encode(Mesh(corners, faces))


def sampled(
    captured: Captured | Engine,
    kind: str,
    sampling: Sampling,
    *,
    rows: int = 3,
    given: IntArray | None = None,
    drawn: int = 0,
    faces: int = 12,
    text: Text | None = None,
    **watching: Any,
) -> list[Row]:
    """Rows of new faces, by the loop or by whole faces. drawn: how many of the faces given each row has come to already."""
    tokenizer: Any = TOKENIZERS[kind]
    samples = [Row(tokenizer.grammar(given), np.random.default_rng((5, row, 0)), []) for row in range(rows)]
    if given is not None and drawn:
        for row in samples:
            for code in given[:drawn].ravel().tolist():
                row.grammar.push(row.grammar.absent if code == ABSENT else code)
        given = np.concatenate([given, given[:drawn]])
    text = some_text(2 if sampling.guidance_scale != 1 else 1) if text is None else text
    options: dict[str, Any] = {"given": given, "drawn": drawn, "max_faces": faces, **watching}
    if isinstance(captured, Captured):
        captured.decode(text, samples, sampling, **options)
    else:
        decode(captured, text, samples, sampling, **options)
    return samples


def faces_of(samples: list[Row]) -> list[tuple[list[list[int]], bool]]:
    return [(sample.faces, sample.ended) for sample in samples]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("part", [False, True])
def test_it_draws_the_codes_that_the_loop_draws(kind: str, guidance: float, temperature: float, part: bool) -> None:
    engine, sampling = an_engine(kind), Sampling(temperature, 0.01, guidance_scale=guidance)
    given = a_part(kind) if part else None
    expected = faces_of(sampled(engine, kind, sampling, given=given))
    assert faces_of(sampled(Captured(engine), kind, sampling, given=given)) == expected
    if temperature:  # at 0 it may run into a corner at once
        assert sum(len(faces) for faces, _ in expected) >= 3


@pytest.mark.parametrize("kind", ["quads", "triangles", "few points"])
@pytest.mark.parametrize("part", [False, True])
def test_what_waits_is_told_as_in_the_loop(kind: str, part: bool) -> None:
    engine, given = an_engine(kind, corner_hints=True), a_part(kind) if part else None
    for sampling in (Sampling(guidance_scale=2.5), Sampling(guidance_scale=2.5, choice_temperature=0.5)):
        expected = faces_of(sampled(engine, kind, sampling, given=given, rows=8))
        assert faces_of(sampled(Captured(engine), kind, sampling, given=given, rows=8)) == expected
        assert faces_of(sampled(an_engine(kind), kind, sampling, given=given, rows=8)) != expected


@pytest.mark.parametrize("kind", ["few points", "learned"])
def test_many_rows_end_at_many_lengths_as_in_the_loop(kind: str) -> None:
    engine, sampling, given = an_engine(kind, std=0.05), Sampling(1.2), a_part(kind, sides=6)
    options: dict[str, Any] = {"rows": 24, "given": given, "drawn": len(given), "faces": 30}
    expected = faces_of(sampled(engine, kind, sampling, **options))
    assert faces_of(sampled(Captured(engine), kind, sampling, **options)) == expected
    assert len({len(faces) for faces, _ in expected}) > 3
    assert {ended for _, ended in expected} == {True, False}


@pytest.mark.parametrize("kind", ["quads", "triangles", "learned"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_hopeless_is_given_up_where_the_loop_gives_it_up(kind: str, temperature: float) -> None:
    engine, captured = an_engine(kind, std=0.1), Captured(an_engine(kind, std=0.1))
    made = []
    for share in (0.0, 0.08, 0.2, 1.0):
        sampling = Sampling(temperature, guidance_scale=1.5, give_up=share)
        expected = faces_of(sampled(engine, kind, sampling, rows=8))
        assert faces_of(sampled(captured, kind, sampling, rows=8)) == expected
        made.append(sum(len(faces) for faces, _ in expected))
    assert made == sorted(made, reverse=True)
    assert made[0] > made[-1] == sum(bool(faces) for faces, _ in expected), "the first face is never given up"
    assert len(captured.rooms) == 1


def test_a_corner_that_has_begun_to_be_absent_is_never_hopeless() -> None:
    """What a model expects behind an absent code is not learned."""
    captured = Captured(an_engine("learned quads", std=0.1))
    made = [faces_of(sampled(captured, "learned quads", Sampling(give_up=share), rows=8)) for share in (0.0, 0.4)]
    assert made[0] == made[1]
    assert any(face[-1] == ABSENT for faces, _ in made[0] for face in faces)


def test_a_mesh_longer_than_the_shortest_graph_goes_on_as_in_the_loop() -> None:
    engine, sampling = an_engine("learned", max_seq_len=200 * 6), Sampling(0.0)
    length = SHORTEST + 20
    expected = faces_of(sampled(engine, "learned", sampling, faces=length))
    assert faces_of(sampled(Captured(engine), "learned", sampling, faces=length)) == expected
    assert max(len(faces) for faces, _ in expected) > SHORTEST


def test_with_a_window_it_forgets_what_the_loop_forgets() -> None:
    engine, sampling, given = an_engine("learned", window=4), Sampling(0.0), a_part("learned").repeat(3, 0)
    expected = faces_of(sampled(engine, "learned", sampling, given=given, faces=15))
    assert faces_of(sampled(Captured(engine), "learned", sampling, given=given, faces=15)) == expected
    assert faces_of(sampled(an_engine("learned"), "learned", sampling, given=given, faces=15)) != expected


def test_rows_may_each_have_a_text_of_their_own() -> None:
    engine, text, sampling = an_engine(), some_text(6), Sampling(guidance_scale=2.0)
    expected = faces_of(sampled(engine, "quads", sampling, text=text))
    assert faces_of(sampled(Captured(engine), "quads", sampling, text=text)) == expected


def test_without_text_it_agrees_too() -> None:
    engine = an_engine(condition_on_text=False)
    samples = [[Row(TOKENIZERS["quads"].grammar(None), np.random.default_rng(row), []) for row in range(2)] for _ in range(2)]
    decode(engine, None, samples[0], Sampling(), max_faces=8)
    Captured(engine).decode(None, samples[1], Sampling(), max_faces=8)
    assert faces_of(samples[1]) == faces_of(samples[0])


def test_guidance_at_right_angles_is_that_of_the_loop() -> None:
    engine, sampling = an_engine(), Sampling(0.8, guidance_scale=3.0, remove_parallel_component=True)
    assert faces_of(sampled(Captured(engine), "quads", sampling)) == faces_of(sampled(engine, "quads", sampling))


def test_a_sample_is_the_same_alone_and_among_eight_and_after_another_request() -> None:
    captured = Captured(an_engine())
    eight = faces_of(sampled(captured, "quads", Sampling(), rows=8))
    sampled(captured, "quads", Sampling(0.5, 0.2, guidance_scale=2.0), given=a_part("quads"), faces=20)
    assert faces_of(sampled(captured, "quads", Sampling(), rows=1)) == eight[:1]
    assert faces_of(sampled(captured, "quads", Sampling(), rows=8)) == eight


def test_temperature_min_p_and_guidance_need_no_new_tensors() -> None:
    captured = Captured(an_engine())
    for sampling in (Sampling(1.0, 0.0, guidance_scale=2.0), Sampling(0.3, 0.1, guidance_scale=4.0)):
        sampled(captured, "quads", sampling, rows=4)
        sampled(captured, "quads", sampling, rows=3)
    assert len(captured.rooms) == 1


def test_short_and_long_meshes_share_a_room() -> None:
    captured = Captured(an_engine("learned"))
    for faces in (1, 70):
        sampled(captured, "learned", Sampling(0.0), faces=faces)
    assert len(captured.rooms) == 1


def test_what_is_kept_ready_is_bounded_and_given_back() -> None:
    captured = Captured(an_engine("learned"))
    for rows in (1, 2, 4, 8, 16, 32):
        sampled(captured, "learned", Sampling(), rows=rows, faces=1)
    assert [size.rows for size in captured.rooms] == [4, 8, 16, 32][-ROOMS:]
    captured.release()
    assert not captured.rooms
    assert all(layer.memory.keys.numel() == 0 for layer in captured.engine.coarse + captured.engine.fine)
    assert sampled(captured, "learned", Sampling(), faces=3)[0].faces


def test_faces_are_told_of_as_they_come_and_stop_when_asked() -> None:
    told: list[tuple[int, int]] = []
    engine = an_engine("learned", std=0.05)
    for stepper in (engine, Captured(engine)):
        heard: list[int] = []
        samples = sampled(stepper, "learned", Sampling(), faces=9, on_face=heard.append, should_stop=lambda heard=heard: len(heard) > 8)
        told.append((len(heard), sum(len(sample.faces) for sample in samples)))
    assert told[0] == told[1]
    assert told[0][0] == told[0][1]


def test_in_half_precision_it_makes_faces_by_the_same_rules() -> None:
    samples = sampled(Captured(an_engine(std=0.1), "bf16"), "quads", Sampling(), rows=8, faces=20)
    assert sum(len(sample.faces) for sample in samples) > 10
    for sample in samples:
        grammar = TOKENIZERS["quads"].grammar(None)
        for code in np.array(sample.faces).flatten().tolist():
            symbol = grammar.absent if code < 0 else code
            assert grammar.allowed()[symbol]
            grammar.push(symbol)


def test_rows_with_a_grammar_of_their_own_are_left_to_the_loop() -> None:
    class NoEnd(CodeGrammar):
        def allowed(self) -> NDArray[np.bool_]:
            mask = super().allowed()
            mask[self.end] = False
            return mask

    engine = an_engine("learned", std=0.05)
    made = []
    for run in (Captured(engine).decode, partial(decode, engine)):
        rows = [Row(NoEnd(11, 2, None, 3), np.random.default_rng(row), []) for row in range(4)]
        assert not knows(rows)
        run(some_text(1), rows, Sampling(), max_faces=9)
        made.append(faces_of(rows))
    assert made[0] == made[1]
    assert [len(faces) for faces, _ in made[0]] == [9] * 4


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="there must be 2 or 6"):
        sampled(Captured(an_engine()), "quads", Sampling(guidance_scale=2.0), text=some_text(1))
    with pytest.raises(ValueError, match="int8"):
        Captured(an_engine(dim=(64, 64), precision="int8"))


# ---- what a graph needs


class OnTheDevice(TorchDispatchMode):
    """Refuses whatever would ask the host or have a shape that depends on values; notes the shapes of everything else."""

    REFUSED = (
        *("_local_scalar_dense", "nonzero", "_to_cpu", "masked_select", "unique2", "_unique2", "item", "is_nonzero", "equal"),
        *("lift_fresh", "scalar_tensor", "_pin_memory"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[int, ...]]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        name = function.overloadpacket.__name__
        if name in self.REFUSED or (name in ("_to_copy", "copy_") and "device" in options):
            raise AssertionError(f"{function} asks the host")
        if name in ("index", "index_put_") and any(isinstance(i, Tensor) and i.dtype == torch.bool for i in arguments[1]):
            raise AssertionError(f"{function} has a shape that depends on a mask")
        result = function(*arguments, **options)
        results = result if isinstance(result, tuple | list) else [result]
        self.seen.append((str(function), [tuple(one.shape) for one in results if isinstance(one, Tensor)]))
        return result


def a_room(kind: str, sampling: Sampling, rows: int = 4) -> Room:
    """One that stands before a first face."""
    captured, tokenizer = Captured(an_engine(kind)), TOKENIZERS[kind]
    samples = [Row(tokenizer.grammar(None), np.random.default_rng(row), []) for row in range(rows)]  # type: ignore[attr-defined]
    text = some_text(2 if sampling.guidance_scale != 1 else 1)
    room = captured.room(samples, text, sampling, 30)
    room.load(text, samples, sampling, None, 0, 30)
    return room


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize(
    "sampling",
    [Sampling(0.0), Sampling(1.0, 0.05, 2.0, choice_temperature=0.5), Sampling(guidance_scale=2.0, remove_parallel_component=True)],
    ids=str,
)
def test_a_face_asks_the_host_nothing_and_is_always_the_same_operations_on_the_same_shapes(kind: str, sampling: Sampling) -> None:
    room = a_room(kind, sampling)
    kept = {name: value.data_ptr() for name, value in vars(room).items() if isinstance(value, Tensor)}
    traces = []
    for _ in range(3):
        with OnTheDevice() as guard:
            room.step(SHORTEST)
        traces.append(guard.seen)
    assert len(traces[0]) > 100
    assert traces[0] == traces[1] == traces[2]
    assert kept == {name: value.data_ptr() for name, value in vars(room).items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("asking", [lambda x: x.sum().item(), lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: bool((x > 0).any())])
def test_the_guard_notices_what_asks_the_host(asking: Any) -> None:
    x = torch.ones(3)
    with pytest.raises(AssertionError, match=r"asks the host|depends on a mask"), OnTheDevice():
        asking(x)


def test_graphs_come_in_doubling_sizes() -> None:
    assert [shortest(faces) for faces in (1, 64, 65, 128, 129, 4000)] == [64, 64, 128, 128, 256, 4096]


def test_a_place_that_is_not_filled_is_not_attended_to() -> None:
    engine = an_engine()
    captured = Captured(engine)
    run = engine.begin(some_text(1), torch.from_numpy(a_part("quads"))[None], 3)
    memory = Memories(captured.weights.fine, 1, 20, False, engine.fine_turns.table)
    for layer in memory.layers:
        layer.fill_(1e3)  # of a mesh before
    memory.turned[:, 0, memory.width] = 1
    memory.load(engine.fine, torch.zeros(1, dtype=torch.long), run.vertices)
    logits = torch.bmm(memory.turned[:, :1], memory.layers[0][:, :, 0].transpose(1, 2)).softmax(-1)
    assert run.vertices == 12
    assert torch.equal(logits[..., 12:], torch.zeros_like(logits[..., 12:]))
    assert logits[..., :12].min() > 0


def test_the_default_model_makes_the_meshes_that_it_makes_in_the_loop() -> None:
    model = MeshGPT.from_pretrained(Path(__file__).parents[2] / "models" / "default", "cpu")
    engine = Engine(model.tokenizer, model.config, model.weights, precision="fp32")
    text = Text.stack([model.text_conditioner([prompt]) for prompt in ("a chair", "")])
    results = []
    for stepper in (Captured(engine).decode, partial(decode, engine)):
        rows = [Row(model.tokenizer.grammar(), np.random.default_rng((1, row, 0)), []) for row in range(2)]
        stepper(text, rows, Sampling(0.9, 0.01, guidance_scale=1.5), max_faces=20)
        results.append(faces_of(rows))
    assert results[0] == results[1]
    assert min(len(faces) for faces, _ in results[0]) > 10


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("sampling", [Sampling(0.0), Sampling(1.0, 0.01, 2.5, choice_temperature=0.6)], ids=str)
def test_a_recorded_face_is_replayed_as_it_would_run(kind: str, sampling: Sampling) -> None:
    engine, tokenizer = an_engine(kind), TOKENIZERS[kind]
    expected = faces_of(sampled(engine, kind, sampling, faces=20))
    torch.manual_seed(0)
    network = MeshTransformer(tokenizer, CONFIG)  # type: ignore[arg-type]
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.head[0, :, -1] = 0
    captured = Captured(Engine(tokenizer, CONFIG, network.state_dict(), device="cuda"))  # type: ignore[arg-type]
    text = some_text(2 if sampling.guidance_scale != 1 else 1)
    text = Text(text.tokens.cuda(), text.mask.cuda())
    for _ in range(2):  # recorded, then replayed from the first face on
        assert faces_of(sampled(captured, kind, sampling, faces=20, text=text)) == expected
    room = next(iter(captured.rooms.values()))
    assert set(room.player.graphs) == {SHORTEST}
