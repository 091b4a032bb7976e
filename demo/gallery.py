"""Twenty-four prompts, the first seed of each, nothing picked: one sheet of pictures.

    python demo/gallery.py --out docs/gallery.png
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from session import blender, make, quiet

PROMPTS = (
    "a wooden chair with four straight legs",
    "a low square stool with footrests",
    "a long park bench",
    "a sofa with three seat cushions",
    "a round table",
    "a desk with three drawers",
    "a tall bookshelf with an open back",
    "a low wide cabinet with knobs",
    "a bed with a footboard",
    "a standing lamp with a conical shade",
    "a house with a gabled roof",
    "a car with four wheels",
    "a leafy tree",
    "a cluster of mushrooms",
    "a flat pile of rocks",
    "a barrel",
    "a church with a tall spire",
    "a bridge",
    "a tent",
    "a bottle",
    "a dog",
    "an axe",
    "a gravestone",
    "a train",
)
SEED = 0
COLUMNS, CELL, CAPTION, GAP = 6, 280, 40, 8
PAPER, INK = (250, 248, 245), (60, 52, 48)


def main() -> None:
    parser = argparse.ArgumentParser(description="Picture twenty-four prompts on one sheet.")
    parser.add_argument("--out", type=Path, default=Path("docs/gallery.png"))
    out = parser.parse_args().out
    pictures, rejected, drawn = [], 0, 0
    with blender() as bpy, tempfile.TemporaryDirectory() as folder:
        from render import render

        for prompt in PROMPTS:
            made = make(bpy, prompt, SEED)
            path = Path(folder) / "picture.png"
            with quiet():
                render([made], path, CELL)
            pictures.append(Image.open(path).convert("RGB"))
            print(f"{prompt}: {len(made.data.polygons)} faces, {made['meshgpt_rejected']} of {made['meshgpt_drawn']} rejected", flush=True)
            rejected, drawn = rejected + made["meshgpt_rejected"], drawn + made["meshgpt_drawn"]
            bpy.data.meshes.remove(made.data)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet(pictures, PROMPTS).save(out, optimize=True)
    print(f"{out}: {rejected} of {drawn} samples were rejected ({rejected / drawn:.0%})")


def sheet(pictures: list[Image.Image], captions: tuple[str, ...]) -> Image.Image:
    """The pictures in rows of COLUMNS, each with its caption below."""
    rows = -(-len(pictures) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * (CELL + GAP) + GAP, rows * (CELL + CAPTION + GAP) + GAP), PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(index, COLUMNS)
        x, y = GAP + column * (CELL + GAP), GAP + row * (CELL + CAPTION + GAP)
        page.paste(picture, (x, y))
        pen.text((x + CELL / 2, y + CELL + CAPTION / 2), caption, INK, font, anchor="mm")
    return page


if __name__ == "__main__":
    main()
