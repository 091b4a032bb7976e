"""The grammar of coordinates against the plain one it was worked out from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.grammar import ABSENT, CodeGrammar, CoordinateGrammar


def plainly_allowed(face: list[int], before: list[list[int]], given: list[list[int]], levels: int, corners: int) -> NDArray[np.bool_]:
    """What may follow `face`, by trying every symbol: does some rule forbid the face as far as it would then be known?

    before: the new faces so far, in order. given: the faces that the mesh had already. corners: of a face.
    """
    absent, end = levels, levels + 1
    allowed = np.zeros(levels + 2, bool)
    allowed[end] = not face and bool(before or given)
    for symbol in range(levels + 1):
        allowed[symbol] = is_a_beginning([*face, ABSENT if symbol == absent else symbol], before, given, 3 * corners)
    return allowed


def is_a_beginning(face: list[int], before: list[list[int]], given: list[list[int]], length: int) -> bool:
    vertices = [tuple(face[i : i + 3]) for i in range(0, len(face), 3)]
    whole = [vertex for vertex in vertices if len(vertex) == 3 and ABSENT not in vertex]
    if any(ABSENT in vertex for vertex in vertices[:3]) or len({code == ABSENT for code in face[9:]}) == 2:
        return False
    if before and face < before[-1][: len(face)]:
        return False
    if len(set(whole)) < len(whole) or any(ABSENT not in v and v < vertices[0][: len(v)] for v in vertices[1:]):
        return False
    corners = {frozenset(old[i : i + 3] for i in range(0, length, 3) if old[i] != ABSENT) for old in map(tuple, before + given)}
    if len(face) == length - 1 and ABSENT not in face and not any(twice_the_area([*whole, (*face[-2:], last)]) for last in (0, 1)):
        return False  # two points of a line stand for all of them
    complete = len(face) == length or face[9:10] == [ABSENT]
    return not (complete and (frozenset(whole) in corners or not twice_the_area(whole)))


def twice_the_area(vertices: list[tuple[int, ...]]) -> float:
    """Of a polygon: the length of the sum of its triangles' cross products."""
    places = np.array(vertices) - vertices[0]
    return float(np.linalg.norm(np.cross(places[1:-1], places[2:]).sum(0)))


def drawn_faces(grammar: CodeGrammar, rng: np.random.Generator, count: int) -> list[list[int]]:
    """Faces drawn evenly from what a grammar allows, as many as there are up to `count`."""
    faces: list[list[int]] = []
    while len(faces) < count:
        choices = np.flatnonzero(grammar.allowed()[: grammar.end])
        if not len(choices):
            break
        grammar.push(int(rng.choice(choices)))
        if not grammar.face:
            faces.append(grammar.previous)
    return faces


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(0, 4), st.sampled_from([3, 4]))
def test_the_grammar_allows_what_no_rule_forbids(seed: int, levels: int, given_faces: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    part = drawn_faces(CoordinateGrammar(levels, None, corners), rng, given_faces)
    grammar = CoordinateGrammar(levels, np.array(part, np.int64).reshape(-1, 3 * corners), corners)
    before: list[list[int]] = []
    for _ in range(3 * corners * 8):
        allowed = grammar.allowed()
        np.testing.assert_array_equal(allowed, plainly_allowed(grammar.face, before, part, levels, corners))
        choices = np.flatnonzero(allowed[: grammar.end])
        if not len(choices):
            break
        grammar.push(int(rng.choice(choices[: 1 + rng.integers(3)])))  # low codes first: they lead into ties
        if not grammar.face:
            before.append(grammar.previous)


def test_the_other_half_of_a_quad_split_in_two_is_no_repeat() -> None:
    quad = [0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 0, 0]
    grammar = CoordinateGrammar(3, np.array([quad]))
    for code in quad[:9]:
        grammar.push(code)
    assert grammar.allowed()[grammar.absent]


@pytest.mark.parametrize("begun", [False, True])
def test_a_mesh_of_learned_codes_ends_only_when_it_has_a_face(begun: bool) -> None:
    grammar = CodeGrammar(5, 2, np.zeros((int(begun), 8), np.int64))
    assert grammar.allowed()[grammar.end] == begun
