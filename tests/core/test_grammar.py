"""The grammar of coordinates against the plain one it was worked out from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.discretizer import MeshDiscretizer
from core.grammar import ABSENT, CodeGrammar, CoordinateGrammar
from core.hints import corner_hints
from core.mesh import LEVELS, IntArray
from core.symbols import to_symbols
from training.procedural import generate

Vertex = tuple[int, ...]
Edge = tuple[Vertex, Vertex]


@dataclass
class Grid:
    """levels: of each axis. corners: of a face. close_given: whether the edges of given faces are to be matched."""

    levels: int
    corners: int
    close_given: bool = True


def plainly_allowed(face: list[int], before: list[list[int]], given: list[list[int]], grid: Grid) -> NDArray[np.bool_]:
    """What may follow `face`: the next code of every corner that no rule forbids here.

    before: the faces so far, in order. given: faces that are to be among them, in order.
    """
    absent, end = grid.levels, grid.levels + 1
    allowed = np.zeros(grid.levels + 2, bool)
    known = corners_of(face)
    started, level = tuple(face[3 * (len(face) // 3) :]), len(face) % 3
    coming = given[sum(old in given for old in before) :][:1]
    new = [corners_of(old) for old in before if old not in given]
    faces = [*map(corners_of, given), *new]
    missing = missing_edges(faces, new, grid)
    if coming and face == coming[0][: len(face)] and may_be_next(corners_of(coming[0]), missing):
        allowed[absent if coming[0][len(face)] == ABSENT else coming[0][len(face)]] = True
        if len(known) >= 2:
            return allowed
    if face[9:10] == [ABSENT]:
        allowed[absent] = True
        return allowed
    between = [corners_of(old)[:2] for old in before[-1:]], [corners_of(old)[:2] for old in coming]
    for corner in product(range(grid.levels), repeat=3):
        if corner[:level] == started and is_in_place(corner, known, faces, between, missing, grid):
            allowed[corner[level]] |= level < 2 or not is_barred(corner, known, faces, grid)
    if level == 1 and len(known) == grid.corners - 1:  # two points of a line stand for all of them
        for code in np.flatnonzero(allowed).tolist():
            allowed[code] = any(twice_the_area([*known, (*started, code, last)]) for last in (0, 1))
    if level == 0:
        allowed[end] = not face and bool(faces) and not missing and not coming
        allowed[absent] |= len(known) == 3 < grid.corners and closes(known, faces) and not is_whole_barred(known, faces)
    return allowed


def may_be_next(face: list[Vertex], missing: set[Edge]) -> bool:
    """Whether the mesh can still close once a face that closes none of the missing edges has been."""
    return all(face[0] <= min(edge) and (start != face[0] or face[1] <= end) for edge in missing for start, end in [edge])


def corners_of(face: list[int]) -> list[Vertex]:
    return [tuple(face[i : i + 3]) for i in range(0, len(face) - 2, 3) if face[i] != ABSENT]


def edges_of(face: list[Vertex]) -> list[Edge]:
    return list(zip(face, face[1:] + face[:1], strict=True))


def missing_edges(faces: list[list[Vertex]], new: list[list[Vertex]], grid: Grid) -> set[Edge]:
    """The edges that new faces must have."""
    there = {edge for face in faces for edge in edges_of(face)}
    demanding = faces if grid.close_given else new
    return {(end, start) for face in demanding for start, end in edges_of(face)} - there


def is_in_place(
    corner: Vertex,
    known: list[Vertex],
    faces: list[list[Vertex]],
    between: tuple[list[list[Vertex]], list[list[Vertex]]],
    missing: set[Edge],
    grid: Grid,
) -> bool:
    """Whether faces stay in order with it, and the mesh can still close.

    between: how the last face begins, if there is one, and how the next given one does.
    """
    last, coming = between
    if not known:
        ordered = all(corner >= first for first, _ in last) and all(corner <= first for first, _ in coming)
        return ordered and all(corner <= min(edge) for edge in missing)
    if len(known) == 1:
        ordered = all([*known, corner] > start for start in last) and all([*known, corner] < start for start in coming)
        return corner > known[0] and ordered and all(corner <= end for start, end in missing if start == known[0])
    return corner > known[0] and (len(known) < grid.corners - 1 or closes([*known, corner], faces))


def closes(face: list[Vertex], faces: list[list[Vertex]]) -> bool:
    """Whether its last edge matches one that is there, or a later face can match it: one that begins with its first and its last corner."""
    there = {edge for old in faces for edge in edges_of(old)}
    return face[-1] > face[1] or ((face[0], face[-1]) in there and (face[-1], face[0]) not in there)


def is_barred(corner: Vertex, known: list[Vertex], faces: list[list[Vertex]], grid: Grid) -> bool:
    """Whether it repeats a corner, an edge or a face, or leaves the face without area."""
    there = {edge for old in faces for edge in edges_of(old)}
    if corner in known or (known and (known[-1], corner) in there):
        return True
    return len(known) == grid.corners - 1 and is_whole_barred([*known, corner], faces)


def is_whole_barred(face: list[Vertex], faces: list[list[Vertex]]) -> bool:
    there = {edge for old in faces for edge in edges_of(old)}
    return (face[-1], face[0]) in there or set(face) in [set(old) for old in faces] or not twice_the_area(face)


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


def some_part(rng: np.random.Generator, levels: int, corners: int, count: int) -> IntArray:
    """Some faces of those that are drawn."""
    part = np.array(drawn_faces(CoordinateGrammar(levels, None, corners), rng, 2 * count), np.int64).reshape(-1, 3 * corners)
    return part[rng.random(len(part)) < 0.5]


def a_grammar(rng: np.random.Generator, grid: Grid, given_faces: int) -> tuple[CoordinateGrammar, IntArray]:
    """A grammar at its beginning, and the faces that it was given."""
    part = some_part(rng, grid.levels, grid.corners, given_faces)
    grammar = CoordinateGrammar(grid.levels, part, grid.corners)
    if not grid.close_given:
        grammar.leave_open()
    return grammar, part


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(0, 4), st.sampled_from([3, 4]), st.booleans())
def test_the_grammar_allows_what_no_rule_forbids(seed: int, levels: int, given_faces: int, corners: int, close_given: bool) -> None:
    rng, grid, before = np.random.default_rng(seed), Grid(levels, corners, close_given), []
    grammar, part = a_grammar(rng, grid, given_faces)
    for _ in range(3 * corners * 8):
        allowed = grammar.allowed()
        np.testing.assert_array_equal(allowed, plainly_allowed(grammar.face, before, part.tolist(), grid))
        choices = np.flatnonzero(allowed[: grammar.end])
        if not len(choices):
            break
        copy = int(part[sum(row in before for row in part.tolist()) :][:1].ravel()[len(grammar.face) :][:1].sum())
        likely = [copy] if copy in choices and rng.random() < 0.5 else choices[: 1 + rng.integers(3)]  # low codes lead into ties
        grammar.push(int(rng.choice(likely)))
        if not grammar.face:
            before.append(grammar.previous)


def plainly_told(face: list[int], before: list[list[int]], given: list[list[int]], grid: Grid) -> tuple[Vertex, ...]:
    """What is due before the next corner of `face`, what would make it a parallelogram and, of a third, what is due behind it; () for
    nothing. before, given: as for `plainly_allowed`."""
    known, coming = corners_of(face), given[sum(old in given for old in before) :][:1]
    copies = [next_corner(old[len(face) :], grid) for old in coming if old[: len(face)] == face]
    new = [corners_of(old) for old in before if old not in given]
    if not known:
        return min([*copies, *(min(edge) for edge in missing_edges([*map(corners_of, given), *new], new, grid))], default=()), (), ()
    lacking = missing_edges([*map(corners_of, given), *new], new, Grid(grid.levels, grid.corners))

    def lowest(corners: Iterable[Vertex]) -> list[Vertex]:
        return sorted(corner for corner in corners if corner > known[0] and corner not in known)[:1]

    led_to = lowest(end for start, end in lacking if start == known[-1])
    closing = lowest(start for start, end in lacking if end == known[0])
    onward = lowest(start for start, end in lacking if [end] == closing)
    if len(known) == 1:
        return min([*copies, *led_to], default=()), (), ()
    faces = [*map(corners_of, given), *new]
    if len(known) == grid.corners - 1:
        candidates = [corner for corner in [*closing, *led_to] if fits(known, corner, None, faces, grid)]
    else:
        candidates = [corner for corner in [*onward, *led_to] if fits(known, corner, (*closing, None)[0], faces, grid)]
        candidates += [corner for corner in closing if fits(known, corner, None, faces, grid)]
    if len(known) == 3 and (known[-1], known[0]) in lacking and fits_three(known, faces):
        candidates = [(grid.levels,) * 3]
    waiting = (copies or candidates or [()])[0]
    quad = [*known, *closing] if len(known) == 2 else known  # with three of its corners, in order; of two the fourth may be known
    if grid.corners == 3 or len(quad) < 3:
        return waiting, (), ()
    a, b, c_or_d = np.array(quad)
    corner = tuple((b + c_or_d - a if len(known) == 2 else a + c_or_d - b).tolist())
    on_grid = min(corner) >= 0 and max(corner) < grid.levels
    fitting = fits(known, corner, (*closing, None)[0], faces, grid)
    return waiting, corner if on_grid and fitting else (), closing[0] if len(known) == 2 else ()


def edges_of_all(faces: list[list[Vertex]]) -> set[tuple[Vertex, Vertex]]:
    return {edge for face in faces for edge in edges_of(face)}


def fits(known: list[Vertex], corner: Vertex, then: Vertex | None, faces: list[list[Vertex]], grid: Grid) -> bool:
    """Whether the corner behind the known ones, and `then` behind a third, would repeat no edge and no face, and come in order."""
    edges, sets = edges_of_all(faces), [*map(set, faces)]
    if corner in known or (known and (known[-1], corner) in edges):
        return False
    if len(known) == grid.corners - 1:
        first, second = known[:2]
        in_order = corner > second or ((first, corner) in edges and (corner, first) not in edges and corner > first)
        return in_order and (corner, first) not in edges and {*known, corner} not in sets
    return len(known) < 2 or not then or not ({(corner, then), (then, known[0])} & edges or {*known, corner, then} in sets)


def fits_three(known: list[Vertex], faces: list[list[Vertex]]) -> bool:
    """Whether three corners of four may be a face, as far as edges and faces are concerned."""
    first, second, third = known
    edges = edges_of_all(faces)
    closes = (third, first) not in edges and (third > second or ((first, third) in edges and third > first))
    return closes and {*known} not in map(set, faces)


def next_corner(codes: list[int], grid: Grid) -> Vertex:
    return tuple(grid.levels if code == ABSENT else code for code in codes[:3])


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(0, 4), st.sampled_from([3, 4]), st.booleans())
def test_hints_are_the_lowest_due_and_what_makes_a_parallelogram(
    seed: int, levels: int, given_faces: int, corners: int, close_given: bool
) -> None:
    rng, grid, before = np.random.default_rng(seed), Grid(levels, corners, close_given), []
    grammar, part = a_grammar(rng, grid, given_faces)
    while len(before) < 12 and len(choices := np.flatnonzero(grammar.allowed()[: grammar.end])):
        if len(grammar.face) % 3 == 0:
            hints = grammar.waiting(), grammar.expected(), grammar.next_waiting()
            assert hints == plainly_told(grammar.face, before, part.tolist(), grid)
        grammar.push(int(rng.choice(choices[: 1 + rng.integers(3)])))
        if not grammar.face:
            before.append(grammar.previous)


def plainly_mirrored(face: list[int], before: list[list[int]], given: list[list[int]], grid: Grid) -> Vertex:
    """The next corner of the first of the mirror images of all faces that begins like `face`, lies behind the last and may still come."""
    known, faces = corners_of(face), [*map(corners_of, given), *(corners_of(old) for old in before if old not in given)]
    taken, top = {edge for one in faces for edge in edges_of(one)}, grid.levels - 1
    mirrored = [[(z, *((top - y, x) if deep else (y, top - x))) for z, y, x in one] for one in faces for deep in (False, True)]
    turned = [[one[(first - step) % len(one)] for step in range(len(one))] for one in mirrored for first in [one.index(min(one))]]
    behind = corners_of(before[-1])[:2] if before else []
    images = sorted(one for one in turned if tuple(one[:2]) not in taken and one[:2] > behind and one[: len(known)] == known)
    if not images:
        return ()
    if len(known) == len(images[0]):
        return (grid.levels,) * 3 if fits_three(known, faces) else ()
    corner, *then = images[0][len(known) :]
    return corner if fits(known, corner, (*then, None)[0], faces, grid) else ()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(0, 4), st.sampled_from([3, 4]))
def test_the_next_mirror_image_is_hinted_at(seed: int, levels: int, given_faces: int, corners: int) -> None:
    rng, grid, before = np.random.default_rng(seed), Grid(levels, corners), []
    grammar, part = a_grammar(rng, grid, given_faces)
    while len(before) < 12 and len(choices := np.flatnonzero(grammar.allowed()[: grammar.end])):
        at = len(grammar.face) % 3
        if at == 0:
            hint = grammar.mirrored()
            assert hint == plainly_mirrored(grammar.face, before, part.tolist(), grid)
        follow = hint and hint[at] in choices and rng.random() < 0.8
        grammar.push(hint[at] if follow else int(rng.choice(choices[: 1 + rng.integers(3)])))
        if not grammar.face:
            before.append(grammar.previous)


@pytest.mark.parametrize("family", ["table", "mushroom", "windmill", "key"])
def test_most_corners_are_hinted_at(family: str) -> None:
    faces = MeshDiscretizer().encode((mesh := generate(family, 3).mesh), mesh.frame())
    codes = torch.from_numpy(faces)[None]
    hints = corner_hints(MeshDiscretizer(), codes, None)[0, :-1]
    right = (hints == to_symbols(codes, 3, LEVELS)[0][:, :, None]).all(-1).any(2).float().mean(0)
    assert min(right[0], right[1], right[3]) > 0.5
    assert right[2] > 0.5 or family == "mushroom"  # whose faces are no parallelograms
    assert (hints[:, :, 3] == to_symbols(codes, 3, LEVELS)[0]).all(-1).all(1).float().mean() > (0.1 if family == "windmill" else 0.4)
    part = corner_hints(MeshDiscretizer(), codes, torch.tensor([5]))[0]
    torch.testing.assert_close(part[:5], corner_hints(MeshDiscretizer(), codes[:, :5], None)[0, :5])
    assert (part[5] != corner_hints(MeshDiscretizer(), codes, None)[0, 5]).any(), "all of the part is known from the start"


def test_what_stays_open_in_a_mesh_from_elsewhere_does_not_wait_for_ever() -> None:
    grammar = CoordinateGrammar(9)
    grammar.push_all([[0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0], [5, 0, 0, 5, 0, 1, 5, 1, 1, 5, 1, 0]])
    assert grammar.waiting() == (5, 0, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 9), st.sampled_from([3, 4]))
def test_something_below_what_is_open_can_be_asked_for(seed: int, levels: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    grammar = CoordinateGrammar(levels, None, corners)
    drawn_faces(grammar, rng, 3)
    assume(grammar.missing and not grammar.face)
    lowest = min(grammar.missing)
    grammar.close_later()
    if faces := drawn_faces(grammar, rng, 1):
        assert tuple(faces[0][:3]) < lowest
        assert grammar.high == min(grammar.missing)  # of one face alone


def test_where_nothing_is_open_nothing_need_be_below_it() -> None:
    grammar = CoordinateGrammar(5)
    before = grammar.allowed()
    grammar.close_later()
    np.testing.assert_array_equal(grammar.allowed(), before)


def test_a_grammar_is_stuck_where_its_face_begins_or_at_what_waits() -> None:
    grammar = CoordinateGrammar(9)
    assert grammar.stuck() == ()
    grammar.push_all([[0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0]])
    assert grammar.stuck() == (0, 0, 0)
    for code in (0, 0, 0, 0, 1):
        grammar.push(code)
    assert grammar.stuck() == (0, 0, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 9), st.integers(0, 3), st.sampled_from([3, 4]))
def test_a_mesh_that_has_ended_is_closed_whatever_was_drawn(seed: int, levels: int, given_faces: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    part = some_part(rng, levels, corners, given_faces)
    for _ in range(40):
        grammar, faces = CoordinateGrammar(levels, part, corners), []
        while len(faces) < 60 and not grammar.ended:
            allowed = np.flatnonzero(grammar.allowed())
            if not len(allowed):
                break
            grammar.push(grammar.end if grammar.end in allowed else int(rng.choice(allowed)))
            if not grammar.face and not grammar.ended:
                faces.append(grammar.previous)
        if grammar.ended:
            break
    else:
        return
    assert all(face in faces for face in part.tolist())
    assert faces == sorted(faces, key=lambda face: corners_of(face)[:2])
    edges = [edge for face in faces for edge in edges_of(corners_of(face))]
    assert len(edges) == len(set(edges)) > 0
    assert set(edges) == {(end, start) for start, end in edges}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 9), st.integers(0, 3), st.sampled_from([3, 4]))
def test_nothing_new_leaves_a_box_and_the_mesh_ends_when_it_is_full(seed: int, levels: int, given_faces: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    part = some_part(rng, levels, corners, given_faces)
    known = [corner for face in part.tolist() for corner in corners_of(face)]
    ends = np.sort(np.concatenate([rng.integers(levels, size=(2, 3)), np.array(known, int).reshape(-1, 3)]), 0)[[0, -1]]
    grammar = CoordinateGrammar(levels, part, corners)
    grammar.fill(*map(tuple, ends.tolist()))
    faces: list[list[int]] = []
    while len(faces) < 60 and not grammar.ended and len(allowed := np.flatnonzero(grammar.allowed())):
        grammar.push(grammar.end if grammar.end in allowed else int(rng.choice(allowed)))
        if not grammar.face and not grammar.ended:
            faces.append(grammar.previous)
    made = np.array(known + [corner for face in faces for corner in corners_of(face)], int).reshape(-1, 3)
    assert (made >= ends[0]).all()
    assert (made <= ends[1]).all()
    if faces and not known:
        assert made[:, 0].min() <= ends[0][0] + 1
    if grammar.ended:
        assert np.abs(np.stack([made.min(0), made.max(0)]) - ends).max() <= 1


@pytest.mark.parametrize("side", range(6))
def test_a_mesh_does_not_end_a_step_further_from_a_side_than_it_may(side: int) -> None:
    box = np.array([[8, 8, 8], [20, 20, 20]])
    cube = [[8, 8, 8], [8, 8, 20], [8, 20, 20], [8, 20, 8], [20, 8, 8], [20, 8, 20], [20, 20, 20], [20, 20, 8]]
    quads = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    faces = [list(np.roll([cube[i] for i in quad], -quad.index(min(quad)), 0).ravel()) for quad in quads]
    for further, may_end in ((0, True), (1, True), (2, False)):
        ends = box.copy()
        ends[side // 3, side % 3] += further * (-1 if side < 3 else 1)
        grammar = CoordinateGrammar(30, np.array(sorted(faces)))
        grammar.fill(*map(tuple, ends.tolist()))
        for face in sorted(faces):
            if side == 0 and not may_end:  # the floor must be reached first of all
                assert not grammar.allowed()[8]
            grammar.push_all([face])
        assert grammar.allowed()[grammar.end] == may_end


@pytest.mark.parametrize("family", ["table", "mushroom", "windmill", "key"])
def test_a_closed_mesh_is_allowed_with_any_part_of_it_given(family: str) -> None:
    faces = MeshDiscretizer().encode((mesh := generate(family, 3).mesh), mesh.frame())
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.8):
        kept = rng.random(len(faces)) < share
        grammar = MeshDiscretizer().grammar(faces[kept])
        every = np.array([corner for face in faces.tolist() for corner in corners_of(face)])
        grammar.fill(tuple(every.min(0).tolist()), tuple(every.max(0).tolist()))
        for code in faces.ravel().tolist():
            symbol = grammar.absent if code == ABSENT else code
            assert grammar.allowed()[symbol]
            grammar.push(symbol)
        assert grammar.allowed()[grammar.end]


def test_the_other_half_of_a_quad_split_in_two_is_no_repeat() -> None:
    quad = [0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 0, 0]
    grammar = CoordinateGrammar(3, np.array([quad]))
    for code in quad[:3] + quad[9:] + quad[6:9]:  # from the other side, for along its own edges there is one face already
        grammar.push(code)
    assert grammar.allowed()[grammar.absent]


@pytest.mark.parametrize("begun", [False, True])
def test_a_mesh_of_learned_codes_ends_only_when_it_has_a_face(begun: bool) -> None:
    grammar = CodeGrammar(5, 2, np.zeros((int(begun), 8), np.int64))
    assert grammar.allowed()[grammar.end] == begun
