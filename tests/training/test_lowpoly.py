"""training.data.lowpoly on a folder the test writes, and on the real one where it lies beside the checkout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import MeshGPTError
from training.data.lowpoly import cut_polygons, read_lowpoly

REAL = Path(os.environ.get("MESHGPT_DATA", Path(__file__).resolve().parents[3] / "shared/data/lowpoly-cc0"))
PYRAMID = [[0, 1, 2, 3], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
PENTAGON = [[0, 1, 2, 3, 4]]


def write_folder(folder: Path, qualities: tuple[str, ...] = ("good", "partial")) -> dict[str, Any]:
    """Two meshes over five vertices: a pyramid on a quad, and a pentagon."""
    meshes = [PYRAMID, PENTAGON]
    corners = np.array([[-0.5, -0.5, -0.5], [0.5, -0.5, -0.5], [0.5, 0.5, -0.5], [-0.5, 0.5, -0.5], [0, 0, 0.5]], np.float32)
    arrays: dict[str, Any] = {
        "vertices": np.concatenate([corners, corners]),
        "poly_sizes": np.array([len(polygon) for mesh in meshes for polygon in mesh], np.uint8),
        "poly_loops": np.array([i for mesh in meshes for polygon in mesh for i in polygon], np.int32),
        "v_off": np.array([0, 5, 10]),
        "poly_off": np.array([0, 5, 6]),
        "loop_off": np.array([0, 16, 21]),
    }
    np.savez(folder / "meshes.npz", **arrays)
    lines = [
        {"row": row, "captions": ["a thing", f"thing {row}"], "category": "thing", "quality": quality, "split": "train"}
        for row, quality in enumerate(qualities)
    ]
    (folder / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return arrays


def test_quads_stay_quads_and_convex_larger_polygons_become_fans(tmp_path: Path) -> None:
    write_folder(tmp_path)
    pyramid, pentagon = read_lowpoly(tmp_path)
    assert pyramid.mesh.faces.tolist() == [[0, 1, 2, 3], [0, 1, 4, -1], [1, 2, 4, -1], [2, 3, 4, -1], [3, 0, 4, -1]]
    assert pentagon.mesh.faces.tolist() == [[0, 1, 2, -1], [0, 2, 3, -1], [0, 3, 4, -1]]
    assert pentagon.captions == ("a thing", "thing 1")
    assert (pyramid.category, pyramid.split) == ("thing", "train")


def test_pieces_weigh_less_than_good_meshes_and_odd_ones_are_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path, ("good", "partial"))
    good, partial = read_lowpoly(tmp_path)
    assert 0 < partial.weight < good.weight == 1
    write_folder(tmp_path, ("odd", "good"))
    assert len(list(read_lowpoly(tmp_path))) == 1


def test_polygons_keep_their_order_when_fans_stand_between_them() -> None:
    vertices = np.array([[0, 0, 0]] * 3 + [[0, 0, 0], [2, 0, 0], [2, 2, 0], [1, 3, 0], [0, 2, 0]] + [[0, 0, 0]] * 4, np.float32)
    faces = cut_polygons(vertices, np.array([3, 5, 4]), np.arange(12))
    assert faces.tolist() == [[0, 1, 2, -1], [3, 4, 5, -1], [3, 5, 6, -1], [3, 6, 7, -1], [8, 9, 10, 11]]


def test_a_polygon_with_a_dent_is_cut_without_leaving_its_outline() -> None:
    arrow = np.array([[0, 0, 0], [1, 1, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], np.float32)  # a square with a notch below
    corners = arrow[cut_polygons(arrow, np.array([5]), np.arange(5))[:, :3]]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2
    assert (areas > 0).all()
    assert areas.sum() == 4 - 1


@pytest.mark.parametrize("name", ["meshes.npz", "index.jsonl"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(MeshGPTError, match=f"there is no .*{name}") as caught:
        list(read_lowpoly(tmp_path))
    assert caught.value.code == "bad_data"


@pytest.mark.parametrize("name", ["meshes.npz", "index.jsonl"])
def test_half_a_file_is_reported_as_damaged(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2 + 3])
    with pytest.raises(MeshGPTError, match=f"{name} is damaged"):
        list(read_lowpoly(tmp_path))


@pytest.mark.parametrize(
    ("array", "value"),
    [("loop_off", [0, 16, 99]), ("poly_sizes", [4, 3, 3, 3, 3, 6]), ("poly_loops", [9] * 21), ("v_off", [0, 5])],
)
def test_arrays_that_contradict_each_other_are_reported_as_damaged(tmp_path: Path, array: str, value: list[int]) -> None:
    arrays = write_folder(tmp_path)
    arrays[array] = np.array(value, arrays[array].dtype)
    np.savez(tmp_path / "meshes.npz", **arrays)
    with pytest.raises(MeshGPTError, match="is damaged: row"):
        list(read_lowpoly(tmp_path))


def test_an_index_line_without_a_field_is_reported_as_damaged(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "index.jsonl").write_text('{"row": 0, "quality": "good"}\n')
    with pytest.raises(MeshGPTError, match=r"row 0 .*captions"):
        list(read_lowpoly(tmp_path))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real meshes are not at {REAL}; set MESHGPT_DATA to their folder")
def test_the_real_meshes_are_captioned_split_and_mostly_quads() -> None:
    meshes = list(read_lowpoly(REAL))
    assert len(meshes) > 2000
    assert {real.split for real in meshes} == {"train", "val"}
    assert all(real.captions and all(real.captions) for real in meshes)
    assert all(np.ptp(real.mesh.vertices, axis=0).max() == pytest.approx(1, abs=1e-3) for real in meshes)
    faces = np.concatenate([real.mesh.faces for real in meshes])
    assert (faces[:, 3] >= 0).mean() > 0.5
