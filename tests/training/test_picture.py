"""training.picture: which captions are asked for, and the sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.mesh import Mesh
from training.data.dataset import CodeSet
from training.data.parquet import Row, grid_of, write_shards
from training.drawing import CELL, LABEL, contact_sheet
from training.picture import pick_captions
from training.procedural import generate


def captioned(folder: Path, captions: list[str]) -> CodeSet:
    grid = grid_of(generate("stool", 0).mesh.canonical())
    write_shards(folder, [Row(f"{i}", grid, (caption,) if caption else ()) for i, caption in enumerate(captions)])
    return CodeSet.load(folder)


def test_each_set_gives_as_many_captions_and_always_the_same(tmp_path: Path) -> None:
    long = captioned(tmp_path / "long", [f"number {i}" for i in range(20)])
    short = captioned(tmp_path / "short", ["first", ""])
    captions = pick_captions([long, short])
    assert len({caption for caption in captions[:4] if caption.startswith("number")}) == 4
    assert sorted(captions[4:]) == ["", "first"]
    assert pick_captions([long, short]) == captions


def test_each_mesh_has_its_cell_and_one_without_faces_leaves_it_empty() -> None:
    stool, nothing = generate("stool", 0).mesh, Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
    sheet = np.asarray(contact_sheet([(stool, "a stool"), (nothing, "nothing"), (stool, "a stool")], columns=2))
    assert sheet.shape == (2 * (CELL + LABEL), 2 * CELL, 3)
    cells = [sheet[y : y + CELL, x : x + CELL] for y in (0, CELL + LABEL) for x in (0, CELL)]
    colours = [len(np.unique(cell.reshape(-1, 3), axis=0)) for cell in cells]
    assert [count > 1 for count in colours] == [True, False, True, False]
