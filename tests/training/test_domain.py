"""training.domain: what a checkpoint says that its model knows."""

from __future__ import annotations

from pathlib import Path

from training.data.dataset import CodeSet
from training.data.parquet import Row, grid_of, write_shards
from training.domain import domain_and_nouns
from training.procedural import generate

GRID = grid_of(generate("stool", 0).mesh.canonical())


def data(folder: Path, *counts: tuple[str, int, float]) -> CodeSet:
    """So many meshes of each category, of such weight."""
    rows = [Row(f"{label} {i}", GRID, category=label, weight=weight) for label, count, weight in counts for i in range(count)]
    write_shards(folder, rows)
    return CodeSet.load(folder)


def test_families_and_common_categories_are_listed_and_rare_ones_are_understood(tmp_path: Path) -> None:
    known = domain_and_nouns(data(tmp_path, ("sofa", 1, 1.0), ("road sign", 3, 0.1), ("anchor", 2, 1.0), ("ghost", 5, 0.0)), 3, {})
    assert known["domain"] == ["road sign", "sofa"]
    assert {"sofa", "couch", "sign", "anchor"} <= set(known["nouns"])
    assert "ghost" not in known["nouns"]


def test_what_was_known_before_stays_known(tmp_path: Path) -> None:
    before = {"domain": ["tree"], "nouns": ["fir", "tree"]}
    known = domain_and_nouns(data(tmp_path, ("anchor", 1, 1.0)), 1, before)
    assert known == {"domain": ["anchor", "tree"], "nouns": ["anchor", "fir", "tree"]}
