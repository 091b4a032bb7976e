"""The meshes that a model is held against: procedural ones that training has not seen, and real ones from folders of Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.mesh import Mesh
from training.data.dataset import HELD_OUT_SEEDS, CodeSet
from training.data.parquet import mesh_of
from training.evaluation.novelty import Training
from training.procedural import generate

NEW_SEEDS, HELD_OUT_REGIONS = "new seeds", "held-out regions"


@dataclass(frozen=True, eq=False)
class Wanted:
    """A mesh in canonical form, the caption that asks for it, and what it is."""

    mesh: Mesh
    caption: str
    category: str


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """name: for the report. wanted: what the model is asked for. others: beside each of them another mesh, drawn in the same way, None
    where there is none: what a perfect model would make. everything: the meshes that loss and reconstruction are measured on.
    """

    name: str
    wanted: list[Wanted]
    others: list[Mesh | None]
    everything: list[Wanted]


def procedural_set(families: Sequence[str], count: int, held_out: bool) -> ValidationSet:
    """`count` procedural meshes, the families in turn, and as many others; held_out: from the parameters that training never sees."""
    drawn = [draw(families, number, held_out) for number in range(2 * count)]
    name = HELD_OUT_REGIONS if held_out else NEW_SEEDS
    return ValidationSet(name, drawn[:count], [one.mesh for one in drawn[count:]], drawn[:count])


def draw(families: Sequence[str], number: int, held_out: bool) -> Wanted:
    """The mesh with that number: families and kinds of captions in turn."""
    turn, family = number // len(families), families[number % len(families)]
    sample = generate(family, HELD_OUT_SEEDS + turn, held_out=held_out)
    return Wanted(sample.mesh.canonical(), sample.captions[(turn + number) % len(sample.captions)], family)


def real_set(folder: Path, domain: Sequence[str], count: int, training: Training | None, seed: int) -> ValidationSet:
    """The captioned meshes of a folder of Parquet, in an order by the seed; asked for are the first `count` of a category in the domain.

    The others are training meshes of the same category. Raises MeshGPTError (bad_data) as CodeSet.load does.
    """
    rng = np.random.default_rng(seed)
    data = CodeSet.load(folder)
    everything = [
        Wanted(mesh_of(data.grid[data.faces(i)]), data.captions[i][i % len(data.captions[i])], data.labels[i])
        for i in rng.permutation(len(data)).tolist()
        if data.captions[i]
    ]
    wanted = [one for one in everything if one.category in domain][:count]
    others = [training.any_of(one.category, rng) if training else None for one in wanted]
    return ValidationSet(str(folder), wanted, others, everything)
