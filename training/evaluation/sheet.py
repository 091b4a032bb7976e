"""The contact sheet: pictures of what was made, with the prompts below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from core.mesh import Mesh
from training.drawing import CELL, COLOURS, PAPER, contact_sheet

COLUMNS, TITLE = 12, 30  # pictures in a row; pixels of a section's title


@dataclass(frozen=True)
class Section:
    """Meshes in reading order, each with what is written below it."""

    title: str
    cells: Sequence[tuple[Mesh, str]]


def draw_sheet(path: Path, sections: Sequence[Section]) -> None:
    """Write all sections, one below the other, as a PNG."""
    pictures = [contact_sheet(section.cells, COLUMNS) for section in sections]
    sheet = Image.new("RGB", (COLUMNS * CELL, sum(TITLE + picture.height for picture in pictures)), PAPER)
    pen, top = ImageDraw.Draw(sheet), 0
    for section, picture in zip(sections, pictures, strict=True):
        pen.text((6, top + TITLE // 2), section.title, (0, 0, 0), anchor="lm")
        sheet.paste(picture, (0, top + TITLE))
        top += TITLE + picture.height
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(COLOURS).save(path, optimize=True)
