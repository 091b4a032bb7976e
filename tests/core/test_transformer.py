"""The transformer: what a code may depend on, and that every way of computing its distribution agrees, with every option."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from core.conditioning import Text
from core.discretizer import MeshDiscretizer
from core.hints import corner_hints
from core.properties import Properties
from core.symbols import IGNORE
from core.tokenizer import Tokenizer
from core.transformer import MeshTransformer
from core.transformer_config import TransformerConfig

BOOK = 11
TOWER = {"width": 16, "layers": 1, "heads": 2, "vocabulary": 49408}
BASE: dict[str, Any] = {
    "dim": (32, 24),
    "max_seq_len": 12 * 20,
    "attn_depth": 2,
    "attn_dim_head": 16,
    "attn_heads": 2,
    "fine_attn_depth": 2,
    "fine_attn_dim_head": 12,
    "fine_attn_heads": 2,
}
TEXT: dict[str, Any] = {"condition_on_text": True, "text_condition_model_kwargs": (TOWER,)}
OPTIONS: dict[str, dict[str, Any]] = {
    "face reach": {"fine_reach": "face"},
    "gate loop before": {"coarse_pre_gateloop_depth": 2},
    "gate loop after": {"coarse_post_gateloop_depth": 1},
    "fine gate loop": {"fine_pre_gateloop_depth": 2},
    "window": {"local_attn_window_size": 2},
    "start tokens": {"num_sos_tokens": 3},
    "geometry": {"face_geometry": True},
    "distance": {"face_distance_bias": True},
    "waiting": {"corner_hints": True},
    "sides": {**TEXT, "corner_hints": True, "condition_on_properties": True},
    "reversible": {"reversible": True},
    "gated feed-forward": {"attn_kwargs": {"ff_glu": True, "attn_num_mem_kv": 2}},
    "text": TEXT,
    "adaptive norms": {**TEXT, "coarse_adaptive_rmsnorm": True},
    "film": {**TEXT, "text_cond_with_film": True},
    "fine text": {**TEXT, "fine_cross_attend_text": True, "cross_attn_num_mem_kv": 2},
    "properties": {**TEXT, "condition_on_properties": True},
}
PAIRS = list(combinations(OPTIONS, 2))


def make(*names: str, tokenizer: Tokenizer | None = None, **more: Any) -> MeshTransformer:
    """A small transformer with those options; what starts at zero must not hide a mistake."""
    torch.manual_seed(0)
    options = BASE | {key: value for name in names for key, value in OPTIONS[name].items()} | more
    model = MeshTransformer(tokenizer or MeshDiscretizer(BOOK), **options).eval()
    for name, parameter in model.named_parameters():
        if not name.startswith("text."):
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="module")
def transformer() -> MeshTransformer:
    return make("text")


def some_properties(rows: int) -> Tensor:
    some = [Properties(12, (1, 2, 0.5), "quads"), Properties(polygons="triangles"), Properties()]
    return torch.tensor([one.numbers() for one in some[:rows]])


def some_text(model: MeshTransformer, rows: int) -> Text | None:
    text = model.text(["a chair", "a round wooden table", ""][:rows]) if model.text else None
    return model.with_properties(text, some_properties(rows) if model.config.condition_on_properties else None)


def conditions(model: MeshTransformer) -> dict[str, Any]:
    """What `forward` may be told of two meshes."""
    texts = {"texts": ["a chair", "a house"]} if model.text else {}
    return texts | ({"properties": some_properties(2)} if model.config.condition_on_properties else {})


def some_codes(rows: int, faces: int, vertices: int = 4) -> Tensor:
    torch.manual_seed(rows + faces)
    codes = torch.randint(0, BOOK, (rows, faces, 3 * vertices))
    if vertices == 4:
        codes[:, ::2, 9:] = -1
    return codes


# ---- what a code depends on


@pytest.mark.parametrize(
    "options",
    [[], ["face reach"], ["fine gate loop", "gate loop before"], ["window", "start tokens"], ["geometry", "distance"], ["waiting"]],
)
def test_a_code_depends_on_earlier_codes_alone(options: list[str]) -> None:
    model, codes = make(*options), some_codes(1, 4)
    before = model.logits(codes)
    for at in range(4 * 12):
        changed = codes.clone().view(1, -1)
        if changed[0, at] < 0:
            continue
        changed[0, at] = (changed[0, at] + 1) % BOOK
        after = model.logits(changed.view(1, 4, 12))
        difference = (after - before).abs().sum(-1).flatten()
        assert difference[: at + 1].max() < 1e-4
        assert difference[at + 1 :].max() > 1e-3


def test_the_text_reaches_the_first_code(transformer: MeshTransformer) -> None:
    codes = some_codes(1, 1)
    first, second = (transformer.logits(codes, transformer.text([prompt]))[0, 0, 0, 0] for prompt in ("a chair", "a house"))
    assert (first - second).abs().max() > 1e-2


def test_a_given_part_changes_what_follows(transformer: MeshTransformer) -> None:
    codes, text = some_codes(1, 4), some_text(transformer, 1)
    free, given = (transformer.logits(codes, text, torch.tensor([n])) for n in (0, 2))
    assert (free - given).abs().max() > 1e-3


def test_within_a_window_far_faces_do_not_count() -> None:
    model, codes = make("window", attn_depth=1, fine_attn_depth=1), some_codes(1, 8)
    changed = codes.clone()
    changed[0, 0, :9] = (changed[0, 0, :9] + 1) % BOOK
    difference = (model.logits(changed) - model.logits(codes)).abs().amax((0, 2, 3, 4))
    assert difference[1:4].min() > 1e-3
    assert difference[5:].max() < 1e-5  # vertices two faces back know their own plan, which looks two faces back


# ---- every way agrees


@pytest.mark.parametrize("name", OPTIONS)
def test_alone_equals_in_a_batch(name: str) -> None:
    model, codes = make(name), some_codes(3, 6)
    text = some_text(model, 3)
    codes[0, 4:] = -1
    codes[2, 2:] = -1
    given = torch.tensor([1, 0, 2])
    together = model.nats(codes, text, given)
    for row, faces in enumerate((4, 6, 2)):
        alone_text = None
        if text is not None:
            extents = None if text.extents is None else text.extents[row : row + 1]
            alone_text = Text(text.tokens[row][text.mask[row]][None], text.mask[row][text.mask[row]][None], extents)
        alone = model.nats(codes[row : row + 1, :faces], alone_text, given[row : row + 1])
        torch.testing.assert_close(together[row, : faces + 1], alone[0], atol=1e-4, rtol=1e-4)
        assert together[row, faces + 1 :].abs().sum() == 0


@pytest.mark.parametrize("names", [[], *([name] for name in OPTIONS), *map(list, PAIRS)], ids=" + ".join)
def test_a_step_at_a_time_equals_all_at_once(names: list[str]) -> None:
    model, codes, given = make(*names), some_codes(2, 5), 2
    text, symbols = some_text(model, 2), model.symbols(codes)
    expected = model.logits(codes, text, torch.tensor([given, given]))
    state = model.begin(text, codes[:, :given], capacity=5)
    waiting = corner_hints(model.tokenizer, codes, torch.tensor([given, given]), text)
    for face in range(given, 5):
        for vertex in range(4):
            if model.reads_hints:
                model.tell_hints(state, waiting[:, face, vertex])
            for level in range(3):
                logits = model.step_fine(state, vertex, level)
                torch.testing.assert_close(logits, expected[:, face, vertex, level], atol=1e-4, rtol=1e-4)
                model.take(state, level, symbols[:, face, vertex, level])
        model.finish_face(state, symbols[:, face])


@pytest.mark.parametrize("name", OPTIONS)
def test_rows_that_leave_do_not_change_those_that_stay(name: str) -> None:
    model, codes = make(name), some_codes(3, 3)
    text, symbols = some_text(model, 3), model.symbols(codes)
    expected = model.logits(codes, text)
    state = model.begin(text, None, capacity=3, rows=3)
    rows, waiting = torch.tensor([0, 1, 2]), corner_hints(model.tokenizer, codes, None, text)
    for face in range(3):
        for vertex in range(4):
            if model.reads_hints:
                model.tell_hints(state, waiting[rows, face, vertex])
            for level in range(3):
                torch.testing.assert_close(model.step_fine(state, vertex, level), expected[rows, face, vertex, level], atol=1e-4, rtol=1e-4)
                model.take(state, level, symbols[rows, face, vertex, level])
        model.finish_face(state, symbols[rows, face])
        if face == 0:
            kept = torch.tensor([2, 0])
            state.select(kept)
            rows = rows[kept]


def test_the_loss_in_parts_equals_the_loss_at_once(transformer: MeshTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = some_codes(2, 5)
    codes[1, 3:] = -1
    whole = transformer.nats(codes, transformer.text(["a", "b"])).sum() / 8
    slopes = torch.autograd.grad(whole, [transformer.head, transformer.start_vertex])
    monkeypatch.setattr("core.loss.LOGITS_AT_ONCE", 7 * transformer.vocabulary)
    parts = transformer(codes=codes, texts=["a", "b"])
    torch.testing.assert_close(transformer.nats(codes, transformer.text(["a", "b"])).sum() / 8, whole)
    torch.testing.assert_close(parts, whole)
    for one, other in zip(torch.autograd.grad(parts, [transformer.head, transformer.start_vertex]), slopes, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_reversible_stack_has_the_gradients_of_its_plain_self(monkeypatch: pytest.MonkeyPatch) -> None:
    from core import reversible

    model, codes = make("reversible", "text", dropout=0.1).train(), some_codes(2, 5)
    torch.manual_seed(1)
    loss = model(codes=codes, texts=["a", "b"], cond_drop_prob=0)
    loss.backward()
    recomputed = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    monkeypatch.setattr(reversible.Reversible, "apply", lambda branches, x, *_: reversible.two_streams(branches, x))
    torch.manual_seed(1)
    plain = model(codes=codes, texts=["a", "b"], cond_drop_prob=0)
    plain.backward()
    torch.testing.assert_close(loss, plain)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(recomputed[name], parameter.grad, atol=1e-4, rtol=1e-3, msg=name)


def test_a_reversible_stack_keeps_no_activations_of_its_depth() -> None:
    def kept(depth: int, reversible: bool) -> int:
        model, held = make(attn_depth=depth, reversible=reversible), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t) or t, lambda t: t):
            loss = model(codes=some_codes(2, 8))
        own = {p.data_ptr() for p in model.parameters()}
        assert loss.requires_grad
        return sum(t.numel() for t in {t.data_ptr(): t for t in held if t.data_ptr() not in own}.values())

    assert kept(8, reversible=True) == kept(2, reversible=True)
    assert kept(8, reversible=False) > 1.2 * kept(2, reversible=False)


# ---- generation


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("names", [[], *([name] for name in OPTIONS), *map(list, PAIRS[::4])], ids=" + ".join)
def test_generation_with_and_without_memories_ends_alike(names: list[str], temperature: float) -> None:
    model = make(*names)
    options: dict[str, Any] = {"temperature": temperature, "max_faces": 3, "seed": 5, "return_codes": True}
    if model.text:
        options |= {"texts": ["a chair", "a round table"], "cond_scale": 2.0, "remove_parallel_component": True}
    else:
        options |= {"batch_size": 2, "prompt": some_codes(1, 2)[0]}
    if model.config.condition_on_properties:
        options |= {"properties": some_properties(2)}
    assert model.generate(**options).equal(model.generate(**options, cache_kv=False))


def test_generation_gives_coordinates_and_which_faces_there_are(transformer: MeshTransformer) -> None:
    coordinates, mask = transformer.generate(texts=["a chair", "a table", ""], max_faces=4, seed=1)
    assert coordinates.shape == (3, mask.shape[1], 4, 3)
    assert coordinates[mask][:, :3].isfinite().all()
    assert coordinates[~mask].isnan().all()


def test_each_text_has_its_own_mesh_whatever_its_company(transformer: MeshTransformer) -> None:
    options: dict[str, Any] = {"max_faces": 4, "seed": 1, "cond_scale": 2.0, "return_codes": True}
    together = transformer.generate(texts=["a chair", "a long wooden bench"], **options)
    alone = transformer.generate(texts=["a chair"], **options)
    assert together[0, : alone.shape[1]].equal(alone[0])


def test_a_prompt_is_kept_and_gone_on_from(transformer: MeshTransformer) -> None:
    prompt = some_codes(1, 3)[0]
    codes = transformer.generate(batch_size=2, prompt=prompt, max_faces=2, seed=3, return_codes=True)
    assert codes[:, : 3 * 4].reshape(2, 3, 12).equal(prompt.expand(2, -1, -1))


def test_too_many_new_faces_are_refused(transformer: MeshTransformer) -> None:
    with pytest.raises(ValueError, match=r"max_faces is 19; use 1..18"):
        transformer.generate(prompt=some_codes(1, 2)[0], max_faces=19)


# ---- options

CHANGES: dict[str, dict[str, Any]] = {
    "dim": {"dim": (32, 16)},
    "max_seq_len": {"max_seq_len": 12 * 8},
    "attn_depth": {"attn_depth": 1},
    "attn_dim_head": {"attn_dim_head": 8},
    "attn_heads": {"attn_heads": 1},
    "fine_attn_depth": {"fine_attn_depth": 1},
    "fine_attn_dim_head": {"fine_attn_dim_head": 8},
    "fine_attn_heads": {"fine_attn_heads": 1},
    "fine_reach": OPTIONS["face reach"],
    "attn_kwargs": {"attn_kwargs": {"attn_qk_norm": True}},
    "flash_attn": {"flash_attn": False},
    "dropout": {"dropout": 0.5},
    "coarse_pre_gateloop_depth": OPTIONS["gate loop before"],
    "coarse_post_gateloop_depth": OPTIONS["gate loop after"],
    "fine_pre_gateloop_depth": OPTIONS["fine gate loop"],
    "local_attn_window_size": OPTIONS["window"],
    "reversible": OPTIONS["reversible"],
    "num_sos_tokens": OPTIONS["start tokens"],
    "face_geometry": OPTIONS["geometry"],
    "face_distance_bias": OPTIONS["distance"],
    "corner_hints": OPTIONS["waiting"],
    "condition_on_text": {"condition_on_text": False},
    "text_condition_model_types": {"text_condition_model_types": ("small", "small"), "text_condition_model_kwargs": (TOWER, TOWER)},
    "text_condition_model_kwargs": {"text_condition_model_kwargs": ({**TOWER, "width": 24},)},
    "text_condition_cond_drop_prob": {"text_condition_cond_drop_prob": 1.0},
    "coarse_adaptive_rmsnorm": {"coarse_adaptive_rmsnorm": True},
    "text_cond_with_film": {"text_cond_with_film": True},
    "fine_cross_attend_text": {"fine_cross_attend_text": True},
    "cross_attn_num_mem_kv": {"cross_attn_num_mem_kv": 2},
    "condition_on_properties": {"condition_on_properties": True},
}


def traits(model: MeshTransformer) -> tuple[Any, ...]:
    """What tells two transformers apart: their parameters' shapes, how far they reach, their kernel, and the loss they train on."""
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    texts = conditions(model)
    torch.manual_seed(3)
    loss = model.train()(codes=some_codes(2, 6), **texts).item()
    return shapes, model.max_faces, model.coarse.attention.layers[0][1].attend.flash, round(loss, 4)


@pytest.mark.parametrize("name", CHANGES)
def test_another_value_of_an_option_is_another_model(name: str) -> None:
    usual = make("text", text_condition_cond_drop_prob=0.0)
    assert traits(usual) == traits(make("text", text_condition_cond_drop_prob=0.0))
    assert traits(make(**{**TEXT, "text_condition_cond_drop_prob": 0.0, **CHANGES[name]})) != traits(usual)


def test_no_option_is_left_out() -> None:
    assert set(TransformerConfig.__dataclass_fields__) - set(CHANGES) == {"quads"}  # refused or not, see below


# ---- training


def test_targets_leave_out_padding_and_what_is_certain(transformer: MeshTransformer) -> None:
    codes = some_codes(1, 3)
    codes[0, 2:] = -1
    targets = transformer.targets(codes)[0]
    assert targets[0, 3].tolist() == [BOOK, IGNORE, IGNORE]
    assert (targets[1] >= 0).all()
    assert targets[2].flatten().tolist() == [BOOK + 1] + [IGNORE] * 11
    assert (targets[3] == IGNORE).all()


def test_a_given_part_costs_nothing_where_the_extents_are_known() -> None:
    model, codes, given = make("properties"), some_codes(2, 4), torch.tensor([2, 3])
    properties = torch.tensor([Properties(faces=9).numbers(), Properties(extents=(1, 2, 2)).numbers()])
    text = model.with_properties(model.read_text(["a chair", "a table"], None, 2), properties)
    nats = model.nats(codes, text, given)
    loss = model(codes=codes, texts=["a chair", "a table"], properties=properties, given=given, cond_drop_prob=0.0)
    torch.testing.assert_close(loss, (nats[0].sum() + nats[1, 3:].sum()) / 8)


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_reach_every_parameter(name: str) -> None:
    model = make(name)
    texts = conditions(model)
    model(codes=some_codes(2, 4), **texts, given=torch.tensor([0, 2])).backward()
    missed = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or p.grad.abs().sum() == 0)]
    assert missed == []


@pytest.mark.parametrize("name", ["text", *OPTIONS])
def test_a_step_lowers_the_loss_of_a_repeated_batch(name: str) -> None:
    torch.manual_seed(0)
    options = BASE | OPTIONS[name] | {"text_condition_cond_drop_prob": 0.0}
    model = MeshTransformer(MeshDiscretizer(BOOK), **options)
    texts = conditions(model)
    optimizer, codes = torch.optim.AdamW(model.parameters(), lr=1e-3), some_codes(2, 4)
    before = model(codes=codes, **texts)
    before.backward()
    optimizer.step()
    assert model(codes=codes, **texts) < before


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["text", "gate loop before", "reversible", "adaptive norms"])
def test_half_precision_stays_finite(name: str, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    model = MeshTransformer(MeshDiscretizer(BOOK), **BASE | OPTIONS[name] | {"attn_depth": 1, "fine_attn_depth": 1})
    texts = {"text_embeds": model.embed_texts(["a chair", "a house"])} if model.text else {}
    trained = [p for name, p in model.named_parameters() if not name.startswith("text.")]
    optimizer, codes = torch.optim.AdamW(trained, lr=1e-3), some_codes(2, 3)
    for _ in range(200):
        with torch.autocast("cpu", precision):
            loss = model(codes=codes, **texts, cond_drop_prob=0)
        optimizer.zero_grad()
        loss.backward()
        assert torch.nn.utils.get_total_norm([p.grad for p in trained]).isfinite()
        optimizer.step()
    assert loss.isfinite()


def test_dropping_all_texts_equals_the_empty_prompt(transformer: MeshTransformer) -> None:
    codes = some_codes(2, 3)
    transformer.train()
    dropped = transformer(codes=codes, texts=["a chair", "a house"], cond_drop_prob=1.0)
    transformer.eval()
    torch.testing.assert_close(dropped, transformer(codes=codes))
    assert (dropped - transformer(codes=codes, texts=["a chair", "a house"])).abs() > 1e-4


def test_open_properties_change_nothing_and_each_of_the_others_does() -> None:
    model, codes = make("properties"), some_codes(1, 3)
    without = model(codes=codes, texts=["a chair"])
    losses = [
        model(codes=codes, texts=["a chair"], properties=torch.tensor([Properties(**known).numbers()]))
        for known in ({}, {"faces": 12}, {"faces": 40}, {"extents": (1, 1, 2)}, {"extents": (1, 2, 2)}, {"polygons": "quads"})
    ]
    torch.testing.assert_close(losses[0], without)
    assert len({round(loss.item(), 5) for loss in losses}) == len(losses)


def test_embedded_texts_stand_for_texts(transformer: MeshTransformer) -> None:
    texts = ["a chair", "a much longer prompt for a house"]
    embedded = transformer.embed_texts(texts)
    torch.testing.assert_close(transformer(codes=some_codes(2, 3), texts=texts), transformer(codes=some_codes(2, 3), text_embeds=embedded))


def test_triangles_alone_take_three_corners() -> None:
    model, codes = make(tokenizer=MeshDiscretizer(BOOK, quads=False)), some_codes(2, 4, vertices=3)
    assert model.nats(codes).shape == (2, 5)
    assert model.logits(codes).shape == (2, 5, 3, 3, BOOK + 2)


def test_vertices_and_faces_are_tokenized(transformer: MeshTransformer) -> None:
    vertices = torch.tensor([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]]).expand(2, -1, -1)
    faces = torch.tensor([[[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], [[0, 2, 1], [0, 1, 3], [-1, -1, -1], [-1, -1, -1]]])
    codes = transformer.tokenizer.tokenize(vertices=vertices, faces=faces)
    assert codes.shape == (2, 16, 3)
    loss = transformer(vertices=vertices, faces=faces, texts=["a", "b"])
    torch.testing.assert_close(loss, transformer(codes=codes, texts=["a", "b"]))


def test_a_saved_transformer_comes_back(tmp_path: Path) -> None:
    model = make("text", "gated feed-forward", "window")
    model.save_pretrained(tmp_path)
    again = MeshTransformer.from_pretrained(tmp_path)
    assert again.config == model.config
    torch.testing.assert_close(again(codes=some_codes(2, 3), texts=["a", "b"]), model(codes=some_codes(2, 3), texts=["a", "b"]))


# ---- what is refused


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "neither vertices and faces nor codes"),
        ({"codes": torch.zeros(1, 21, 12, dtype=torch.long)}, "21 faces does not fit a context of 20"),
        ({"codes": torch.zeros(1, 2, 9, dtype=torch.long)}, r"codes have shape \[1, 2, 9\]"),
        ({"codes": torch.zeros(1, 2, 12)}, "codes are of type torch.float32"),
        ({"codes": torch.full((1, 2, 12), BOOK)}, "codes are in 11..11; use 0..10"),
        ({"codes": torch.zeros(1, 2, 12, dtype=torch.long), "texts": ["a", "b"]}, "texts has 2 entries for 1 meshes"),
        ({"codes": torch.zeros(1, 2, 12, dtype=torch.long), "text_embeds": torch.ones(1, 3, 5)}, r"text_embeds has shape \[1, 3, 5\]"),
        ({"codes": torch.tensor([[[0] * 12], [[-1] * 12]])}, "codes holds no face in mesh 1"),
        ({"codes": torch.zeros(0, 2, 12, dtype=torch.long)}, "codes holds no mesh"),
        ({"codes": torch.zeros(1, 2, 12, dtype=torch.long), "given": torch.tensor([3])}, r"given is \[3\] for meshes of \[2\] faces"),
        ({"vertices": torch.zeros(2, 3, 3), "faces": torch.zeros(1, 1, 3, dtype=torch.long)}, r"vertices has shape \[2, 3, 3\]"),
        ({"vertices": torch.zeros(1, 3, 3), "faces": torch.zeros(1, 1, 3)}, "of torch.float32"),
        ({"vertices": torch.full((1, 3, 3), torch.nan), "faces": torch.tensor([[[0, 1, 2]]])}, "not a finite number"),
        ({"vertices": torch.rand(1, 3, 3), "faces": torch.tensor([[[0, 1, 3]]])}, "faces have index 3"),
        ({"vertices": torch.rand(1, 3, 3), "faces": torch.full((1, 1, 3), -1)}, "empty"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(transformer: MeshTransformer, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        transformer(**given)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fine_reach": "room"}, "fine_reach is 'room'"),
        ({"num_sos_tokens": -1}, "num_sos_tokens is -1"),
        ({"text_cond_with_film": True}, "text_cond_with_film needs condition_on_text"),
        ({"reversible": True, "attn_kwargs": {"num_residual_streams": 2}}, "num_residual_streams, which a reversible stack"),
        ({"quads": False}, "quads is False but the tokenizer's faces have 4 corners"),
        ({"max_seq_len": 11}, "max_seq_len is 11, less than the 12 codes"),
        ({"fine_attn_deph": 3}, "did you mean fine_attn_depth"),
        ({**TEXT, "text_condition_model_types": ("small", "small")}, "has 2 entries"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MeshTransformer(MeshDiscretizer(BOOK), **options)


def test_texts_without_a_tower_are_refused() -> None:
    with pytest.raises(ValueError, match="condition_on_text=True"):
        make()(codes=some_codes(1, 2), texts=["a chair"])


def test_every_option_of_the_configuration_is_documented() -> None:
    words = set((TransformerConfig.__doc__ or "").replace(",", " ").replace(":", " ").replace(".", " ").split())
    assert [name for name in TransformerConfig.__dataclass_fields__ if name not in words] == []
