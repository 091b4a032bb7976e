"""Which device to compute on, and what to do where it fails: the CPU takes over, and one sentence says why.

A graphics card can be too old for the build of torch, its driver too old or missing, its memory taken by another program, such as a
renderer, and it can vanish in the middle of a mesh. None of that may cost more than time.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from core.errors import MeshGPTError

T = TypeVar("T")

DEVICE_ERRORS = re.compile(r"CUDA (driver|error)|CUBLAS|cuBLAS|cuDNN|NVML|NVIDIA (driver|GPU)|no kernel image|compiled with CUDA")
ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)")
MB = 2**20
log = logging.getLogger("meshgpt")


@dataclass(frozen=True)
class Choice:
    """A device that works. note: why it is not the one that was asked for, a sentence without a full stop; "" if it is."""

    device: str
    note: str = ""


def choose(name: str) -> Choice:
    """The device of that name, "cpu", "cuda", "cuda:1", "mps", or for "auto" the best that works. A card that does not gives the CPU.

    Raises MeshGPTError (bad_device) for a name that stands for nothing here.
    """
    kind = name.split(":")[0]
    others = ["mps"] * torch.backends.mps.is_available()
    if kind in ("cpu", *others):
        return Choice(name)
    cards, complaint = count_cards()
    if name == "auto" and not cards:
        return Choice(others[0] if others else "cpu", complaint and taken_over(complaint))
    if (kind != "cuda" and name != "auto") or (not cards and not complaint) or (cards and number(name) >= cards):
        there = ["auto", *[f"cuda:{card}" for card in range(cards)], *others, "cpu"]
        raise MeshGPTError(f"there is no device {name!r} here", hint=f"use {' or '.join(there)}", code="bad_device")
    device = "cuda" if name == "auto" else name
    reason = complaint if not cards else too_old(number(name)) or out_of_order(device)
    if reason is None:
        return Choice(device)
    log.warning("%s", reason)
    return Choice("cpu", taken_over(reason))


def number(name: str) -> int:
    """Of the card in a name such as "cuda:1"."""
    _, _, digits = name.partition(":")
    return int(digits) if digits.isdecimal() else 0


def count_cards() -> tuple[int, str]:
    """How many CUDA devices torch can use, and what it complains of if there are none although it was built for them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    complaints = [str(warning.message) for warning in caught if DEVICE_ERRORS.search(str(warning.message))]
    return cards, f"the graphics card cannot be used ({shortened(complaints[0])})" if complaints and not cards else ""


def too_old(card: int) -> str | None:
    """Why this build of torch has no code for a card, or None if it has.

    Machine code runs on cards of the same generation that are not older; PTX, called "compute_90", on all later ones too.
    """
    have = torch.cuda.get_device_capability(card)
    built = [(kind, (int(digits[:-1]), int(digits[-1]))) for kind, digits in ARCHITECTURE.findall(" ".join(torch.cuda.get_arch_list()))]
    if not built or any(of <= have and (kind == "compute" or of[0] == have[0]) for kind, of in built):
        return None
    known = ", ".join(f"{major}.{minor}" for major, minor in sorted({of for _, of in built}))
    return f"{torch.cuda.get_device_name(card)} has compute capability {have[0]}.{have[1]}, and this build of torch was made for {known}"


def out_of_order(device: str) -> str | None:
    """Why a first small piece of work fails on a device, or None if it does not."""
    try:
        float(torch.ones(8, 8, device=device).mm(torch.ones(8, 8, device=device)).sum())
    except RuntimeError as error:
        return failure(error) or f"the graphics card cannot be used ({shortened(str(error))})"
    return None


def failure(error: BaseException) -> str | None:
    """What is wrong with the graphics card, if that is what an exception of torch's says; None for every other."""
    if isinstance(error, torch.OutOfMemoryError):
        return f"the graphics card's memory is full{free_memory()}"
    broken = isinstance(error, getattr(torch, "AcceleratorError", ())) or (
        isinstance(error, RuntimeError) and DEVICE_ERRORS.search(str(error))
    )
    if not broken:
        return None
    if "out of memory" in str(error):
        return f"the graphics card's memory is full{free_memory()}"
    return f"the graphics card stopped working ({shortened(str(error))})"


def free_memory() -> str:
    try:
        free, total = torch.cuda.mem_get_info()
    except (RuntimeError, AssertionError):  # it does not answer
        return ""
    return f", {free // MB} of its {total // MB} MB are free"


def shortened(text: str) -> str:
    """The first line of what torch says, without advice for programmers."""
    return text.strip().splitlines()[0].strip().rstrip(".")[:160] if text.strip() else "no reason given"


def taken_over(reason: str) -> str:
    return f"{reason}; the CPU is used instead"


def or_on_cpu(work: Callable[[], T], move: Callable[[str], None]) -> T:
    """What `work` gives. Should the graphics card fail it, `move` is told why, as a note, and has to see that the work can be done on the
    CPU, where it begins anew. Raises what `work` raises for other reasons.
    """
    try:
        return work()
    except RuntimeError as error:
        reason = failure(error)
        if reason is None:
            raise
        log.warning("%s", reason, exc_info=error)
    move(taken_over(reason))  # here, where the exception no longer holds on to what was on the card
    give_back()
    return work()


def give_back() -> None:
    """Give memory that torch keeps ready on the graphics card back, if it still answers."""
    try:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
    except RuntimeError:
        log.warning("the graphics card does not answer")
