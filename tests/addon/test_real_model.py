"""The way from the button to a mesh with the model that ships with the add-on, and nothing played."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="the bpy package is not installed")

MODEL = Path(__file__).parents[2] / "models" / "default"

pytestmark = pytest.mark.skipif(not (MODEL / "config.json").is_file(), reason="models/default is not there")


@pytest.fixture
def real(addon, settings, monkeypatch):
    addon.runtime.stop()
    monkeypatch.delenv("MESHGPT_FAKE")
    yield settings
    addon.runtime.stop()


def test_a_phrase_becomes_a_mesh_and_the_same_one_again(real):
    made = []
    for _ in range(2):
        assert bpy.ops.meshgpt.generate() == {"FINISHED"}
        made.append(np.array([vertex.co for vertex in bpy.context.active_object.data.vertices]))

    assert len(made[0]) > 8
    assert np.ptp(made[0], axis=0).max() == pytest.approx(2, abs=0.05)
    assert np.array_equal(*made)


def test_a_started_mesh_is_completed_in_its_place(real, cube):
    cube.location = (3, 0, 0)

    assert bpy.ops.meshgpt.autocomplete() == {"FINISHED"}

    assert tuple(bpy.context.active_object.location) == (3, 0, 0)
    assert len(bpy.context.active_object.data.polygons) > 6
