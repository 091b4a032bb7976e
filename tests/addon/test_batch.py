"""The command line that Blender hands over: files by suffix, and exit code 2 with a sentence when something is wrong."""

from __future__ import annotations

import pytest

bpy = pytest.importorskip("bpy", reason="the bpy package is not installed")


def test_a_glb_can_be_imported_again(addon, tmp_path):
    code = addon.batch.command(["generate", "a chair", "--seed", "3", "-o", str(tmp_path / "new" / "it.glb")])

    made = bpy.context.active_object
    faces = sum(polygon.loop_total - 2 for polygon in made.data.polygons)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "new" / "it.glb"))
    assert code == 0
    assert made["meshgpt_seed"] == 3
    assert len(bpy.context.active_object.data.polygons) == faces
    assert max(bpy.context.active_object.dimensions) == pytest.approx(2, abs=1e-4)


def test_a_folder_gets_one_glb_a_variant_named_after_the_prompt(addon, tmp_path, capfd):
    addon.batch.command(["generate", "a Chair, please", "--variants", "2", "-o", str(tmp_path)])

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-chair-please-0.glb", "a-chair-please-1.glb"]
    assert str(tmp_path / "a-chair-please-1.glb") in capfd.readouterr().out


def test_a_blend_file_holds_all_variants_and_nothing_else(addon, tmp_path):
    addon.batch.command(["generate", "a chair", "--variants", "2", "--size", "3", "-o", str(tmp_path / "two.blend")])

    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "two.blend"))
    assert [obj.name for obj in bpy.data.objects] == ["Chair", "Chair.001"]
    assert max(bpy.data.objects["Chair"].dimensions) == pytest.approx(3)


def test_an_obj_keeps_its_quads(addon, tmp_path):
    addon.batch.command(["generate", "a chair", "-o", str(tmp_path / "it.obj")])

    sizes = {len(line.split()) - 1 for line in (tmp_path / "it.obj").read_text().splitlines() if line.startswith("f ")}
    assert sizes == {3, 4}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", " "], "The prompt is empty"),
        (["generate", "a chair", "-o", "it.fbx"], "There is no way to write it.fbx"),
        (["generate", "a chair", "--variants", "65"], "65 is not between 1 and 64"),
        (["generate", "a chair", "--seed", "x"], "invalid number value"),
        (["generate", "an error", "-o", "x.glb"], "Something went wrong inside"),
        ([], "required"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(addon, monkeypatch, tmp_path, capfd, arguments, message):
    monkeypatch.chdir(tmp_path)

    assert addon.batch.command(arguments) == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_options_reach_the_scene(addon, tmp_path):
    wanted = ["--candidates", "3", "--faces", "40", "--extents", "1", "2", "0.5", "--polygons", "triangles"]
    assert addon.batch.command(["generate", "a chair", *wanted, "-o", str(tmp_path)]) == 0

    sent = bpy.context.scene.meshgpt.sampling()
    assert sent["properties"] == {"faces": 40, "extents": [1, 2, 0.5], "polygons": "triangles"}
    assert sent["candidates"] == bpy.context.active_object["meshgpt_drawn"] == 3


def test_a_place_that_cannot_be_written_is_said_with_exit_code_2(addon, tmp_path, capfd):
    (tmp_path / "file").touch()

    assert addon.batch.command(["generate", "a chair", "-o", str(tmp_path / "file" / "it.glb")]) == 2
    assert "file" in capfd.readouterr().err


def test_help_is_no_error(addon, capfd):
    assert addon.batch.command(["generate", "--help"]) == 0
    assert "--variants" in capfd.readouterr().out
