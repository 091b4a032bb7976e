"""Faces a second on a graphics card, and how near that is to what the card can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_card import MB, MS, Bench, Line
from benchmarks.gpu_models import network

DEFAULT = Path(__file__).resolve().parents[1] / "models" / "default"
PROMPT = "a chair"
GUIDANCE = 2.0
BATCHES = (1, 8, 64)
ROUNDS = 3
RANDOM_FACES = 200  # of a mesh where weights are random
COMPILED_FACES = 62  # of a mesh where faces are compiled: one graph, for each takes minutes


@dataclass
class Subject:
    """What generates, and how. faces: the most of a mesh."""

    engine: Any
    tokenizer: Any
    text: Any
    faces: int
    sampling: Any


def default_subject(bench: Bench, guided: bool) -> Subject:
    """The default checkpoint, a prompt, and its own ends."""
    from core import MeshGPT
    from core.conditioning import Text
    from core.decoding import Sampling
    from core.engine import Engine

    model = MeshGPT.from_pretrained(DEFAULT, "cpu")
    with torch.inference_mode():
        text = Text.stack([model.text_conditioner([prompt]) for prompt in ([PROMPT, ""] if guided else [PROMPT])])
    text = Text(text.tokens.to(bench.device), text.mask.to(bench.device))
    engine = Engine(model.tokenizer, model.config, model.weights, bench.device, precision="fp32")
    sampling = Sampling(**model.facts["sampling"] | {"guidance_scale": GUIDANCE if guided else 1.0})
    return Subject(engine, model.tokenizer, text, bench.most(engine.max_faces, 6), sampling)


def random_subject(bench: Bench, guided: bool) -> Subject:
    """512/12 with random weights, which hardly ever end."""
    from core.decoding import Sampling
    from core.engine import Engine

    model = network(bench, "512/12")
    engine = Engine(model.tokenizer, model.config, model.state_dict(), bench.device, precision="fp32")
    return Subject(engine, model.tokenizer, None, bench.most(RANDOM_FACES, 6), Sampling())


def generation(
    what: str,
    subject_of: Callable[[Bench, bool], Subject],
    bench: Bench,
    *,
    precision: str = "fp32",
    guided: bool = False,
    captured: bool = True,
    compiled: bool = False,
    batches: tuple[int, ...] = BATCHES,
    bars: dict[int, float] | None = None,
) -> list[Line]:
    """Faces of all rows over the seconds of whole requests: a row that ends early counts until then, what others need counts in full."""
    from core.captured import Captured
    from core.decoding import decode

    subject = subject_of(bench, guided)
    path = Captured(subject.engine, precision)
    if compiled:
        subject.faces = min(subject.faces, COMPILED_FACES)
        compile_faces(path, "aot_eager" if bench.small else "inductor")
    run = path.decode if captured else partial(decode, subject.engine)
    lines = []
    for batch in (1, 3) if bench.small else batches:
        line = {"what": what, "batch": batch, **speed_of(bench, run, subject, batch)}
        speed = line["faces/s"]
        if captured:
            mean = median(one["faces"] / batch for one in line["each round"])
            bytes_, launches = floors(bench, path, mean / 2)
            line |= {"floor: bytes, ms": bytes_ * MS, "floor: launches, ms": launches * MS, "share": max(bytes_, launches) * speed / batch}
        if bars and batch in bars and not bench.small:
            line |= {"bar": bars[batch], "met": "yes" if speed >= bars[batch] else "**no**"}
        lines.append(line)
    return lines


def speed_of(bench: Bench, run: Callable[..., object], subject: Subject, batch: int) -> Line:
    """Of requests of so many rows, after a first one that nobody times. Memory is what the card then lacks for others."""
    from core.decoding import Row

    def request(seed: int, on_face: Callable[[int], None] | None = None) -> int:
        rows = [Row(subject.tokenizer.grammar(), np.random.default_rng((seed, row, 0)), []) for row in range(batch)]
        run(subject.text, rows, subject.sampling, max_faces=subject.faces, on_face=on_face)
        return sum(len(row.faces) for row in rows)

    rounds, stamps = [], []
    with bench.peak() as peak:
        request(0)
        for seed in range(1, ROUNDS + 1):
            begin = time.perf_counter()
            faces = request(seed)
            bench.wait()
            rounds.append({"faces": faces, "seconds": time.perf_counter() - begin})
        begin = time.perf_counter()
        request(ROUNDS + 1, lambda row: stamps.append(time.perf_counter()))
    return {
        "faces/s": median(one["faces"] / one["seconds"] for one in rounds),
        "first face, ms": (stamps[0] - begin) * MS,
        "each round": rounds,
        **({"memory, MB": peak[2] / MB} if peak else {}),
    }


def compile_faces(path: Any, backend: str) -> None:
    """Let what torch can fuse of a face be fused before it is recorded."""
    make = path.room

    def room(*arguments: Any) -> Any:
        made = make(*arguments)
        if made.player.step == made.step:
            made.player.step = torch.compile(made.step, dynamic=False, backend=backend)
        return made

    path.room = room


def floors(bench: Bench, path: Any, earlier: float) -> tuple[float, float]:
    """Seconds that a face of all rows takes at least, after so many earlier ones: for the bytes it has to read, and for its launches."""
    room = next(reversed(path.rooms.values()))
    weights, rows = path.weights, room.coarse.layers[0].shape[0] // room.coarse.heads
    vertices, codes = room.v, room.v * room.k
    matrices = sum(block_bytes(block, True) for block in weights.coarse) + weights.plan.nbytes + weights.face_projection.nbytes
    matrices += vertices * (weights.last_vertex.nbytes + sum(block_bytes(block, True) for block in weights.fine))
    matrices += (codes - vertices) * sum(block_bytes(block, False) for block in weights.fine)
    matrices += vertices * sum(head.nbytes for head in weights.heads)
    position = [sum(2 * 4 * block.heads * block.width for block in blocks) for blocks in (weights.coarse, weights.fine)]
    remembered = rows * earlier * (position[0] + codes * vertices * position[1])
    return (matrices + remembered) / bench.card["bytes_a_second"], operations(bench, room) * bench.card["node_seconds"]


def block_bytes(block: Any, remembers: bool) -> int:
    text = block.text_query.nbytes + block.text_out.nbytes if block.reads_text else 0
    return (block.qkv if remembers else block.query).nbytes + block.out.nbytes + block.up.nbytes + block.down.nbytes + text


@torch.inference_mode()
def operations(bench: Bench, room: Any) -> int:
    """Kernels and copies of a face, which are the nodes of its graph; without a GPU the operations that they would come of."""
    for counter in (room.made, room.coarse.position, room.fine.position):
        counter.zero_()  # there may be no room for one more face
    kinds = [torch.profiler.ProfilerActivity.CUDA if bench.cuda else torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds, acc_events=True) as profile:
        room.player.step(64)
        bench.wait()
    on_device = torch.autograd.DeviceType.CUDA
    return sum(1 for event in profile.events() if not bench.cuda or event.device_type == on_device)
