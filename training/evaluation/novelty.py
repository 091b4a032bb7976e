"""The meshes that a model was trained on: which of them a new mesh repeats, and which it is nearest to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import MeshGPTError
from core.mesh import FloatArray, IntArray, Mesh, dequantise
from training.data.dataset import CodeSet
from training.data.parquet import mesh_of
from training.metrics import canonical_fingerprint, chamfer_distances, distances_to, fingerprint, sample_surfaces

ROUGH_POINTS = 64  # of each mesh, to find those that are worth a closer look
SHORTLIST = 24


@dataclass(frozen=True)
class Nearest:
    """A training mesh. index: its number. distance: from what it is nearest to. cloud: [points, 3] on its surface."""

    index: int
    distance: float
    cloud: FloatArray


class Training:
    """All meshes of the sets that a model was trained on, to be looked up by content, caption, category and shape."""

    def __init__(self, data: CodeSet, seed: int) -> None:
        self.data = data
        self.seed = seed
        self.rough: dict[str, FloatArray] = {}

    def __len__(self) -> int:
        return len(self.data)

    @cached_property
    def fingerprints(self) -> set[bytes]:
        return {fingerprint(self.data.grid[self.data.faces(i)]) for i in range(len(self.data))}

    @cached_property
    def captions(self) -> set[str]:
        return {caption.lower() for captions in self.data.captions for caption in captions}

    @cached_property
    def words(self) -> set[str]:
        """Every word of every caption."""
        return {word for caption in self.captions for word in words(caption)}

    @cached_property
    def places(self) -> dict[str, IntArray]:
        """The numbers of the meshes of each category."""
        labels = np.array(self.data.labels)
        return {str(label): np.flatnonzero(labels == label) for label in np.unique(labels)}

    def holds(self, mesh: Mesh) -> bool:
        """Whether one of the meshes has the same canonical form. A mesh without one is new."""
        try:
            return canonical_fingerprint(mesh) in self.fingerprints
        except MeshGPTError:
            return False

    def any_of(self, category: str, rng: np.random.Generator) -> Mesh | None:
        """One of the meshes of a category, None if there is none."""
        if category not in self.places:
            return None
        return self.mesh(int(rng.choice(self.places[category])))

    def mesh(self, index: int) -> Mesh:
        return mesh_of(self.data.grid[self.data.faces(index)])

    def nearest(self, cloud: FloatArray, category: str, one_way: bool = False) -> Nearest | None:
        """The mesh of the category that comes nearest to points [points, 3] in the unit box; None if there is none.

        By Chamfer distance, or one way, from the points to the mesh alone, where they are a part of something. The SHORTLIST nearest over
        ROUGH_POINTS points are compared again over as many points as the cloud has.
        """
        if category not in self.places:
            return None
        members = self.places[category]
        if category not in self.rough:
            self.rough[category] = self.clouds(members, ROUGH_POINTS)
        few = members[np.argsort(rough_distances(cloud[:ROUGH_POINTS], self.rough[category], one_way), kind="stable")[:SHORTLIST]]
        clouds = self.clouds(few, len(cloud))
        measure = distances_to if one_way else chamfer_distances
        distances = measure(cloud[None], clouds)[0]
        best = int(distances.argmin())
        return Nearest(int(few[best]), float(distances[best]), clouds[best])

    def clouds(self, indices: IntArray, points: int) -> FloatArray:
        """[meshes, points, 3] points on the surface of each mesh, in the unit box."""
        grids = [self.data.grid[self.data.faces(int(i))] for i in indices]
        starts = np.cumsum([0, *(2 * len(grid) for grid in grids)])
        return sample_surfaces(triangles_of(np.concatenate(grids)), starts, points, np.random.default_rng(self.seed))


def words(phrase: str) -> set[str]:
    """The words of a phrase in small letters, without what stands between them."""
    return set(re.findall(r"[\w'-]+", phrase.lower()))


def triangles_of(grid: NDArray[np.int16]) -> FloatArray:
    """[2 faces, 3, 3] the corners, in the unit box, of two triangles for each face [faces, 12]; a triangle's second one has no area."""
    corners = grid.reshape(-1, 4, 3)[..., ::-1].astype(np.int64)
    corners[:, 3] = np.where(corners[:, 3] < 0, corners[:, 2], corners[:, 3])
    unit = dequantise(corners)
    return np.stack([unit[:, [0, 1, 2]], unit[:, [0, 2, 3]]], 1).reshape(-1, 3, 3)


def rough_distances(cloud: FloatArray, clouds: FloatArray, one_way: bool) -> NDArray[np.float32]:
    """[m] Chamfer distances from few points [p, 3] to many small sets [m, p', 3], without trees; one way: from the points alone."""
    one, many = torch.from_numpy(cloud), torch.from_numpy(clouds)
    squares = (many.square().sum(-1)[:, None] + one.square().sum(-1)[None, :, None] - 2 * one @ many.mT).clamp(min=0)
    there = squares.amin(2).mean(1)
    both: NDArray[np.float32] = (there if one_way else there + squares.amin(1).mean(1)).numpy()
    return both
