"""How fast the default model is on this machine, and how near that is to what the machine's memory allows.

    python -m benchmarks.generation --out benchmarks/results

prints a table and writes it as results.json and results.md. The floor: at batch 1 every weight that a face needs is read once a face
(the coarse stack) or once a code (the fine stack), so no face can come faster than those bytes over the memory's bandwidth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from core import Mesh, MeshGPT
from core.mesh import FloatArray
from core.pipeline import Request
from core.worker import set_threads

PROMPTS = ("a chair", "a table", "a house", "a barrel", "a sofa")
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/default"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where to write, without the suffix")
    options = parser.parse_args()
    set_threads()
    rows = measure(options.model)
    table = "\n".join(["| what | figure |", "|---|---|", *(f"| {what} | {value:.4g} {unit} |" for what, (value, unit) in rows.items())])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figures = {what: {"value": value, "unit": unit} for what, (value, unit) in rows.items()}
    options.out.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table + "\n")
    print(table)


def measure(folder: Path) -> dict[str, tuple[float, str]]:
    """Each figure with its unit, by name."""
    begin = time.perf_counter()
    model = MeshGPT.from_pretrained(folder)
    loaded = time.perf_counter() - begin
    model.generate("a chair", max_faces=4)
    one, first = speed(model, variants=1, guidance=1.0)
    guided, _ = speed(model, variants=1, guidance=2.0)
    eight, _ = speed(model, variants=8, guidance=1.0)
    bandwidth = memory_bandwidth()
    size = bytes_a_face(model)
    mesh = many_boxes(800)
    codes = model.tokenizer.encode(mesh)
    return {
        "threads": (torch.get_num_threads(), ""),
        "load the checkpoint": (loaded, "s"),
        "first face, warm": (first, "s"),
        "batch 1": (one, "faces/s"),
        "batch 1 with guidance": (guided, "faces/s"),
        "8 variants at once": (eight, "faces/s"),
        "8 variants over 1": (eight / one, "times"),
        "guidance on over off, time a face": (one / guided, "times"),
        "memory bandwidth, read": (bandwidth / 1e9, "GB/s"),
        "weights read a face": (size / 1e6, "MB"),
        "floor at batch 1": (bandwidth / size, "faces/s"),
        "share of the floor at batch 1": (100 * one * size / bandwidth, "%"),
        "tokenise 800 faces": (1e3 * median_seconds(lambda: model.tokenizer.encode(mesh)), "ms"),
        "detokenise 800 faces": (1e3 * median_seconds(lambda: model.tokenizer.decode(codes)), "ms"),
    }


def speed(model: MeshGPT, variants: int, guidance: float) -> tuple[float, float]:
    """Faces a second over all prompts, rejected samples counted too, and the median seconds to the first face."""
    faces, seconds, firsts = 0, 0.0, []

    def count(variant: int, start: int, coordinates: FloatArray) -> None:
        nonlocal faces
        faces += len(coordinates)

    for seed in range(REPEATS):
        for prompt in PROMPTS:
            begin = time.perf_counter()
            results = model.run(Request(prompt, variants=variants, seed=seed, guidance_scale=guidance), count)
            seconds += time.perf_counter() - begin
            firsts.append(results[0].first_face_seconds)
    return faces / seconds, statistics.median(firsts)


def bytes_a_face(model: MeshGPT) -> float:
    """Weights that one face reads: those of the coarse stack once, those of the fine stack once a code."""
    weights = {name: p.numel() * p.element_size() for name, p in model.transformer.named_parameters()}
    fine = sum(size for name, size in weights.items() if name.startswith(("fine.", "last_vertex")))
    coarse = sum(size for name, size in weights.items() if name.startswith(("coarse.", "plan", "face_projection")))
    head = sum(size for name, size in weights.items() if name == "head") / model.tokenizer.codes_per_vertex
    return coarse + model.tokenizer.codes_per_face * (fine + head)


def memory_bandwidth() -> float:
    """Bytes a second that summing 256 MB reads."""
    block = torch.ones(64 * 2**20)
    return block.numel() * block.element_size() / median_seconds(block.sum)


def median_seconds(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def many_boxes(faces: int) -> Mesh:
    """Boxes in a row and column, of that many quads."""
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
    sides = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]])
    places = [np.array([2 * (i % 12), 2 * (i // 12), 0], np.float32) for i in range(-(-faces // 6))]
    return Mesh(np.concatenate([corners + place for place in places]), np.concatenate([sides + 8 * i for i in range(len(places))])[:faces])


if __name__ == "__main__":
    main()
