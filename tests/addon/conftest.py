"""The add-on as a user has it: the built zip, installed by Blender's extension system into an empty user folder, with the fake worker."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

USER = tempfile.mkdtemp(prefix="meshgpt-blender-user-")
os.environ["BLENDER_USER_RESOURCES"] = USER  # before the first import of bpy
os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[2]
EXTENSION = "bl_ext.user_default.meshgpt"
MODULES = ("batch", "errors", "job", "jobs", "meshes", "operators", "preferences", "runtime")

sys.path.insert(0, str(ROOT))

exit_status = 0


def pytest_sessionfinish(exitstatus: int) -> None:
    global exit_status
    exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End without C's exit handlers: that of bpy 4.5 can wait for ever for its own thread that closes files."""
    if "bpy" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_status)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, freshly built."""
    import build_addon

    return build_addon.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def installed(package: Path) -> Iterator[None]:
    bpy = pytest.importorskip("bpy", reason="the bpy package is not installed")
    bpy.ops.extensions.package_install_files(filepath=str(package), repo="user_default", enable_on_install=True)
    yield
    bpy.ops.preferences.addon_disable(module=EXTENSION)
    shutil.rmtree(USER, ignore_errors=True)


@pytest.fixture
def addon(installed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The add-on's modules by name, in an empty scene; its worker is the fake one and outlives the test."""
    import bpy

    monkeypatch.setenv("MESHGPT_FAKE", "1")
    monkeypatch.delenv("MESHGPT_PYTHON", raising=False)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    yield SimpleNamespace(**{name: importlib.import_module(f"{EXTENSION}.{name}") for name in MODULES})
    jobs = importlib.import_module(f"{EXTENSION}.jobs")
    jobs.abort("the test is over")


@pytest.fixture
def settings(addon: SimpleNamespace) -> Any:
    """The scene's prompt and options, with a prompt."""
    import bpy

    bpy.context.scene.meshgpt.prompt = "a chair"
    bpy.context.scene.meshgpt.seed = 3
    return bpy.context.scene.meshgpt


@pytest.fixture
def preferences(addon: SimpleNamespace) -> Iterator[Any]:
    """The add-on's preferences, put back to their defaults afterwards."""
    yield addon.runtime.preferences()
    for name in ("python", "model", "device"):
        addon.runtime.preferences().property_unset(name)


@pytest.fixture
def cube(addon: SimpleNamespace) -> Any:
    """An active and selected cube of side 2 around the origin."""
    import bpy

    bpy.ops.mesh.primitive_cube_add()
    return bpy.context.active_object


@pytest.fixture
def scene_state() -> Callable[[], dict[str, Any]]:
    """Call it for all of the scene that a cancelled or failed job must leave alone."""
    import bpy

    def state() -> dict[str, Any]:
        layer = bpy.context.view_layer
        return {
            "objects": sorted((obj.name, obj.session_uid) for obj in bpy.data.objects),
            "meshes": sorted((mesh.name, mesh.session_uid, len(mesh.polygons)) for mesh in bpy.data.meshes),
            "collections": sorted((group.name, len(group.objects)) for group in [*bpy.data.collections, bpy.context.scene.collection]),
            "selected": sorted(obj.name for obj in layer.objects.selected),
            "hidden": sorted(obj.name for obj in layer.objects if obj.hide_get() or obj.hide_render),
            "active": layer.objects.active and layer.objects.active.name,
            "mode": bpy.context.mode,
        }

    return state


class ScriptedWorker:
    """Stands in for runtime.Worker: hands out the messages it is given, and remembers what it is sent."""

    def __init__(self) -> None:
        self.ready = {"type": "ready", "model": "scripted", "device": "cpu", "domain": []}
        self.request: str | None = None
        self.alive = True
        self.sent: list[dict[str, Any]] = []
        self.script: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message["type"] in ("generate", "complete"):
            self.request = message["id"]

    def receive(self) -> dict[str, Any] | None:
        if not self.script:
            return None
        message = self.script.pop(0)
        if message["type"] in ("done", "cancelled", "error") and message["id"] == self.request:
            self.request = None
        return message

    # ---- what it may say of the request it was sent last

    def says(self, kind: str, **fields: Any) -> None:
        self.script.append({"type": kind, "id": self.sent[-1]["id"], **fields})

    def says_faces(self, faces: list[Any], start: int = 0, variant: int = 0) -> None:
        self.says("faces", variant=variant, start=start, faces=faces)

    def says_done(self, *meshes: tuple[list[Any], list[Any]]) -> None:
        common = {"seed": 3, "text": "a chair", "seconds": 1.0, "first_face_seconds": 0.1, "ended": True, "note": ""}
        common |= {"rejected": 0, "drawn": 1}
        results = [{"variant": index, "vertices": vertices, "faces": faces} for index, (vertices, faces) in enumerate(meshes)]
        self.says("done", meshes=[result | common for result in results])


@pytest.fixture
def scripted(addon: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> ScriptedWorker:
    """A scripted worker in the real one's place."""
    worker = ScriptedWorker()
    monkeypatch.setattr(addon.runtime, "worker", lambda: worker)
    return worker


@pytest.fixture
def square() -> tuple[list[Any], list[Any]]:
    """The vertices and faces of a mesh of one quad, as in a message."""
    return [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2, 3]]
