"""Speed and memory, side by side with meshgpt-pytorch and against the machine's memory bandwidth.

    python -m benchmarks
    python -m benchmarks --only default

The first takes all measurements in one run and writes benchmarks/results.json and results.md; the second takes some and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, ours, theirs
from benchmarks.rows import ROWS
from benchmarks.side import ROOT
from benchmarks.table import render

RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME", help=f"some of {', '.join(ROWS)}")
    options = parser.parse_args()
    begin = time.monotonic()
    rows = []
    with Bench() as bench:
        seen = machine(bench)
        for name in options.only:
            rows += ROWS[name](bench)
            print(f"{time.monotonic() - begin:4.0f} s  {name}", flush=True)
    heading = machine_line(seen)
    print(f"\n{heading}\n\n{render(rows)}")
    if options.only == list(ROWS):
        document = {"machine": seen, "seconds": time.monotonic() - begin, "rows": [row.as_dict() for row in rows]}
        RESULTS.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
        RESULTS.with_suffix(".md").write_text(f"{heading}\n\n{render(rows)}\n")


def machine(bench: Bench) -> dict[str, Any]:
    """What it all runs on."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "bandwidth": bench.bandwidth,
        "ours": bench.take(ours("about")),
        "theirs": bench.take(theirs("about")[0]),
    }


def machine_line(seen: dict[str, Any]) -> str:
    mine, other = seen["ours"], seen["theirs"]
    return (
        f"{seen['cpu']}, {seen['cores']} cores; torch {mine['torch']} on {mine['threads']} threads, theirs {other['torch']} on "
        f"{other['threads']}; memory is read at {seen['bandwidth'] / 1e9:.1f} GB/s. Theirs is meshgpt-pytorch 1.8.1 with its default "
        "sizes. A ratio is how many times better ours is."
    )


if __name__ == "__main__":
    main()
