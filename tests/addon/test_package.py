"""The zip, and what installing, turning off and turning on do to Blender."""

from __future__ import annotations

import ast
import re
import tomllib
import zipfile
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy", reason="the bpy package is not installed")

import build_addon  # noqa: E402  (found by way of conftest)

EXTENSION = "bl_ext.user_default.meshgpt"
ROOT = Path(build_addon.__file__).parent


# ---- the zip


def test_the_same_files_make_the_same_bytes(tmp_path):
    first, second = (build_addon.build(tmp_path / name).read_bytes() for name in ("first", "second"))

    assert first == second


def test_the_zip_holds_the_add_on_at_its_root_and_core_beside_it(package):
    names = set(zipfile.ZipFile(package).namelist())

    assert {"blender_manifest.toml", "__init__.py", "jobs.py", "core/__main__.py", "core/worker.py"} <= names
    assert not any("__pycache__" in name or name.startswith(("training", "tests", "meshgpt_blender")) for name in names)


def test_blenders_own_tool_accepts_the_zip(package):
    assert build_addon.extension_tool()
    assert build_addon.validate(package) == 0


def test_a_version_that_disagrees_is_refused(monkeypatch, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.0"')
    (tmp_path / "blender_manifest.toml").write_text('version = "1.1"')
    monkeypatch.setattr(build_addon, "ROOT", tmp_path)

    with pytest.raises(SystemExit, match="make them agree"):
        build_addon.version()


def test_the_packages_named_to_the_artist_are_the_ones_core_needs(addon):
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

    assert list(addon.runtime.PACKAGES) == [re.split("[=<>~! ]", name)[0] for name in needed]


# ---- walls


@pytest.mark.parametrize("path", sorted((ROOT / "meshgpt_blender").glob("*.py")), ids=lambda path: path.stem)
def test_the_add_on_imports_only_blender_numpy_the_standard_library_and_itself(path):
    blender = {"bpy", "mathutils", "numpy", "ctypes", "msvcrt"}
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module.split(".")[0])

    import sys

    assert imported <= sys.stdlib_module_names | blender
    assert "threading" not in imported


# ---- Blender


def test_turning_it_off_leaves_nothing_and_turning_it_on_works_again(addon, settings):
    bpy.ops.meshgpt.generate()
    worker = addon.runtime.running().process
    handlers = [getattr(bpy.app.handlers, event) for event, _ in addon.jobs.HANDLERS]
    assert all(ours in theirs for theirs, (_, ours) in zip(handlers, addon.jobs.HANDLERS, strict=True))

    bpy.ops.preferences.addon_disable(module=EXTENSION)
    off = {
        "handlers": [ours for theirs, (_, ours) in zip(handlers, addon.jobs.HANDLERS, strict=True) if ours in theirs],
        "scene": hasattr(bpy.types.Scene, "meshgpt"),
        "operator": hasattr(bpy.types, "MESHGPT_OT_generate"),
        "panel": hasattr(bpy.types, "MESHGPT_PT_main"),
        "worker": worker.poll() is None,
    }
    bpy.ops.preferences.addon_enable(module=EXTENSION)
    bpy.context.scene.meshgpt.prompt = "a chair"

    assert off == {"handlers": [], "scene": False, "operator": False, "panel": False, "worker": False}
    assert bpy.ops.meshgpt.generate() == {"FINISHED"}


def test_installing_over_itself_while_a_job_runs_takes_the_job_out(addon, settings, scripted, package):
    job = addon.jobs.generate(bpy.context)
    job.pump()
    scripted.says_faces([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    job.pump()

    bpy.ops.extensions.package_install_files(filepath=str(package), repo="user_default", enable_on_install=True)

    assert job.stage == "cancelled"
    assert not bpy.data.objects
    bpy.context.scene.meshgpt.prompt = "a chair"
    assert bpy.ops.meshgpt.generate() == {"FINISHED"}
