"""Unfinished meshes finished: how near to the truth, beside looking the nearest training mesh up and beside leaving them as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from core.mesh import FloatArray, Mesh
from core.pipeline import MeshGPT
from core.request import Point, Request
from training.data.dataset import part
from training.data.parquet import grid_of, mesh_of
from training.evaluation.making import has_area, run
from training.evaluation.novelty import Training
from training.evaluation.sets import Wanted
from training.metrics import chamfer_distances, sample_points, share

LEAST, MOST = 0.3, 0.7  # share of the faces that is given
DRAWS = 200  # until a part of such a size comes up; one of very few faces may have none
LOOKUP_POINTS = 1024  # of the given part, to find the training mesh that comes nearest to it
POINTS = 16384  # at 1,024 two samples of one surface are already as far apart as many a mesh made is from the truth


@dataclass(frozen=True, eq=False)
class Unfinished:
    """A part of a mesh, where it stands in the whole."""

    given: Mesh
    whole: Wanted


@dataclass(frozen=True, eq=False)
class Finished:
    """One that the model has finished, and its Chamfer distances to the whole: as the model made it, as it made it once it was told the box
    of the whole, as the nearest training mesh of the category (None if there is none), and as the part alone."""

    unfinished: Unfinished
    mesh: Mesh
    model: float
    told: float
    retrieval: float | None
    alone: float


def unfinish(wanted: Sequence[Wanted], count: int, max_faces: int, rng: np.random.Generator) -> list[Unfinished]:
    """Of the first `count` meshes of at most `max_faces` faces a part, drawn as in training, of LEAST to MOST of the faces."""
    found: list[Unfinished] = []
    for whole in wanted:
        grid = grid_of(whole.mesh)
        if len(found) == count or len(grid) > max_faces:
            continue
        kept = next((kept for kept in (part(grid, rng) for _ in range(DRAWS)) if LEAST <= kept.mean() <= MOST), None)
        if kept is not None and has_area(given := mesh_of(grid[kept])):
            found.append(Unfinished(given, whole))
    return found


def finish_all(model: MeshGPT, unfinished: Sequence[Unfinished], training: Training | None, seed: int, title: str) -> list[Finished]:
    """Each finished twice by the model: told the caption alone, and told the box of the whole as well, as a user may and retrieval is."""
    finished = []
    for number, one in enumerate(tqdm(unfinished, desc=title)):
        request = Request(one.whole.caption, one.given, seed=seed + number)
        both = [run(model, asked)[0].mesh for asked in (request, replace(request, bounds=box(one.whole.mesh)))]
        meshes = [mesh if has_area(mesh) else one.given for mesh in both]
        rng = np.random.default_rng(seed + number)
        looked_up = look_up(one, training, rng)
        truth, *clouds = (sample_points(each, POINTS, rng) for each in (one.whole.mesh, *meshes, one.given, *looked_up))
        free, told, alone, *retrieval = (distance(cloud, truth) for cloud in clouds)
        finished.append(Finished(one, meshes[0], free, told, next(iter(retrieval), None), alone))
    return finished


def look_up(one: Unfinished, training: Training | None, rng: np.random.Generator) -> list[Mesh]:
    """The training mesh that comes nearest to the given part, if there is any of the category."""
    if training is None:
        return []
    nearest = training.nearest(sample_points(one.given, LOOKUP_POINTS, rng), one.whole.category, one_way=True)
    return [training.mesh(nearest.index)] if nearest else []


def box(mesh: Mesh) -> tuple[Point, Point]:
    """The lowest and the highest corner."""
    (a, b, c), (d, e, f) = mesh.vertices.min(0).tolist(), mesh.vertices.max(0).tolist()
    return (a, b, c), (d, e, f)


def distance(first: FloatArray, second: FloatArray) -> float:
    return float(chamfer_distances(first[None], second[None])[0, 0])


def compare(finished: Sequence[Finished]) -> dict[str, Any]:
    """Median distances, and shares of the meshes for which one way is better than another."""
    looked_up = [(one.model, one.told, one.retrieval, one.alone) for one in finished if one.retrieval is not None]
    return {
        "meshes": len(finished),
        "model": float(np.median([one.model for one in finished])) if finished else None,
        "told": float(np.median([one.told for one in finished])) if finished else None,
        "part_alone": float(np.median([one.alone for one in finished])) if finished else None,
        "retrieval": float(np.median([retrieval for _, _, retrieval, _ in looked_up])) if looked_up else None,
        "better_than_retrieval": share([model < retrieval for model, _, retrieval, _ in looked_up]),
        "told_better_than_retrieval": share([told < retrieval for _, told, retrieval, _ in looked_up]),
        "better_than_part_alone": share([one.model < one.alone for one in finished]),
        "part_alone_better_than_retrieval": share([alone < retrieval for *_, retrieval, alone in looked_up]),
    }
