"""meshgpt-pytorch on a graphics card, asked in a process of its own: the environment that `make bench` makes, or this one if it has it."""

# mypy: disable-error-code="import-untyped,import-not-found"
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.gpu_card import MB, MS, Bench, Line
from benchmarks.side import PYTHON, ROOT


def theirs(bench: Bench, streams: int) -> list[Line]:
    """meshgpt-pytorch with its default sizes and random weights. streams: of its residual stream, 4 as it ships."""
    python = PYTHON["theirs"] if Path(PYTHON["theirs"]).exists() else sys.executable
    lines = []
    for batch, faces in ((1, bench.most(60, 2)), (8, bench.most(30, 2)))[: 1 if bench.small else 2]:
        asked = {"streams": streams, "batch": batch, "faces": faces, "device": str(bench.device)}
        done = subprocess.run(
            [python, "-m", "benchmarks.gpu_theirs", json.dumps(asked)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))},
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode}")
        figures = json.loads(done.stdout.strip().splitlines()[-1])
        shape = "as it ships" if streams == 4 else "1 stream"
        lines.append({"what": f"meshgpt-pytorch 512/12, {shape}", "batch": batch, **figures})
    return lines


def measure(streams: int, batch: int, faces: int, device: str) -> Line:
    """Runs in their environment."""
    from benchmarks import theirs as rival

    bench = Bench(torch.device(device), small=False)
    model = rival.transformer(streams).to(device)

    def sample_from(logits: torch.Tensor) -> torch.Tensor:
        logits = rival.top_k(torch.nan_to_num(logits))  # random weights overflow with 4 streams
        logits[:, -1] = -torch.finfo(logits.dtype).max
        return logits

    def generate(count: int) -> None:
        length = rival.CODES_A_FACE * count
        model.generate(batch_size=batch, max_seq_len=length, return_codes=True, cache_kv=True, filter_logits_fn=sample_from)

    generate(1)
    with bench.peak() as peak:
        first = bench.seconds(lambda: generate(1))
        seconds = min(bench.seconds(lambda: generate(faces)) for _ in range(2))
    return {"faces/s": batch * faces / seconds, "first face, ms": first * MS, **({"memory, MB": peak[2] / MB} if peak else {})}


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
