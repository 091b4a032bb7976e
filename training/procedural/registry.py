"""The families by name, and one sample drawn from one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from zlib import crc32

from numpy.random import Generator, default_rng

from core.errors import MeshGPTError
from core.mesh import Mesh
from training.procedural.captions import Facts, Value, write_captions
from training.procedural.parts import Solid, to_mesh

Recipe = Callable[[Generator], tuple[list[Solid], Facts]]
Region = Mapping[str, Value | tuple[float, float]]


@dataclass(frozen=True)
class Family:
    """A kind of object: how to draw one from a generator.

    build: returns its solids, in metres, and what is true of it. held_out: the parameters of objects that training never sees, all at
    once: each a value, or a range from-to with its end left out.
    """

    name: str
    build: Recipe
    held_out: Region

    def is_held_out(self, parameters: Mapping[str, Value]) -> bool:
        return all(fits(parameters.get(name), wanted) for name, wanted in self.held_out.items())


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


def family(held_out: Region) -> Callable[[Recipe], Recipe]:
    """Decorator: a function that builds one object is a family by the function's name, `street_light` the family "street light"."""

    def register(build: Recipe) -> Recipe:
        name = build.__name__.replace("_", " ")
        FAMILIES[name] = Family(name, build, held_out)
        return build

    return register


def generate(family: str, seed: int, *, held_out: bool = False) -> Sample:
    """The object of that family with that number, 0 or above; the same on every machine.

    held_out: draw one from the parameters that the family holds out; without it none of those is ever drawn.
    Raises MeshGPTError (bad_request) if there is no such family.
    """
    if family not in FAMILIES:
        raise MeshGPTError(f"there is no family {family!r}", hint=f"use one of {', '.join(FAMILIES)}", code="bad_request")
    kind = FAMILIES[family]
    for attempt in count():
        rng = default_rng((seed, crc32(family.encode()), attempt))
        solids, facts = kind.build(rng)
        if kind.is_held_out(facts.parameters) == held_out:
            break
    return Sample(to_mesh(solids), family, facts.names, write_captions(facts, rng), facts.parameters)


def fits(value: Value | None, wanted: Value | tuple[float, float]) -> bool:
    """Whether a parameter has the value, or lies in the range."""
    if isinstance(wanted, tuple):
        return isinstance(value, int | float) and wanted[0] <= value < wanted[1]
    return value == wanted
