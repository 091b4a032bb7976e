"""From a phrase to a mesh in Blender: out/<phrase>.blend, .glb and .png.

    python demo/demo.py "a round wooden table" --seed 3 --out out
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from session import addon, blender, make, quiet


def main() -> None:
    parser = argparse.ArgumentParser(description="Make one mesh in Blender, without a window, and picture it.")
    parser.add_argument("prompt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the files")
    arguments = parser.parse_args()
    with blender() as bpy:
        from render import render

        started = time.perf_counter()
        made = make(bpy, arguments.prompt, arguments.seed)
        seconds = time.perf_counter() - started
        batch = addon("batch")
        arguments.out.mkdir(parents=True, exist_ok=True)
        glb = batch.output_file(arguments.out, arguments.prompt)
        with quiet():
            files = [*batch.save([made], glb.with_suffix(".blend")), *batch.save([made], glb), glb.with_suffix(".png")]
            render([made], files[-1])
        faces, vertices = len(made.data.polygons), len(made.data.vertices)
        rejected, drawn = made["meshgpt_rejected"], made["meshgpt_drawn"]
    size = f"{faces} faces, {vertices} vertices"
    print(f"{arguments.prompt}: {size}, {seconds:.1f} seconds, seed {arguments.seed}, {rejected} of {drawn} samples rejected")
    print(*files, sep="\n")


if __name__ == "__main__":
    main()
