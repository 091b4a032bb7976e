"""Real low-poly meshes with captions, read from a folder of arrays beside an index: what the procedural families cannot teach.

The folder holds `meshes.npz` (vertices; polygons as sizes and loops; offsets of every mesh in each of them) and `index.jsonl` (one line a
mesh: its row in the arrays, captions, category, quality, split).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import MeshGPTError
from core.mesh import FloatArray, IntArray, Mesh, cut_polygon

WEIGHTS = {"good": 1.0, "partial": 0.1}  # pieces of kits are rarely what a phrase asks for; every other quality is left out
ARRAYS = ("vertices", "poly_sizes", "poly_loops", "v_off", "poly_off", "loop_off")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class RealMesh:
    """A mesh an artist made.

    mesh: z up, longest side 1, triangles and quads, larger polygons cut into triangles; not in canonical form.
    captions: three or four phrases. category: what it is, in a word or two. split: "train" or "val". weight: how often to draw it, 0 to 1.
    """

    mesh: Mesh
    captions: tuple[str, ...]
    category: str
    split: str
    weight: float


def read_lowpoly(folder: str | Path) -> Iterator[RealMesh]:
    """The meshes of a folder in the order of its index, without those marked as odd.

    Raises MeshGPTError (bad_data) if the folder or a file is missing, or what it holds does not fit together.
    """
    folder = Path(folder)
    arrays, entries = read_arrays(folder / "meshes.npz"), read_index(folder / "index.jsonl")
    for entry in entries:
        try:
            if weight := WEIGHTS.get(entry["quality"], 0.0):
                mesh = polygons_to_mesh(arrays, entry["row"])
                yield RealMesh(mesh, tuple(entry["captions"]), entry["category"], entry["split"], weight)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise damaged(folder / "index.jsonl", f"row {entry.get('row')} does not fit the arrays, {error!r}") from error


def read_arrays(path: Path) -> Arrays:
    """The arrays named in ARRAYS."""
    if not path.is_file():
        raise missing(path)
    try:
        with np.load(path) as archive:
            return {name: archive[name] for name in ARRAYS}
    except Exception as error:  # zip, zlib and numpy each fail in their own way
        raise damaged(path, repr(error)) from error


def read_index(path: Path) -> list[dict[str, Any]]:
    """One dictionary a mesh."""
    if not path.is_file():
        raise missing(path)
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise damaged(path, repr(error)) from error
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise damaged(path, "it does not hold one JSON object a line")
    return entries


def polygons_to_mesh(arrays: Arrays, row: int) -> Mesh:
    """Mesh number `row` of the arrays. Raises IndexError or ValueError if the arrays hold no such mesh."""

    def part(name: str, offsets: str) -> NDArray[Any]:
        start, stop = arrays[offsets][[row, row + 1]].tolist()
        if row < 0 or not 0 <= start < stop <= len(arrays[name]):
            raise IndexError(f"{offsets} runs from {start} to {stop} but there are {len(arrays[name])} {name}")
        return arrays[name][start:stop]

    vertices = part("vertices", "v_off")
    return Mesh(vertices, cut_polygons(vertices, part("poly_sizes", "poly_off").astype(np.int64), part("poly_loops", "loop_off")))


def cut_polygons(vertices: FloatArray, sizes: IntArray, loops: NDArray[Any]) -> IntArray:
    """[faces, 4] triangles and quads of polygons given as their sizes [polygons] and corners one after another [sum of sizes].

    A triangle's last corner is -1; polygons of five or more corners are cut as in core.mesh.cut_polygon. Order and winding are kept.
    """
    if sizes.min() < 3 or sizes.sum() != len(loops):
        raise ValueError(f"polygons of {sizes.min()} or more corners, {sizes.sum()} in all, over {len(loops)} corners")
    counts = np.where(sizes == 4, 1, sizes - 2)
    begin, first = np.cumsum(sizes) - sizes, np.cumsum(counts) - counts
    faces = np.full((counts.sum(), 4), -1, np.int64)
    for size in (3, 4):
        chosen = np.flatnonzero(sizes == size)
        faces[first[chosen], :size] = loops[begin[chosen, None] + np.arange(size)]
    for large in np.flatnonzero(sizes > 4).tolist():
        corners = loops[begin[large] : begin[large] + sizes[large]]
        faces[first[large] : first[large] + counts[large], :3] = corners[np.array(cut_polygon(vertices[corners]))]
    return faces


def missing(path: Path) -> MeshGPTError:
    return MeshGPTError(f"there is no {path}", hint=f"give a folder that holds {path.name}", code="bad_data")


def damaged(path: Path, reason: str) -> MeshGPTError:
    return MeshGPTError(f"{path} is damaged: {reason[:200]}", hint="copy the folder again", code="bad_data")
