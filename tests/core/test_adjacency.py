"""core.adjacency against a brute-force second way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.adjacency import derive_face_edges_from_faces, face_adjacency

INDEX = st.integers(0, 7)
TRIANGLES = st.lists(st.tuples(INDEX, INDEX, INDEX), max_size=12)
MIXED = st.lists(st.tuples(INDEX, INDEX, INDEX, st.integers(-1, 7)), max_size=12)
PADDING = (-1, -1, -1, -1)


def brute_force(faces: list[tuple[int, ...]], shared: int) -> list[list[int]]:
    corners = [{i for i in face if i >= 0} for face in faces]
    return [[a, b] for a in range(len(faces)) for b in range(len(faces)) if a != b and len(corners[a] & corners[b]) >= shared]


@settings(deadline=None)
@given(st.one_of(TRIANGLES, MIXED), st.sampled_from([1, 2]))
def test_pairs_are_those_found_by_comparing_every_face_with_every_other(faces: list[tuple[int, ...]], shared: int) -> None:
    width = len(faces[0]) if faces else 3
    pairs = face_adjacency(torch.tensor(faces, dtype=torch.long).reshape(-1, width), shared=shared)
    assert pairs.T.tolist() == brute_force(faces, shared)


@settings(deadline=None)
@given(st.lists(MIXED, min_size=1, max_size=4), st.sampled_from([1, 2]))
def test_meshes_of_a_batch_are_padded_and_kept_apart(meshes: list[list[tuple[int, ...]]], shared: int) -> None:
    length = max(map(len, meshes)) + 1
    batch = torch.tensor([mesh + [PADDING] * (length - len(mesh)) for mesh in meshes])
    expected = [[b * length + i for i in pair] for b, mesh in enumerate(meshes) for pair in brute_force(mesh, shared)]
    assert face_adjacency(batch, shared=shared).T.tolist() == expected


@settings(deadline=None)
@given(st.lists(MIXED, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_edges_of_a_batch_are_those_of_each_mesh_padded(
    meshes: list[list[tuple[int, ...]]], over_a_vertex: bool, include_self: bool
) -> None:
    length = max(map(len, meshes)) + 1
    batch = torch.tensor([mesh + [PADDING] * (length - len(mesh)) for mesh in meshes])
    edges = derive_face_edges_from_faces(batch, neighbor_if_share_one_vertex=over_a_vertex, include_self=include_self)
    for mesh, found in zip(meshes, edges.tolist(), strict=True):
        there = [[i, i] for i, face in enumerate(mesh) if include_self and max(face) >= 0]
        expected = sorted(brute_force(mesh, 1 if over_a_vertex else 2) + there)
        assert found == expected + [[-1, -1]] * (len(found) - len(expected))


def test_edges_of_one_mesh_need_no_batch_and_padding_may_be_marked_otherwise() -> None:
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [-5, -5, -5]])
    assert derive_face_edges_from_faces(faces, pad_id=-5).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    batch = torch.stack([faces, torch.tensor([[0, 1, 2], [3, 4, 5], [-5, -5, -5]])])
    assert derive_face_edges_from_faces(batch, pad_id=-5)[1].tolist() == [[0, 0], [1, 1], [-5, -5], [-5, -5]]


def test_two_triangles_over_one_edge_are_neighbours_in_both_directions() -> None:
    assert face_adjacency(torch.tensor([[0, 1, 2], [2, 1, 3], [3, 4, 5]])).tolist() == [[0, 1], [1, 0]]
    assert face_adjacency(torch.tensor([[0, 1, 2], [2, 1, 3], [3, 4, 5]]), shared=1).tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]


def test_work_grows_with_the_pairs_and_not_with_the_faces_squared() -> None:
    strip = torch.arange(100_000)[:, None] + torch.arange(3)
    pairs = face_adjacency(strip)
    assert pairs.shape == (2, 2 * 99_999)
    assert ((pairs[0] - pairs[1]).abs() == 1).all()


@pytest.mark.parametrize(
    ("faces", "shared", "message"),
    [([[0, 1, -2]], 2, "index -2"), ([[0, 1]], 2, r"shape \[1, 2\]"), ([[0, 1, 2]], 3, "shared is 3")],
)
def test_what_cannot_be_faces_is_refused_with_the_reason(faces: list[list[int]], shared: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        face_adjacency(torch.tensor(faces), shared=shared)
