"""The procedural objects: sound meshes, the same everywhere, and captions that tell the truth about them."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.errors import MeshGPTError
from core.mesh import Mesh
from training.drawing import CELL, picture
from training.procedural import FAMILIES, Sample, generate
from training.procedural.captions import NUMBERS
from training.procedural.gallery import draw_gallery
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
    "dog": "dog|puppy|hound",
    "cat": "cat|kitten",
    "horse": "horse|pony|stallion",
    "bird": "bird|songbird|seabird",
    "fish": "fish|goldfish",
    "person": "person|man|woman|figure|character",
    "snowman": "snowman|snow man",
    "sword": "sword|longsword|broadsword|blade",
    "axe": "axe|hatchet",
    "hammer": "hammer|mallet|sledgehammer",
    "shield": "shield|buckler",
    "anvil": "anvil",
    "key": "key",
    "tower": "tower|watchtower",
    "castle": "castle|fortress|fort",
    "church": "church|chapel",
    "windmill": "windmill|mill",
    "column": "column|pillar",
    "staircase": "staircase|stairs|stairway|steps",
    "door": "door",
    "tombstone": "tombstone|gravestone|headstone|grave",
    "fence": "fence",
    "bridge": "bridge|footbridge",
    "well": "well",
    "tent": "tent|teepee|tipi",
    "street light": "street light|street lamp|lamp post|streetlamp",
    "signpost": "signpost|sign",
    "mailbox": "mailbox|letter box|post box",
    "cactus": "cactus|saguaro",
    "palm tree": "palm tree|palm|tropical tree",
    "flower": "flower|daisy|tulip|blossom",
    "bush": "bush|shrub|hedge",
    "potted plant": "potted plant|house plant|plant in a pot",
    "mountain": "mountain|mountains",
    "crate": "crate|box",
    "chest": "chest|trunk",
    "boat": "boat|rowboat|dinghy|sailboat|yacht|motorboat",
    "plane": "plane|airplane|aircraft|jet|biplane",
    "rocket": "rocket|rocket ship",
    "train": "train|locomotive|engine",
    "cart": "cart|handcart|wagon",
    "book": "book|tome|notebook|hardback",
    "television": "television|tv",
    "clock": "clock",
    "bottle": "bottle|flask|potion",
    "mug": "mug|cup|tankard",
    "bucket": "bucket|pail",
    "candle": "candle|candles|candlestick",
}
SYMMETRIC = (
    *("chair", "stool", "bench", "sofa", "table", "bed", "shelf", "barrel", "car", "lamp", "dog", "cat", "horse", "bird", "fish", "person"),
    *("sword", "church", "castle", "bridge", "well", "boat", "train"),
)
SAYS_MORE = re.compile(r" with | without | that has | having ")


@cache
def samples(family: str) -> list[Sample]:
    return [generate(family, seed) for seed in range(100)]


@cache
def held_out_samples(family: str) -> list[Sample]:
    return [generate(family, seed, held_out=True) for seed in range(12)]


def described(caption: str) -> list[str]:
    """The words before what the object has, without those that are no claim about its size."""
    return SAYS_MORE.split(re.sub("low[ -]poly", "", caption))[0].split()


def lies_in(value: object, wanted: object) -> bool:
    return wanted[0] <= value < wanted[1] if isinstance(wanted, tuple) and isinstance(value, float) else value == wanted


def parts(mesh: Mesh) -> np.ndarray:
    """[vertices] which connected part each vertex belongs to."""
    edges, count = mesh.edges(), len(mesh.vertices)
    return connected_components(coo_array((np.ones(len(edges)), edges.T), shape=(count, count)), directed=False)[1]


def feet(mesh: Mesh) -> int:
    """How many separate parts touch the floor, counted on the surface itself."""
    return len(set(parts(mesh)[mesh.vertices[:, 2] < mesh.vertices[:, 2].min() + 1e-6].tolist()))


def overlaps(mesh: Mesh) -> bool:
    """Whether triangles of different parts that look the same way share more than a square step of a plane, where no third part hides it.

    What looks down from the floor is never seen and does not count.
    """
    vertices = np.rint((mesh.vertices + np.array([0.5, 0.5, 0.0])) * 128).astype(np.int64)
    part, planes = parts(mesh), defaultdict(list)
    triangles, owner = vertices[mesh.triangles()], part[mesh.triangles()[:, 0]]
    for triangle, which in zip(triangles, owner.tolist(), strict=True):
        normal = np.cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
        normal //= max(int(np.gcd.reduce(normal)), 1)
        planes[(*normal.tolist(), int(normal @ triangle[0]))].append((triangle, which))
    planes.pop((0, 0, -1, 0), None)
    for (*direction, offset), members in planes.items():
        axis = int(np.abs(direction).argmax())
        for (one, first), (other, second) in combinations(members, 2):
            shared = first != second and clipped(np.delete(one, axis, 1), np.delete(other, axis, 1))
            if shared and area(shared) > 1:
                middle = np.insert(np.mean(shared, 0), axis, 0)
                middle[axis] = (offset - middle @ direction) / direction[axis]
                before = middle + 0.3 * np.array(direction) / np.linalg.norm(direction)
                if not any(holds(triangles[owner == which], before) for which in set(owner.tolist())):
                    return True
    return False


def clipped(one: np.ndarray, other: np.ndarray) -> list[np.ndarray]:
    """The corners of what two triangles [3, 2] share, after Sutherland and Hodgman."""
    one, other = (points[::-1] if area(list(points), signed=True) < 0 else points for points in (one.astype(float), other.astype(float)))
    shared = list(one)
    for start, end in ((other[i - 1], other[i]) for i in range(3)):
        sides = [float(np.cross(end - start, point - start)) for point in shared]
        before, shared = shared, []
        for i, point in enumerate(before):
            if (sides[i - 1] < 0) != (sides[i] < 0):
                shared.append(before[i - 1] + (point - before[i - 1]) * sides[i - 1] / (sides[i - 1] - sides[i]))
            if sides[i] >= 0:
                shared.append(point)
    return shared


def area(points: list[np.ndarray], signed: bool = False) -> float:
    twice = sum(float(np.cross(points[i - 1], points[i])) for i in range(len(points)))
    return twice / 2 if signed else abs(twice) / 2


def holds(triangles: np.ndarray, point: np.ndarray) -> bool:
    """Whether a closed surface winds around the point: its solid angle there, after van Oosterom and Strackee."""
    a, b, c = np.moveaxis(triangles - point, 1, 0)
    la, lb, lc = (np.linalg.norm(corner, axis=1) for corner in (a, b, c))
    below = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return bool(abs(2 * np.arctan2((a * np.cross(b, c)).sum(1), below).sum()) > 2 * np.pi)


def volume(mesh: Mesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles()].astype(np.float64), 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def test_all_the_families_are_known_here() -> None:
    assert set(NAMES) == set(NOUNS)


@pytest.mark.parametrize("family", NAMES)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, held_out=st.booleans())
def test_every_mesh_is_sound_on_the_grid(family: str, seed: int, held_out: bool) -> None:
    sample = generate(family, seed, held_out=held_out)
    mesh = sample.mesh.canonical()
    report = mesh.report()
    assert 6 <= report.faces <= 200
    assert report.faces == len(sample.mesh.faces)
    assert (report.degenerate, report.duplicate, report.boundary_edges, report.non_manifold_edges) == (0, 0, 0, 0)
    assert report.consistent_winding
    assert volume(mesh) > 0


@pytest.mark.parametrize("family", NAMES)
def test_no_two_parts_show_faces_in_the_same_place(family: str) -> None:
    crowded = [seed for seed in range(6) if overlaps(generate(family, seed).mesh.canonical())]
    assert not crowded


@pytest.mark.parametrize("family", NAMES)
def test_a_sample_is_determined_by_its_family_and_seed(family: str) -> None:
    first, again = generate(family, 7), generate(family, 7)
    assert np.array_equal(first.mesh.vertices, again.mesh.vertices)
    assert np.array_equal(first.mesh.faces, again.mesh.faces)
    assert (first.captions, first.parameters, first.family) == (again.captions, again.parameters, family)


@pytest.mark.parametrize("family", NAMES)
def test_what_a_family_holds_out_is_drawn_when_asked_for_and_never_else(family: str) -> None:
    region = FAMILIES[family].held_out
    assert all(lies_in(sample.parameters[name], wanted) for sample in held_out_samples(family) for name, wanted in region.items())
    assert not any(all(lies_in(sample.parameters.get(name), wanted) for name, wanted in region.items()) for sample in samples(family))


@pytest.mark.parametrize("family", NAMES)
def test_what_is_held_out_is_a_new_combination_of_what_training_has_seen(family: str) -> None:
    region = FAMILIES[family].held_out
    assert len(region) > 1
    for name, wanted in region.items():
        assert any(lies_in(sample.parameters.get(name), wanted) for sample in samples(family)), name


@pytest.mark.parametrize("family", NAMES)
def test_a_held_out_sample_is_determined_by_its_seed_and_is_not_the_plain_one(family: str) -> None:
    first, again, plain = generate(family, 3, held_out=True), generate(family, 3, held_out=True), generate(family, 3)
    assert np.array_equal(first.mesh.vertices, again.mesh.vertices)
    assert first.captions == again.captions
    assert first.parameters != plain.parameters


@pytest.mark.parametrize("family", NAMES)
def test_a_small_share_of_every_family_is_held_out(family: str) -> None:
    kind = FAMILIES[family]
    held_out = sum(kind.is_held_out(kind.build(np.random.default_rng(i))[1].parameters) for i in range(250))
    assert 0.01 < held_out / 250 < 0.2


@pytest.mark.parametrize("family", NAMES)
def test_different_seeds_give_different_meshes(family: str) -> None:
    distinct = {(mesh.vertices.tobytes(), mesh.faces.tobytes()) for mesh in (sample.mesh.canonical() for sample in samples(family))}
    assert len(distinct) > 0.95 * len(samples(family))


@pytest.mark.parametrize("family", NAMES)
def test_captions_name_the_object_and_begin_with_its_plain_name(family: str) -> None:
    for sample in samples(family):
        assert len(sample.captions) == 4
        assert sample.captions[0] == ("an " if family[0] in "aeiou" else "a ") + family
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


def test_about_half_of_the_captions_say_nothing_but_a_name() -> None:
    bare = [
        caption.removeprefix("a ").removeprefix("an ") in sample.names
        for family in NAMES
        for sample in samples(family)
        for caption in sample.captions
    ]
    assert 0.35 < np.mean(bare) < 0.6


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
        *((family, "windows") for family in ("tower", "church", "windmill", "rocket")),
        *((family, "wheels") for family in ("train", "cart")),
        *((family, "blades") for family in ("windmill", "plane", "axe")),
        *((family, "leaves") for family in ("palm tree", "flower", "potted plant")),
        *((family, "bands") for family in ("column", "chest", "axe", "hammer", "book")),
        *((family, "steps") for family in ("column", "staircase", "tombstone")),
        ("fence", "posts"),
        ("fence", "pickets"),
        ("bridge", "arches"),
        ("castle", "towers"),
        ("staircase", "railings"),
        ("door", "panels"),
        ("cactus", "arms"),
        ("palm tree", "coconuts"),
        ("flower", "petals"),
        ("bush", "balls"),
        ("mountain", "peaks"),
        ("snowman", "snowballs"),
        ("snowman", "buttons"),
        ("key", "teeth"),
        ("crate", "slats"),
        ("boat", "seats"),
        ("boat", "sails"),
        ("rocket", "fins"),
        ("rocket", "boosters"),
        ("signpost", "boards"),
        ("street light", "lamps"),
        ("television", "antennas"),
        ("television", "knobs"),
        ("clock", "bells"),
        ("clock", "weights"),
        ("candle", "candles"),
        ("bucket", "hoops"),
    ],
)
def test_counts_in_captions_are_the_counts_built(family: str, noun: str) -> None:
    singular = {"shelves": "shelf", "leaves": "leaf", "teeth": "tooth", "arches": "arch"}.get(noun, noun[:-1])
    numbers = {word: i for i, word in enumerate(NUMBERS)} | {str(i): i for i in range(len(NUMBERS))}
    said = 0
    for sample in samples(family):
        for caption in sample.captions:
            for number in re.findall(rf"\b({'|'.join(numbers)}) (?:\w+ )?(?:{noun}|{singular})\b", caption):
                if "central leg" not in caption and number != "no":
                    assert numbers[number] == sample.parameters[noun], (caption, sample.parameters)
                    said += 1
    assert said > 1


@pytest.mark.parametrize(
    ("family", "what"),
    [
        *((family, "legs") for family in ("stool", "table", "chair", "bed", "dog")),
        ("cart", "wheels"),
        ("train", "wheels"),
        ("mountain", "peaks"),
    ],
)
def test_the_parts_that_are_counted_stand_on_the_floor(family: str, what: str) -> None:
    for sample in samples(family):
        pedestal = sample.parameters[what] == 0
        assert feet(sample.mesh) == (1 if pedestal else sample.parameters[what]), sample.parameters


def test_stairs_have_as_many_levels_as_they_say() -> None:
    for sample in samples("staircase"):
        if sample.parameters["kind"] == "solid" and sample.parameters["railings"] == 0:
            levels = set(np.round(sample.mesh.vertices[:, 2], 4).tolist())
            assert len(levels) == sample.parameters["steps"] + 1


@pytest.mark.parametrize("family", ["tower", "windmill", "well"])
def test_round_buildings_stand_on_more_than_four_corners_and_square_ones_on_four(family: str) -> None:
    called = set()
    for sample in samples(family):
        low = sample.mesh.vertices[sample.mesh.vertices[:, 2] < 1e-6]
        angles = np.unique(np.round(np.arctan2(low[:, 1], low[:, 0]), 3))
        for caption in sample.captions:
            shapes = {"round", "circular", "square"} & set(described(caption))
            assert shapes <= ({"square"} if len(angles) == 4 else {"round", "circular"}), caption
            called |= shapes
    assert called == {"round", "circular", "square"}


@pytest.mark.parametrize("family", NAMES)
def test_what_is_called_tall_is_on_the_whole_taller_than_what_is_called_low(family: str) -> None:
    slenderness: dict[str, list[float]] = {"tall": [], "low": []}
    for sample in samples(family):
        size = np.ptp(sample.mesh.vertices, 0)
        for word, found in slenderness.items():
            found += [float(size[2] / max(size[0], size[1])) for caption in sample.captions if word in described(caption)]
    if min(len(found) for found in slenderness.values()) > 3:
        assert np.mean(slenderness["low"]) < np.mean(slenderness["tall"])


@pytest.mark.parametrize("family", ["table", "stool"])
def test_only_what_has_a_round_top_is_called_round(family: str) -> None:
    called = set()
    for sample in samples(family):
        vertices = sample.mesh.canonical().vertices
        corners = int((vertices[:, 2] == vertices[:, 2].max()).sum())
        for caption in sample.captions:
            name = described(caption)
            if "round" in name or "circular" in name:
                assert corners >= 8, caption
                called.add("round")
            if "square" in name or "rectangular" in name:
                assert corners == 4, caption
                called.add("angular")
    assert called == {"round", "angular"}


def test_tall_chairs_are_taller_than_low_ones() -> None:
    heights: dict[str, list[float]] = {"tall": [], "low": []}
    for sample in samples("chair"):
        size = np.ptp(sample.mesh.vertices, 0)
        for word, found in heights.items():
            if any(word in described(caption) for caption in sample.captions):
                found.append(float(size[2] / size[0]))
    assert max(heights["low"]) < min(heights["tall"])


def test_beds_have_their_head_and_chairs_their_back_behind() -> None:
    for sample in samples("chair"):
        highest = sample.mesh.vertices[sample.mesh.vertices[:, 2].argmax()]
        assert highest[1] > 0
    for sample in samples("bed"):
        if sample.parameters["headboard"] != "none":
            assert sample.mesh.vertices[sample.mesh.vertices[:, 2].argmax()][1] > 0


def test_the_page_about_the_library_lists_every_family_and_what_it_holds_out() -> None:
    page = (Path(__file__).parents[2] / "docs" / "procedural.md").read_text()
    rows = dict(re.findall(r"^\| ([a-z ]+) \| .* \| ([^|]+) \|$", page.split("## The families")[1], re.M))
    rows.pop("family")
    assert set(rows) == set(NAMES)
    for name, held_out in rows.items():
        assert all(parameter.replace("_", " ") in held_out for parameter in FAMILIES[name].held_out), name


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


def test_the_gallery_has_a_cell_for_every_object(tmp_path: Path) -> None:
    path = tmp_path / "out" / "families.png"
    draw_gallery(path, per_family=1, columns=5)
    with Image.open(path) as sheet:
        cells = np.array(sheet.convert("L")).reshape(-(-len(FAMILIES) // 5), -1, 5, CELL)
    drawn = cells[:, :CELL].std((1, 3)).ravel() > 5
    assert drawn[: len(FAMILIES)].all()
    assert not drawn[len(FAMILIES) :].any()
