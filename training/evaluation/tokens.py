"""What the tokenizer loses, and what the transformer's codes cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from core.mesh import Frame, Mesh
from core.pipeline import MeshGPT
from core.tokenizer import Tokenizer
from training.evaluation.making import has_area
from training.evaluation.sets import Wanted
from training.metrics import chamfer_distances, sample_points, triangle_accuracy, validity

MOST_FACES = 800  # of meshes that the reconstruction is measured on
POINTS = 2048
BATCH = 1000  # padded faces


def reconstruction(tokenizer: Tokenizer, meshes: Sequence[Mesh], seed: int) -> dict[str, Any]:
    """Of canonical meshes of up to MOST_FACES faces, encoded and decoded.

    triangle_accuracy: as in training.metrics. cracks: share of the edges that have one face, less the originals' own. chamfer: mean
    distance to the original, with the same random numbers for both, so that equal meshes are at 0.
    """
    before = [mesh for mesh in meshes if len(mesh.faces) <= MOST_FACES]
    after = [Mesh.from_face_coordinates(tokenizer.decode(tokenizer.encode(mesh, Frame()))) for mesh in before]
    distances = [
        chamfer_distances(*(sample_points(mesh, POINTS, np.random.default_rng(seed))[None] for mesh in pair))[0, 0]
        for pair in zip(before, after, strict=True)
        if has_area(pair[1])
    ]
    return {
        "tokenizer": type(tokenizer).__name__,
        "meshes": len(before),
        "faces": sum(len(mesh.faces) for mesh in before),
        "triangle_accuracy": triangle_accuracy(tokenizer, before),
        "cracks": validity(after)["boundary"] - validity(before)["boundary"],
        "chamfer": float(np.mean(distances)) if distances else None,
    }


@torch.inference_mode()
def loss(model: MeshGPT, wanted: Sequence[Wanted], title: str) -> dict[str, Any]:
    """nats_a_face: of the meshes that the model's context holds, each with its caption and nothing else given, the end counted in."""
    encoded = sorted(((model.tokenizer.encode(one.mesh, Frame()), one.caption) for one in wanted), key=lambda pair: len(pair[0]))
    encoded = [pair for pair in encoded if len(pair[0]) <= model.stepper.max_faces]
    total, faces, first = 0.0, 0, 0
    with tqdm(total=len(encoded), desc=title) as bar:
        while first < len(encoded):
            last = first + 1
            while last < len(encoded) and (last + 1 - first) * len(encoded[last][0]) <= BATCH:
                last += 1
            batch = encoded[first:last]
            total += nats(model, batch)
            faces += sum(len(codes) for codes, _ in batch)
            bar.update(last - first)
            first = last
    return {"nats_a_face": total / faces if faces else None, "meshes": len(encoded), "faces": faces}


def nats(model: MeshGPT, batch: Sequence[tuple[Any, str]]) -> float:
    """What the codes [faces, codes a face] of a few meshes cost, given their captions, in all."""
    counts = torch.tensor([len(codes) for codes, _ in batch], device=model.device)
    padded = np.full((len(batch), int(counts.max()), model.tokenizer.codes_per_face), -1, np.int64)
    for row, (codes, _) in enumerate(batch):
        padded[row, : len(codes)] = codes
    text = model.text_conditioner([caption for _, caption in batch]) if model.config.condition_on_text else None
    costs = model.stepper.nats(torch.from_numpy(padded).to(model.device), text, torch.zeros_like(counts))
    there = torch.arange(costs.shape[1], device=model.device) <= counts[:, None]
    return float(costs.masked_fill(~there, 0).sum())
