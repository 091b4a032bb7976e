"""Procedural objects with captions: the part of the training data that is always there, drawn by number."""

from training.procedural import (  # noqa: F401  importing registers families
    animals,
    arms,
    buildings,
    figures,
    home,
    masonry,
    nature,
    outdoors,
    plants,
    seating,
    storage,
    tables,
    vehicles,
    vessels,
)
from training.procedural.registry import FAMILIES, Family, Sample, generate

__all__ = ["FAMILIES", "Family", "Sample", "generate"]
