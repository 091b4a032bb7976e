"""Sets of meshes judged: soundness, what they are recognised as, how they are spread beside held-out meshes, whether they are new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import MeshGPTError
from core.mesh import Mesh
from core.request import Result
from training.evaluation.making import has_area
from training.evaluation.novelty import Training
from training.evaluation.sets import ValidationSet, Wanted
from training.metrics import (
    chamfer_distances,
    coverage,
    minimum_matching_distance,
    nearest_neighbours,
    occupancy_divergence,
    share,
    validity,
)
from training.recognition import Recogniser, point_clouds

POINTS = 256  # on each mesh; distances grow a little with fewer, the same for all that is compared


class Judge:
    """What meshes are held against. training: None if it is not given; then nothing is said about novelty."""

    def __init__(self, recogniser: Recogniser, training: Training | None, seed: int) -> None:
        self.recogniser = recogniser
        self.training = training
        self.seed = seed

    def made(self, results: Sequence[Result], asked: ValidationSet) -> dict[str, Any]:
        """All measures of what was made for the wanted meshes of a set, in order. Meshes without any area are in no distance.

        Raises MeshGPTError (bad_checkpoint) if that is all of them.
        """
        meshes = [result.mesh for result in results]
        solid = [mesh for mesh in meshes if has_area(mesh)]
        if not solid:
            raise MeshGPTError("no mesh that the model made has any area", hint="train it longer", code="bad_checkpoint")
        return {
            "ended": share([result.ended for result in results]),
            "rejected": share_of_samples(results),
            **self.one_by_one(meshes, asked.wanted),
            **self.spread(solid, [one.mesh for one in asked.wanted]),
        }

    def data(self, asked: ValidationSet) -> dict[str, Any]:
        """The same measures of the data: of the wanted meshes one by one, and of the others as a set beside the wanted ones."""
        pairs = [(mesh, one.mesh) for mesh, one in zip(asked.others, asked.wanted, strict=True) if mesh is not None]
        others, wanted = [mesh for mesh, _ in pairs], [mesh for _, mesh in pairs]
        return {
            **self.one_by_one([one.mesh for one in asked.wanted], asked.wanted),
            **(self.spread(others, wanted) if pairs else {}),
        }

    def one_by_one(self, meshes: Sequence[Mesh], asked: Sequence[Wanted]) -> dict[str, Any]:
        """What can be said of each mesh by itself, over all of them. One without area is not recognised."""
        return {
            **validity(meshes),
            "faces": float(np.mean([len(mesh.faces) for mesh in meshes])),
            "empty": 1 - sum(map(has_area, meshes)) / len(meshes),
            "recognised": share(self.recognised(meshes, [one.category for one in asked])),
            **self.novelty(meshes, asked),
        }

    def recognised(self, meshes: Sequence[Mesh], categories: Sequence[str]) -> list[bool]:
        """Which of the meshes the recogniser takes for what they were made for; those of a category that it does not know are left out."""
        known = [(mesh, name) for mesh, name in zip(meshes, categories, strict=True) if name in self.recogniser.families]
        return [seen == name for seen, (_, name) in zip(self.seen([mesh for mesh, _ in known]), known, strict=True)]

    def seen(self, meshes: Sequence[Mesh]) -> list[str]:
        """What the recogniser takes each mesh for, "" for one without area."""
        solid = [i for i, mesh in enumerate(meshes) if has_area(mesh)]
        seen = [""] * len(meshes)
        clouds = point_clouds([meshes[i] for i in solid], POINTS, np.random.default_rng(self.seed))
        for i, family in zip(solid, self.recogniser.families_of(clouds), strict=True):
            seen[i] = family
        return seen

    def spread(self, meshes: Sequence[Mesh], reference: Sequence[Mesh]) -> dict[str, Any]:
        """COV, MMD, 1-NNA and JSD of a set of meshes against another; each has an area."""
        clouds = point_clouds(meshes, POINTS, np.random.default_rng(self.seed))
        held_out = point_clouds(reference, POINTS, np.random.default_rng(self.seed + 1))
        between = chamfer_distances(clouds, held_out)
        neighbours = nearest_neighbours(chamfer_distances(clouds, clouds), between, chamfer_distances(held_out, held_out))
        return {
            "coverage": coverage(between),
            "matching_distance": minimum_matching_distance(between),
            "nearest_neighbour_accuracy": share(neighbours),
            "divergence": occupancy_divergence(clouds, held_out),
        }

    def novelty(self, meshes: Sequence[Mesh], asked: Sequence[Wanted]) -> dict[str, Any]:
        """Copies of training meshes, and how far the nearest one of the category asked for is."""
        if self.training is None:
            return {}
        known, captions = [self.training.holds(mesh) for mesh in meshes], self.training.captions
        solid = [(mesh, one.category) for mesh, one in zip(meshes, asked, strict=True) if has_area(mesh)]
        clouds = point_clouds([mesh for mesh, _ in solid], POINTS, np.random.default_rng(self.seed))
        nearest = [self.training.nearest(cloud, category) for cloud, (_, category) in zip(clouds, solid, strict=True)]
        distances = [one.distance for one in nearest if one]
        return {
            "copied": share(known),
            "copied_on_new_captions": share([flag for flag, one in zip(known, asked, strict=True) if one.caption.lower() not in captions]),
            "nearest_training_mesh": float(np.median(distances)) if distances else None,
        }


def share_of_samples(results: Sequence[Result]) -> dict[str, Any]:
    """The rejection rate: of all samples that were drawn, those that did not end or were broken."""
    rejected, drawn = sum(result.rejected for result in results), sum(result.drawn for result in results)
    return share(np.arange(drawn) < rejected)
