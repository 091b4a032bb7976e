"""A Blender of our own: the bpy package with an empty user folder and the add-on installed from its zip, as a user would install it."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = "bl_ext.user_default.meshgpt"

sys.path.insert(0, str(ROOT))


@contextmanager
def blender() -> Iterator[Any]:
    """The bpy module in an empty scene, with the add-on built, installed and turned on. For one use in a process.

    Exits with a sentence if the bpy package is missing.
    """
    import build_addon

    package = build_addon.build(ROOT / "dist")
    with tempfile.TemporaryDirectory(prefix="meshgpt-demo-") as user:
        os.environ["BLENDER_USER_RESOURCES"] = user  # before the first import of bpy
        try:
            bpy = importlib.import_module("bpy")
        except ImportError as error:
            sys.exit(f"Blender's bpy package is needed ({error}). Install it with: pip install bpy==4.5.15 numpy==1.26.4")
        with quiet():
            bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
            bpy.ops.extensions.package_install_files(filepath=str(package), repo="user_default", enable_on_install=True)
        try:
            yield bpy
        finally:
            bpy.ops.preferences.addon_disable(module=EXTENSION)


@contextmanager
def quiet() -> Iterator[None]:
    """Blender prints every step of a render; not here."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def make(bpy: Any, prompt: str, seed: int) -> Any:
    """Generate one mesh with the add-on's own button; returns the object. Exits with the add-on's sentence if that fails."""
    settings = bpy.context.scene.meshgpt
    settings.prompt, settings.seed = prompt, seed
    try:
        with quiet():
            bpy.ops.meshgpt.generate()
    except RuntimeError as error:
        sys.exit(str(error).strip())
    return bpy.context.active_object


def addon(name: str) -> Any:
    """A module of the installed add-on."""
    return importlib.import_module(f"{EXTENSION}.{name}")
