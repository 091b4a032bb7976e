"""A model that makes stacks of boxes, face by face, without torch and without a checkpoint.

The worker plays it with `serve --fake`, and tests use it wherever a real model would only be slow. Some words in a prompt make it
misbehave, so that everything that can go wrong can be tried:

    crash     the process ends in the middle of the mesh, with status 9
    error     an exception in the middle of the mesh
    reject    the first sample is thrown away after some faces
    slow      0.2 seconds a face
    outside   the result carries a note that the model does not know such things
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from core.mesh import FloatArray, Mesh
from core.request import Cancelled, OnFaces, Request, Result, ShouldStop

STEPS = 128  # corners lie on a grid of this many steps to the unit box's side
MISHAP = 4  # faces before a crash, an error or a rejection

# corner i of a box lies at (low, high)[bit of i] in x, y, z = bits 0, 1, 2; counter-clockwise seen from outside
SIDES = [[0, 2, 3, 1], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]
TOP_QUAD, TOP_TRIANGLES = [[4, 5, 7, 6]], [[4, 5, 7], [4, 7, 6]]


class FakeMeshGPT:
    """The face of core.pipeline.MeshGPT, and boxes behind it. Equal seeds give equal meshes.

    seconds_a_face: how long every face takes, but for slow prompts.
    """

    device = "cpu"

    def __init__(self, seconds_a_face: float = 0.005) -> None:
        self.seconds_a_face = seconds_a_face

    def info(self) -> dict[str, Any]:
        return {"name": "fake boxes", "parameters": 0, "domain": ["box", "tower"], "levels": STEPS + 1, "max_faces": 1000}

    def release(self) -> None:
        """There is nothing to give back."""

    def run(self, request: Request, on_faces: OnFaces | None = None, should_stop: ShouldStop | None = None) -> list[Result]:
        """As MeshGPT.run. The variants grow side by side; the faces of a completion begin with those of the given mesh."""
        started = time.perf_counter()
        first_face_seconds = 0.0
        wanted = [self.faces_for(request, variant) for variant in range(request.variants)]
        for step in steps(max(map(len, wanted)), rejecting="reject" in request.text):
            self.misbehave(request.text, step)
            for variant, faces in enumerate(wanted):
                if on_faces is not None and step < len(faces):
                    on_faces(variant, step, faces[step : step + 1])
            first_face_seconds = first_face_seconds or time.perf_counter() - started
            if should_stop is not None and should_stop():
                raise Cancelled
        return [
            Result(
                mesh=Mesh.from_face_coordinates(faces),
                text=request.text,
                seed=request.seed,
                variant=variant,
                seconds=time.perf_counter() - started,
                first_face_seconds=first_face_seconds,
                rejected=int("reject" in request.text),
                ended=request.max_faces is None or len(faces) < request.max_faces,
                drawn=(request.candidates or 1) + int("reject" in request.text),
                note="This model knows boxes and towers best; the result may be far from what you asked for." * ("outside" in request.text),
            )
            for variant, faces in enumerate(wanted)
        ]

    def faces_for(self, request: Request, variant: int) -> FloatArray:
        faces = stack_of_boxes(np.random.default_rng([request.seed, variant]))
        if request.mesh is not None:
            frame = request.mesh.frame()
            added = frame.to_world(faces + np.array([0, 0, 1], np.float32))  # on top of what is given
            faces = np.concatenate([request.mesh.quads().face_coordinates(), added])
        return faces[: request.max_faces]

    def misbehave(self, text: str, step: int) -> None:
        time.sleep(0.2 if "slow" in text else self.seconds_a_face)
        if step == MISHAP and "crash" in text:
            os._exit(9)
        if step == MISHAP and "error" in text:
            raise RuntimeError("the fake model fails, as it was asked to")


def steps(count: int, rejecting: bool) -> list[int]:
    """The indices of the faces in the order they are made; after a rejection they begin again."""
    return [*range(min(MISHAP, count) if rejecting else 0), *range(count)]


def stack_of_boxes(rng: np.random.Generator) -> FloatArray:
    """[faces, 4, 3] two to five boxes on each other in the unit box, quads but for the topmost face, which is two triangles."""
    count = int(rng.integers(2, 6))
    floors = np.concatenate([[0], np.sort(rng.choice(np.arange(8, STEPS - 8, 8), count - 1, replace=False)), [STEPS]])
    halves = np.sort(rng.integers(8, STEPS // 2 + 1, (count, 2)), 0)[::-1]
    faces = []
    for index, (half, low, high) in enumerate(zip(halves, floors, floors[1:], strict=False)):
        corners = np.array([[x, y, z] for z in (low, high) for y in (-half[1], half[1]) for x in (-half[0], half[0])]) / STEPS
        top = TOP_TRIANGLES if index == count - 1 else TOP_QUAD
        faces += [corners[face] if len(face) == 4 else np.vstack([corners[face], [[np.nan] * 3]]) for face in SIDES + top]
    return np.array(faces, np.float32)
