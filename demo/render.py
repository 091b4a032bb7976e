"""Pictures of low-poly meshes: soft light from the left, a floor without an end, and every edge drawn."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

bpy: Any = importlib.import_module("bpy")  # Any: its stubs hold every value to be possibly None

CLAY = (0.75, 0.30, 0.14, 1.0)
INK = (0.055, 0.03, 0.025, 1.0)
FLOOR = (0.90, 0.885, 0.86, 1.0)
LIGHTS = (  # azimuth and elevation in degrees, softness in degrees, strength
    (-75, 42, 25, 1.9),
    (40, 25, 60, 0.25),
    (150, 50, 40, 0.9),
)
AZIMUTH, ELEVATION, LENS, MARGIN = -32, 24, 75, 1.22
LINE = 0.0045  # width of an edge, in sizes of the object
SAMPLES = 10


def render(objects: Sequence[Any], path: Path, size: int = 512) -> None:
    """Write a square picture of `size` pixels of these mesh objects, standing as they stand, to a .png.

    The objects and their scene stay as they are: copies are pictured in a scene that is gone afterwards. Cycles on the processor, some
    seconds for 512 pixels. Raises ValueError if there are no vertices to look at.
    """
    bpy.context.view_layer.update()
    corners = np.concatenate([world_corners(obj) for obj in objects]) if objects else np.zeros((0, 3))
    if not len(corners):
        raise ValueError("there is nothing to picture: give mesh objects with at least one vertex")
    low, high = corners.min(0), corners.max(0)
    extent = float((high - low).max()) or 1.0
    to_unit = Matrix.Scale(1 / extent, 4) @ Matrix.Translation(-Vector((*((low + high) / 2)[:2], low[2])))
    before = {name: set(getattr(bpy.data, name)) for name in ("objects", "meshes", "materials", "lights", "cameras", "worlds")}
    scene = bpy.data.scenes.new("MeshGPT picture")
    try:
        for obj in objects:
            picture(scene, obj, to_unit)
        add_floor(scene)
        add_lights(scene)
        add_camera(scene, (corners @ np.array(to_unit)[:3, :3].T) + np.array(to_unit.translation))
        use_cycles(scene, size)
        scene.render.filepath = str(path.absolute())
        bpy.ops.render.render(write_still=True, scene=scene.name)
    finally:
        bpy.data.scenes.remove(scene)
        for name, kept in before.items():
            bpy.data.batch_remove(set(getattr(bpy.data, name)) - kept)


def picture(scene: Any, obj: Any, to_unit: Matrix) -> None:
    """A copy in clay, and another of its edges alone in ink."""
    for colour, edges in ((CLAY, False), (INK, True)):
        copy = obj.copy()
        copy.data = obj.data.copy()
        copy.data.materials.clear()
        copy.data.materials.append(material(colour))
        copy.data.transform(to_unit @ obj.matrix_world)
        part_faces_that_coincide(copy.data)
        copy.matrix_world = Matrix()
        copy.hide_render = False
        if edges:
            wire = copy.modifiers.new("Edges", "WIREFRAME")
            wire.thickness, wire.use_boundary, wire.use_even_offset = LINE, True, False
            copy.visible_shadow = False
        scene.collection.objects.link(copy)


def part_faces_that_coincide(mesh: Any) -> None:
    """Grow every part by another hair's breadth: faces in one plane would shade each other black."""
    edges = np.array([edge.vertices for edge in mesh.edges]).reshape(-1, 2)
    count = len(mesh.vertices)
    _, part = connected_components(coo_array((np.ones(len(edges)), edges.T), shape=(count, count)), directed=False)
    normals = np.array([vertex.normal for vertex in mesh.vertices])
    corners = np.array([vertex.co for vertex in mesh.vertices]) + normals * (part % 8)[:, None] * LINE / 20
    mesh.vertices.foreach_set("co", corners.ravel())
    mesh.update()


def material(colour: Sequence[float]) -> Any:
    made = bpy.data.materials.new("MeshGPT picture")
    made.use_nodes = True
    surface = made.node_tree.nodes["Principled BSDF"].inputs
    surface["Base Color"].default_value = colour
    surface["Roughness"].default_value = 0.75
    surface["Specular IOR Level"].default_value = 0.2
    return made


def add_floor(scene: Any) -> None:
    mesh = bpy.data.meshes.new("Floor")
    mesh.from_pydata([(x, y, -LINE) for x, y in ((-40, -40), (40, -40), (40, 40), (-40, 40))], [], [range(4)])
    mesh.materials.append(material(FLOOR))
    scene.collection.objects.link(bpy.data.objects.new("Floor", mesh))
    scene.world = bpy.data.worlds.new("MeshGPT picture")
    scene.world.use_nodes = True
    background = scene.world.node_tree.nodes["Background"].inputs
    background["Color"].default_value, background["Strength"].default_value = (0.93, 0.95, 1.0, 1.0), 0.33


def add_lights(scene: Any) -> None:
    for azimuth, elevation, softness, strength in LIGHTS:
        light = bpy.data.lights.new("Light", "SUN")
        light.angle, light.energy = math.radians(softness), strength
        look(scene, light, azimuth, elevation)


def add_camera(scene: Any, corners: NDArray[np.float64]) -> None:
    """A camera as near as it can be with all corners [corners, 3] in the picture, which it centres."""
    camera = bpy.data.cameras.new("Camera")
    camera.lens, camera.clip_end = LENS, 200
    slope = camera.sensor_width / 2 / LENS / MARGIN
    turn = np.array(look(scene, camera, AZIMUTH, ELEVATION).to_3x3())
    across, up, back = (corners @ turn).T
    # at distance d along the view, |x - cx| <= slope * (d - back) for all corners, and the same for y
    reach = [(axis + slope * back).max() - (axis - slope * back).min() for axis in (across, up)]
    centre = [((axis + slope * back).max() + (axis - slope * back).min()) / 2 for axis in (across, up)]
    place = turn @ np.array([*centre, max(reach) / 2 / slope])
    scene.camera = scene.collection.objects[-1]
    scene.camera.location = place.tolist()


def look(scene: Any, data: Any, azimuth: float, elevation: float) -> Matrix:
    """Put a light or a camera into the scene that looks at the middle from there; returns its rotation. Azimuth 0 is the front."""
    rotation = Matrix.Rotation(math.radians(azimuth), 4, "Z") @ Matrix.Rotation(math.radians(90 - elevation), 4, "X")
    made = bpy.data.objects.new(data.name, data)
    made.matrix_world = rotation
    scene.collection.objects.link(made)
    return rotation


def use_cycles(scene: Any, size: int) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", SAMPLES, True
    scene.cycles.max_bounces = 1
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "Standard"


def world_corners(obj: Any) -> NDArray[np.float64]:
    """[vertices, 3] where the object's vertices are in the world."""
    matrix = np.array(obj.matrix_world)
    corners = np.array([vertex.co for vertex in obj.data.vertices]).reshape(-1, 3)
    placed: NDArray[np.float64] = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return placed
