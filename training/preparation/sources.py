"""What there is to prepare: mesh files under folders, and sets of arrays beside an index; how each of them is read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from core.errors import MeshGPTError
from core.mesh import READABLE, FloatArray, IntArray, read_file
from training.data.lowpoly import WEIGHTS, Arrays, polygons_to_mesh, read_arrays, read_index
from training.preparation.blend import NO_BPY
from training.preparation.captions import Caption, words_of
from training.preparation.cleaning import Rejected

SUFFIXES = (*READABLE, ".blend")
SPLITS = {"train": "train", "val": "validation"}  # as the index of a set names them


@dataclass(frozen=True)
class Item:
    """A mesh that may become training data.

    path: its file, or the folder of a set; row: its place in that set, -1 for a file. name: the file from its source on, or its name in
    the set. split: "train" or "validation" where its source says so. rejected: why it is left out before it is read, "" if it is not.
    The rest as in training.data.parquet.Row.
    """

    path: Path
    name: str
    captions: tuple[str, ...]
    category: str
    row: int = -1
    weight: float = 1.0
    group: str = ""
    split: str = ""
    licence: str = ""
    author: str = ""
    source: str = ""
    rejected: str = ""


@dataclass(frozen=True, eq=False)
class Polygons:
    """What a file holds, whatever may be wrong with it. vertices: [vertices, 3]. faces: [faces, 3 or 4], -1 for an absent corner.

    metres: the length of a unit, 0 if unknown.
    """

    vertices: FloatArray
    faces: IntArray
    metres: float = 0.0


def find_items(sources: Sequence[Path], captions: dict[str, Caption]) -> list[Item]:
    """Everything in the sources that may be a mesh, in a fixed order. captions: what is known of files, by file, name or stem.

    Raises MeshGPTError (bad_data) if a source is neither a folder nor a mesh file, or the index of a set is damaged.
    """
    items: list[Item] = []
    for source in sources:
        if (source / "index.jsonl").is_file():
            items += [set_item(source, entry, captions) for entry in read_index(source / "index.jsonl")]
        elif source.is_dir():
            files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            items += [file_item(path, path.relative_to(source), captions) for path in files]
        elif source.is_file() and source.suffix.lower() in SUFFIXES:
            items.append(file_item(source, Path(source.name), captions))
        else:
            hint = f"give folders, or files that end in {', '.join(SUFFIXES)}"
            raise MeshGPTError(f"{source} is not a folder or a mesh file", hint=hint, code="bad_data")
    return items


def file_item(path: Path, name: Path, captions: dict[str, Caption]) -> Item:
    known = next((captions[key] for key in (name.as_posix(), name.name, name.stem) if key in captions), Caption())
    named = words_of(name)
    return Item(
        path,
        name.as_posix(),
        known.captions or named.captions,
        known.category or named.category,
        weight=known.weight,
        group=known.group,
        licence=known.licence,
        author=known.author,
        source=known.source or name.as_posix(),
    )


def set_item(folder: Path, entry: dict[str, Any], captions: dict[str, Caption]) -> Item:
    try:
        known = next((captions[key] for key in (entry["id"], entry["name"]) if key in captions), Caption())
        return Item(
            folder,
            f"{folder.name}/{entry['id']}",
            known.captions or tuple(entry["captions"]),
            known.category or entry["category"],
            row=int(entry["row"]),
            weight=WEIGHTS.get(entry["quality"], 0.0) * known.weight,
            group=str(entry["group"]),
            split=SPLITS.get(entry["split"], ""),
            licence=entry["licence"],
            author=entry["author"],
            source=f"{entry['source_repo']}/{entry['source_path']}",
            rejected="" if entry["quality"] in WEIGHTS else f"marked as {entry['quality']}",
        )
    except (KeyError, TypeError, ValueError) as error:
        problem = f"an entry of {folder / 'index.jsonl'} lacks something ({error!r})"
        raise MeshGPTError(problem, hint="copy the folder again", code="bad_data") from error


# ---- reading, in a worker


def read_item(item: Item) -> Polygons:
    """The polygons of an item. Raises Rejected."""
    try:
        if item.row >= 0:
            mesh = polygons_to_mesh(set_arrays(item.path), item.row)
            return Polygons(mesh.vertices, mesh.faces)
        if item.path.suffix.lower() == ".blend":
            return read_blend(item.path)
        vertices, faces = read_file(item.path)
        return Polygons(vertices, faces, 1.0 if item.path.suffix.lower() in (".glb", ".gltf") else 0.0)
    except (MeshGPTError, OSError, ValueError, IndexError) as error:
        raise Rejected("no faces" if "holds no faces" in str(error) else "unreadable") from error


@lru_cache(maxsize=2)
def set_arrays(folder: Path) -> Arrays:
    return read_arrays(folder / "meshes.npz")


def read_blend(path: Path) -> Polygons:
    """The meshes of a .blend file through bpy, in a process of its own. Raises Rejected."""
    with TemporaryDirectory() as folder:
        out = Path(folder, "mesh.npz")
        command = [sys.executable, "-m", "training.preparation.blend", str(path), str(out)]
        ended = subprocess.run(command, capture_output=True, check=False)
        if ended.returncode == NO_BPY:
            raise Rejected("bpy is not installed")
        if not out.is_file():
            raise Rejected("unreadable")
        with np.load(out) as arrays:
            if not len(arrays["faces"]):
                raise Rejected("no faces")
            return Polygons(arrays["vertices"], arrays["faces"], float(arrays["metres"]))
