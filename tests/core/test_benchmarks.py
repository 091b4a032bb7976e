"""The benchmark's own arithmetic: what a face must read, who met which bar, and what is written down. Nothing is timed here."""

from __future__ import annotations

import json

import pytest

from benchmarks.floor import Reads
from benchmarks.shapes import boxes, triangles
from benchmarks.table import Bar, Row, render
from core.discretizer import MeshDiscretizer
from core.mesh import Mesh

FAST = Row(
    "a made-up speed",
    "faces/s",
    ours=[90.0, 120.0, 100.0],
    theirs=[10.0, 11.0, 9.0],
    single=[25.0],
    rising=True,
    share=0.5,
    bars=[Bar("ours", 100), Bar("ratio", 5), Bar("shipped", 10), Bar("share", 0.6)],
    facts={"faces": 7},
)


def test_the_floor_counts_face_weights_once_and_code_weights_once_a_code() -> None:
    reads = Reads(face_weights=1000, code_weights=100, codes=12, cache=3, parameters=0)
    assert reads.of_face(earlier=50) == 1000 + 1200 + 150


def test_the_share_of_the_floor_is_the_least_time_over_the_time_taken() -> None:
    reads = Reads(face_weights=4e6, code_weights=1e6, codes=6, cache=0, parameters=0)  # 10 MB: 1 ms at 10 GB/s
    assert reads.share(seconds=4e-3, earlier=100, bandwidth=1e10) == pytest.approx(0.25)


def test_figures_are_medians_and_ratios_say_how_many_times_better_ours_is() -> None:
    assert FAST.ratio(FAST.theirs) == [10.0]
    costs = Row("a made-up cost", "s", ours=[2.0, 90.0, 2.0], theirs=[6.0])
    assert costs.ratio(costs.theirs) == [3.0]


def test_a_bar_on_the_ratio_holds_against_theirs_as_it_ships_and_with_one_stream() -> None:
    assert [FAST.met(bar) for bar in FAST.bars] == [True, False, True, False]


def test_a_bar_can_be_a_most() -> None:
    row = Row("a made-up growth", "x", ours=[1.3])
    assert row.met(Bar("ours", 1.3, at_most=True)) is True
    assert row.met(Bar("ours", 1.2, at_most=True)) is False


def test_what_was_not_measured_meets_no_bar_and_misses_none() -> None:
    row = Row("ours alone", "s", ours=[1.0])
    assert row.met(Bar("ratio", 2)) is None
    assert row.met(Bar("share", 0.6)) is None


def test_the_table_has_a_line_for_each_row_and_says_what_was_missed() -> None:
    head, rule, line, other = render([FAST, Row("ours alone", "ms", ours=[1234.5])]).splitlines()
    assert len({text.count("|") for text in (head, rule, line, other)}) == 1
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "a made-up speed",
        "100 faces/s",
        "10 faces/s",
        "25 faces/s",
        "10x, 4x",
        "50%",
        "100 faces/s or more, 5x or more, 10x or more, 60% or more",
        "yes, **no**, yes, **no**",
    ]
    assert "1234 ms" in other


def test_the_json_holds_every_round_and_every_verdict() -> None:
    plain = json.loads(json.dumps(FAST.as_dict()))
    assert plain["ours"] == {"median": 100.0, "low": 90.0, "high": 120.0, "all": [90.0, 120.0, 100.0]}
    assert plain["ratio_1_stream"] == [4.0]
    assert plain["bars"][1] == {"of": "ratio", "limit": 5, "at_most": False, "met": False}
    assert plain["facts"] == {"faces": 7}
    assert json.loads(json.dumps(Row("ours alone", "s", ours=[1.0]).as_dict()))["theirs"] is None


@pytest.mark.parametrize("faces", [1, 6, 50, 800])
def test_the_meshes_measured_have_the_faces_asked_for_and_no_flaw(faces: int) -> None:
    for vertices, indices in (boxes(faces), triangles(faces)):
        report = Mesh(vertices, indices).report()
        assert len(indices) == faces
        assert report.degenerate == report.duplicate == 0


def test_no_face_of_a_long_mesh_is_lost_on_the_grid() -> None:
    assert len(MeshDiscretizer().encode(Mesh(*boxes(4000)))) == 4000
