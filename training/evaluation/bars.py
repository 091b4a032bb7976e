"""The bars that the default model is to clear, and whether it does, worked out from the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.evaluation.sets import NEW_SEEDS

TRIANGLE_ACCURACY = 0.99
RECOGNISED = 0.85
ENDED = 0.97
BOUNDARY = 1.5  # times the data's own share
NEAREST_NEIGHBOUR = 0.6
COPIES = 0.05
BETTER_THAN_RETRIEVAL = 0.7
POINTS_LOST = 0.1

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Bar:
    """bar: what is asked for. measured: in words, with 95% intervals. met: None if it was not measured."""

    bar: str
    measured: str
    met: bool | None


def bars(report: Report) -> list[dict[str, Any]]:
    """Every bar, in order, as plain values. `report`: all else that training.evaluate.evaluate says."""
    return [asdict(bar) for bar in all_bars(report)]


def all_bars(report: Report) -> Iterator[Bar]:
    yield accuracy(report)
    yield recognition(report)
    yield ended(report)
    yield flaws(report)
    for name, columns in report["sets"].items():
        yield boundary(name, columns)
    yield neighbours(report)
    yield copies(report)
    for name, compared in report["completion"].items():
        yield completion(name, compared)
    yield other_words(report)


def accuracy(report: Report) -> Bar:
    bar = f"triangle accuracy on validation meshes to 800 faces (autoencoder): {TRIANGLE_ACCURACY:.1%} or more"
    learned = [one for one in report["tokenizers"] if one["tokenizer"] == "MeshAutoencoder"]
    if not learned:
        return Bar(bar, "the model's tokens are coordinates, which lose nothing, and no autoencoder is given", None)
    found = learned[-1]
    return Bar(bar, f"{found['triangle_accuracy']:.2%} of {found['faces']} faces", found["triangle_accuracy"] >= TRIANGLE_ACCURACY)


def recognition(report: Report) -> Bar:
    found, known, there = report["sets"][NEW_SEEDS]["kept"]["recognised"], len(report["families"]), report["recogniser"]["families"]
    said = f"{shown(found)}, of {known} of {there} families"
    return Bar(
        f"recognised as the category asked for, all families, first sample after rejection: {RECOGNISED:.0%} or more",
        said,
        found["share"] >= RECOGNISED and known == there,
    )


def ended(report: Report) -> Bar:
    found = report["sets"][NEW_SEEDS]["kept"]["ended"]
    return Bar(f"ended within the context: {ENDED:.0%} or more", shown(found), found["share"] >= ENDED)


def flaws(report: Report) -> Bar:
    kept = {name: columns["kept"] for name, columns in report["sets"].items()}
    said = "; ".join(f"{name}: {one['degenerate']:.3%} and {one['duplicate']:.3%}" for name, one in kept.items())
    none = all(one["degenerate"] == one["duplicate"] == 0 for one in kept.values())
    return Bar("no degenerate or duplicate face at all", said, none)


def boundary(name: str, columns: Report) -> Bar:
    made, data = columns["kept"]["boundary"], columns["data"]["boundary"]
    return Bar(
        f"boundary edges, {name}: at most {BOUNDARY} times the data's own share", f"{made:.3%} beside {data:.3%}", made <= BOUNDARY * data
    )


def neighbours(report: Report) -> Bar:
    columns = report["sets"][NEW_SEEDS]
    found, data = columns["kept"]["nearest_neighbour_accuracy"], columns["data"]["nearest_neighbour_accuracy"]
    return Bar(
        f"1-NNA against held-out procedural meshes: {NEAREST_NEIGHBOUR:.0%} or less",
        f"{shown(found)}; the data's own {shown(data)}",
        found["share"] <= min(NEAREST_NEIGHBOUR, data["share"] + NEAREST_NEIGHBOUR - 0.5),  # equal sets of few a family are below 50%
    )


def copies(report: Report) -> Bar:
    bar = f"copies of training meshes among samples on captions not seen in training: under {COPIES:.0%}"
    found = [columns["kept"].get("copied_on_new_captions") for columns in report["sets"].values()]
    if None in found or not sum(one["of"] for one in found):
        return Bar(bar, "no training set is given", None)
    said = "; ".join(f"{name}: {shown(one)}" for name, one in zip(report["sets"], found, strict=True))
    return Bar(bar, said, sum(one["share"] * one["of"] for one in found) / sum(one["of"] for one in found) < COPIES)


def completion(name: str, compared: Report) -> Bar:
    bar = f"completion from 30-70%, {name}: nearer to the truth than retrieval for {BETTER_THAN_RETRIEVAL:.0%} or more"
    found, told = compared["better_than_retrieval"], compared["told_better_than_retrieval"]
    if not found["of"]:
        return Bar(bar, "no training set is given", None)
    return Bar(bar, f"{shown(found)}; told the box, as retrieval is, {shown(told)}", found["share"] >= BETTER_THAN_RETRIEVAL)


def other_words(report: Report) -> Bar:
    found = report["other_words"]
    low, high = found["interval"]
    return Bar(
        f"prompts in other words than the training captions: recognition within {100 * POINTS_LOST:.0f} points",
        f"{100 * found['difference']:.1f} points less ({100 * low:.0f} to {100 * high:.0f}): {shown(found['recognised'])}",
        found["difference"] <= POINTS_LOST,
    )


def shown(share: Report) -> str:
    """A share in words: "91.4% of 128 (85-95)"."""
    low, high = share["interval"]
    return f"{share['share']:.1%} of {share['of']} ({100 * low:.0f}-{100 * high:.0f})"
