"""How good meshes are, in numbers: their validity, how much they look like a reference set, how new they are, what a tokenizer loses.

Shapes are compared by points sampled on their surfaces, in the unit box. Nothing here knows a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from core.mesh import BOX_LOW, FloatArray, IntArray, Mesh, quantise
from core.tokenizer import Tokenizer
from training.data.parquet import grid_of

Distances = NDArray[np.float64]
Z = NormalDist().inv_cdf(0.975)  # of an interval that holds the truth 95 times in 100


# ---- single meshes


def validity(meshes: Sequence[Mesh]) -> dict[str, float]:
    """Shares over all meshes together: `degenerate` and `duplicate` of the faces, `boundary` and `non_manifold` of the edges, and
    `flawless`, of the meshes without any of these."""
    reports = [mesh.report() for mesh in meshes]
    faces, edges = sum(report.faces for report in reports), sum(report.edges for report in reports)
    flaws = [report.degenerate + report.duplicate + report.boundary_edges + report.non_manifold_edges for report in reports]
    return {
        "degenerate": sum(report.degenerate for report in reports) / max(faces, 1),
        "duplicate": sum(report.duplicate for report in reports) / max(faces, 1),
        "boundary": sum(report.boundary_edges for report in reports) / max(edges, 1),
        "non_manifold": sum(report.non_manifold_edges for report in reports) / max(edges, 1),
        "flawless": flaws.count(0) / max(len(flaws), 1),
    }


def fingerprint(grid: NDArray[np.int16]) -> bytes:
    """16 bytes that are equal for equal meshes in canonical form, [faces, 12] as in training.data.parquet.Row."""
    return blake2b(grid.tobytes(), digest_size=16).digest()


def canonical_fingerprint(mesh: Mesh) -> bytes:
    """The fingerprint of any mesh. Raises MeshGPTError (bad_mesh) as `Mesh.canonical` does."""
    return fingerprint(grid_of(mesh.canonical()))


def triangle_accuracy(tokenizer: Tokenizer, meshes: Iterable[Mesh]) -> float:
    """Share of the faces of which every quantised coordinate survives encoding and decoding; 0 without meshes."""
    right = total = 0
    for mesh in meshes:
        canonical = mesh.canonical(levels=tokenizer.levels).quads()
        wanted, found = canonical.face_coordinates(), np.asarray(tokenizer.decode(tokenizer.encode(mesh)))
        absent = np.isnan(wanted)
        same = quantise(np.nan_to_num(wanted), tokenizer.levels) == quantise(np.nan_to_num(found), tokenizer.levels)
        right += int(np.where(absent, np.isnan(found), same).all((1, 2)).sum())
        total += len(wanted)
    return right / max(total, 1)


def sample_points(mesh: Mesh, count: int, rng: np.random.Generator) -> FloatArray:
    """[count, 3] points spread evenly over the surface. Raises ValueError if the mesh has no area."""
    triangles = mesh.vertices[mesh.triangles()]
    return sample_surfaces(triangles, np.array([0, len(triangles)]), count, rng)[0]


def sample_surfaces(triangles: FloatArray, starts: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
    """[meshes, count, 3] points spread evenly over the surface of each mesh.

    triangles: [t, 3, 3] the corners of all triangles of all meshes, mesh by mesh. starts: [meshes + 1] where those of each begin.
    Raises ValueError if a mesh has no area.
    """
    along, across = (triangles[:, 1:] - triangles[:, :1]).astype(np.float64).transpose(1, 0, 2)
    reached = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.cross(along, across), axis=1))])
    low, high = reached[starts[:-1], None], reached[starts[1:], None]
    if not (high > low).all():
        raise ValueError("a mesh has no area; leave it out")
    drawn = low + rng.random((len(starts) - 1, count)) * (high - low)
    chosen = np.searchsorted(reached, drawn, side="right") - 1
    chosen = np.minimum(chosen, starts[1:, None] - 1)  # the upper end may come out by rounding
    u, v = rng.random((2, *chosen.shape, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points: FloatArray = (triangles[chosen, 0] + u * along[chosen] + v * across[chosen]).astype(np.float32)
    return points


# ---- shares


def share(flags: Sequence[bool] | NDArray[np.bool_]) -> dict[str, Any]:
    """How many of the flags are set: `share` (0 without flags), `of` how many, and the 95% `interval` of the share."""
    count, of = sum(map(bool, flags)), len(flags)
    return {"share": count / max(of, 1), "of": of, "interval": list(wilson(count, of))}


def wilson(count: int, of: int) -> tuple[float, float]:
    """The 95% interval of a share, count out of `of` (Wilson 1927); (0, 1) of nothing."""
    if not of:
        return 0.0, 1.0
    p, n = count / of, of
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    reach = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def difference_interval(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float]:
    """The 95% interval of the share of the first flags less that of the second (Newcombe 1998, method 10)."""
    p, q = sum(first) / max(len(first), 1), sum(second) / max(len(second), 1)
    (p_low, p_high), (q_low, q_high) = wilson(sum(first), len(first)), wilson(sum(second), len(second))
    return p - q - math.hypot(p - p_low, q_high - q), p - q + math.hypot(p_high - p, q - q_low)


# ---- sets of shapes


def chamfer_distances(first: FloatArray, second: FloatArray) -> Distances:
    """[n, m] between point sets [n, points, 3] and [m, points, 3]: the mean squared distance from each point to the nearest one of the
    other set, both ways added."""
    there = distances_to(first, second)
    return there + (there.T if first is second else distances_to(second, first).T)


def distances_to(first: FloatArray, second: FloatArray) -> Distances:
    """[n, m] one way of `chamfer_distances`: from the points of the first sets to their nearest ones of the second."""
    distances = np.empty((len(first), len(second)))
    for column, points in enumerate(second):
        nearest, _ = cKDTree(points).query(first.reshape(-1, 3))
        distances[:, column] = np.square(nearest).reshape(len(first), -1).mean(1)
    return distances


def coverage(between: Distances) -> float:
    """Share of the reference shapes that are the nearest one of some generated shape. between: [generated, reference]."""
    return len(np.unique(between.argmin(1))) / between.shape[1]


def minimum_matching_distance(between: Distances) -> float:
    """Mean distance from a reference shape to its nearest generated one. between: [generated, reference]."""
    return float(between.min(0).mean())


def nearest_neighbours(generated: Distances, between: Distances, reference: Distances) -> NDArray[np.bool_]:
    """[g + r] of every shape, whether the nearest other one is of the same set. Their share is 1-NNA (Lopez-Paz and Oquab 2017): 0.5 if the
    sets cannot be told apart, 1 if they have nothing in common.

    generated: [g, g], between: [g, r], reference: [r, r] distances.
    """
    distances = np.block([[generated, between], [between.T, reference]]).astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    is_reference = np.arange(len(distances)) >= len(generated)
    same: NDArray[np.bool_] = is_reference[distances.argmin(1)] == is_reference
    return same


def occupancy_divergence(first: FloatArray, second: FloatArray, cells: int = 28) -> float:
    """Jensen-Shannon divergence, 0 to 1, between where in the unit box the points [.., 3] of two sets lie, over cells^3 cells."""
    p, q = (np.bincount(cell_index(points, cells), minlength=cells**3) / (points.size // 3) for points in (first, second))
    return float((relative_entropy(p, (p + q) / 2) + relative_entropy(q, (p + q) / 2)) / 2)


def cell_index(points: FloatArray, cells: int) -> IntArray:
    """[points] the number of the cell of the unit box that each point lies in."""
    x, y, z = np.floor((points.reshape(-1, 3) - BOX_LOW) * cells).clip(0, cells - 1).astype(np.int64).T
    index: IntArray = (x * cells + y) * cells + z
    return index


def relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Of p from q in bits; q is above 0 where p is."""
    there = p > 0
    return float((p[there] * np.log2(p[there] / q[there])).sum())
