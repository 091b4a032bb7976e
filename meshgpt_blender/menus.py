"""Where the buttons stand outside the sidebar: the right-click menu of Object Mode."""

from __future__ import annotations

import bpy


def draw_context_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    if context.active_object and context.active_object.type == "MESH":
        menu.layout.separator()
        menu.layout.operator("meshgpt.autocomplete", icon="MOD_BUILD")


def register() -> None:
    bpy.types.VIEW3D_MT_object_context_menu.append(draw_context_menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_object_context_menu.remove(draw_context_menu)
