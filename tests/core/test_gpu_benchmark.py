"""The benchmark for graphics cards, rehearsed on the CPU: every kind of row gives its lines, and what fails says so in its place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_card import Bench
from benchmarks.gpu_generation import floors, random_subject
from core.captured import Captured
from core.decoding import Row
from core.grammar import CodeGrammar

CARD = {
    "name": "a card",
    "torch": "2",
    "python": "3",
    "bytes_a_second": 1e9,
    "bf16_flops": 1e12,
    "node_seconds": 1e-6,
}


def rehearsed(name: str) -> list[dict[str, Any]]:
    return gpu.take(name, "cpu", True, CARD)


@pytest.mark.parametrize("name", ["512/12", "512/12-bf16"])
def test_generation_says_how_fast_it_is_and_how_near_the_floor(name: str) -> None:
    lines = rehearsed(name)
    assert [line["batch"] for line in lines] == [1, 3]
    for line in lines:
        faces = sum(one["faces"] for one in line["each round"])
        assert 0 < faces <= 3 * 6 * line["batch"]
        assert line["faces/s"] > 0
        assert line["first face, ms"] > 0
        assert line["floor: launches, ms"] > 0.1  # a hundred operations


@pytest.mark.parametrize("name", ["training-10M", "training-350M"])
def test_training_says_tokens_a_second_and_their_share_of_the_peak(name: str) -> None:
    (line,) = rehearsed(name)
    assert line["share of the peak"] == pytest.approx(line["TFLOP/s"] * 1e12 / CARD["bf16_flops"])
    assert line["tokens/s"] > 0


def test_activations_are_taken_for_each_way_of_sparing_them() -> None:
    assert [line["what"].partition(", ")[2] for line in rehearsed("activations-800")] == [
        "as it is",
        "reversible",
        "reversible, fine layers again",
    ]


def test_the_floor_in_bytes_is_that_of_the_weights_counted_by_hand() -> None:
    bench = Bench(torch.device("cpu"), True, CARD)
    subject = random_subject(bench, guided=False)
    captured = Captured(subject.engine)
    captured.decode(None, [Row(CodeGrammar(64, 2, None, 3), np.random.default_rng(0), [])], subject.sampling, max_faces=2)
    bytes_, _ = floors(bench, captured, earlier=10)
    d, inner, v, codes, coarse_layers, fine_layers, vocabulary = 32, 2 * 64, 3, 6, 2, 1, 64 + 2
    remembering = d * 3 * inner + inner * d + 2 * 4 * d * d
    asking = remembering - d * 2 * inner
    face = coarse_layers * remembering + d * d + v * d * d
    fine = fine_layers * (v * remembering + (codes - v) * asking) + v * d * d + codes * d * vocabulary
    memories = 10 * (coarse_layers * 2 * inner + codes * v * fine_layers * 2 * inner)
    assert bytes_ * CARD["bytes_a_second"] == pytest.approx(4 * (face + fine + memories))


def test_a_row_that_fails_says_why_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(bench: Bench) -> list[dict[str, Any]]:
        raise RuntimeError("no luck | here\nand more")

    monkeypatch.setitem(gpu.ROWS, "theirs", ("Generation", fail))
    lines = rehearsed("theirs")
    assert lines == [{"what": "theirs", "error": "RuntimeError: no luck | here"}]
    table = gpu.render({"card": CARD, "rows": {"theirs": {"table": "Generation", "small": False, "lines": lines}}})
    assert "| theirs | RuntimeError: no luck / here |" in table


def test_ours_stands_beside_theirs_with_as_many_rows() -> None:
    lines = [{"what": "ours", "batch": 1, "faces/s": 900.0}, {"what": "ours", "batch": 64, "faces/s": 9000.0}]
    rival = [{"what": "meshgpt-pytorch 512/12, as it ships", "batch": 1, "faces/s": 30.0}]
    rows = {name: {"table": "Generation", "small": False, "lines": of} for name, of in (("512/12", lines), ("theirs", rival))}
    table = [[cell.strip() for cell in line.split("|")] for line in gpu.render({"card": CARD, "rows": rows}).splitlines() if "|" in line]
    times = table[0].index("times theirs")
    assert [line[times] for line in table[2:]] == ["30", "", ""]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_card_is_told_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", "nowhere"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "there is no CUDA device here; --device cpu --small rehearses without one" in capsys.readouterr().err


def test_rows_taken_before_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "measure_card", lambda bench: CARD)
    monkeypatch.setattr(gpu, "ask", lambda name, bench: {"table": "Generation", "small": True, "seconds": 0.0, "lines": [{"what": name}]})
    for name in ("512/12", "default"):
        monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "found"), "--device", "cpu", "--small", "--only", name])
        gpu.main()
    assert set(json.loads((tmp_path / "found.json").read_text())["rows"]) == {"512/12", "default"}
    text = (tmp_path / "found.md").read_text()
    assert "their figures mean nothing" in text
    assert text.index("| default ") < text.index("| 512/12 ")


def test_a_process_that_dies_costs_its_own_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.sys, "executable", "/bin/false")
    taken = gpu.ask("default", Bench(torch.device("cpu"), True, CARD))
    assert taken["lines"] == [{"what": "default", "error": ""}]
