"""core.mesh: files, the canonical form, and the report, against hand-built cases and second ways of computing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import trimesh
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.errors import MeshGPTError
from core.mesh import FORMATS, Frame, Mesh, cut_polygon, dequantise, quantise

CUBE_VERTICES = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
CUBE = Mesh(CUBE_VERTICES, np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]))
PRISM = Mesh(  # two triangles and three quads
    np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3], [2, 0, 3], [0, 1, 3]]),
    np.array([[0, 2, 1, -1], [3, 4, 5, -1], [0, 1, 4, 3], [1, 2, 5, 4], [2, 0, 3, 5]]),
)

COORDINATE = st.one_of(st.integers(-4, 4).map(float), st.floats(-100, 100, width=32))
POINT = st.tuples(COORDINATE, COORDINATE, COORDINATE)


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    """Any mesh of up to ten faces over up to eight vertices, degenerate and doubled ones among them."""
    vertices = draw(st.lists(POINT, min_size=3, max_size=8))
    index = st.integers(0, len(vertices) - 1)
    width = draw(st.sampled_from([3, 4]))
    last = [st.integers(-1, len(vertices) - 1)] if width == 4 else []
    faces = draw(st.lists(st.tuples(index, index, index, *last), min_size=1, max_size=10))
    return Mesh(np.array(vertices), np.array(faces))


def canonical_or_nothing(mesh: Mesh, frame: Frame | None = None, levels: int = 129) -> Mesh:
    try:
        return mesh.canonical(frame, levels)
    except MeshGPTError:
        assume(False)
        raise


def corners_of(mesh: Mesh) -> list[list[tuple[float, ...]]]:
    """Every face as the list of its corners' coordinates, turned so that the smallest corner is first."""
    faces = []
    for face in mesh.faces.tolist():
        corners = [tuple(mesh.vertices[i].tolist()) for i in face if i >= 0]
        start = corners.index(min(corners))
        faces.append(corners[start:] + corners[:start])
    return sorted(faces)


# ---- the canonical form


@settings(deadline=None)
@given(meshes(), st.sampled_from([9, 33, 129]))
def test_the_canonical_form_of_a_canonical_mesh_is_itself(mesh: Mesh, levels: int) -> None:
    once = canonical_or_nothing(mesh, levels=levels)
    twice = once.canonical(levels=levels)
    assert np.array_equal(once.vertices, twice.vertices)
    assert np.array_equal(once.faces, twice.faces)


@settings(deadline=None)
@given(meshes())
def test_the_canonical_form_lies_on_the_grid_of_the_unit_box_in_order(mesh: Mesh) -> None:
    canonical = canonical_or_nothing(mesh)
    grid = np.add(canonical.vertices, [0.5, 0.5, 0]) * 128
    assert np.array_equal(grid, np.round(grid))
    assert grid.min() >= 0
    assert grid.max() <= 128
    assert all(a < b for a, b in pairwise(canonical.vertices[:, ::-1].tolist()))
    faces = canonical.faces.tolist()
    assert all(a <= b for a, b in pairwise(faces))
    for face in faces:
        present = [i for i in face if i >= 0]
        assert len(set(present)) == len(present) >= 3
        assert present[0] == min(present)
    assert len({frozenset(face) for face in faces}) == len(faces)
    assert set(canonical.faces.flat) - {-1} == set(range(len(canonical.vertices)))


@settings(deadline=None)
@given(meshes(), st.randoms(use_true_random=False))
def test_the_canonical_form_does_not_depend_on_the_order_of_vertices_or_where_faces_start(mesh: Mesh, random: Random) -> None:
    canonical = canonical_or_nothing(mesh)
    order = list(range(len(mesh.vertices)))
    random.shuffle(order)
    place = np.append(np.argsort(order), -1)
    faces = place[mesh.faces]
    turned = np.array([[*np.roll(face[face >= 0], 1), *face[face < 0]] for face in faces])
    again = Mesh(mesh.vertices[order], turned).canonical()
    assert np.array_equal(canonical.vertices, again.vertices)
    assert np.array_equal(np.sort(canonical.faces, 1), np.sort(again.faces, 1))


def test_a_cube_fills_the_unit_box_and_keeps_its_faces() -> None:
    canonical = Mesh(CUBE.vertices * 7 - 3, CUBE.faces).canonical()
    assert canonical.vertices.tolist() == [[x, y, z] for z in (0, 1) for y in (-0.5, 0.5) for x in (-0.5, 0.5)]
    assert corners_of(canonical) == corners_of(Mesh(CUBE.vertices - [0.5, 0.5, 0], CUBE.faces))


def test_a_long_mesh_stands_in_the_middle_of_the_floor() -> None:
    canonical = PRISM.canonical()
    assert canonical.vertices.min(0) == pytest.approx([-1 / 3, -1 / 6, 0], abs=1 / 256)
    assert canonical.vertices.max(0) == pytest.approx([1 / 3, 1 / 6, 1], abs=1 / 256)


def test_a_quad_that_loses_a_corner_on_the_grid_becomes_a_triangle_and_a_triangle_that_does_is_dropped() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0.001], [0, 0, 1]])
    canonical = Mesh(vertices, np.array([[0, 1, 2, 3], [2, 3, 4, -1], [0, 2, 4, -1]])).canonical()
    assert canonical.faces.tolist() == [[0, 1, 2, -1], [0, 2, 3, -1]]


def test_a_second_face_over_the_same_vertices_is_dropped_whatever_its_winding() -> None:
    both = Mesh(CUBE.vertices, np.concatenate([CUBE.faces, CUBE.faces[:, ::-1]]))
    assert len(both.canonical().faces) == 6


def test_a_frame_places_a_part_where_it_stands_in_the_whole() -> None:
    whole = Mesh(np.concatenate([CUBE.vertices, np.add(CUBE.vertices, [3, 0, 0])]), np.concatenate([CUBE.faces, CUBE.faces + 8]))
    part = CUBE.canonical(whole.frame())
    assert part.vertices[:, 0].min() == -0.5
    assert part.vertices[:, 0].max() == -0.25
    outside = Mesh(CUBE.vertices * [100, 1, 1], CUBE.faces).canonical(whole.frame())
    assert outside.vertices[:, 0].max() == 0.5


@settings(deadline=None)
@given(POINT, st.floats(0.01, 100), st.lists(POINT, min_size=1))
def test_to_world_undoes_to_unit(origin: tuple[float, float, float], scale: float, points: list[tuple[float, ...]]) -> None:
    frame, vertices = Frame(origin, scale), np.array(points, np.float32)
    assert frame.to_world(frame.to_unit(vertices)) == pytest.approx(vertices, abs=1e-3)


@given(st.lists(st.tuples(*[st.integers(0, 128)] * 3), min_size=1))
def test_the_grid_survives_dequantising(indices: list[tuple[int, ...]]) -> None:
    assert np.array_equal(quantise(dequantise(np.array(indices))), indices)


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)), "is empty"),
        (Mesh(np.ones((3, 3)), np.array([[0, 1, 2]])), "lie in one point"),
        (Mesh(CUBE_VERTICES, np.zeros((0, 4), int)), "is empty"),
        (Mesh(CUBE_VERTICES, np.array([[0, 1, 1]])), "no face is left"),
    ],
)
def test_what_has_no_canonical_form_is_refused_with_the_reason(mesh: Mesh, message: str) -> None:
    with pytest.raises(MeshGPTError, match=message) as caught:
        mesh.canonical()
    assert caught.value.code == "bad_mesh"


# ---- faces as coordinates


@settings(deadline=None)
@given(meshes())
def test_faces_as_coordinates_and_back_are_the_same_faces(mesh: Mesh) -> None:
    again = Mesh.from_face_coordinates(mesh.face_coordinates())
    assert np.array_equal(again.face_coordinates(), mesh.face_coordinates(), equal_nan=True)
    assert len(np.unique(again.vertices, axis=0)) == len(again.vertices)


def test_no_faces_are_a_mesh_too() -> None:
    assert Mesh.from_face_coordinates(np.zeros((0, 4, 3))).report().faces == 0


# ---- derived


def test_quads_are_cut_from_the_first_to_the_third_corner_and_triangles_stay() -> None:
    mesh = Mesh(CUBE.vertices, np.array([[0, 1, 3, 2], [4, 5, 6, -1]]))
    assert mesh.triangles().tolist() == [[0, 1, 3], [0, 3, 2], [4, 5, 6]]


def test_edges_go_around_every_face() -> None:
    mesh = Mesh(CUBE.vertices, np.array([[0, 1, 3, 2], [4, 5, 6, -1]]))
    assert mesh.edges().tolist() == [[0, 1], [1, 3], [3, 2], [2, 0], [4, 5], [5, 6], [6, 4]]


def test_welding_merges_equal_corners_and_drops_unused_ones() -> None:
    soup = Mesh(np.concatenate([CUBE.vertices[CUBE.faces].reshape(-1, 3), [[9, 9, 9]]]), np.arange(24).reshape(6, 4))
    welded = soup.welded()
    assert len(welded.vertices) == 8
    assert corners_of(welded) == corners_of(CUBE)


@pytest.mark.parametrize("mesh", [CUBE, PRISM])
def test_a_closed_solid_is_reported_as_flawless(mesh: Mesh) -> None:
    report = mesh.report()
    solid = trimesh.Trimesh(mesh.vertices, mesh.triangles())
    assert solid.is_watertight
    assert (report.degenerate, report.duplicate, report.boundary_edges, report.non_manifold_edges) == (0, 0, 0, 0)
    assert (report.components, report.consistent_winding) == (1, True)
    assert report.vertices - report.edges + report.faces == 2  # Euler


def test_the_report_counts_each_flaw() -> None:
    vertices = np.concatenate([CUBE.vertices, CUBE.vertices[:3] + 5])
    faces = np.array([[0, 1, 2, -1], [2, 1, 3, -1], [1, 2, 4, -1], [0, 2, 1, -1], [3, 5, 5, -1], [8, 9, 10, -1]])
    report = Mesh(vertices, faces).report()
    # edges: 01 02 12 13 23 14 24 35 55 89 8-10 9-10; 12 has four faces, 01 and 02 two, 35 two (back and forth), the others one
    assert report.as_dict() == {
        "vertices": 11,
        "faces": 6,
        "degenerate": 1,
        "duplicate": 1,
        "edges": 12,
        "boundary_edges": 8,
        "non_manifold_edges": 1,
        "components": 2,
        "consistent_winding": False,
    }


def test_a_face_without_area_is_degenerate_and_a_bent_quad_is_not() -> None:
    line = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 1, 0], [1, 2, 1]])
    assert Mesh(line, np.array([[0, 1, 2, -1], [0, 1, 3, -1], [0, 2, 4, 3]])).is_degenerate().tolist() == [True, False, False]


def test_reversed_neighbours_are_inconsistent_but_manifold() -> None:
    report = Mesh(CUBE.vertices, np.concatenate([CUBE.faces[:5], CUBE.faces[5:, ::-1]])).report()
    assert not report.consistent_winding
    assert report.non_manifold_edges == report.boundary_edges == 0


@settings(deadline=None)
@given(meshes())
def test_the_report_agrees_with_counting_by_hand(mesh: Mesh) -> None:
    edges: dict[frozenset[int], int] = {}
    for face in mesh.faces.tolist():
        corners = [i for i in face if i >= 0]
        for edge in zip(corners, corners[1:] + corners[:1], strict=True):
            edges[frozenset(edge)] = edges.get(frozenset(edge), 0) + 1
    report = mesh.report()
    assert report.edges == len(edges)
    assert report.boundary_edges == list(edges.values()).count(1)
    assert report.non_manifold_edges == sum(uses > 2 for uses in edges.values())
    assert report.duplicate == len(mesh.faces) - len({tuple(sorted(face)) for face in mesh.faces.tolist()})


# ---- files


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("mesh", [CUBE, PRISM])
def test_a_file_gives_back_the_same_surface(mesh: Mesh, suffix: str, tmp_path: Path) -> None:
    moved = Mesh(mesh.vertices / 3 + [1000.1, 2, -3], mesh.faces)
    moved.save(tmp_path / f"mesh{suffix}")
    loaded = Mesh.load(tmp_path / f"mesh{suffix}")
    expected = moved if suffix == ".obj" else Mesh(moved.vertices, moved.triangles())
    assert len(loaded.vertices) == len(mesh.vertices)
    assert corners_of(loaded) == corners_of(expected)


@settings(deadline=None, max_examples=30)
@given(meshes())
def test_an_obj_file_keeps_every_bit_of_every_corner(mesh: Mesh) -> None:
    with TemporaryDirectory() as folder:
        mesh.save(Path(folder, "mesh.obj"))
        loaded = Mesh.load(Path(folder, "mesh.obj"))
    assert corners_of(loaded) == corners_of(mesh)


def test_a_glb_file_is_y_up(tmp_path: Path) -> None:
    tower = Mesh(CUBE.vertices * [1, 2, 5], CUBE.faces)
    tower.save(tmp_path / "tower.glb")
    assert trimesh.load(tmp_path / "tower.glb").extents.tolist() == [1, 5, 2]
    assert np.ptp(Mesh.load(tmp_path / "tower.glb").vertices, axis=0).tolist() == [1, 2, 5]


def test_a_gltf_file_with_its_buffers_beside_it_is_read_like_a_glb(tmp_path: Path) -> None:
    tower = Mesh(CUBE.vertices * [1, 2, 5], CUBE.faces)
    tower.save(tmp_path / "tower.glb")
    for name, content in trimesh.load(tmp_path / "tower.glb").export(file_type="gltf").items():
        (tmp_path / ("tower.gltf" if name.endswith(".gltf") else name)).write_bytes(content)
    assert corners_of(Mesh.load(tmp_path / "tower.gltf")) == corners_of(Mesh.load(tmp_path / "tower.glb"))


@settings(deadline=None)
@given(st.integers(5, 12), st.randoms(use_true_random=False), st.integers(0, 2), st.integers(1, 3))
def test_a_star_shaped_polygon_is_covered_once_by_its_triangles(corners: int, random: Random, axis: int, turns: int) -> None:
    angles = np.sort(np.arange(corners) + np.array([random.uniform(0, 0.7) for _ in range(corners)])) * 2 * np.pi / corners
    radius = np.array([random.uniform(0.2, 1) for _ in range(corners)])
    flat = np.stack([np.cos(angles) * radius, np.sin(angles) * radius, np.zeros(corners)], 1)
    points = np.roll(np.roll(flat, axis, 1), turns, 0)
    areas = [np.cross(points[b] - points[a], points[c] - points[a])[axis - 1] / 2 for a, b, c in cut_polygon(points)]
    shoelace = np.cross(flat[:, :2], np.roll(flat[:, :2], -1, 0)).sum() / 2
    assert len(areas) == corners - 2
    assert min(areas) > -1e-9
    assert sum(areas) == pytest.approx(shoelace)


def test_a_polygon_with_corners_along_a_straight_side_is_cut_without_flat_triangles() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [4, 0, 0], [2, 2, 0]], float)
    for turns in range(6):
        turned = np.roll(points, turns, 0)
        areas = [np.cross(turned[b] - turned[a], turned[c] - turned[a])[2] / 2 for a, b, c in cut_polygon(turned)]
        assert min(areas) > 0
        assert sum(areas) == 4


def test_the_objects_of_a_scene_are_loaded_as_one_mesh(tmp_path: Path) -> None:
    scene = trimesh.Scene([trimesh.creation.box(), trimesh.creation.box(transform=trimesh.transformations.translation_matrix([5, 0, 0]))])
    scene.export(tmp_path / "scene.glb")
    assert Mesh.load(tmp_path / "scene.glb").report().components == 2


def test_obj_polygons_negative_indices_textures_and_comments_are_read(tmp_path: Path) -> None:
    text = "# a comment\nv 0 0 0\nv 1 0 0\nv 1 1 0 1.0\nvt 0 0\nv 0 1 0\nv -1 0.5 0\no name\nf 1/1 2/1 3/1 4/1 5/1\nf -1//1 -2//2 -3//3\n"
    (tmp_path / "mesh.obj").write_text(text)
    assert len(Mesh.load(tmp_path / "mesh.obj").faces) == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.obj", None, "there is no mesh file"),
        ("mesh.fbx", b"", "not in a mesh format"),
        ("empty.obj", b"", "holds no faces"),
        ("points.obj", b"v 0 0 0\nv 1 0 0\n", "holds no faces"),
        ("letters.obj", b"v a b c\nf 1 1 1\n", "cannot be read"),
        ("range.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "index 8 but the mesh has 3 vertices"),
        ("zero.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "index"),
        ("lines.obj", b"v 0 0 0\nv 1 0 0\nf 1 2\nf 1 2\nf 1 2\nf 1 2\n", "cannot be read"),
        ("flat.obj", b"v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n", "cannot be read"),
        ("nan.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not a finite number"),
        ("noise.glb", b"glTF noise", "cannot be read"),
        ("noise.stl", b"noise", "cannot be read|holds no faces"),
        ("noise.ply", b"noise", "cannot be read"),
        ("noise.off", b"noise", "cannot be read"),
    ],
)
def test_files_that_hold_no_mesh_are_refused_with_the_reason(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MeshGPTError, match=message) as caught:
        Mesh.load(tmp_path / name)
    assert caught.value.code == "bad_mesh"


def test_saving_under_another_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(MeshGPTError, match=r"use one of \.glb, \.obj"):
        CUBE.save(tmp_path / "cube.blend")


# ---- what cannot be a mesh


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        ([[0, 0]], [[0, 0, 0]], r"vertices have shape \[1, 2\]"),
        ([[0, 0, 0]], [[0, 0]], r"faces have shape \[1, 2\]"),
        ([[0, 0, np.nan]], [[0, 0, 0]], "not a finite number"),
        ([[0, 0, np.inf]], [[0, 0, 0]], "not a finite number"),
        ([[0, 0, 0]], [[0, 0, 1]], "index 1 but the mesh has 1 vertices"),
        ([[0, 0, 0]], [[0, -1, 0]], "index -1"),
        ([[0, 0, 0]], [[0, 0, 0, -2]], "index -2"),
        ([], [[0, 0, 0]], "index 0 but the mesh has 0 vertices"),
    ],
)
def test_arrays_that_are_no_mesh_are_refused_with_the_reason(vertices: list[list[float]], faces: list[list[int]], message: str) -> None:
    with pytest.raises(MeshGPTError, match=message):
        Mesh(np.array(vertices), np.array(faces))
