"""A contact sheet of every family."""

from __future__ import annotations

from pathlib import Path

from training.drawing import COLOURS, contact_sheet
from training.procedural.registry import FAMILIES, generate


def draw_gallery(path: Path, per_family: int, columns: int) -> None:
    """The first seeds of every family, in reading order, each object labelled with a caption and its number of faces."""
    cells = []
    for name in FAMILIES:
        for seed in range(per_family):
            sample = generate(name, seed)
            mesh = sample.mesh.canonical()
            cells.append((mesh, f"{sample.captions[seed % 4]} ({len(mesh.faces)})"))
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(cells, columns).quantize(COLOURS).save(path, optimize=True)
