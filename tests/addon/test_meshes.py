"""Objects to arrays and back, and Autocomplete, which needs both."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

bpy = pytest.importorskip("bpy", reason="the bpy package is not installed")
mathutils = pytest.importorskip("mathutils")
Matrix, Vector = mathutils.Matrix, mathutils.Vector


def add_mesh(vertices, faces, name="given"):
    """An active object with that mesh."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()
    return obj


def read(addon, obj):
    return addon.meshes.read_object(obj, bpy.context.evaluated_depsgraph_get())


def sides(mesh) -> set:
    """Where every face of the mesh is and where it looks."""
    return {tuple(round(value, 4) + 0.0 for value in (*polygon.center, *polygon.normal)) for polygon in mesh.polygons}


def area(polygons) -> float:
    corners = polygons.vertices[np.where(polygons.faces < 0, polygons.faces[:, :1], polygons.faces)].astype(float)
    halves = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), np.cross(
        corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 0]
    )
    return float(sum(np.linalg.norm(half, axis=1).sum() for half in halves) / 2)


# ---- reading


def test_triangles_and_quads_are_kept_as_they_are(addon):
    obj = add_mesh([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 0, 0)], [(0, 1, 2, 3), (1, 4, 2)])

    assert {tuple(face) for face in read(addon, obj).faces.tolist()} == {(0, 2, 3, 1), (2, 4, 3, -1)}


def test_larger_polygons_are_cut_into_triangles_of_the_same_area(addon):
    corners = [(math.cos(angle), math.sin(angle), 0) for angle in np.linspace(0, 2 * math.pi, 7, endpoint=False)]
    obj = add_mesh(corners, [range(7)])

    polygons = read(addon, obj)

    assert len(polygons.faces) == 5
    assert area(polygons) == pytest.approx(obj.data.polygons[0].area, rel=1e-5)


def test_a_concave_polygon_is_cut_within_its_outline(addon):
    obj = add_mesh([(0, 0, 0), (2, 0, 0), (2, 2, 0), (1, 0.5, 0), (0, 2, 0)], [range(5)])

    assert area(read(addon, obj)) == pytest.approx(obj.data.polygons[0].area, rel=1e-5)


def test_modifiers_are_applied(addon, cube):
    cube.modifiers.new("Array", "ARRAY").count = 3

    assert len(read(addon, cube).faces) == 18
    assert len(cube.data.polygons) == 6


def test_vertices_that_lie_together_are_welded_and_loose_ones_dropped(addon):
    obj = add_mesh([(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (9, 9, 9)], [(0, 1, 2), (3, 5, 4)])

    polygons = read(addon, obj)

    assert len(polygons.vertices) == 4
    assert len(polygons.faces) == 2


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        ([(0, 0, 0), (1, 0, 0)], [], "has no faces to go on from"),
        ([(0, 0, 0), (math.nan, 0, 0), (0, 1, 0)], [(0, 1, 2)], "has vertices that lie nowhere"),
        ([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [(0, 1, 2)] * 10_001, "10,001 faces, far more than a low-poly mesh"),
    ],
)
def test_a_mesh_that_cannot_be_used_is_refused_with_a_reason(addon, vertices, faces, message):
    obj = add_mesh(vertices, faces)

    with pytest.raises(RuntimeError, match=message):
        bpy.ops.meshgpt.autocomplete()

    assert list(bpy.data.objects) == [obj]


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 9), min_size=3, max_size=4).map(sorted), min_size=1, max_size=12, unique_by=tuple))
def test_what_is_built_is_what_is_read(addon, faces):
    angles = np.arange(10) * 0.6
    vertices = np.stack([np.cos(angles), np.sin(angles), angles / 7], 1).astype(np.float32)
    mesh, refused = addon.meshes.new_mesh("built", addon.meshes.from_wire(vertices.tolist(), faces))

    polygons = addon.meshes.read_mesh(mesh)

    expected = sorted(sorted(map(tuple, vertices[face].tolist())) for face in faces)
    found = sorted(sorted(map(tuple, polygons.vertices[[i for i in face if i >= 0]].tolist())) for face in polygons.faces.tolist())
    assert refused == 0
    assert np.allclose(np.concatenate(found), np.concatenate(expected), atol=1e-5)
    bpy.data.meshes.remove(mesh)


# ---- how an object stands


@pytest.mark.parametrize("degrees", [0, 30, 90, 180, 270])
def test_a_turn_about_the_vertical_and_a_place_are_not_sent(addon, degrees):
    world = Matrix.Translation((4, 5, 6)) @ Matrix.Rotation(math.radians(degrees), 4, "Z")

    assert np.allclose(addon.meshes.standing(world), np.eye(4), atol=1e-6)


def test_an_object_that_was_laid_down_is_sent_standing(addon):
    up = addon.meshes.standing(Matrix.Rotation(math.radians(90), 4, "X")) @ Vector((0, 1, 0))

    assert np.allclose(up, (0, 0, 1), atol=1e-6)


def test_a_scale_that_was_not_applied_is_sent(addon):
    world = Matrix.Rotation(0.7, 4, "Z") @ Matrix.Diagonal((2, 3, 4, 1))

    assert np.allclose(addon.meshes.standing(world), np.diag((2, 3, 4, 1)), atol=1e-6)


def test_a_mirrored_object_is_sent_with_its_outside_out(addon):
    square = addon.meshes.from_wire([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2, 3], [0, 1, 2]])

    mirrored = square.moved(Matrix.Diagonal((-1, 1, 1, 1)))

    assert mirrored.faces.tolist() == [[0, 3, 2, 1], [0, 2, 1, -1]]
    assert np.allclose(mirrored.moved(Matrix.Diagonal((-1, 1, 1, 1))).faces, square.faces)


# ---- Autocomplete


TRANSFORMS = {
    "as it was made": Matrix(),
    "moved and turned": Matrix.Translation((3, -2, 1)) @ Matrix.Rotation(0.5, 4, "Z"),
    "scaled": Matrix.Diagonal((2, 0.5, 0.1, 1)),
    "lying": Matrix.Translation((0, 0, 1)) @ Matrix.Rotation(math.radians(90), 4, "X"),
    "mirrored": Matrix.Diagonal((-1, 1, 1, 1)),
}


@pytest.mark.parametrize("world", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_autocomplete_makes_a_new_object_over_the_original_wherever_that_stands(addon, cube, world):
    cube.matrix_world = world
    bpy.context.view_layer.update()

    assert bpy.ops.meshgpt.autocomplete() == {"FINISHED"}

    made = bpy.context.active_object
    assert made.name == "Cube completed"
    assert np.allclose(made.matrix_world, world, atol=1e-6)
    corners = np.array([vertex.co for vertex in made.data.vertices])
    distance = np.linalg.norm(corners[:, None] - np.array([vertex.co for vertex in cube.data.vertices]), axis=2).min(0)
    assert distance.max() < 1e-5  # the fake model keeps what it is given, and adds to it
    assert len(made.data.polygons) > 6
    assert sides(cube.data) < sides(made.data)


def test_the_new_faces_of_the_fake_model_stand_above_a_lying_object_in_the_world(addon, cube):
    cube.matrix_world = TRANSFORMS["lying"]
    bpy.context.view_layer.update()

    bpy.ops.meshgpt.autocomplete()

    made = bpy.context.active_object
    heights = [(made.matrix_world @ vertex.co).z for vertex in made.data.vertices]
    assert (min(heights), max(heights)) == pytest.approx((0, 4), abs=1e-5)


def test_the_box_of_the_whole_is_sent_as_the_object_stands(addon, cube, scripted):
    bpy.ops.mesh.primitive_cube_add(size=4, location=(3, 5, 6))
    bpy.context.scene.meshgpt.bounds = bpy.context.active_object
    cube.location, cube.rotation_euler.z = (3, 4, 5), np.pi / 2
    bpy.context.view_layer.objects.active = cube

    addon.jobs.autocomplete(bpy.context).pump()

    assert np.allclose(scripted.sent[0]["bounds"], [(-1, -2, -1), (3, 2, 3)], atol=1e-5)


def test_an_object_out_of_its_bounds_is_said_to_be(addon, cube, scene_state):
    bpy.ops.mesh.primitive_cube_add(size=1)
    bpy.context.scene.meshgpt.bounds = bpy.context.active_object
    bpy.context.view_layer.objects.active = cube
    before = scene_state()

    with pytest.raises(RuntimeError, match=r"out of the bounds .* Make the bounds larger"):
        bpy.ops.meshgpt.autocomplete()

    assert scene_state() == before


def test_the_original_is_hidden_but_whole(addon, cube):
    bpy.ops.meshgpt.autocomplete()

    assert cube.hide_get()
    assert cube.hide_render
    assert len(cube.data.polygons) == 6
    assert cube.name in bpy.context.scene.objects


def test_cancelling_an_autocomplete_leaves_the_scene_as_it_was(addon, cube, scripted, scene_state):
    before = scene_state()
    job = addon.jobs.autocomplete(bpy.context)
    job.pump()
    scripted.says_faces([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    job.pump()
    assert scene_state() != before

    bpy.ops.meshgpt.cancel()

    assert scene_state() == before


def test_an_original_that_is_deleted_meanwhile_is_not_missed(addon, cube, scripted, square):
    job = addon.jobs.autocomplete(bpy.context)
    job.pump()
    bpy.data.objects.remove(cube)
    scripted.says_done(square)

    job.pump()

    assert job.stage == "finished"


def test_a_mesh_larger_than_a_pipe_gets_through(addon):
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=80, y_subdivisions=80)
    bpy.context.scene.meshgpt.max_faces = 8

    assert bpy.ops.meshgpt.autocomplete() == {"FINISHED"}


def test_without_a_mesh_object_the_button_says_what_to_do(addon):
    with pytest.raises(RuntimeError, match="Select a mesh object first"):
        bpy.ops.meshgpt.autocomplete()
    bpy.ops.object.camera_add()
    with pytest.raises(RuntimeError, match="Camera is not a mesh"):
        bpy.ops.meshgpt.autocomplete()


def test_an_object_scaled_to_nothing_is_refused_with_a_reason(addon, cube):
    cube.scale.z = 0
    bpy.context.view_layer.update()

    with pytest.raises(RuntimeError, match="scaled to nothing"):
        bpy.ops.meshgpt.autocomplete()
