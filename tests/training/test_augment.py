"""Meshes and captions that vary: what may change does, what may not does not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from core.mesh import Mesh, quantise
from training.data.augment import Augmentation, proportion, size_phrase, vary_caption, vary_mesh
from training.data.parquet import grid_of, mesh_of
from training.procedural import FAMILIES, generate

EXACT = Augmentation(stretch=0, jitter=0, triangles=0)
WEDGE = Mesh(  # no two sides of it are alike
    np.array([[0, 0, 0], [4, 0, 0], [4, 2, 0], [0, 2, 0], [0, 0, 1], [0, 2, 1], [1, 0, 3]]),
    np.array([[0, 3, 2, 1], [0, 4, 5, 3], [0, 1, 6, 4], [1, 2, 6, -1], [2, 3, 5, 6], [4, 6, 5, -1]]),
)


def volume(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.triangles()].astype(float).transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def varied(mesh: Mesh, how: Augmentation, times: int, oriented: bool = False, captions: tuple[str, ...] = ()) -> Iterator[Mesh]:
    grid = grid_of(mesh.canonical())
    for seed in range(times):
        yield mesh_of(vary_mesh(grid, captions, oriented, how, np.random.default_rng(seed)))


def moved(mesh: Mesh, turned: bool, x: int, y: int) -> bytes:
    """What a canonical mesh looks like turned by a quarter and mirrored, by way of the world."""
    vertices = mesh.vertices[:, [1, 0, 2]] if turned else mesh.vertices
    faces = mesh.faces
    if x * y * (-1 if turned else 1) < 0:
        faces = np.array([[*face[face >= 0][::-1], *face[face < 0]] for face in faces])
    return grid_of(Mesh(vertices * [x, y, 1], faces).canonical()).tobytes()


@pytest.mark.parametrize("family", list(FAMILIES)[:12])
def test_a_varied_mesh_is_canonical_and_keeps_its_faces_closed_and_outward(family: str) -> None:
    mesh = generate(family, 3).mesh.canonical()
    before = mesh.report()
    for made in varied(mesh, Augmentation(triangles=0), 8):
        np.testing.assert_array_equal(grid_of(made), grid_of(made.canonical()))
        assert made.report() == before
        assert volume(made) > 0


def test_turns_and_mirrors_are_the_eight_of_the_box_and_no_other() -> None:
    expected = {moved(WEDGE.canonical(), turned, x, y) for turned in (False, True) for x in (1, -1) for y in (1, -1)}
    assert len(expected) == 8
    assert {grid_of(made).tobytes() for made in varied(WEDGE, EXACT, 80)} == expected


def test_an_object_with_a_front_is_only_mirrored_left_to_right() -> None:
    expected = {moved(WEDGE.canonical(), False, x, 1) for x in (1, -1)}
    assert {grid_of(made).tobytes() for made in varied(WEDGE, EXACT, 40, oriented=True)} == expected


def test_what_is_said_to_be_left_or_right_stays_where_it_is() -> None:
    made = {grid_of(mesh).tobytes() for mesh in varied(WEDGE, EXACT, 40, captions=("a road turning left",))}
    assert made == {grid_of(WEDGE.canonical()).tobytes()}


def test_proportions_change_by_at_most_the_stretch() -> None:
    high = [np.ptp(made.vertices, axis=0) for made in varied(WEDGE, Augmentation(stretch=0.2, jitter=0, turn=False), 60)]
    ratios = np.array([size[2] / size[0] for size in high]) / (3 / 4)
    assert 0.8 / 1.2 - 0.02 < ratios.min() < 0.85
    assert 1.15 < ratios.max() < 1.2 / 0.8 + 0.02


def test_what_is_said_to_be_round_or_a_ball_keeps_its_proportions() -> None:
    how = Augmentation(stretch=0.2, jitter=0, turn=False)
    for word, axes in (("round", [0, 1]), ("ball", [0, 1, 2])):
        for made in varied(WEDGE, how, 20, captions=(f"a {word} thing",)):
            size = np.ptp(made.vertices, axis=0)
            assert size[axes] / size[0] == pytest.approx((np.array([4, 2, 3]) / 4)[axes], abs=0.01)


def test_jitter_moves_corners_by_a_step_at_most_and_leaves_flat_things_flat() -> None:
    mesh = generate("table", 4).mesh.canonical()
    before = quantise(mesh.vertices)
    different = False
    for made in varied(mesh, Augmentation(stretch=0.01, jitter=1, turn=False, triangles=0), 20):
        after = quantise(made.vertices)
        assert len(after) == len(before)
        for axis in range(3):
            assert len(np.unique(after[:, axis])) <= len(np.unique(before[:, axis]))
        different |= bool((after != before).any())
    assert different


def test_quads_are_cut_in_the_share_asked_for() -> None:
    made = list(varied(WEDGE, Augmentation(stretch=0, jitter=0, turn=False, triangles=0.5), 200))
    cut = [mesh for mesh in made if len(mesh.faces) != 6]
    assert 70 < len(cut) < 130
    assert {len(mesh.faces) for mesh in cut} == {10}
    assert all(volume(mesh) == pytest.approx(volume(WEDGE.canonical()), rel=0.2) for mesh in cut)


@pytest.mark.parametrize(("most", "faces"), [(6, 10), (5, 6)])
def test_longer_meshes_are_not_cut(most: int, faces: int) -> None:
    how = Augmentation(stretch=0, jitter=0, turn=False, triangles=1, most_cut=most)
    assert {len(mesh.faces) for mesh in varied(WEDGE, how, 5)} == {faces}


def test_a_shifted_mesh_stays_in_the_box_and_keeps_its_shape() -> None:
    places = set()
    for made in varied(WEDGE, Augmentation(stretch=0, jitter=0, turn=False, triangles=0, shift=1), 30):
        low, high = made.vertices.min(0), made.vertices.max(0)
        assert (low >= [-0.5, -0.5, 0]).all()
        assert (high <= [0.5, 0.5, 1]).all()
        assert 0.49 <= (high - low).max() <= 1
        assert (high - low) / (high - low).max() == pytest.approx([1, 0.5, 0.75], abs=0.03)
        places.add(tuple(low.tolist()))
    assert len(places) == 30


def test_a_thin_mesh_that_would_lose_corners_is_not_stretched() -> None:
    needles = Mesh(
        np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1 / 128, 0, 1], [0, 1 / 128, 1]]),
        np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [1, 2, 5]]),
    )
    for made in varied(needles, Augmentation(stretch=0.4, turn=False, triangles=0), 40):
        assert len(made.faces) == 4
        assert not made.is_degenerate().any()


# ---- captions


def said(caption: str, metres: float = 0.0, chance: float = 1.0, mesh: Mesh = WEDGE) -> set[str]:
    grid = grid_of(mesh.canonical())
    return {vary_caption(caption, grid, metres, chance, np.random.default_rng(seed)) for seed in range(60)}


def test_captions_keep_their_words_at_chance_zero() -> None:
    assert said("a small red sofa with four legs", chance=0) == {"a small red sofa with four legs"}


def test_captions_lose_details_and_gain_other_words() -> None:
    assert said("an old orange sofa with arms") == {"a couch", "a settee"}
    found = said("a small red sofa with four legs", chance=0.4)
    assert {"a sofa", "a couch with four legs", "a tiny red sofa", "a small red sofa with 4 legs"} <= found


def test_a_caption_is_never_emptied() -> None:
    assert said("a cube", chance=1) == {"a cube"}
    assert said("red", chance=1) == {"red"}
    assert said("") == {""}


@pytest.mark.parametrize(("size", "word"), [([1, 1, 2.5], "tall"), ([2, 2, 0.2], "flat"), ([3, 1, 1], "long"), ([1, 1, 1], "")])
def test_the_word_for_a_proportion(size: list[float], word: str) -> None:
    grid = grid_of(Mesh(WEDGE.vertices / [4, 2, 3] * size, WEDGE.faces).canonical())
    assert proportion(grid) == word
    assert vary_caption("a box", grid, 0.0, 1.0, np.random.default_rng(0)) == ("a box" if not word else f"a {word} box")


def test_sizes_are_those_of_the_mesh() -> None:
    grid = grid_of(WEDGE.canonical())
    assert {size_phrase(grid, 2.0, np.random.default_rng(seed)) for seed in range(30)} == {"2.0 m wide", "1.0 m deep", "1.5 m tall"}
    assert {size_phrase(grid, 0.8, np.random.default_rng(seed)) for seed in range(30)} == {"80 cm wide", "40 cm deep", "60 cm tall"}
    assert {size_phrase(grid, 0.008, np.random.default_rng(seed)) for seed in range(30)} == {"8 mm wide", "4 mm deep", "6 mm tall"}
