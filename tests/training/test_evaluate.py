"""training.evaluate and its rooms: each question on small inputs with a known answer, and the whole on an untrained model."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.mesh import FloatArray, IntArray, Mesh
from core.pipeline import ATTEMPTS, MeshGPT
from core.properties import Properties
from core.request import Request, Result
from core.transformer import MeshTransformer
from tests.core.conftest import FACTS, SMALL
from training import evaluate as evaluation
from training.data.augment import SYNONYMS
from training.data.dataset import CodeSet, build
from training.data.parquet import grid_of, mesh_of, write_shards
from training.evaluation.bars import bars
from training.evaluation.completion import LEAST, MOST, Finished, Unfinished, compare, finish_all, unfinish
from training.evaluation.making import keep_all, make_all
from training.evaluation.novelty import Training, rough_distances
from training.evaluation.paraphrases import PARAPHRASES
from training.evaluation.prompts import by_family, diversity, in_other_words, obedience, paraphrases, to_ask_for
from training.evaluation.report import markdown
from training.evaluation.sets import ValidationSet, Wanted, procedural_set, real_set
from training.evaluation.shapes import Judge, share_of_samples
from training.evaluation.sheet import Section, draw_sheet
from training.evaluation.tokens import loss, reconstruction
from training.metrics import sample_points, share
from training.procedural import FAMILIES, generate
from training.recognition import Recogniser, point_clouds, train_recogniser

KNOWN = ("chair", "tree", "barrel")
NOTHING = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 4), np.int64))
FLAT = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 1]]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training meshes of each of three families."""
    path = tmp_path_factory.mktemp("train")
    write_shards(path, build(list(KNOWN), range(8), 300, 1))
    return path


@pytest.fixture(scope="module")
def training(folder: Path) -> Training:
    return Training(CodeSet.load(folder), 0)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return train_recogniser(KNOWN, range(100, 112), range(200, 210))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of chairs and tables that knows properties."""
    torch.manual_seed(0)
    model = MeshTransformer(MeshDiscretizer(), replace(SMALL, max_seq_len=48 * 12, condition_on_properties=True))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(path, facts=FACTS, dtype=torch.float16)
    return path


def result(mesh: Mesh, ended: bool = True, rejected: int = 0) -> Result:
    return Result(mesh, "a chair", 0, 0, 1.0, 0.5, rejected, ended, drawn=rejected + 1)


class Playback:
    """Answers every request with the next of its meshes; what it is asked for is kept."""

    def __init__(self, *meshes: Mesh, drawn: int = 1) -> None:
        self.meshes, self.drawn, self.asked = meshes, drawn, list[tuple[Request, int]]()

    def run(self, request: Request, attempts: int = ATTEMPTS) -> list[Result]:
        mesh = self.meshes[len(self.asked) % len(self.meshes)]
        self.asked.append((request, attempts))
        drawn = self.drawn if attempts > 1 else 1
        if mesh is NOTHING:
            raise MeshGPTError("not a single face came of it", hint="try another seed", code="no_mesh")
        return [replace(result(mesh), variant=i, drawn=drawn, rejected=drawn - 1) for i in range(request.variants)]


def wanted(family: str, seed: int) -> Wanted:
    sample = generate(family, seed)
    return Wanted(sample.mesh.canonical(), sample.captions[0], family)


# ---- the sets


def test_procedural_sets_take_the_families_in_turn_and_hold_nothing_twice() -> None:
    one = procedural_set(KNOWN, 7, held_out=False)
    assert [each.category for each in one.wanted] == [KNOWN[i % 3] for i in range(7)]
    contents = {mesh.vertices.tobytes() for mesh in [*(each.mesh for each in one.wanted), *one.others] if mesh}
    assert len(contents) == 14


def test_a_set_of_held_out_regions_is_drawn_from_them() -> None:
    one = procedural_set(KNOWN, 3, held_out=True)
    regions = [generate(family, 1_000_000, held_out=True) for family in KNOWN]
    assert all(FAMILIES[sample.family].is_held_out(sample.parameters) for sample in regions)
    for sample, each in zip(regions, one.wanted, strict=True):
        np.testing.assert_array_equal(grid_of(sample.mesh.canonical()), grid_of(each.mesh))


def test_of_real_meshes_those_are_asked_for_whose_category_the_model_knows(folder: Path, training: Training) -> None:
    one = real_set(folder, ["tree", "dragon"], 5, training, seed=1)
    assert [each.category for each in one.wanted] == ["tree"] * 5
    assert len(one.everything) == 24
    trees = {generate("tree", seed).mesh.canonical().vertices.tobytes() for seed in range(8)}
    assert all(other is not None and other.canonical().vertices.tobytes() in trees for other in one.others)


# ---- the training set


def test_a_training_mesh_is_recognised_wherever_it_stands_and_a_new_one_is_not(training: Training) -> None:
    old, new = generate("chair", 3).mesh, generate("chair", 30).mesh
    assert training.holds(Mesh(old.vertices * 3 + 1, old.faces[::-1]))
    assert not training.holds(new)
    assert not training.holds(FLAT)


def test_the_nearest_training_mesh_to_points_on_one_of_them_is_that_one(training: Training) -> None:
    for index in training.places["chair"].tolist():
        whole = mesh_of(training.data.grid[training.data.faces(index)])
        cloud = sample_points(whole, 512, np.random.default_rng(1))
        found = training.nearest(cloud, "chair")
        assert found is not None
        assert found.index == index
        squares = np.square(cloud[:, None] - found.cloud[None]).sum(-1)
        assert found.distance == pytest.approx(squares.min(1).mean() + squares.min(0).mean(), rel=1e-4)


def test_one_way_the_rest_of_a_training_mesh_is_no_distance(training: Training) -> None:
    whole = mesh_of(training.data.grid[training.data.faces(0)])
    cloud = sample_points(whole, 1024, np.random.default_rng(1))
    legs = cloud[cloud[:, 2] < 0.3]
    found = training.nearest(legs, training.data.labels[0], one_way=True)
    assert found is not None
    assert found.distance == pytest.approx(np.square(legs[:, None] - found.cloud[None]).sum(-1).min(1).mean(), rel=1e-4)


def test_there_is_no_nearest_mesh_of_a_category_that_training_lacks(training: Training) -> None:
    assert training.nearest(np.zeros((4, 3), np.float32), "dragon") is None


def test_stored_meshes_are_sampled_where_they_stand(training: Training) -> None:
    cloud = training.clouds(np.array([5]), 4000)[0]
    mesh = mesh_of(training.data.grid[training.data.faces(5)])
    points = sample_points(mesh, 4000, np.random.default_rng(1))
    assert cloud.mean(0) == pytest.approx(points.mean(0), abs=0.02)
    assert cloud.std(0) == pytest.approx(points.std(0), abs=0.02)


def test_rough_distances_are_those_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    one, many = rng.random((7, 3)).astype(np.float32), rng.random((4, 5, 3)).astype(np.float32)
    squares = np.square(one[None, :, None] - many[:, None]).sum(-1)
    np.testing.assert_allclose(rough_distances(one, many, one_way=True), squares.min(2).mean(1), atol=1e-6)
    np.testing.assert_allclose(rough_distances(one, many, one_way=False), squares.min(2).mean(1) + squares.min(1).mean(1), atol=1e-6)


# ---- making


def test_a_first_sample_is_drawn_again_only_where_it_was_not_kept() -> None:
    mesh = generate("chair", 0).mesh
    once, twice = Playback(mesh), Playback(mesh, drawn=2)
    for model in (once, twice):
        make_all(model, [Request("a chair", seed=7)], "")  # type: ignore[arg-type]
    assert [attempts for _, attempts in once.asked] == [ATTEMPTS]
    assert [(request.seed, request.candidates, attempts) for request, attempts in twice.asked] == [(7, None, ATTEMPTS), (7, 1, 1)]


def test_where_no_face_comes_of_a_request_the_results_are_empty() -> None:
    results = keep_all(Playback(NOTHING), [Request("a chair", variants=3)], "")[0]  # type: ignore[arg-type]
    assert [(len(one.mesh.faces), one.ended) for one in results] == [(0, False)] * 3


# ---- shapes


def test_what_plays_back_training_meshes_is_sound_recognised_and_caught_copying(recogniser: Recogniser, training: Training) -> None:
    asked = [wanted(family, 50 + seed) for seed in range(2) for family in KNOWN]
    made = [result(generate(one.category, i // 3).mesh) for i, one in enumerate(asked)]
    found = Judge(recogniser, training, 0).made(made, ValidationSet("", asked, [None] * 6, asked))
    assert found["copied"]["share"] == found["flawless"] == found["recognised"]["share"] == 1
    assert found["copied_on_new_captions"]["of"] == sum(one.caption not in training.captions for one in asked)
    data = Judge(recogniser, training, 0).data(ValidationSet("", asked, [None] * 6, asked))
    assert data["copied"]["share"] == 0
    assert found["nearest_training_mesh"] < data["nearest_training_mesh"]
    assert "coverage" not in data


def test_one_thing_made_of_every_caption_covers_little(recogniser: Recogniser) -> None:
    asked = [wanted(family, 50 + seed) for seed in range(2) for family in KNOWN]
    made = [result(generate("tree", 77).mesh)] * 6
    found = Judge(recogniser, None, 0).made(made, ValidationSet("", asked, [None] * 6, asked))
    assert found["recognised"] == share([False, True, False] * 2)
    assert found["coverage"] == pytest.approx(1 / 6)
    assert found["nearest_neighbour_accuracy"]["share"] > 0.5
    assert "copied" not in found


def test_a_mesh_without_area_is_not_recognised_and_in_no_distance(recogniser: Recogniser) -> None:
    asked = [wanted("chair", 50), wanted("chair", 51)]
    found = Judge(recogniser, None, 0).made([result(FLAT), result(asked[1].mesh)], ValidationSet("", asked, [None] * 2, asked))
    assert (found["empty"], found["recognised"]["share"], found["coverage"]) == (0.5, 0.5, 0.5)


def test_a_model_without_a_shape_to_its_name_is_refused_with_the_reason(recogniser: Recogniser) -> None:
    asked = [wanted("chair", 50)]
    with pytest.raises(MeshGPTError, match="has any area"):
        Judge(recogniser, None, 0).made([result(FLAT)], ValidationSet("", asked, [None], asked))


def test_the_rejection_rate_is_of_all_samples() -> None:
    rates = share_of_samples([result(FLAT, rejected=3), result(FLAT), result(FLAT, rejected=1)])
    assert (rates["share"], rates["of"]) == (pytest.approx(4 / 7), 7)


def test_the_recogniser_learns_and_repeats_itself(recogniser: Recogniser) -> None:
    again = train_recogniser(KNOWN, range(100, 112), range(200, 210))
    assert recogniser.accuracy > 0.8
    assert recogniser.accuracies == again.accuracies
    assert all(a.equal(b) for a, b in zip(recogniser.network.parameters(), again.network.parameters(), strict=True))


def test_the_recogniser_is_as_good_as_its_answers(recogniser: Recogniser) -> None:
    clouds = point_clouds([generate("chair", seed).mesh for seed in range(200, 400)], 256, np.random.default_rng(5))
    right = np.mean([family == "chair" for family in recogniser.families_of(clouds)])
    assert recogniser.accuracies["chair"] == pytest.approx(right, abs=0.25)


def test_families_are_told_what_they_were_taken_for(recogniser: Recogniser) -> None:
    chair, tree = generate("chair", 300).mesh, generate("tree", 300).mesh
    found = by_family(Judge(recogniser, None, 0), [(tree, "chair")], [(tree, "chair"), (tree, "chair"), (chair, "chair"), (tree, "tree")])
    assert (found["chair"]["first"], found["chair"]["kept"]) == (share([False]), share([False, False, True]))
    assert (found["chair"]["mistaken_for"], found["tree"]["mistaken_for"]) == ("tree", "")
    assert found["tree"]["first"]["of"] == 0


# ---- tokens


class Careless(MeshDiscretizer):
    """Moves one corner of the first face of every mesh by a step."""

    def decode(self, codes: IntArray) -> FloatArray:
        coordinates = super().decode(codes)
        coordinates[0, 2, 0] += 1 / 128
        return coordinates


def test_a_corner_that_moves_costs_a_face_and_opens_edges() -> None:
    mesh = generate("barrel", 0).mesh.canonical()
    kept, lost = (reconstruction(tokenizer, [mesh], 0) for tokenizer in (MeshDiscretizer(), Careless()))
    assert (kept["triangle_accuracy"], kept["cracks"], kept["chamfer"]) == (1, 0, 0)
    assert lost["triangle_accuracy"] == pytest.approx(1 - 1 / len(mesh.faces))
    edges = len(np.unique(np.sort(mesh.edges(), 1), axis=0))
    assert lost["cracks"] == pytest.approx(4 / (edges + 2))  # two edges of the face leave the mesh: two of one face each, twice
    assert lost["chamfer"] > 0


def test_meshes_of_more_than_800_faces_are_not_reconstructed() -> None:
    parts = [generate("barrel", 0).mesh for _ in range(30)]
    sizes = [len(mesh.vertices) for mesh in parts]
    shifted = [np.where(mesh.faces >= 0, mesh.faces + sum(sizes[:i]), -1) for i, mesh in enumerate(parts)]
    large = Mesh(np.concatenate([mesh.vertices + i for i, mesh in enumerate(parts)]), np.concatenate(shifted))
    assert reconstruction(MeshDiscretizer(), [large, parts[0].canonical()], 0)["meshes"] == 1


def test_the_loss_is_that_of_training(checkpoint: Path) -> None:
    asked = [one for seed in range(20) if len((one := wanted("table", seed)).mesh.faces) <= 48][:4]
    model = MeshTransformer.from_pretrained(checkpoint).eval()
    codes = [torch.from_numpy(model.tokenizer.encode(one.mesh)) for one in asked]
    padded = torch.nn.utils.rnn.pad_sequence(codes, True, -1)
    with torch.no_grad():
        expected = model(codes=padded, texts=[one.caption for one in asked], cond_drop_prob=0.0)
    found = loss(MeshGPT.from_pretrained(checkpoint, "cpu"), asked, "")
    assert found["nats_a_face"] == pytest.approx(expected.item(), rel=0.01)
    assert (found["meshes"], found["faces"]) == (4, sum(map(len, codes)))


# ---- completion


def test_parts_are_of_the_whole_and_of_the_size_asked_for() -> None:
    wholes = [wanted(family, seed) for seed in range(5) for family in KNOWN]
    found = unfinish(wholes, 10, 150, np.random.default_rng(0))
    assert len(found) == 10
    for one in found:
        given, whole = ({face.tobytes() for face in grid_of(mesh)} for mesh in (one.given, one.whole.mesh))
        assert given < whole
        assert LEAST <= len(given) / len(whole) <= MOST
        assert len(whole) <= 150


def test_ways_to_finish_are_compared_by_their_distance_to_the_truth(training: Training) -> None:
    whole = Wanted(mesh_of(training.data.grid[training.data.faces(0)]), "a chair", training.data.labels[0])
    unfinished = unfinish([whole] * 2, 2, 300, np.random.default_rng(0))
    other = generate("tree", 5).mesh.canonical()
    model = Playback(whole.mesh, other, other, whole.mesh)
    perfect, wrong = finish_all(model, unfinished, training, 0, "")  # type: ignore[arg-type]
    assert model.asked[0][0].mesh is unfinished[0].given
    bounds = [request.bounds for request, _ in model.asked]
    assert bounds[::2] == [None, None]
    np.testing.assert_array_equal(bounds[1], [whole.mesh.vertices.min(0), whole.mesh.vertices.max(0)])
    assert perfect.told > perfect.model
    assert wrong.told < wrong.model
    assert perfect.model < perfect.alone
    assert perfect.retrieval is not None
    assert perfect.retrieval < perfect.alone  # the truth itself is in the training set
    assert wrong.model > wrong.alone


def test_wins_are_counted_where_there_is_something_to_win_against() -> None:
    part = Unfinished(NOTHING, wanted("chair", 0))
    distances = ((1.0, 0.5, 2.0, 3.0), (2.0, 0.5, 1.0, 1.0), (3.0, 3.0, None, 4.0))
    finished = [Finished(part, NOTHING, *each) for each in distances]
    found = compare(finished)
    assert found["better_than_retrieval"] == share([True, False])
    assert found["told_better_than_retrieval"] == share([True, True])
    assert found["better_than_part_alone"] == share([True, False, True])
    assert found["part_alone_better_than_retrieval"] == share([False, False])
    assert (found["model"], found["told"], found["retrieval"], found["part_alone"]) == (2, 0.5, 1.5, 3)


# ---- prompts


def test_no_paraphrase_is_or_holds_a_name_that_captions_have_for_its_family() -> None:
    assert set(PARAPHRASES) == set(FAMILIES)
    names = {family: {name for seed in range(25) for name in generate(family, seed).names} for family in FAMILIES}
    for family, phrases in PARAPHRASES.items():
        own = names[family] | {word for words in SYNONYMS if names[family] & set(words) for word in words}
        for phrase in phrases:
            assert re.sub(r"^(an?|some) ", "", phrase) not in set().union(*names.values()), phrase
            found = [name for name in own if re.search(rf"\b{re.escape(name)}(s|es)?\b", phrase)]
            assert not found, (family, phrase, found)


def test_phrases_come_family_by_family_and_none_from_the_training_captions(training: Training) -> None:
    assert paraphrases(["chair", "tree"], 3, None) == [
        (PARAPHRASES["chair"][0], "chair"),
        (PARAPHRASES["tree"][0], "tree"),
        (PARAPHRASES["chair"][1], "chair"),
    ]
    seen = Training(replace(training.data, captions=[[PARAPHRASES["chair"][0]]]), 0)
    assert paraphrases(["chair"], 1, seen) == [(PARAPHRASES["chair"][1], "chair")]


def test_other_words_are_told_apart_by_whether_training_has_them(training: Training) -> None:
    seen = Training(replace(training.data, captions=[["a seat on legs", "one for me"]]), 0)
    asked = [("a seat for one", "chair"), ("a throne", "chair")]
    found = in_other_words(asked, [True, False], [True, True], seen)
    assert (found["words_known"], found["words_new"]) == (share([True]), share([False]))
    assert found["difference"] == 0.5
    assert "words_new" not in in_other_words(asked, [True, False], [True, True], None)


def test_equal_meshes_of_one_prompt_are_less_diverse_than_those_of_the_family() -> None:
    same, other = generate("chair", 3).mesh, [generate("chair", seed).mesh for seed in range(4)]
    low = diversity(["chair"], [[result(same)] * 4], 50, 0)
    high = diversity(["chair"], [[result(mesh) for mesh in other]], 50, 0)
    assert low["model"] < 0.5 * high["model"]
    assert low["data"] == high["data"]
    assert diversity(["chair"], [[result(FLAT)] * 4], 50, 0)["model"] is None


def test_properties_are_met_or_missed_by_as_much_as_they_differ() -> None:
    corners = np.array([[x, y, z] for z in (0, 2) for y in (0, 1) for x in (0, 1)], np.float32)
    box = Mesh(corners, np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]))
    exact = obedience([Properties(6, (1, 1, 2), "quads")], [box])
    assert (exact["faces"], exact["extents"], exact["polygons"]) == (0, 0, share([True]))
    missed = obedience([Properties(12, (1, 1, 4), "triangles")], [box])  # beside the longest side x and y are twice what was asked for
    assert (missed["faces"], missed["extents"], missed["polygons"]) == (0.5, pytest.approx(1), share([False]))


def test_properties_to_ask_for_are_of_the_meshes_every_other_one_cut_and_within_the_context() -> None:
    asked = [wanted("barrel", seed) for seed in range(3)]
    cut = len(asked[0].mesh.triangles())
    found = to_ask_for([*asked, asked[1], wanted("castle", 0)], cut)
    assert found[0] == Properties(cut, found[0].extents, "triangles")
    assert found[1] == Properties.of(grid_of(asked[1].mesh))
    assert list(found) == [0, 1, 2, 3]


# ---- the report


def hand_made(value: float, families: int = 64, of: int = 100) -> dict[str, Any]:
    """A report in which every share is the same, or its opposite where less is better."""
    good, bad = share(np.arange(of) < value * of), share(np.arange(of) >= value * of)
    kept = {"recognised": good, "ended": good, "degenerate": 1 - value, "duplicate": 0.0, "boundary": 2 - value}
    kept |= {"nearest_neighbour_accuracy": bad, "copied_on_new_captions": bad}
    return {
        "tokenizers": [{"tokenizer": "MeshAutoencoder", "triangle_accuracy": value, "faces": of}],
        "sets": {"new seeds": {"kept": kept, "data": {"boundary": 1.0, "nearest_neighbour_accuracy": good}}},
        "families": [""] * families,
        "recogniser": {"families": 64},
        "completion": {"new seeds": {"better_than_retrieval": good, "told_better_than_retrieval": good}},
        "other_words": {"difference": 1 - value, "interval": [0, 1], "recognised": good},
    }


def test_bars_are_met_by_a_perfect_model_and_missed_by_a_poor_one() -> None:
    assert {bar["met"] for bar in bars(hand_made(1.0))} == {True}
    assert {bar["met"] for bar in bars(hand_made(0.3))} == {False}


def test_recognition_of_some_families_does_not_meet_the_bar_for_all() -> None:
    verdicts = [bar["met"] for bar in bars(hand_made(1.0, families=63))]
    assert verdicts.count(False) == 1
    assert not verdicts[1]


def test_neighbours_are_held_against_those_of_the_data_too() -> None:
    report = hand_made(0.45)  # 55%
    data = report["sets"]["new seeds"]["data"]
    verdicts = []
    for own in (0.33, 0.5):
        data["nearest_neighbour_accuracy"] = share(np.arange(100) < 100 * own)
        verdicts += [bar["met"] for bar in bars(report) if "1-NNA" in bar["bar"]]
    assert verdicts == [False, True]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    report = hand_made(1.0)
    report["tokenizers"][0]["tokenizer"] = "MeshDiscretizer"
    del report["sets"]["new seeds"]["kept"]["copied_on_new_captions"]
    report["completion"]["new seeds"]["better_than_retrieval"] = share([])
    assert [bar["met"] for bar in bars(report)].count(None) == 3


def test_a_contact_sheet_shows_every_mesh_and_leaves_the_place_of_an_empty_one(tmp_path: Path) -> None:
    chair = generate("chair", 0).mesh
    draw_sheet(tmp_path / "sheet.png", [Section("some", [(chair, "a chair")] * 13), Section("none", [(NOTHING, "")])])
    page = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert page.shape == (30 + 2 * 210 + 30 + 210, 12 * 160)
    cells = [page[y : y + 160, x : x + 160] for y, x in ((30, 0), (30, 1760), (240, 0), (240, 160), (480, 0))]
    assert [bool(cell.std() > 5) for cell in cells] == [True, True, True, False, False]


@pytest.fixture
def _few_meshes_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "RECOGNISER_SEEDS", range(2_000_000, 2_000_002))
    monkeypatch.setattr(evaluation, "RECOGNISER_TEST", range(3_000_000, 3_000_001))
    monkeypatch.setattr("training.recognition.EPOCHS", 1)


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(report | {"time": {}}))


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
    evaluation.main()


@pytest.mark.usefixtures("_few_meshes_to_learn_from")
def test_the_whole_runs_on_an_untrained_model_and_says_the_same_again(
    checkpoint: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_main(monkeypatch, "--model", checkpoint, "--prompts", 2, "--data", folder, "--training", folder, "--out", tmp_path)
    page = (tmp_path / "evaluation.md").read_text()
    assert page in capsys.readouterr().out
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert markdown(report) == page
    assert list(report["sets"]) == ["new seeds", "held-out regions", str(folder)]
    assert report["sets"][str(folder)]["data"]["copied"]["share"] == 1  # it is the training set itself
    assert len(report["bars"]) == 7 + 2 * len(report["sets"])
    assert set(report["properties"]) == {"asked", "unasked"}
    assert Image.open(tmp_path / "evaluation.png").width == 12 * 160
    again, _ = evaluation.evaluate(MeshGPT.from_pretrained(checkpoint, "cpu"), prompts=2, data=[folder], training=[folder])
    assert without_times(again) == without_times(report)


@pytest.mark.usefixtures("_few_meshes_to_learn_from")
def test_without_a_training_set_nothing_is_said_of_it(checkpoint: Path) -> None:
    report, sections = evaluation.evaluate(MeshGPT.from_pretrained(checkpoint, "cpu"), prompts=1)
    assert "No training set was given" in markdown(report)
    assert "equal to a training mesh" not in markdown(report)
    assert [section.title for section in sections][:2] == ["new seeds, after rejection", "held-out regions, after rejection"]


def test_a_model_of_no_procedural_family_is_refused(checkpoint: Path) -> None:
    model = MeshGPT.from_pretrained(checkpoint, "cpu")
    model.facts = model.facts | {"domain": ["dragon"]}
    with pytest.raises(MeshGPTError, match="no procedural family"):
        evaluation.evaluate(model, prompts=1)
