"""`python -m training.procedural --gallery out/families.png`: a picture of every family."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from training.procedural.gallery import draw_gallery


def main() -> None:
    parser = ArgumentParser(prog="python -m training.procedural", description=__doc__)
    parser.add_argument("--gallery", type=Path, required=True, metavar="PNG", help="the picture to write")
    parser.add_argument("--per-family", type=int, default=6, metavar="N", help="objects of each family (default 6)")
    parser.add_argument("--columns", type=int, default=6, metavar="N", help="objects in a row (default 6)")
    options = parser.parse_args()
    draw_gallery(options.gallery, options.per_family, options.columns)


if __name__ == "__main__":
    main()
