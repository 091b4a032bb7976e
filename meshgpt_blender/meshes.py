"""Blender objects to arrays, and arrays to Blender meshes.

What is read from an object is the mesh as the artist sees it: modifiers applied, standing upright, welded, triangles and quads. What
comes back from the worker becomes mesh data again, in the frame it was read in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Quaternion
from numpy.typing import NDArray

from .errors import AddonError

MOST_FACES = 10_000  # far above what a model completes: only keeps a sculpture of millions from being written out

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Polygons:
    """vertices: [vertices, 3]. faces: [faces, 4] indices, -1 is the absent corner of a triangle."""

    vertices: FloatArray
    faces: IntArray

    def moved(self, matrix: Matrix) -> Polygons:
        """The polygons under an affine map; a map that mirrors turns every face round, so that it keeps its outside."""
        vertices = transform(self.vertices, matrix)
        return Polygons(vertices, turned(self.faces) if matrix.to_3x3().determinant() < 0 else self.faces)


# ---- reading


def read_object(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Polygons:
    """The object's evaluated mesh in its own coordinates: welded, polygons of five and more corners cut into triangles.

    Raises AddonError if there is no face, more than MOST_FACES, or a coordinate that is no number.
    """
    evaluated = obj.evaluated_get(depsgraph)
    try:
        polygons = read_mesh(evaluated.to_mesh())
    finally:
        evaluated.to_mesh_clear()
    if not len(polygons.faces):
        raise AddonError(f"the object {obj.name} has no faces to go on from", "give it at least one face")
    if len(polygons.faces) > MOST_FACES:
        raise AddonError(
            f"the object {obj.name} has {len(polygons.faces):,} faces, far more than a low-poly mesh",
            "simplify it first, with a Decimate modifier",
        )
    if not np.isfinite(polygons.vertices).all():
        raise AddonError(f"the object {obj.name} has vertices that lie nowhere", "use Mesh > Clean Up in Edit Mode first")
    return polygons


def read_mesh(mesh: bpy.types.Mesh) -> Polygons:
    """A mesh as welded triangles and quads; larger polygons are cut as Blender draws them."""
    vertices = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", vertices.ravel())
    corners = foreach_get(mesh.loops, "vertex_index")
    start, size = foreach_get(mesh.polygons, "loop_start"), foreach_get(mesh.polygons, "loop_total")
    small = size <= 4
    columns = np.arange(4)
    place = np.minimum(start[small, None] + columns, max(len(corners) - 1, 0))
    faces = np.where(columns < size[small, None], corners[place] if len(corners) else 0, -1)
    mesh.calc_loop_triangles()
    triangles = foreach_get(mesh.loop_triangles, "vertices", 3).reshape(-1, 3)
    large = ~small[foreach_get(mesh.loop_triangles, "polygon_index")]
    return welded(vertices, np.concatenate([faces, np.pad(triangles[large], ((0, 0), (0, 1)), constant_values=-1)]))


def welded(vertices: FloatArray, faces: IntArray) -> Polygons:
    """Vertices that lie together (within a millionth of the size) merged, faces that collapse by it dropped, unused vertices too."""
    extent = float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0
    _, first, index = np.unique(np.rint(vertices / (extent * 1e-6 or 1.0)), axis=0, return_index=True, return_inverse=True)
    faces = np.where(faces >= 0, index.reshape(-1)[faces], -1)
    ordered = np.sort(faces, 1)
    faces = faces[(ordered[:, 1:] != ordered[:, :-1]).all(1)]
    used, compact = np.unique(faces[faces >= 0], return_inverse=True)
    faces[faces >= 0] = compact
    return Polygons(vertices[first][used], faces)


def box(obj: bpy.types.Object, matrix: Matrix) -> list[list[float]]:
    """The lowest and the highest corner of an object's bounding box under a map of the world."""
    corners = transform(np.array(obj.bound_box, np.float32), matrix @ obj.matrix_world)
    return [corners.min(0).tolist(), corners.max(0).tolist()]


def standing(world: Matrix) -> Matrix:
    """The part of an object's transform that shapes what one sees: its scale and its tilt, but neither its place nor its turn.

    The worker is sent the mesh under this map, so that an unapplied scale or an import that lies on its side is completed as it stands.
    Raises AddonError if the transform flattens the object, so that there is no way back.
    """
    turn = world.to_quaternion()
    turn = Quaternion((turn.w, 0.0, 0.0, turn.z))
    turn = turn.normalized() if turn.magnitude > 1e-6 else Quaternion()
    matrix = (turn.to_matrix().inverted() @ world.to_3x3()).to_4x4()
    if abs(matrix.determinant()) < 1e-12:
        raise AddonError("the object is scaled to nothing along an axis", "set its scale to something above zero")
    return matrix


# ---- building


def new_mesh(name: str, polygons: Polygons) -> tuple[bpy.types.Mesh, int]:
    """New mesh data, flat shaded, and how many faces Blender refused because they repeat a corner or another face."""
    mesh = bpy.data.meshes.new(name)
    present = polygons.faces >= 0
    fill(mesh, polygons.vertices, polygons.faces[present], present.sum(1))
    mesh.validate()
    return mesh, len(polygons.faces) - len(mesh.polygons)


def show_faces(mesh: bpy.types.Mesh, corners: FloatArray) -> None:
    """Replace what is in the mesh by loose faces [faces, 4, 3]; NaN is an absent corner, a face of NaN alone is not there yet."""
    present = ~np.isnan(corners[..., 0])
    sizes = present.sum(1)
    mesh.clear_geometry()
    fill(mesh, corners[present], np.arange(sizes.sum()), sizes[sizes > 0])


def fill(mesh: bpy.types.Mesh, vertices: FloatArray, corners: IntArray, sizes: IntArray) -> None:
    """Write vertices [vertices, 3], the faces' corners one after another, and the number of corners of every face, into an empty mesh."""
    mesh.vertices.add(len(vertices))
    mesh.loops.add(len(corners))
    mesh.polygons.add(len(sizes))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    mesh.loops.foreach_set("vertex_index", corners.astype(np.int32))
    mesh.polygons.foreach_set("loop_start", (np.cumsum(sizes) - sizes).astype(np.int32))
    mesh.shade_flat()
    mesh.update(calc_edges=True)


def from_wire(vertices: Sequence[Sequence[float]], faces: Sequence[Sequence[int]]) -> Polygons:
    """Polygons from the lists of a message, faces of 3 or 4 corners."""
    padded = [(*face, -1) if len(face) == 3 else face for face in faces]
    return Polygons(np.array(vertices, np.float32).reshape(-1, 3), np.array(padded, np.int64).reshape(-1, 4))


def to_wire(polygons: Polygons) -> tuple[list[list[float]], list[list[int]]]:
    """The lists of a message: vertices, and faces of 3 or 4 corners."""
    return polygons.vertices.tolist(), [[i for i in face if i >= 0] for face in polygons.faces.tolist()]


# ---- arrays


def transform(points: FloatArray, matrix: Matrix) -> FloatArray:
    """Points [..., 3] under an affine map; NaN stays NaN."""
    affine = np.array(matrix, np.float64)
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3], np.float32)


def turned(faces: IntArray) -> IntArray:
    """Faces [faces, 4] with their winding reversed, the first corner kept."""
    quad = faces[:, 3:] >= 0
    return np.where(quad, faces[:, [0, 3, 2, 1]], faces[:, [0, 2, 1, 3]])


def foreach_get(collection: bpy.types.bpy_prop_collection[Any], name: str, width: int = 1) -> IntArray:
    values = np.empty(len(collection) * width, np.int32)
    collection.foreach_get(name, values)
    return values.astype(np.int64)
