"""Questions about prompts: other words, the plain name again and again, and properties asked for beside the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.mesh import Mesh
from core.pipeline import MeshGPT
from core.properties import Properties
from core.request import Request, Result
from core.vocabulary import with_article
from training.data.parquet import grid_of
from training.evaluation.making import has_area, keep_all
from training.evaluation.novelty import Training, words
from training.evaluation.paraphrases import PARAPHRASES
from training.evaluation.sets import Wanted
from training.evaluation.shapes import POINTS, Judge
from training.metrics import chamfer_distances, difference_interval, share
from training.procedural import generate
from training.recognition import point_clouds

VARIANTS = 4  # seeds of one plain prompt


# ---- other words


def paraphrases(families: Sequence[str], count: int, training: Training | None) -> list[tuple[str, str]]:
    """`count` phrases, each with the family that it means, the families in turn; none that is a caption of the training set."""
    captions = training.captions if training else set()
    phrases = {family: [phrase for phrase in PARAPHRASES[family] if phrase not in captions] for family in families}
    usable = [family for family in families if phrases[family]]
    turns = [divmod(number, len(usable)) for number in range(count)]
    return [(phrases[usable[place]][turn % len(phrases[usable[place]])], usable[place]) for turn, place in turns]


def in_other_words(
    asked: Sequence[tuple[str, str]], recognised: Sequence[bool], plainly: Sequence[bool], training: Training | None
) -> dict[str, Any]:
    """asked: as `paraphrases` gave them. recognised: whether what came of each was. plainly: the same for captions as in training.

    difference: share of the second less that of the first, with its 95% interval. words_known, words_new: recognition of the phrases of
    which every word stands in a training caption, and of the others.
    """
    report: dict[str, Any] = {
        "phrases": len({phrase for phrase, _ in asked}),
        "recognised": share(recognised),
        "recognised_plainly": share(plainly),
        "difference": share(plainly)["share"] - share(recognised)["share"],
        "interval": list(difference_interval(plainly, recognised)),
    }
    if training:
        known = [words(phrase) <= training.words for phrase, _ in asked]
        for name, wanted in (("words_known", True), ("words_new", False)):
            report[name] = share([flag for flag, one in zip(recognised, known, strict=True) if one == wanted])
    return report


# ---- the plain name


def plain_requests(families: Sequence[str], seed: int) -> list[Request]:
    """The name of each family, in VARIANTS seeds."""
    return [Request(with_article(family), variants=VARIANTS, seed=seed) for family in families]


def diversity(families: Sequence[str], made: Sequence[Sequence[Result]], first_seed: int, seed: int) -> dict[str, Any]:
    """Mean Chamfer distance between the meshes of one prompt, over the prompts; `data`: between as many procedural meshes of the family,
    which are what its plain name stands for in training."""
    rng = np.random.default_rng(seed)
    drawn = [[generate(family, first_seed + i).mesh for i in range(VARIANTS)] for family in families]
    made_meshes = [[result.mesh for result in results] for results in made]
    return {
        "prompts": len(families),
        "variants": VARIANTS,
        "model": spread_of(made_meshes, rng),
        "data": spread_of(drawn, rng),
    }


def spread_of(sets: Sequence[Sequence[Mesh]], rng: np.random.Generator) -> float | None:
    """The mean, over the sets, of the mean distance of all pairs of meshes with an area; None if no set has a pair."""
    means = []
    for meshes in sets:
        clouds = point_clouds([mesh for mesh in meshes if has_area(mesh)], POINTS, rng)
        if len(clouds) > 1:
            means.append(chamfer_distances(clouds, clouds)[np.triu_indices(len(clouds), 1)].mean())
    return float(np.mean(means)) if means else None


# ---- by family


def by_family(judge: Judge, first: Sequence[tuple[Mesh, str]], kept: Sequence[tuple[Mesh, str]]) -> dict[str, Any]:
    """Recognition of every family, of meshes beside the family asked for: `first` as drawn, `kept` after rejection; and what most of those
    that were not recognised were taken for."""
    seen_first, seen_kept = (judge.seen([mesh for mesh, _ in pairs]) for pairs in (first, kept))
    report = {}
    for family in dict.fromkeys(family for _, family in kept):
        drawn = [seen for seen, (_, asked) in zip(seen_first, first, strict=True) if asked == family]
        given = [seen for seen, (_, asked) in zip(seen_kept, kept, strict=True) if asked == family]
        mistaken = Counter(seen or "nothing" for seen in given if seen != family)
        report[family] = {
            "first": share([seen == family for seen in drawn]),
            "kept": share([seen == family for seen in given]),
            "mistaken_for": mistaken.most_common(1)[0][0] if mistaken else "",
            "recogniser": judge.recogniser.accuracies[family],
        }
    return report


# ---- properties


def to_ask_for(wanted: Sequence[Wanted], max_faces: int) -> dict[int, Properties]:
    """The properties of the wanted meshes themselves, every other one cut into triangles, by number; none of more than `max_faces`."""
    meshes = [one.mesh if number % 2 else Mesh(one.mesh.vertices, one.mesh.triangles()) for number, one in enumerate(wanted)]
    return {number: Properties.of(grid_of(mesh)) for number, mesh in enumerate(meshes) if len(mesh.faces) <= max_faces}


def obedience(asked: Sequence[Properties], meshes: Sequence[Mesh]) -> dict[str, Any]:
    """Medians of the relative errors of the number of faces and of the worst extent; share with the polygons asked for."""
    pairs = [(wanted, Properties.of(grid_of(mesh.canonical()))) for wanted, mesh in zip(asked, meshes, strict=True) if has_area(mesh)]
    errors = [np.abs(np.divide(proportions(made), proportions(wanted)) - 1).max() for wanted, made in pairs]
    polygons = [made.polygons == wanted.polygons for wanted, made in pairs if wanted.polygons]
    return {
        "meshes": len(pairs),
        "faces": float(np.median([abs((made.faces or 0) / (wanted.faces or 1) - 1) for wanted, made in pairs])) if pairs else None,
        "extents": float(np.median(errors)) if pairs else None,
        "polygons": share(polygons),
    }


def proportions(properties: Properties) -> list[float]:
    """Extents over the longest one, none below a step of the grid."""
    sizes = properties.extents or (1.0, 1.0, 1.0)
    return [max(size, 1.0) / max(sizes) for size in sizes]


def measure_properties(model: MeshGPT, wanted: Sequence[Wanted], unasked: Sequence[Result], seed: int, title: str) -> dict[str, Any] | None:
    """How well the properties asked for are met, beside what the same prompts give without asking; None for a model that knows none."""
    if not model.config.condition_on_properties:
        return None
    properties = to_ask_for(wanted, model.info()["max_faces"])
    made = keep_all(model, [Request(wanted[i].caption, seed=seed + i, properties=asked) for i, asked in properties.items()], title)
    return {
        "asked": obedience(list(properties.values()), [results[0].mesh for results in made]),
        "unasked": obedience(list(properties.values()), [unasked[i].mesh for i in properties]),
    }
