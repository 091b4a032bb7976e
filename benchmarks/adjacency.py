"""Which faces are neighbours: time and memory as meshes grow, beside meshgpt-pytorch.

    python -m benchmarks.adjacency --rival .rival/bin/python

Every number comes from a process of its own, so that peaks of memory do not mix: it derives the neighbours of a triangulated grid
three times, and the fastest counts. meshgpt-pytorch compares every face with every other; it may take GIGABYTES of memory before it is
stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.side import forget_peak, resident_bytes

SIZES = (100, 1_000, 10_000, 100_000)
GIGABYTES = 12
ROOT = Path(__file__).resolve().parents[1]


def grid(faces: int) -> torch.Tensor:
    """[faces, 3] triangles over a square grid of vertices."""
    side = int((faces / 2) ** 0.5) + 1
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    corner = (row * (side + 1) + column).flatten()
    lower = torch.stack([corner, corner + 1, corner + side + 1], 1)
    upper = torch.stack([corner + 1, corner + side + 2, corner + side + 1], 1)
    return torch.stack([lower, upper], 1).flatten(0, 1)[:faces].contiguous()


def run_side(package: str, count: int) -> dict[str, Any]:
    """Seconds, and MB above what was in use before, to derive the neighbours of a mesh of that many faces."""
    torch.set_num_threads(1)
    from benchmarks.reconstruction import load_package

    _, derive = load_package(package)
    derive(grid(100))  # what is done at the first call only
    faces = grid(count)
    forget_peak()
    before, taken = resident_bytes(), []
    for _ in range(3):
        start = time.perf_counter()
        edges = derive(faces)
        taken.append(time.perf_counter() - start)
    return {"seconds": min(taken), "MB": (resident_bytes(peak=True) - before) / 1e6, "pairs": len(edges)}


def ask(python: str, package: str, count: int) -> dict[str, Any] | None:
    """The figures of one side, or None if it does not fit into GIGABYTES."""
    command = [python, "-m", "benchmarks.adjacency", "--side", package, str(count)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES * 2**30, GIGABYTES * 2**30))

    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, preexec_fn=limit, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if "memory" in done.stderr.lower() or "alloc" in done.stderr.lower():
        return None
    raise RuntimeError(f"deriving neighbours with {package} failed:\n{done.stderr[-2000:]}")


def measure(rival: str | None) -> list[dict[str, Any]]:
    """A row for each of SIZES: faces, and "ours" and "theirs" as `run_side` gives them; None where it does not fit, or is not there."""
    return [
        {"faces": count, "ours": ask(sys.executable, "core", count), "theirs": ask(rival, "meshgpt_pytorch", count) if rival else None}
        for count in SIZES
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| faces | ours, s | ours, MB | meshgpt-pytorch 1.8.1, s | meshgpt-pytorch 1.8.1, MB |", "|---:|---:|---:|---:|---:|"]
    for row in rows:
        cells = [f"{side['seconds']:.4f} | {side['MB']:,.1f}" if (side := row[name]) else "- | -" for name in ("ours", "theirs")]
        lines.append(f"| {row['faces']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rival", default=str(ROOT / ".rival" / "bin" / "python"), help="a Python that has meshgpt-pytorch")
    parser.add_argument("--side", nargs=2, metavar=("PACKAGE", "FACES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run_side(options.side[0], int(options.side[1]))))
        return
    there = Path(options.rival).exists()
    print(table(measure(options.rival if there else None)))
    print(f"\n- : more than {GIGABYTES} GiB" if there else f"\nmeshgpt-pytorch was not measured: there is no Python at {options.rival}")


if __name__ == "__main__":
    main()
