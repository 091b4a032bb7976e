"""Coordinates as codes, and the grammar that keeps what is drawn a mesh."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.discretizer import MeshDiscretizer
from core.grammar import ABSENT, CodeGrammar, CoordinateGrammar
from core.mesh import Frame, Mesh

CUBE = Mesh(
    np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]),
    np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]),
)


def test_a_vertex_is_its_coordinates_in_the_order_z_y_x() -> None:
    codes = MeshDiscretizer(5).encode(Mesh([[0, 0, 0], [1, 0, 0], [0, 0.5, 0.25]], [[0, 1, 2]]))
    assert codes.tolist() == [[0, 1, 0, 0, 1, 4, 1, 3, 0, ABSENT, ABSENT, ABSENT]]


def test_decoding_gives_the_canonical_mesh_back() -> None:
    tokenizer = MeshDiscretizer()
    decoded = Mesh.from_face_coordinates(tokenizer.decode(tokenizer.encode(CUBE)))
    np.testing.assert_array_equal(decoded.face_coordinates(), CUBE.canonical().face_coordinates())


def test_a_frame_places_a_part_in_a_larger_box() -> None:
    codes = MeshDiscretizer(129).encode(CUBE, Frame((0.5, 0.5, 0.0), 2.0)).reshape(-1, 3)
    assert codes.min(0).tolist() == [0, 32, 32]
    assert codes.max(0).tolist() == [64, 96, 96]


def test_near_coordinates_have_near_vectors() -> None:
    vectors = MeshDiscretizer().code_vectors()[0]
    distance = (vectors[:, None] - vectors[None]).norm(dim=-1)
    assert (distance.diagonal(1) < distance.diagonal(3)[: len(distance)].min()).all()


def test_every_canonical_mesh_is_allowed_by_the_grammar() -> None:
    grammar = MeshDiscretizer().grammar()
    for code in MeshDiscretizer().encode(CUBE).flatten().tolist():
        code = grammar.absent if code == ABSENT else code
        assert grammar.allowed()[code]
        grammar.push(code)
    assert grammar.allowed()[grammar.end]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_whatever_is_drawn_is_a_mesh_in_canonical_order(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    grammar, faces = CoordinateGrammar(levels), []
    while len(faces) < 12:
        choices = np.flatnonzero(grammar.allowed())
        if not len(choices):
            break
        grammar.push(int(rng.choice(choices)))
        if grammar.ended:
            break
        if not grammar.face:
            faces.append(grammar.previous)
    if not faces:
        return
    mesh = Mesh.from_face_coordinates(MeshDiscretizer(levels).decode(np.array(faces)))
    assert mesh.report().duplicate == 0
    ordered = np.sort(mesh.faces, 1)
    assert not ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any()
    assert faces == sorted(faces)
    for face in faces:
        vertices = [face[i : i + 3] for i in range(0, 12, 3) if face[i] != ABSENT]
        assert vertices[0] == min(vertices)


def test_a_given_face_comes_where_it_is_next_and_once() -> None:
    codes = MeshDiscretizer().encode(CUBE)
    grammar = MeshDiscretizer().grammar(codes[3:])
    for code in codes[0].tolist():
        assert grammar.allowed()[code]
        grammar.push(code)
    assert not grammar.allowed()[grammar.end]
    whole = MeshDiscretizer().grammar(codes)
    whole.push_all(codes.tolist())
    assert np.flatnonzero(whole.allowed()).tolist()[-1] == whole.end
    for code in codes[-1, :5].tolist():
        whole.push(code)
    assert not whole.allowed()[codes[-1, 5]]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_learned_codes_end_after_whole_faces_and_leave_out_only_the_last_corner(depth: int) -> None:
    grammar = CodeGrammar(4, depth)
    for at in range(4 * depth):
        allowed = grammar.allowed()
        assert allowed[:4].all()
        assert not allowed[grammar.end]
        assert allowed[grammar.absent] == (at == 3 * depth)
        grammar.push(0)
    assert grammar.allowed()[grammar.end]
    for _ in range(3 * depth):
        grammar.push(1)
    for _ in range(depth):
        assert grammar.allowed()[grammar.absent]
        grammar.push(grammar.absent)
        assert not grammar.face or not grammar.allowed()[:4].any()
    assert grammar.previous[-depth:] == [ABSENT] * depth
