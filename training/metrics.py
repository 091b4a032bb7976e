"""How good meshes are, in numbers: their validity, how much they look like a reference set, how new they are, what a tokenizer loses.

Shapes are compared by points sampled on their surfaces, in the unit box. Nothing here knows a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from core.mesh import BOX_LOW, LEVELS, FloatArray, IntArray, Mesh, quantise
from core.tokenizer import Tokenizer

Distances = NDArray[np.float64]


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


def fingerprint(mesh: Mesh, levels: int = LEVELS) -> bytes:
    """16 bytes that are equal for meshes with the same canonical form. Raises MeshGPTError (bad_mesh) as `Mesh.canonical` does."""
    canonical = mesh.canonical(levels=levels).quads()
    content = quantise(canonical.vertices, levels).tobytes() + canonical.faces.tobytes()
    return blake2b(content, digest_size=16).digest()


def copied(meshes: Sequence[Mesh], known: set[bytes]) -> float:
    """Share of the meshes whose fingerprint is among the known ones."""
    return sum(fingerprint(mesh) in known for mesh in meshes) / max(len(meshes), 1)


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
    corners = mesh.vertices[mesh.triangles()].astype(np.float64)
    along, across = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.linalg.norm(np.cross(along, across), axis=1)
    if not area.sum() > 0:
        raise ValueError("the mesh has no area; leave it out")
    chosen = rng.choice(len(area), count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points: FloatArray = (corners[chosen, 0] + u * along[chosen] + v * across[chosen]).astype(np.float32)
    return points


# ---- sets of shapes


def chamfer_distances(first: FloatArray, second: FloatArray) -> Distances:
    """[n, m] between point sets [n, points, 3] and [m, points, 3]: the mean squared distance from each point to the nearest one of the
    other set, both ways added."""
    trees = [KDTree(points) for points in first], [KDTree(points) for points in second]
    distances = np.empty((len(first), len(second)))
    for i, (points, tree) in enumerate(zip(first, trees[0], strict=True)):
        for j, (others, other_tree) in enumerate(zip(second, trees[1], strict=True)):
            distances[i, j] = np.square(other_tree.query(points)[0]).mean() + np.square(tree.query(others)[0]).mean()
    return distances


def coverage(between: Distances) -> float:
    """Share of the reference shapes that are the nearest one of some generated shape. between: [generated, reference]."""
    return len(np.unique(between.argmin(1))) / between.shape[1]


def minimum_matching_distance(between: Distances) -> float:
    """Mean distance from a reference shape to its nearest generated one. between: [generated, reference]."""
    return float(between.min(0).mean())


def nearest_neighbour_accuracy(generated: Distances, between: Distances, reference: Distances) -> float:
    """How often the nearest other shape is of the same set (1-NNA): 0.5 if the sets cannot be told apart, 1 if they have nothing in common.

    generated: [g, g], between: [g, r], reference: [r, r] distances.
    """
    distances = np.block([[generated, between], [between.T, reference]]).astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    is_reference = np.arange(len(distances)) >= len(generated)
    return float((is_reference[distances.argmin(1)] == is_reference).mean())


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
