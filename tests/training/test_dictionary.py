"""A dictionary made of a very small WordNet."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from core import vocabulary
from core.errors import MeshGPTError
from core.vocabulary import Vocabulary
from training.data import dictionary
from training.data.dictionary import main, make_dictionary, meanings_of, other_names, set_right
from training.data.lexicon import WordNet, read_gcide, read_sayings, read_vectors, together
from training.procedural import FAMILIES

LICENCE = "  1 This software and database is being provided to you\n"
# offset, lexicographers' file, names, the offset of what it is a kind of, explanation
NOUNS = (
    ("00000001", 3, "entity", "", "that which is"),
    ("00000002", 5, "animal beast", "00000001", "a living organism that moves"),
    ("00000003", 5, "canine", "00000002", "an animal with long teeth"),
    ("00000004", 5, "dog", "00000003", "a pet that barks and guards the yard"),
    ("00000005", 5, "basset Canis_brevis", "00000004", 'a dog with short legs; "the basset barked"'),
    ("00000006", 6, "timepiece", "00000001", "an instrument that shows the time"),
    ("00000007", 6, "clock", "00000006", "a timepiece with hands for the hour"),
    ("00000008", 18, "dog frump", "00000001", "a dull person"),
    ("00000009", 10, "yelp", "00000001", "the sound made by a hurt dog"),
    ("00000010", 6, "hourglass", "00000007", "a clock in which sand runs"),
)

ARTICLES = r"""
00-database-info
   This is no article.

Dog \Dog\ (d[o^]g), n. [AS. docga; akin to
   D. dog [mastiff].]
   1. A creature that barks and hunts. [Obs.] --Shak.
      [1913 Webster]

            Every dog must have his day.          --Swift.

   2. (Mech.) An iron for:
      (a) holding logs.

   Syn: Cur.

   {Dog collar}, a strap for
      the neck.

Ticktock \Tick"tock\, v. i.
   To sound as a clock does.
"""


def below(offset: str) -> list[str]:
    return [of_id for of_id, _, _, parent, _ in NOUNS if parent == offset]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a database of ten nouns."""
    data = ""
    senses: dict[str, list[str]] = {}
    for offset, file, names, parent, explanation in NOUNS:
        links = [("@", parent)] * bool(parent) + [("~", child) for child in below(offset)]
        pointers = "".join(f" {symbol} {other} n 0000" for symbol, other in links)
        words = "".join(f" {name} 0" for name in names.split())
        data += f"{offset} {file:02} n {len(names.split()):02x}{words} {len(links):03}{pointers} | {explanation}  \n"
        for name in names.split():
            senses.setdefault(name.lower(), []).append(offset)
    index = "".join(f"{name} n {len(ids)} 1 @ {len(ids)} 0 {' '.join(ids)}  \n" for name, ids in sorted(senses.items()))
    for part in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{part}").write_text(LICENCE + (data if part == "noun" else ""))
        (tmp_path / f"index.{part}").write_text(LICENCE + (index if part == "noun" else ""))
    return tmp_path


@pytest.fixture
def gcide(tmp_path: Path) -> Path:
    """A dictionary of two articles."""
    path = tmp_path / "gcide.dict.dz"
    path.write_bytes(gzip.compress(ARTICLES.encode("latin-1")))
    return path


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Of words that keep company with dogs, with clocks and with neither."""
    path = tmp_path / "vectors.txt"
    path.write_text("the 0.1 0.1 1\ndog 1 0.1 0\nclock 0.1 1 0\npuppy 1 0.2 0\nalarm 0.2 1 0\nsoup 0 0.1 1\n1st 1 0 0\n")
    return path


@pytest.fixture(autouse=True)
def _every_word_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "OFTEN", 1)
    monkeypatch.setattr(dictionary, "LEAST", 0.05)  # two kinds are never far from their mean
    monkeypatch.setattr(dictionary, "CLEAR", 0.05)
    monkeypatch.setattr(vocabulary, "LIKELY", 0.5)


def test_the_database_is_read_as_it_is_written(folder: Path) -> None:
    net = WordNet.read(folder)
    basset = net.meanings["n00000005"]
    assert (basset.file, basset.names, basset.links) == (5, ["basset", "Canis brevis"], [("@", "n00000004")])
    assert basset.explanation == 'a dog with short legs; "the basset barked"'
    assert net.senses["n", "dog"] == ["n00000004", "n00000008"]
    assert net.below("n00000003") == {"n00000003", "n00000004", "n00000005"}


def test_a_kind_is_the_first_thing_of_that_name(folder: Path) -> None:
    net = WordNet.read(folder)
    assert meanings_of(net, "dog") == ["n00000004"]
    assert meanings_of(net, "yelp") == []
    assert meanings_of(net, "unheard of") == []


def test_names_are_those_below_and_directly_above_without_latin_ones_and_those_that_are_known(folder: Path) -> None:
    names = make_dictionary(WordNet.read(folder), {}, {}, ["clock", "dog"], ["clock", "dog", "hourglass"])["names"]
    assert names == {"clock": "timepiece", "dog": "basset,canine"}


def test_words_speak_for_what_they_explain_and_for_what_explains_them(folder: Path) -> None:
    words = make_dictionary(WordNet.read(folder), {}, {}, ["clock", "dog"], [])["words"]
    clock, dog = 0, 1
    assert {word: words[word][0] for word in ("hour", "sand", "bark", "yard", "hurt")} == {
        "hour": clock,
        "sand": clock,
        "bark": dog,
        "yard": dog,
        "hurt": dog,
    }


def test_explanations_are_read_without_origins_quotations_and_their_authors(gcide: Path) -> None:
    found = [(of_id[0], one.names[0], " ".join(one.explanation.split())) for of_id, one in read_gcide(gcide).items()]
    assert found == [
        ("n", "Dog", "1. A creature that barks and hunts."),
        ("n", "Dog", "2. (Mech.) An iron for:"),
        ("n", "Dog", "(a) holding logs."),
        ("n", "Dog collar", ", a strap for the neck."),
        ("v", "Ticktock", "To sound as a clock does."),
    ]


def test_an_entry_goes_with_the_meaning_that_is_explained_like_it(folder: Path, gcide: Path) -> None:
    net = together(WordNet.read(folder), read_gcide(gcide))
    assert net.meanings["n=0"].links == [("=", "n00000004")]
    assert net.meanings["n=1"].links == []
    words = make_dictionary(net, {}, {}, ["clock", "dog"], [])["words"]
    assert (words["hunt"][0], words["strap"][0]) == (1, 1)


def test_words_of_captions_speak_for_their_kind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tail" not in make_dictionary(WordNet.read(folder), {}, {}, ["clock", "dog"], [])["words"]
    monkeypatch.setattr(dictionary, "OFTEN", 0)
    assert make_dictionary(WordNet.read(folder), {}, {}, ["clock", "dog"], [])["words"]["tail"][0] == 1


def test_what_is_written_down_of_a_kind_names_it_and_speaks_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "OFTEN", 0)
    sayings = {
        "dog": {"names": ["Rover", "yelp", "clock"], "phrases": ["chews slippers"]},
        "clock": {"names": ["big ben", "basset", "yelp"], "phrases": []},
    }
    found = make_dictionary(WordNet.read(folder), sayings, {}, ["clock", "dog"], ["dog", "clock"])
    assert found["names"] == {"clock": "basset,big ben,hourglass,timepiece", "dog": "canine,rover"}  # "basset" was written down for clocks
    assert (found["words"]["slipper"][0], found["words"]["ben"][0]) == (1, 0)


def test_a_word_that_is_said_of_many_kinds_is_the_name_of_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sayings = {"dog": {"names": ["rover"], "phrases": []}, "clock": {"names": [], "phrases": ["wakes a rover"]}}
    assert "rover" in make_dictionary(WordNet.read(folder), sayings, {}, ["clock", "dog"], [])["names"]["dog"]
    monkeypatch.setattr(dictionary, "OF_MANY", 2)
    assert "rover" not in make_dictionary(WordNet.read(folder), sayings, {}, ["clock", "dog"], [])["names"]["dog"]


def test_words_are_set_right_by_what_is_written_down_and_by_names_of_other_things() -> None:
    known = {"guard": np.array([0, 1.0]), "soup": np.array([2.0, 0]), "bark": np.array([1.0, 0])}
    nats = set_right(known, [["guards you", "it slobbers"], ["it chimes"]], ["a soup bowl"])
    assert nats["guard"][0] > nats["guard"][1]  # a word that spoke for the other kind
    assert nats["slobber"][0] > 2 > -2 > nats["slobber"][1]  # one that nothing was known of
    assert nats["chim"][1] > 2
    assert abs((nats["soup"] + nats["bowl"]) @ [1, -1]) < 0.1
    np.testing.assert_array_equal(nats["bark"], known["bark"])


def test_names_of_other_things_are_those_of_no_kind(folder: Path) -> None:
    net = WordNet.read(folder)
    names = other_names(net, {"dog": meanings_of(net, "dog")}, {"clock"})
    assert names == ["animal", "beast", "entity", "frump", "hourglass", "timepiece"]


def test_every_procedural_kind_has_something_written_down() -> None:
    sayings = read_sayings()
    assert sayings.keys() == FAMILIES.keys()
    for entry in sayings.values():
        assert entry.keys() == {"names", "phrases"}
        assert min(map(len, entry.values())) >= 50
        assert all(text == text.strip().lower() for texts in entry.values() for text in texts)


def test_what_the_kinds_are_kinds_of_says_too_little_alone(folder: Path) -> None:
    general = make_dictionary(WordNet.read(folder), {}, {}, ["clock", "dog"], [])["general"]
    assert {"entiti", "canin", "timepiec"} <= set(general)
    assert "dog" not in general


def test_a_vector_is_that_of_a_stem_and_longer_the_rarer_its_word_is(vectors: Path) -> None:
    found = read_vectors(vectors)
    assert list(found) == ["dog", "clock", "puppi", "alarm", "soup"]
    lengths = [float(np.linalg.norm(vector)) for vector in found.values()]
    assert lengths[4] > lengths[0]


def test_words_speak_for_the_kind_with_which_they_keep_company(folder: Path, vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "AGREE", 50.0)  # so few words are all too common to say much
    words = make_dictionary(WordNet.read(folder), {}, read_vectors(vectors), ["clock", "dog"], [])["words"]
    assert (words["puppi"][0], words["alarm"][0]) == (1, 0)
    assert "puppi" not in make_dictionary(WordNet.read(folder), {}, {}, ["clock", "dog"], [])["words"]


@pytest.mark.parametrize("content", ["", "dog 1 2\nclock 1\n", "dog one\n"])
def test_a_file_that_holds_no_vectors_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "vectors.txt").write_text(content)
    with pytest.raises(MeshGPTError, match="cannot be read as word vectors"):
        read_vectors(tmp_path / "vectors.txt")
    with pytest.raises(MeshGPTError, match="cannot be read as word vectors"):
        read_vectors(tmp_path / "missing.txt")


def test_the_file_is_the_same_every_time_and_is_read_by_the_model(folder: Path, gcide: Path, vectors: Path) -> None:
    model = folder / "model"
    model.mkdir()
    kinds = ["clock", "dog"]
    facts = {"format": 2, "model": "MeshTransformer", "shards": [], "domain": kinds, "nouns": kinds}
    (model / "config.json").write_text(json.dumps(facts))
    contents = []
    for _ in range(2):
        main(["--wordnet", str(folder), "--gcide", str(gcide), "--vectors", str(vectors), "--model", str(model)])
        contents.append((model / "words.json").read_bytes())
    assert contents[0] == contents[1]
    found = Vocabulary.load(model, kinds)
    assert found
    assert found.reading("a small basset") == "a small dog"
    assert found.reading("an animal that barks in the yard") == "a dog"


def test_a_folder_that_is_no_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeshGPTError, match=r"data\.noun is missing"):
        WordNet.read(tmp_path)
    with pytest.raises(MeshGPTError, match=r"gcide\.dict\.dz is missing"):
        read_gcide(tmp_path / "gcide.dict.dz")
