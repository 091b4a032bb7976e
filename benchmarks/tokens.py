"""Learned tokens against plain ones: an autoencoder's codes and grid coordinates, at equal size and processor time.

    python -m accelerate.commands.launch -m training.train_autoencoder --config training/configs/autoencoder.yaml --out runs/autoencoder
    python -m benchmarks.tokens --autoencoder runs/autoencoder/checkpoint --minutes 4 --out runs/tokens

Both transformers are trained as in benchmarks.learning, on the same batches of the same meshes. Compared are the tokenizers by themselves
(what comes back of a mesh), the likelihood of held-out meshes, and what is generated. Nats of learned codes count everything the codes say,
also what the decoder makes nothing of. What is done is kept in tokens.json, and not done again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.learning import PLAIN, Settings, Variant, learn, read_data, read_results, write_results
from benchmarks.table import markdown
from core.checkpoint import save_checkpoint
from core.decoding import Row, Sampling, decode
from core.errors import MeshGPTError
from core.mesh import Frame, IntArray, Mesh
from core.pipeline import MeshGPT, Request
from core.tokenizer import Tokenizer
from core.transformer import MeshTransformer
from training.data.dataset import CodeSet, load_mixed, read_tokenizer
from training.data.parquet import mesh_of
from training.metrics import chamfer_distances, sample_points, triangle_accuracy, validity
from training.recognition import Recogniser, point_clouds, train_recogniser

SAMPLING = Sampling(temperature=0.8, min_p=0.05, guidance_scale=2.0)  # as the default model
POINTS = 2048
MEASURED = 200  # validation meshes that the tokenizers are measured on, at most, of each set
MAX_FACES = 800
SAMPLES = 4  # of each family
RECOGNISER_SEEDS = 80  # meshes of each family that the recogniser learns from
HELD_OUT = range(1_000_000, 1_000_020)


def as_codes(tokenizer: Tokenizer, grid: IntArray) -> IntArray:
    """The faces of a mesh as the tokenizer's codes, of their grid coordinates [n, 12]."""
    return tokenizer.encode(mesh_of(grid.astype(np.int16)), Frame())


def compare(name: str, tokenizer: Tokenizer, settings: Settings, data: tuple[CodeSet, CodeSet], out: Path) -> dict[str, Any]:
    """Everything about a transformer on that tokenizer's codes, which is left in a folder of `out`."""
    found, model = learn(Variant(name, change=partial(as_codes, tokenizer), tokenizer=tokenizer), *data, settings)
    keep(model, name, settings, out / name)
    return found


def keep(model: MeshTransformer, name: str, settings: Settings, folder: Path) -> None:
    """Write a checkpoint that MeshGPT reads."""
    facts = {"name": name, "domain": list(settings.families), "nouns": list(settings.families), "sampling": asdict(SAMPLING)}
    save_checkpoint(folder, model.describe() | facts, model.state_dict(), torch.float16)


# ---- tokenizers


def measure_tokenizer(tokenizer: Tokenizer, meshes: Sequence[Mesh]) -> dict[str, float]:
    """What a tokenizer keeps of meshes: triangle accuracy, the share of edges that are open afterwards (cracks) and before, the Chamfer
    distance (mean squared, both ways, between the same POINTS places of both surfaces), and processor seconds for 1,000 faces each way.
    """
    faces = sum(len(mesh.faces) for mesh in meshes)
    codes, encoding = timed(lambda: [tokenizer.encode(mesh, Frame()) for mesh in meshes])
    found, decoding = timed(lambda: [Mesh.from_face_coordinates(tokenizer.decode(one)) for one in codes])
    return {
        "triangle_accuracy": triangle_accuracy(tokenizer, meshes),
        "open_edges": validity(found)["boundary"],
        "open_edges_before": validity(meshes)["boundary"],
        "chamfer": float(np.mean([chamfer(one, other) for one, other in zip(meshes, found, strict=True)])),
        "encode_seconds": encoding / faces * 1000,
        "decode_seconds": decoding / faces * 1000,
        "faces": faces,
        "meshes": len(meshes),
    }


def chamfer(one: Mesh, other: Mesh) -> float:
    """Between the surfaces, in the unit box squared; 0 for equal meshes, as their points are drawn by the same numbers."""
    first, second = (sample_points(mesh, POINTS, np.random.default_rng(0)) for mesh in (one, other))
    return float(chamfer_distances(first[None], second[None])[0, 0])


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work gives, and the processor seconds it took."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def validation_meshes(folders: Sequence[str]) -> list[Mesh]:
    """Evenly drawn from each folder, of at most MAX_FACES faces."""
    meshes = []
    for folder in folders:
        data = load_mixed({folder: 1.0}, MAX_FACES)
        fitting = np.flatnonzero(data.weights > 0)
        chosen = fitting[np.linspace(0, len(fitting) - 1, min(MEASURED, len(fitting))).astype(int)]
        meshes += [mesh_of(data.grid[data.faces(i)]) for i in chosen]
    return meshes


# ---- generation


def measure_generation(folder: Path, recogniser: Recogniser) -> dict[str, float]:
    """The first samples, none thrown away, of SAMPLES prompts for each family that the recogniser knows: shares that ended, were
    recognised, are flawless; open edges; and faces for a processor second, through MeshGPT and through its engine alone.
    """
    model = MeshGPT.from_pretrained(folder, "cpu")
    wanted = [(family, seed) for family in recogniser.families for seed in range(SAMPLES)]
    model.run(Request("warm up", max_faces=4), attempts=1)
    results, seconds = timed(lambda: [model.run(Request(f"a {family}", seed=seed), attempts=1)[0] for family, seed in wanted])
    meshes = [result.mesh for result in results]
    solid = [(mesh, family) for mesh, (family, _) in zip(meshes, wanted, strict=True) if not mesh.is_degenerate().all()]
    seen = recogniser.families_of(point_clouds([mesh for mesh, _ in solid], 256, np.random.default_rng(0)))
    made, alone = timed(lambda: sum(draw(model, f"a {family}") for family in recogniser.families))
    checked = validity(meshes)
    return {
        "ended": float(np.mean([result.ended for result in results])),
        "recognised": sum(family == asked for family, (_, asked) in zip(seen, solid, strict=True)) / len(meshes),
        "flawless": checked["flawless"],
        "open_edges": checked["boundary"],
        "faces": float(np.mean([len(mesh.faces) for mesh in meshes])),
        "faces_a_second": sum(len(mesh.faces) for mesh in meshes) / seconds,
        "faces_a_second_alone": made / alone,
        "samples": len(meshes),
        "recogniser_accuracy": recogniser.accuracy,
    }


@torch.inference_mode()
def draw(model: MeshGPT, text: str) -> int:
    """Make one mesh without building or streaming it; returns how many faces it has."""
    row = Row(model.tokenizer.grammar(), np.random.default_rng(0), [])
    both = model.text_conditioner([text, ""])
    decode(model.stepper, both, [row], SAMPLING, max_faces=model.stepper.max_faces)
    return len(row.faces)


# ---- files


def page(runs: dict[str, Any]) -> str:
    """Both side by side, in Markdown."""
    names = list(runs)
    last = {name: runs[name]["curve"][-1] for name in names}
    rows: dict[str, Callable[[str], str]] = {
        "codes a face": lambda name: f"{runs[name]['codes_a_face']} of {runs[name]['codebook_size']:,}",
        "weights outside of the text tower": lambda name: f"{runs[name]['parameters'] / 1e6:.2f}M",
        "triangle accuracy, to 800 faces": lambda name: f"{runs[name]['tokenizer']['triangle_accuracy']:.2%}",
        "open edges of what comes back (of the meshes)": lambda name: (
            f"{runs[name]['tokenizer']['open_edges']:.2%} ({runs[name]['tokenizer']['open_edges_before']:.2%})"
        ),
        "Chamfer distance of what comes back": lambda name: f"{runs[name]['tokenizer']['chamfer']:.2g}",
        "processor seconds to encode, to decode 1,000 faces": lambda name: (
            f"{runs[name]['tokenizer']['encode_seconds']:.3f}, {runs[name]['tokenizer']['decode_seconds']:.3f}"
        ),
        "faces seen in training": lambda name: f"{last[name]['faces']:,}",
        "validation, nats a face": lambda name: f"{last[name]['nats_a_face']:.2f}",
        "validation, nats a mesh": lambda name: f"{last[name]['nats_a_mesh']:.0f}",
        "samples that ended": lambda name: f"{runs[name]['generation']['ended']:.0%}",
        "recognised": lambda name: f"{runs[name]['generation']['recognised']:.0%}",
        "without a flaw": lambda name: f"{runs[name]['generation']['flawless']:.0%}",
        "open edges of samples": lambda name: f"{runs[name]['generation']['open_edges']:.1%}",
        "faces a processor second, engine alone": lambda name: f"{runs[name]['generation']['faces_a_second_alone']:.0f}",
        "faces a processor second, with decoding": lambda name: f"{runs[name]['generation']['faces_a_second']:.0f}",
    }
    return markdown([["", *names], *([what, *map(cell, names)] for what, cell in rows.items())]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoencoder", type=Path, required=True, help="checkpoint folder of the learned tokenizer")
    parser.add_argument("--minutes", type=float, default=4, help="processor time of each transformer (default 4)")
    parser.add_argument("--out", type=Path, required=True, help="folder of tokens.json, tokens.md and the checkpoints")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings(options.minutes, seed=1)  # not that of benchmarks.learning: the plain run also says what another seed does
    path = options.out / "tokens.json"
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        runs = read_results(path, settings)
        tokenizers = {"plain": PLAIN, "learned": read_tokenizer(options.autoencoder)}
        missing = [name for name in tokenizers if name not in runs]
        data = read_data(settings) if missing else None
    except MeshGPTError as error:
        parser.exit(2, f"{error}\n")
    for name in missing:
        assert data is not None
        sizes = {"codes_a_face": tokenizers[name].codes_per_face, "codebook_size": tokenizers[name].codebook_size}
        runs[name] = sizes | compare(name, tokenizers[name], settings, data, options.out)
        write_results(path, settings, runs)
        print(f"{name}: {runs[name]['curve'][-1]}", flush=True)
    del data
    if any("generation" not in run for run in runs.values()):
        meshes = validation_meshes(("data/validation", "data/lowpoly/validation"))
        recogniser = train_recogniser(settings.families, range(RECOGNISER_SEEDS), HELD_OUT)
        for name, run in runs.items():
            run["tokenizer"] = measure_tokenizer(tokenizers[name], meshes)
            run["generation"] = measure_generation(options.out / name, recogniser)
        write_results(path, settings, runs)
    (options.out / "tokens.md").write_text(page(runs))
    print(page(runs))


if __name__ == "__main__":
    main()
