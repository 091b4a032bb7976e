"""Measure a checkpoint: what it makes, beside held-out meshes put through the same measures.

    python -m training.evaluate --model models/default --training data/train data/lowpoly/train \\
        --data data/lowpoly/validation --out runs/evaluation

Prints a page and writes it as evaluation.md, with evaluation.json for programs and evaluation.png, a contact sheet. docs/evaluation.md
says what each line means. The parts are in training/evaluation/, a room for each question.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from core.errors import MeshGPTError
from core.mesh import Mesh
from core.pipeline import MeshGPT
from core.request import HIGHEST_SEED, Request, Result
from training.data.dataset import HELD_OUT_SEEDS, CodeSet, read_tokenizer
from training.evaluation.bars import bars
from training.evaluation.completion import Finished, compare, finish_all, unfinish
from training.evaluation.making import Made, keep_all, make_all
from training.evaluation.novelty import Training
from training.evaluation.prompts import (
    by_family,
    diversity,
    in_other_words,
    measure_properties,
    paraphrases,
    plain_requests,
)
from training.evaluation.report import WORST, markdown
from training.evaluation.sets import NEW_SEEDS, ValidationSet, procedural_set, real_set
from training.evaluation.shapes import Judge
from training.evaluation.sheet import Section, draw_sheet
from training.evaluation.tokens import loss, reconstruction
from training.procedural import FAMILIES
from training.recognition import Recogniser, train_recogniser

RECOGNISER_SEEDS = range(2 * HELD_OUT_SEEDS, 2 * HELD_OUT_SEEDS + 80)  # of each family; no generator learns from them
RECOGNISER_TEST = range(3 * HELD_OUT_SEEDS, 3 * HELD_OUT_SEEDS + 20)
DIVERSITY_SEEDS = 4 * HELD_OUT_SEEDS
PICTURES, COMPLETIONS = 48, 16  # of a set on the contact sheet


@dataclass(frozen=True)
class Work:
    """All that was made for a report, once.

    made: by set, in the order of its wanted meshes. finished: by set. phrases: in other words, with the family that each means;
    reworded: what came of them. plain: what came of the names of the first families, in a few seeds each.
    """

    families: list[str]
    sets: list[ValidationSet]
    made: dict[str, list[Made]]
    finished: dict[str, list[Finished]]
    phrases: list[tuple[str, str]]
    reworded: list[Mesh]
    plain: list[list[Result]]


def evaluate(
    model: MeshGPT,
    *,
    prompts: int,
    data: Sequence[Path] = (),
    training: Sequence[Path] = (),
    autoencoder: Path | None = None,
    seed: int = 0,
) -> tuple[dict[str, Any], list[Section]]:
    """The report as plain values, and what to put on the contact sheet.

    prompts: captions to make a mesh of, of new procedural seeds and of as many meshes of each folder of `data`; the other questions take
    as many or half. data: sets of real validation meshes. training: all sets that the model was trained on. autoencoder: the folder of
    one to measure too. Raises MeshGPTError: bad_request if the model knows no procedural family, bad_data as CodeSet.load,
    bad_checkpoint if no mesh that the model makes has any area.
    """
    known = Training(CodeSet.load(*training), seed) if training else None
    sets = validation_sets(model.info()["domain"], prompts, data, known, seed)
    judge = Judge(train_recogniser(list(FAMILIES), RECOGNISER_SEEDS, RECOGNISER_TEST), known, seed)
    work = make(model, sets, prompts, known, seed)
    kept = [one.kept for one in work.made[NEW_SEEDS]]
    tokenizers = [model.tokenizer, *([read_tokenizer(autoencoder)] if autoencoder else [])]
    everything = [wanted.mesh for one in sets for wanted in one.everything]
    report: dict[str, Any] = {
        "model": model.info()["name"],
        "device": model.info()["device"],
        "sampling": model.info()["sampling"],
        "candidates": model.info()["candidates"],
        "prompts": prompts,
        "seed": seed,
        "families": work.families,
        "training": {"folders": [str(folder) for folder in training], "meshes": len(known)} if known else None,
        "time": time_taken(kept),
        "sets": {one.name: measure(model, judge, one, work.made[one.name]) for one in sets},
        "tokenizers": [reconstruction(tokenizer, everything, seed) for tokenizer in tokenizers],
        "recogniser": describe(judge.recogniser),
        "by_family": by_family(judge, *of_families(work)),
        "other_words": in_other_words(
            work.phrases,
            judge.recognised(work.reworded, [family for _, family in work.phrases]),
            judge.recognised([result.mesh for result in kept], [one.category for one in sets[0].wanted]),
            known,
        ),
        "completion": {name: compare(finished) for name, finished in work.finished.items()},
        "diversity": diversity(work.families[: len(work.plain)], work.plain, DIVERSITY_SEEDS, seed),
        "properties": measure_properties(model, sets[0].wanted[: half(prompts)], kept, seed, "with properties"),
    }
    return report | {"bars": bars(report)}, pictures(work)


def half(count: int) -> int:
    return max(1, count // 2)


def validation_sets(
    domain: Sequence[str], prompts: int, data: Sequence[Path], training: Training | None, seed: int
) -> list[ValidationSet]:
    """The procedural ones, new seeds first, then those folders that hold something the model knows."""
    families = [family for family in FAMILIES if family in domain]
    if not families:
        raise MeshGPTError("the model was trained on no procedural family", hint="train it on some", code="bad_request")
    real = [real_set(folder, domain, prompts, training, seed) for folder in data]
    return [
        procedural_set(families, prompts, held_out=False),
        procedural_set(families, half(prompts), held_out=True),
        *(one for one in real if one.wanted),
    ]


def make(model: MeshGPT, sets: list[ValidationSet], prompts: int, training: Training | None, seed: int) -> Work:
    """Everything that the model is asked to make."""
    families = list(dict.fromkeys(one.category for one in sets[0].wanted))
    made = {one.name: make_all(model, asked(one, seed), one.name) for one in sets}
    finished = {}
    for one in sets:
        rng, room = np.random.default_rng(seed), model.info()["max_faces"] - 1
        unfinished = unfinish(one.wanted, half(len(one.wanted)), room, rng)
        finished[one.name] = finish_all(model, unfinished, training, seed, f"completing, {one.name}")
    phrases = paraphrases(families, prompts, training)
    reworded = keep_all(model, [Request(phrase, seed=seed + i) for i, (phrase, _) in enumerate(phrases)], "in other words")
    plain = keep_all(model, plain_requests(families[: half(prompts)], seed), "plain names")
    return Work(families, sets, made, finished, phrases, [results[0].mesh for results in reworded], plain)


def asked(one: ValidationSet, seed: int) -> list[Request]:
    """A request for each wanted mesh of a set."""
    return [Request(wanted.caption, seed=seed + number) for number, wanted in enumerate(one.wanted)]


def measure(model: MeshGPT, judge: Judge, asked: ValidationSet, made: Sequence[Made]) -> dict[str, Any]:
    """The columns of a set, and the loss on it."""
    return {
        "meshes": len(asked.wanted),
        "loss": loss(model, asked.everything, f"loss, {asked.name}"),
        "first": judge.made([one.first for one in made], asked),
        "kept": judge.made([one.kept for one in made], asked),
        "data": judge.data(asked),
    }


def time_taken(results: Sequence[Result]) -> dict[str, float]:
    """Seconds and faces of the meshes, rejected samples counted in; the median is of meshes, the speed of all of them."""
    seconds, faces = [result.seconds for result in results], [len(result.mesh.faces) for result in results]
    return {
        "seconds": float(np.median(seconds)),
        "mean_seconds": float(np.mean(seconds)),
        "first_face_seconds": float(np.median([result.first_face_seconds for result in results])),
        "faces": float(np.mean(faces)),
        "faces_per_second": sum(faces) / max(sum(seconds), 1e-9),
    }


def describe(recogniser: Recogniser) -> dict[str, Any]:
    accuracies = sorted(recogniser.accuracies.items(), key=lambda item: item[1])
    return {
        "families": len(recogniser.families),
        "chance": 1 / len(recogniser.families),
        "accuracy": recogniser.accuracy,
        "worst": accuracies[:WORST],
    }


def of_families(work: Work) -> tuple[list[tuple[Mesh, str]], list[tuple[Mesh, str]]]:
    """All that was made of procedural families, with the family asked for: the first samples, and what was kept, plain names counted in."""
    pairs = [(made, one.category) for each in work.sets[:2] for made, one in zip(work.made[each.name], each.wanted, strict=True)]
    named = [(result.mesh, family) for family, results in zip(work.families, work.plain, strict=False) for result in results]
    return [(made.first.mesh, family) for made, family in pairs], [*((made.kept.mesh, family) for made, family in pairs), *named]


def pictures(work: Work) -> list[Section]:
    """The contact sheet: the first meshes of every question, after rejection, nothing picked."""
    sections = []
    for one in work.sets:
        pairs = list(zip(work.made[one.name], one.wanted, strict=True))[:PICTURES]
        sections.append(Section(f"{one.name}, after rejection", [(made.kept.mesh, wanted.caption) for made, wanted in pairs]))
    phrases = zip(work.reworded, work.phrases, strict=True)
    sections.append(Section("In other words", [(mesh, f"{phrase} [{family}]") for mesh, (phrase, family) in phrases][:PICTURES]))
    for name, finished in work.finished.items():
        cells = [
            cell
            for one in finished[:COMPLETIONS]
            for cell in (
                (one.unfinished.given, f"given: {one.unfinished.whole.caption}"),
                (one.mesh, "completed"),
                (one.unfinished.whole.mesh, "the truth"),
            )
        ]
        sections.append(Section(f"Completion, {name}", cells))
    plain = [(result.mesh, result.text) for results in work.plain for result in results]
    sections.append(Section("Seeds of one prompt", plain[:PICTURES]))
    return sections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--prompts", type=int, default=128, help="captions to make meshes of (default 128)")
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FOLDER", help="real validation meshes, as Parquet")
    parser.add_argument("--training", type=Path, nargs="+", default=[], metavar="FOLDER", help="all sets that the model was trained on")
    parser.add_argument("--autoencoder", type=Path, metavar="FOLDER", help="checkpoint of an autoencoder to measure too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for evaluation.md, evaluation.json and evaluation.png")
    options = parser.parse_args()
    if options.prompts < 1 or not 0 <= options.seed <= HIGHEST_SEED - options.prompts:
        parser.error("give 1 prompt or more, and a seed in 0..2147483647 less the prompts")
    try:
        model = MeshGPT.from_pretrained(options.model, str(Accelerator().device))
        report, sections = evaluate(
            model,
            prompts=options.prompts,
            data=options.data,
            training=options.training,
            autoencoder=options.autoencoder,
            seed=options.seed,
        )
    except MeshGPTError as error:
        parser.exit(2, f"{error}\n")
    page = markdown(report)
    print(page)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "evaluation.md").write_text(page)
        (options.out / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")
        draw_sheet(options.out / "evaluation.png", sections)


if __name__ == "__main__":
    main()
