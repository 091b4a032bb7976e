"""Make the dictionary that goes with a checkpoint: what else its kinds of things may be called, and which words speak for them.

    python -m training.data.dictionary --wordnet /usr/share/wordnet --gcide /usr/share/dictd/gcide.dict.dz \\
        --vectors glove.6B.100d.txt --model models/default

It is worked out of WordNet 3.0 (Debian: wordnet-base), of GCIDE, which is Webster's dictionary of 1913 with additions (Debian: dict-gcide),
of what procedural captions say, of names and phrases that were written down for each kind (sayings.json), and of the word vectors of GloVe
(any file of theirs with a word a line).

All meanings and the words they are named and explained by are one network. A walk through it that keeps setting out anew from one kind
comes to a word the more often, the more the word has to do with that kind: by its own explanation, by that of things like it, by those of
other words ("bark", "the sound made by a dog"), or over several of these. How much more often such a walk comes to a word than those from
an average kind is by how much the word speaks for the kind. To this is added what its vector says, as learned from the names and
explanations of the kinds: words that keep the same company in texts have vectors alike. What both say is then set right by what was
written down: words are moved until each phrase speaks for its kind, and names of other things for none.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain, filterfalse, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from torch import Tensor

from core.checkpoint import read_config
from core.errors import MeshGPTError
from core.mesh import FloatArray
from core.vocabulary import EMPTY, FILE, LONGEST, as_name, stem_of, stems
from training.data.lexicon import Sayings, WordNet, read_gcide, read_sayings, read_vectors, together
from training.domain import SEEDS
from training.procedural import FAMILIES, generate

SOURCE = (
    "Made of WordNet 3.0, Copyright 2006 by Princeton University, all rights reserved, the licence is in LICENSES/WordNet.txt; "
    "of GCIDE 0.48, the Collaborative International Dictionary of English, GNU General Public License, version 2 or later, "
    "the licence is in LICENSES/GPL-3.0-or-later.txt; of word vectors of GloVe, Public Domain Dedication and License 1.0; "
    "and of names and phrases written for it."
)
THINGS = frozenset((3, 5, 6, 17, 18, 20))  # lexicographer files of what has a shape: tops, animal, artifact, object, person, plant
SENSES = {  # where the first thing of that name is another one, or not all that is meant
    "barrel": ("barrel 2",),
    "book": ("book 1", "book 2"),
    "cart": ("cart 1", "cart 2"),
    "castle": ("castle 2",),
    "column": ("column 6",),
    "door": ("door 1", "door 2"),
    "flower": ("flower 1", "flower 2"),
    "hammer": ("hammer 2",),
    "lamp": ("lamp 1", "lamp 2"),
    "mailbox": ("mailbox 1", "mailbox 2"),
    "mug": ("mug 4",),
    "mushroom": ("mushroom 1", "mushroom 2", "mushroom 3", "fungus 1"),
    "person": ("person 1", "human 1"),
    "potted plant": ("houseplant 1",),
    "shield": ("shield 2",),
    "signpost": ("signpost 1",),
    "street light": ("streetlight 1",),
    "television": ("television 3",),
    "train": ("train 1", "locomotive 1"),
    "windmill": ("windmill 1", "windmill 2"),
}
GENERAL = frozenset(  # what any thing may be called
    ("block", "board", "detail", "frame", "machine", "material", "part", "piece", "pole", "row", "stand", "support")
)
OTHERS = frozenset((7, 9, 10, 11, 12, 22, 26, 28))  # attributes, thoughts, feelings and the like: no other names of things, but not meant
NAMING, ALIKE, RELATED = 2.0, 2.0, 0.5  # links of a meaning to its names, its like in GCIDE and others, beside those to words that explain
SAID = 0.2  # links of a kind to the words of its captions, and to those of what is written down of it
LATIN = re.compile("[A-Z][a-z]+ [a-z]+( [a-z]+)?$")  # Passer domesticus
DECAY = 1e-5  # of what is learned from word vectors
ANEW, STEPS = 0.2, 12  # share of the walk that sets out anew at every step; steps
SPREAD = 0.1  # of what is common to all kinds, added to what a walk finds, so that little is not taken for much
MOST_TEXTS, SOME_CAPTIONS = 600, 100  # names and explanations of a kind, and captions, from which it is learned what word vectors say
FIRST = 6  # words of each that are read
AGREE = 0.6  # how much word vectors count beside the walk
DRAWN_BACK, OF_OTHERS = 1e-5, 0.2  # how hard it is to move a word from what is known of it; weight of other things beside the kinds
LEAST, CLEAR, MOST_KINDS = 0.4, 1.0, 10  # nats for a kind that are kept of a word, nats that its clearest one has, and kinds
PLAIN, SAYING = 100, 1.5  # a word in so many explanations that speaks for no kind by so many nats is one of those said of everything
OFTEN, COMMONEST = 5, 25_000  # a word is kept that stands in so many explanations, or is one of so many commonest
OF_MANY = 7  # kinds of which it is written down that make a word, such as "seat", the name of none
SHARE, SHARE_OF_PERSON = 0.3, 0.5  # of what a name may mean that must be of the kind; many a word is also one for somebody


# ---- the file


def make_dictionary(
    net: WordNet, sayings: Sayings, vectors: Mapping[str, FloatArray], kinds: Sequence[str], nouns: Sequence[str]
) -> dict[str, Any]:
    """What stands in the file. sayings, vectors: as read_sayings and read_vectors give them. kinds, nouns: `domain` and `nouns` of a
    checkpoint's config.json; kinds that WordNet lacks have no entry in `names` and no words.
    """
    drawn = {kind: [generate(kind, seed) for seed in SEEDS] if kind in FAMILIES else [] for kind in kinds}
    known = {kind: sorted({kind, *(name for one in objects for name in one.names)}) for kind, objects in drawn.items()}
    captions = {kind: [caption for one in objects for caption in one.captions] for kind, objects in drawn.items()}
    tops = {kind: found for kind in kinds if (found := meanings_of(net, kind))}
    often = Counter(stem for one in net.meanings.values() for stem in set(stems(one.explanation)))
    written = {kind: [text for texts in sayings.get(kind, {}).values() for text in texts] for kind in tops}
    explained = explaining_words(net, tops, often, captions, written)
    said = {as_name(name) for names in known.values() for name in names} | set(map(as_name, nouns))
    nats = summed(walked(net, tops, explained), of_vectors(vectors, texts_of(net, tops, captions, written)))
    nats = set_right(nats, list(written.values()), other_names(net, tops, said))
    told = {stem for texts in written.values() for text in texts for stem in stems(text)}
    kept = {stem for stem in nats if often[stem] >= OFTEN} | set(islice(vectors, COMMONEST)) | told
    numbers = [list(kinds).index(kind) for kind in tops]
    words = {stem: speaks for stem in sorted(kept & nats.keys()) if (speaks := clearest(nats[stem], numbers))}
    plain = {word for word, count in often.items() if count >= PLAIN and max(words.get(word, [0])[1::2], default=0) < SAYING * 10}
    return {
        "source": SOURCE,
        "known": known,
        "general": sorted(plain | general_words(net, tops, known)),
        "said": sorted({stem for texts in captions.values() for caption in texts for stem in stems(caption)}),
        "names": {kind: ",".join(names) for kind, names in further_names(net, tops, sayings, said).items()},
        "words": words,
    }


def meanings_of(net: WordNet, kind: str) -> list[str]:
    """The meanings that a kind has as a thing."""
    if kind in SENSES:
        senses = (entry.rsplit(" ", 1) for entry in SENSES[kind])
        return [net.senses["n", name][int(number) - 1] for name, number in senses if ("n", name) in net.senses]
    found = net.senses.get(("n", kind.replace(" ", "_")), [])
    return [of_id for of_id in found if net.meanings[of_id].file in THINGS][:1]


def above(net: WordNet, of_id: str) -> Iterator[str]:
    """What a meaning is a kind of, nearest first."""
    for symbol, parent in net.meanings[of_id].links:
        if symbol == "@":
            yield parent
            yield from above(net, parent)


def general_words(net: WordNet, tops: Mapping[str, list[str]], known: Mapping[str, list[str]]) -> set[str]:
    """Stems of words that say too little alone: for what kinds are kinds of, and last words of longer names; no kind's own name."""
    parents = {parent for found in tops.values() for of_id in found for parent in above(net, of_id)}
    names = {name for names in known.values() for name in names}
    words = {name.lower() for parent in parents for name in net.meanings[parent].names} | {name.split()[-1] for name in names} | GENERAL
    return {stem_of(word) for word in words if word.isalpha()} - {stem_of(name) for name in names}


# ---- names


def further_names(net: WordNet, tops: Mapping[str, list[str]], sayings: Sayings, said: set[str]) -> dict[str, list[str]]:
    """What else the kinds may be called: names of their meanings, of all below, and of what is directly above no other kind; and those
    written down for one kind alone of whose words one is not said of many, whichever kind WordNet has them for.

    said: names that need no further word. A longer name that ends in a name is left out, for that one is found in it.
    """
    whose = owners(net, tops)
    wider = {parent for found in tops.values() for of_id in found for parent in above(net, of_id)} - whose.keys()
    found: dict[str, set[str]] = {kind: set() for kind in tops}
    for of_id in whose:
        for name in filterfalse(LATIN.match, net.meanings[of_id].names):
            if wider & set(net.senses.get(("n", name.lower().replace(" ", "_")), [])):
                continue
            shares = share_of(net, name, whose)
            kind = max(shares, key=lambda one: shares[one], default="")
            plain = as_name(name)
            enough = SHARE_OF_PERSON if kind == "person" else SHARE
            if kind and shares[kind] >= enough and plain not in said and len(plain) > 2 and plain.count(" ") < LONGEST:
                found[kind].add(plain)
    written = {kind: {as_name(name) for name in sayings.get(kind, {}).get("names", ())} - said for kind in tops}
    claims = Counter(name for names in written.values() for name in names)
    kinds_of = Counter(stem for entry in sayings.values() for stem in set(stems(" ".join([*entry["names"], *entry["phrases"]]))))
    for kind, names in written.items():
        telling = (name for name in names if claims[name] == 1 and min(map(kinds_of.__getitem__, stems(name)), default=OF_MANY) < OF_MANY)
        own = {name for name in telling if len(name) > 2 and name.count(" ") < LONGEST}
        found = {one: others | own if one == kind else others - own for one, others in found.items()}
    short = said | set().union(*found.values())
    return {kind: sorted(name for name in names if " " not in name or name.split()[-1] not in short) for kind, names in found.items()}


def owners(net: WordNet, tops: Mapping[str, list[str]]) -> dict[str, str]:
    """The kind of every meaning that is below one; where there are several, the one with less below it."""
    parts = {kind: set().union(*map(net.below, found)) for kind, found in tops.items()}
    whose = {}
    for kind in sorted(parts, key=lambda one: (-len(parts[one]), one)):
        whose.update(dict.fromkeys(sorted(parts[kind]), kind))
    parents = {kind: {p for of_id in found for s, p in net.meanings[of_id].links if s == "@"} for kind, found in tops.items()}
    for kind, ups in parents.items():
        for up in sorted(ups - whose.keys()):
            if {one for one, found in tops.items() if net.below(up) & set(found)} == {kind}:
                whose[up] = kind
    return whose


def share_of(net: WordNet, name: str, whose: Mapping[str, str]) -> dict[str, float]:
    """How much of what a name may mean as a thing each kind has; the first meaning counts fully, the second half, and so on."""
    things = [
        of_id
        for of_id in net.senses.get(("n", name.lower().replace(" ", "_")), [])
        if of_id in whose or net.meanings[of_id].file in THINGS | OTHERS
    ]
    shares: defaultdict[str, float] = defaultdict(float)
    for rank, of_id in enumerate(things, 1):
        if of_id in whose:
            shares[whose[of_id]] += 1 / rank
    return {kind: share / sum(1 / rank for rank in range(1, len(things) + 1)) for kind, share in shares.items()}


# ---- words

Explained = dict[str, dict[str, float]]  # stems of the words that explain a meaning, and by how much each does


def explaining_words(
    net: WordNet, tops: Mapping[str, list[str]], often: Mapping[str, int], *told: Mapping[str, Sequence[str]]
) -> Explained:
    """The rarer words of explanations count more. told: texts that explain the kinds as well."""
    explained = {
        of_id: {stem: math.log(len(net.meanings) / often[stem]) / 10 for stem in sorted(set(stems(one.explanation)))}
        for of_id, one in net.meanings.items()
    }
    for texts in told:
        said = {kind: Counter(stem for text in texts[kind] for stem in set(stems(text))) for kind in tops}
        kinds_of = Counter(stem for counts in said.values() for stem in counts)
        for kind, counts in said.items():
            for stem, count in sorted(counts.items()):
                weight = SAID * math.sqrt(count / len(texts[kind])) * math.log(len(tops) / kinds_of[stem])
                for words in (explained[of_id] for of_id in tops[kind]):
                    words[stem] = words.get(stem, 0) + weight / len(tops[kind])
    return explained


def walked(net: WordNet, tops: Mapping[str, list[str]], explained: Explained) -> dict[str, FloatArray]:
    """[kinds] by how many nats a walk comes to each stem more often from that kind than from an average one."""
    place = {of_id: number for number, of_id in enumerate(net.meanings)}
    network, words = build_network(net, place, explained)
    starts = np.zeros((network.shape[0], len(tops)), np.float32)
    for column, found in enumerate(tops.values()):
        starts[[place[of_id] for of_id in found], column] = 1 / len(found)
    reached = walk(network, starts)
    means = np.maximum(reached.mean(1, keepdims=True), 1e-12)
    nats = np.log((reached + SPREAD * means) / ((1 + SPREAD) * means))
    return {word: nats[node] for word, node in words.items()}


def clearest(nats: FloatArray, numbers: Sequence[int]) -> list[int]:
    """The numbers of the kinds that a word speaks for most and by how many tenths of a nat, in turn; none if it is clear for none."""
    best = [column for column in np.argsort(-nats, kind="stable")[:MOST_KINDS].tolist() if nats[column] >= LEAST]
    clear = best and nats[best[0]] >= CLEAR
    return [value for column in best for value in (numbers[column], round(float(nats[column]) * 10))] if clear else []


def summed(one: Mapping[str, FloatArray], other: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {**one, **other} | {key: one[key] + other[key] for key in one.keys() & other.keys()}


def build_network(net: WordNet, place: Mapping[str, int], explained: Explained) -> tuple[csr_array, dict[str, int]]:
    """Weights of the links between meanings and words, [nodes, nodes], the same both ways; and the words' numbers among the nodes."""
    words: dict[str, int] = {}
    links: list[tuple[int, int, float]] = []

    def node(word: str) -> int:
        return words.setdefault(word, len(place) + len(words))

    for of_id, one in net.meanings.items():
        here = place[of_id]
        links += [(here, node(word), weight) for word, weight in explained[of_id].items()]
        for name in one.names:
            senses = net.senses.get((of_id[0], name.lower().replace(" ", "_")), [])
            rank = senses.index(of_id) + 1 if of_id in senses else 1
            parts = [stem_of(word) for word in re.findall("[a-z]+", name.lower()) if word not in EMPTY]
            links += [(here, node(part), NAMING / rank / len(parts) ** 2) for part in parts]
        links += [
            (here, place[other], ALIKE if symbol == "=" else RELATED) for symbol, other in one.links if symbol != "!" and other in place
        ]
    row, column, weight = (np.array(values) for values in zip(*links, strict=True))
    nodes = len(place) + len(words)
    one_way = coo_array((weight, (row, column)), shape=(nodes, nodes))
    return csr_array(one_way + one_way.T), words


def walk(network: csr_array, starts: NDArray[np.float32]) -> NDArray[np.float32]:
    """How often walks are at each node, [nodes, walks], that set out from `starts`, of the same shape."""
    sums = np.asarray(network.sum(0)).ravel()
    step = csr_array(network @ diags_array(1 / np.maximum(sums, 1e-9))).astype(np.float32)
    reached = starts
    for _ in range(STEPS):
        reached = ANEW * starts + (1 - ANEW) * (step @ reached)
    return reached


# ---- word vectors


def texts_of(
    net: WordNet, tops: Mapping[str, list[str]], captions: Mapping[str, Sequence[str]], written: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """By kind, what names and explains it and all that is below it, MOST_TEXTS of them drawn by chance; with every tenth its own name,
    SOME_CAPTIONS, and all that is written down of it.
    """
    whose = owners(net, tops)
    found: dict[str, list[str]] = {kind: [] for kind in tops}
    for of_id, one in net.meanings.items():
        alike = [whose[other] for symbol, other in one.links if symbol == "=" and other in whose]
        if of_id in whose:
            found[whose[of_id]] += [*one.names, one.explanation]
        elif alike:
            found[alike[0]].append(one.explanation)
    rng = np.random.default_rng(0)
    drawn = {kind: [texts[i] for i in rng.permutation(len(texts))[:MOST_TEXTS]] for kind, texts in found.items()}
    return [[*texts, *[kind] * (1 + len(texts) // 10), *captions[kind][:SOME_CAPTIONS], *written[kind]] for kind, texts in drawn.items()]


def of_vectors(vectors: Mapping[str, FloatArray], texts: Sequence[Sequence[str]]) -> dict[str, FloatArray]:
    """[kinds] by how many nats the vector of each stem speaks for a kind more than for an average one.

    It is a softmax regression from texts [kinds, of each] to their kinds: a text is the sum of its first words' vectors, so that
    what it has learned of texts can be told word by word.
    """
    if not vectors:
        return {}
    none = np.zeros_like(next(iter(vectors.values())))
    sums = [np.stack([sum((vectors.get(stem, none) for stem in stems(text)[:FIRST]), none) for text in found]) for found in texts]
    x = torch.from_numpy(np.concatenate(sums))
    kind = torch.cat([torch.full((len(found),), number) for number, found in enumerate(texts)])
    weight = torch.cat([torch.full((len(found),), 1 / len(found) / len(texts)) for found in texts])
    slopes, shifts = (torch.zeros(*size, len(texts), requires_grad=True) for size in ((len(none),), ()))
    optimizer = torch.optim.LBFGS([slopes, shifts], max_iter=80, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        nats = (F.cross_entropy(x @ slopes + shifts, kind, reduction="none") * weight).sum() + DECAY * slopes.square().sum()
        nats.backward()
        return nats

    optimizer.step(loss)
    found = (slopes - slopes.mean(1, keepdim=True)).detach().numpy() * AGREE
    return {stem: vector @ found for stem, vector in vectors.items()}


# ---- what was written down


def other_names(net: WordNet, tops: Mapping[str, list[str]], said: set[str]) -> list[str]:
    """Names of things that are of no kind."""
    whose = owners(net, tops)
    others = (one for of_id, one in net.meanings.items() if of_id[0] == "n" and one.file in THINGS and of_id not in whose)
    own = said.union(*(map(as_name, net.meanings[of_id].names) for of_id in whose))
    names = {name for one in others for name in one.names if name.islower() and stems(name)}
    return sorted(name for name in names if as_name(name) not in own)


def set_right(nats: Mapping[str, FloatArray], texts: Sequence[Sequence[str]], others: Sequence[str]) -> dict[str, FloatArray]:
    """[kinds] by how many nats each stem speaks for a kind, moved from `nats`, and as little as may be, until the words of each text
    [kinds, of each] speak for its kind and those of other things for none.
    """
    stems_of = [sorted(set(stems(text))) for text in [*chain.from_iterable(texts), *others]]
    number = {stem: place for place, stem in enumerate(sorted(set(chain.from_iterable(stems_of))))}
    none = np.zeros(len(texts), np.float32)
    known = torch.from_numpy(np.stack([nats.get(stem, none) for stem in number]).astype(np.float32))
    places = torch.tensor([number[stem] for found in stems_of for stem in found])
    begins = torch.tensor([0, *accumulate(map(len, stems_of))])[:-1]
    kind = torch.cat([torch.full((len(found),), column) for column, found in enumerate(texts)])
    weight = torch.cat([torch.full((len(found),), 1 / max(len(found), 1) / len(texts)) for found in texts])
    moved = torch.zeros_like(known, requires_grad=True)
    optimizer = torch.optim.LBFGS([moved], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        said = F.embedding_bag(places, known + moved, begins, mode="sum").log_softmax(1)
        of_texts, of_others = -said[range(len(kind)), kind] * weight, -said[len(kind) :].mean(1)
        nats = of_texts.sum() + OF_OTHERS * of_others.sum() / max(len(others), 1) + DRAWN_BACK * moved.square().sum()
        nats.backward()
        return nats

    optimizer.step(loss)
    found = (known + moved - moved.mean(1, keepdim=True)).detach().numpy()
    return {**nats, **{stem: found[place] for stem, place in number.items()}}


def write_dictionary(wordnet: Path, gcide: Path, vectors: Path, model: Path) -> Path:
    """Make the file of a checkpoint and return its path. Raises MeshGPTError: bad_data or bad_checkpoint if one of them is not there."""
    facts = read_config(model, ("domain", "nouns"))
    path = model / FILE
    net = together(WordNet.read(wordnet), read_gcide(gcide))
    entries = make_dictionary(net, read_sayings(), read_vectors(vectors), facts["domain"], facts["nouns"])
    path.write_text(json.dumps(entries, separators=(",", ":"), ensure_ascii=False) + "\n")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="folder of WordNet 3.0")
    parser.add_argument("--gcide", type=Path, default=Path("/usr/share/dictd/gcide.dict.dz"), help="file of GCIDE")
    parser.add_argument("--vectors", type=Path, required=True, help="file of GloVe's word vectors")
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    options = parser.parse_args(arguments)
    try:
        path = write_dictionary(options.wordnet, options.gcide, options.vectors, options.model)
        print(f"{path} ({path.stat().st_size / 1e3:.0f} KB)")
    except MeshGPTError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
