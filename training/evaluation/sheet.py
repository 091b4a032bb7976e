"""The contact sheet: pictures of what was made, with the prompts below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw

from core.mesh import Mesh
from training.procedural.gallery import PAPER, picture

COLUMNS, CELL, LABEL, TITLE = 12, 150, 50, 30  # pixels
LINES, LETTERS = 4, 25  # of a label
INK = (60, 60, 60)
COLOURS = 64  # few, so that the file is small


@dataclass(frozen=True)
class Section:
    """Meshes in reading order, each with what is written below it."""

    title: str
    cells: Sequence[tuple[Mesh, str]]

    @property
    def height(self) -> int:
        return TITLE + -(-len(self.cells) // COLUMNS) * (CELL + LABEL)


def draw_sheet(path: Path, sections: Sequence[Section]) -> None:
    """Write all sections, one below the other, as a PNG."""
    sheet = Image.new("RGB", (COLUMNS * CELL, sum(section.height for section in sections)), PAPER)
    pen, top = ImageDraw.Draw(sheet), 0
    for section in sections:
        pen.text((6, top + TITLE // 2), section.title, (0, 0, 0), anchor="lm")
        for place, (mesh, label) in enumerate(section.cells):
            x, y = place % COLUMNS * CELL, top + TITLE + place // COLUMNS * (CELL + LABEL)
            if len(mesh.faces):
                sheet.paste(Image.fromarray(picture(mesh, CELL)), (x, y))
            pen.text((x + 5, y + CELL), "\n".join(wrap(label, LETTERS)[:LINES]), INK, spacing=1)
        top += section.height
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(COLOURS).save(path, optimize=True)
