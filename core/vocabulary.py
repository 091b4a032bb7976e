"""What a prompt means that is in other words than the model has learned: read from a small dictionary that goes with a checkpoint.

The dictionary is a file `words.json`, made by training/data/dictionary.py. It has the model's kinds of things, what the captions call them,
what else each may be called, and which words speak for which kinds. A prompt that names none of them is put into words that the model
knows before it meets the text tower.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.checkpoint import bad_checkpoint

FILE = "words.json"
LIKELY = 2.0  # nats by which words must speak for a kind, more than for an average one
SURE, SURE_OF_FEW = 0.25, 0.5  # how likely it must be among all kinds; and by FEW words, if one of them may well name something else
FEW = 2
NAME = 5.0  # nats by which a name speaks for its kind
LONGEST = 4  # words of a name

WORD = re.compile(r"[a-z]+")
ARTICLES = ("a", "an")
EMPTY = frozenset(
    WORD.findall(
        "a about above after again all also among an and another any anybody anyone anything are around as at be been before behind "
        "being below between both but by can could did do does down during each either else especially esp etc even ever every "
        "everything few for from had has have having he her here his how i if in into is it its just kind like made make makes many "
        "may me might model more most much must my no nor not of off often on once one ones only onto or other our out over own place "
        "places same several she should so some somebody someone something sometimes such than that the their them then there these "
        "they thing things this those through to too typically under up upon us use used uses using usually very was we were what when "
        "where whether which while who whom whose why will with within without would you your"
    )
)
BEHIND = frozenset(  # what is said of a thing, not what it is, begins with one of these
    WORD.findall("with without that which who whose where when what having has for to on in by at from around under across over into made")
)
MATERIALS = frozenset(("brick", "glass", "stone"))  # things too, but not where another word follows: what that is made of
ENDINGS = (
    ("ies", "y"),
    ("ves", "f"),
    ("sses", "ss"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("xes", "x"),
    ("ss", "ss"),
    ("us", "us"),
    ("is", "is"),
    ("s", ""),
)


@dataclass(frozen=True)
class Vocabulary:
    """kinds: what the model makes. known: names that captions have for them. nouns: single words for anything that it has seen.
    names: further names, each with the number of its kind. said: stems of the words of captions. words: stems, each with the numbers of
    some kinds and by how many tenths of a nat it speaks for them, in turn. All names are without plurals.
    """

    kinds: Sequence[str]
    known: frozenset[str]
    nouns: frozenset[str]
    names: Mapping[str, int]
    said: frozenset[str]
    words: Mapping[str, Sequence[int]]

    @classmethod
    def load(cls, folder: Path, nouns: Sequence[str]) -> Vocabulary | None:
        """The dictionary of a checkpoint; None if it has none. nouns: as in the checkpoint's config.json.

        Raises MeshGPTError (bad_checkpoint) if it is damaged.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        try:
            return cls.of(json.loads(file.read_text()), nouns)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise bad_checkpoint(f"{file} is damaged", "copy or download the model again, or delete that file") from error

    @classmethod
    def of(cls, entries: Mapping[str, Any], nouns: Sequence[str]) -> Vocabulary:
        """From what stands in the file. Of the nouns those that say too little alone, such as "container", are left out."""
        kinds, general = list(entries["known"]), frozenset(entries["general"])
        return cls(
            kinds,
            frozenset(as_name(name) for names in entries["known"].values() for name in names),
            frozenset(singular(noun) for noun in nouns if stem_of(noun) not in general),
            {name: number for number, kind in enumerate(kinds) for name in entries["names"].get(kind, "").split(",") if name},
            frozenset(entries["said"]),
            entries["words"],
        )

    def reading(self, prompt: str) -> str | None:
        """The prompt in words that the model knows; None if it names something known, or if it is not likely enough what it means.

        A name gives way to its kind where it stands, so that "a small timepiece with two hands" is "a small clock with two hands"; where
        there is none, or words that no caption says stand beside it, the reading is the likeliest kind alone.
        """
        places = list(WORD.finditer(prompt.lower()))
        words = [match[0] for match in places]
        head = subject(words)
        if self.knows(words, len(head)):
            return None
        found = self.name_in(head)
        least = SURE if len({*stems(prompt)}) > FEW or not stems(" ".join(head)) else SURE_OF_FEW
        kind = self.likeliest(words, found and self.names[found[2]], least)
        if kind is None:
            return None
        if found is None or self.names[found[2]] != kind or not self.says(words[: found[0]] + words[found[1] :]):
            return with_article(self.kinds[kind])
        first, last, _ = found
        said = plural(self.kinds[kind]) if singular(words[last - 1]) != words[last - 1] else self.kinds[kind]
        if first and words[first - 1] in ARTICLES:
            first, said = first - 1, with_article(said)
        return prompt[: places[first].start()] + said + prompt[places[last - 1].end() :]

    def knows(self, words: Sequence[str], head: int) -> bool:
        """Whether the first `head` words name something that the model has seen. A longer name may reach beyond them."""
        longer = {name for first, _, name in spans(words) if first < head and " " in name}
        single = {singular(word) for place, word in enumerate(words[:head], 1) if word not in MATERIALS or place == head}
        return bool(self.known & (longer | single) or self.nouns & single)

    def says(self, words: Sequence[str]) -> bool:
        """Whether captions say all of the words that mean something."""
        return all(word in EMPTY or len(word) == 1 or stem_of(word) in self.said for word in words)

    def name_in(self, head: Sequence[str]) -> tuple[int, int, str] | None:
        """The longest name that the words end in, or that stands before "of": from where to where it stands, and the name."""
        found = [span for span in spans(head) if span[2] in self.names and head[span[1] : span[1] + 1] in ([], ["of"])]
        return max(found, key=lambda span: span[1] - span[0], default=None)

    def likeliest(self, words: Sequence[str], named: int | None, least: float) -> int | None:
        """The number of the kind that the words speak for most; None if that is not enough. named: the kind that a name among them stands
        for. least: how likely it must be.
        """
        nats = [0.0] * len(self.kinds)
        said = {stem_of(word) for word in words if word not in EMPTY and len(word) > 1}
        for kind, tenths in (pair for stem in said for pair in self.speaks(stem)):
            nats[kind] += tenths / 10
        if named is not None:
            nats[named] += NAME
        best = max(range(len(nats)), key=lambda kind: nats[kind])
        share = 1 / sum(math.exp(other - nats[best]) for other in nats)
        return best if nats[best] >= LIKELY and share >= least else None

    def speaks(self, stem: str) -> Iterator[tuple[int, int]]:
        """The kinds that a stem speaks for, and by how many tenths of a nat."""
        pairs = self.words.get(stem, ())
        return zip(pairs[::2], pairs[1::2], strict=True)


def subject(words: Sequence[str]) -> list[str]:
    """The words up to where something is said of what they name."""
    return list(words[: next((place for place, word in enumerate(words) if word in BEHIND), len(words))])


def spans(words: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Every run of up to LONGEST words: from where to where, and the name that it may be."""
    for first in range(len(words)):
        for last in range(first + 1, min(first + LONGEST, len(words)) + 1):
            yield first, last, as_name(" ".join(words[first:last]))


def as_name(words: str) -> str:
    """A name as names are compared: in small letters, without plurals and whatever is no letter."""
    return " ".join(singular(word) for word in WORD.findall(words.lower()))


def singular(word: str) -> str:
    """The word without an ending of plurals."""
    ending, letters = next(((e, r) for e, r in ENDINGS if word.endswith(e) and len(word) > len(e) + 1), ("", ""))
    return word.removesuffix(ending) + letters


@lru_cache(maxsize=1 << 16)
def stem_of(word: str) -> str:
    """What words of one origin have in common: without plurals, -ing, -ed and a last e."""
    word = singular(word)
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and re.search("[aeiouy]", stem):
            word = stem[:-1] if stem[-1] == stem[-2] and stem[-1] not in "lsz" else stem
            break
    word = word.removesuffix("e") if len(word) > 3 else word
    return word[:-1] + "i" if len(word) > 3 and word.endswith("y") else word


def stems(text: str) -> list[str]:
    """The stems of the words that say something."""
    return [stem_of(word) for word in WORD.findall(text.lower()) if word not in EMPTY and len(word) > 1]


def with_article(words: str) -> str:
    """ "a table", "an anvil"."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
