"""Measure a checkpoint: what it makes of held-out captions, beside fresh procedural meshes put through the same measures.

    python -m training.evaluate --model models/default --prompts 64 --out runs/evaluation

Prints a table and writes it as evaluation.md, with evaluation.json for programs. The meshes of the column "data" are what a perfect
model would make; their numbers are the ones to reach. (As both sets hold as many of each family, 1-NNA is below the 50 % of free draws.)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from tqdm import tqdm

from core.errors import MeshGPTError
from core.mesh import FloatArray, Mesh
from core.pipeline import MeshGPT, Request, Result
from training.data.dataset import HELD_OUT_SEEDS
from training.metrics import (
    Distances,
    chamfer_distances,
    copied,
    coverage,
    fingerprint,
    minimum_matching_distance,
    nearest_neighbour_accuracy,
    occupancy_divergence,
    triangle_accuracy,
    validity,
)
from training.procedural import FAMILIES, Sample, generate
from training.recognition import Recogniser, point_clouds, train_recogniser

POINTS = 512
RECOGNISER_SEEDS = 120  # meshes of each family that the recogniser learns from


@dataclass(frozen=True)
class Reference:
    """What meshes are held against. clouds: [r, POINTS, 3] of held-out meshes, distances: [r, r] between them. known: fingerprints."""

    clouds: FloatArray
    distances: Distances
    known: set[bytes]
    recogniser: Recogniser


def evaluate(model: MeshGPT, prompts: int, training_seeds: int, seed: int = 0) -> dict[str, Any]:
    """All measures as plain values: `generation`, and one column each for the `generated` meshes and the `data`.

    prompts: held-out captions to make a mesh of, families in turn. training_seeds: procedural seeds of each family that the model may have
    seen, to look for copies. Raises MeshGPTError (bad_request) if the model knows no procedural family.
    """
    families = [family for family in FAMILIES if family in model.info()["domain"]]
    if not families:
        raise MeshGPTError("the model was trained on no procedural family", hint="train it on some", code="bad_request")
    wanted = held_out(families, prompts, 0)
    fresh = held_out(families, prompts, prompts)
    rng = np.random.default_rng(seed)
    clouds = point_clouds([sample.mesh for sample in wanted], POINTS, rng)
    reference = Reference(
        clouds,
        chamfer_distances(clouds, clouds),
        {fingerprint(generate(family, i).mesh) for family in tqdm(families, desc="training meshes") for i in range(training_seeds)},
        train_recogniser(families, range(RECOGNISER_SEEDS), range(HELD_OUT_SEEDS, HELD_OUT_SEEDS + 20)),
    )
    captions = [sample.captions[i % len(sample.captions)] for i, sample in enumerate(wanted)]
    results = [model.run(Request(caption, seed=seed + i))[0] for i, caption in enumerate(tqdm(captions, desc="generating"))]
    return {
        "model": model.info()["name"],
        "prompts": prompts,
        "generation": generation(results),
        "generated": judge([result.mesh for result in results], wanted, reference, rng),
        "data": judge([sample.mesh for sample in fresh], fresh, reference, rng),
        "recogniser_accuracy": reference.recogniser.accuracy,
        "training_meshes": len(reference.known),
        "tokenizer_triangle_accuracy": triangle_accuracy(model.tokenizer, [sample.mesh for sample in wanted]),
    }


def held_out(families: Sequence[str], count: int, start: int) -> list[Sample]:
    """`count` samples that training has not seen, the families in turn."""
    return [generate(families[i % len(families)], HELD_OUT_SEEDS + start + i) for i in range(count)]


def generation(results: Sequence[Result]) -> dict[str, float]:
    """How generating went: shares of meshes that `ended` by themselves and of samples thrown away (`rejected`), sizes and speed."""
    rejected, faces = sum(result.rejected for result in results), [len(result.mesh.faces) for result in results]
    return {
        "ended": sum(result.ended for result in results) / len(results),
        "rejected": rejected / (rejected + len(results)),
        "faces": float(np.mean(faces)),
        "seconds": float(np.median([result.seconds for result in results])),
        "first_face_seconds": float(np.median([result.first_face_seconds for result in results])),
        "faces_per_second": sum(faces) / sum(result.seconds for result in results),
    }


def judge(meshes: Sequence[Mesh], wanted: Sequence[Sample], reference: Reference, rng: np.random.Generator) -> dict[str, float]:
    """Every measure of meshes that were made as the wanted samples. Those without any area count as not recognised, and in no distance.

    Raises MeshGPTError (bad_checkpoint) if that is all of them.
    """
    if all(mesh.is_degenerate().all() for mesh in meshes):
        raise MeshGPTError("no mesh that the model made has any area", hint="train it longer", code="bad_checkpoint")
    solid = [(mesh, sample.family) for mesh, sample in zip(meshes, wanted, strict=True) if not mesh.is_degenerate().all()]
    clouds = point_clouds([mesh for mesh, _ in solid], POINTS, rng)
    between = chamfer_distances(clouds, reference.clouds)
    seen = reference.recogniser.families_of(clouds)
    return {
        **validity(meshes),
        "empty": 1 - len(solid) / len(meshes),
        "copied": copied([mesh for mesh, _ in solid], reference.known),
        "recognised": sum(family == asked for family, (_, asked) in zip(seen, solid, strict=True)) / len(meshes),
        "coverage": coverage(between),
        "matching_distance": minimum_matching_distance(between),
        "nearest_neighbour_accuracy": nearest_neighbour_accuracy(chamfer_distances(clouds, clouds), between, reference.distances),
        "divergence": occupancy_divergence(clouds, reference.clouds),
    }


ROWS = {
    "recognised": "recognised as the family asked for",
    "flawless": "meshes without a flaw",
    "degenerate": "degenerate faces",
    "duplicate": "duplicate faces",
    "boundary": "boundary edges",
    "non_manifold": "non-manifold edges",
    "empty": "meshes without area",
    "copied": "exact copies of a training mesh",
    "coverage": "coverage (COV, higher is better)",
    "matching_distance": "minimum matching distance (MMD, lower is better)",
    "nearest_neighbour_accuracy": "1-nearest-neighbour accuracy (1-NNA, that of the data is perfect)",
    "divergence": "Jensen-Shannon divergence (JSD, lower is better)",
}


def markdown(report: dict[str, Any]) -> str:
    """The report of `evaluate` as a page."""
    run = report["generation"]
    lines = [
        f"# Evaluation of {report['model']}",
        "",
        f"{report['prompts']} meshes from held-out captions: {run['ended']:.1%} ended by themselves, {run['rejected']:.1%} of all samples "
        f"were thrown away, {run['faces']:.0f} faces and {run['seconds']:.2f} s a mesh (first face after "
        f"{run['first_face_seconds']:.2f} s), {run['faces_per_second']:.0f} faces/s.",
        "",
        f"The recogniser is right on {report['recogniser_accuracy']:.1%} of held-out procedural meshes. Copies were looked for among "
        f"{report['training_meshes']} different training meshes. The tokenizer keeps {report['tokenizer_triangle_accuracy']:.2%} of the "
        "faces exactly.",
        "",
        "| measure | generated | data |",
        "|---|---|---|",
    ]
    for key, name in ROWS.items():
        style = ".5f" if key == "matching_distance" else ".1%"
        lines.append(f"| {name} | {report['generated'][key]:{style}} | {report['data'][key]:{style}} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--prompts", type=int, default=64, help="meshes to make (default 64)")
    parser.add_argument("--training-seeds", type=int, default=3000, help="of each family, to look for copies in (default 3000)")
    parser.add_argument("--out", type=Path, help="folder for evaluation.md and evaluation.json")
    options = parser.parse_args()
    try:
        report = evaluate(MeshGPT.from_pretrained(options.model, str(Accelerator().device)), options.prompts, options.training_seeds)
    except MeshGPTError as error:
        parser.exit(2, f"{error}\n")
    page = markdown(report)
    print(page)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "evaluation.md").write_text(page)
        (options.out / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
