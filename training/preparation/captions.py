"""Captions of files: from a list that names them, or from the words in their own and their folder's name."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import MeshGPTError
from core.vocabulary import with_article

KEYS = ("file", "name")
TEXTS = ("category", "group", "licence", "author", "source")
VAGUE = {"mesh", "meshes", "model", "models", "object", "objects", "asset", "assets", "obj", "glb", "gltf", "fbx", "ply", "stl", "off"}


@dataclass(frozen=True)
class Caption:
    """What a list says of a file: captions and category, and the fields of training.data.parquet.Row by the same names."""

    captions: tuple[str, ...] = ()
    category: str = ""
    weight: float = 1.0
    group: str = ""
    licence: str = ""
    author: str = ""
    source: str = ""


def read_captions(path: Path) -> dict[str, Caption]:
    """What a list says of each file, by the file or name it gives.

    JSON lines: {"file": "chairs/a.glb", "captions": ["a chair", "a seat"], "category": "chair"}; "name" instead of "file" and a single
    "caption" do as well. CSV with a heading: the same columns; a file with several captions has several lines.
    Raises MeshGPTError (bad_data) if the file is missing, is neither, or a line names no file.
    """
    found: dict[str, Caption] = {}
    try:
        for number, entry in enumerate(lines(path), 1):
            key = next((str(entry[key]) for key in KEYS if entry.get(key)), "")
            if not key:
                raise ValueError(f"entry {number} has no {' or '.join(KEYS)}")
            before = found.get(key, Caption())
            given = entry.get("captions") or entry.get("caption") or []
            given = [given] if isinstance(given, str) else given
            captions = tuple(dict.fromkeys([*before.captions, *(str(text).strip() for text in given)]))
            texts = {name: str(entry.get(name) or getattr(before, name)) for name in TEXTS}
            found[key] = Caption(captions, weight=float(entry.get("weight") or before.weight), **texts)
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise MeshGPTError(
            f"{path} is not a list of captions ({error})",
            hint='give JSON lines such as {"file": "chair.glb", "captions": ["a chair"]}, or CSV with columns file and caption',
            code="bad_data",
        ) from error
    return found


def lines(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".csv":
        yield from csv.DictReader(text.splitlines())
    else:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())


def words_of(name: Path) -> Caption:
    """Captions and category from the words in a file's name, or where it has none in its folder's, and the two together.

    "furniture/WoodenChair_02.glb" is "a wooden chair" and "wooden chair, furniture".
    """
    own, folder = words(name.stem), words(name.parent.name)
    if not own:
        return Caption((with_article(folder),), folder) if folder else Caption()
    both = (f"{own}, {folder}",) if folder and folder not in own else ()
    return Caption((with_article(own), *both), own)


def words(name: str) -> str:
    """The words in a name in small letters: "WoodenChair_02" is "wooden chair". Numbers, hexadecimal names and vague words are left out."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    found = [re.sub(r"^([a-z]{3,})\d+$", r"\1", word.lower()) for word in re.split(r"[^A-Za-z0-9]+", apart)]
    return " ".join(word for word in found if re.fullmatch(r"[a-z]{2,}", word) and word not in VAGUE)
