"""The two sides of the comparison, each a process of its own that measures when it is asked to.

`benchmarks.ours` and `benchmarks.theirs` call `answer` with what they can measure; a `Side` starts one of them and asks. A process stays
alive with its models warm, and only one works at a time, so that measurements can take turns and a slow minute of a shared machine hits
both sides. One JSON object a line goes each way. Only the standard library is needed here, for both environments import it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYTHON = {"ours": sys.executable, "theirs": str(ROOT / ".rival" / "bin" / "python")}

Figures = dict[str, Any]


class Side:
    """A process that measures. name: "ours" or "theirs".

    Use it in a `with` block. Raises FileNotFoundError if the environment it needs has not been made.
    """

    def __init__(self, name: str) -> None:
        if not Path(PYTHON[name]).exists():
            raise FileNotFoundError(f"{PYTHON[name]} does not exist; `make .rival/ready` makes it")
        self.name = name
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process is
        self.process = subprocess.Popen(
            [PYTHON[name], "-m", f"benchmarks.{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            text=True,
        )

    def ask(self, measurement: str, **arguments: Any) -> Figures:
        """The figures of one measurement. Raises RuntimeError, with what the process wrote last, if it failed."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"measurement": measurement, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{measurement} of {self.name} with {arguments} failed:\n{self.log.read()[-2000:]}")
        return json.loads(line)

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def answer(measurements: dict[str, Callable[..., Figures]]) -> None:
    """Take the measurements that standard input asks for until it ends; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        figures = measurements[asked["measurement"]](**asked["arguments"])
        answers.write(json.dumps(figures) + "\n")
        answers.flush()


def resident_bytes(process: int | str = "self", peak: bool = False) -> int:
    """What a process holds in memory, or the most that it held since `forget_peak`. Linux only."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def forget_peak() -> None:
    """Let the peak of this process be counted from now on."""
    Path("/proc/self/clear_refs").write_text("5")
