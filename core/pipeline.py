"""MeshGPT: the one way to make a mesh. Text to meshes, and unfinished meshes to finished ones.

The worker, the command line, the batch mode, the benchmarks and the tests all call `MeshGPT.run`; `generate` and `complete` say the same
more shortly.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from core.captured import Captured
from core.checkpoint import bad_checkpoint, read_config, read_weights
from core.conditioning import Text, TextConditioner
from core.decoding import OnFace, Row, Sampling, decode
from core.devices import Choice, choose, or_on_cpu
from core.engine import Engine
from core.errors import MeshGPTError
from core.grammar import NO_CORNER, VERTICES_PER_FACE, Corner
from core.hints import box_between
from core.mesh import FloatArray, Frame, Mesh, quantise
from core.notes import PROPERTIES, note_on_properties, note_on_text
from core.placement import Prefix, likeliest
from core.properties import Properties
from core.request import Cancelled, OnFaces, Request, Result, ShouldStop
from core.tokenizer import Tokenizer, make_tokenizer
from core.transformer_config import TransformerConfig
from core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from core.transformer import MeshTransformer

__all__ = ["Cancelled", "MeshGPT", "Request", "Result"]

FACTS = ("config", "name", "tokenizer", "domain", "nouns")  # what config.json must say
ATTEMPTS = 40  # times that a variant is drawn, or a part of it drawn anew, before the best of what came is taken as it is
TO_COMPLETE = 8  # candidates for a completion at least, if the request does not say how many: few of them meet what was given everywhere
BACK = 3  # corners that a sample which has gone wrong is taken back where going on from where it was stuck gets it no further
FEW = 2  # samples that have gone wrong before one of them is taken up again: until then one is drawn anew
GIVE_UP = 0.003  # a sample has gone wrong where its grammar allows less than this share of what the model expects next
MOST_ROWS = 64  # samples drawn at once; what is more waits
FACES_AT_ONCE = 768  # of placements that are held against each other: more are hardly faster, and each takes 0.2 MB
REACH = 1.5  # steps of the grid that a mesh may stay away from a side of the box that it is to fill
CONTEXT = 8  # faces that a learned decoder looks back on for the one just streamed


Wish = tuple[str, Properties]  # what a mesh shall be
NOTHING: Wish = ("", Properties())


@dataclass(frozen=True)
class Task:
    """A request as it is for this model. wanted: what it knows of what is asked for. prefix: the mesh to complete, placed. limit: new faces
    at most. text: what is wanted as the transformer reads it, with guidance a row below it without the prompt. stream: where faces go.
    started: when the request came.
    """

    request: Request
    wanted: Wish
    prefix: Prefix | None
    sampling: Sampling
    limit: int
    candidates: int
    text: Text | None
    stream: OnFaces
    started: float

    @property
    def given(self) -> int:
        """How many faces a completed mesh begins with."""
        return len(self.prefix.mesh.faces) if self.prefix else 0

    def new(self, faces: list[list[int]]) -> list[list[int]]:
        """Those of a sample's faces that are not given, `limit` at most: more can come before the last one given has."""
        return [face for face in faces if tuple(face) not in self.prefix.faces][: self.limit] if self.prefix else faces


@dataclass
class Draft:
    """A variant on its way. rows: the candidates at hand, of which the first is shown. strays: the candidates that were drawn first, and
    one more where there was one alone, as they are taken up again in turn. best: the best sample so far. drawn: how many samples there
    were. flawed: how many of those did not end or were broken. adds_nothing: whether all that were drawn first ended without a new face.

    first_face, seconds: from the request's start to the first face, and to the end of the last sample.
    """

    variant: int
    rows: list[Row] = field(init=False)
    strays: deque[Stray] = field(init=False)
    best: Sample = field(init=False)
    drawn: int = 0
    flawed: int = 0
    adds_nothing: bool = False
    first_face: float = 0.0
    seconds: float = 0.0


@dataclass
class Stray:
    """A sample that has gone wrong, and whatever was drawn in its place. faces: of the one that got furthest since it was last begun anew.
    stuck: the corner at which that one found no way on, NO_CORNER if it is not known. back: how many corners before that to begin the next.
    """

    faces: list[list[int]]
    stuck: Corner
    back: int = 0

    def turn(self, new: Sequence[Sequence[int]]) -> Corner:
        """The corner at which the next one is to do otherwise: where this one was stuck, or where one of its new faces begins; NO_CORNER
        where it is to be begun anew."""
        begun = {tuple(face[: len(self.stuck)]) for face in new}
        turns = sorted({self.stuck, *(corner for corner in begun if corner < self.stuck)}, reverse=True)
        return turns[self.back] if self.back < len(turns) else NO_CORNER

    def follow(self, faces: list[list[int]], stuck: Corner, anew: bool) -> None:
        """Take note of what was drawn from there."""
        if anew or stuck > self.stuck:
            self.faces, self.stuck, self.back = faces, stuck, 0
        else:
            self.back = 2 * self.back + BACK


@dataclass(frozen=True)
class Sample:
    """A mesh that was drawn, and what is wrong with it: whether it did not end or not begin; how many faces and edges are not as they
    should be, or how many faces it has got to, which count against that; and how many sides of the box that it was to fill are not reached.
    """

    row: Row
    mesh: Mesh
    flaws: tuple[bool, int, int]

    @property
    def sound(self) -> bool:
        return self.flaws == (False, 0, 0)

    @property
    def whole(self) -> bool:
        """Whether it is sound but for the size of it."""
        return self.flaws[:2] == (False, 0)


class MeshGPT:
    """A checkpoint, ready to make meshes. Load one with `from_pretrained`."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: TransformerConfig,
        weights: dict[str, Tensor],
        facts: dict[str, Any],
        choice: Choice,
        folder: Path,
    ) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.weights = weights
        self.facts = facts
        self.folder = folder
        self.default_sampling = Sampling(**facts.get("sampling", {}))
        self.candidates: int = facts.get("candidates", 1)  # what a request that names no number of them gets
        self.device, self.device_note = torch.device(choice.device), choice.note
        or_on_cpu(self.take_device, self.leave_device)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "auto") -> MeshGPT:
        """The checkpoint of a MeshTransformer in a folder, on a device: "cpu", "cuda", "mps", or "auto" for the best there is.

        Where a graphics card does not work, or stops working later, the CPU takes over, and every result has a note that says why.
        Raises MeshGPTError: bad_checkpoint if the folder is missing or damaged, bad_device if there is no such device.
        """
        folder = Path(folder)
        choice = choose(device)
        facts = read_config(folder, FACTS)
        weights = read_weights(folder, facts["shards"])
        tokenizer = make_tokenizer(facts["tokenizer"])
        try:
            if isinstance(tokenizer, torch.nn.Module):
                of_tokenizer = {name: weight for name, weight in weights.items() if name.startswith("tokenizer.")}
                tokenizer.load_state_dict({name.removeprefix("tokenizer."): weight for name, weight in of_tokenizer.items()})
                tokenizer.eval()
            return cls(tokenizer, TransformerConfig(**facts["config"]), weights, facts, choice, folder)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise bad_checkpoint(f"the weights in {folder} do not fit its config.json", "copy or download the model again") from error

    def take_device(self) -> None:
        """Put what generates where it is to compute."""
        self.stepper = stepper = self.make_stepper()
        self.captured = Captured(stepper) if isinstance(stepper, Engine) and self.device.type == "cuda" else None

    def leave_device(self, note: str) -> None:
        """Go on on the CPU, for the reason in the note."""
        self.__dict__.pop("text_conditioner", None)
        self.device, self.device_note, self.captured = torch.device("cpu"), note, None
        self.take_device()

    def release(self) -> None:
        """Give back memory that is kept ready for the next request."""
        if captured := self.captured:
            or_on_cpu(captured.release, self.leave_device)

    def make_stepper(self) -> Engine | MeshTransformer:
        """What generates: the engine, or the transformer itself where the engine does not know its kind."""
        if Engine.supports(self.config) is None:
            return Engine(self.tokenizer, self.config, self.weights, self.device)
        from core.transformer import MeshTransformer  # needs packages that the engine does without

        transformer = MeshTransformer(self.tokenizer, self.config)
        transformer.load_state_dict(self.weights)
        return transformer.to(self.device).eval()

    @cached_property
    def text_conditioner(self) -> TextConditioner:
        """Built on first use: the import behind it takes seconds."""
        c = self.config
        conditioner = TextConditioner(c.text_condition_model_types, c.text_condition_model_kwargs, c.condition_on_properties)
        prefix = "text."
        conditioner.load_state_dict({name.removeprefix(prefix): w for name, w in self.weights.items() if name.startswith(prefix)})
        return conditioner.to(self.device).eval()

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """What the model knows of words that are not in its captions, if anything."""
        return Vocabulary.load(self.folder, self.facts["nouns"])

    def info(self) -> dict[str, Any]:
        """What the model is, in plain values."""
        return {
            "name": self.facts["name"],
            "parameters": sum(weight.numel() for weight in self.weights.values()),
            "tokenizer": type(self.tokenizer).__name__,
            "levels": self.tokenizer.levels,
            "max_faces": self.stepper.max_faces,
            "properties": [name for name in PROPERTIES if self.config.condition_on_properties],
            "domain": self.facts["domain"],
            "sampling": asdict(self.default_sampling),
            "candidates": self.candidates,
            "device": str(self.device),
        }

    def generate(self, texts: str | Sequence[str], *, on_faces: OnFaces | None = None, **options: Any) -> list[Mesh]:
        """The meshes of each text, in order, in the unit box. options: further fields of Request, with its errors; on_faces as in `run`."""
        requests = [Request(text, **options) for text in ([texts] if isinstance(texts, str) else texts)]
        return [result.mesh for request in requests for result in self.run(request, on_faces)]

    def complete(self, mesh: Mesh, text: str = "", *, on_faces: OnFaces | None = None, **options: Any) -> list[Mesh]:
        """Finished versions of a mesh, which keep its faces and its coordinates. options, on_faces: as in `generate`."""
        return [result.mesh for result in self.run(Request(text, mesh, **options), on_faces)]

    def run(
        self,
        request: Request,
        on_faces: OnFaces | None = None,
        should_stop: ShouldStop | None = None,
        attempts: int = ATTEMPTS,
    ) -> list[Result]:
        """Make what is asked for: one result a variant, in order.

        Of a variant's candidates those that do not end or have open edges or faces without area are thrown away, and the best of the others
        is the result. If there is none, another is drawn where there was one alone, and then one after the other is taken up again where it
        found no way on, `attempts` times in all with the first: if it was stuck at what waited, with something below that. Each time that
        this gets it no further it is taken back more than twice as far, until it is drawn anew from the start. A mesh to complete stays
        within the bounds, if there are any, and reaches every side of them; from half of these times on it may stay smaller, and keep open
        edges. If nothing helps, the sample with the fewest flaws is the result.
        on_faces(variant, start, coordinates [n, 4, 3]): faces of the first candidate as they come; a start that was passed before means
        that the sample from there on was thrown away, or that another was chosen. should_stop: asked after every face.
        Raises Cancelled when should_stop said so, and MeshGPTError: bad_mesh, bad_request if the mesh, max_faces or the number of faces
        asked for is too large, no_mesh if not a single face came of it.
        """
        return or_on_cpu(lambda: self.make(request, on_faces or ignore, should_stop, attempts), self.leave_device)

    # ---- the steps of a run

    def make(self, request: Request, stream: OnFaces, should_stop: ShouldStop | None, attempts: int) -> list[Result]:
        """`run`, on the device at hand."""
        task = self.prepare(request, stream)
        drafts = [Draft(variant) for variant in range(request.variants)]
        if task.prefix:
            for draft in drafts:
                task.stream(draft.variant, 0, task.prefix.mesh.quads().face_coordinates())
        together = max(1, MOST_ROWS // task.candidates)
        for first in range(0, len(drafts), together):
            self.draw(task, drafts[first : first + together], should_stop)
        for draft in drafts:
            for attempt in range(1, attempts):
                late = 2 * attempt > attempts
                if draft.best.sound or draft.adds_nothing or (late and draft.best.whole):
                    break
                self.go_back(task, draft, should_stop, leave_open=late and task.prefix is not None)
        for draft in drafts:
            if draft.best.row is not draft.rows[0]:
                task.stream(draft.variant, task.given, self.coordinates(task.new(draft.best.row.faces), task.prefix))
        return [self.result(task, draft) for draft in drafts]

    def prepare(self, request: Request, stream: OnFaces) -> Task:
        """What a request comes to for this model."""
        started, known = time.monotonic(), self.config.condition_on_properties
        properties = request.properties if known else Properties()
        if known and request.bounds and not properties.extents:
            properties = replace(properties, extents=tuple(np.subtract(request.bounds[1], request.bounds[0]).tolist()))
        text = request.text.strip()
        sampling, wanted = self.sampling(request), (self.reading(text) or text, properties)
        prefix = None if request.mesh is None else self.place(request, wanted)
        return Task(
            request=request,
            wanted=wanted,
            prefix=prefix,
            sampling=sampling,
            limit=self.room(request, prefix),
            candidates=request.candidates or (max(self.candidates, TO_COMPLETE) if prefix else self.candidates),
            text=self.read(wanted) if sampling.guidance_scale == 1 else self.read(wanted, ("", properties)),
            stream=stream,
            started=started,
        )

    def draw(self, task: Task, batch: list[Draft], should_stop: ShouldStop | None) -> None:
        """Draw the candidates of each of the drafts, all at once, and choose among them. Raises Cancelled."""
        for draft in batch:
            draft.rows = [self.row(task, draft.variant, number, []) for number in range(task.candidates)]

        def show(row: int) -> None:
            if row % task.candidates == 0:
                draft = batch[row // task.candidates]
                self.show(task, draft, draft.rows[0].faces)

        self.decode(task, [row for draft in batch for row in draft.rows], [], show, should_stop)
        for draft in batch:
            self.judge(task, draft)
            draft.strays = deque(Stray(row.faces, self.stuck(task, row)) for row in draft.rows)

    def go_back(self, task: Task, draft: Draft, should_stop: ShouldStop | None, leave_open: bool) -> None:
        """Draw one of the strays otherwise from where it was stuck, from before that, or anew, or one more. Raises Cancelled.

        leave_open: what is open where it begins may stay so.
        """
        if len(draft.strays) < FEW:
            draft.strays.appendleft(Stray([], NO_CORNER))
        stray = draft.strays[0]
        draft.strays.rotate(-1)
        turn = stray.turn(task.new(stray.faces))
        kept = [face for face in stray.faces if tuple(face[: len(turn)]) < turn]
        if kept:
            task.stream(draft.variant, task.given, self.coordinates(task.new(kept), task.prefix))
        draft.rows = [row] = [self.row(task, draft.variant, draft.drawn, kept)]
        if leave_open:
            row.grammar.leave_open()
        elif turn and turn == row.grammar.waiting():
            row.grammar.close_later()
        self.decode(task, draft.rows, kept, lambda _: self.show(task, draft, kept + row.faces), should_stop)
        self.judge(task, draft)
        stray.follow(row.faces, self.stuck(task, row), anew=not turn)

    def decode(self, task: Task, rows: list[Row], kept: list[list[int]], show: OnFace, should_stop: ShouldStop | None) -> None:
        """Draw rows to their ends, behind the given mesh and the faces `kept`, which they then begin with. Raises Cancelled."""
        given = [*(task.prefix.codes.tolist() if task.prefix else []), *kept]
        generate = self.captured.decode if self.captured else partial(decode, self.stepper)
        finished = generate(
            task.text,
            rows,
            task.sampling,
            given=np.array(given) if given else None,
            drawn=len(kept),
            max_faces=task.limit + (len(task.prefix.codes) if task.prefix else 0) - len(kept),
            on_face=show,
            should_stop=should_stop,
        )
        if not finished:
            raise Cancelled
        for row in rows:
            row.faces[:0] = kept

    def show(self, task: Task, draft: Draft, faces: list[list[int]]) -> None:
        """Stream the last face, if it is a new one."""
        new = task.new(faces)
        if new[-1:] == faces[-1:]:
            draft.first_face = draft.first_face or time.monotonic() - task.started
            task.stream(draft.variant, task.given + len(new) - 1, self.coordinates(new[-CONTEXT:], task.prefix)[-1:])

    def judge(self, task: Task, draft: Draft) -> None:
        """Take the rows that have come to their ends into account."""
        samples = [self.build(task, row) for row in draft.rows]
        best = self.best(task, samples)
        draft.best = min(draft.best, best, key=lambda one: one.flaws) if draft.drawn else best
        draft.adds_nothing = not draft.drawn and all(sample.row.ended and not task.new(sample.row.faces) for sample in samples)
        draft.drawn += len(samples)
        draft.flawed += sum(not sample.sound for sample in samples)
        draft.seconds = time.monotonic() - task.started

    def stuck(self, task: Task, row: Row) -> Corner:
        """The corner at which a row found no way on; NO_CORNER if that is not known, or if it has ended or grown too long."""
        too_long = len(row.faces) >= task.limit + (len(task.prefix.codes) if task.prefix else 0)
        return NO_CORNER if row.ended or too_long else row.grammar.stuck()

    def sampling(self, request: Request) -> Sampling:
        temperature = self.default_sampling.temperature if request.temperature is None else request.temperature
        scale = self.default_sampling.guidance_scale if request.guidance_scale is None else request.guidance_scale
        guided = self.config.condition_on_text and request.text.strip()
        return replace(self.default_sampling, temperature=temperature, give_up=GIVE_UP, guidance_scale=scale if guided else 1.0)

    def room(self, request: Request, prefix: Prefix | None) -> int:
        """How many new faces there may be."""
        context, taken = self.stepper.max_faces, len(prefix.codes) if prefix else 0
        wanted = context if request.max_faces is None else request.max_faces
        for name, faces in (("max_faces", wanted), ("faces", request.properties.faces or 0)):
            if faces > context:
                raise MeshGPTError(
                    f"{name} is {faces} but this model makes meshes of at most {context} faces",
                    hint=f"ask for {context} or fewer",
                    code="bad_request",
                )
        if taken >= wanted:
            raise MeshGPTError(
                f"the mesh to complete has {taken} faces and the result may have {wanted}",
                hint="simplify the mesh first, for example with a Decimate modifier" if request.max_faces is None else "allow more faces",
                code="bad_mesh",
            )
        return wanted - taken

    def row(self, task: Task, variant: int, attempt: int, kept: list[list[int]]) -> Row:
        """A sample that goes on behind the faces `kept`."""
        grammar = self.tokenizer.grammar(task.prefix.codes if task.prefix else None)
        if task.request.bounds:
            grammar.fill(*box_between(*task.request.bounds, self.tokenizer.levels))
        elif extents := task.wanted[1].extents:
            grammar.tell(*box_between((0, 0, 0), extents, self.tokenizer.levels))
        grammar.push_all(kept)
        return Row(grammar, np.random.default_rng((task.request.seed, variant, attempt)), [])

    @torch.inference_mode()
    def read(self, *wishes: Wish) -> Text | None:
        """What is wished for as the transformer reads it, one row a wish; None for a model without text."""
        if not self.config.condition_on_text:
            return None
        texts = []
        for text, properties in wishes:
            numbers = None if properties == Properties() else torch.tensor([properties.numbers()])
            texts.append(self.text_conditioner.with_properties(self.text_conditioner([text]), numbers))
        return Text.stack(texts)

    def coordinates(self, faces: list[list[int]], prefix: Prefix | None) -> FloatArray:
        """[n, 4, 3] where faces of codes stand: in the unit box, or in the coordinates of the mesh that is being completed."""
        coordinates = self.tokenizer.decode(np.array(faces, np.int64).reshape(-1, self.tokenizer.codes_per_face))
        absent = VERTICES_PER_FACE - self.tokenizer.vertices_per_face  # of a tokenizer that knows triangles alone
        coordinates = np.pad(coordinates, ((0, 0), (0, absent), (0, 0)), constant_values=np.nan)
        if prefix is None:
            return coordinates
        world = prefix.frame.to_world(coordinates)
        grid = quantise(np.nan_to_num(coordinates), self.tokenizer.levels)
        for corner, point in zip(world.reshape(-1, 3), grid.reshape(-1, 3).tolist(), strict=True):
            if not np.isnan(corner[0]):
                corner[:] = prefix.vertices.get(tuple(point), corner)
        return world

    def build(self, task: Task, row: Row) -> Sample:
        """The mesh of a row that has come to its end, judged. A completed mesh may have as many open edges as it was given with."""
        prefix, faces = task.prefix, task.new(row.faces)
        new = self.coordinates(faces, prefix)
        given = prefix.mesh.quads().face_coordinates() if prefix else new[:0]
        mesh = Mesh.from_face_coordinates(np.concatenate([given, new]))
        report = mesh.report()
        open_before = prefix.mesh.report().boundary_edges if prefix else 0
        broken = report.degenerate + max(0, report.boundary_edges - open_before)
        return Sample(row, mesh, (not row.ended or not faces, broken if row.ended else -len(row.faces), self.unfilled_sides(task, mesh)))

    def unfilled_sides(self, task: Task, mesh: Mesh) -> int:
        """How many sides of the box that it was to fill a completed mesh does not reach."""
        if task.request.bounds is None or task.prefix is None or not len(mesh.faces):
            return 0
        reached = np.stack([mesh.vertices.min(0), mesh.vertices.max(0)])
        short = np.abs(reached - np.array(task.request.bounds)) / task.prefix.frame.scale * (self.tokenizer.levels - 1)
        return int((short > REACH).sum())

    def best(self, task: Task, samples: list[Sample]) -> Sample:
        """Of the candidates of one variant the sound one that suits the wish best; without a sound one, that with the fewest flaws.

        Where a single one was asked for, the first sound one will do: to compare them takes longer than to draw them.
        """
        sound = [sample for sample in samples if sample.sound]
        if len(sound) < 2 or task.candidates == 1:
            return min(samples, key=lambda sample: sample.flaws)
        compares = task.wanted != NOTHING and task.prefix is None
        text = self.read(task.wanted, NOTHING) if compares else self.read(task.wanted)
        return max(sound, key=lambda sample: self.suits(sample, text, task.prefix))

    @torch.inference_mode()
    def suits(self, sample: Sample, text: Text | None, prefix: Prefix | None) -> float:
        """How well a sample's new faces and its end suit the wish, in nats. text: the wish, or the wish and below it none.

        log p(mesh | wish) - log p(mesh): what the wish makes likelier, not what is likely whatever is wished, as plain meshes are. Where
        nothing is wished, or what is given says more than the wish, the mean log p of a face: the sum would always choose the mesh with the
        fewest faces.
        """
        given = len(prefix.codes) if prefix else 0
        faces = [*(prefix.codes.tolist() if prefix else []), *sample.row.faces]
        rows = len(text.tokens) if text else 1
        codes = torch.tensor(faces, device=self.device).view(1, -1, self.tokenizer.codes_per_face).expand(rows, -1, -1)
        nats = self.stepper.nats(codes, text, torch.full((rows,), given, device=self.device))[:, given:]
        return float(nats[1].sum() - nats[0].sum() if rows == 2 else -nats.mean())

    def result(self, task: Task, draft: Draft) -> Result:
        request, mesh, ended = task.request, draft.best.mesh, draft.best.row.ended
        if not len(mesh.faces):
            raise MeshGPTError("not a single face came of it", hint="try another seed, or a lower temperature", code="no_mesh")
        notes = [
            note_on_text(request.text.strip(), task.wanted[0], self.facts["nouns"], self.facts["domain"]),
            "" if self.config.condition_on_properties else note_on_properties(request.properties),
            self.device_note,
        ]
        if draft.adds_nothing:
            notes.append("nothing was added, as if the mesh were whole; say in the prompt what it is to become, or make the bounds larger")
        if not ended:
            notes.append(f"no sample came to an end; this one stopped at {len(mesh.faces)} faces")
        return Result(
            mesh=mesh,
            text=request.text,
            seed=request.seed,
            variant=draft.variant,
            seconds=draft.seconds,
            first_face_seconds=draft.first_face,
            rejected=draft.flawed - (not draft.best.sound),
            ended=ended,
            note="; ".join(filter(None, notes)),
            drawn=draft.drawn,
        )

    def reading(self, text: str) -> str | None:
        """A text that names nothing the model was trained on, in words that it knows; None if it is to be read as it is."""
        return self.vocabulary.reading(text) if text and self.config.condition_on_text and self.vocabulary else None

    # ---- completing

    def place(self, request: Request, wanted: Wish) -> Prefix:
        """The mesh to complete, put into the unit box: by the request's bounds, or where its faces are likeliest, given what is wished.

        Without bounds it is not known how large the whole is and where in it the part belongs; a part may reach the box's side or leave
        room on any side.
        """
        mesh = request.mesh
        assert mesh is not None
        if request.bounds is not None:
            return Prefix(self.tokenizer, mesh, Frame.around(*np.array(request.bounds, float)))
        if len((largest := Prefix(self.tokenizer, mesh, mesh.frame())).codes) >= self.stepper.max_faces:
            self.room(request, largest)
        return likeliest(self.tokenizer, mesh, partial(self.costs, text=self.read(wanted)))

    def costs(self, prefixes: list[Prefix], text: Text | None) -> list[float]:
        """Nats a face of some placements. text: one row, for all of them."""
        together = max(1, FACES_AT_ONCE // max(len(prefix.codes) for prefix in prefixes))
        return [cost for i in range(0, len(prefixes), together) for cost in self.costs_at_once(prefixes[i : i + together], text)]

    @torch.inference_mode()
    def costs_at_once(self, prefixes: list[Prefix], text: Text | None) -> list[float]:
        """The same, in one pass."""
        counts = torch.tensor([len(prefix.codes) for prefix in prefixes], device=self.device)
        codes = pad_sequence([torch.from_numpy(prefix.codes) for prefix in prefixes], batch_first=True, padding_value=-1)
        text = text and text.select(torch.zeros(len(prefixes), dtype=torch.long, device=self.device))
        nats = self.stepper.nats(codes.to(self.device), text, counts)
        behind = torch.arange(nats.shape[1], device=self.device) >= counts[:, None]
        costs: list[float] = (nats.masked_fill(behind, 0).sum(1) / counts).tolist()
        return costs


def ignore(variant: int, start: int, coordinates: FloatArray) -> None:
    """An on_faces for those who do not watch."""
