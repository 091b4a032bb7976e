"""Work on many items, some of them bad: each in a worker process, with a limit of time, so that nothing an item does ends the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

TOO_LONG = "took too long"
CRASHED = "crashed its reader"

CONTEXT = multiprocessing.get_context("spawn")  # the same on every system, and no worker holds another's pipe


@dataclass(eq=False)
class Worker:
    """A process, this end of the pipe to it, the number of the item it has, and when its time is over."""

    process: SpawnProcess
    pipe: Connection
    item: int
    deadline: float

    def stop(self) -> None:
        """End the process and what it has started."""
        with suppress(ProcessLookupError, PermissionError, AttributeError):  # it may be gone, or the system may know no groups
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def guarded_map(function: Callable[[Any], Any], items: Sequence[Any], processes: int, timeout: float) -> Iterator[tuple[int, Any]]:
    """The number of each item and what `function` makes of it, in the order in which they are done.

    In place of a result stands TOO_LONG after `timeout` seconds, and CRASHED where `function` raised or its process died. function,
    items and results can be pickled.
    """
    waiting = list(range(len(items)))[::-1]
    idle: list[Worker] = []
    busy: list[Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < processes:
                worker = idle.pop() if idle else start(function)
                worker.item, worker.deadline = waiting.pop(), time.monotonic() + timeout
                with suppress(OSError):  # a worker that died is found dead below
                    worker.pipe.send(items[worker.item])
                busy.append(worker)
            ready = wait([worker.pipe for worker in busy], max(0.0, min(worker.deadline for worker in busy) - time.monotonic()))
            for worker in list(busy):
                if worker.pipe in ready:
                    busy.remove(worker)
                    try:
                        result = worker.pipe.recv()
                        idle.append(worker)
                    except (EOFError, OSError):
                        result = CRASHED
                        worker.stop()
                    yield worker.item, result
                elif time.monotonic() > worker.deadline:
                    busy.remove(worker)
                    worker.stop()
                    yield worker.item, TOO_LONG
    finally:
        for worker in idle + busy:
            worker.stop()


def start(function: Callable[[Any], Any]) -> Worker:
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=work, args=(function, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the pipe ends when the worker does
    ours.recv()  # its first item's time does not run while it starts
    return Worker(process, ours, -1, 0.0)


def work(function: Callable[[Any], Any], pipe: Connection) -> None:
    """What a worker does until the pipe ends."""
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, so that what a reader has started ends with it
    with suppress(EOFError, OSError):
        pipe.send(None)
        while True:
            item = pipe.recv()
            try:
                result = function(item)
            except Exception:
                result = CRASHED
            pipe.send(result)
