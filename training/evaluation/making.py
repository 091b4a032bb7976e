"""Meshes of a model for many requests: the first sample as it was drawn, and what is delivered after rejection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from core.errors import MeshGPTError
from core.mesh import Mesh
from core.pipeline import ATTEMPTS, MeshGPT
from core.request import Request, Result


@dataclass(frozen=True)
class Made:
    """What came of one request. first: the first sample, whatever it is. kept: the result as everybody gets it."""

    first: Result
    kept: Result


def make_all(model: MeshGPT, requests: Sequence[Request], title: str) -> list[Made]:
    """Both kinds of mesh of every request of one variant. The first sample is drawn again only where more than one had been drawn."""
    made = []
    for request in tqdm(requests, desc=title):
        kept = run(model, request)[0]
        first = kept if kept.drawn == 1 else run(model, replace(request, candidates=1), attempts=1)[0]
        made.append(Made(first, kept))
    return made


def keep_all(model: MeshGPT, requests: Sequence[Request], title: str) -> list[list[Result]]:
    """The results of every request, as everybody gets them."""
    return [run(model, request) for request in tqdm(requests, desc=title)]


def run(model: MeshGPT, request: Request, attempts: int = ATTEMPTS) -> list[Result]:
    """As MeshGPT.run, but where not a single face came of it the results have none, and did not end."""
    try:
        return model.run(request, attempts=attempts)
    except MeshGPTError as error:
        if error.code != "no_mesh":
            raise
    nothing = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 4), np.int64))
    return [Result(nothing, request.text, request.seed, i, 0.0, 0.0, 1, False) for i in range(request.variants)]


def has_area(mesh: Mesh) -> bool:
    """Whether there is any surface to sample points on."""
    return not bool(mesh.is_degenerate().all())
