"""MeshGPT: meshes from text, and unfinished meshes completed, face by face. Runs anywhere torch runs; knows nothing of Blender.

    from core import Mesh, MeshGPT
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.mesh import Mesh as Mesh
    from core.pipeline import MeshGPT as MeshGPT

HOMES = {"Mesh": "core.mesh", "MeshGPT": "core.pipeline"}


def __getattr__(name: str) -> Any:
    """Import a public class on first use, so that what needs no torch does not wait for it."""
    if name not in HOMES:
        raise AttributeError(f"module 'core' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(HOMES[name]), name)
