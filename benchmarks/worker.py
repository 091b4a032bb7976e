"""The worker as Blender meets it: a process started, asked and measured from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.side import ROOT, Figures, resident_bytes
from core.protocol import PROTOCOL


def measure(prompt: str, requests: int) -> Figures:
    """Of one worker with the default model: seconds from its start to ready, and from each request to its first face and to its end;
    memory, in bytes, when ready and after the last request.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "core", "serve", "--log", os.devnull],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        send(process, type="hello", protocol=PROTOCOL)
        receive(process, "ready")
        ready, idle = time.perf_counter() - begin, resident_bytes(process.pid)
        first, whole = [], []
        for seed in range(requests):
            begin = time.perf_counter()
            send(process, type="generate", id=str(seed), text=prompt, seed=seed)
            receive(process, "faces")
            first.append(time.perf_counter() - begin)
            receive(process, "done")
            whole.append(time.perf_counter() - begin)
        return {"ready": ready, "resident_ready": idle, "first_face": first, "seconds": whole, "resident": resident_bytes(process.pid)}
    finally:
        process.kill()
        process.wait()


def send(process: subprocess.Popen[bytes], **message: Any) -> None:
    assert process.stdin
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def receive(process: subprocess.Popen[bytes], kind: str) -> None:
    """Read answers up to the first of that kind. Raises RuntimeError if the worker says that something went wrong, or ends."""
    assert process.stdout
    for line in process.stdout:
        answer = json.loads(line)
        if answer["type"] == kind:
            return
        if answer["type"] == "error":
            raise RuntimeError(f"the worker answered: {answer['message']}")
    raise RuntimeError("the worker ended")
