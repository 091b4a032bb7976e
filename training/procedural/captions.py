"""From what is true of an object to how people would ask for it.

A family states facts; this small grammar picks some of them and says them in plain English. Colours, looks and materials are said
without being built: they teach the model which words leave the shape alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from numpy.random import Generator

from training.procedural.draws import chance, pick

Value = str | int | float | bool

COLOURS = ("red", "blue", "green", "yellow", "orange", "white", "black", "brown", "grey")
LOOKS = ("simple", "low poly", "low-poly", "small", "large", "plain", "old", "clean")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


@dataclass(frozen=True)
class Facts:
    """What is true of one object, in words.

    names: the family's name first, then other names that fit this very object. adjectives: size, then shape; all visible in the mesh.
    features: noun phrases that follow "with"; those that begin with "no " follow "without". materials: adjectives that would suit it.
    parameters: what it was built from, by name.
    """

    names: tuple[str, ...]
    adjectives: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    materials: tuple[str, ...] = ("wooden",)
    parameters: dict[str, Value] = field(default_factory=dict)


def write_captions(facts: Facts, rng: Generator) -> tuple[str, str, str, str]:
    """The plain name, then three phrases with at most two, one and no features."""
    return (
        with_article(facts.names[0]),
        phrase(facts, rng, features=2),
        phrase(facts, rng, features=1),
        phrase(facts, rng, features=0),
    )


def phrase(facts: Facts, rng: Generator, features: int) -> str:
    name = facts.names[0] if len(facts.names) == 1 or chance(rng, 0.5) else pick(rng, facts.names[1:])
    words = [pick(rng, LOOKS)] if chance(rng, 0.15) else []
    words += some(rng, facts.adjectives, 2)
    words += [pick(rng, COLOURS)] if chance(rng, 0.15) else []
    words += [pick(rng, facts.materials)] if facts.materials and chance(rng, 0.2) else []
    described = " ".join([*words, name]) + tail(some(rng, facts.features, features))
    return with_article(described) if chance(rng, 0.8) else described


def tail(features: list[str]) -> str:
    """ " with a back and four legs without armrests", or nothing."""
    present = [feature for feature in features if not feature.startswith("no ")]
    absent = [feature.removeprefix("no ") for feature in features if feature.startswith("no ")]
    return " with " * bool(present) + " and ".join(present) + " without " * bool(absent) + " or ".join(absent)


def some(rng: Generator, items: tuple[str, ...], at_most: int) -> list[str]:
    """At most that many of the items, in their order, no two about the same noun; none of them one time in five."""
    if not items or at_most == 0 or chance(rng, 0.2):
        return []
    nouns: dict[str, int] = {}
    for i in rng.permutation(len(items)).tolist():
        nouns.setdefault(items[i].split()[-1].removesuffix("s"), i)
    return [items[i] for i in sorted(list(nouns.values())[:at_most])]


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def several(count: int, noun: str) -> str:
    """ "four legs", "one leg", "two shelves"."""
    plural = noun.removesuffix("f") + ("ves" if noun.endswith("f") else "s")
    return f"{NUMBERS[count]} {noun if count == 1 else plural}"


def sized(value: float, low: float, high: float, below: str, above: str) -> tuple[str, ...]:
    """The word for a proportion that is below `low` or above `high`, and none between."""
    return (below,) if value < low else (above,) if value > high else ()
