"""One request in flight: started, pumped, streamed into previews, then committed as one undo step, or cancelled without a trace.

There is one engine, Job, and two drivers: a timer where Blender has a window, and a loop that waits where it has none. No tick works
longer than TICK_SECONDS, and no datablock is held from one tick to the next: they are looked up by their session uid.
"""

from __future__ import annotations

import itertools
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent
from mathutils import Matrix, Vector

from . import meshes, runtime
from .errors import AddonError, sentence
from .properties import settings_of

TICK_SECONDS = 0.008
PREVIEW = "meshgpt_preview"  # marks a preview, so that one that an undo or an autosave brings back can be told and taken out
CANCEL_SECONDS = 10.0

ids = itertools.count(1)
job: Job | None = None  # the current one, or the last one that ended


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


# ---- starting one


def generate(context: bpy.types.Context) -> Job:
    """Start making what the scene's prompt says, at the 3D cursor. Raises AddonError if no worker can be started."""
    settings = settings_of(context.scene)
    worker = runtime.worker()
    target = Target(
        Name.of(context.scene),
        context.view_layer.name,
        Name.of(editable_collection(context)),
        title(settings.prompt),
        Matrix.Translation(context.scene.cursor.location),
        Vector((settings.size * 1.25, 0, 0)),
        Matrix.Scale(settings.size, 4),
    )
    return begin(worker, {"type": "generate", "text": settings.prompt.strip()} | settings.sampling(), target)


def autocomplete(context: bpy.types.Context) -> Job:
    """Start completing the active object, guided by the scene's prompt if there is one.

    The result is a new object in the same place; the original is hidden. Raises AddonError if the object cannot be used.
    """
    settings, source = settings_of(context.scene), context.active_object
    polygons = meshes.read_object(source, context.evaluated_depsgraph_get())
    sent = meshes.standing(source.matrix_world)
    vertices, faces = meshes.to_wire(polygons.moved(sent))
    worker = runtime.worker()
    target = Target(
        Name.of(context.scene),
        context.view_layer.name,
        Name.of(editable_collection(context)),
        f"{source.name} completed"[:60],
        source.matrix_world.copy(),
        Vector((max(source.dimensions[:]) * 1.25, 0, 0)),
        sent.inverted(),
        Name.of(source),
    )
    request = {"type": "complete", "text": settings.prompt.strip(), "vertices": vertices, "faces": faces}
    if settings.bounds:
        request["bounds"] = meshes.box(settings.bounds, sent @ source.matrix_world.inverted())
    return begin(worker, request | settings.sampling(), target)


def begin(worker: runtime.Worker, request: runtime.Message, target: Target) -> Job:
    """Make the job the current one and, where Blender has a window, let a timer pump it."""
    global job
    job = Job(worker, request, target)
    if not bpy.app.background and not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick)
    return job


def busy() -> Job | None:
    """The job that is under way, if there is one."""
    return job if job and not job.over else None


# ---- the two drivers


def wait(current: Job) -> None:
    """Pump the job to its end. An interrupt from the keyboard cancels it."""
    try:
        while not current.over:
            if not current.pump():
                time.sleep(0.005)
    except KeyboardInterrupt:
        current.cancel()
        raise


def tick() -> float | None:
    """Pump the current job a little: the timer's function."""
    if not job or job.over:
        return None
    try:
        more = job.pump()
    except Exception:  # a defect of ours must not leave a job that never ends
        traceback.print_exc()
        job.end("failed", "Something went wrong inside the add-on. The system console says more.")
    runtime.redraw()
    if job.stage == "failed":
        show_message(job.text)
    return None if job.over else 0.0 if more else 0.05


def show_message(text: str) -> None:
    """Show a message under the mouse, for an artist who does not have the panel open."""
    windows = bpy.context.window_manager.windows
    if windows:
        with bpy.context.temp_override(window=windows[0]):
            bpy.context.window_manager.popup_menu(lambda menu, _: menu.layout.label(text=text), title="MeshGPT", icon="ERROR")


def push_undo(scene: bpy.types.Scene, message: str) -> None:
    windows = [window for window in bpy.context.window_manager.windows if window.scene == scene]
    with bpy.context.temp_override(window=windows[0]) if windows else bpy.context.temp_override():
        bpy.ops.ed.undo_push(message=message)


# ---- small things


def editable_collection(context: bpy.types.Context) -> bpy.types.Collection:
    return context.collection if context.collection.is_editable else context.scene.collection


def title(prompt: str) -> str:
    """An object's name from a prompt: no article, a capital, not too long."""
    words = prompt.split()
    if len(words) > 1 and words[0].lower() in ("a", "an", "the"):
        words = words[1:]
    name = " ".join(words)[:40].strip()
    return name[:1].upper() + name[1:]


def count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


# ---- what Blender does meanwhile


def abort(text: str) -> None:
    if current := busy():
        current.end("cancelled", text)


@persistent  # type: ignore[untyped-decorator]
def before_load(*_: object) -> None:
    global job
    abort("Stopped because another file was opened")
    job = None


@persistent  # type: ignore[untyped-decorator]
def before_undo(*_: object) -> None:
    abort("Stopped by the undo. Press Generate to start again.")


@persistent  # type: ignore[untyped-decorator]
def before_save(*_: object) -> None:
    if current := busy():
        current.remove_previews()


@persistent  # type: ignore[untyped-decorator]
def remove_strays(*_: object) -> None:
    """Take out previews that an undo step or an autosaved file brought back."""
    kept = {stream.preview.uid for stream in job.streams.values() if stream.preview} if job else set()
    for obj in [obj for obj in bpy.data.objects if obj.get(PREVIEW) and obj.session_uid not in kept]:
        bpy.data.objects.remove(obj)
    for mesh in [mesh for mesh in bpy.data.meshes if mesh.get(PREVIEW) and not mesh.users]:
        bpy.data.meshes.remove(mesh)


HANDLERS = (
    ("load_pre", before_load),
    ("load_post", remove_strays),
    ("undo_pre", before_undo),
    ("undo_post", remove_strays),
    ("redo_pre", before_undo),
    ("redo_post", remove_strays),
    ("save_pre", before_save),
)


def register() -> None:
    for event, handler in HANDLERS:
        getattr(bpy.app.handlers, event).append(handler)


def unregister() -> None:
    global job
    abort("Stopped because the add-on was turned off")
    job = None
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for event, handler in HANDLERS:
        handlers = getattr(bpy.app.handlers, event)
        if handler in handlers:
            handlers.remove(handler)
