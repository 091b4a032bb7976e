"""Generation on a GPU: a whole face is one function over tensors that never move, recorded once as a CUDA graph and replayed.

It stands where core.decoding.decode stands, over the same engine, and draws the same codes for the same random numbers. A step on a GPU
costs little but its launch, and asking the host after every code costs more than the code. So a face, from its first code to the plan of
the next one, asks the host nothing: the grammar is tensors, the random numbers are on the device beforehand, positions are numbers in
tensors. The host reads a face while the device is at the next one. A row that has ended goes on computing, and nobody reads it.

Memory of what has been is set aside in full, and graphs read the beginning of it: one graph for meshes of up to 64 faces, one for 128, and
so on. With a window the memory is a ring.

Letters: r rows, s branches (2 with guidance), b = s r, d width, v corners of a face, k codes of a corner, c vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.batch_grammar import BatchCoordinateGrammar, BatchGrammar
from core.captured_layers import Memories, Texts, Weights, feed
from core.conditioning import Text, guide
from core.decoding import LOWEST, TINY, OnFace, Row, Sampling, count_texts, decode
from core.engine import Engine, Run
from core.grammar import ABSENT, CodeGrammar, CoordinateGrammar
from core.hints import point, still_told, told
from core.mesh import IntArray

SHORTEST = 64  # faces of the shortest graph; each further one has twice as many
TEXT_ROOM = 16  # text tokens come in multiples of this many
AHEAD = 2  # faces that the device may be ahead of the host
ROOMS = 4  # sizes of request that are kept ready
ROOMY = 512  # faces that there is room for whatever is asked for, so that one request finds ready what another left


class Captured:
    """Decodes over an engine of fp32 weights, on a GPU by graphs. precision: of matrices and residuals, "fp32" or "bf16".

    On a CPU the same function runs as it is, for tests. Raises ValueError for an engine of int8 weights.
    """

    def __init__(self, engine: Engine, precision: str = "fp32") -> None:
        self.engine = engine
        self.weights = Weights(engine, {"fp32": torch.float32, "bf16": torch.bfloat16}[precision])
        self.rooms: dict[Size, Room] = {}

    @torch.inference_mode()
    def decode(
        self,
        text: Text | None,
        rows: list[Row],
        sampling: Sampling,
        *,
        given: IntArray | None = None,
        drawn: int = 0,
        max_faces: int,
        on_face: OnFace | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> bool:
        """As core.decoding.decode, of which the engine is the first argument.

        The rows' grammars are read and stay as they are. Rows with grammars that are not known as tensors are left to the loop.
        """
        if not knows(rows):
            options: dict[str, Any] = {"max_faces": max_faces, "on_face": on_face, "should_stop": should_stop}
            return decode(self.engine, text, rows, sampling, given=given, drawn=drawn, **options)
        count_texts(text, len(rows), sampling)
        room = self.room(rows, text, sampling, max_faces + (0 if given is None else len(given)))
        room.load(text, rows, sampling, given, drawn, max_faces)
        launched, live = 0, list(range(len(rows)))
        for face in range(max_faces):
            while launched < min(face + AHEAD, max_faces):
                room.launch()
                launched += 1
            codes, whole, ended = room.face(face)
            for place in live:
                rows[place].ended = bool(ended[place])
                if whole[place]:
                    rows[place].faces.append(codes[place].tolist())
                    if on_face:
                        on_face(place)
            if should_stop and should_stop():
                return False
            live = [place for place in live if whole[place]]
            if not live:
                break
        return True

    def room(self, rows: list[Row], text: Text | None, sampling: Sampling, faces: int) -> Room:
        """One that is large enough, made if there is none."""
        tokens = 0 if text is None else text.tokens.shape[1]
        faces = max(faces, min(self.engine.max_faces, ROOMY))
        size = Size(
            rows=1 << (len(rows) - 1).bit_length(),
            branches=sampling.branches,
            faces=-(-faces // SHORTEST) * SHORTEST + 1,
            tokens=-(-tokens // TEXT_ROOM) * TEXT_ROOM,
            coordinates=isinstance(rows[0].grammar, CoordinateGrammar),
            greedy=sampling.temperature == 0,
            right_angles=sampling.remove_parallel_component,
        )
        if size not in self.rooms and len(self.rooms) == ROOMS:
            self.leave(next(iter(self.rooms)))
        self.rooms[size] = room = self.rooms.pop(size, None) or Room(self.weights, size)
        return room

    def leave(self, size: Size) -> None:
        self.rooms[size].player.finish()
        del self.rooms[size]

    def release(self) -> None:
        """Give back all memory but the weights'. The next request sets it aside anew."""
        for size in list(self.rooms):
            self.leave(size)
        for layer in self.engine.coarse + self.engine.fine:
            layer.memory = type(layer.memory)(layer.heads, layer.width, self.engine.device)
        if self.engine.device.type == "cuda":
            torch.cuda.empty_cache()


def knows(rows: Sequence[Row]) -> bool:
    """Whether all rows have the same of the two grammars that are known as tensors."""
    kinds = {type(row.grammar) for row in rows}
    return kinds in ({CodeGrammar}, {CoordinateGrammar})


def shortest(faces: int) -> int:
    """The least number of faces that has a graph and is not below `faces`."""
    return max(SHORTEST, 1 << (faces - 1).bit_length())


@dataclass(frozen=True)
class Size:
    """What a room is made for. greedy: whether the likeliest code is taken. right_angles: Sampling.remove_parallel_component."""

    rows: int
    branches: int
    faces: int
    tokens: int
    coordinates: bool
    greedy: bool
    right_angles: bool


# ---- a face


class Room:
    """All tensors that one size of request needs, and the face over them. They stay where they are from request to request."""

    def __init__(self, weights: Weights, size: Size) -> None:
        engine = weights.engine
        device, self.v, self.k = engine.device, engine.vertices_per_face, engine.codes_per_vertex
        self.engine, self.weights, self.size = engine, weights, size
        batch, faces = size.rows * size.branches, size.faces
        engine.coarse_turns.reach(faces + 1)
        engine.fine_turns.reach(faces * self.v)
        near = faces if engine.window is None else min(faces, engine.window)
        self.coarse = Memories(weights.coarse, batch, near, near < faces, engine.coarse_turns.table)
        self.fine = Memories(weights.fine, batch, near * self.v, near < faces, engine.fine_turns.table)
        self.texts = [Texts(block, batch, size.tokens, device) for block in weights.coarse] if size.tokens else []
        tokenizer = engine.codebook_size, self.v, device
        self.grammar = (
            BatchCoordinateGrammar(size.rows, faces, *tokenizer)
            if size.coordinates
            else BatchGrammar(size.rows, faces, engine.codebook_size, self.k, self.v, device)
        )
        width = engine.start_vertex.shape[-1]
        self.base = torch.zeros(self.v * self.k, size.branches, size.rows, width, device=device)  # what each code starts from
        self.corner = torch.zeros(size.rows, width, device=device)  # the corner before
        self.chances = torch.zeros(faces, self.v * self.k, size.rows, dtype=torch.float64, device=device)
        self.made = torch.zeros(1, dtype=torch.long, device=device)  # new faces
        self.alive = torch.zeros(size.rows, dtype=torch.bool, device=device)
        self.ended = torch.zeros_like(self.alive)
        settings = torch.zeros(5, device=device).unbind()
        self.inverse_temperature, self.inverse_choice_temperature, self.min_p, self.give_up, self.guidance_scale = settings
        self.lowest = torch.tensor(LOWEST, device=device)
        self.output = torch.zeros(size.rows, self.v * self.k + 2, dtype=torch.long, device=device)  # codes, whole, ended
        self.player = Player(self.step, self.output)

    def load(
        self, text: Text | None, rows: list[Row], sampling: Sampling, given: IntArray | None, drawn: int, max_faces: int
    ) -> None:
        """Stand before the first new face: the engine takes in text and given faces, once for what all rows share, and it is copied."""
        self.player.wait()
        engine, size, codes = self.engine, self.size, self.v * self.k
        said = 1 if text is None else len(text.tokens)
        count = 0 if given is None else len(given)
        prefix = None if given is None else torch.from_numpy(given).to(engine.device).expand(said, -1, -1)
        run = engine.begin(text, prefix, count, drawn=drawn)
        each = said // size.branches if said >= size.branches else 1
        source = [branch * each + min(row, each - 1) for branch in range(size.branches) for row in range(size.rows)]
        self.take_over(run, torch.tensor(source, device=engine.device))
        self.grammar.load([row.grammar for row in rows])
        chances = np.zeros((size.rows, max_faces, codes))
        chances[: len(rows)] = [row.random.random((max_faces, codes)) for row in rows]
        self.chances[:max_faces] = torch.from_numpy(chances.transpose(1, 2, 0)).to(engine.device)
        self.made.zero_()
        self.alive.fill_(True)
        self.ended.fill_(False)
        self.inverse_temperature.fill_(0 if size.greedy else 1 / sampling.temperature)
        self.inverse_choice_temperature.fill_(1 / sampling.choice_temperature)
        self.min_p.fill_(sampling.min_p)
        self.give_up.fill_(sampling.give_up)
        self.guidance_scale.fill_(sampling.guidance_scale)
        self.faces = count
        self.player.begin()

    def take_over(self, run: Run, source: Tensor) -> None:
        """Row i becomes what row source[i] of the engine's run is."""
        self.coarse.load(self.engine.coarse, source, run.faces)
        self.fine.load(self.engine.fine, source, run.vertices)
        for texts, kept in zip(self.texts, run.text, strict=False):
            if kept is not None:
                texts.load(kept, source)
        self.base.copy_(torch.stack(run.base)[:, source].view(self.base.shape))
        self.corner.copy_(run.corners[-1][source[: self.size.rows]])

    def launch(self) -> None:
        """Have the device make a face."""
        self.faces += 1
        self.player.launch(min(shortest(self.faces + 1), self.size.faces))

    def face(self, number: int) -> tuple[IntArray, IntArray, IntArray]:
        """Of face `number` that was launched since `load`: codes [r, v k], and which rows have it, and which have ended."""
        output = self.player.output(number)
        codes = output[:, :-2]
        return np.where(codes == self.grammar.absent, ABSENT, codes), output[:, -2], output[:, -1]

    # ---- on the device alone

    def step(self, faces: int) -> None:
        """A face of all rows, and the plan for the next. faces: at least how many there are with it, and the start."""
        chances = self.chances.index_select(0, self.made)[0]
        corner, corners, symbols, peaks = self.corner, [], [], []
        for vertex in range(self.v):
            self.fine.advance()
            known = torch.mm(corner.to(self.weights.dtype), self.weights.last_vertex).float()
            waiting, said, parts = self.grammar.nothing_waits, None, []
            for level in range(self.k):
                at = vertex * self.k + level
                allowed = self.grammar.allowed(vertex, level, faces)
                if level == 0:
                    hints = self.grammar.hints(vertex)
                    waiting = hints[:, 0]
                    if self.engine.reads_hints:
                        known, said = known + self.engine.read_hints(hints), told(hints, self.grammar.end)
                logits = self.logits(self.base[at] + known, level, said, min(faces * self.v, self.fine.length))
                settled = self.grammar.settled(vertex)
                drawn, peak = self.draw(logits, allowed, settled, waiting[:, level], chances[at])
                waiting = torch.where((drawn == waiting[:, level])[:, None], waiting, self.grammar.nothing_waits)
                if at == 0:
                    self.end(drawn == self.grammar.end, peak > LOWEST)
                self.grammar.push(vertex, level, drawn)
                symbols.append(drawn)
                peaks.append(peak)
                parts.append(self.engine.table[level].index_select(0, drawn))
                if level < self.k - 1:
                    known = known + parts[-1]
                    said = None if said is None else still_told(said, level, drawn, self.grammar.end)
            corner = torch.stack(parts).sum(0)
            corners.append(corner)
        self.plan(torch.cat(corners, 1), min(faces, self.coarse.length))
        self.alive.logical_and_(torch.stack(peaks).amin(0) > LOWEST)
        self.corner.copy_(corner)
        self.made.add_(1)
        torch.stack([*symbols, self.alive.long(), self.ended.long()], 1, out=self.output)

    def logits(self, x: Tensor, level: int, told: Tensor | None, length: int) -> Tensor:
        """[r, c] of a code of this level from x [s, r, d], the branches joined. told: [r, k, 6] what hints tell."""
        branches, rows, d = x.shape
        x = x.view(branches * rows, d).to(self.weights.dtype)
        for layer, block in enumerate(self.fine.blocks):
            self.fine.attend(layer, x, length, remember=level == 0)
            feed(x, block)
        logits = torch.mm(torch.layer_norm(x, (d,)), self.weights.heads[level]).float()
        if told is not None:
            logits = point(logits, told[:, level].repeat(branches, 1))
        if branches == 1:
            return logits
        if self.size.right_angles:
            return torch.lerp(logits[:rows], guide(logits, 2.0, remove_parallel_component=True), self.guidance_scale - 1)
        return torch.lerp(logits[rows:], logits[:rows], self.guidance_scale)

    def end(self, end: Tensor, anything: Tensor) -> None:
        """Of the rows [r] in which anything was allowed, those that drew the end have ended."""
        self.alive.logical_and_(anything)
        self.ended.logical_or_(end & self.alive)
        self.alive.logical_and_(~end)

    def draw(self, logits: Tensor, allowed: Tensor, settled: Tensor, waiting: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
        """[r] codes drawn as core.decoding.draw does, and the highest logit [r]: LOWEST where nothing was allowed, or too little.

        settled: [r] where the code follows from those before it, so that it does not matter what the model makes of it. waiting: [r] the
        next code of the corner that waits, `end` for none.
        """
        expected = logits.softmax(1).mul_(allowed).sum(1)
        hopeless = (expected < self.give_up) & (self.made > 0) & ~settled
        logits = torch.where(allowed & ~hopeless[:, None], logits, self.lowest)
        peak = logits.amax(1, keepdim=True)
        if self.size.greedy:
            return logits.argmax(1), peak[:, 0]
        likely = logits.sub_(peak).double().exp_()
        single = torch.stack([torch.full_like(waiting, self.grammar.end), waiting], 1)
        of_single, others = likely.gather(1, single), likely.scatter(1, single, 0)
        of_others = others.sum(1, keepdim=True).pow_(self.inverse_choice_temperature)
        of_single.pow_(self.inverse_choice_temperature)
        least = self.min_p * torch.maximum(of_single.amax(1, keepdim=True), of_others)
        weights = (others / others.amax(1, keepdim=True).clamp_min(TINY)).pow_(self.inverse_temperature)
        weights.mul_(weights >= self.min_p)
        weights.mul_(of_others * (of_others >= least) / weights.sum(1, keepdim=True).clamp_min(TINY))
        total = weights.scatter_(1, single, of_single * (of_single >= least)).cumsum(1)
        return (total <= (chances * total[:, -1])[:, None]).sum(1), peak[:, 0]

    def plan(self, corners: Tensor, length: int) -> None:
        """The plan for the next face, after one of these corners [r, v d]."""
        self.coarse.advance()
        x = torch.mm(corners.to(self.weights.dtype), self.weights.face_projection) + self.engine.given[0]
        x = x.to(self.weights.dtype).repeat(self.size.branches, 1)
        for layer, block in enumerate(self.coarse.blocks):
            self.coarse.attend(layer, x, length, remember=True)
            if self.texts:
                self.texts[layer].attend(x)
            feed(x, block)
        plan = torch.mm(torch.layer_norm(x, x.shape[1:]), self.weights.plan).float()
        torch.add(self.engine.places[:, None], plan.view(self.base.shape[1:]), out=self.base)


# ---- graphs


class Player:
    """Runs a step on the device, there from a graph, and brings what it leaves in `output` to the host, a few faces behind.

    step(faces) is run as it is the first time that it is asked for so many faces, which also warms up what it needs, then recorded.
    """

    def __init__(self, step: Callable[[int], None], output: Tensor) -> None:
        self.step, self.source = step, output
        self.cuda = output.is_cuda
        self.launched = 0
        self.landing = [torch.zeros_like(output, device="cpu", pin_memory=self.cuda) for _ in range(AHEAD)]
        if self.cuda:
            self.stream = torch.cuda.Stream(output.device)
            self.landed = [torch.cuda.Event() for _ in range(AHEAD)]
            self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
            self.pool = torch.cuda.graph_pool_handle()

    def wait(self) -> None:
        """Nothing that follows begins before what was launched is done."""
        if self.cuda:
            torch.cuda.current_stream(self.source.device).wait_stream(self.stream)

    def finish(self) -> None:
        """Wait here until what was launched is done."""
        if self.cuda:
            self.stream.synchronize()

    def begin(self) -> None:
        """Nothing that is launched from now on begins before what was asked for until now."""
        self.launched = 0
        if self.cuda:
            self.stream.wait_stream(torch.cuda.current_stream(self.source.device))

    def launch(self, faces: int) -> None:
        slot = self.launched % AHEAD
        self.launched += 1
        with self.on_stream():
            if not self.cuda:
                self.step(faces)
            elif faces in self.graphs:
                self.graphs[faces].replay()
            else:
                self.step(faces)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                    self.step(faces)
                self.graphs[faces] = graph
            self.landing[slot].copy_(self.source, non_blocking=True)
            if self.cuda:
                self.landed[slot].record()

    def on_stream(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self.stream) if self.cuda else nullcontext()

    def output(self, number: int) -> IntArray:
        """What launch `number` left, once it is there; one of the last AHEAD."""
        if self.cuda:
            self.landed[number % AHEAD].synchronize()
        return self.landing[number % AHEAD].numpy().copy()
