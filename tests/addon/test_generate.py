"""Generate, as a script calls it where Blender has no window: it blocks, and the mesh is there."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="the bpy package is not installed")

FORBIDDEN = ("tensor", "dtype", "shape", "exception", "traceback")


def test_generate_blocks_and_leaves_one_selected_object_named_after_the_prompt(settings):
    settings.prompt = "  a Round chair "

    assert bpy.ops.meshgpt.generate() == {"FINISHED"}

    (made,) = bpy.data.objects
    assert made.name == "Round chair"
    assert bpy.context.active_object == made
    assert made.select_get()
    assert len(made.data.polygons) > 0


def test_the_mesh_stands_at_the_cursor_with_its_origin_on_the_floor_and_its_longest_side_as_asked(settings):
    bpy.context.scene.cursor.location = (1, 2, 3)
    settings.size = 5

    bpy.ops.meshgpt.generate()

    made = bpy.context.active_object
    points = np.array([vertex.co for vertex in made.data.vertices])
    assert tuple(made.location) == (1, 2, 3)
    assert max(made.dimensions) == pytest.approx(5)
    assert points[:, 2].min() == pytest.approx(0)
    assert tuple(made.scale) == (1, 1, 1)


def test_prompt_seed_variant_and_model_stay_on_the_object(settings):
    settings.seed = 2**31 - 1

    bpy.ops.meshgpt.generate()

    made = bpy.context.active_object
    assert made["meshgpt_prompt"] == "a chair"
    assert made["meshgpt_seed"] == 2**31 - 1
    assert made["meshgpt_variant"] == 0
    assert made["meshgpt_model"] == "fake boxes"
    assert (made["meshgpt_rejected"], made["meshgpt_drawn"]) == (0, 1)


def test_the_mesh_is_valid_and_flat_shaded(settings):
    bpy.ops.meshgpt.generate()

    mesh = bpy.context.active_object.data
    assert not mesh.validate()
    assert not any(polygon.use_smooth for polygon in mesh.polygons)
    assert {polygon.loop_total for polygon in mesh.polygons} == {3, 4}


def test_variants_stand_side_by_side_and_are_all_selected(settings):
    settings.variants, settings.size = 3, 2

    bpy.ops.meshgpt.generate()

    assert sorted(obj.location.x for obj in bpy.context.selected_objects) == pytest.approx([0, 2.5, 5])
    assert sorted(obj["meshgpt_variant"] for obj in bpy.context.selected_objects) == [0, 1, 2]
    assert bpy.context.active_object.location.x == 0


def test_what_was_selected_before_is_not_any_more(settings, cube):
    bpy.ops.meshgpt.generate()

    assert not cube.select_get()
    assert not cube.hide_get()


def test_the_same_seed_makes_the_same_mesh(settings):
    meshes = []
    for _ in range(2):
        bpy.ops.meshgpt.generate()
        meshes.append([tuple(vertex.co) for vertex in bpy.context.active_object.data.vertices])

    assert meshes[0] == meshes[1]


def test_a_random_seed_is_drawn_anew_and_shown(settings):
    settings.random_seed = True
    seeds = []
    for _ in range(2):
        bpy.ops.meshgpt.generate()
        seeds.append(bpy.context.active_object["meshgpt_seed"])

    assert seeds[0] != seeds[1]
    assert settings.seed == seeds[1]
    assert settings.random_seed


def test_setting_the_seed_turns_random_seed_off(addon):
    settings = bpy.context.scene.meshgpt
    assert settings.random_seed

    settings.seed = 7

    assert not settings.random_seed
    assert settings.sampling()["seed"] == 7


def test_zeros_leave_the_choice_to_the_model(settings):
    left_open = dict.fromkeys(("guidance_scale", "temperature", "max_faces", "candidates"))
    properties = {"faces": None, "extents": None, "polygons": None}
    assert settings.sampling() == {"variants": 1, "seed": 3, "properties": properties} | left_open


def test_what_the_whole_should_be_reaches_the_worker(addon, settings, scripted):
    settings.faces, settings.polygons, settings.candidates = 120, "QUADS", 8
    settings.use_extents, settings.extents = True, (1, 0.5, 2)

    addon.jobs.generate(bpy.context).pump()

    sent = scripted.sent[0]
    assert sent["properties"] == {"faces": 120, "extents": [1, 0.5, 2], "polygons": "quads"}
    assert sent["candidates"] == 8
    assert "bounds" not in sent


def test_every_option_is_in_the_sidebar(addon, settings):
    panels, layout = importlib.import_module(f"{addon.jobs.__package__}.panels"), MagicMock()
    settings.use_extents = True
    scaled = SimpleNamespace(system=SimpleNamespace(ui_scale=1.0))
    context = SimpleNamespace(scene=bpy.context.scene, region=SimpleNamespace(width=300), preferences=scaled)
    for panel in panels.CLASSES[1:]:
        panel.draw(SimpleNamespace(layout=layout), context)

    shown = {call.args[1] for call in layout.mock_calls if call[0].split(".")[-1] == "prop"}
    assert shown == set(settings.bl_rna.properties.keys()) - {"rna_type", "name", "prompt"}


def test_max_faces_reaches_the_worker(settings):
    settings.max_faces = 5

    bpy.ops.meshgpt.generate()

    assert len(bpy.context.active_object.data.polygons) == 5


def test_a_mesh_that_was_cut_off_is_said_to_be(addon, settings):
    settings.variants, settings.max_faces = 2, 5

    bpy.ops.meshgpt.generate()

    assert "2 meshes reached the limit of faces before being complete." in addon.jobs.job.text


def test_a_note_from_the_model_is_passed_on(addon, settings):
    settings.prompt = "something outside"

    bpy.ops.meshgpt.generate()

    assert "may be far from what you asked for" in addon.jobs.job.text


def test_how_many_samples_were_thrown_away_is_said(addon, settings):
    settings.prompt, settings.candidates, settings.variants = "reject", 3, 2

    bpy.ops.meshgpt.generate()

    assert "2 of 8 samples rejected (25%)." in addon.jobs.job.text
    assert bpy.context.active_object["meshgpt_drawn"] == 4


def test_the_mesh_goes_into_the_active_collection(settings):
    group = bpy.data.collections.new("Props")
    bpy.context.scene.collection.children.link(group)
    bpy.context.view_layer.active_layer_collection = bpy.context.view_layer.layer_collection.children["Props"]

    bpy.ops.meshgpt.generate()

    assert list(group.objects) == [bpy.context.active_object]


@pytest.mark.parametrize("prompt", ["", "   "])
def test_without_a_prompt_the_button_says_what_to_do(settings, prompt):
    settings.prompt = prompt

    with pytest.raises(RuntimeError, match="Type a prompt first"):
        bpy.ops.meshgpt.generate()


def test_outside_object_mode_the_button_says_what_to_do(settings, cube):
    bpy.ops.object.mode_set(mode="EDIT")

    with pytest.raises(RuntimeError, match="Go to Object Mode first"):
        bpy.ops.meshgpt.generate()


def test_an_error_of_the_model_reaches_the_artist_in_plain_words_and_leaves_the_scene_alone(settings, cube, scene_state):
    settings.prompt = "an error"
    before = scene_state()

    with pytest.raises(RuntimeError) as error:
        bpy.ops.meshgpt.generate()

    assert scene_state() == before
    assert "log" in str(error.value)
    assert not any(word in str(error.value).lower() for word in FORBIDDEN)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [("a chair", "Chair"), ("An old  oak", "Old oak"), ("The", "The"), ("chaise longue", "Chaise longue"), ("x" * 200, "X" + "x" * 39)],
)
def test_an_object_is_named_without_the_article(addon, prompt, name):
    assert addon.jobs.title(prompt) == name
