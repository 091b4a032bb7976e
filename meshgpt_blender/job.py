"""A request in flight: sent, streamed into previews, then committed as one undo step, or cancelled without a trace.

No pump works longer than TICK_SECONDS, and no datablock is held from one pump to the next: they are looked up by their session uid. What
pumps, and which job is the current one, is not known here.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from . import meshes, runtime
from .errors import AddonError, sentence

TICK_SECONDS = 0.008
PREVIEW = "meshgpt_preview"  # marks a preview, so that one that an undo or an autosave brings back can be told and taken out
CANCEL_SECONDS = 10.0

ids = itertools.count(1)


# ---- names of datablocks


@dataclass(frozen=True)
class Name:
    """How to find a datablock again: by its name if it still has it, else by its uid."""

    name: str
    uid: int

    @classmethod
    def of(cls, block: bpy.types.ID) -> Name:
        return cls(block.name, block.session_uid)

    def find(self, blocks: Any) -> Any:
        """The datablock among e.g. bpy.data.objects, or None if it is gone."""
        block = blocks.get(self.name)
        if block and block.session_uid == self.uid:
            return block
        return next((block for block in blocks if block.session_uid == self.uid), None)


@dataclass(frozen=True)
class Target:
    """Where the meshes go.

    matrix: of the first variant's object; step: from one variant to the next, both in the world. received: from the worker's coordinates to
    the object's. source: the object that is completed, to be hidden; None for a mesh from nothing.
    """

    scene: Name
    view_layer: str
    collection: Name
    name: str
    matrix: Matrix
    step: Vector
    received: Matrix
    source: Name | None = None

    def place(self, variant: int) -> Matrix:
        return Matrix.Translation(self.step * variant) @ self.matrix


# ---- the engine


class Job:
    """A request, its previews and its results.

    stage: "waiting" for a worker that is free, "running", "placing" the results, then one of "finished", "failed" and "cancelled".
    """

    def __init__(
        self, worker: runtime.Worker, request: runtime.Message, target: Target, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.worker, self.target, self.clock = worker, target, clock
        self.request = request | {"id": f"r{next(ids)}"}
        self.stage = "waiting"
        self.text = "Starting the worker" if not worker.ready else "Waiting for the worker"
        self.started, self.longest_tick = clock(), 0.0
        self.faces = 0
        self.streams: dict[int, Stream] = {}
        self.results: list[runtime.Message] = []
        self.built: list[Name] = []
        self.refused = 0
        self.objects: list[Name] = []

    @property
    def over(self) -> bool:
        return self.stage in ("finished", "failed", "cancelled")

    def pump(self) -> bool:
        """Do what there is to do, for TICK_SECONDS at most and one piece at least. Returns whether more is left to do at once."""
        started = self.clock()
        try:
            for _ in self.work():
                if self.over or self.clock() - started >= TICK_SECONDS:
                    return not self.over
        except AddonError as error:
            self.end("failed", str(error))
        finally:
            self.longest_tick = max(self.longest_tick, self.clock() - started)
        return False

    def work(self) -> Iterator[None]:
        """All there is to do now, a small piece between one yield and the next."""
        while not self.over and (message := self.worker.receive()) is not None:
            self.handle(message)
            yield
        if self.stage == "waiting" and self.worker.request and self.clock() - self.started > CANCEL_SECONDS:
            self.worker.process.kill()  # it does not hear that an earlier job was cancelled
            runtime.stop()
            self.worker = runtime.worker()
        if self.stage == "waiting" and self.worker.ready and not self.worker.request:
            self.worker.send(self.request)
            self.stage, self.text = "running", "Loading the model"
            yield
        for variant, stream in self.streams.items():
            if stream.changed and not self.over:
                self.show(variant, stream)
                yield
        while self.stage == "placing" and len(self.built) < len(self.results):
            self.build(self.results[len(self.built)])
            yield
        if self.stage == "placing" and self.in_object_mode():
            self.commit()

    def handle(self, message: runtime.Message) -> None:
        if message.get("id") != self.request["id"]:
            return  # the last words of a job that was cancelled
        match message["type"]:
            case "progress":
                self.faces = message["faces"]
                self.text = "Loading the model" if message["stage"] == "loading" else f"{count(self.faces, 'face')} so far"
            case "faces":
                stream = self.streams.setdefault(message["variant"], Stream())
                stream.put(message["start"], message["faces"])
            case "done":
                self.results, self.stage, self.text = message["meshes"], "placing", "Placing"
            case "error":
                raise AddonError(message["message"], message.get("hint", ""))
            case "cancelled":
                raise AddonError("the worker stopped early", "try again")

    def cancel(self) -> None:
        """Stop, and leave the scene as it was."""
        if not self.over:
            self.end("cancelled", "Cancelled")

    def end(self, stage: str, text: str) -> None:
        if self.worker.request == self.request["id"] and self.worker.alive:
            self.worker.send({"type": "cancel", "id": self.request["id"]})
        self.remove_previews()
        if stage != "finished":
            for name in self.built:
                if mesh := name.find(bpy.data.meshes):
                    bpy.data.meshes.remove(mesh)
        self.stage, self.text = stage, text

    # ---- previews

    def show(self, variant: int, stream: Stream) -> None:
        """Bring the preview of a variant up to date; make it if it is not there."""
        preview: Any = stream.preview and stream.preview.find(bpy.data.objects)
        if not preview:
            preview = bpy.data.objects.new(f"{self.target.name} (preview)", bpy.data.meshes.new("MeshGPT preview"))
            preview[PREVIEW] = preview.data[PREVIEW] = True
            preview.matrix_world = self.target.place(variant)
            preview.hide_select, preview.show_wire = True, True
            self.collection().objects.link(preview)
            stream.preview = Name.of(preview)
        meshes.show_faces(preview.data, meshes.transform(stream.faces(), self.target.received))
        stream.changed = False

    def remove_previews(self) -> None:
        """Take the previews out; if the job goes on, the next tick makes them again."""
        for stream in self.streams.values():
            if stream.preview and (preview := stream.preview.find(bpy.data.objects)):
                bpy.data.meshes.remove(preview.data)  # takes the object with it
            stream.preview, stream.changed = None, True

    # ---- results

    def build(self, result: runtime.Message) -> None:
        polygons = meshes.from_wire(result["vertices"], result["faces"]).moved(self.target.received)
        mesh, refused = meshes.new_mesh(self.target.name, polygons)
        self.refused += refused
        self.built.append(Name.of(mesh))

    def commit(self) -> None:
        """Put the results into the scene, select them, hide what they replace: one undo step."""
        scene, view_layer = self.scene(), self.view_layer()
        collection = self.collection()
        self.remove_previews()
        for selected in list(view_layer.objects.selected):
            selected.select_set(False, view_layer=view_layer)
        for result, name in zip(self.results, self.built, strict=True):
            obj = bpy.data.objects.new(self.target.name, name.find(bpy.data.meshes))
            obj.matrix_world = self.target.place(result["variant"])
            obj["meshgpt_prompt"], obj["meshgpt_seed"], obj["meshgpt_variant"] = result["text"], result["seed"], result["variant"]
            obj["meshgpt_model"] = self.worker.ready["model"]
            obj["meshgpt_rejected"], obj["meshgpt_drawn"] = result["rejected"], result["drawn"]
            collection.objects.link(obj)
            self.objects.append(Name.of(obj))
        view_layer.update()  # else it does not know them yet
        for name in reversed(self.objects):
            if obj := view_layer.objects.get(name.name):  # not if the collection is left out of the view layer
                obj.select_set(True, view_layer=view_layer)
                view_layer.objects.active = obj
        source = self.target.source and self.target.source.find(bpy.data.objects)
        if source and source.name in view_layer.objects:
            source.hide_set(True, view_layer=view_layer)
            source.hide_render = True
        self.end("finished", self.summary())
        push_undo(scene, f"MeshGPT: {self.target.name}")

    def summary(self) -> str:
        """What was made, in a sentence or two."""
        faces = sum(len(name.find(bpy.data.meshes).polygons) for name in self.built)
        made = f"{count(len(self.built), 'mesh', 'meshes')}, {count(faces, 'face')}" if len(self.built) > 1 else count(faces, "face")
        parts = [f"{made} in {self.clock() - self.started:.1f} s, seed {self.request['seed']}"]
        rejected, drawn = (sum(result[name] for result in self.results) for name in ("rejected", "drawn"))
        parts.append(f"{rejected} of {count(drawn, 'sample')} rejected ({rejected / drawn:.0%})")
        if self.refused:
            parts.append(f"left out {count(self.refused, 'face')} that repeated a corner or another face")
        if cut := sum(not result["ended"] and not result["note"] for result in self.results):
            parts.append(f"{count(cut, 'mesh', 'meshes')} reached the limit of faces before being complete")
        parts += dict.fromkeys(result["note"] for result in self.results)
        return " ".join(sentence(part) for part in parts).strip()

    # ---- the scene

    def scene(self) -> bpy.types.Scene:
        scene = self.target.scene.find(bpy.data.scenes)
        if not scene:
            raise AddonError("the scene the mesh was made for is gone", "generate it again in another scene")
        return scene

    def view_layer(self) -> bpy.types.ViewLayer:
        scene = self.scene()
        return scene.view_layers.get(self.target.view_layer) or scene.view_layers[0]

    def collection(self) -> bpy.types.Collection:
        return self.target.collection.find(bpy.data.collections) or self.scene().collection

    def in_object_mode(self) -> bool:
        """Whether objects can be placed now; says what to do if not."""
        active = self.view_layer().objects.active
        if active is None or active.mode == "OBJECT":
            return True
        self.text = "Leave Edit Mode to place the mesh"
        return False


class Stream:
    """The faces of one variant as they come: an array that grows by doubling."""

    def __init__(self) -> None:
        self.corners = np.full((64, 4, 3), np.nan, np.float32)
        self.count = 0
        self.changed = False
        self.preview: Name | None = None

    def put(self, start: int, faces: list[list[list[float]]]) -> None:
        """Faces of 3 or 4 corners, the first at index `start`; what was there from `start` on is forgotten."""
        end = start + len(faces)
        while end > len(self.corners):
            self.corners = np.concatenate([self.corners, np.full_like(self.corners, np.nan)])
        self.corners[start:] = np.nan
        for index, face in enumerate(faces, start):
            self.corners[index, : len(face)] = face
        self.count, self.changed = end, True

    def faces(self) -> meshes.FloatArray:
        """[faces, 4, 3], NaN for what is absent."""
        return self.corners[: self.count]


# ---- small things


def push_undo(scene: bpy.types.Scene, message: str) -> None:
    windows = [window for window in bpy.context.window_manager.windows if window.scene == scene]
    with bpy.context.temp_override(window=windows[0]) if windows else bpy.context.temp_override():
        bpy.ops.ed.undo_push(message=message)


def count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
