"""What training.prepare says when it is done: what was kept, what was not and why, and what the kept meshes are like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from training.data.parquet import Row, polygon_kind

BINS = (1, 13, 26, 51, 101, 201, 401, 801, 1601, 3201)  # faces
BAR = 40  # characters of the longest bar
CATEGORIES = 30  # lines of the page; the file has all


def summary(items: int, left_out: Mapping[str, str], kept: Mapping[int, Row], splits: Mapping[int, str]) -> dict[str, Any]:
    """The report as plain values. left_out: the reason for every name. splits: "train" or "validation" of each row kept."""
    faces = np.array([len(row.grid) for row in kept.values()])
    edges = [low for low in BINS if low <= max(faces, default=0)]
    edges.append(int(max(faces, default=0)) + 1)
    return {
        "found": items,
        "kept": len(kept),
        "train": sum(name == "train" for name in splits.values()),
        "validation": sum(name == "validation" for name in splits.values()),
        "left_out": dict(Counter(left_out.values()).most_common()),
        "weight": round(float(sum(row.weight for row in kept.values())), 3),
        "groups": len({row.group for row in kept.values()}),
        "captions": sum(len(row.captions) for row in kept.values()),
        "without_captions": sum(not row.captions for row in kept.values()),
        "faces": {f"{low} to {high - 1}": int(((faces >= low) & (faces < high)).sum()) for low, high in pairwise(edges)},
        "polygons": dict(Counter(polygon_kind(row.grid) for row in kept.values()).most_common()),
        "categories": dict(Counter(row.category for row in kept.values()).most_common()),
        "licences": dict(Counter(row.licence for row in kept.values()).most_common()),
        "names_left_out": dict(sorted(left_out.items())),
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a page."""
    categories = list(report["categories"].items())
    said = f"{report['captions']} captions; {report['without_captions']} meshes have none." if report["kept"] else ""
    return "\n".join(
        [
            "# Meshes prepared",
            "",
            f"{report['found']} found, {report['kept']} kept: {report['train']} to train on and {report['validation']} to validate on, in "
            f"{report['groups']} groups of like meshes; they weigh {report['weight']:g} together. {said}",
            "",
            *table("left out because", report["left_out"].items()),
            *table("faces", report["faces"].items()),
            *table("polygons", report["polygons"].items()),
            *table("category", categories[:CATEGORIES]),
            *([f"... and {len(categories) - CATEGORIES} more categories.", ""] if len(categories) > CATEGORIES else []),
        ]
    )


def table(title: str, counts: Any) -> Sequence[str]:
    """A table of counts with bars; nothing for no counts."""
    rows = list(counts)
    most = max((count for _, count in rows), default=0)
    lines = [f"| {name or '-'} | {count} | {'█' * round(BAR * count / max(most, 1))} |" for name, count in rows]
    return [f"| {title} | meshes | |", "|---|---|---|", *lines, ""] if rows else []
