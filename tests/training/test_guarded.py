"""training.preparation.guarded: items that hang, die or raise in a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from training.preparation.guarded import CRASHED, TOO_LONG, guarded_map


def trouble(kind: str) -> str:
    """What a reader may do with a bad file."""
    if kind == "hang":
        time.sleep(60)
    if kind == "die":
        os._exit(11)
    if kind == "raise":
        raise RuntimeError("no")
    return kind + "!"


def start_another(path: str) -> None:
    """A reader that starts a process, as the one for .blend files does, and waits for it."""
    code = f"import time, pathlib; time.sleep(4); pathlib.Path({path!r}).touch()"
    subprocess.run([sys.executable, "-c", code], check=False)


def test_items_that_hang_die_or_raise_cost_nothing_but_themselves() -> None:
    items = ["a", "die", "b", "hang", "c", "raise", "d", "die", "e"]
    results = dict(guarded_map(trouble, items, processes=2, timeout=1.5))
    expected = {"die": CRASHED, "raise": CRASHED, "hang": TOO_LONG}
    assert [results[i] for i in range(len(items))] == [expected.get(item, item + "!") for item in items]


def test_what_a_worker_has_started_ends_with_it(tmp_path: Path) -> None:
    assert list(guarded_map(start_another, [str(tmp_path / "lived")], processes=1, timeout=1.0)) == [(0, TOO_LONG)]
    time.sleep(4.5)
    assert not (tmp_path / "lived").exists()
