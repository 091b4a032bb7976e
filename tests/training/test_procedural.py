"""The procedural objects: sound meshes, the same everywhere, and captions that tell the truth about them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import MeshGPTError
from core.mesh import Mesh
from training.procedural import FAMILIES, Sample, generate
from training.procedural.captions import NUMBERS
from training.procedural.gallery import CELL, draw_gallery, picture
from training.procedural.parts import box, lathe, prism, to_mesh

NAMES = list(FAMILIES)
SEEDS = st.integers(0, 2**31 - 1)
NOUNS = {  # what each family may be called, written down independently of the families
    "house": "house|cottage|home|building",
    "lamp": "lamp",
    "bed": "bed",
    "tree": "tree|pine|conifer",
    "rock": "rock|rocks|boulder|stone",
    "mushroom": "mushroom|mushrooms|toadstool",
    "chair": "chair|armchair",
    "stool": "stool|footstool",
    "bench": "bench",
    "sofa": "sofa|couch|settee",
    "shelf": "shelf|bookcase|bookshelf|unit",
    "cabinet": "cabinet|nightstand|table|drawers|dresser|cupboard|sideboard|wardrobe|closet",
    "barrel": "barrel|cask|keg",
    "table": "table",
    "desk": "desk|table",
    "car": "car|sedan|hatchback|truck|pickup|van|minivan",
}
SYMMETRIC = ("chair", "stool", "bench", "sofa", "table", "bed", "shelf", "barrel", "car", "lamp")


@cache
def samples(family: str) -> list[Sample]:
    return [generate(family, seed) for seed in range(120)]


def feet(mesh: Mesh) -> int:
    """How many separate parts touch the floor, counted on the surface itself."""
    parent = list(range(len(mesh.vertices)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for start, end in mesh.edges().tolist():
        parent[root(start)] = root(end)
    low = np.flatnonzero(mesh.vertices[:, 2] < mesh.vertices[:, 2].min() + 1e-6)
    return len({root(i) for i in low.tolist()})


def volume(mesh: Mesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles()].astype(np.float64), 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def test_all_the_families_are_known_here() -> None:
    assert set(NAMES) == set(NOUNS)


@pytest.mark.parametrize("family", NAMES)
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_every_mesh_is_sound_on_the_grid(family: str, seed: int) -> None:
    sample = generate(family, seed)
    mesh = sample.mesh.canonical()
    report = mesh.report()
    assert 8 <= report.faces <= 128
    assert report.faces == len(sample.mesh.faces)
    assert (report.degenerate, report.duplicate, report.boundary_edges, report.non_manifold_edges) == (0, 0, 0, 0)
    assert report.consistent_winding
    assert volume(mesh) > 0


@pytest.mark.parametrize("family", NAMES)
def test_a_sample_is_determined_by_its_family_and_seed(family: str) -> None:
    first, again = generate(family, 7), generate(family, 7)
    assert np.array_equal(first.mesh.vertices, again.mesh.vertices)
    assert np.array_equal(first.mesh.faces, again.mesh.faces)
    assert (first.captions, first.parameters, first.family) == (again.captions, again.parameters, family)


@pytest.mark.parametrize("family", NAMES)
def test_different_seeds_give_different_meshes(family: str) -> None:
    distinct = {(mesh.vertices.tobytes(), mesh.faces.tobytes()) for mesh in (sample.mesh.canonical() for sample in samples(family))}
    assert len(distinct) > 0.95 * len(samples(family))


@pytest.mark.parametrize("family", NAMES)
def test_captions_name_the_object_and_begin_with_its_plain_name(family: str) -> None:
    for sample in samples(family):
        assert len(sample.captions) == 4
        assert sample.captions[0] == f"a {family}"
        for caption in sample.captions:
            assert re.search(rf"\b({NOUNS[family]})\b", caption), caption
            assert caption == " ".join(caption.split())


@pytest.mark.parametrize("family", NAMES)
def test_articles_fit_the_word_that_follows(family: str) -> None:
    for caption in (caption for sample in samples(family) for caption in sample.captions):
        assert not re.search(r"\ba [aeio]|\ban [^aeio]", caption), caption


@pytest.mark.parametrize("family", NAMES)
def test_every_family_is_described_in_many_ways(family: str) -> None:
    captions = {caption for sample in samples(family) for caption in sample.captions}
    assert len(captions) > 60


@pytest.mark.parametrize("family", SYMMETRIC)
def test_what_is_symmetric_in_life_is_symmetric_on_the_grid(family: str) -> None:
    for sample in samples(family):
        mesh = sample.mesh.canonical()
        mirrored = Mesh(mesh.vertices * np.array([-1, 1, 1], np.float32), mesh.faces).canonical()
        assert np.array_equal(mesh.vertices, mirrored.vertices), sample.parameters


@pytest.mark.parametrize(
    ("family", "noun"),
    [
        *((family, "legs") for family in ("chair", "stool", "bench", "table", "desk", "lamp", "cabinet")),
        ("chair", "slats"),
        ("cabinet", "drawers"),
        ("cabinet", "doors"),
        ("desk", "drawers"),
        ("shelf", "shelves"),
        ("sofa", "seats"),
        ("bed", "pillows"),
        ("barrel", "hoops"),
        ("house", "windows"),
        ("tree", "tiers"),
        ("tree", "crowns"),
    ],
)
def test_counts_in_captions_are_the_counts_built(family: str, noun: str) -> None:
    singular = {"shelves": "shelf"}.get(noun, noun[:-1])
    said = 0
    for sample in samples(family):
        for caption in sample.captions:
            for number in re.findall(rf"\b({'|'.join(NUMBERS[1:])}) (?:\w+ )?(?:{noun}|{singular})\b", caption):
                if "central leg" not in caption:
                    assert NUMBERS.index(number) == sample.parameters[noun], (caption, sample.parameters)
                    said += 1
    assert said >= 5


@pytest.mark.parametrize("family", ["stool", "table", "chair", "bed"])
def test_the_legs_that_are_counted_stand_on_the_floor(family: str) -> None:
    for sample in samples(family):
        pedestal = sample.parameters["legs"] == 0
        assert feet(sample.mesh) == (1 if pedestal else sample.parameters["legs"]), sample.parameters


@pytest.mark.parametrize("family", ["table", "stool"])
def test_only_what_has_a_round_top_is_called_round(family: str) -> None:
    called = set()
    for sample in samples(family):
        vertices = sample.mesh.canonical().vertices
        corners = int((vertices[:, 2] == vertices[:, 2].max()).sum())
        for caption in sample.captions:
            name = caption.split(" with ")[0]
            if "round" in name.split():
                assert corners >= 8, caption
                called.add("round")
            if "square" in name.split() or "rectangular" in name.split():
                assert corners == 4, caption
                called.add("angular")
    assert called == {"round", "angular"}


def test_tall_chairs_are_taller_than_low_ones() -> None:
    heights: dict[str, list[float]] = {"tall": [], "low": []}
    for sample in samples("chair"):
        size = np.ptp(sample.mesh.vertices, 0)
        for word, found in heights.items():
            if any(re.search(rf"\b{word}\b(?! back| poly|-poly)", caption) for caption in sample.captions):
                found.append(float(size[2] / size[0]))
    assert max(heights["low"]) < min(heights["tall"])


def test_beds_have_their_head_and_chairs_their_back_behind() -> None:
    for sample in samples("chair"):
        highest = sample.mesh.vertices[sample.mesh.vertices[:, 2].argmax()]
        assert highest[1] > 0
    for sample in samples("bed"):
        if sample.parameters["headboard"] != "none":
            assert sample.mesh.vertices[sample.mesh.vertices[:, 2].argmax()][1] > 0


def test_an_unknown_family_says_which_there_are() -> None:
    with pytest.raises(MeshGPTError, match=r"use one of .*chair") as caught:
        generate("dragon", 0)
    assert caught.value.code == "bad_request"


@given(sides=st.integers(3, 16))
def test_a_prism_is_closed_and_holds_the_volume_of_its_polygon(sides: int) -> None:
    mesh = to_mesh([prism(sides, 2.0, 3.0)])
    assert mesh.report().boundary_edges == 0
    assert mesh.report().consistent_winding
    assert volume(mesh) == pytest.approx(3.0 * sides / 2 * 4.0 * np.sin(2 * np.pi / sides), rel=1e-5)


@given(sides=st.integers(3, 16))
def test_a_cone_has_one_triangle_a_side(sides: int) -> None:
    mesh = to_mesh([prism(sides, 1.0, 1.0, top=0.0)])
    assert len(mesh.vertices) == sides + 1
    assert mesh.report().boundary_edges == 0
    assert volume(mesh) == pytest.approx(sides / 6 * np.sin(2 * np.pi / sides), rel=1e-5)


def test_a_profile_that_turns_back_hollows_the_shape_out() -> None:
    full, hollow = to_mesh([lathe(8, (1, 0), (1, 1))]), to_mesh([lathe(8, (1, 0), (1, 1), (0.5, 1), (0.5, 0.5))])
    assert hollow.report().boundary_edges == 0
    assert volume(hollow) == pytest.approx(volume(full) * (1 - 0.25 * 0.5), rel=1e-5)


def test_mirroring_keeps_the_outside_outside() -> None:
    solid = box(1, 2, 3, (1, 0, 0), top=(0.5, 0.5), shift=(0.2, 0.0))
    assert volume(to_mesh([solid.mirrored()])) == pytest.approx(volume(to_mesh([solid])))
    cone = prism(5, 1.0, 1.0, top=0.0)
    assert volume(to_mesh([cone.mirrored()])) == pytest.approx(volume(to_mesh([cone])))


def test_a_picture_hides_what_stands_behind_a_wall() -> None:
    scene = [box(2, 2, 0.1), box(1.9, 0.2, 1.9, (0, -0.2, 0.05))]
    wall = picture(to_mesh(scene), 64)
    behind = picture(to_mesh([*scene, box(0.2, 0.2, 0.2, (0, 0.1, 0.05))]), 64)
    in_front = picture(to_mesh([*scene, box(0.2, 0.2, 0.2, (0, -0.7, 0.05))]), 64)
    assert np.array_equal(wall, behind)
    assert not np.array_equal(wall, in_front)


def test_the_gallery_has_a_row_for_every_family(tmp_path: Path) -> None:
    path = tmp_path / "out" / "families.png"
    draw_gallery(path, per_family=1)
    with Image.open(path) as sheet:
        assert sheet.width == CELL
        assert sheet.height > CELL * len(FAMILIES)
