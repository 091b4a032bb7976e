"""The MeshGPT tab of the 3D view's sidebar. Draws state and offers buttons; decides nothing."""

from __future__ import annotations

import textwrap
import time
from typing import Literal

import bpy

from . import jobs, runtime
from .job import Job
from .properties import settings_of

Icon = Literal["NONE", "BLANK1", "ERROR", "INFO"]


class MESHGPT_PT_main(bpy.types.Panel):
    """The prompt, the buttons and how it goes"""

    bl_label = "MeshGPT"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "MeshGPT"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.prop(settings_of(context.scene), "prompt", text="", placeholder="a chair", icon="OUTLINER_DATA_FONT")
        if job := jobs.busy():
            draw_progress(layout, job)
            return
        column = layout.column()
        column.scale_y = 1.4
        column.operator("meshgpt.generate", icon="MESH_ICOSPHERE")
        layout.operator("meshgpt.autocomplete", icon="MOD_BUILD")
        if jobs.job:
            failed = jobs.job.stage == "failed"
            draw_text(layout, context, jobs.job.text, icon="ERROR" if failed else "INFO", alert=failed)


class MESHGPT_PT_options(bpy.types.Panel):
    """How many, how large, how faithful"""

    bl_label = "Options"
    bl_parent_id = "MESHGPT_PT_main"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = for_settings(self.layout), settings_of(context.scene)
        layout.prop(settings, "variants")
        layout.prop(settings, "size")
        row = layout.row(align=True)
        row.prop(settings, "seed")
        row.prop(settings, "random_seed", text="", icon="FILE_REFRESH")
        column = layout.column(align=True)
        column.prop(settings, "guidance")
        column.prop(settings, "temperature")
        column.prop(settings, "max_faces")


class MESHGPT_PT_shape(bpy.types.Panel):
    """What the whole mesh should be, beside what the prompt says"""

    bl_label = "Shape"
    bl_parent_id = "MESHGPT_PT_main"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = for_settings(self.layout), settings_of(context.scene)
        layout.prop(settings, "faces")
        layout.prop(settings, "polygons")
        layout.prop(settings, "candidates")
        layout.prop(settings, "use_extents")
        if settings.use_extents:
            layout.prop(settings, "extents", text="")
        layout.prop(settings, "bounds")


class MESHGPT_PT_domain(bpy.types.Panel):
    """The kinds of things that the model has learned; anything else is a guess"""

    bl_label = "What It Knows"
    bl_parent_id = "MESHGPT_PT_main"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        worker = runtime.running()
        known = worker and worker.ready and worker.ready["domain"]
        draw_text(self.layout, context, ", ".join(known) if known else "It says so once it has started, with the first mesh.")


def for_settings(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """The layout with names left of what is set, greyed out while a mesh is on its way."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    layout.enabled = jobs.busy() is None
    return layout


def draw_progress(layout: bpy.types.UILayout, job: Job) -> None:
    """A wheel that turns (how many faces there will be is not known), how far it is, and a way out."""
    layout.progress(factor=time.perf_counter() % 1.0, type="RING", text=job.text)
    row = layout.row()
    row.scale_y = 1.4
    row.operator("meshgpt.cancel", icon="CANCEL")


def draw_status_bar(header: bpy.types.Header, _context: bpy.types.Context) -> None:
    """The same, small, for an artist who has the sidebar closed."""
    if job := jobs.busy():
        row = header.layout.row(align=True)
        row.progress(factor=time.perf_counter() % 1.0, type="RING", text=f"MeshGPT: {job.text}")
        row.operator("meshgpt.cancel", text="", icon="CANCEL", emboss=False)


def draw_text(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: Icon = "NONE", alert: bool = False) -> None:
    """Text over as many lines as the region's width asks for, the icon before the first."""
    width = int(context.region.width / (7.5 * context.preferences.system.ui_scale)) - 4
    column = layout.column(align=True)
    column.alert, column.scale_y = alert, 0.8
    for line in textwrap.wrap(text, max(width, 16)):
        column.label(text=line, icon=icon)
        icon = "NONE" if icon == "NONE" else "BLANK1"


CLASSES = (MESHGPT_PT_main, MESHGPT_PT_shape, MESHGPT_PT_options, MESHGPT_PT_domain)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.STATUSBAR_HT_header.append(draw_status_bar)


def unregister() -> None:
    bpy.types.STATUSBAR_HT_header.remove(draw_status_bar)
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
