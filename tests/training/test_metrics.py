"""training.metrics against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.discretizer import MeshDiscretizer
from core.mesh import FloatArray, IntArray, Mesh
from training.metrics import (
    chamfer_distances,
    copied,
    coverage,
    fingerprint,
    minimum_matching_distance,
    nearest_neighbour_accuracy,
    occupancy_divergence,
    sample_points,
    triangle_accuracy,
    validity,
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
    assert fingerprint(moved) == fingerprint(TETRAHEDRON) == fingerprint(TETRAHEDRON.quads())


def test_a_copy_is_told_from_a_mesh_one_grid_step_away() -> None:
    near = Mesh(TETRAHEDRON.vertices + np.array([[0, 0, 0], [0, 0, 0], [0, 1 / 128, 0], [0, 0, 0]]), TETRAHEDRON.faces)
    nearer = Mesh(TETRAHEDRON.vertices + np.array([[0, 0, 0], [0, 0, 0], [0, -1 / 1000, 0], [0, 0, 0]]), TETRAHEDRON.faces)
    assert copied([near, nearer, TETRAHEDRON], {fingerprint(TETRAHEDRON)}) == pytest.approx(2 / 3)


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
        return nearest_neighbour_accuracy(
            distances(generated, generated), distances(generated, reference), distances(reference, reference)
        )

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
