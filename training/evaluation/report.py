"""The report as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from training.evaluation.bars import shown

Report = Mapping[str, Any]

ROWS = {  # of the table of sets: what it is called, and how its value is written
    "recognised": ("recognised as the category asked for", ".1%"),
    "ended": ("ended by themselves", ".1%"),
    "rejected": ("samples thrown away", ".1%"),
    "faces": ("faces a mesh", ".0f"),
    "flawless": ("meshes without a flaw", ".1%"),
    "degenerate": ("degenerate faces", ".3%"),
    "duplicate": ("duplicate faces", ".3%"),
    "boundary": ("boundary edges", ".3%"),
    "non_manifold": ("non-manifold edges", ".3%"),
    "empty": ("meshes without area", ".1%"),
    "coverage": ("COV, higher is better", ".1%"),
    "matching_distance": ("MMD, lower is better", ".5f"),
    "nearest_neighbour_accuracy": ("1-NNA, nearest to the data's own is best", ".1%"),
    "divergence": ("JSD, lower is better", ".3f"),
    "copied": ("equal to a training mesh", ".1%"),
    "copied_on_new_captions": ("the same, on captions not seen in training", ".1%"),
    "nearest_training_mesh": ("distance to the nearest training mesh (median)", ".5f"),
}
COLUMNS = {"first": "first sample", "kept": "after rejection", "data": "data"}
WORST = 5


def markdown(report: Report) -> str:
    """The page. report: as training.evaluate.evaluate gives it."""
    sections = (head, sets, tokens, recognition, completion, prompts, bars)
    return "\n".join(line for section in sections for line in (*section(report), ""))


def head(report: Report) -> Iterator[str]:
    time, training = report["time"], report["training"]
    yield f"# Evaluation of {report['model']}"
    yield ""
    yield (
        f"{report['prompts']} prompts, seed {report['seed']}, {report['candidates']} candidate(s) a mesh, "
        f"{len(report['families'])} of {report['recogniser']['families']} procedural families. On {report['device']}: "
        f"{time['seconds']:.2f} s a mesh (median; mean {time['mean_seconds']:.2f} s), first face after {time['first_face_seconds']:.3f} s, "
        f"{time['faces']:.0f} faces a mesh, {time['faces_per_second']:.0f} faces/s, rejected samples counted in."
    )
    yield ""
    if training:
        yield f"Copies, nearest meshes and retrieval are of {training['meshes']} training meshes: {', '.join(training['folders'])}."
    else:
        yield "No training set was given: nothing is said of copies, nearest meshes and retrieval."


def sets(report: Report) -> Iterator[str]:
    """One table of all sets, three columns each."""
    columns = [(name, key) for name, one in report["sets"].items() for key in COLUMNS if one[key]]
    yield "## Beside held-out meshes"
    yield ""
    yield "| measure | " + " | ".join(f"{name}: {COLUMNS[key]}" for name, key in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    yield "| meshes | " + " | ".join(str(report["sets"][name]["meshes"]) for name, _ in columns) + " |"
    for row, (title, style) in ROWS.items():
        values = [report["sets"][name][key].get(row) for name, key in columns]
        if any(value is not None for value in values):
            yield f"| {title} | " + " | ".join(written(value, style) for value in values) + " |"


def tokens(report: Report) -> Iterator[str]:
    yield "## Tokens"
    yield ""
    yield "| validation set | nats a face | meshes | faces |"
    yield "|---|---|---|---|"
    for name, one in report["sets"].items():
        loss = one["loss"]
        yield f"| {name} | {written(loss['nats_a_face'], '.3f')} | {loss['meshes']} | {loss['faces']} |"
    yield ""
    yield "| tokenizer | triangle accuracy | cracks | Chamfer of the reconstruction | meshes | faces |"
    yield "|---|---|---|---|---|---|"
    for one in report["tokenizers"]:
        yield (
            f"| {one['tokenizer']} | {one['triangle_accuracy']:.2%} | {one['cracks']:.3%} | {written(one['chamfer'], '.2e')} "
            f"| {one['meshes']} | {one['faces']} |"
        )


def recognition(report: Report) -> Iterator[str]:
    recogniser, families = report["recogniser"], report["by_family"]
    yield "## Recognition"
    yield ""
    worst = ", ".join(f"{family} {accuracy:.0%}" for family, accuracy in recogniser["worst"])
    yield (
        f"The recogniser knows {recogniser['families']} families (chance: {recogniser['chance']:.1%}) and is right on "
        f"{recogniser['accuracy']:.1%} of procedural meshes that it has not seen; worst on {worst}."
    )
    yield ""
    yield f"The {WORST} families worst recognised after rejection, over all that was made of them:"
    yield ""
    yield "| family | first sample | after rejection | most taken for | the recogniser itself |"
    yield "|---|---|---|---|---|"
    for family, one in sorted(families.items(), key=lambda item: item[1]["kept"]["share"])[:WORST]:
        yield f"| {family} | {shown(one['first'])} | {shown(one['kept'])} | {one['mistaken_for'] or '-'} | {one['recogniser']:.0%} |"


def completion(report: Report) -> Iterator[str]:
    yield "## Completion from 30-70% of the faces"
    yield ""
    yield "| set | meshes | Chamfer to the truth (median): model | told the box | nearest training mesh | the part alone | model better than retrieval | told the box better | model better than the part alone | the part alone better than retrieval |"  # noqa: E501
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for name, one in report["completion"].items():
        distances = " | ".join(written(one[key], ".5f") for key in ("model", "told", "retrieval", "part_alone"))
        shares = " | ".join(
            shown(one[key]) if one[key]["of"] else "-"
            for key in (
                *("better_than_retrieval", "told_better_than_retrieval"),
                *("better_than_part_alone", "part_alone_better_than_retrieval"),
            )
        )
        yield f"| {name} | {one['meshes']} | {distances} | {shares} |"


def prompts(report: Report) -> Iterator[str]:
    words, diversity, properties = report["other_words"], report["diversity"], report["properties"]
    yield "## Prompts"
    yield ""
    yield (
        f"In other words ({words['phrases']} phrases): recognised {shown(words['recognised'])}, beside "
        f"{shown(words['recognised_plainly'])} on captions like those of training: {100 * words['difference']:.1f} points less "
        f"({100 * words['interval'][0]:.0f} to {100 * words['interval'][1]:.0f})."
    )
    if "words_known" in words:
        yield (
            f"Of the phrases of which every word stands in a training caption {shown(words['words_known'])}, of the others "
            f"{shown(words['words_new'])}."
        )
    yield ""
    yield (
        f"Diversity: {diversity['variants']} seeds of one plain name are {written(diversity['model'], '.5f')} apart on average "
        f"({diversity['prompts']} prompts); as many procedural meshes of the same family {written(diversity['data'], '.5f')}."
    )
    yield ""
    if not properties:
        yield "The model knows no properties beside the text."
        return
    yield "| properties | asked for | not asked for |"
    yield "|---|---|---|"
    for key, title in (("faces", "number of faces, median relative error"), ("extents", "worst of the extents, median relative error")):
        yield f"| {title} | " + " | ".join(written(properties[column][key], ".1%") for column in ("asked", "unasked")) + " |"
    yield "| triangles or quads as asked | " + " | ".join(shown(properties[column]["polygons"]) for column in ("asked", "unasked")) + " |"


def bars(report: Report) -> Iterator[str]:
    verdicts = {True: "met", False: "not met", None: "not measured"}
    yield "## The bars"
    yield ""
    yield "Shares with the number of meshes and the 95% interval."
    yield ""
    yield "| bar | measured | |"
    yield "|---|---|---|"
    for one in report["bars"]:
        yield f"| {one['bar']} | {one['measured']} | {verdicts[one['met']]} |"


def written(value: Any, style: str) -> str:
    """A number, or the share of what `training.metrics.share` gave; "-" for None."""
    if value is None:
        return "-"
    return format(value["share"] if isinstance(value, Mapping) else value, style)
