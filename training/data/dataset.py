"""Meshes as codes, on disk and in batches: what train_transformer.py reads.

A set is a folder of Parquet, as training.prepare writes it from files and this module from the procedural families:
`python -m training.data.dataset --out data/train`. Batches hold meshes of like length, so that little is padding; which meshes,
captions and given parts a step sees, and how they are varied, depends on (seed, step) alone, so that a resumed run goes on as if it had
never stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra
from torch.utils.data import IterableDataset, get_worker_info

from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.grammar import ABSENT
from core.mesh import Frame, IntArray
from core.properties import KINDS, NUMBERS, Properties
from core.tokenizer import Tokenizer
from training.data.augment import Augmentation, vary_caption, vary_mesh
from training.data.parquet import FACE, Row, Rows, flat, grid_of, mesh_of, shards, write_shards
from training.procedural import FAMILIES, generate

HELD_OUT_SEEDS = 1_000_000  # procedural seeds from here on are for validation
PADDING = -1
BLOCK = 16  # seeds that a process draws of every family at once
POOL = 32  # batches whose meshes are sorted by length together


@dataclass(frozen=True)
class CodeSet:
    """Meshes as codes, in memory. codes: [faces of all meshes, codes a face]. starts: [meshes + 1] where the faces of each begin.

    grid: [faces of all meshes, 12] the same faces as grid coordinates. captions, labels: of each mesh. weights: [meshes] how often an epoch
    shows it. oriented: [meshes] whether its front is towards -y. metres: [meshes] its longest side, 0 if unknown.
    """

    codes: NDArray[np.int16]
    grid: NDArray[np.int16]
    starts: IntArray
    captions: list[list[str]]
    labels: list[str]
    weights: NDArray[np.float32]
    oriented: NDArray[np.bool_]
    metres: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def faces(self, index: int) -> slice:
        """Where the faces of a mesh stand in `codes` and `grid`."""
        return slice(self.starts[index], self.starts[index + 1])

    @property
    def is_learned(self) -> bool:
        """Whether the codes are those of an autoencoder."""
        return self.codes is not self.grid

    def windows(self, rng: np.random.Generator) -> Iterator[CodeSet]:
        """The parts in which an epoch sees the set: here the whole of it."""
        yield self

    @classmethod
    def load(cls, *folders: str | Path) -> CodeSet:
        """All meshes of the folders. Raises MeshGPTError (bad_data) if one is missing, is no such set, or they hold no mesh."""
        return cls.read(shards(*folders))

    @classmethod
    def read(cls, paths: Sequence[Path]) -> CodeSet:
        """All meshes of the shards. Raises MeshGPTError (bad_data) if there are none, or some have learned codes and others not."""
        tables = [pq.read_table(path) for path in paths]
        total = sum(table.num_rows for table in tables)
        learned = ["codes" in table.column_names for table in tables if table.num_rows]
        if not total or any(learned) != all(learned):
            problem = "hold no mesh" if not total else "hold learned codes in part"
            raise MeshGPTError(f"{', '.join(map(str, paths[:3]))} {problem}", hint="prepare the data again", code="bad_data")
        tables = [table for table in tables if table.num_rows]
        starts = np.cumsum([0, *(length for table in tables for length in table["faces"].to_pylist())])
        grid = np.concatenate([flat(table, "grid") for table in tables]).reshape(-1, FACE)
        codes = np.concatenate([flat(table, "codes") for table in tables]).reshape(len(grid), -1) if any(learned) else grid
        longest = [np.array(table["extents"].to_pylist(), np.float32).max(1) * table["metres"].to_numpy() for table in tables]
        return cls(
            codes,
            grid,
            starts,
            [captions for table in tables for captions in table["captions"].to_pylist()],
            [label for table in tables for label in table["category"].to_pylist()],
            np.concatenate([table["weight"].to_numpy() for table in tables]),
            np.concatenate([table["oriented"].to_numpy() for table in tables]),
            np.concatenate(longest),
        )


def load_mixed(folders: Mapping[str, float], max_faces: int) -> CodeSet:
    """The meshes of the folders, those of each so many times as often as they weigh; longer ones than `max_faces` weigh nothing.

    Raises MeshGPTError (bad_data) as CodeSet.load does.
    """
    data = CodeSet.load(*folders)
    sizes = [sum(pq.read_metadata(path).num_rows for path in shards(folder)) for folder in folders]
    times = np.repeat(np.array(list(folders.values()), np.float32), sizes)
    return replace(data, weights=data.weights * times * (np.diff(data.starts) <= max_faces))


@dataclass(frozen=True)
class Streamed:
    """Sets too large for memory: folders of which one shard after another is read, in another order every epoch."""

    folders: tuple[str | Path, ...]

    def windows(self, rng: np.random.Generator) -> Iterator[CodeSet]:
        """The parts in which an epoch sees the sets. Raises MeshGPTError (bad_data) as CodeSet.load does."""
        paths = shards(*self.folders)
        for number in rng.permutation(len(paths)):
            yield CodeSet.read(paths[number : number + 1])


@dataclass(frozen=True)
class Batch:
    """codes: [b, n, codes a face] int64, padded with faces of -1. captions: [b]. given: [b] faces of a part that stands before its mesh.

    properties: [b, 5] float32, Properties.numbers of each mesh, NaN where dropped.
    """

    codes: IntArray
    captions: list[str]
    given: IntArray
    properties: NDArray[np.float32]


def build(
    families: list[str], seeds: range, max_faces: int, processes: int, autoencoder: Path | None = None, held_out: bool = False
) -> Iterator[Row]:
    """The procedural meshes of those families and seeds that have at most `max_faces` faces on the grid, the families in turn.

    autoencoder: the folder of the one whose codes to add; None for none. held_out: draw from the parameters that training never sees.
    """
    tokenizer = None if autoencoder is None else read_tokenizer(autoencoder)
    blocks = [seeds[start : start + BLOCK] for start in range(0, len(seeds), BLOCK)]
    with ProcessPoolExecutor(processes) as pool:
        for made in pool.map(partial(build_block, families, held_out), blocks):
            rows = [row for row in made if len(row.grid) <= max_faces]
            yield from rows if tokenizer is None else learned_codes(rows, tokenizer)


def build_block(families: list[str], held_out: bool, seeds: range) -> list[Row]:
    rows = []
    for seed, family in product(seeds, families):
        sample = generate(family, seed, held_out=held_out)
        name = f"{family} {seed}{' held out' if held_out else ''}"
        x, y, z = np.ptp(sample.mesh.vertices, axis=0).tolist()
        grid = grid_of(sample.mesh.canonical())
        rows.append(Row(name, grid, sample.captions, family, group=name, oriented=True, extents=(x, y, z), metres=1.0))
    return rows


def read_tokenizer(autoencoder: Path | None) -> Tokenizer:
    """The autoencoder in a checkpoint folder, or the discretizer. Raises MeshGPTError (bad_checkpoint)."""
    if autoencoder is None:
        return MeshDiscretizer()
    from core.autoencoder import MeshAutoencoder  # needs packages that the discretizer does without

    return MeshAutoencoder.from_pretrained(autoencoder)


def learned_codes(rows: Sequence[Row], tokenizer: Tokenizer) -> list[Row]:
    """The rows with the codes of another tokenizer beside their grid coordinates, mesh by mesh."""
    return [replace(row, codes=tokenizer.encode(mesh_of(row.grid), Frame()).astype(np.int16)) for row in rows]


def batches(
    data: CodeSet | Streamed,
    *,
    faces: int,
    seed: int,
    start: int = 0,
    rank: int = 0,
    ranks: int = 1,
    text_dropout: float = 0.0,
    given_share: float = 0.0,
    augmentation: Augmentation | None = None,
) -> Iterator[Batch]:
    """Batches without end, from number `start` on; of `ranks` processes that share them out, this is number `rank`.

    faces: padded faces of a batch, given parts not counted. text_dropout: share of captions that are empty. given_share: share of batches
    in which a part of each mesh is given.
    augmentation: how meshes and captions are varied, None to take them as they are.
    Raises MeshGPTError (bad_setting) if learned codes are to be varied, which would need their tokenizer at every step.
    """
    step = epoch = 0
    while True:
        rng = np.random.default_rng((seed, epoch))
        for window in data.windows(rng):
            if augmentation and window.is_learned:
                problem, hint = "a set of learned codes cannot be varied", "turn augmentation off, or train on grid coordinates"
                raise MeshGPTError(problem, hint=hint, code="bad_setting")
            for indices in epoch_batches(window, faces, rng):
                if step % ranks == rank and step // ranks >= start:
                    yield collate(window, indices, np.random.default_rng((seed, 1, step)), text_dropout, given_share, augmentation)
                step += 1
        epoch += 1


class Feed(IterableDataset[Batch]):
    """The batches of one process for torch's DataLoader, to be used with batch_size=None: the same ones in the same order whatever its
    number of workers.

    data, start, rank, ranks, options: as in `batches`.
    """

    def __init__(self, data: CodeSet | Streamed, *, start: int = 0, rank: int = 0, ranks: int = 1, **options: Any) -> None:
        self.data, self.start, self.rank, self.ranks, self.options = data, start, rank, ranks, options

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        workers = worker.num_workers if worker else 1
        turns, turn = divmod(self.start + (worker.id if worker else 0), workers)  # the loader asks one worker after the other
        rank, ranks = turn * self.ranks + self.rank, self.ranks * workers
        return batches(self.data, start=turns, rank=rank, ranks=ranks, **self.options)


def epoch_batches(data: CodeSet, faces: int, rng: np.random.Generator) -> list[IntArray]:
    """Every mesh as often as it weighs (a broken weight by chance), in batches of like lengths of at most `faces` when padded."""
    lengths = np.diff(data.starts)
    times = np.floor(data.weights + rng.random(len(data)))
    order = rng.permutation(np.repeat(np.arange(len(data)), times.astype(np.int64)))
    pool = max(1, int(POOL * faces / lengths.mean()))
    found: list[IntArray] = []
    for begin in range(0, len(order), pool):
        members = order[begin : begin + pool]
        members = members[np.argsort(lengths[members], kind="stable")]
        first = 0
        for last in range(1, len(members) + 1):
            if last == len(members) or (last + 1 - first) * lengths[members[last]] > faces:
                found.append(members[first:last])
                first = last
    return [found[i] for i in rng.permutation(len(found))]


def collate(
    data: CodeSet,
    indices: IntArray,
    rng: np.random.Generator,
    text_dropout: float,
    given_share: float,
    augmentation: Augmentation | None = None,
) -> Batch:
    meshes, given, captions = [], np.zeros(len(indices), np.int64), []
    properties = np.full((len(indices), NUMBERS), np.nan, np.float32)
    are_completed = rng.random() < given_share  # all or none, so that their lengths stay alike
    for row, index in enumerate(indices):
        place = data.faces(index)
        faces, grid = data.codes[place], data.grid[place]
        said = data.captions[index]
        caption = str(rng.choice(said)) if said and rng.random() >= text_dropout else ""
        if augmentation:
            faces = grid = vary_mesh(grid, said, bool(data.oriented[index]), augmentation, rng)
            caption = vary_caption(caption, grid, float(data.metres[index]), augmentation.words, rng)
        properties[row] = some_of(Properties.of(grid), rng)
        if are_completed:
            kept = part(grid, rng)
            faces, given[row] = np.concatenate([faces[kept], faces]), kept.sum()
        meshes.append(faces)
        captions.append(caption)
    codes = np.full((len(meshes), max(map(len, meshes)), data.codes.shape[1]), PADDING, np.int64)
    for row, faces in enumerate(meshes):
        codes[row, : len(faces)] = faces
    return Batch(codes, captions, given, properties)


def some_of(properties: Properties, rng: np.random.Generator) -> NDArray[np.float32]:
    """[5] the numbers of the properties: in two fifths of the cases none, in the others each with a chance of 0.7; NaN for the rest."""
    numbers = np.array(properties.numbers(), np.float32)
    told = rng.random() < 0.6
    for start, end in KINDS:
        if not told or rng.random() >= 0.7:
            numbers[start:end] = np.nan
    return numbers


# ---- given parts


def part(grid: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.bool_]:
    """[faces] a random part of a mesh of grid coordinates: neither nothing nor everything.

    A third each: some of its pieces (of a mesh of one piece, one of the others); one side of a plane; 15% to 85% of the faces, grown from
    one of them over its neighbours.
    """
    pieces, draw = components(grid), rng.random()
    if draw < 1 / 3 and pieces.max() > 0:
        kept = (rng.random(pieces.max() + 1) < rng.uniform(0.3, 0.9))[pieces]
    elif draw < 2 / 3:
        axis = np.eye(3)[rng.integers(3)] * rng.choice([-1, 1]) if rng.random() < 0.7 else rng.normal(size=3)
        height = centres(grid) @ axis
        kept = height <= np.quantile(height, rng.uniform(0.15, 0.85))
    else:
        kept = grown(grid, pieces, rng)
    if kept.all() or not kept.any():
        kept = np.arange(len(grid)) != rng.integers(len(grid))
    return kept


def grown(grid: NDArray[np.int16], pieces: IntArray, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[faces] a connected part: faces are added one by one, each a neighbour of one that is there.

    Every link between neighbours takes a random time (first-passage percolation, Hammersley and Welsh 1965), and the faces reached first
    are taken. Where a piece is used up the growth goes on in the piece that comes nearest, from its nearest face.
    """
    middle = centres(grid)
    by_distance = np.argsort(np.square(middle - middle[rng.integers(len(grid))]).sum(1), kind="stable")
    _, nearest = np.unique(pieces[by_distance], return_index=True)  # of every piece, the place in that order of its nearest face
    one, two = links(grid)
    graph = coo_array((rng.exponential(size=len(one)) + 1e-6, (one, two)), shape=(len(grid),) * 2).tocsr()
    reached = dijkstra(graph, directed=False, indices=by_distance[nearest], min_only=True)
    order = np.lexsort((reached, nearest[pieces]))
    kept = np.zeros(len(grid), bool)
    kept[order[: round(rng.uniform(0.15, 0.85) * len(grid))]] = True
    return kept


def links(grid: NDArray[np.int16]) -> tuple[IntArray, IntArray]:
    """Pairs of faces, as two arrays, such that faces with a common vertex are connected over such pairs."""
    vertex, faces = corner_vertices(grid)
    order = np.argsort(vertex, kind="stable")
    same = vertex[order[1:]] == vertex[order[:-1]]
    return faces[order[:-1][same]], faces[order[1:][same]]


def centres(grid: NDArray[np.int16]) -> NDArray[np.float32]:
    """[faces, 3] the mean of the corners of each face, z, y, x."""
    corners = grid.reshape(len(grid), -1, 3).astype(np.float32)
    present = corners[..., 0] != ABSENT
    middle: NDArray[np.float32] = (corners * present[..., None]).sum(1) / present.sum(1, keepdims=True)
    return middle


def components(grid: NDArray[np.int16]) -> IntArray:
    """[faces] which connected piece each face of grid coordinates belongs to."""
    vertex, faces = corner_vertices(grid)
    size = len(grid) + vertex.max() + 1
    graph = coo_array((np.ones(len(faces), np.int8), (faces, vertex + len(grid))), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][: len(grid)], np.int64)


def corner_vertices(grid: NDArray[np.int16]) -> tuple[IntArray, IntArray]:
    """Of every corner that is there, the number of its vertex and of its face."""
    corners = grid.reshape(len(grid), -1, 3).astype(np.int64)
    faces, columns = np.nonzero(corners[..., 0] != ABSENT)
    _, vertex = np.unique(corners[faces, columns] @ [1, 1 << 10, 1 << 20], return_inverse=True)
    return vertex.reshape(-1), faces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--per-family", type=int, default=3000, help="meshes of each procedural family (default 3000)")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES, metavar="NAME", help="which (default: all)")
    parser.add_argument("--validation", action="store_true", help="use the seeds that training never sees")
    parser.add_argument("--held-out", action="store_true", help="draw from the parameters that training never sees")
    parser.add_argument("--max-faces", type=int, default=200, help="leave out larger meshes (default 200)")
    parser.add_argument("--autoencoder", type=Path, help="checkpoint folder of one whose codes to add (default: none)")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    first = HELD_OUT_SEEDS if options.validation else 0
    seeds = range(first, first + options.per_family)
    write_shards(options.out, build(options.families, seeds, options.max_faces, options.processes, options.autoencoder, options.held_out))
    lengths = Rows(options.out).lengths
    print(f"{len(lengths)} meshes, {lengths.sum()} faces ({lengths.mean():.0f} a mesh, at most {lengths.max()}) in {options.out}")


if __name__ == "__main__":
    main()
