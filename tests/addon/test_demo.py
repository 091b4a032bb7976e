"""The demo, as its command line is called, and the pictures it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="the bpy package is not installed")
image = pytest.importorskip("PIL.Image", reason="pillow is not installed")

DEMO = Path(__file__).parents[2] / "demo"


def test_the_demo_writes_a_blend_a_glb_and_a_picture(tmp_path):
    command = [sys.executable, str(DEMO / "demo.py"), "a red Tower", "--seed", "3", "--out", str(tmp_path)]

    ended = subprocess.run(command, env=os.environ | {"MESHGPT_FAKE": "1"}, capture_output=True, text=True, timeout=300, check=False)

    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-red-tower.blend", "a-red-tower.glb", "a-red-tower.png"]
    assert ended.stdout.startswith("a red Tower: 31 faces, 40 vertices, ")
    assert "seed 3, 0 of 1 samples rejected" in ended.stdout


def test_the_demo_says_why_it_cannot(tmp_path):
    command = [sys.executable, str(DEMO / "demo.py"), "an error", "--out", str(tmp_path)]

    ended = subprocess.run(command, env=os.environ | {"MESHGPT_FAKE": "1"}, capture_output=True, text=True, timeout=300, check=False)

    assert ended.returncode == 1
    assert "Something went wrong inside" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_picture_shows_the_mesh_whole_and_leaves_the_scene_as_it_was(addon, cube, scene_state, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(DEMO))
    from render import render

    cube.scale, cube.location = (1, 0.2, 3), (5, 5, 5)
    before = scene_state()

    render([cube], tmp_path / "cube.png", 48)

    pixels = np.asarray(image.open(tmp_path / "cube.png").convert("RGB"), float)
    clay = pixels[..., 0] - pixels[..., 2] > 40
    rows, columns = np.flatnonzero(clay.any(1)), np.flatnonzero(clay.any(0))
    assert pixels.shape == (48, 48, 3)
    assert rows[0] > 0
    assert rows[-1] < 47
    assert np.ptp(rows) > 30
    assert columns.mean() == pytest.approx(23.5, abs=3)
    assert scene_state() == before
    assert not bpy.data.materials
    assert len(bpy.data.scenes) == 1


def test_nothing_cannot_be_pictured(addon, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(DEMO))
    from render import render

    with pytest.raises(ValueError, match="nothing to picture"):
        render([], tmp_path / "nothing.png")
