"""training.evaluate and training.recognition on a model that plays back procedural meshes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.mesh import Mesh
from core.request import Request, Result
from training import evaluate as evaluation
from training.data.dataset import HELD_OUT_SEEDS
from training.evaluate import evaluate, markdown
from training.procedural import generate
from training.recognition import train_recogniser

FAMILIES = ("chair", "tree", "barrel")


class Playback:
    """Answers every caption with a mesh of the family asked for in turn, by its number."""

    tokenizer = MeshDiscretizer()

    def __init__(self, first_seed: int, mesh: Mesh | None = None) -> None:
        self.number, self.first_seed, self.mesh = -1, first_seed, mesh

    def info(self) -> dict[str, Any]:
        return {"name": "playback", "domain": [*FAMILIES, "dragon"]}

    def run(self, request: Request) -> list[Result]:
        self.number += 1
        order = [family for family in evaluation.FAMILIES if family in FAMILIES]
        mesh = self.mesh or generate(order[self.number % 3], self.first_seed + self.number // 3).mesh
        return [Result(mesh, request.text, request.seed, 0, seconds=2.0, first_face_seconds=0.5, rejected=1, ended=self.number > 0)]


@pytest.fixture(autouse=True)
def _few_meshes_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "RECOGNISER_SEEDS", 12)
    monkeypatch.setattr(evaluation, "POINTS", 128)


def test_a_model_that_plays_back_training_meshes_is_recognised_flawless_and_caught_copying() -> None:
    report = evaluate(Playback(0), 6, training_seeds=3)  # type: ignore[arg-type]
    made = report["generated"]
    assert made["copied"] == 1
    assert made["flawless"] == report["data"]["flawless"]
    assert made["recognised"] >= 5 / 6
    assert report["data"]["copied"] == 0
    assert report["tokenizer_triangle_accuracy"] == 1
    assert report["generation"] == {
        "ended": pytest.approx(5 / 6),
        "rejected": 0.5,
        "faces": pytest.approx(np.mean([len(generate(f, s).mesh.faces) for s in (0, 1) for f in FAMILIES])),
        "seconds": 2,
        "first_face_seconds": 0.5,
        "faces_per_second": pytest.approx(report["generation"]["faces"] / 2),
    }
    page = markdown(json.loads(json.dumps(report)))
    assert "| exact copies of a training mesh | 100.0% | 0.0% |" in page


def test_a_model_that_makes_one_thing_of_every_caption_covers_little() -> None:
    report = evaluate(Playback(0, generate("tree", HELD_OUT_SEEDS + 77).mesh), 6, training_seeds=1)  # type: ignore[arg-type]
    assert report["generated"]["recognised"] == pytest.approx(1 / 3)
    assert report["generated"]["coverage"] == pytest.approx(1 / 6)
    assert report["generated"]["nearest_neighbour_accuracy"] > 0.5


def test_a_model_without_a_shape_to_its_name_is_refused_with_the_reason() -> None:
    flat = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 1]]))
    with pytest.raises(MeshGPTError, match="has any area"):
        evaluate(Playback(0, flat), 3, training_seeds=1)  # type: ignore[arg-type]


def test_the_recogniser_learns_and_repeats_itself() -> None:
    first, second = (train_recogniser(FAMILIES, range(12), range(100, 110)) for _ in range(2))
    assert first.accuracy > 0.8
    assert first.accuracy == second.accuracy
    assert all(a.equal(b) for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True))
