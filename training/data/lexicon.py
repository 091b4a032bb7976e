"""What a dictionary is worked out of: what was written down for it, WordNet, GCIDE and GloVe, as they come."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import filterfalse
from pathlib import Path

import numpy as np

from core.errors import MeshGPTError
from core.mesh import FloatArray
from core.vocabulary import EMPTY, stem_of, stems

SAYINGS = Path(__file__).with_name("sayings.json")
Sayings = Mapping[str, Mapping[str, Sequence[str]]]  # by kind, its further `names`, and `phrases` that tell of it without a name

PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
SHORT = {"n": "n", "v": "v", "a": "a", "adj": "a", "adv": "r"}  # what GCIDE writes for them
ARTICLE = re.compile(r"\n(?=\S.*\\)")  # begins like this: Sofa \So"fa\, n.
PIECE = re.compile(r"\n\s*\n|\n(?=\s+(?:\d+\.|\([a-z]\)) )")  # a paragraph, or what is numbered in it
NOT_EXPLAINED = re.compile(r" {9}|\s*(?:Syn|Note|Usage):")  # quotations are indented
COMMON = 2000  # a word of this place among the commonest counts half as much as a rare one
MIDDLE = 20_000  # words whose mean is the middle of all


def read_sayings() -> Sayings:
    """What people may call the procedural kinds, written down by hand."""
    found: Sayings = json.loads(SAYINGS.read_text())
    return found


# ---- WordNet


@dataclass(frozen=True)
class Meaning:
    """A synset of WordNet. file: of its lexicographers. links: pairs of a symbol and a meaning's id."""

    file: int
    names: list[str]
    links: list[tuple[str, str]]
    explanation: str


@dataclass(frozen=True)
class WordNet:
    """meanings: by id, a letter for the part of speech and the offset. senses: ids of what a name may mean,
    commonest first."""

    meanings: dict[str, Meaning]
    senses: dict[tuple[str, str], list[str]]

    @classmethod
    def read(cls, folder: Path) -> WordNet:
        """The database in a folder. Raises MeshGPTError (bad_data) if a file is missing."""
        meanings, senses = {}, {}
        for letter, part in PARTS.items():
            for line in lines(folder / f"data.{part}"):
                fields, _, explanation = line.partition(" | ")
                of_id, *rest = fields.split()
                meanings[letter + of_id] = meaning(rest, explanation.strip())
            for line in lines(folder / f"index.{part}"):
                name, _, count, *rest = line.split()
                senses[letter, name] = [letter + of_id for of_id in rest[-int(count) :]]
        return cls(meanings, senses)

    def below(self, top: str) -> set[str]:
        """The meaning and all that are kinds of it, but no persons and places of their own."""
        found, open_ends = {top}, [top]
        while open_ends:
            kinds = {of_id for symbol, of_id in self.meanings[open_ends.pop()].links if symbol == "~"} - found
            found |= kinds
            open_ends += kinds
        return found


def lines(path: Path) -> Iterator[str]:
    """What stands in a file of the database below its licence."""
    if not path.is_file():
        raise MeshGPTError(f"{path} is missing", hint="name the folder of WordNet 3.0 (Debian: wordnet-base)", code="bad_data")
    return (line for line in path.read_text().splitlines() if not line.startswith("  "))


def meaning(fields: Sequence[str], explanation: str) -> Meaning:
    """fields: of a line of data.*, behind the offset."""
    file, names = int(fields[0]), 3 + 2 * int(fields[2], 16)
    links = fields[names + 1 : names + 1 + 4 * int(fields[names])]
    pairs = zip(links[::4], links[1::4], links[2::4], strict=True)
    return Meaning(
        file,
        [re.sub(r"\(.*", "", name).replace("_", " ") for name in fields[3:names:2]],
        [(symbol, letter.replace("s", "a") + of_id) for symbol, of_id, letter in pairs],
        explanation,
    )


# ---- the other dictionary


def read_gcide(path: Path) -> dict[str, Meaning]:
    """What GCIDE explains, without links, by an id that begins with the letter of the part of speech.

    path: gcide.dict.dz, which gzip can read. Raises MeshGPTError (bad_data) if it is missing.
    """
    if not path.is_file():
        raise MeshGPTError(f"{path} is missing", hint="name the file gcide.dict.dz (Debian: dict-gcide)", code="bad_data")
    with gzip.open(path, "rt", encoding="latin-1") as file:
        articles = ARTICLE.split(file.read())[1:]
    entries = (entry for article in articles for entry in entries_of(article))
    return {f"{part}={number}": one for number, (part, one) in enumerate(entries)}


def entries_of(article: str) -> Iterator[tuple[str, Meaning]]:
    """The meanings in an article, and those in it that have a name of their own ({Sofa bed}), each with its part of speech."""
    for _ in range(3):  # origins and sources are in brackets, some within others
        article = re.sub(r"\[[^\[\]]*\]", "", article)
    head, _, body = article.partition("\n")
    part = re.search(r"\b(n|v|a|adj|adv)\.", re.sub(r"\(.*?\)", "", head))
    for piece in filterfalse(NOT_EXPLAINED.match, PIECE.split(body)):
        name, text = re.findall(r"\s*(?:\{(.+?)\})?(.*)", piece, re.DOTALL)[0]
        explanation = re.sub("--[A-Z].*", "", text, flags=re.DOTALL)  # --Shak.
        if stems(explanation):
            yield SHORT[part[1]] if part else "?", Meaning(0, [" ".join((name or head.split("\\")[0]).split())], [], explanation)


def together(net: WordNet, entries: Mapping[str, Meaning]) -> WordNet:
    """With the entries, each linked ("=") to that meaning of its name whose explanation shares most with its own."""
    words = {of_id: set(stems(one.explanation)) for of_id, one in net.meanings.items()}
    often = Counter(stem for found in words.values() for stem in found)
    meanings = dict(net.meanings)
    for of_id, one in entries.items():
        said = set(stems(one.explanation)) - set(stems(one.names[0]))
        shared = {
            other: math.fsum(math.log(len(words) / often[stem]) for stem in said & words[other])  # in whatever order a set has
            for other in net.senses.get((of_id[0], one.names[0].lower().replace(" ", "_")), [])
        }
        best = max(shared, key=lambda other: shared[other], default="")
        meanings[of_id] = replace(one, links=[("=", best)] if shared.get(best) else [])
    return WordNet(meanings, net.senses)


# ---- word vectors


def read_vectors(path: Path) -> dict[str, FloatArray]:
    """A vector [width] for each stem, that of its commonest word, the commonest first; the rarer the word, the longer.

    path: a file of GloVe (Pennington et al. 2014): a word a line, the commonest first, and its numbers. Raises MeshGPTError (bad_data) if
    it is missing, or is no such file.
    """
    try:
        with path.open(encoding="utf-8") as file:
            rows = [(word, np.array(numbers.split(" "), np.float32)) for word, _, numbers in (line.partition(" ") for line in file)]
        table = np.stack([numbers for _, numbers in rows])
        table /= np.linalg.norm(table, axis=1, keepdims=True)
    except (OSError, ValueError) as error:
        problem, hint = f"{path} cannot be read as word vectors: {error}", "name a file of GloVe, such as glove.6B.100d.txt"
        raise MeshGPTError(problem, hint=hint, code="bad_data") from error
    table = (table - table[:MIDDLE].mean(0)) / (1 + COMMON / np.arange(1, len(table) + 1))[:, None]
    found: dict[str, FloatArray] = {}
    for (word, _), vector in zip(rows, table.astype(np.float32), strict=True):
        if word.isascii() and word.isalpha() and word not in EMPTY:
            found.setdefault(stem_of(word), vector)
    return found
