"""Run by `sources.py` in a process of its own, because bpy ends the whole process on some broken files: one .blend file to arrays.

    python -m training.preparation.blend FILE.blend OUT.npz
"""

from __future__ import annotations

import os
import sys

import numpy as np

from training.data.lowpoly import cut_polygons
from training.preparation.cleaning import reversed_faces

NO_BPY = 3  # exit code


def main(source: str, out: str) -> int:
    """Write vertices and faces of all objects a render would show, modifiers applied, in world coordinates, and `metres` of a unit."""
    try:
        import bpy
    except ImportError:
        return NO_BPY
    bpy.ops.wm.open_mainfile(filepath=source, load_ui=False, use_scripts=False)
    vertices, faces, count = [np.zeros((0, 3))], [np.zeros((0, 4), np.int64)], 0
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        shown = instance.object
        if shown.type not in ("MESH", "CURVE", "SURFACE", "FONT", "META") or shown.original.hide_render:
            continue
        mesh = shown.to_mesh()
        corners = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", corners)
        matrix = np.array(instance.matrix_world)
        placed = corners.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        sizes, loops = np.empty(len(mesh.polygons), np.int64), np.empty(len(mesh.loops), np.int64)
        mesh.polygons.foreach_get("loop_total", sizes)
        mesh.loops.foreach_get("vertex_index", loops)
        if len(sizes):
            own = cut_polygons(placed, sizes, loops)
            own = reversed_faces(own) if np.linalg.det(matrix[:3, :3]) < 0 else own
            faces.append(np.where(own >= 0, own + count, -1))
            vertices.append(placed)
            count += len(placed)
        shown.to_mesh_clear()
    units = bpy.context.scene.unit_settings
    metres = units.scale_length if units.system != "NONE" else 0.0
    np.savez(out, vertices=np.concatenate(vertices).astype(np.float32), faces=np.concatenate(faces), metres=metres)
    return 0


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:]))  # bpy may hang where the interpreter ends by itself
