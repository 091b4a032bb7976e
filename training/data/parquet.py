"""Meshes on disk: folders of Parquet shards, one row a mesh. training.prepare and training.data.dataset write them; the training reads
them here, and Hugging Face `datasets` and anything else that knows Parquet read them without this project.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import MeshGPTError
from core.mesh import Mesh, dequantise, quantise

FACE = 12  # numbers of a face in `grid`: z, y, x of each of four corners
SHARD_ROWS = 2048  # about 5 MB at 200 faces a mesh
GROUP_ROWS = 128  # rows that are read together

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("grid", pa.list_(pa.int16())),
        ("faces", pa.int32()),
        ("polygons", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("category", pa.string()),
        ("weight", pa.float32()),
        ("group", pa.string()),
        ("oriented", pa.bool_()),
        ("licence", pa.string()),
        ("author", pa.string()),
        ("source", pa.string()),
        ("extents", pa.list_(pa.float32())),
        ("metres", pa.float32()),
    ]
)


@dataclass(frozen=True, eq=False)
class Row:
    """A mesh and what is known of it.

    grid: [faces, 12] int16, the canonical form: z, y, x of each corner as grid indices in 0..128, -1 for a triangle's fourth corner.
    captions: phrases that name it, perhaps none. category: what it is, in a word or two. weight: how often to draw it, 1 for once an epoch.
    group: equal for meshes that are too alike to be on both sides of a split. oriented: its front is towards -y, so it is not to be turned.
    extents: sizes along x, y, z in the file's own units. metres: the length of such a unit, 0 if unknown. source: where it came from.
    codes: [faces, codes a face] int16, where a learned tokenizer has encoded it.
    """

    name: str
    grid: NDArray[np.int16]
    captions: tuple[str, ...] = ()
    category: str = ""
    weight: float = 1.0
    group: str = ""
    oriented: bool = False
    licence: str = ""
    author: str = ""
    source: str = ""
    extents: tuple[float, float, float] = (0.0, 0.0, 0.0)
    metres: float = 0.0
    codes: NDArray[np.int16] | None = None


def grid_of(mesh: Mesh) -> NDArray[np.int16]:
    """[faces, 12] the faces of a canonical mesh as a Row has them; equal to MeshDiscretizer's codes, but without torch."""
    faces = mesh.quads().faces
    corners = np.where(faces[..., None] >= 0, quantise(mesh.vertices)[faces][..., ::-1], -1)
    return corners.reshape(-1, FACE).astype(np.int16)


def mesh_of(grid: NDArray[np.int16]) -> Mesh:
    """The mesh of faces [faces, 12] of grid indices."""
    corners = dequantise(grid.reshape(-1, 4, 3)[..., ::-1].astype(np.int64))
    corners[grid.reshape(-1, 4, 3)[..., 0] < 0] = np.nan
    return Mesh.from_face_coordinates(corners)


# ---- writing


def to_table(rows: Sequence[Row]) -> pa.Table:
    """The rows as a table of SCHEMA, and a column `codes` where they have codes."""
    columns: dict[str, Any] = {field: [getattr(row, field) for row in rows] for field in SCHEMA.names if field not in ("faces", "polygons")}
    columns["grid"] = ragged([row.grid for row in rows])
    columns["faces"] = [len(row.grid) for row in rows]
    columns["polygons"] = [polygon_kind(row.grid) for row in rows]
    table = pa.table({name: columns[name] for name in SCHEMA.names}, SCHEMA)
    if rows and rows[0].codes is not None:
        table = table.append_column("codes", ragged([row.codes for row in rows if row.codes is not None]))
    return table


def ragged(arrays: Sequence[NDArray[np.int16]]) -> pa.ListArray:
    """Arrays of any shapes as one list each."""
    offsets = np.cumsum([0, *(array.size for array in arrays)], dtype=np.int32)
    values = np.concatenate([array.reshape(-1) for array in arrays]) if arrays else np.zeros(0, np.int16)
    return pa.ListArray.from_arrays(offsets, pa.array(values, pa.int16()))


def polygon_kind(grid: NDArray[np.int16]) -> str:
    """ "triangles", "quads" or "mixed"."""
    quad = grid[:, -1] >= 0
    return "quads" if quad.all() else "mixed" if quad.any() else "triangles"


def write_shard(path: Path, rows: Sequence[Row]) -> None:
    """Write one shard; it is there as a whole or not at all, also after a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    pq.write_table(to_table(rows), fresh, row_group_size=GROUP_ROWS, compression="zstd")
    os.replace(fresh, path)


def write_shards(folder: Path, rows: Iterable[Row]) -> None:
    """Write rows as `folder`/00000.parquet and on; shards that were there before are removed."""
    for old in folder.glob("*.parquet"):
        old.unlink()
    waiting: list[Row] = []
    number = 0
    for row in rows:
        waiting.append(row)
        if len(waiting) == SHARD_ROWS:
            write_shard(folder / f"{number:05}.parquet", waiting)
            waiting, number = [], number + 1
    if waiting or not number:
        write_shard(folder / f"{number:05}.parquet", waiting)


# ---- reading


def shards(*folders: str | Path) -> list[Path]:
    """The shards of the folders, in order. Raises MeshGPTError (bad_data) if a folder holds none, or something that is no shard."""
    found: list[Path] = []
    for folder in map(Path, folders):
        paths = sorted(folder.glob("*.parquet"))
        if not paths:
            raise bad_data(f"{folder} holds no Parquet files")
        for path in paths:
            try:
                names = pq.read_schema(path).names
            except (OSError, pa.ArrowException) as error:
                raise bad_data(f"{path} is damaged ({error})") from error
            if missing := [name for name in SCHEMA.names if name not in names]:
                raise bad_data(f"{path} has no column {', '.join(missing)}")
        found += paths
    return found


def stream(*folders: str | Path, start: int = 0) -> Iterator[Row]:
    """Every row of the folders in order, from number `start` on; as little is in memory as a group of rows.

    Raises MeshGPTError (bad_data) as `shards` does.
    """
    for path in shards(*folders):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if start < rows:
                yield from to_rows(file.read_row_group(group))[start:]
            start = max(0, start - rows)


class Rows(Sequence[Row]):
    """The rows of folders by number, read when they are asked for; the last few groups of rows stay in memory.

    lengths: [rows] faces of each. Raises MeshGPTError (bad_data) as `shards` does. Can be sent to another process.
    """

    def __init__(self, *folders: str | Path) -> None:
        self.places: list[tuple[Path, int]] = []
        sizes: list[int] = []
        lengths: list[NDArray[np.int32]] = []
        for path in shards(*folders):
            metadata = pq.read_metadata(path)
            self.places += [(path, group) for group in range(metadata.num_row_groups)]
            sizes += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            lengths.append(pq.read_table(path, columns=["faces"])["faces"].to_numpy())
        self.ends = list(accumulate(sizes))
        self.lengths = np.concatenate(lengths).astype(np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no row {index} among {len(self)}")
        index %= len(self)
        place = bisect_right(self.ends, index)
        rows = read_group(*self.places[place])
        return rows[index - self.ends[place]]  # counted from the group's end


@lru_cache(maxsize=16)
def read_group(path: Path, group: int) -> list[Row]:
    return to_rows(pq.ParquetFile(path).read_row_group(group))


def to_rows(table: pa.Table) -> list[Row]:
    """The rows of a table that `to_table` made."""
    columns = {name: table[name].to_pylist() for name in SCHEMA.names if name not in ("grid", "faces", "polygons")}
    columns["grid"] = [faces.reshape(-1, FACE) for faces in unpack(table, "grid")]
    if "codes" in table.column_names:
        columns["codes"] = [
            codes.reshape(len(grid), -1) for codes, grid in zip(unpack(table, "codes"), columns["grid"], strict=True)
        ]
    columns["captions"] = list(map(tuple, columns["captions"]))
    columns["extents"] = list(map(tuple, columns["extents"]))
    return [Row(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def unpack(table: pa.Table, name: str) -> list[NDArray[np.int16]]:
    """The numbers of each row of a list column, as one copy that can be written to."""
    lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in table[name].chunks] or [np.zeros(0, np.int64)])
    return np.split(flat(table, name), np.cumsum(lengths)[:-1]) if len(lengths) else []


def flat(table: pa.Table, name: str) -> NDArray[np.int16]:
    """The numbers of all rows of a list column, one row after another."""
    return np.concatenate([chunk.flatten().to_numpy() for chunk in table[name].chunks] or [np.zeros(0, np.int16)])


def bad_data(message: str) -> MeshGPTError:
    return MeshGPTError(message, hint="make the folder with python -m training.prepare or python -m training.data.dataset", code="bad_data")
