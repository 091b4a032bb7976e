"""MeshGPT on an untrained checkpoint: everything but how good the meshes look."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core import Mesh, MeshGPT
from core.conditioning import Text
from core.decoding import OnFace, Row
from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.grammar import ABSENT, CodeGrammar, CoordinateGrammar
from core.mesh import FloatArray, IntArray
from core.pipeline import ATTEMPTS, NOTHING, TO_COMPLETE, Cancelled, Draft, Request, Sample, Stray, Task, ignore
from core.placement import STEPS, Placement, Prefix, likeliest, placements
from core.properties import Properties
from core.request import ShouldStop
from core.transformer import MeshTransformer
from tests.core.conftest import FACTS, SMALL

MOST_DRAWN = ATTEMPTS  # samples of a variant of one candidate
BOX = Mesh(
    np.array([[x, y, z] for z in (2, 5) for y in (0, 2) for x in (1, 2)], float),
    np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]),
)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> MeshGPT:
    return MeshGPT.from_pretrained(checkpoint, "cpu")


def same(one: Mesh, other: Mesh) -> bool:
    return one.vertices.tobytes() == other.vertices.tobytes() and one.faces.tobytes() == other.faces.tobytes()


def test_the_same_seed_gives_the_same_mesh_and_another_seed_another(model: MeshGPT) -> None:
    first, again, other = (model.generate("a chair", seed=seed, max_faces=8)[0] for seed in (3, 3, 4))
    assert same(first, again)
    assert not same(first, other)


def test_a_variant_does_not_depend_on_how_many_are_asked_for(model: MeshGPT) -> None:
    three = model.generate("a chair", variants=3, max_faces=6)
    assert same(three[0], model.generate("a chair", max_faces=6)[0])
    assert not same(three[0], three[1])


def test_several_texts_give_their_meshes_in_order(model: MeshGPT) -> None:
    both = model.generate(["a chair", "a table"], max_faces=5)
    assert same(both[0], model.generate("a chair", max_faces=5)[0])
    assert same(both[1], model.generate("a table", max_faces=5)[0])


def test_the_text_and_the_guidance_make_a_difference(model: MeshGPT) -> None:
    plain, text, guided = (
        model.generate(text, max_faces=6, guidance_scale=scale)[0] for text, scale in (("a chair", 1.0), ("a table", 1.0), ("a chair", 9.0))
    )
    assert not same(plain, text)
    assert not same(plain, guided)


def test_streamed_faces_are_the_mesh(model: MeshGPT) -> None:
    streamed: list[FloatArray] = []

    def on_faces(variant: int, start: int, coordinates: FloatArray) -> None:
        assert variant == 0
        del streamed[start:]
        assert start == len(streamed)
        streamed.extend(coordinates)

    result = model.run(Request("a chair", max_faces=7), on_faces)[0]
    np.testing.assert_array_equal(np.array(streamed), result.mesh.quads().face_coordinates())


def test_a_mesh_that_does_not_end_is_drawn_again_and_then_shown_with_a_note(model: MeshGPT) -> None:
    result = model.run(Request("a chair", max_faces=1))[0]
    assert not result.ended
    assert (result.rejected, result.drawn) == (MOST_DRAWN - 1, MOST_DRAWN)
    assert "stopped at 1 faces" in result.note


def test_a_sample_that_goes_wrong_is_taken_back_further_and_further_until_it_is_begun_anew(
    model: MeshGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every sample comes to nine faces and is stuck at the tenth, so that each time twice as many are taken back."""
    monkeypatch.setattr("core.pipeline.FEW", 1)
    monkeypatch.setattr("core.pipeline.BACK", 1)
    lengths: list[int] = []
    shown: list[FloatArray] = []

    def nine_faces(task: Task, rows: list[Row], kept: list[list[int]], show: OnFace, should_stop: ShouldStop | None) -> None:
        lengths.append(len(kept))
        for number in range(len(kept), 9):
            rows[0].faces.append([number, 0, 0, number, 1, 0, number, 1, 1, *[ABSENT] * 3])
            show(0)
        rows[0].faces[:0] = kept

    monkeypatch.setattr(model, "decode", nine_faces)
    monkeypatch.setattr(CoordinateGrammar, "stuck", lambda _: (9, 0, 0))

    def on_faces(variant: int, start: int, faces: FloatArray) -> None:
        shown[start:] = faces

    result = model.run(Request("a chair"), on_faces, attempts=8)[0]
    assert lengths == [0, 9, 9 - 1, 9 - 3, 9 - 7, 0, 9, 9 - 1]
    assert (len(result.mesh.faces), result.ended, result.rejected, result.drawn) == (9, False, 7, 8)
    np.testing.assert_array_equal(shown, result.mesh.quads().face_coordinates())


@pytest.mark.parametrize(("candidates", "expected"), [(3, [[], [0], [1], [2], []]), (1, [[], [], [0], [0], []])])
def test_candidates_that_went_wrong_are_taken_up_in_turn_once_there_are_two_of_them(
    model: MeshGPT, monkeypatch: pytest.MonkeyPatch, candidates: int, expected: list[list[int]]
) -> None:
    taken_up: list[list[list[int]]] = []

    def one_face(task: Task, rows: list[Row], kept: list[list[int]], show: OnFace, should_stop: ShouldStop | None) -> None:
        taken_up.append(kept)
        for number, row in enumerate(rows):
            row.faces = kept or [[number, 0, 0, number, 1, 0, number, 1, 1, *[ABSENT] * 3]]

    monkeypatch.setattr(model, "decode", one_face)
    monkeypatch.setattr(CoordinateGrammar, "stuck", lambda _: (9, 0, 0))
    model.run(Request("a chair", candidates=candidates), attempts=5)
    assert [[face[0] for face in kept] for kept in taken_up] == expected


def test_a_stray_turns_where_it_was_stuck_and_further_back_each_time_that_it_gets_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.pipeline.BACK", 1)
    faces = [[0, 0, 0, 0], [0, 0, 1, 0], [2, 0, 0, 0], [2, 0, 0, 1], [5, 5, 5, 5]]
    stray = Stray(faces, (3, 0, 0))
    assert stray.turn(faces) == (3, 0, 0)
    stray.follow(faces[:2], (3, 0, 0), anew=False)
    assert stray.turn(faces) == (2, 0, 0)
    assert stray.turn(faces[:2]) == (0, 0, 1), "what was given is not drawn otherwise"
    stray.follow(faces[:2], (2, 5, 5), anew=False)
    assert stray.turn(faces) == (0, 0, 0)
    stray.follow(faces[:2], (2, 5, 5), anew=False)
    assert (stray.turn(faces), stray.faces) == ((), faces)
    stray.follow(faces[:1], (1, 0, 0), anew=True)
    assert (stray.turn(faces[:1]), stray.faces) == ((1, 0, 0), faces[:1])
    stray.follow(faces[:2], (1, 0, 1), anew=False)
    assert (stray.turn(faces[:2]), stray.faces) == ((1, 0, 1), faces[:2])


def test_what_waits_comes_later_where_a_sample_was_stuck_at_it(model: MeshGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    bottom = [0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0]
    later: list[bool] = []
    monkeypatch.setattr(CoordinateGrammar, "close_later", lambda _: later.append(True))
    monkeypatch.setattr(model, "decode", lambda *_: None)
    for stuck, waits in (((0, 0, 0), False), ((0, 0, 1), True), ((0, 0, 2), False)):
        task, draft = model.prepare(Request("a chair"), ignore), Draft(0)
        model.draw(task, [draft], None)
        draft.strays = deque([Stray([bottom], stuck), Stray([], ())])
        with monkeypatch.context() as patched:
            patched.setattr(CoordinateGrammar, "waiting", lambda grammar: min(grammar.missing, default=()) and (0, 0, 1))
            later.clear()
            model.go_back(task, draft, None, leave_open=False)
        assert bool(later) == waits


def test_what_is_kept_of_a_sample_stays_and_the_grammar_goes_on_behind_it(model: MeshGPT) -> None:
    faces = Prefix(model.tokenizer, BOX, BOX.frame()).codes.tolist()
    for stuck, count in (((16, 16, 16), 6), (tuple(faces[-1][:3]), 5)):
        task, draft = model.prepare(Request("a chair", max_faces=30), ignore), Draft(0)
        model.draw(task, [draft], None)
        draft.strays = deque([Stray(faces, stuck), Stray([], ())])
        model.go_back(task, draft, None, leave_open=False)
        assert draft.rows[0].faces[:count] == faces[:count]
        grammar = model.tokenizer.grammar(None)
        for code in chain.from_iterable(draft.rows[0].faces):
            symbol = grammar.absent if code == ABSENT else code
            assert grammar.allowed()[symbol]
            grammar.push(symbol)


def test_a_mesh_to_complete_may_stay_open_where_it_was_when_closing_it_comes_to_nothing(
    model: MeshGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing new but one loose tetrahedron: the box without a lid stays open, and the result is taken for sound once that is allowed."""
    given = Mesh(BOX.vertices, BOX.faces[:4])
    a, b, c, d = (0, 0, 0), (0, 0, 2), (0, 2, 0), (2, 0, 0)
    tetrahedron = [[*chain.from_iterable(face), *[ABSENT] * 3] for face in ((a, c, b), (a, b, d), (a, d, c), (b, c, d))]
    left_open: list[bool] = []

    def a_tetrahedron(task: Task, rows: list[Row], kept: list[list[int]], show: OnFace, should_stop: ShouldStop | None) -> None:
        left_open.append(not rows[0].grammar.missing)  # type: ignore[attr-defined]
        if left_open[-1]:
            rows[0].faces, rows[0].ended = tetrahedron, True

    monkeypatch.setattr(model, "decode", a_tetrahedron)
    result = model.run(Request("a chair", given, bounds=((1, 0, 2), (2, 2, 5))), attempts=6)[0]
    assert left_open == [False, False, False, False, True]
    assert (result.ended, result.mesh.report().boundary_edges) == (True, given.report().boundary_edges)


@pytest.mark.parametrize(("top", "draws"), [(5, 1), (5.1, 1), (8, 4)])
def test_a_mesh_that_stays_away_from_its_bounds_is_drawn_again_until_half_of_the_times_are_over(
    model: MeshGPT, monkeypatch: pytest.MonkeyPatch, top: float, draws: int
) -> None:
    def one_face(task: Task, rows: list[Row], kept: list[list[int]], show: OnFace, should_stop: ShouldStop | None) -> None:
        assert task.prefix is not None
        rows[0].faces, rows[0].ended = [task.prefix.codes[0].tolist()[3:] + task.prefix.codes[0].tolist()[:3]], True

    monkeypatch.setattr(model, "decode", one_face)
    result = model.run(Request("a chair", BOX, candidates=1, bounds=((1, 0, 2), (2, 2, top))), attempts=6)[0]
    assert (result.ended, result.drawn, len(result.mesh.faces)) == (True, draws, 7)


def test_a_mesh_that_every_candidate_takes_for_whole_is_not_tried_again(model: MeshGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    draws: list[int] = []

    def copies(task: Task, rows: list[Row], kept: list[list[int]], show: OnFace, should_stop: ShouldStop | None) -> None:
        assert task.prefix is not None
        draws.append(len(rows))
        for row in rows:
            row.faces, row.ended = task.prefix.codes.tolist(), True

    monkeypatch.setattr(model, "decode", copies)
    result = model.run(Request("a chair", BOX))[0]
    assert draws == [TO_COMPLETE]
    assert len(result.mesh.faces) == len(BOX.faces)
    assert "nothing was added" in result.note


@pytest.mark.parametrize("seed", range(4))
def test_nothing_new_leaves_the_bounds(model: MeshGPT, seed: int) -> None:
    bounds = ((1, 0, 2), (2, 2.5, 6))  # within a box whose sides are all as long as the longest of these
    mesh = model.run(Request("a chair", BOX, seed=seed, bounds=bounds, max_faces=20), attempts=1)[0].mesh
    assert len(mesh.faces) > len(BOX.faces)
    np.testing.assert_array_less(np.array(bounds[0]) - 0.15, mesh.vertices.min(0))  # half a step of the grid is an eighth
    np.testing.assert_array_less(mesh.vertices.max(0), np.array(bounds[1]) + 0.15)


def test_a_first_sample_can_be_had_as_it_is(model: MeshGPT) -> None:
    result = model.run(Request("a chair", max_faces=1), attempts=1)[0]
    assert (result.ended, result.rejected, result.drawn) == (False, 0, 1)


@pytest.fixture
def all_sound(model: MeshGPT, monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """All samples pass for sound, but for empty ones. Gives those that were drawn."""
    drawn: list[Sample] = []

    def build(task: Task, row: Row) -> Sample:
        drawn.append(replace(MeshGPT.build(model, task, row), flaws=(not row.faces, 0, 0)))
        return drawn[-1]

    monkeypatch.setattr(model, "build", build)
    return drawn


def log_probability(checkpoint: Path, sample: Sample, text: str, given: list[list[int]]) -> Tensor:
    """Of each new face and of the end, by the transformer itself."""
    transformer = MeshTransformer.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        codes = torch.tensor([given + sample.row.faces])
        return -transformer.nats(codes, transformer.read_text([text], None, 1), torch.tensor([len(given)]))[0, len(given) :]


@pytest.mark.parametrize("seed", range(3))
def test_the_candidate_that_the_text_makes_likelier_is_chosen(model: MeshGPT, checkpoint: Path, all_sound: list[Sample], seed: int) -> None:
    result = model.run(Request("a chair", seed=seed, max_faces=6, candidates=5))[0]
    sound = [sample for sample in all_sound if sample.sound]
    gains = [(log_probability(checkpoint, one, "a chair", []) - log_probability(checkpoint, one, "", [])).sum() for one in sound]
    assert same(result.mesh, sound[int(np.argmax(gains))].mesh)
    assert (result.rejected, result.drawn) == (5 - len(sound), 5)


@pytest.mark.parametrize("text", ["", "a chair"])
def test_the_completion_with_the_likeliest_new_faces_is_chosen(
    model: MeshGPT, checkpoint: Path, all_sound: list[Sample], text: str
) -> None:
    request = Request(text, mesh=BOX, max_faces=10, candidates=5)
    given = model.place(request, (text, Properties())).codes.tolist()
    result = model.run(request)[0]
    sound = [sample for sample in all_sound if sample.sound]
    means = [log_probability(checkpoint, one, text, given).mean() for one in sound]
    assert same(result.mesh, sound[int(np.argmax(means))].mesh)


def test_candidates_are_the_samples_that_attempts_would_have_drawn(model: MeshGPT, all_sound: list[Sample]) -> None:
    model.run(Request("a chair", max_faces=5, candidates=MOST_DRAWN))
    at_once = [sample.mesh for sample in all_sound]
    all_sound.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sample, "sound", False)
        patch.setattr(Sample, "whole", False)
        model.run(Request("a chair", max_faces=5, candidates=1))
    assert all(same(one, other.mesh) for one, other in zip(at_once, all_sound, strict=True))


@pytest.mark.usefixtures("all_sound")
def test_the_best_of_a_variants_candidates_does_not_depend_on_how_much_is_made_at_once(
    model: MeshGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = model.generate("a chair", max_faces=6, candidates=3)[0]
    assert same(model.generate("a chair", variants=3, max_faces=6, candidates=3)[0], alone)
    monkeypatch.setattr("core.pipeline.MOST_ROWS", 4)
    assert same(model.generate("a chair", variants=3, max_faces=6, candidates=3)[0], alone)


@pytest.mark.usefixtures("all_sound")
def test_the_candidate_that_is_chosen_is_what_was_streamed_last(model: MeshGPT) -> None:
    chosen = set()
    for seed in range(8):
        streamed: list[FloatArray] = []
        started: list[int] = []

        def on_faces(
            variant: int, start: int, faces: FloatArray, streamed: list[FloatArray] = streamed, started: list[int] = started
        ) -> None:
            assert start <= len(streamed)
            started.append(start)
            streamed[start:] = faces

        result = model.run(Request("a chair", seed=seed, max_faces=6, candidates=4), on_faces)[0]
        np.testing.assert_array_equal(np.array(streamed), result.mesh.quads().face_coordinates())
        chosen.add(started.count(0))
    assert chosen == {1, 2}, "sometimes the first candidate should win, and sometimes another"


def test_only_broken_candidates_count_as_rejected(model: MeshGPT, all_sound: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    build = model.build

    def every_other_one_open(task: Task, row: Row) -> Sample:
        return replace(build(task, row), flaws=(False, len(all_sound) % 2, 0))

    monkeypatch.setattr(model, "build", every_other_one_open)
    result = model.run(Request("a chair", max_faces=5, candidates=6))[0]
    assert (result.rejected, result.drawn) == (3, 6)
    assert any(same(result.mesh, sample.mesh) for sample in all_sound[1::2])


def test_how_many_candidates_there_are_is_the_checkpoints_choice_if_nobody_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    MeshTransformer(MeshDiscretizer(17), SMALL).save_pretrained(tmp_path, facts=FACTS | {"candidates": 3})
    model = MeshGPT.from_pretrained(tmp_path, "cpu")
    assert model.info()["candidates"] == 3
    assert model.run(Request("a chair", max_faces=2), attempts=1)[0].drawn == 3
    assert model.run(Request("a chair", max_faces=2, candidates=2), attempts=1)[0].drawn == 2


@pytest.mark.parametrize(("said", "drawn"), [(None, TO_COMPLETE), (3, 3), (12, 12)])
def test_of_a_completion_there_are_more_candidates_if_nobody_says(model: MeshGPT, said: int | None, drawn: int) -> None:
    assert model.run(Request("a chair", BOX, max_faces=9, candidates=said), attempts=1)[0].drawn == drawn


def test_new_faces_are_neither_repeated_nor_folded(model: MeshGPT) -> None:
    for mesh in model.generate("a chair", variants=4, max_faces=30):
        report = mesh.report()
        assert report.duplicate == 0
        ordered = np.sort(mesh.faces, 1)
        assert not ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any()


def test_cancelling_stops_within_one_face(model: MeshGPT) -> None:
    faces = 0

    def on_faces(variant: int, start: int, coordinates: FloatArray) -> None:
        nonlocal faces
        faces += len(coordinates)

    with pytest.raises(Cancelled):
        model.run(Request("a chair", max_faces=30), on_faces, should_stop=lambda: faces >= 2)
    assert faces == 2


def test_completing_keeps_every_face_and_coordinate(model: MeshGPT) -> None:
    completed = model.complete(BOX, "a chair", max_faces=12)[0]
    assert len(completed.faces) > len(BOX.faces)
    np.testing.assert_array_equal(completed.quads().face_coordinates()[: len(BOX.faces)], BOX.face_coordinates())


def test_of_a_completion_new_faces_are_taken_back_and_those_given_between_them(
    model: MeshGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.pipeline.FEW", 1)
    monkeypatch.setattr("core.pipeline.BACK", 1)
    task = model.prepare(Request("a chair", BOX, candidates=1, bounds=((0, 0, 0), (4, 4, 8))), ignore)
    assert task.prefix is not None
    new = [[number, 0, 0, number, 1, 0, number, 1, 1, *[ABSENT] * 3] for number in (5, 6, 12)]
    faces = sorted([*task.prefix.codes.tolist(), *new])
    draft, lengths, shown = Draft(0), [], []
    task = replace(task, stream=lambda variant, start, faces: shown.append((start, len(faces))))

    def mixed(task: Task, rows: list[Row], kept: list[list[int]], show: OnFace, should_stop: ShouldStop | None) -> None:
        lengths.append(len(kept))
        for face in faces[len(kept) :]:
            rows[0].faces.append(face)
            show(0)
        rows[0].faces[:0] = kept

    def row(*_: object) -> Row:
        grammar = CodeGrammar(17, 3)
        monkeypatch.setattr(grammar, "stuck", lambda: (16, 0, 0))
        return Row(grammar, np.random.default_rng(0), [])

    monkeypatch.setattr(model, "decode", mixed)
    monkeypatch.setattr(model, "row", row)
    model.draw(task, [draft], None)
    for _ in range(4):
        model.go_back(task, draft, None, leave_open=False)
    before_the_last, before_the_first = ([face for face in faces if face < of_new] for of_new in (new[2], new[0]))
    assert lengths == [0, len(faces), len(before_the_last), len(before_the_first), 0]
    assert 0 < len(before_the_first) < len(before_the_last) - 2, "given faces are among them"
    anew = [(6, 1), (7, 1), (8, 1)]
    assert shown == [*anew, (6, 3), (6, 2), (8, 1), (6, 0), *anew, *anew]
    assert len(draft.best.mesh.faces) == 6 + 3


def test_a_completion_that_does_not_end_has_no_more_faces_than_asked_for(model: MeshGPT) -> None:
    for seed in range(4):
        shown: list[FloatArray] = []

        def on_faces(variant: int, start: int, faces: FloatArray, shown: list[FloatArray] = shown) -> None:
            shown[start:] = faces

        request = Request("a chair", Mesh(BOX.vertices, BOX.faces[3:]), max_faces=5, temperature=1.0, seed=seed)
        result = model.run(request, on_faces, attempts=1)[0]
        assert len(result.mesh.faces) <= 5
        np.testing.assert_array_equal(shown, result.mesh.quads().face_coordinates())


def test_completing_streams_the_given_faces_first(model: MeshGPT) -> None:
    starts = []
    model.run(Request("a chair", BOX, max_faces=9), lambda variant, start, coordinates: starts.append((start, len(coordinates))))
    assert starts[0] == (0, len(BOX.faces))
    assert starts[1] == (len(BOX.faces), 1)


def test_new_faces_join_the_given_vertices_exactly(model: MeshGPT) -> None:
    shifted = Mesh(BOX.vertices + np.array([0.001234, 0.1, 0], np.float32), BOX.faces)
    for completed in model.complete(shifted, variants=3, max_faces=30):
        distance = np.linalg.norm(completed.vertices[:, None] - shifted.vertices[None], axis=-1)
        close = (distance < 1e-4) & (distance > 0)
        assert not close.any()


def test_the_place_of_a_part_does_not_depend_on_how_many_places_are_compared_at_once(
    model: MeshGPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(mesh=Mesh(BOX.vertices, BOX.faces[:4]))
    at_once = model.place(request, NOTHING)
    monkeypatch.setattr("core.pipeline.FACES_AT_ONCE", 1)
    assert model.place(request, NOTHING).frame == at_once.frame


def test_a_part_stands_where_its_faces_are_likeliest(model: MeshGPT) -> None:
    part = Mesh(BOX.vertices, BOX.faces[:4])

    def cost(placement: Placement) -> float:
        prefix = Prefix(model.tokenizer, part, placement.frame(part))
        numbers = sum(len(np.unique(axis)) for axis in on_grid(part.frame().to_unit(part.vertices)).T)
        return model.costs([prefix], model.read(NOTHING))[0] - numbers * np.log(placement.share) / 4

    best = first = min(placements(), key=cost)
    for step in STEPS:
        while (better := min([best, *best.nearby(part, step)], key=cost)) != best:
            best = better
    assert model.place(Request(mesh=part), NOTHING).frame == best.frame(part)
    assert cost(best) < cost(first)


def test_every_placement_holds_the_part_inside_the_unit_box() -> None:
    flat = Mesh(BOX.vertices * [1, 1, 0.1], BOX.faces)
    corners = [Placement(0.5, x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)]
    for placement in [*placements(), *(near for corner in corners for near in corner.nearby(flat, 0.25))]:
        unit = placement.frame(flat).to_unit(flat.vertices)
        assert (unit >= np.array([-0.5, -0.5, 0]) - 1e-5).all()
        assert (unit <= np.array([0.5, 0.5, 1]) + 1e-5).all()


def test_of_a_part_of_many_faces_fewer_placements_are_compared() -> None:
    x, y = np.meshgrid(np.arange(15), np.arange(15))
    corners = (x * 16 + y).ravel()[:, None] + [0, 16, 17, 1]
    vertices = np.stack([*np.divmod(np.arange(256), 16), np.arange(256) % 7], 1)
    part, looked_at = Mesh(vertices.astype(np.float32), corners), []

    def costs(prefixes: list[Prefix]) -> list[float]:
        looked_at.extend(prefixes)
        return [len(looked_at) - float(number) for number in range(len(prefixes))]  # ever better

    likeliest(MeshDiscretizer(), part, costs)
    assert len(placements()) <= len(looked_at) <= len(placements()) + 8


def test_a_part_is_placed_where_none_of_its_faces_is_lost(model: MeshGPT) -> None:
    thin = Mesh(BOX.vertices * [0.3, 1, 1], BOX.faces)  # two steps of the grid wide, where it is as large as the whole
    assert len(Prefix(model.tokenizer, thin, Placement(0.45, 0.0, 0.0, 0.0).frame(thin)).codes) < len(BOX.faces)
    assert len(model.place(Request(mesh=thin), NOTHING).codes) == len(BOX.faces)


def test_a_flat_part_reaches_the_top_of_the_box() -> None:
    flat = Mesh(BOX.vertices * [1, 1, 0.1], BOX.faces)
    assert Placement(1.0, 0.0, 0.0, 1.0).frame(flat).to_unit(flat.vertices)[:, 2].max() == pytest.approx(1, abs=1e-5)


def test_a_text_outside_the_domain_gives_a_mesh_and_a_note(model: MeshGPT) -> None:
    result = model.run(Request("a fire-breathing dragon", max_faces=5))[0]
    assert len(result.mesh.faces) > 0
    assert "it knows 2 kinds of things, such as chair, table" in result.note
    assert "it knows" not in model.run(Request("two wooden chairs", max_faces=5))[0].note


def test_more_faces_than_the_model_can_make_are_refused(model: MeshGPT) -> None:
    with pytest.raises(MeshGPTError, match="at most 40 faces"):
        model.generate("a chair", max_faces=41)


def test_a_mesh_too_large_to_complete_is_refused(model: MeshGPT) -> None:
    rows = [Mesh(BOX.vertices + np.array([2 * i, 0, 0], np.float32), BOX.faces) for i in range(8)]
    large = Mesh.from_face_coordinates(np.concatenate([row.face_coordinates() for row in rows]))
    with pytest.raises(MeshGPTError, match="Decimate") as caught:
        model.complete(large)
    assert caught.value.code == "bad_mesh"


def test_info_is_plain_values(model: MeshGPT) -> None:
    info = model.info()
    assert info["domain"] == ["chair", "table"]
    assert info["max_faces"] == 40
    assert info["parameters"] > 49408 * 16


def test_of_several_flawed_samples_the_result_is_what_was_streamed_last(model: MeshGPT) -> None:
    for seed in range(6):
        streamed: list[FloatArray] = []

        def on_faces(variant: int, start: int, coordinates: FloatArray, streamed: list[FloatArray] = streamed) -> None:
            assert start <= len(streamed)
            del streamed[start:]
            streamed.extend(coordinates)

        result = model.run(Request("a chair", max_faces=6, seed=seed), on_faces)[0]
        assert result.rejected == MOST_DRAWN - 1
        np.testing.assert_array_equal(np.array(streamed), result.mesh.quads().face_coordinates())


def test_a_model_of_triangles_generates_and_completes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    MeshTransformer(MeshDiscretizer(17, quads=False), SMALL).save_pretrained(tmp_path, facts=FACTS)
    model, streamed = MeshGPT.from_pretrained(tmp_path, "cpu"), set()
    part = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]), np.array([[0, 2, 1], [0, 1, 3]]))
    made = model.complete(part, "a chair", max_faces=6, on_faces=lambda variant, start, faces: streamed.add(faces.shape[1:]))[0]
    assert streamed == {(4, 3)}
    assert len(made.faces) > 2
    assert (made.quads().faces[:, 3] < 0).all()
    assert len(model.generate("a chair", max_faces=3)[0].faces) > 0


# ---- properties and bounds


@pytest.fixture(scope="module")
def knowing(knowing_checkpoint: Path) -> MeshGPT:
    return MeshGPT.from_pretrained(knowing_checkpoint, "cpu")


WANTED = (Properties(), Properties(faces=30), Properties(extents=(1, 2, 0.5)), Properties(polygons="quads"))


def test_every_property_makes_a_difference(knowing: MeshGPT) -> None:
    made = [knowing.generate("a chair", max_faces=8, properties=properties)[0] for properties in WANTED]
    assert not any(same(one, other) for i, one in enumerate(made) for other in made[:i])


@pytest.mark.parametrize("wanted", WANTED, ids=str)
@pytest.mark.parametrize("text", ["a chair", ""])
def test_properties_are_read_as_the_transformer_reads_them(
    knowing_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, wanted: Properties, text: str
) -> None:
    knowing, transformer = MeshGPT.from_pretrained(knowing_checkpoint, "cpu"), MeshTransformer.from_pretrained(knowing_checkpoint).eval()
    monkeypatch.setattr("core.pipeline.GIVE_UP", 0.0)
    monkeypatch.setattr(knowing, "stepper", transformer)  # not the engine, which may calculate with fewer digits
    part = Mesh(BOX.vertices, BOX.faces[:2])
    request = Request(text, part, temperature=0, guidance_scale=3, max_faces=6, properties=wanted)
    prefix = knowing.place(request, (text, wanted))
    codes = transformer.generate(
        texts=[text],
        properties=torch.tensor([wanted.numbers()]),
        prompt=torch.from_numpy(prefix.codes),
        cond_scale=3 if text else 1,
        temperature=0,
        min_p=0.01,
        max_faces=4,
        return_codes=True,
    )
    assert isinstance(codes, Tensor)
    new = knowing.coordinates(codes.view(-1, 12).tolist()[2:], prefix)
    np.testing.assert_array_equal(knowing.run(request, attempts=1)[0].mesh.quads().face_coordinates()[2:], new)


def test_without_properties_nothing_of_them_is_read(knowing: MeshGPT, knowing_checkpoint: Path) -> None:
    before = knowing.generate("a chair", max_faces=8, candidates=2)[0]
    other = MeshGPT.from_pretrained(knowing_checkpoint, "cpu")
    other.text_conditioner.properties = None
    assert same(other.generate("a chair", max_faces=8, candidates=2)[0], before)


def test_the_candidate_that_properties_make_likelier_is_chosen(knowing: MeshGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    nats = knowing.stepper.nats

    def noted(codes: Tensor, text: Text, given: Tensor) -> Tensor:
        read.append(int(text.mask.sum(1).diff().abs()))
        return nats(codes, text, given)

    monkeypatch.setattr(knowing.stepper, "nats", noted)
    monkeypatch.setattr(Sample, "sound", True)
    knowing.run(Request("a chair", max_faces=9, candidates=3, properties=Properties(faces=30, extents=(4, 4, 8))))
    assert read == [2 + 2] * 3, "two words, and tokens of the number of faces and of the extents, which the other row lacks"


def test_properties_that_a_model_does_not_know_are_left_out_with_a_note(model: MeshGPT) -> None:
    plain = model.run(Request("a chair", max_faces=6))[0]
    asked = model.run(Request("a chair", max_faces=6, properties=Properties(30, (1, 2, 0.5))))[0]
    assert same(asked.mesh, plain.mesh)
    assert "cannot be asked for a number of faces and proportions, so that was left out" in asked.note
    assert "cannot be asked" not in plain.note


def test_more_faces_than_the_model_can_make_cannot_be_asked_for(knowing: MeshGPT) -> None:
    with pytest.raises(MeshGPTError, match=r"faces is 41 .* at most 40 faces"):
        knowing.generate("a chair", properties=Properties(41))


def test_bounds_fix_where_the_whole_stands_and_how_large_it_is(model: MeshGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "costs", lambda *_: pytest.fail("no placements are to be compared"))
    low, high = (-2.0, -1.0, 1.0), (4.0, 7.0, 9.0)
    prefix = model.place(Request(mesh=BOX, bounds=(low, high)), ("", Properties()))
    unit = (BOX.vertices - np.array([1, 3, 1])) / 8  # the middle of the box's floor, and its longest side
    np.testing.assert_array_equal(np.unique(prefix.codes.reshape(-1, 3), axis=0), np.unique(on_grid(unit), axis=0))
    for completed in model.complete(BOX, bounds=(low, high), max_faces=20, variants=2):
        assert (completed.vertices >= np.array([-3, -1, 1]) - 1e-5).all()
        assert (completed.vertices <= np.array([5, 7, 9]) + 1e-5).all()


def on_grid(unit: FloatArray) -> IntArray:
    """Codes z, y, x of points in the unit box, on a grid of 17."""
    return np.rint((unit + np.array([0.5, 0.5, 0])) * 16).astype(int)[:, ::-1]


def test_bounds_are_the_extents_of_the_whole_if_nobody_says_otherwise(knowing: MeshGPT) -> None:
    bounds, asked = ((0.0, 0.0, 0.0), (4.0, 2.0, 8.0)), Properties(extents=(1, 1, 1))
    assert knowing.prepare(Request(mesh=BOX, bounds=bounds), ignore).wanted == ("", Properties(extents=(4, 2, 8)))
    assert knowing.prepare(Request(mesh=BOX, bounds=bounds, properties=asked), ignore).wanted == ("", asked)
