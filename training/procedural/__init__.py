"""Procedural objects with captions: the part of the training data that is always there, drawn by number."""

from training.procedural import buildings, home, nature, seating, storage, tables, vehicles  # noqa: F401  importing registers families
from training.procedural.registry import FAMILIES, Family, Sample, generate

__all__ = ["FAMILIES", "Family", "Sample", "generate"]
