"""Generation and training on a GPU, against what the card can do and beside meshgpt-pytorch.

    python -m benchmarks.gpu --out benchmarks/gpu
    python -m benchmarks.gpu --out benchmarks/gpu --only default 512/12 theirs
    python -m benchmarks.gpu --out rehearsal --device cpu --small

Writes FILE.json and FILE.md after every row, and keeps rows that are there already: rows can be taken a few at a time. A row that fails
says why in its place. `--small` takes a tenth of everything, to see in seconds that all of it runs; its figures mean nothing.

Theirs is asked in a process of its own: the environment that `make bench` makes, or this one if it has meshgpt-pytorch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_card import US, Bench, Line, measure_card
from benchmarks.gpu_generation import default_subject, generation, random_subject
from benchmarks.gpu_theirs import theirs
from benchmarks.gpu_training import activations, training
from benchmarks.side import ROOT
from benchmarks.table import markdown

LIMIT = 400  # seconds that a row may take

TABLES = {
    "Generation": (
        "what",
        "batch",
        "faces/s",
        "first face, ms",
        "memory, MB",
        "floor: bytes, ms",
        "floor: launches, ms",
        "share",
        "times theirs",
        "bar",
        "met",
    ),
    "Training": ("what", "parameters", "batch", "tokens/s", "TFLOP/s", "share of the peak", "memory, MB"),
    "Activations": ("what", "faces", "memory, MB", "KB a face"),
}

DEFAULT = "default model, captured"
ROWS: dict[str, tuple[str, Callable[[Bench], list[Line]]]] = {
    "default": ("Generation", partial(generation, DEFAULT, default_subject, bars={1: 1000, 64: 20000})),
    "default-guided": ("Generation", partial(generation, f"{DEFAULT}, guided", default_subject, guided=True, batches=(1, 8))),
    "default-loop": ("Generation", partial(generation, "default model, a code at a time", default_subject, captured=False, batches=(1, 8))),
    "default-compiled": ("Generation", partial(generation, f"{DEFAULT}, compiled", default_subject, compiled=True, batches=(1, 64))),
    "512/12": ("Generation", partial(generation, "512/12, captured, fp32", random_subject)),
    "512/12-bf16": ("Generation", partial(generation, "512/12, captured, bf16", random_subject, precision="bf16")),
    "theirs": ("Generation", partial(theirs, streams=4)),
    "theirs-1-stream": ("Generation", partial(theirs, streams=1)),
    **{f"training-{size}": ("Training", partial(training, size, False)) for size in ("10M", "100M", "350M")},
    **{f"training-{size}-compiled": ("Training", partial(training, size, True)) for size in ("10M", "100M", "350M")},
    **{f"activations-{faces}": ("Activations", partial(activations, faces)) for faces in (800, 4000)},
}


def ask(name: str, bench: Bench) -> dict[str, Any]:
    """A row taken in a process of its own, for a card that fails one row may refuse its process all others."""
    begin = time.monotonic()
    asked = {"name": name, "device": str(bench.device), "small": bench.small, "card": bench.card}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.gpu", "--row", json.dumps(asked)], capture_output=True, text=True, cwd=ROOT, timeout=LIMIT
        )
        lines = json.loads(last_line(done.stdout)) if done.returncode == 0 else [failed(name, last_line(done.stderr))]
    except subprocess.TimeoutExpired:
        lines = [failed(name, f"not done after {LIMIT} s")]
    return {"table": ROWS[name][0], "small": bench.small, "seconds": time.monotonic() - begin, "lines": lines}


def take(name: str, device: str, small: bool, card: dict[str, Any]) -> list[Line]:
    """A row's lines, or what went wrong instead."""
    try:
        return ROWS[name][1](Bench(torch.device(device), small, card))
    except Exception as error:  # whatever it is, it is the row's answer
        return [failed(name, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")]


def failed(name: str, why: str) -> Line:
    return {"what": name, "error": why[:200]}


def last_line(output: str) -> str:
    return output.strip().rpartition("\n")[2]


def render(document: dict[str, Any]) -> str:
    """All rows as Markdown, in the order of ROWS."""
    card = document["card"]
    parts = [
        f"{card['name']}, torch {card['torch']}, Python {card['python']}. Measured here: "
        f"a copy moves {card['bytes_a_second'] / 1e9:.0f} GB/s, a bf16 product reaches {card['bf16_flops'] / 1e12:.3g} TFLOP/s, "
        f"an operation on nothing takes {card['node_seconds'] * US:.2f} µs."
    ]
    taken = [document["rows"][name] for name in ROWS if name in document["rows"]]
    rival = {line["batch"]: line["faces/s"] for line in document["rows"].get("theirs", {"lines": []})["lines"] if "error" not in line}
    for table, columns in TABLES.items():
        lines = [line for one in taken if one["table"] == table for line in one["lines"]]
        if lines:
            beside = [line | {"times theirs": line["faces/s"] / rival[line["batch"]]} if compares(line, rival) else line for line in lines]
            parts.append(f"## {table}\n\n" + markdown([columns, *(cells(line, columns) for line in beside)]))
    if any(one["small"] for one in taken):
        parts.insert(1, "**A rehearsal: rows were taken at a tenth of their size, and their figures mean nothing.**")
    return "\n\n".join(parts) + "\n"


def compares(line: Line, rival: dict[int, float]) -> bool:
    """Whether a line is a speed of ours that there is one of theirs for, with as many rows."""
    return "faces/s" in line and line["batch"] in rival and not line["what"].startswith("meshgpt-pytorch")


def cells(line: Line, columns: tuple[str, ...]) -> tuple[str, ...]:
    if "error" in line:
        return (line["what"], *[str(line[column]) for column in columns[1:2] if column in line], line["error"].replace("|", "/"))
    return tuple(text(line.get(column, ""), column) for column in columns)


def text(value: Any, column: str) -> str:
    if isinstance(value, str):
        return value
    if column.startswith("share"):
        return f"{value:.0%}"
    return f"{value:,.0f}" if abs(value) >= 100 or isinstance(value, int) else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="FILE.json and FILE.md are written")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME", help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="a rehearsal")
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(take(**options.row)))
        return
    if options.out is None:
        parser.error("--out FILE says where the results go")
    bench = Bench(torch.device(options.device), options.small)
    if bench.cuda and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --device cpu --small rehearses without one")
    bench.card = measure_card(bench)
    places = options.out.with_suffix(".json"), options.out.with_suffix(".md")
    document = {"card": bench.card, "rows": json.loads(places[0].read_text())["rows"] if places[0].exists() else {}}
    for name in options.only:
        document["rows"][name] = taken = ask(name, bench)
        places[0].write_text(json.dumps(document, indent=1) + "\n")
        places[1].write_text(render(document))
        print(f"{taken['seconds']:5.0f} s  {name}  {next((line['error'] for line in taken['lines'] if 'error' in line), '')}", flush=True)
    print(f"\n{render(document)}")


if __name__ == "__main__":
    main()
