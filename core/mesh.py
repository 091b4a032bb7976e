"""Mesh: the polygons that go in and come out, as two arrays.

Everything that reads, writes, measures or orders geometry without learning is here. The canonical form defined here (unit box,
quantised, ordered) is what a tokenizer turns into codes. Blender is z-up, and so is every Mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import MeshGPTError

LEVELS = 129  # grid points along an axis: odd, so that a mirror plane lies on the grid
BOX_LOW = np.array([-0.5, -0.5, 0.0])  # the unit box stands on the floor, centred in x and y
FORMATS = (".glb", ".obj", ".ply", ".stl", ".off")  # read and written
READABLE = (*FORMATS, ".gltf")

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Frame:
    """Where a unit box stands in the world: world = unit * scale + origin.

    origin: [3] the middle of the box's floor, in the mesh's own units. scale: length of the box's side in those units, above 0.
    """

    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0

    @classmethod
    def around(cls, low: FloatArray, high: FloatArray) -> Frame:
        """The smallest unit box over all between two corners [3], centred on it in x and y; its side is 0 if they are the same."""
        x, y = ((low + high) / 2)[:2].tolist()
        return cls((x, y, float(low[2])), float((high - low).max()))

    def to_unit(self, vertices: FloatArray) -> FloatArray:
        """World coordinates [..., 3] to unit box coordinates."""
        return ((vertices - np.asarray(self.origin)) / self.scale).astype(np.float32)

    def to_world(self, vertices: FloatArray) -> FloatArray:
        """Unit box coordinates [..., 3] to world coordinates."""
        return (vertices * self.scale + np.asarray(self.origin)).astype(np.float32)


@dataclass(frozen=True)
class Report:
    """What is right and wrong with a mesh. Counts, but for `consistent_winding`.

    degenerate: faces that repeat a corner or have no area. duplicate: faces over the same vertices as an earlier one.
    boundary_edges: edges of one face. non_manifold_edges: edges of three or more. components: parts connected over shared vertices.
    consistent_winding: no directed edge belongs to two faces.
    """

    vertices: int
    faces: int
    degenerate: int
    duplicate: int
    edges: int
    boundary_edges: int
    non_manifold_edges: int
    components: int
    consistent_winding: bool

    def as_dict(self) -> dict[str, int | bool]:
        """The same as plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Mesh:
    """A polygon mesh of triangles, quads or both.

    vertices: [vertices, 3] float32, finite. faces: [faces, 3 or 4] integers in 0..vertices-1; a triangle among quads has -1 as its
    last corner. Counter-clockwise seen from outside.
    Raises MeshGPTError (bad_mesh) if a shape, a coordinate or an index is out of range.
    """

    vertices: FloatArray
    faces: IntArray

    def __post_init__(self) -> None:
        vertices, faces = np.asarray(self.vertices, np.float32), np.asarray(self.faces, np.int64)
        if faces.size == 0:
            faces = faces.reshape(0, faces.shape[1] if faces.ndim == 2 and faces.shape[1] in (3, 4) else 3)
        if vertices.size == 0:
            vertices = vertices.reshape(0, 3)
        if vertices.ndim != 2 or vertices.shape[1] != 3:
            raise bad_mesh(f"vertices have shape {list(vertices.shape)}", "give three coordinates a vertex")
        if faces.ndim != 2 or faces.shape[1] not in (3, 4):
            raise bad_mesh(f"faces have shape {list(faces.shape)}", "give three or four vertex indices a face")
        if not np.isfinite(vertices).all():
            raise bad_mesh("a vertex has a coordinate that is not a finite number", "repair the mesh before using it")
        required, last = faces[:, :3], faces[:, 3:]
        if required.size and (required.min() < 0 or faces.max() >= len(vertices) or (last < -1).any()):
            bad = next(i for i in (required.min(), faces.max(), faces.min()) if not 0 <= i < len(vertices))
            raise bad_mesh(
                f"faces have index {bad} but the mesh has {len(vertices)} vertices",
                f"use indices in 0..{len(vertices) - 1}, and -1 only for the absent last corner of a triangle",
            )
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)

    # ---- files

    @classmethod
    def load(cls, path: str | Path) -> Mesh:
        """The mesh in a file, as `read_file` reads it, corners welded.

        Raises MeshGPTError (bad_mesh) as that does, or if a coordinate or an index in the file is out of range.
        """
        return cls(*read_file(Path(path))).welded()

    def save(self, path: str | Path) -> None:
        """Write GLB, OBJ, PLY, STL or OFF by the suffix. OBJ keeps quads; the others hold triangles. GLB is written y up, as it must be.

        Raises MeshGPTError: bad_mesh for another suffix, OSError as the system gives it if the file cannot be written.
        """
        path = Path(path)
        check_format(path, FORMATS)
        path.write_bytes(self.to_bytes(path.suffix.lower()))

    def to_bytes(self, suffix: str) -> bytes:
        """The content of a file of that format, suffix as in FORMATS."""
        if suffix == ".obj":
            lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in self.vertices.tolist()]
            lines += ["f " + " ".join(str(i + 1) for i in face if i >= 0) for face in self.faces.tolist()]
            return ("\n".join(lines) + "\n").encode()
        import trimesh

        vertices = self.vertices[:, [0, 2, 1]] * [1, 1, -1] if suffix == ".glb" else self.vertices
        exported: Any = trimesh.Trimesh(vertices, self.triangles(), process=False).export(file_type=suffix[1:])
        return exported if isinstance(exported, bytes) else str(exported).encode()

    # ---- frames and the grid

    def frame(self) -> Frame:
        """The smallest unit box around the mesh's faces: its longest side is 1, its floor is under the mesh's middle.

        Raises MeshGPTError (bad_mesh) if the mesh has no faces or no extent.
        """
        if not len(self.faces):
            raise bad_mesh("the mesh is empty", "give a mesh with at least one face")
        corners = self.vertices[self.faces[self.faces >= 0]].astype(float)
        frame = Frame.around(corners.min(0), corners.max(0))
        if frame.scale <= 0:
            raise bad_mesh("all vertices of the mesh lie in one point", "give a mesh with some extent")
        return frame

    def canonical(self, frame: Frame | None = None, levels: int = LEVELS) -> Mesh:
        """The mesh as the tokenizers want it: in the unit box, on a grid of `levels` points a side, welded, in canonical order.

        Vertices are sorted by z, y, x; faces are rotated to their lowest vertex, then sorted. What falls together on the grid is
        welded; faces that vanish or repeat there are dropped (a quad may become a triangle).
        frame: the box to use instead of the smallest one, for a mesh that is part of a larger one; what lies outside is clamped.
        Raises MeshGPTError (bad_mesh) if nothing is left.
        """
        unit = (frame or self.frame()).to_unit(self.vertices)
        keys, corner = np.unique(quantise(unit, levels) @ [1, levels, levels**2], return_inverse=True)
        grid = np.stack(np.unravel_index(keys, (levels,) * 3), 1)
        faces = drop_degenerate(np.where(self.faces >= 0, corner.reshape(-1)[self.faces], -1))
        faces = rotate_to_lowest(faces)
        faces = faces[np.lexsort(faces.T[::-1])]
        faces = faces[~is_duplicate(faces)]
        if not len(faces):
            raise bad_mesh("no face is left on the grid", "give a mesh whose faces are larger than a hundredth of its size")
        used, faces = compact(faces)
        canonical = Mesh(dequantise(grid[used][:, ::-1], levels), faces)
        if frame is None and len(used) < len(grid):  # what vanished may have been all that reached a side of the box
            return canonical.canonical(levels=levels)
        return canonical

    def face_coordinates(self) -> FloatArray:
        """[faces, 3 or 4, 3] the coordinates of every corner; NaN for the absent corner of a triangle."""
        coordinates = self.vertices[self.faces]
        coordinates[self.faces < 0] = np.nan
        return coordinates

    @classmethod
    def from_face_coordinates(cls, coordinates: ArrayLike) -> Mesh:
        """A mesh of faces [faces, 3 or 4, 3], equal corners welded, NaN for an absent one; the faces keep their order."""
        coordinates = np.asarray(coordinates, np.float32)
        corners = coordinates.reshape(-1, 3)
        present = ~np.isnan(corners).any(1)
        vertices, first, index = np.unique(corners[present], axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        faces = np.full(len(corners), -1, np.int64)
        faces[present] = np.argsort(order)[index.reshape(-1)]
        return cls(vertices[order], faces.reshape(coordinates.shape[:2]))

    # ---- derived

    def transformed(self, frame: Frame) -> Mesh:
        """The mesh moved from the unit box to that frame in the world."""
        return Mesh(frame.to_world(self.vertices), self.faces)

    def welded(self) -> Mesh:
        """Vertices at equal coordinates merged, unused ones dropped."""
        order, is_new = sort_rows(self.vertices)
        index = np.empty(len(order), np.int64)
        index[order] = np.cumsum(is_new) - 1
        used, faces = compact(np.where(self.faces >= 0, index[self.faces], -1))
        return Mesh(self.vertices[order[is_new]][used], faces)

    def quads(self) -> Mesh:
        """The same mesh with four columns of faces."""
        missing = 4 - self.faces.shape[1]
        return Mesh(self.vertices, np.pad(self.faces, ((0, 0), (0, missing)), constant_values=-1))

    def triangles(self) -> IntArray:
        """[triangles, 3] the faces with every quad cut from its first to its third corner."""
        if self.faces.shape[1] == 3:
            return self.faces
        quad = self.faces[:, 3] >= 0
        cut = np.stack([self.faces[:, :3], self.faces[:, [0, 2, 3]]], 1)
        return cut[np.stack([np.ones_like(quad), quad], 1)]

    def edges(self) -> IntArray:
        """[corners, 2] the directed edge that leaves every corner, face by face."""
        faces = self.quads().faces
        following = np.roll(faces, -1, 1)
        triangle = faces[:, 3] < 0
        following[triangle, 2] = faces[triangle, 0]
        present = faces >= 0
        return np.stack([faces[present], following[present]], 1)

    def report(self) -> Report:
        """What is right and wrong with the mesh."""
        directed = self.edges()
        _, uses = np.unique(np.sort(directed, 1), axis=0, return_counts=True)
        _, directed_uses = np.unique(directed, axis=0, return_counts=True)
        return Report(
            vertices=len(self.vertices),
            faces=len(self.faces),
            degenerate=int(self.is_degenerate().sum()),
            duplicate=int(is_duplicate(self.faces).sum()),
            edges=len(uses),
            boundary_edges=int((uses == 1).sum()),
            non_manifold_edges=int((uses > 2).sum()),
            components=count_components(directed),
            consistent_winding=bool((directed_uses <= 1).all()),
        )

    def is_degenerate(self) -> NDArray[np.bool_]:
        """[faces] which faces repeat a corner or have no area."""
        faces = np.sort(self.quads().faces, 1)
        repeats = ((faces[:, 1:] == faces[:, :-1]) & (faces[:, 1:] >= 0)).any(1)
        corners = np.nan_to_num(self.quads().face_coordinates().astype(np.float64) - self.vertices[self.faces[:, :1]], nan=0.0)
        area = np.linalg.norm(np.cross(corners[:, 1], corners[:, 2]) + np.cross(corners[:, 2], corners[:, 3]), axis=1)
        return repeats | (area <= 1e-12)


# ---- the grid


def quantise(coordinates: FloatArray, levels: int = LEVELS) -> IntArray:
    """Unit box coordinates [..., 3] to grid indices in 0..levels-1, nearest; what lies outside the box is clamped to it."""
    return np.clip(np.rint((coordinates - BOX_LOW) * (levels - 1)), 0, levels - 1).astype(np.int64)


def dequantise(indices: IntArray, levels: int = LEVELS) -> FloatArray:
    """Grid indices [..., 3] to unit box coordinates."""
    return (indices / (levels - 1) + BOX_LOW).astype(np.float32)


# ---- faces


def drop_degenerate(faces: IntArray) -> IntArray:
    """Faces without repeated corners: a quad with two equal neighbours becomes a triangle, anything less is dropped."""
    if faces.shape[1] == 3:
        a, b, c = faces.T
        return faces[(a != b) & (b != c) & (c != a)]
    faces = faces.copy()
    quad = faces[:, 3] >= 0
    for corner in range(4):  # remove the corner that equals the one before it
        repeated = quad & (faces[:, corner] == faces[:, corner - 1])
        keep = [i for i in range(4) if i != corner]
        faces[repeated] = np.pad(faces[repeated][:, keep], ((0, 0), (0, 1)), constant_values=-1)
        quad &= ~repeated
    ordered = np.sort(faces, 1)
    return faces[(ordered[:, 1:] != ordered[:, :-1]).all(1)]


def rotate_to_lowest(faces: IntArray) -> IntArray:
    """Every face turned, its winding kept, so that its lowest vertex comes first."""
    sizes = (faces >= 0).sum(1, keepdims=True)
    first = np.where(faces >= 0, faces, np.iinfo(np.int64).max).argmin(1)[:, None]
    columns = np.arange(faces.shape[1])
    turned = np.take_along_axis(faces, (first + columns) % sizes, 1)
    return np.where(columns < sizes, turned, -1)


def is_duplicate(faces: IntArray) -> NDArray[np.bool_]:
    """[faces] which faces lie over the same vertices as an earlier one."""
    order, is_new = sort_rows(np.sort(faces, 1))
    duplicate = np.empty(len(faces), bool)
    duplicate[order] = ~is_new
    return duplicate


def sort_rows(rows: NDArray[Any]) -> tuple[IntArray, NDArray[np.bool_]]:
    """The order [n] that sorts rows [n, columns], equal ones as they come, and which [n] of the sorted rows differ from the one before."""
    order = np.lexsort(rows.T[::-1])
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (rows[order[1:]] != rows[order[:-1]]).any(1)
    return order, is_new


def polygon_faces(vertices: FloatArray, polygons: Sequence[Sequence[int]]) -> IntArray:
    """[faces, 4] triangles and quads of polygons of three or more corners each, in their order; larger ones are cut into triangles."""
    faces: list[list[int]] = []
    for polygon in polygons:
        if len(polygon) <= 4:
            faces.append([*polygon, -1][:4])
        else:
            faces += [[*(polygon[i] for i in triangle), -1] for triangle in cut_polygon(vertices.take(polygon, 0, mode="clip"))]
    return np.array(faces, np.int64).reshape(-1, 4)


def cut_polygon(corners: FloatArray) -> list[tuple[int, int, int]]:
    """Triangles over the corners [k, 3] of a nearly flat polygon, k - 2 of them, wound as it is: a fan if that gives every one an
    area, else ears cut one after another (Meisters 1975), the fattest first."""
    points = corners.astype(np.float64)
    normal = np.cross(points, np.roll(points, -1, 0)).sum(0)
    fan = np.cross(points[1:-1] - points[0], points[2:] - points[0]) @ normal
    if (fan > 1e-6 * np.abs(fan).max()).all():
        return [(0, i, i + 1) for i in range(1, len(points) - 1)]
    left, triangles = list(range(len(points))), []
    while len(left) > 3:
        ring = points[left]
        before, after = np.roll(ring, 1, 0), np.roll(ring, -1, 0)
        sides = np.stack([ring - before, after - ring, before - after], 1)
        area = np.cross(sides[:, 0], sides[:, 1]) @ normal
        starts = np.stack([before, ring, after], 1)
        inward = np.cross(sides[:, :, None], ring - starts[:, :, None]) @ normal  # [ear, side, corner]
        own = (ring == starts[:, :, None]).all(-1).any(1)  # also where a bridge to a hole passes a corner twice
        blocked = ((inward >= 0).all(1) & ~own).any(1)
        fatness = area / np.maximum(np.square(sides).sum((1, 2)), 1e-300)
        ear = int(np.where(blocked, -np.inf, fatness).argmax())
        triangles.append((left[ear - 1], left[ear], left[(ear + 1) % len(left)]))
        del left[ear]
    return [*triangles, (left[0], left[1], left[2])]


def compact(faces: IntArray) -> tuple[IntArray, IntArray]:
    """The vertices in use, in order, and the faces over those alone."""
    is_used = np.bincount(faces[faces >= 0]) > 0
    if not len(is_used):
        return np.zeros(0, np.int64), faces
    return np.flatnonzero(is_used), np.where(faces >= 0, (np.cumsum(is_used) - 1)[faces], -1)


def count_components(edges: IntArray) -> int:
    """How many parts the vertices named in edges [edges, 2] fall into."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    vertices, index = np.unique(edges, return_inverse=True)
    start, end = index.reshape(-1, 2).T
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(len(vertices),) * 2)
    return int(connected_components(graph, directed=False)[0]) if len(vertices) else 0


# ---- reading


def read_file(path: Path) -> tuple[FloatArray, IntArray]:
    """Vertices [vertices, 3] and faces [faces, 3 or 4] of a GLB, glTF, OBJ, PLY, STL or OFF file, as they stand there.

    All objects in one, z up (GLB and glTF are turned from y up). OBJ keeps its quads and has larger polygons cut into triangles; the
    other formats are read as triangles. Coordinates may be infinite and indices out of range.
    Raises MeshGPTError (bad_mesh) if the file is missing, unreadable, of another format or holds no face.
    """
    check_format(path, READABLE)
    if not path.is_file():
        raise bad_mesh(f"there is no mesh file {path}", "check the path")
    try:
        vertices, faces = read_obj(path) if path.suffix.lower() == ".obj" else read_trimesh(path)
    except Exception as error:  # parsers fail in as many ways as files do
        raise bad_mesh(f"{path} cannot be read as a mesh ({type(error).__name__}: {first_line(error)})", "export it again") from error
    if not len(faces):
        raise bad_mesh(f"{path} holds no faces", "give a mesh with at least one face")
    return vertices, faces


def check_format(path: Path, known: tuple[str, ...]) -> None:
    if path.suffix.lower() not in known:
        raise bad_mesh(f"{path.name} is not in a mesh format that is known here", f"use one of {', '.join(known)}")


def read_obj(path: Path) -> tuple[FloatArray, IntArray]:
    vertices: list[list[float]] = []
    polygons: list[list[int]] = []
    for line in path.read_text(errors="replace").splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            x, y, z = map(float, fields[:3])
            vertices.append([x, y, z])
        elif kind == "f":
            polygon = [int(field.split("/")[0]) for field in fields]
            polygon = [i - 1 if i > 0 else len(vertices) + i for i in polygon]
            if len(polygon) < 3:
                raise ValueError("a face has fewer than three corners")
            polygons.append(polygon)
    coordinates = np.array(vertices, np.float32).reshape(-1, 3)
    return coordinates, polygon_faces(coordinates, polygons)


def read_trimesh(path: Path) -> tuple[FloatArray, IntArray]:
    import trimesh

    loaded: Any = trimesh.load(path, process=False)
    if isinstance(loaded, trimesh.Scene):
        loaded = loaded.to_geometry()
    vertices = np.asarray(loaded.vertices, np.float32)
    if path.suffix.lower() in (".glb", ".gltf"):
        vertices = vertices[:, [0, 2, 1]] * np.array([1, -1, 1], np.float32)
    return vertices, np.asarray(getattr(loaded, "faces", np.zeros((0, 3))), np.int64)


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0][:120]


def bad_mesh(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_mesh")
