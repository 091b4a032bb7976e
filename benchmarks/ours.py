"""What is measured of our own code. Runs in the project's environment, as a `Side`; figures have the names that theirs have.

A model is named: "default" is the checkpoint; "default, long" has its sizes, room for many faces and random weights; "512/12" is a
MeshTransformer over a MeshAutoencoder with the other side's width, depth, codebook and faces of three corners, and random weights.
Generation of codes follows a script, so that its length is known: every step does all of its work, then takes the next code of the script.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as core.cli does, before torch is loaded
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.shapes import boxes, triangles
from benchmarks.side import Figures, answer, forget_peak, resident_bytes
from core import Mesh, MeshGPT
from core.autoencoder import MeshAutoencoder
from core.conditioning import Text
from core.decoding import Row, Sampling, decode
from core.discretizer import MeshDiscretizer
from core.drafts import EdgeDrafter
from core.engine import Engine
from core.engine_layers import Layer, Matrix
from core.grammar import ABSENT, CodeGrammar, Corner
from core.mesh import FloatArray, IntArray
from core.pipeline import Request
from core.properties import Properties
from core.transformer import MeshTransformer
from core.worker import set_threads

DEFAULT = Path("models/default")
PROMPTS = ("a chair", "a table", "a house", "a barrel", "a sofa")
LONG = 4200  # faces
HELD_OUT_EACH = 2  # meshes of each family
RIVAL_CODES = 6  # of a face
RIVAL_FACES = 1024  # that there is room for
BANDWIDTH_BLOCK = 64 * 2**20  # floats: many times any cache


@cache
def pipeline() -> MeshGPT:
    model = MeshGPT.from_pretrained(DEFAULT, device="cpu")
    model.generate("a chair", max_faces=4)
    return model


@cache
def transformer(model: str) -> MeshTransformer:
    torch.manual_seed(0)
    if model == "512/12":
        length = RIVAL_CODES * RIVAL_FACES
        return MeshTransformer(autoencoder(), dim=512, attn_depth=12, fine_attn_depth=2, max_seq_len=length).eval()
    checkpoint = pipeline()
    if model == "default":
        network = MeshTransformer(checkpoint.tokenizer, checkpoint.config)
        network.load_state_dict(checkpoint.weights)
        return network.eval()
    config = replace(checkpoint.config, max_seq_len=LONG * checkpoint.tokenizer.codes_per_face)
    return MeshTransformer(checkpoint.tokenizer, config).eval()


@cache
def engine(model: str, precision: str = "auto", window: int | None = None) -> Engine:
    """What generates with a model's weights."""
    network = transformer(model)
    return Engine(network.tokenizer, network.config, network.state_dict(), window=window, precision=precision)


@cache
def autoencoder() -> MeshAutoencoder:
    torch.manual_seed(0)
    return MeshAutoencoder(num_discrete_coors=128).eval()


class Script(CodeGrammar):
    """A grammar that does the work of another one, and then allows only the next code of a script [faces, codes a face]."""

    def __init__(self, codes: IntArray, grammar: CodeGrammar, codebook_size: int) -> None:
        super().__init__(codebook_size, grammar.codes_per_vertex)
        self.codes, self.at, self.grammar = codes.reshape(-1).tolist(), 0, grammar

    def allowed(self) -> NDArray[np.bool_]:
        mask = self.grammar.allowed()
        mask[:] = False
        mask[self.absent if self.codes[self.at] == ABSENT else self.codes[self.at]] = True
        return mask

    def waiting(self) -> Corner:
        return self.grammar.waiting()

    def expected(self) -> Corner:
        return self.grammar.expected()

    def next_waiting(self) -> Corner:
        return self.grammar.next_waiting()

    def mirrored(self) -> Corner:
        return self.grammar.mirrored()

    def push(self, code: int) -> None:
        self.grammar.push(code)
        self.previous = self.grammar.previous
        self.at += 1


def about() -> Figures:
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def bandwidth() -> Figures:
    """Bytes a second that are read of a block far larger than the caches, by whatever of torch's ways reads it fastest."""
    block = torch.ones(BANDWIDTH_BLOCK)
    matrix, vector = block.view(-1, 1024), torch.ones(1024)
    seconds = min(fastest(block.sum), fastest(lambda: matrix @ vector))
    return {"bytes_a_second": block.numel() * block.element_size() / seconds}


def fastest(work: Callable[[], object], times: int = 20) -> float:
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def reads(model: str, precision: str = "auto") -> Figures:
    """What a generated face reads of memory; fields as in benchmarks.floor.Reads."""
    network = engine(model, precision)
    vertices, codes = network.vertices_per_face, network.codes_per_face
    face = layers_bytes(network.coarse) + size_of(network.plan, network.face_projection)
    first = layers_bytes(network.fine) + size_of(network.last_vertex)  # of a vertex; its later codes need no keys and values
    saved = sum(size_of(layer.qkv) - size_of(layer.query) for layer in network.fine) + size_of(network.last_vertex)
    heads = size_of(*network.heads) / len(network.heads)
    remembered = (size_of_position(network.coarse), codes * vertices * size_of_position(network.fine))
    return {
        "face_weights": face,
        "code_weights": first + heads - saved * (1 - vertices / codes),
        "codes": codes,
        "cache": sum(remembered),
        "parameters": sum(p.numel() for p in transformer(model).parameters()),
    }


def layers_bytes(layers: list[Layer]) -> int:
    """Of the matrices that a step reads which remembers its position."""
    return sum(
        size_of(layer.qkv, layer.out, layer.up, layer.down, *((layer.text_query, layer.text_out) if layer.reads_text else ()))
        for layer in layers
    )


def size_of(*matrices: Matrix) -> int:
    return sum(matrix.weight.nbytes for matrix in matrices)


def size_of_position(layers: list[Layer]) -> int:
    """Of the keys and values of one position."""
    return sum(2 * layer.heads * layer.width * layer.memory.keys.element_size() for layer in layers)


def generate(
    model: str,
    faces: int,
    batch: int = 1,
    prompt: int = 0,
    guidance: float = 1.0,
    precision: str = "auto",
    window: int | None = None,
) -> Figures:
    """Seconds to generate codes of `faces` faces after a prompt: in all, to the first face, and for each later one; memory in bytes, before
    and at most. prompt: its faces. guidance, precision, window: as in Sampling and Engine.
    """
    stepper, codes = engine(model, precision, window), script(model, prompt + faces)
    sampling = Sampling(guidance_scale=guidance)
    rows = [row(model, codes, prompt, seed) for seed in range(batch)]
    text = some_text(model, 2 if sampling.guidance_scale != 1 else 1)
    stamps: list[float] = []
    before = resident_bytes()
    forget_peak()
    begin = time.perf_counter()
    decode(
        stepper,
        text,
        rows,
        sampling,
        given=codes[:prompt] if prompt else None,
        max_faces=faces,
        on_face=lambda which: stamps.append(time.perf_counter()) if which == batch - 1 else None,
    )
    end = time.perf_counter()
    return {
        "seconds": end - begin,
        "first_face": stamps[0] - begin,
        "faces": [later - sooner for sooner, later in pairwise(stamps)],
        "before": before,
        "peak": resident_bytes(peak=True),
    }


def row(model: str, codes: IntArray, prompt: int, seed: int) -> Row:
    """A sample that follows the codes after the prompt."""
    tokenizer = transformer(model).tokenizer
    script = Script(codes[prompt:], tokenizer.grammar(codes[:prompt]), tokenizer.codebook_size)
    return Row(script, np.random.default_rng(seed), [])


def script(model: str, faces: int) -> IntArray:
    """[faces, codes a face] what is generated: boxes on the grid; random codes where codes are learned."""
    if model == "512/12":
        return np.random.default_rng(0).integers(0, autoencoder().codebook_size, (faces, RIVAL_CODES))
    return MeshDiscretizer().encode(Mesh(*boxes(faces)))


def some_text(model: str, rows: int) -> Text | None:
    """A text of eight tokens; None for a model without text."""
    text = transformer(model).text
    return Text(torch.randn(rows, 8, text.width), torch.ones(rows, 8, dtype=torch.bool)) if text else None


@torch.inference_mode()
def prefill(model: str, faces: int) -> Figures:
    """Seconds to take in a prompt, up to where the first new code can be drawn."""
    stepper, codes, text = engine(model), torch.from_numpy(script(model, faces))[None], some_text(model, 1)
    begin = time.perf_counter()
    stepper.begin(text, codes, faces + 1)
    return {"seconds": time.perf_counter() - begin}


@torch.inference_mode()
def forward(model: str, faces: int) -> Figures:
    """Seconds of one forward pass over so many faces."""
    network, codes, text = transformer(model), torch.from_numpy(script(model, faces))[None], some_text(model, 1)
    begin = time.perf_counter()
    network.logits(codes, text)
    return {"seconds": time.perf_counter() - begin}


@torch.inference_mode()
def nats(precision: str) -> Figures:
    """Nats a face that the default model gives to held-out procedural meshes, through the engine."""
    stepper, total, faces = engine("default", precision), 0.0, 0
    for codes, caption in held_out():
        text = pipeline().read((caption, Properties()))
        total += float(stepper.nats(torch.from_numpy(codes)[None], text, torch.zeros(1, dtype=torch.long)).sum())
        faces += len(codes)
    return {"nats": total / faces, "faces": faces}


def speculate(drafted: bool) -> Figures:
    """Seconds to generate the held-out meshes with the default model, with guesses at corners or without, and the share guessed right."""
    stepper, seconds, corners, right = engine("default"), 0.0, 0, 0
    for codes, caption in held_out():
        sample, text = row("default", codes, 0, seed=0), pipeline().read((caption, Properties()))
        sample.drafter = drafter(stepper) if drafted else None
        begin = time.perf_counter()
        decode(stepper, text, [sample], Sampling(), max_faces=len(codes))
        seconds += time.perf_counter() - begin
        guesser = drafter(stepper)
        for face in np.where(codes == ABSENT, stepper.codebook_size, codes).reshape(len(codes), -1, stepper.codes_per_vertex).tolist():
            whole = [tuple(corner) for corner in face]
            right += sum(guesser.guess(whole[:at]) == corner for at, corner in enumerate(whole))
            corners += len(whole)
            guesser.add(whole)
    return {"seconds": seconds, "right": right / corners}


def drafter(stepper: Engine) -> EdgeDrafter:
    return EdgeDrafter(stepper.codebook_size, stepper.vertices_per_face, stepper.codes_per_vertex, grid=True)


def held_out() -> list[tuple[IntArray, str]]:
    """Meshes of the families that the default model was trained on, as codes, each with a caption."""
    from training.data.dataset import HELD_OUT_SEEDS
    from training.procedural import FAMILIES
    from training.procedural import generate as make

    families = [name for name in pipeline().facts["domain"] if name in FAMILIES]
    samples = [make(name, HELD_OUT_SEEDS + i) for name in families for i in range(HELD_OUT_EACH)]
    found = [(pipeline().tokenizer.encode(sample.mesh), sample.captions[0]) for sample in samples]
    return [(codes, caption) for codes, caption in found if len(codes) <= engine("default").max_faces]


def run(seed: int, variants: int = 1, guidance: float = 1.0) -> Figures:
    """Of the default model, for some prompts, as an artist would: faces and seconds, samples that are thrown away counted too."""
    model, faces, begin = pipeline(), 0, time.perf_counter()

    def count(variant: int, start: int, coordinates: FloatArray) -> None:
        nonlocal faces
        faces += len(coordinates)

    for prompt in PROMPTS:
        model.run(Request(prompt, variants=variants, seed=seed, guidance_scale=guidance), count)
    return {"seconds": time.perf_counter() - begin, "faces": faces, "meshes": len(PROMPTS) * variants}


def complete(faces: int) -> Figures:
    """Seconds of the default model from a request to complete a mesh to the first new face."""
    model, mesh, stamps = pipeline(), Mesh(*boxes(faces)), []
    begin = time.perf_counter()

    def stamp(variant: int, start: int, coordinates: FloatArray) -> None:
        if start:
            stamps.append(time.perf_counter() - begin)

    model.run(Request("a table", mesh, max_faces=faces + 2), stamp)
    return {"seconds": stamps[0]}


def train(model: str, faces: int, batch: int, steps: int, bf16: bool) -> Figures:
    """Seconds of each forward and backward pass over a batch, and memory, in bytes, before and at most. Asked of a new process."""
    network = transformer(model).train()
    codes = torch.from_numpy(script(model, faces))[None].repeat(batch, 1, 1)
    before, seconds = resident_bytes(), []
    forget_peak()
    for _ in range(steps):
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = network(codes=codes)
        loss.backward()
        seconds.append(time.perf_counter() - begin)
        network.zero_grad(set_to_none=True)
    return {"seconds": seconds, "before": before, "peak": resident_bytes(peak=True)}


def tokenise(kind: str, faces: int) -> Figures:
    """Seconds to turn a mesh into codes and back. kind: "autoencoder", which takes the tensors that theirs takes, or "discretizer"."""
    if kind == "discretizer":
        mesh = Mesh(*triangles(faces))
        return there_and_back(lambda: MeshDiscretizer().encode(mesh), MeshDiscretizer().decode)
    model, (vertices, indices) = autoencoder(), (torch.from_numpy(x) for x in triangles(faces))
    return there_and_back(lambda: model.tokenize(vertices, indices)[None], model.decode_from_codes_to_faces)


def there_and_back(encode: Callable[[], Any], decode: Callable[[Any], object]) -> Figures:
    begin = time.perf_counter()
    codes = encode()
    middle = time.perf_counter()
    decode(codes)
    return {"encode": middle - begin, "decode": time.perf_counter() - middle}


if __name__ == "__main__":
    set_threads()
    answer({f.__name__: f for f in (about, bandwidth, reads, generate, prefill, forward, nats, speculate, run, complete, train, tokenise)})
