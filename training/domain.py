"""What a model can say of what it knows: the list a user is shown, and the words by which a prompt is found to be within it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from training.data.dataset import CodeSet
from training.procedural import FAMILIES, generate

SEEDS = range(40)  # draws in which a family says all its names


def domain_and_nouns(data: CodeSet, enough: int, before: Mapping[str, Any]) -> dict[str, list[str]]:
    """The entries `domain` and `nouns` of a checkpoint's config.json.

    domain: procedural families in the data, and other categories with `enough` meshes that are ever shown. nouns: the last word of
    everything that one of them may be called, and of all other categories. before: those entries of the model that training begins with.
    """
    shown = Counter(label for label, weight in zip(data.labels, data.weights.tolist(), strict=True) if label and weight > 0)
    families = set(shown) & set(FAMILIES)
    names = {name for family in families for seed in SEEDS for name in generate(family, seed).names}
    common = {label for label, count in shown.items() if count >= enough}
    return {
        "domain": sorted({*before.get("domain", []), *families, *common}),
        "nouns": sorted({*before.get("nouns", []), *(name.split()[-1] for name in names | set(shown))}),
    }
