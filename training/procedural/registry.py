"""The families by name, and one sample drawn from one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

from numpy.random import Generator, default_rng

from core.errors import MeshGPTError
from core.mesh import Mesh
from training.procedural.captions import Facts, Value, write_captions
from training.procedural.parts import Solid, to_mesh

Recipe = Callable[[Generator], tuple[list[Solid], Facts]]


@dataclass(frozen=True)
class Family:
    """A kind of object: how to draw one from a generator. build: returns its solids, in metres, and what is true of it."""

    name: str
    build: Recipe


@dataclass(frozen=True)
class Sample:
    """One object. mesh: closed parts, z up, front towards -y, in metres. captions: four, the first is the plain name with its article.

    names: what it may be called, the family's name first.
    """

    mesh: Mesh
    family: str
    names: tuple[str, ...]
    captions: tuple[str, ...]
    parameters: dict[str, Value]


FAMILIES: dict[str, Family] = {}


def family(build: Recipe) -> Recipe:
    """Decorator: a function that builds one object is a family by the function's name."""
    FAMILIES[build.__name__] = Family(build.__name__, build)
    return build


def generate(family: str, seed: int) -> Sample:
    """The object of that family with that number, 0 or above; the same on every machine.

    Raises MeshGPTError (bad_request) if there is no such family.
    """
    if family not in FAMILIES:
        raise MeshGPTError(f"there is no family {family!r}", hint=f"use one of {', '.join(FAMILIES)}", code="bad_request")
    rng = default_rng((seed, crc32(family.encode())))
    solids, facts = FAMILIES[family].build(rng)
    return Sample(to_mesh(solids), family, facts.names, write_captions(facts, rng), facts.parameters)
