"""MeshGPT for Blender: low-poly meshes from a phrase, and unfinished meshes completed, face by face."""

from . import batch, jobs, menus, operators, panels, preferences, properties, runtime

MODULES = (runtime, properties, preferences, operators, panels, menus, jobs, batch)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
