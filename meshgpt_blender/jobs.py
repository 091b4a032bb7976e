"""The job under way: started from the scene, pumped to its end, and ended by what Blender does meanwhile.

A Job has two drivers: a timer where Blender has a window, and a loop that waits where it has none.
"""

from __future__ import annotations

import time
import traceback

import bpy
from bpy.app.handlers import persistent
from mathutils import Matrix, Vector

from . import meshes, runtime
from .job import PREVIEW, Job, Name, Target
from .properties import settings_of

job: Job | None = None  # the current one, or the last one that ended


# ---- starting one


def generate(context: bpy.types.Context) -> Job:
    """Start making what the scene's prompt says, at the 3D cursor. Raises AddonError if no worker can be started."""
    settings = settings_of(context.scene)
    worker = runtime.worker()
    target = Target(
        Name.of(context.scene),
        context.view_layer.name,
        Name.of(editable_collection(context)),
        title(settings.prompt),
        Matrix.Translation(context.scene.cursor.location),
        Vector((settings.size * 1.25, 0, 0)),
        Matrix.Scale(settings.size, 4),
    )
    return begin(worker, {"type": "generate", "text": settings.prompt.strip()} | settings.sampling(), target)


def autocomplete(context: bpy.types.Context) -> Job:
    """Start completing the active object, guided by the scene's prompt if there is one.

    The result is a new object in the same place; the original is hidden. Raises AddonError if the object cannot be used.
    """
    settings, source = settings_of(context.scene), context.active_object
    polygons = meshes.read_object(source, context.evaluated_depsgraph_get())
    sent = meshes.standing(source.matrix_world)
    vertices, faces = meshes.to_wire(polygons.moved(sent))
    worker = runtime.worker()
    target = Target(
        Name.of(context.scene),
        context.view_layer.name,
        Name.of(editable_collection(context)),
        f"{source.name} completed"[:60],
        source.matrix_world.copy(),
        Vector((max(source.dimensions[:]) * 1.25, 0, 0)),
        sent.inverted(),
        Name.of(source),
    )
    request = {"type": "complete", "text": settings.prompt.strip(), "vertices": vertices, "faces": faces}
    if settings.bounds:
        request["bounds"] = meshes.box(settings.bounds, sent @ source.matrix_world.inverted())
    return begin(worker, request | settings.sampling(), target)


def begin(worker: runtime.Worker, request: runtime.Message, target: Target) -> Job:
    """Make the job the current one and, where Blender has a window, let a timer pump it."""
    global job
    job = Job(worker, request, target)
    if not bpy.app.background and not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick)
    return job


def busy() -> Job | None:
    """The job that is under way, if there is one."""
    return job if job and not job.over else None


# ---- the two drivers


def wait(current: Job) -> None:
    """Pump the job to its end. An interrupt from the keyboard cancels it."""
    try:
        while not current.over:
            if not current.pump():
                time.sleep(0.005)
    except KeyboardInterrupt:
        current.cancel()
        raise


def tick() -> float | None:
    """Pump the current job a little: the timer's function."""
    if not job or job.over:
        return None
    try:
        more = job.pump()
    except Exception:  # a defect of ours must not leave a job that never ends
        traceback.print_exc()
        job.end("failed", "Something went wrong inside the add-on. The system console says more.")
    runtime.redraw()
    if job.stage == "failed":
        show_message(job.text)
    return None if job.over else 0.0 if more else 0.05


def show_message(text: str) -> None:
    """Show a message under the mouse, for an artist who does not have the panel open."""
    windows = bpy.context.window_manager.windows
    if windows:
        with bpy.context.temp_override(window=windows[0]):
            bpy.context.window_manager.popup_menu(lambda menu, _: menu.layout.label(text=text), title="MeshGPT", icon="ERROR")


# ---- small things


def editable_collection(context: bpy.types.Context) -> bpy.types.Collection:
    return context.collection if context.collection.is_editable else context.scene.collection


def title(prompt: str) -> str:
    """An object's name from a prompt: no article, a capital, not too long."""
    words = prompt.split()
    if len(words) > 1 and words[0].lower() in ("a", "an", "the"):
        words = words[1:]
    name = " ".join(words)[:40].strip()
    return name[:1].upper() + name[1:]


# ---- what Blender does meanwhile


def abort(text: str) -> None:
    if current := busy():
        current.end("cancelled", text)


@persistent  # type: ignore[untyped-decorator]
def before_load(*_: object) -> None:
    global job
    abort("Stopped because another file was opened")
    job = None


@persistent  # type: ignore[untyped-decorator]
def before_undo(*_: object) -> None:
    abort("Stopped by the undo. Press Generate to start again.")


@persistent  # type: ignore[untyped-decorator]
def before_save(*_: object) -> None:
    if current := busy():
        current.remove_previews()


@persistent  # type: ignore[untyped-decorator]
def remove_strays(*_: object) -> None:
    """Take out previews that an undo step or an autosaved file brought back."""
    kept = {stream.preview.uid for stream in job.streams.values() if stream.preview} if job else set()
    for obj in [obj for obj in bpy.data.objects if obj.get(PREVIEW) and obj.session_uid not in kept]:
        bpy.data.objects.remove(obj)
    for mesh in [mesh for mesh in bpy.data.meshes if mesh.get(PREVIEW) and not mesh.users]:
        bpy.data.meshes.remove(mesh)


HANDLERS = (
    ("load_pre", before_load),
    ("load_post", remove_strays),
    ("undo_pre", before_undo),
    ("undo_post", remove_strays),
    ("redo_pre", before_undo),
    ("redo_post", remove_strays),
    ("save_pre", before_save),
)


def register() -> None:
    for event, handler in HANDLERS:
        getattr(bpy.app.handlers, event).append(handler)


def unregister() -> None:
    global job
    abort("Stopped because the add-on was turned off")
    job = None
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for event, handler in HANDLERS:
        handlers = getattr(bpy.app.handlers, event)
        if handler in handlers:
            handlers.remove(handler)
