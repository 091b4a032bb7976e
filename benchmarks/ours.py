"""What is measured of our own code. Runs in the project's environment, as a `Side`; figures have the names that theirs have.

A model is named: "default" is the checkpoint; "default, long" has its sizes, room for many faces and random weights; "512/12" has the other
side's width, depth, codebook and faces of three corners, and random weights. Generation of codes follows a script, so that its length
is known: every step does all of its work, then takes the next code of the script.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as core.cli does, before torch is loaded

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
from core.grammar import ABSENT, CodeGrammar
from core.mesh import FloatArray, IntArray
from core.pipeline import Request
from core.transformer import MeshTransformer, TransformerConfig
from core.worker import set_threads

DEFAULT = Path("models/default")
PROMPTS = ("a chair", "a table", "a house", "a barrel", "a sofa")
LONG = 4200  # faces
RIVAL_CODEBOOK, RIVAL_CODES = 16384, 2
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
        config = TransformerConfig(
            RIVAL_CODES, RIVAL_CODEBOOK, 192, dim=512, depth=12, heads=8, fine_dim=512, fine_heads=8, max_faces=1024, vertices_per_face=3
        )
        return MeshTransformer(config, torch.randn(RIVAL_CODES, RIVAL_CODEBOOK, config.code_width)).eval()
    checkpoint = pipeline().transformer
    if model == "default":
        return checkpoint
    return MeshTransformer(replace(checkpoint.config, max_faces=LONG), pipeline().tokenizer.code_vectors()).eval()


class Script(CodeGrammar):
    """A grammar that asks another one what it allows, and then allows only the next code of a script [faces, codes a face]."""

    def __init__(self, codes: IntArray, grammar: CodeGrammar | None, codebook_size: int) -> None:
        super().__init__(codebook_size, codes_per_vertex=1)
        self.codes, self.width, self.at, self.grammar = codes.reshape(-1).tolist(), codes.shape[1], 0, grammar

    def allowed(self) -> NDArray[np.bool_]:
        if self.grammar:
            self.grammar.allowed()
        mask = np.zeros(self.end + 1, bool)
        mask[self.absent if self.codes[self.at] == ABSENT else self.codes[self.at]] = True
        return mask

    def push(self, code: int) -> None:
        if self.grammar:
            self.grammar.push(code)
        self.at += 1
        if self.at % self.width == 0:
            self.previous = self.codes[self.at - self.width : self.at]


def about() -> Figures:
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def bandwidth() -> Figures:
    """Bytes a second that are read of a block far larger than the caches, by whatever of torch's ways reads it fastest."""
    block = torch.ones(BANDWIDTH_BLOCK)
    matrix, vector = block.view(-1, 1024), torch.ones(1024)
    seconds = min(fastest(block.sum), fastest(lambda: matrix @ vector))
    return {"bytes_a_second": block.numel() * block.element_size() / seconds}


def fastest(work: Callable[[], object], times: int = 5) -> float:
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def reads(model: str) -> Figures:
    """What a generated face reads of memory; fields as in benchmarks.floor.Reads."""
    network = transformer(model)
    config = network.config
    sizes = {name: p.numel() * p.element_size() for name, p in network.named_parameters() if "text.key_value" not in name}
    fine = sum(size for name, size in sizes.items() if name.startswith("fine."))
    last_vertex = sizes["last_vertex.weight"] / config.codes_per_vertex  # once a vertex
    head = sizes["head"] / config.codes_per_vertex  # every level has its own
    width = 4  # bytes of a number in the memories
    remembered = config.depth * 2 * config.dim + config.codes_per_face * config.vertices_per_face * config.fine_depth * 2 * config.fine_dim
    return {
        "face_weights": sum(size for name, size in sizes.items() if name.startswith(("coarse.", "plan.", "face_projection."))),
        "code_weights": fine + last_vertex + head,
        "codes": config.codes_per_face,
        "cache": width * remembered,
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def generate(model: str, faces: int, batch: int = 1, prompt: int = 0, guidance: float | None = None) -> Figures:
    """Seconds to generate codes of `faces` faces after a prompt: in all, to the first face, and for each later one; memory in bytes, before
    and at most. prompt: its faces. guidance: the scale.
    """
    network = transformer(model)
    codes = script(model, prompt + faces)
    sampling = Sampling(1.0, 0.0, guidance or 1.0)
    rows = [row(model, codes, prompt, seed) for seed in range(batch)]
    stamps: list[float] = []
    before = resident_bytes()
    forget_peak()
    begin = time.perf_counter()
    decode(
        network,
        some_text(network, len(rows) * (2 if sampling.guidance_scale != 1 else 1)),
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
    """A sample that follows the codes after the prompt, with the work of a coordinate grammar if the model has coordinates."""
    grammar = MeshDiscretizer().grammar(codes[:prompt]) if model != "512/12" else None
    return Row(Script(codes[prompt:], grammar, transformer(model).config.codebook_size), np.random.default_rng(seed), [])


def script(model: str, faces: int) -> IntArray:
    """[faces, codes a face] what is generated: boxes on the grid; random codes where codes are learned."""
    if model == "512/12":
        return np.random.default_rng(0).integers(0, RIVAL_CODEBOOK, (faces, 3 * RIVAL_CODES))
    return MeshDiscretizer().encode(Mesh(*boxes(faces)))


def some_text(network: MeshTransformer, rows: int) -> Text:
    return Text(torch.randn(rows, 8, network.config.text_width), torch.ones(rows, 8, dtype=torch.bool))


@torch.inference_mode()
def prefill(model: str, faces: int) -> Figures:
    """Seconds to take in a prompt, up to where the first new code can be drawn."""
    network, codes = transformer(model), torch.from_numpy(script(model, faces))[None]
    begin = time.perf_counter()
    network.begin(some_text(network, 1), codes, faces + 1)
    return {"seconds": time.perf_counter() - begin}


@torch.inference_mode()
def forward(model: str, faces: int) -> Figures:
    """Seconds of one forward pass over so many faces."""
    network, codes = transformer(model), torch.from_numpy(script(model, faces))[None]
    begin = time.perf_counter()
    network.logits(codes, some_text(network, 1))
    return {"seconds": time.perf_counter() - begin}


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


def train(model: str, faces: int, batch: int, steps: int) -> Figures:
    """Seconds of each forward and backward pass over a batch, and memory, in bytes, before and at most. Asked of a new process."""
    network = transformer(model).train()
    codes, text = torch.from_numpy(script(model, faces))[None].repeat(batch, 1, 1), some_text(network, batch)
    before, seconds = resident_bytes(), []
    forget_peak()
    for _ in range(steps):
        begin = time.perf_counter()
        network(codes, text).sum().backward()
        seconds.append(time.perf_counter() - begin)
        network.zero_grad(set_to_none=True)
    return {"seconds": seconds, "before": before, "peak": resident_bytes(peak=True)}


@cache
def tokenizer(kind: str) -> MeshDiscretizer | MeshAutoencoder:
    torch.manual_seed(0)
    return MeshDiscretizer() if kind == "discretizer" else MeshAutoencoder().eval()


def tokenise(kind: str, faces: int) -> Figures:
    """Seconds to turn a mesh into codes and back. kind: "autoencoder" or "discretizer"."""
    mesh, with_codes = Mesh(*triangles(faces)), tokenizer(kind)
    begin = time.perf_counter()
    codes = with_codes.encode(mesh)
    middle = time.perf_counter()
    with_codes.decode(codes)
    return {"encode": middle - begin, "decode": time.perf_counter() - middle}


if __name__ == "__main__":
    set_threads()
    answer({f.__name__: f for f in (about, bandwidth, reads, generate, prefill, forward, run, complete, train, tokenise)})
