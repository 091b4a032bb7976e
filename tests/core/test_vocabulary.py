"""What a prompt is read as: names and words of a small dictionary, and of the one that goes with the default model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from core.errors import MeshGPTError
from core.pipeline import MeshGPT, Request
from core.vocabulary import FILE, Vocabulary, as_name, plural, stem_of
from training.procedural import FAMILIES, generate

DEFAULT = Path(__file__).parents[2] / "models" / "default"
ENTRIES = {
    "known": {
        "dog": ["dog", "pet dog"],
        "potted plant": ["potted plant", "plant in a pot"],
        "clock": ["clock"],
        "bell": ["bell"],
        "drum": ["drum"],
        "rock": ["rock", "stone"],
    },
    "general": ["animal", "plant", "device"],
    "said": ["small", "two", "bulb", "fat", "gam", "clock", "ston"],
    "names": {"dog": "canine,basset hound", "clock": "timepiece,hourglass"},
    "words": {
        "bark": [0, 40, 1, 4],
        "guard": [0, 12],
        "loud": [0, 30, 1, 30, 2, 30, 3, 30, 4, 30],
        "ring": [2, 30, 3, 30, 4, 28],
        "stem": [1, 40],
        "tick": [2, 40],
    },
}
NOUNS = ["dog", "plant", "clock", "dragon"]


@pytest.fixture
def small() -> Vocabulary:
    return Vocabulary.of(ENTRIES, NOUNS)


@pytest.fixture(scope="module")
def default() -> Vocabulary:
    found = Vocabulary.load(DEFAULT, json.loads((DEFAULT / "config.json").read_text())["nouns"])
    assert found
    return found


def test_a_name_gives_way_to_its_kind_and_all_else_stays(small: Vocabulary) -> None:
    assert small.reading("a canine") == "a dog"
    assert small.reading("A small hourglass with two bulbs") == "A small clock with two bulbs"
    assert small.reading("an hourglass") == "a clock"
    assert small.reading("two canines for a game") == "two dogs for a game"


def test_a_name_among_words_that_no_caption_says_is_read_as_the_kind_alone(small: Vocabulary) -> None:
    assert small.reading("a hairless hourglass") == "a clock"
    assert small.reading("hourglasses for a spaceship") == "a clock"


def test_the_longest_name_counts(small: Vocabulary) -> None:
    assert small.reading("a fat basset hound") == "a fat dog"


def test_a_name_that_only_describes_something_is_left_alone(small: Vocabulary) -> None:
    assert small.reading("a timepiece shop") is None


def test_words_for_a_kind_are_read_as_that_kind(small: Vocabulary) -> None:
    assert small.reading("an animal that barks") == "a dog"
    assert small.reading("what is ticking there") == "a clock"


def test_words_that_say_too_little_are_not_read(small: Vocabulary) -> None:
    assert small.reading("an animal that guards") is None
    assert small.reading("an animal that guards and barks") == "a dog"


def test_few_words_must_be_surer_than_many(small: Vocabulary) -> None:
    assert small.reading("a ringing object") is None
    assert small.reading("a ringing object for the wrist") == "a clock"


def test_few_words_are_enough_where_nothing_else_is_named(small: Vocabulary) -> None:
    assert small.reading("something that rings") == "a clock"
    assert small.reading("a thing that rings") == "a clock"


def test_words_for_many_kinds_are_not_read(small: Vocabulary) -> None:
    assert small.reading("something loud, very loud") is None
    assert small.reading("an object that is very loud indeed, always") is None
    assert small.reading("an object that is loud and ticks") == "a clock"


def test_a_material_is_no_name_of_what_is_made_of_it(small: Vocabulary) -> None:
    assert small.reading("a grey stone") is None
    assert small.reading("a stone hourglass") == "a stone clock"


def test_what_names_something_known_is_not_touched(small: Vocabulary) -> None:
    for prompt in ("a dog", "dogs", "a dragon that barks", "a pet dog with a canine", "a plant in a pot that barks", "Potted plants"):
        assert small.reading(prompt) is None


def test_a_known_thing_that_is_only_mentioned_does_not_count_as_named(small: Vocabulary) -> None:
    assert small.reading("a canine with a clock") == "a dog with a clock"


def test_nonsense_and_nothing_are_not_read(small: Vocabulary, default: Vocabulary) -> None:
    for prompt in ("", "?!", "xyzzy", "asdf qwer of zxcv", "a", "the quadratic formula", "12 34"):
        assert small.reading(prompt) is None
        assert default.reading(prompt) is None


def test_a_folder_without_a_dictionary_has_none(tmp_path: Path) -> None:
    assert Vocabulary.load(tmp_path, NOUNS) is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"known": {}, "general": 3}'])
def test_a_damaged_dictionary_is_said_to_be_one(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(MeshGPTError, match=r"words\.json is damaged") as error:
        Vocabulary.load(tmp_path, NOUNS)
    assert error.value.code == "bad_checkpoint"


@pytest.mark.parametrize(
    ("word", "stem"),
    [("shelves", "shelf"), ("berries", "berri"), ("chopping", "chop"), ("carved", "carv"), ("glass", "glass"), ("boxes", "box")],
)
def test_words_of_one_origin_have_one_stem(word: str, stem: str) -> None:
    assert stem_of(word) == stem


def test_names_are_compared_without_plurals() -> None:
    assert as_name("Potted Plants") == "potted plant"
    assert (plural("church"), plural("dog")) == ("churches", "dogs")


def test_a_model_makes_what_the_reading_says_and_tells_so(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path, dirs_exist_ok=True)
    known = {"chair": ["chair"], "table": ["table"]}
    entries = {"known": known, "general": [], "said": ["high"], "names": {"chair": "throne"}, "words": {}}
    (tmp_path / FILE).write_text(json.dumps(entries))
    model = MeshGPT.from_pretrained(tmp_path, "cpu")
    read, plain = (model.run(Request(text, max_faces=5, seed=3), attempts=1)[0] for text in ("a high throne", "a high chair"))
    assert read.mesh.vertices.tobytes() == plain.mesh.vertices.tobytes()
    assert read.text == "a high throne"
    assert "'a high throne' was read as 'a high chair'" in read.note
    assert "read as" not in plain.note


# ---- the default model's


@pytest.mark.parametrize(
    ("prompt", "reading"),
    [
        ("a canine", "a dog"),
        ("a rapier", "a sword"),
        ("a small round timepiece with two hands", "a small round clock with two hands"),
        ("a four-legged pet that barks", "a dog"),
        ("an old cathedral", "an old church"),
        ("a place to sleep", "a bed"),
    ],
)
def test_the_default_model_reads_other_words(default: Vocabulary, prompt: str, reading: str) -> None:
    assert default.reading(prompt) == reading


def test_what_the_default_model_cannot_make_is_not_read_as_something_else(default: Vocabulary) -> None:
    for prompt in ("a fire-breathing dragon", "a piano", "a grand piano", "a bicycle", "an elephant", "a pair of scissors", "democracy"):
        assert default.reading(prompt) is None


def test_what_the_default_model_cannot_make_is_seldom_read_as_something_else(default: Vocabulary) -> None:
    prompts = (
        "a dragon", "a grand piano", "a bicycle", "an elephant", "a pair of scissors", "democracy", "a pizza", "a banana", "a guitar",
        "a smartphone", "an umbrella", "a skateboard", "a crocodile", "a butterfly", "a robot", "a sandwich", "a hat", "a necklace",
        "a trumpet", "a camera", "a telescope", "a pencil", "a spoon", "a kettle", "a bathtub", "a carpet", "a balloon", "a submarine",
        "a tractor", "a pyramid", "happiness", "music", "a skeleton", "a tooth", "a pumpkin", "an egg", "an ice cream", "a whale",
        "an octopus", "a frog",
    )
    read = {prompt: reading for prompt in prompts if (reading := default.reading(prompt))}
    assert len(read) <= 0.15 * len(prompts), read


@pytest.mark.parametrize("family", FAMILIES)
def test_no_procedural_caption_is_touched(default: Vocabulary, family: str) -> None:
    captions = {caption for seed in range(30) for caption in generate(family, seed).captions}
    assert [caption for caption in sorted(captions) if default.reading(caption)] == []


def test_most_phrases_in_other_words_are_read_as_the_kind_that_they_mean(default: Vocabulary) -> None:
    phrases = json.loads((Path(__file__).parent / "phrases.json").read_text())
    readings = [(kind, default.reading(phrase)) for kind, of_kind in phrases.items() for phrase in of_kind]
    read = [(kind, reading) for kind, reading in readings if reading]
    right = [kind for kind, reading in read if re.search(rf"\b({kind}|{plural(kind)})\b", reading)]
    assert len(readings) == 512
    assert len(read) > 0.5 * len(readings)  # the others name something known
    assert len(right) > 0.8 * len(read)
