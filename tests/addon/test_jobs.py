"""The engine under a scripted worker: what it does with every message, and what Blender may do to it meanwhile."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="the bpy package is not installed")


def triangles(count: int) -> list:
    """Loose triangles, one above the other, as in a faces message."""
    return [[[0, 0, z / 1000], [0.1, 0, z / 1000], [0, 0.1, z / 1000]] for z in range(count)]


def start(addon):
    """A job whose request has been sent, under a clock that stands still: a pump does all there is to do, however busy the machine."""
    job = addon.jobs.generate(bpy.context)
    job.clock = lambda: 0.0
    job.pump()
    return job


def previews() -> list:
    return [obj for obj in bpy.data.objects if "meshgpt_preview" in obj]


# ---- streaming


def test_faces_stream_into_a_preview_at_the_cursor_at_the_size_asked_for(addon, settings, scripted):
    bpy.context.scene.cursor.location = (1, 2, 3)
    settings.size = 4
    job = start(addon)
    scripted.says("progress", stage="generating", faces=1)
    scripted.says_faces([[[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0]]])

    job.pump()

    (preview,) = previews()
    assert tuple(preview.matrix_world.translation) == (1, 2, 3)
    assert [tuple(vertex.co) for vertex in preview.data.vertices] == [(0, 0, 0), (2, 0, 0), (2, 2, 0), (0, 2, 0)]
    assert job.text == "1 face so far"


def test_a_preview_is_neither_selectable_nor_selected(addon, settings, scripted, cube):
    job = start(addon)
    scripted.says_faces(triangles(2))

    job.pump()

    assert previews()[0].hide_select
    assert bpy.context.selected_objects == [cube]
    assert bpy.context.active_object == cube


def test_faces_are_appended_and_a_lower_start_throws_away_the_rest(addon, settings, scripted):
    job = start(addon)
    sizes = []
    for begin, count in [(0, 3), (3, 100), (1, 2)]:
        scripted.says_faces(triangles(count), start=begin)
        job.pump()
        sizes.append(len(previews()[0].data.polygons))

    assert sizes == [3, 103, 3]


def test_faces_that_have_not_been_sent_are_not_shown(addon, settings, scripted):
    job = start(addon)
    scripted.says_faces(triangles(2), start=8)

    job.pump()

    assert len(previews()[0].data.polygons) == 2


def test_every_variant_has_a_preview_in_its_own_place(addon, settings, scripted):
    job = start(addon)
    for variant in (0, 2):
        scripted.says_faces(triangles(1), variant=variant)

    job.pump()

    assert sorted(preview.matrix_world.translation.x for preview in previews()) == [0, 5]


# ---- the end


def test_the_result_takes_the_place_of_the_preview(addon, settings, scripted, square):
    job = start(addon)
    scripted.says_faces(triangles(5))
    scripted.says_done(square)

    job.pump()

    assert job.stage == "finished"
    assert [obj.name for obj in bpy.data.objects] == ["Chair"]
    assert [mesh.name for mesh in bpy.data.meshes] == ["Chair"]


def test_faces_that_blender_refuses_are_counted(addon, settings, scripted, square):
    vertices, faces = square
    job = start(addon)
    scripted.says_done((vertices, [*faces, [0, 1, 2, 3], [0, 1, 1]]))

    job.pump()

    assert len(bpy.context.active_object.data.polygons) == 1
    assert "Left out 2 faces that repeated a corner or another face." in job.text


def test_the_result_is_one_undo_step(addon, settings, scripted, square, monkeypatch):
    pushed = []
    monkeypatch.setattr(addon.job, "push_undo", lambda scene, message: pushed.append((scene, message, len(bpy.data.objects))))
    job = start(addon)
    scripted.says_done(square, square)

    job.pump()

    assert pushed == [(bpy.context.scene, "MeshGPT: Chair", 2)]


def test_in_edit_mode_the_result_waits(addon, settings, scripted, square, cube):
    job = start(addon)
    bpy.ops.object.mode_set(mode="EDIT")
    scripted.says_done(square)
    job.pump()
    waiting = (job.stage, job.text, len(bpy.data.objects))

    bpy.ops.object.mode_set(mode="OBJECT")
    job.pump()

    assert waiting == ("placing", "Leave Edit Mode to place the mesh", 1)
    assert job.stage == "finished"


# ---- cancelling


@pytest.mark.parametrize("stage", ["before it is sent", "streaming", "building"])
def test_cancel_leaves_the_scene_as_it_was(addon, settings, scripted, square, cube, scene_state, stage):
    before = scene_state()
    if stage == "before it is sent":
        scripted.ready = {}
    job = start(addon)
    if stage == "streaming":
        scripted.says_faces(triangles(5))
        scripted.says_faces(triangles(5), variant=1)
    if stage == "building":
        bpy.ops.object.mode_set(mode="EDIT")
        scripted.says_done(square)
    job.pump()
    bpy.ops.object.mode_set(mode="OBJECT")

    bpy.ops.meshgpt.cancel()

    assert scene_state() == before
    assert job.stage == "cancelled"


def test_cancel_tells_the_worker_once_it_has_the_request(addon, settings, scripted):
    job = start(addon)

    job.cancel()

    assert scripted.sent[-1] == {"type": "cancel", "id": job.request["id"]}


def test_the_last_words_of_a_cancelled_job_do_not_reach_the_next(addon, settings, scripted, square):
    first = start(addon)
    scripted.says_faces(triangles(5))
    scripted.says_done(square)
    first.cancel()

    second = start(addon)

    assert second.stage == "running"
    assert not bpy.data.objects


def test_a_job_waits_until_the_worker_has_let_go_of_the_last_one(addon, settings, scripted):
    start(addon).cancel()
    second = start(addon)
    waiting = second.stage

    scripted.script.append({"type": "cancelled", "id": scripted.request})
    second.pump()

    assert waiting == "waiting"
    assert second.stage == "running"


def test_nothing_to_cancel_is_said(addon):
    with pytest.raises(RuntimeError, match="Nothing is being made"):
        bpy.ops.meshgpt.cancel()


def test_a_second_job_is_refused_while_one_runs(addon, settings, scripted):
    start(addon)

    with pytest.raises(RuntimeError, match="Wait for it, or cancel it"):
        bpy.ops.meshgpt.generate()


# ---- bounded ticks


def test_a_tick_stops_at_its_budget_and_says_that_more_is_left(addon, settings, scripted):
    clock = itertools.count(0.0, 0.003)  # every look at the clock takes 3 ms; a tick may take 8
    job = addon.jobs.generate(bpy.context)
    job.clock = lambda: next(clock)
    job.pump()
    for index in range(10):
        scripted.says_faces(triangles(1), start=index)

    left, ticks = [], 0
    while job.pump():
        left.append(len(scripted.script))
        ticks += 1

    assert left == [7, 4, 1]
    assert len(previews()[0].data.polygons) == 10


def test_meshes_are_built_one_at_a_time(addon, settings, scripted, square):
    clock = itertools.count(0.0, 1.0)  # no tick has time for more than one piece
    job = addon.jobs.generate(bpy.context)
    job.clock = lambda: next(clock)
    job.pump()
    scripted.says_done(square, square, square)

    built = []
    while not job.over:
        job.pump()
        built.append(len(bpy.data.meshes))

    assert built == [0, 1, 2, 3, 3]


def test_800_faces_stream_in_ticks_whose_longest_is_printed(addon, settings, scripted, capsys):
    rng = np.random.default_rng(0)
    vertices = rng.random((400, 3))
    faces = np.array([rng.choice(400, 4, replace=False) for _ in range(800)])
    job = start(addon)
    job.clock = time.thread_time  # the time other programs take is not the job's
    pieces = []
    for begin in range(0, 800, 8):
        scripted.says_faces(vertices[faces[begin : begin + 8]].tolist(), start=begin)
        while job.pump():
            pass
        pieces.append(len(previews()[0].data.polygons))
    scripted.says_done((vertices.tolist(), faces.tolist()))
    while not job.over:
        job.pump()

    with capsys.disabled():
        print(f"\nlongest tick: {job.longest_tick * 1000:.1f} ms of processor time, in a job of 800 faces")
    assert pieces == list(range(8, 801, 8))
    assert len(bpy.context.active_object.data.polygons) == 800


# ---- what Blender does meanwhile


def test_saving_leaves_the_preview_out_and_the_job_goes_on(addon, settings, scripted, square, tmp_path):
    job = start(addon)
    scripted.says_faces(triangles(5))
    job.pump()

    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "during.blend"), copy=True)

    with bpy.data.libraries.load(str(tmp_path / "during.blend")) as (saved, _):
        assert saved.objects == []
        assert saved.meshes == []
    job.pump()
    assert len(previews()[0].data.polygons) == 5
    scripted.says_done(square)
    job.pump()
    assert job.stage == "finished"


def test_opening_a_file_ends_the_job_and_the_next_one_works(addon, settings, scripted, square):
    job = start(addon)
    scripted.says_faces(triangles(5))
    job.pump()

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)

    assert job.stage == "cancelled"
    assert not bpy.data.objects
    scripted.script.append({"type": "cancelled", "id": scripted.request})
    bpy.context.scene.meshgpt.prompt = "a chair"
    following = start(addon)
    scripted.says_done(square)
    following.pump()
    assert following.stage == "finished"


def test_an_undo_ends_the_job_and_takes_its_preview_out(addon, settings, scripted, scene_state):
    before = scene_state()
    job = start(addon)
    scripted.says_faces(triangles(5))
    job.pump()

    for handler in bpy.app.handlers.undo_pre:
        handler(bpy.context.scene, None)

    assert scene_state() == before
    assert "undo" in job.text


def test_a_preview_that_an_undo_brings_back_is_taken_out(addon, settings, scripted, cube, scene_state):
    before = scene_state()
    stray = bpy.data.objects.new("a chair (preview)", bpy.data.meshes.new("preview"))
    stray[addon.job.PREVIEW] = stray.data[addon.job.PREVIEW] = True
    bpy.context.scene.collection.objects.link(stray)

    for handler in bpy.app.handlers.undo_post:
        handler(bpy.context.scene, None)

    assert scene_state() == before


def test_a_preview_that_the_artist_renames_or_deletes_is_no_trouble(addon, settings, scripted, square):
    settings.variants = 2
    job = start(addon)
    scripted.says_faces(triangles(1))
    scripted.says_faces(triangles(1), variant=1)
    job.pump()
    renamed, deleted = previews()
    renamed.name = "mine"
    bpy.data.objects.remove(deleted)
    scripted.says_faces(triangles(1), start=1)
    scripted.says_faces(triangles(1), start=1, variant=1)
    job.pump()
    assert len(bpy.data.objects) == 2

    scripted.says_done(square)
    job.pump()

    assert [obj.name for obj in bpy.data.objects] == ["Chair"]


def test_without_its_scene_the_job_fails_with_a_reason(addon, settings, scripted, square):
    job = start(addon)
    old, bpy.context.window.scene = bpy.context.scene, bpy.data.scenes.new("Other")
    bpy.data.scenes.remove(old)
    scripted.says_done(square)

    job.pump()

    assert job.text.startswith("The scene the mesh was made for is gone.")
    assert not bpy.data.meshes


def test_without_its_collection_the_mesh_goes_into_the_scene(addon, settings, scripted, square):
    group = bpy.data.collections.new("Props")
    bpy.context.scene.collection.children.link(group)
    bpy.context.view_layer.active_layer_collection = bpy.context.view_layer.layer_collection.children["Props"]
    job = start(addon)
    bpy.data.collections.remove(group)
    scripted.says_done(square)

    job.pump()

    assert len(bpy.context.scene.collection.objects) == 1
