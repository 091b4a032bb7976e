"""The buttons. Each reads the scene, calls one function that a script can call too, and reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import bpy

from . import jobs, runtime
from .errors import AddonError
from .job import Job
from .properties import settings_of

Outcome = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]  # whatever an operator may answer


class MESHGPT_OT_generate(bpy.types.Operator):
    """Make a mesh from the prompt, at the 3D cursor"""

    bl_idname = "meshgpt.generate"
    bl_label = "Generate"
    bl_options = {"REGISTER"}  # the undo step comes when the mesh does

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if reason := why_not_now(context) or why_not_generate(context):
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> Outcome:
        return run(self, context, jobs.generate)


class MESHGPT_OT_autocomplete(bpy.types.Operator):
    """Complete the active mesh, guided by the prompt if there is one. The result is a new object; the original is hidden"""

    bl_idname = "meshgpt.autocomplete"
    bl_label = "Autocomplete Mesh"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if reason := why_not_now(context) or why_not_autocomplete(context):
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> Outcome:
        return run(self, context, jobs.autocomplete)


class MESHGPT_OT_cancel(bpy.types.Operator):
    """Stop, and leave the scene as it was"""

    bl_idname = "meshgpt.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if not jobs.busy():
            cls.poll_message_set("Nothing is being made")
        return jobs.busy() is not None

    def execute(self, _context: bpy.types.Context) -> Outcome:
        if job := jobs.busy():
            job.cancel()
        runtime.redraw()
        return {"FINISHED"}


class MESHGPT_OT_start_worker(bpy.types.Operator):
    """Start the worker now, so that the first mesh comes sooner"""

    bl_idname = "meshgpt.start_worker"
    bl_label = "Start Worker"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if runtime.running():
            cls.poll_message_set("The worker is running")
        return not runtime.running()

    def execute(self, _context: bpy.types.Context) -> Outcome:
        try:
            runtime.worker()
        except AddonError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not bpy.app.background:
            bpy.app.timers.register(runtime.watch)
        return {"FINISHED"}


class MESHGPT_OT_stop_worker(bpy.types.Operator):
    """End the worker; the memory it holds is given back"""

    bl_idname = "meshgpt.stop_worker"
    bl_label = "Stop Worker"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if not runtime.running():
            cls.poll_message_set("The worker is not running")
        return runtime.running() is not None

    def execute(self, _context: bpy.types.Context) -> Outcome:
        jobs.abort("Stopped with the worker.")
        runtime.stop()
        return {"FINISHED"}


class MESHGPT_OT_open_log(bpy.types.Operator):
    """Open what the worker wrote about its work"""

    bl_idname = "meshgpt.open_log"
    bl_label = "Open Log"

    def execute(self, _context: bpy.types.Context) -> Outcome:
        log = runtime.user_folder() / "worker.log"
        if not log.exists():
            self.report({"INFO"}, "There is no log yet. The worker has not run.")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(log))
        return {"FINISHED"}


# ---- what the buttons share


def run(operator: bpy.types.Operator, context: bpy.types.Context, start: Callable[[bpy.types.Context], Job]) -> Outcome:
    """Start a job. With a window it goes on by itself; without one this waits for it, and reports."""
    try:
        job = start(context)
    except AddonError as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    if not bpy.app.background:
        return {"FINISHED"}
    jobs.wait(job)
    finished = job.stage == "finished"
    operator.report({"INFO"} if finished else {"ERROR"}, job.text)
    return {"FINISHED"} if finished else {"CANCELLED"}


def why_not_now(context: bpy.types.Context) -> str:
    """Why no job can be started at the moment, or nothing."""
    if jobs.busy():
        return "A mesh is being made. Wait for it, or cancel it"
    if context.mode != "OBJECT":
        return "Go to Object Mode first"
    return ""


def why_not_generate(context: bpy.types.Context) -> str:
    return "" if settings_of(context.scene).prompt.strip() else "Type a prompt first, such as: a chair"


def why_not_autocomplete(context: bpy.types.Context) -> str:
    active = context.active_object
    if active is None:
        return "Select a mesh object first"
    return "" if active.type == "MESH" else f"{active.name} is not a mesh. Select a mesh object first"


CLASSES = (
    MESHGPT_OT_generate,
    MESHGPT_OT_autocomplete,
    MESHGPT_OT_cancel,
    MESHGPT_OT_start_worker,
    MESHGPT_OT_stop_worker,
    MESHGPT_OT_open_log,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)  # type: ignore[func-returns-value, attr-defined]  # the stubs have no result
