"""Meshes as codes, on disk and in batches: what train_transformer.py reads.

A cache is made once from the procedural families and real meshes: `python -m training.data.dataset --out data/codes.npz`. Batches hold
meshes of like length, so that little is padding; which meshes, captions and given parts a step sees depends on (seed, step) alone, so
that a resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.grammar import ABSENT
from core.mesh import Frame, IntArray, Mesh
from core.tokenizer import Tokenizer
from training.data.lowpoly import RealMesh, read_lowpoly
from training.procedural import FAMILIES, generate

HELD_OUT_SEEDS = 1_000_000  # procedural seeds from here on are for validation
PADDING = -1
POOL = 32  # batches whose meshes are sorted by length together


@dataclass(frozen=True)
class CodeSet:
    """Meshes as codes. codes: [faces of all meshes, codes a face]. starts: [meshes + 1] where the faces of each begin.

    grid: [faces of all meshes, 12] the same faces as grid coordinates. captions, labels: of each mesh.
    """

    codes: NDArray[np.int16]
    grid: NDArray[np.int16]
    starts: IntArray
    captions: list[list[str]]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def faces(self, index: int) -> slice:
        """Where the faces of a mesh stand in `codes` and `grid`."""
        return slice(self.starts[index], self.starts[index + 1])

    def save(self, path: Path) -> None:
        """Write the arrays and the captions to one .npz file; the grid only where it is not the codes themselves."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = np.frombuffer(json.dumps([self.captions, self.labels]).encode(), np.uint8)
        grid = {} if self.grid is self.codes else {"grid": self.grid}
        np.savez_compressed(path, codes=self.codes, starts=self.starts, text=text, **grid)

    @classmethod
    def load(cls, path: Path) -> CodeSet:
        """Raises MeshGPTError (bad_data) if the file is missing or is not such a set."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                captions, labels = json.loads(arrays["text"].tobytes())
                codes = arrays["codes"]
                return cls(codes, arrays.get("grid", codes), arrays["starts"], captions, labels)
        except (OSError, KeyError, ValueError) as error:
            raise MeshGPTError(
                f"{path} is not a set of codes ({error})", hint="make it with python -m training.data.dataset --out FILE", code="bad_data"
            ) from error


@dataclass(frozen=True)
class Batch:
    """codes: [b, n, codes a face] int64, padded with faces of -1. captions: [b]. given: [b] faces at the front that are given."""

    codes: IntArray
    captions: list[str]
    given: IntArray


def build(
    families: list[str],
    seeds: range,
    max_faces: int,
    processes: int,
    real: Sequence[RealMesh] = (),
    autoencoder: Path | None = None,
) -> CodeSet:
    """The procedural meshes of those families and seeds, and real ones, that have at most `max_faces` faces on the grid.

    autoencoder: the folder of the one whose codes to use; None for grid coordinates.
    """
    chunks = [(family, range(start, min(start + 250, seeds.stop))) for start in range(seeds.start, seeds.stop, 250) for family in families]
    with ProcessPoolExecutor(processes) as pool:
        made = [sample for chunk in pool.map(build_chunk, *zip(*chunks, strict=True)) for sample in chunk]
    parts = [sample for sample in made + real_codes(real) if len(sample[0]) <= max_faces]
    grid, captions, labels = zip(*parts, strict=True)
    joined, starts = np.concatenate(grid), np.cumsum([0, *map(len, grid)])
    codes = joined if autoencoder is None else learned_codes(joined, starts, read_tokenizer(autoencoder))
    return CodeSet(codes, joined, starts, list(captions), list(labels))


def build_chunk(family: str, seeds: range) -> list[tuple[NDArray[np.int16], list[str], str]]:
    tokenizer = MeshDiscretizer()
    samples = [generate(family, seed) for seed in seeds]
    return [(tokenizer.encode(sample.mesh).astype(np.int16), list(sample.captions), family) for sample in samples]


def real_codes(meshes: Sequence[RealMesh]) -> list[tuple[NDArray[np.int16], list[str], str]]:
    """Grid coordinates, captions and category of each; those of which nothing is left on the grid are left out."""
    tokenizer, found = MeshDiscretizer(), []
    for entry in meshes:
        with suppress(MeshGPTError):
            found.append((tokenizer.encode(entry.mesh).astype(np.int16), list(entry.captions), entry.category))
    return found


def read_tokenizer(autoencoder: Path | None) -> Tokenizer:
    """The autoencoder in a checkpoint folder, or the discretizer. Raises MeshGPTError (bad_checkpoint)."""
    if autoencoder is None:
        return MeshDiscretizer()
    from core.autoencoder import load_autoencoder  # needs packages that the discretizer does without

    return load_autoencoder(autoencoder)


def learned_codes(grid: NDArray[np.int16], starts: IntArray, tokenizer: Tokenizer) -> NDArray[np.int16]:
    """Faces of grid coordinates as the codes of another tokenizer, mesh by mesh."""
    coordinates = MeshDiscretizer(tokenizer.levels).decode(grid.astype(np.int64))
    meshes = (Mesh.from_face_coordinates(coordinates[start:end]) for start, end in pairwise(starts))
    return np.concatenate([tokenizer.encode(mesh, Frame()) for mesh in meshes]).astype(np.int16)


def batches(
    data: CodeSet,
    *,
    faces: int,
    seed: int,
    start: int = 0,
    rank: int = 0,
    ranks: int = 1,
    text_dropout: float = 0.0,
    given_share: float = 0.0,
) -> Iterator[Batch]:
    """Endless batches of about `faces` faces each, from step `start` on; process `rank` of `ranks` gets its own.

    text_dropout: share of captions replaced by nothing. given_share: share of meshes of which a part is given.
    """
    step = epoch = 0
    while True:
        for indices in epoch_batches(data, faces, np.random.default_rng((seed, epoch))):
            if step % ranks == rank and step // ranks >= start:
                yield collate(data, indices, np.random.default_rng((seed, 1, step)), text_dropout, given_share)
            step += 1
        epoch += 1


def epoch_batches(data: CodeSet, faces: int, rng: np.random.Generator) -> list[IntArray]:
    """Every mesh once, in batches of like lengths whose padded size is at most `faces`."""
    lengths = np.diff(data.starts)
    order = rng.permutation(len(data))
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


def collate(data: CodeSet, indices: IntArray, rng: np.random.Generator, text_dropout: float, given_share: float) -> Batch:
    codes = np.full((len(indices), int(np.diff(data.starts)[indices].max()), data.codes.shape[1]), PADDING, np.int64)
    given = np.zeros(len(indices), np.int64)
    captions = []
    for row, index in enumerate(indices):
        place = data.faces(index)
        faces = data.codes[place]
        if rng.random() < given_share:
            kept = part(data.grid[place], rng)
            faces = np.concatenate([faces[kept], faces[~kept]])
            given[row] = kept.sum()
        codes[row, : len(faces)] = faces
        captions.append("" if rng.random() < text_dropout else str(rng.choice(data.captions[index])))
    return Batch(codes, captions, given)


def part(grid: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.bool_]:
    """[faces] a random part of a mesh of grid coordinates: some of its pieces, or one side of a plane. Neither nothing nor everything."""
    corners = grid.reshape(len(grid), -1, 3).astype(np.float32)
    present = corners[..., 0] != ABSENT
    centres = (corners * present[..., None]).sum(1) / present.sum(1, keepdims=True)
    pieces = components(grid)
    if pieces.max() > 0 and rng.random() < 0.5:
        kept = (rng.random(pieces.max() + 1) < rng.uniform(0.3, 0.9))[pieces]
    else:
        axis = np.eye(3)[rng.integers(3)] * rng.choice([-1, 1]) if rng.random() < 0.7 else rng.normal(size=3)
        height = centres @ axis
        kept = height <= np.quantile(height, rng.uniform(0.15, 0.85))
    if kept.all() or not kept.any():
        kept = np.arange(len(grid)) != rng.integers(len(grid))
    return kept


def components(grid: NDArray[np.int16]) -> IntArray:
    """[faces] which connected piece each face of grid coordinates belongs to."""
    corners = grid.reshape(len(grid), -1, 3).astype(np.int64) + 1
    keys = corners @ [1, 1 << 10, 1 << 20]
    _, vertex = np.unique(keys, return_inverse=True)
    vertex = vertex.reshape(keys.shape)
    faces, columns = np.nonzero(keys)
    size = len(grid) + vertex.max() + 1
    graph = coo_array((np.ones(len(faces)), (faces, vertex[faces, columns] + len(grid))), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][: len(grid)], np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    parser.add_argument("--per-family", type=int, default=3000, help="meshes of each procedural family (default 3000)")
    parser.add_argument("--validation", action="store_true", help="use the seeds that training never sees")
    parser.add_argument("--max-faces", type=int, default=200, help="leave out larger meshes (default 200)")
    parser.add_argument("--real", type=Path, help="folder of real meshes to add, without pieces of kits (default: none)")
    parser.add_argument("--autoencoder", type=Path, help="checkpoint folder of one whose codes to use (default: grid coordinates)")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    first = HELD_OUT_SEEDS if options.validation else 0
    split = "val" if options.validation else "train"
    real = [entry for entry in read_lowpoly(options.real) if entry.split == split and entry.weight == 1] if options.real else []
    seeds = range(first, first + options.per_family)
    data = build(list(FAMILIES), seeds, options.max_faces, options.processes, real, options.autoencoder)
    data.save(options.out)
    lengths = np.diff(data.starts)
    print(f"{len(data)} meshes, {lengths.sum()} faces ({lengths.mean():.0f} a mesh, at most {lengths.max()}) in {options.out}")


if __name__ == "__main__":
    main()
