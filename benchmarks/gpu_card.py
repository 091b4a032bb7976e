"""A graphics card as rows meet it: where to measure, how to time and weigh what runs there, and what the card can do at most."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

MB, MS, US = 1e6, 1e3, 1e6

Line = dict[str, Any]  # a line of one of benchmarks.gpu's tables: figures by column


@dataclass
class Bench:
    """What rows need: where to measure, whether small, and what the card was measured to do."""

    device: torch.device
    small: bool
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Until the device is done with it."""
        self.wait()
        begin = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - begin

    @contextmanager
    def peak(self) -> Iterator[list[float]]:
        """Appends bytes: the most that tensors took meanwhile, what they took before, the most that torch held; nothing without a GPU."""
        found: list[float] = []
        if self.cuda:
            self.wait()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device) if self.cuda else 0
        yield found
        if self.cuda:
            self.wait()
            found += [torch.cuda.max_memory_allocated(self.device), before, torch.cuda.max_memory_reserved(self.device)]

    def most(self, full: int, small: int) -> int:
        return small if self.small else full


def measure_card(bench: Bench) -> dict[str, Any]:
    """Its name, and its ceilings: bytes a second of a copy, operations a second of a matrix product, seconds of a node of a graph."""
    numbers = bench.most(2**30, 2**22)
    block = torch.randn(numbers // 4, device=bench.device)
    other = torch.empty_like(block)
    size = bench.most(8192, 256)
    one = torch.randn(size, size, device=bench.device, dtype=torch.bfloat16)
    copy, product = (median(bench.seconds(work) for _ in range(10)) for work in (lambda: other.copy_(block), lambda: one @ one))
    card = {
        "name": torch.cuda.get_device_name(bench.device) if bench.cuda else platform.processor() or "CPU",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "bytes_a_second": 2 * block.nbytes / copy,
        "bf16_flops": 2 * size**3 / product,
        "node_seconds": node_seconds(bench),
    }
    if bench.cuda:
        card |= {
            "memory": torch.cuda.get_device_properties(bench.device).total_memory,
            "l2": torch.cuda.get_device_properties(bench.device).L2_cache_size,
        }
    return card


def node_seconds(bench: Bench) -> float:
    """Of an operation on hardly anything that waits for the one before, in a graph; without a GPU of the operation alone."""
    x, count = torch.zeros(32, device=bench.device), 1000

    def chain() -> None:
        for _ in range(count):
            x.add_(1)

    chain()
    if not bench.cuda:
        return bench.seconds(chain) / count
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        chain()
    return median(bench.seconds(graph.replay) for _ in range(10)) / count
