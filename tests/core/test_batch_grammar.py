"""Grammars as tensors against the grammars they are meant to be, on prefixes drawn at random."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch

from core.batch_grammar import BatchCoordinateGrammar, BatchGrammar
from core.discretizer import MeshDiscretizer
from core.grammar import ABSENT, CodeGrammar, CoordinateGrammar
from core.hints import hints
from core.mesh import LEVELS, IntArray
from training.procedural import generate

ROWS = 24
CPU = torch.device("cpu")


def drawn(grammar: CodeGrammar, rng: np.random.Generator, low: bool = False) -> int:
    """A code that a grammar allows, often a low one if wished, for they lead into ties; the end only where there is nothing else."""
    choices = np.flatnonzero(grammar.allowed()[: grammar.end])
    if not len(choices):
        return grammar.end
    return int(rng.choice(choices[: 1 + rng.integers(3)] if low else choices))


def some_faces(grammar: CodeGrammar, rng: np.random.Generator, count: int, low: bool = False) -> IntArray:
    faces: list[list[int]] = []
    while len(faces) < count and (code := drawn(grammar, rng, low)) != grammar.end:
        grammar.push(code)
        if not grammar.face:
            faces.append(grammar.previous)
    return np.array(faces, np.int64).reshape(-1, grammar.vertices_per_face * grammar.codes_per_vertex)


def at_random(grammars: Sequence[CodeGrammar], rng: np.random.Generator) -> Callable[[int], int]:
    """Draws the next code of a row: of every other row often a low one, of every third often that of the next face given."""

    def draw(row: int) -> int:
        grammar = grammars[row]
        ahead = getattr(grammar, "ahead", None)
        if row % 3 == 0 and ahead and rng.random() < 0.9:
            code = ahead[0][len(grammar.face)]
            copy = grammar.absent if code == ABSENT else code
            if grammar.allowed()[copy]:
                return int(copy)
        return drawn(grammar, rng, low=row % 2 == 0)

    return draw


def having(part: IntArray, corners: int, levels: int, close_given: bool) -> CoordinateGrammar:
    """The grammar of a mesh with these faces. close_given: whether what they leave open is to be closed."""
    grammar = CoordinateGrammar(levels, part, corners)
    if not close_given:
        grammar.leave_open()
    return grammar


def compared(grammars: Sequence[CodeGrammar], batch: BatchGrammar, faces: int, given: int, draw: Callable[[int], int]) -> int:
    """Draw so many faces in all rows at once, hold every mask and all hints against the row's own, and count the masks."""
    batch.load(grammars)
    live, count = set(range(len(grammars))), 0
    for face in range(faces):
        for vertex in range(batch.v):
            for level in range(batch.k):
                mask = batch.allowed(vertex, level, given + face)
                mask = mask.expand(ROWS, -1).numpy().copy()
                symbols = torch.zeros(ROWS, dtype=torch.long)
                if level == 0:
                    told = batch.hints(vertex)
                    assert told[sorted(live)].tolist() == [list(map(list, hints(grammars[row]))) for row in sorted(live)]
                for row in sorted(live):
                    np.testing.assert_array_equal(mask[row], grammars[row].allowed())
                    count += 1
                    symbols[row] = draw(row)
                    if symbols[row] == batch.end:
                        live.discard(row)
                    else:
                        grammars[row].push(int(symbols[row]))
                batch.push(vertex, level, symbols)
    return count


@pytest.mark.parametrize("corners", [3, 4])
@pytest.mark.parametrize("levels", [2, 3, 5, 17])
@pytest.mark.parametrize(("given", "close_given"), [(0, True), (1, True), (6, True), (1, False), (6, False)])
def test_coordinates_allow_what_the_grammar_of_each_row_allows(corners: int, levels: int, given: int, close_given: bool) -> None:
    rng = np.random.default_rng((corners, levels, given))
    meshes = [some_faces(CoordinateGrammar(levels, None, corners), rng, 2 * given) for _ in range(ROWS)]
    parts = [mesh[rng.random(len(mesh)) < 0.5][:given] for mesh in meshes]
    grammars = [having(part, corners, levels, close_given) for part in parts]
    for grammar in grammars[1::2]:
        grammar.close_later()
    for grammar in grammars[::3]:
        low, high = np.sort(rng.integers(levels, size=(2, 3)), 0).tolist()
        grammar.fill(tuple(map(min, low, grammar.span_low)), tuple(map(max, high, grammar.span_high)))
    for grammar in grammars[::9]:
        grammar.leave_open()
    batch = BatchCoordinateGrammar(ROWS, given + 9, levels, corners, CPU)
    assert compared(grammars, batch, 9, given, at_random(grammars, rng)) > 9 * 3 * corners  # some row lived on to the end


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("close_given", [True, False])
def test_closed_meshes_are_allowed_whole_with_any_part_of_them_given(share: float, close_given: bool) -> None:
    rng = np.random.default_rng(0)
    meshes = [closed_mesh(family) for family in ("table", "mushroom", "windmill", "key", "sword")]
    kept = [rng.random(len(mesh)) < share for mesh in meshes]
    parts = [mesh[k] for mesh, k in zip(meshes, kept, strict=True)]
    grammars = [having(part, 4, LEVELS, close_given) for part in parts]
    symbols = [followed(grammar, faces) for grammar, faces in zip(grammars, meshes, strict=True)]
    given, new = max(map(len, parts)), max(map(len, meshes)) + 1
    batch = BatchCoordinateGrammar(ROWS, given + new, LEVELS, 4, CPU)
    assert compared(grammars, batch, new, given, lambda row: next(symbols[row])) == sum(faces.size + 1 for faces in meshes)


def closed_mesh(family: str) -> IntArray:
    mesh = generate(family, 3).mesh
    return MeshDiscretizer().encode(mesh, mesh.frame())


def followed(grammar: CodeGrammar, faces: IntArray) -> Iterator[int]:
    """The symbols of faces and the end, each of which the grammar must allow."""
    for symbol in [*np.where(faces == ABSENT, grammar.absent, faces).ravel().tolist(), grammar.end]:
        assert grammar.allowed()[symbol]
        yield symbol


def test_a_mesh_ends_only_when_it_is_closed() -> None:
    faces = closed_mesh("chest")
    grammars = [having(faces, 4, LEVELS, True), *(having(faces[:-1], 4, LEVELS, close_given) for close_given in (True, False))]
    for grammar in grammars:
        for given in list(grammar.ahead):
            for code in given:
                grammar.push(grammar.absent if code == ABSENT else code)
    batch = BatchCoordinateGrammar(3, len(faces) + 1, LEVELS, 4, CPU)
    batch.load(grammars)
    assert batch.allowed(0, 0, len(faces))[:, batch.end].tolist() == [True, False, True]
    last = torch.from_numpy(faces[-1])[:, None].repeat(1, 3)
    last[8, 2] -= 1  # elsewhere
    for at, symbols in enumerate(last):
        batch.allowed(*divmod(at, 3), len(faces))
        batch.push(*divmod(at, 3), symbols)
    assert batch.allowed(0, 0, len(faces) + 1)[1:, batch.end].tolist() == [True, False]


@pytest.mark.parametrize("corners", [3, 4])
@pytest.mark.parametrize("per_vertex", [1, 2, 3])
@pytest.mark.parametrize("begun", [False, True])
def test_codes_allow_what_the_grammar_of_each_row_allows(corners: int, per_vertex: int, begun: bool) -> None:
    part = np.zeros((int(begun), corners * per_vertex), np.int64)
    grammars = [CodeGrammar(7, per_vertex, part, corners) for _ in range(ROWS)]
    batch = BatchGrammar(ROWS, 5, 7, per_vertex, corners, CPU)
    assert compared(grammars, batch, 5, 0, at_random(grammars, np.random.default_rng(0))) == ROWS * 5 * corners * per_vertex


def test_a_batch_goes_on_where_grammars_have_come_to_and_forgets_the_meshes_before() -> None:
    rng = np.random.default_rng(11)
    batch = BatchCoordinateGrammar(ROWS, 20, 17, 4, CPU)
    before = [CoordinateGrammar(17) for _ in range(ROWS)]
    compared(before, batch, 6, 0, at_random(before, rng))
    fresh = (CoordinateGrammar(17) for _ in itertools.count())
    halfway = list(itertools.islice((grammar for grammar in fresh if len(some_faces(grammar, rng, 2)) == 2), ROWS))
    assert compared(halfway, batch, 5, 2, at_random(halfway, rng)) > 60


def test_all_faces_of_a_dense_mesh_are_kept_apart_whatever_the_order_of_their_corners() -> None:
    """On a grid of eight points a few dozen faces are all that there are, so that most of what is forbidden is a repeat."""
    rng = np.random.default_rng(4)
    grammars = [CoordinateGrammar(2, some_faces(CoordinateGrammar(2), rng, 12)) for _ in range(ROWS)]
    batch = BatchCoordinateGrammar(ROWS, 32, 2, 4, CPU)
    assert compared(grammars, batch, 20, 12, at_random(grammars, rng)) > 240


def test_more_faces_than_there_is_room_for_are_refused() -> None:
    given = some_faces(CoordinateGrammar(5), np.random.default_rng(5), 4, low=True)
    batch = BatchCoordinateGrammar(ROWS, 3, 5, 4, CPU)
    with pytest.raises(ValueError, match="know 4 faces and there is room for 3"):
        batch.load([CoordinateGrammar(5, given)])
