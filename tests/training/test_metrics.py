"""training.metrics against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.discretizer import MeshDiscretizer
from core.mesh import FloatArray, IntArray, Mesh
from training.data.parquet import grid_of
from training.metrics import (
    canonical_fingerprint,
    chamfer_distances,
    coverage,
    difference_interval,
    distances_to,
    fingerprint,
    minimum_matching_distance,
    nearest_neighbours,
    occupancy_divergence,
    sample_points,
    sample_surfaces,
    share,
    triangle_accuracy,
    validity,
    wilson,
)

CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]], np.float32)
TETRAHEDRON = Mesh(CORNERS[[0, 1, 3, 4]], np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]))


def test_a_closed_mesh_is_flawless() -> None:
    assert validity([TETRAHEDRON]) == {"degenerate": 0, "duplicate": 0, "boundary": 0, "non_manifold": 0, "flawless": 1}


def test_flaws_are_shares_of_all_faces_and_edges() -> None:
    flawed = Mesh(CORNERS, np.array([[0, 1, 2], [0, 2, 3], [2, 1, 0], [0, 2, 4], [0, 0, 1]]))
    # edges 01 12 02 23 03 24 04 and 00: 02 has four faces; 23, 03, 24, 04 and 00 one; 12 two; 01 four with those of the degenerate face
    shares = validity([flawed, TETRAHEDRON])
    assert shares["degenerate"] == pytest.approx(1 / 9)
    assert shares["duplicate"] == pytest.approx(1 / 9)
    assert shares["boundary"] == pytest.approx(5 / 14)
    assert shares["non_manifold"] == pytest.approx(2 / 14)
    assert shares["flawless"] == 0.5


def test_no_meshes_have_no_flaws() -> None:
    assert set(validity([]).values()) == {0}


def test_a_fingerprint_does_not_depend_on_order_place_size_or_columns() -> None:
    moved = Mesh(CORNERS[[4, 3, 1, 0]] * 7 + 2, np.array([[1, 3, 0], [3, 1, 2], [2, 1, 0], [3, 2, 0]]))
    assert canonical_fingerprint(moved) == canonical_fingerprint(TETRAHEDRON) == canonical_fingerprint(TETRAHEDRON.quads())


def test_a_fingerprint_of_a_stored_mesh_is_that_of_the_mesh() -> None:
    assert fingerprint(grid_of(TETRAHEDRON.canonical())) == canonical_fingerprint(TETRAHEDRON)


def test_a_copy_is_told_from_a_mesh_one_grid_step_away() -> None:
    near = Mesh(TETRAHEDRON.vertices + np.array([[0, 0, 0], [0, 0, 0], [0, 1 / 128, 0], [0, 0, 0]]), TETRAHEDRON.faces)
    nearer = Mesh(TETRAHEDRON.vertices + np.array([[0, 0, 0], [0, 0, 0], [0, -1 / 1000, 0], [0, 0, 0]]), TETRAHEDRON.faces)
    assert canonical_fingerprint(near) != canonical_fingerprint(TETRAHEDRON) == canonical_fingerprint(nearer)


class Careless(MeshDiscretizer):
    """Moves one corner of the first face by a step."""

    def decode(self, codes: IntArray) -> FloatArray:
        coordinates = super().decode(codes)
        coordinates[0, 2, 0] += 1 / 128
        return coordinates


def test_triangle_accuracy_counts_a_face_wrong_if_one_coordinate_is() -> None:
    assert triangle_accuracy(MeshDiscretizer(), [TETRAHEDRON, TETRAHEDRON]) == 1
    assert triangle_accuracy(Careless(), [TETRAHEDRON]) == 0.75
    assert triangle_accuracy(MeshDiscretizer(), []) == 0


def test_points_lie_on_the_surface_in_proportion_to_area() -> None:
    large, small = [[0, 0, 0], [3, 0, 0], [0, 2, 0]], [[0, 0, 1], [1, 0, 1], [0, 2, 1]]  # areas 3 and 1
    points = sample_points(Mesh(np.array(large + small), np.array([[0, 1, 2], [3, 4, 5]])), 4000, np.random.default_rng(0))
    assert set(points[:, 2].tolist()) == {0, 1}
    assert (points[:, 2] == 0).mean() == pytest.approx(0.75, abs=0.03)
    on_large = points[points[:, 2] == 0]
    assert (on_large[:, 0] / 3 + on_large[:, 1] / 2).max() <= 1 + 1e-6
    assert on_large.mean(0) == pytest.approx([1, 2 / 3, 0], abs=0.05)  # the centroid


def test_a_quad_is_sampled_on_both_its_halves() -> None:
    points = sample_points(Mesh(CORNERS[:4], np.array([[0, 1, 2, 3]])), 1000, np.random.default_rng(0))
    assert points.mean(0) == pytest.approx([0.5, 0.5, 0], abs=0.05)


def test_points_of_a_mesh_without_area_are_refused() -> None:
    with pytest.raises(ValueError, match="no area"):
        sample_points(Mesh(CORNERS, np.array([[0, 1, 1]])), 10, np.random.default_rng(0))


def test_points_of_several_meshes_lie_each_on_its_own_triangles() -> None:
    floors = [[[0, 0, z], [1, 0, z], [0, 1, z]] for z in (0, 1, 1, 2)]
    points = sample_surfaces(np.array(floors, np.float32), np.array([0, 1, 3, 4]), 50, np.random.default_rng(0))
    np.testing.assert_array_equal(points[..., 2], np.repeat([[0], [1], [2]], 50, 1))


def test_a_triangle_without_area_gets_no_points_of_its_mesh() -> None:
    triangles = np.array([[[0, 0, 5], [1, 0, 5], [2, 0, 5]], [[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0, 7]] * 3], np.float32)
    points = sample_surfaces(triangles, np.array([0, 3]), 200, np.random.default_rng(0))
    assert set(points[..., 2].ravel().tolist()) == {0}


def test_chamfer_distances_are_those_over_all_pairs_of_points() -> None:
    first, second = np.random.default_rng(0).random((2, 3, 20, 3)).astype(np.float32)
    squares = np.square(first[:, None, :, None] - second[None, :, None]).sum(-1)  # [n, m, points, points]
    np.testing.assert_allclose(distances_to(first, second), squares.min(3).mean(2), rtol=1e-5)
    np.testing.assert_allclose(chamfer_distances(first, second), squares.min(3).mean(2) + squares.min(2).mean(2), rtol=1e-5)


def test_chamfer_distances_within_a_set_are_those_to_a_copy_of_it() -> None:
    clouds = np.random.default_rng(0).random((4, 10, 3)).astype(np.float32)
    np.testing.assert_allclose(chamfer_distances(clouds, clouds), chamfer_distances(clouds, clouds.copy()))


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 10), (10, 10), (117, 128)])
def test_the_interval_of_a_share_ends_where_the_score_test_rejects(count: int, of: int) -> None:
    shares = np.linspace(0, 1, 100_001)
    accepted = shares[np.abs(count / of - shares) <= 1.959964 * np.sqrt(shares * (1 - shares) / of)]
    assert wilson(count, of) == pytest.approx((accepted.min(), accepted.max()), abs=2e-5)


def test_nothing_known_of_a_share_of_nothing() -> None:
    assert share([]) == {"share": 0, "of": 0, "interval": [0, 1]}


def test_the_interval_of_a_difference_is_the_published_example() -> None:
    # Newcombe 1998, table II: 56 of 70 less 48 of 80, method 10
    first, second = [True] * 56 + [False] * 14, [True] * 48 + [False] * 32
    assert difference_interval(first, second) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_chamfer_distance_adds_the_mean_squares_both_ways() -> None:
    first = np.array([[[0, 0, 0], [1, 0, 0]]], np.float32)
    second = np.array([[[0, 0, 2], [1, 0, 0]], [[0, 0, 0], [0, 0, 0]]], np.float32)
    # to the first: (1 + 0) / 2, back (4 + 0) / 2; to the second: (0 + 1) / 2, back 0
    assert chamfer_distances(first, second) == pytest.approx(np.array([[2.5, 0.5]]))


def test_coverage_and_matching_distance_of_a_hand_made_table() -> None:
    between = np.array([[1.0, 5.0, 9.0], [2.0, 4.0, 6.0], [3.0, 0.5, 7.0]])  # nearest references: 0, 0, 1
    assert coverage(between) == pytest.approx(2 / 3)
    assert minimum_matching_distance(between) == pytest.approx((1 + 0.5 + 6) / 3)


def distances(first: list[float], second: list[float]) -> FloatArray:
    return np.abs(np.subtract.outer(first, second))


def test_nearest_neighbours_tell_apart_sets_that_differ_and_not_ones_that_mix() -> None:
    def accuracy(generated: list[float], reference: list[float]) -> float:
        return nearest_neighbours(
            distances(generated, generated), distances(generated, reference), distances(reference, reference)
        ).mean()

    assert accuracy([0, 1, 2], [10, 11, 12]) == 1
    assert accuracy([0, 10, 20], [1, 11, 21]) == 0
    assert accuracy([0, 1, 10, 20], [11, 21, 30, 31]) == 0.5


def test_divergence_is_0_for_equal_1_for_disjoint_and_in_between_by_the_formula() -> None:
    left, right = [-0.4, 0, 0.5], [0.4, 0, 0.5]
    one, both, other = np.array([left, left]), np.array([left, right]), np.array([right])
    assert occupancy_divergence(one, one) == 0
    assert occupancy_divergence(one, other) == pytest.approx(1)
    half_way = (np.log2(1 / 0.75) + 0.5 * np.log2(0.5 / 0.75) + 0.5 * np.log2(0.5 / 0.25)) / 2
    assert occupancy_divergence(one, both) == pytest.approx(half_way)


def test_points_on_the_far_sides_of_the_box_belong_to_the_last_cells() -> None:
    assert occupancy_divergence(np.array([[0.5, 0.5, 1.0]]), np.array([[0.49, 0.49, 0.99]])) == 0
