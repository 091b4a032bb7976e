"""From what is true of an object to how people would ask for it.

A family states facts; this small grammar picks some of them and says them in plain English, in varying words. Colours, looks and
materials are said without being built: they teach the model which words leave the shape alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from numpy.random import Generator

from core.vocabulary import with_article
from training.procedural.draws import chance, pick

Value = str | int | float | bool

COLOURS = ("red", "blue", "green", "yellow", "orange", "white", "black", "brown", "grey")
LOOKS = ("simple", "low poly", "low-poly", "small", "large", "plain", "old", "clean", "stylised", "cartoon", "basic", "little", "big")
FRAMES = ("{} for a game", "a model of {}", "a 3d model of {}", "{} in low poly style", "{}, low poly", "a low poly model of {}")
SYNONYMS = {
    "wide": "broad",
    "narrow": "slim",
    "thin": "slender",
    "thick": "heavy",
    "round": "circular",
    "small": "little",
    "large": "big",
    "pointed": "pointy",
    "conical": "cone-shaped",
}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
PLURALS = (("tooth", "teeth"), ("f", "ves"), ("y", "ies"), ("ch", "ches"), ("", "s"))  # endings, the last fits all


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
    """The plain name, one of its names with hardly more, then two phrases that say what is particular, with two and one features."""
    return (
        with_article(facts.names[0]),
        phrase(facts, rng, adjectives=0, features=0),
        phrase(facts, rng, adjectives=1, features=2),
        phrase(facts, rng, adjectives=2, features=1),
    )


def phrase(facts: Facts, rng: Generator, adjectives: int, features: int) -> str:
    """At most so many adjectives and features around one of the names."""
    name = facts.names[0] if len(facts.names) == 1 or chance(rng, 0.4) else pick(rng, facts.names[1:])
    frame = pick(rng, FRAMES) if chance(rng, 0.08) else "{}"
    words = [pick(rng, LOOKS)] if frame == "{}" and chance(rng, 0.15) else []
    words += some(rng, facts.adjectives, adjectives)
    words += [pick(rng, COLOURS)] if chance(rng, 0.12) else []
    words += [pick(rng, facts.materials)] if facts.materials and chance(rng, 0.15) else []
    described = " ".join([*(reworded(rng, word) for word in words if word not in name.split()), name])
    further = tuple(feature for feature in facts.features if feature.split()[-1] not in name.split())
    described += tail(rng, [reworded(rng, feature) for feature in some(rng, further, features)])
    described = with_article(described) if frame != "{}" or chance(rng, 0.8) else described
    return frame.format(described)


def tail(rng: Generator, features: list[str]) -> str:
    """ " with a back and four legs without armrests", " without a back", or nothing."""
    present = [feature for feature in features if not feature.startswith("no ")]
    absent = [feature.removeprefix("no ") for feature in features if feature.startswith("no ")]
    absent = [noun if noun.endswith("s") else with_article(noun) for noun in absent]
    joint = pick(rng, (" with ", " with ", " with ", " that has ", " having "))
    return joint * bool(present) + " and ".join(present) + " without " * bool(absent) + " or ".join(absent)


def some(rng: Generator, items: tuple[str, ...], at_most: int) -> list[str]:
    """At most that many of the items, in their order, no two about the same noun; none of them one time in five."""
    if not items or at_most == 0 or chance(rng, 0.2):
        return []
    nouns: dict[str, int] = {}
    for i in rng.permutation(len(items)).tolist():
        nouns.setdefault(items[i].split()[-1].removesuffix("s"), i)
    return [items[i] for i in sorted(list(nouns.values())[:at_most])]


def reworded(rng: Generator, words: str) -> str:
    """Now and then with another word of the same meaning, or a figure in place of a number."""
    if chance(rng, 0.75):
        return words
    figures = {number: str(i) for i, number in enumerate(NUMBERS[2:], 2)}
    found = [SYNONYMS.get(word, figures.get(word, word)) for word in words.split()]
    return " ".join(found)


def several(count: int, noun: str) -> str:
    """ "four legs", "one leg", "two shelves"."""
    plural = next(noun.removesuffix(ending) + letters for ending, letters in PLURALS if noun.endswith(ending))
    return f"{NUMBERS[count]} {noun if count == 1 else plural}"


def sized(value: float, low: float, high: float, below: str, above: str) -> tuple[str, ...]:
    """The word for a proportion that is below `low` or above `high`, and none between."""
    return (below,) if value < low else (above,) if value > high else ()
