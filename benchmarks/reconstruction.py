"""Reconstruction, side by side: our autoencoder and meshgpt-pytorch's, trained on the same meshes for the same time.

    python -m benchmarks.reconstruction --minutes 8 --rival .rival/bin/python

Both sides are processes that run this file: the same loop, the same batches, the same optimiser, one thread each, each on a core of its
own, both at the same time. They differ in the package that MeshAutoencoder comes from. Each contender is tried at every learning rate for
a quarter of the time first, and trained for the whole time at the better one. Accuracy is measured on meshes that were held out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.table import markdown

LEVELS = 128
MAX_FACES = 200
BATCH = 16
RATES = (1e-3, 3e-3)
ROOT = Path(__file__).resolve().parents[1]
SIZES: dict[str, Any] = {
    "num_discrete_coors": LEVELS,
    "dim_coor_embed": 32,
    "dim_normal_embed": 32,
    "dim_codebook": 96,
    "codebook_size": 4096,
    "encoder_dims_through_depth": (64, 128, 128, 256),
}
WIDTHS = {"ours": (*(128,) * 4, 192, 192, 256, 256), "theirs": (*(128,) * 3, 192, 192, 256, 256)}  # for nearly as many parameters
CONTENDERS = {"LFQ": {"use_residual_lfq": True}, "VQ": {"use_residual_lfq": False}}  # lookup-free is the default of both


# ---- one side


def run_side(package: str, request: dict[str, Any]) -> dict[str, Any]:
    """Train and measure one autoencoder. request: data, options, rate, seconds, seed."""
    torch.set_num_threads(1)
    torch.manual_seed(request["seed"])
    autoencoder, derive_edges = load_package(package)
    train, held_out = read_meshes(Path(request["data"]), derive_edges)
    model = autoencoder(**tuples(request["options"]))
    optimizer = torch.optim.AdamW(model.parameters(), request["rate"], betas=(0.9, 0.99), weight_decay=0.01)
    rng = np.random.default_rng(request["seed"])
    steps = faces_seen = 0
    start, busy = time.monotonic(), time.process_time()
    while (progress := (time.monotonic() - start) / request["seconds"]) < 1:
        batch = [train[i] for i in rng.choice(len(train), BATCH, replace=False)]
        for group in optimizer.param_groups:
            group["lr"] = request["rate"] * min(1, (steps + 1) / 50) * 0.5 * (1 + math.cos(math.pi * progress))
        vertices, faces, edges = (torch.nn.utils.rnn.pad_sequence(list(part), True, -1) for part in zip(*batch, strict=True))
        loss = model(vertices=vertices, faces=faces, face_edges=edges)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
        faces_seen += sum(len(faces) for _, faces, _ in batch)
    seconds, busy = time.monotonic() - start, time.process_time() - busy
    model.eval()
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "faces": faces_seen,
        "seconds": seconds,
        "CPU seconds": busy,
        "loss": loss.item(),
        **accuracy(model, held_out),
    }


def load_package(package: str) -> tuple[Any, Any]:
    """MeshAutoencoder and the function that derives the neighbours of faces, from "core" or "meshgpt_pytorch"."""
    if package == "core":
        from core.adjacency import derive_face_edges_from_faces
        from core.autoencoder import MeshAutoencoder

        return MeshAutoencoder, derive_face_edges_from_faces
    library = torch.library.Library("torchvision", "DEF")  # its torchvision is built for CUDA and misses these beside CPU torch
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from meshgpt_pytorch import MeshAutoencoder as Theirs  # type: ignore[import-not-found]
    from meshgpt_pytorch.data import derive_face_edges_from_faces as derive  # type: ignore[import-not-found]

    return Theirs, derive


def read_meshes(path: Path, derive_edges: Any) -> tuple[list[Any], list[Any]]:
    """Training and held-out meshes, each (vertices [v, 3] at the middles of grid cells in -1..1, faces [n, 3], edges [e, 2])."""
    with np.load(path) as file:
        stored = {name: torch.from_numpy(file[name]) for name in file.files}
    meshes = []
    for index in range(len(stored["v_off"]) - 1):
        grid = stored["vertices"][stored["v_off"][index] : stored["v_off"][index + 1]]
        faces = stored["faces"][stored["f_off"][index] : stored["f_off"][index + 1]]
        vertices = (grid.float() + 0.5) / LEVELS * 2 - 1
        meshes.append((vertices, faces, derive_edges(faces)))
    count = int(stored["held_out"])
    return meshes[count:], meshes[:count]


@torch.no_grad()
def accuracy(model: Any, meshes: Sequence[Any]) -> dict[str, float]:
    """Shares of faces, and of their corners, of which every coordinate comes back in its grid cell."""
    triangles = corners = total = 0
    for vertices, faces, edges in meshes:
        codes = model.tokenize(vertices=vertices[None], faces=faces[None], face_edges=edges[None])
        found, _ = model.decode_from_codes_to_faces(codes)
        same = (((found[0] + 1) / 2 * LEVELS).floor() == ((vertices[faces] + 1) / 2 * LEVELS).floor()).all(-1)
        triangles += int(same.all(-1).sum())
        corners += int(same.sum())
        total += len(faces)
    return {"triangle accuracy": triangles / total, "vertex accuracy": corners / (3 * total)}


def tuples(options: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


# ---- both sides


def write_meshes(path: Path, train: int, held_out: int, seed: int = 0) -> None:
    """Procedural meshes, triangulated, on the grid, of at most MAX_FACES faces; the held-out ones first, with numbers of their own."""
    from core.errors import MeshGPTError
    from core.mesh import Mesh, quantise
    from training.procedural import FAMILIES, generate

    rng, families = np.random.default_rng(seed), list(FAMILIES)
    vertices: list[Any] = []
    faces: list[Any] = []
    while len(faces) < held_out + train:
        number = len(faces) if len(faces) < held_out else int(rng.integers(1_000, 1_000_000))
        mesh = generate(families[int(rng.integers(len(families)))], number).mesh
        stretched = Mesh(mesh.vertices * rng.uniform(0.75, 1.25, 3).astype(np.float32), mesh.triangles())
        try:
            canonical = stretched.canonical(levels=LEVELS)
        except MeshGPTError:  # nothing left on the grid
            continue
        if len(canonical.faces) <= MAX_FACES:
            vertices.append(quantise(canonical.vertices, LEVELS))
            faces.append(canonical.triangles())
    offsets = {"v_off": np.cumsum([0, *map(len, vertices)]), "f_off": np.cumsum([0, *map(len, faces)])}
    np.savez(path, vertices=np.concatenate(vertices), faces=np.concatenate(faces), held_out=held_out, **offsets)


def start(python: str, core: int, package: str, request: dict[str, Any]) -> subprocess.Popen[str]:
    """Begin one side on a core of its own."""
    pinned = ["taskset", "-c", str(core)] if shutil.which("taskset") and (os.cpu_count() or 1) > core else []
    command = [*pinned, python, str(Path(__file__).resolve()), "--side", package, json.dumps(request)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a side has measured. Raises RuntimeError, with what it wrote last, if it failed."""
    out, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a side of the comparison failed:\n{errors[-2000:]}")
    return json.loads(out.splitlines()[-1])


def compare(data: Path, rival: str, quantiser: str, rate: dict[str, float], seconds: float, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Figures of "ours" and "theirs", run at the same time. rate: of each."""
    running = {}
    for core, (side, python, package) in enumerate([("ours", sys.executable, "core"), ("theirs", rival, "meshgpt_pytorch")]):
        options = {**SIZES, "decoder_dims_through_depth": WIDTHS[side], **CONTENDERS[quantiser]}
        request = {"data": str(data), "options": options, "rate": rate[side], "seconds": seconds, "seed": seed}
        running[side] = start(python, core, package, request)
    return {side: {"rate": rate[side], **finish(process)} for side, process in running.items()}


def measure(rival: str, minutes: float, train: int, held_out: int, contenders: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each side and quantiser, as `compare` gives them, at the better of the learning rates."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "meshes.npz"
        write_meshes(data, train, held_out)
        for quantiser in contenders:
            tried = [compare(data, rival, quantiser, {"ours": rate, "theirs": rate}, minutes * 15) for rate in RATES]
            print(*tried, sep="\n", flush=True)
            best = {side: max((run[side] for run in tried), key=lambda row: row["triangle accuracy"])["rate"] for side in tried[0]}
            for side, row in compare(data, rival, quantiser, best, minutes * 60).items():
                rows.append({"side": side, "quantiser": quantiser, **row})
                print(rows[-1], flush=True)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    names = {"ours": "ours", "theirs": "meshgpt-pytorch 1.8.1"}
    columns = {
        "autoencoder": lambda row: names[row["side"]],
        "codes": lambda row: row["quantiser"],
        "parameters": lambda row: f"{row['parameters'] / 1e6:.2f}M",
        "learning rate": lambda row: f"{row['rate']:g}",
        "seconds": lambda row: f"{row['seconds']:.0f}",
        "of them on the CPU": lambda row: f"{row['CPU seconds']:.0f}",
        "steps": lambda row: f"{row['steps']:,}",
        "faces seen": lambda row: f"{row['faces']:,}",
        "triangle accuracy": lambda row: f"{row['triangle accuracy']:.1%}",
        "vertex accuracy": lambda row: f"{row['vertex accuracy']:.1%}",
    }
    return markdown([list(columns), *([cell(row) for cell in columns.values()] for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="of training, for each contender")
    parser.add_argument("--rival", default=str(ROOT / ".rival" / "bin" / "python"), help="a Python that has meshgpt-pytorch")
    parser.add_argument("--train", type=int, default=4000, help="meshes to train on")
    parser.add_argument("--held-out", type=int, default=200, help="meshes to measure on")
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "reconstruction.md")
    parser.add_argument("--side", nargs=2, metavar=("PACKAGE", "REQUEST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run_side(options.side[0], json.loads(options.side[1]))))
        return
    if not Path(options.rival).exists():
        parser.exit(2, f"there is no Python at {options.rival}; make an environment with meshgpt-pytorch and name it with --rival\n")
    rows = measure(options.rival, options.minutes, options.train, options.held_out, options.contenders)
    text = f"# Reconstruction of held-out meshes after {options.minutes:g} minutes on one CPU core\n\n{table(rows)}\n"
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
