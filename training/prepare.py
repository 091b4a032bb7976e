"""Prepare meshes from anywhere for training: clean them, leave out what cannot be learned from, and write Parquet.

    python -m training.prepare furniture/ more.glb --captions captions.csv --out data/furniture

Sources are folders (with all that is in them) of GLB, glTF, OBJ, PLY, STL, OFF and .blend files, single files, or folders that hold a set
as meshes.npz and index.jsonl. What comes out is `train` and `validation`, folders of shards as training.data.parquet describes them, and
a report. A run that is killed goes on where it stopped when it is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from core.errors import MeshGPTError
from core.mesh import Mesh
from training.data.parquet import Row, Rows, grid_of, mesh_of, write_shard, write_shards
from training.preparation.captions import read_captions
from training.preparation.cleaning import Rejected, clean
from training.preparation.duplicates import Found, features, find_duplicates, symmetric_key
from training.preparation.guarded import guarded_map
from training.preparation.report import markdown, summary
from training.preparation.sources import Item, find_items, read_item

CHUNK = 128  # items whose results are kept together: about what a kill can cost
WORK = ".work"  # in the output folder until all is done


@dataclass(frozen=True)
class Settings:
    """sources: folders and files. captions: a list of captions, "" for none. max_faces: on the grid. max_open_edges: share of the edges.

    validation: share of the groups that training never sees, where their source does not say. timeout: seconds a file may take.
    """

    sources: tuple[str, ...]
    captions: str = ""
    max_faces: int = 800
    max_open_edges: float = 1.0
    validation: float = 0.05
    timeout: float = 60.0


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A mesh that passed: its row, and what its copies are found by."""

    row: Row
    key: bytes
    features: list[float]


def prepare(settings: Settings, out: Path, processes: int = 1) -> dict[str, Any]:
    """Prepare all sources into `out`/train, `out`/validation, `out`/report.json and report.md; returns the report.

    Raises MeshGPTError (bad_data) if a source or the captions cannot be read at all, or `out` belongs to other sources or settings.
    """
    captions = read_captions(Path(settings.captions)) if settings.captions else {}
    items = find_items([Path(source) for source in settings.sources], captions)
    if not items:
        raise MeshGPTError(f"there are no meshes in {', '.join(settings.sources)}", hint="give other sources", code="bad_data")
    claim(out, settings, items)
    if (out / "report.json").is_file():
        report: dict[str, Any] = json.loads((out / "report.json").read_text())
        return report
    clean_all(items, settings, out / WORK, processes)
    report = finish(items, settings, out, processes)
    (out / "report.md").write_text(markdown(report))
    write_whole(out / "report.json", report)  # the last: it says that the rest is there
    shutil.rmtree(out / WORK)
    return report


def claim(out: Path, settings: Settings, items: Sequence[Item]) -> None:
    """Write down what the folder is made of, or see that it is the same as when it was begun."""
    content = repr([(item, item.path.stat().st_size) for item in items])
    made_of = json.loads(json.dumps(asdict(settings))) | {"items": len(items), "digest": digest(content).hex()}
    path = out / "settings.json"
    if path.is_file() and json.loads(path.read_text()) != made_of:
        raise MeshGPTError(f"{out} holds meshes of other sources or settings", hint="choose another --out, or delete it", code="bad_data")
    write_whole(path, made_of)


def write_whole(path: Path, content: Any) -> None:
    """JSON that is there as a whole or not at all, also after a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(fresh, path)


# ---- one mesh after another, in worker processes


def clean_all(items: Sequence[Item], settings: Settings, work: Path, processes: int) -> None:
    """Every chunk of the items that is not there yet: those that passed as NUMBER.parquet, what else is known of them as NUMBER.json."""
    chunks = [range(start, min(start + CHUNK, len(items))) for start in range(0, len(items), CHUNK)]
    missing = [number for number in range(len(chunks)) if not (work / f"{number:06}.json").is_file()]
    todo = [item for number in missing for item in chunks[number]]
    open_chunks: dict[int, dict[int, Cleaned | str]] = {number: {} for number in missing}
    read = partial(clean_item, max_faces=settings.max_faces, max_open_edges=settings.max_open_edges)
    results = guarded_map(read, [items[item] for item in todo], processes, settings.timeout)
    for place, result in tqdm(results, initial=len(items) - len(todo), total=len(items), desc="cleaning"):
        number = todo[place] // CHUNK
        open_chunks[number][todo[place]] = result
        if len(open_chunks[number]) == len(chunks[number]):
            write_chunk(work, number, open_chunks.pop(number))


def clean_item(item: Item, max_faces: int, max_open_edges: float) -> Cleaned | str:
    """An item as training data, or the reason why it cannot be."""
    if item.rejected:
        return item.rejected
    try:
        polygons = read_item(item)
        mesh = clean(polygons.vertices, polygons.faces, max_faces, max_open_edges)
    except Rejected as rejected:
        return rejected.reason
    x, y, z = np.ptp(polygons.vertices[np.unique(polygons.faces[polygons.faces >= 0])], axis=0).tolist()
    row = Row(
        item.name,
        grid_of(mesh),
        item.captions,
        item.category,
        item.weight,
        item.group,
        licence=item.licence,
        author=item.author,
        source=item.source,
        extents=(x, y, z),
        metres=polygons.metres,
    )
    return Cleaned(row, symmetric_key(mesh), features(mesh).tolist())


def write_chunk(work: Path, number: int, results: dict[int, Cleaned | str]) -> None:
    passed = {item: result for item, result in sorted(results.items()) if not isinstance(result, str)}
    write_shard(work / f"{number:06}.parquet", [cleaned.row for cleaned in passed.values()])
    known = {
        "items": list(passed),
        "keys": [cleaned.key.hex() for cleaned in passed.values()],
        "features": [cleaned.features for cleaned in passed.values()],
        "left_out": {item: result for item, result in sorted(results.items()) if isinstance(result, str)},
    }
    write_whole(work / f"{number:06}.json", known)


# ---- all meshes together


def finish(items: Sequence[Item], settings: Settings, out: Path, processes: int) -> dict[str, Any]:
    """Take out the copies of what passed, split the rest, write it, and report."""
    known = [json.loads(path.read_text()) for path in sorted((out / WORK).glob("*.json"))]
    numbers = [item for chunk in known for item in chunk["items"]]
    left_out = {items[int(item)].name: reason for chunk in known for item, reason in chunk["left_out"].items()}
    rows = Rows(out / WORK)
    keys = [bytes.fromhex(key) for chunk in known for key in chunk["keys"]]
    described = np.array([values for chunk in known for values in chunk["features"]], np.float32)
    passed = [items[number] for number in numbers]
    weights, groups = [item.weight for item in passed], [item.group for item in passed]
    found = find_duplicates(keys, described, weights, groups, Meshes(rows), processes)
    splits = split(passed, found.group, settings.validation)
    kept = merged(rows, passed, found)
    for name in ("train", "validation"):
        chosen = [row for number, row in kept.items() if splits[found.group[number]] == name]
        write_shards(out / name, sorted(chosen, key=lambda row: digest(row.name)))
    left_out |= {passed[number].name: "exact duplicate" if number in found.exact else "near duplicate" for number in found.copy_of}
    in_split = {number: splits[found.group[number]] for number in kept}
    copies = {passed[number].name: passed[original].name for number, original in found.copy_of.items()}
    return summary(len(items), left_out, kept, in_split) | {"copy_of": dict(sorted(copies.items()))}


class Meshes(Sequence[Mesh]):
    """The meshes of rows, made when they are asked for."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return mesh_of(self.rows[index].grid)


def merged(rows: Rows, passed: Sequence[Item], found: Found) -> dict[int, Row]:
    """The rows that stay, by number, each with the captions of its copies too: what is said of one is true of the other."""
    captions = {number: dict.fromkeys(rows[number].captions) for number in range(len(rows)) if number not in found.copy_of}
    for number, original in found.copy_of.items():
        captions[original] |= dict.fromkeys(passed[number].captions)
    return {
        number: replace(rows[number], captions=tuple(said), group=passed[found.group[number]].name) for number, said in captions.items()
    }


def split(passed: Sequence[Item], group: Sequence[int], validation: float) -> dict[int, str]:
    """ "train" or "validation" for every group: as a source says of one of its members, else so that the share is met, drawn by name."""
    said: dict[int, set[str]] = {}
    for item, number in zip(passed, group, strict=True):
        said.setdefault(number, set()).add(item.split)
    splits = {number: "validation" if "validation" in words else "train" for number, words in said.items()}
    free = sorted((number for number, words in said.items() if words == {""}), key=lambda number: digest(passed[number].name))
    held_out = max(1, round(validation * len(free))) if validation and len(free) > 1 else 0
    return splits | dict.fromkeys(free[:held_out], "validation")


def digest(name: str) -> bytes:
    """8 bytes that put names in an order that has nothing to do with them."""
    return blake2b(name.encode(), digest_size=8).digest()


def main(arguments: Sequence[str] | None = None) -> None:
    default = Settings(())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="a folder, a mesh file, or the folder of a set")
    parser.add_argument("--captions", default="", metavar="FILE", help="JSON lines or CSV: file and captions (default: words in names)")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--max-faces", type=int, default=default.max_faces, help="leave out larger meshes (default %(default)s)")
    parser.add_argument("--max-open-edges", type=float, default=1.0, metavar="SHARE", help="leave out meshes with more (default 1)")
    parser.add_argument("--validation", type=float, default=default.validation, help="share kept from training (default %(default)s)")
    parser.add_argument("--timeout", type=float, default=default.timeout, help="seconds a file may take (default %(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="(default: one a core)")
    options = vars(parser.parse_args(arguments))
    out, processes = options.pop("out"), options.pop("processes")
    try:
        report = prepare(Settings(**options | {"sources": tuple(options["sources"])}), out, processes)
    except MeshGPTError as error:
        parser.exit(2, f"{error}\n")
    print(markdown(report))


if __name__ == "__main__":
    main()
