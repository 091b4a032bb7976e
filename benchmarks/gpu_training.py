"""Training on a graphics card: tokens a second, their share of what the card can calculate, and what activations take."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks.gpu_card import MB, Bench, Line
from benchmarks.gpu_models import network


def training(size: str, compiled: bool, bench: Bench) -> list[Line]:
    """Forward, backward and AdamW in bf16 on meshes of 800 faces, as many as fit up to 16."""
    model = network(bench, size, faces=bench.most(1024, 64)).to(bench.device).train()
    step_of = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=bench.cuda)
    faces, batch = bench.most(800, 8), bench.most(16, 2)
    while True:
        try:
            return [train_line(bench, size, compiled, model, step_of, optimizer, some_codes(model, batch, faces, bench))]
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        batch //= 2


def train_line(bench: Bench, size: str, compiled: bool, model: Any, step_of: Any, optimizer: Any, codes: torch.Tensor) -> Line:
    from torch.utils.flop_counter import FlopCounterMode

    def loss_backward(forward: Any) -> None:
        with torch.autocast(bench.device.type, torch.bfloat16):
            loss = forward(codes=codes)
        loss.backward()

    def step() -> None:
        loss_backward(step_of)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with FlopCounterMode(display=False) as counter:
        loss_backward(model)
    optimizer.zero_grad(set_to_none=True)
    with bench.peak() as peak:
        for _ in range(bench.most(3, 1)):
            step()
        seconds = median(bench.seconds(step) for _ in range(bench.most(10, 2)))
    rate = counter.get_total_flops() / seconds
    return {
        "what": f"{size}{', compiled' if compiled else ''}",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "batch": f"{len(codes)} x {codes.shape[1]} faces",
        "tokens/s": codes.numel() / seconds,
        "TFLOP/s": rate / 1e12,
        "share of the peak": rate / bench.card["bf16_flops"],
        **({"memory, MB": peak[0] / MB} if peak else {}),
    }


def some_codes(model: Any, batch: int, faces: int, bench: Bench) -> torch.Tensor:
    return torch.randint(0, model.codebook_size, (batch, faces, model.codes_per_face), device=bench.device)


def activations(faces: int, bench: Bench) -> list[Line]:
    """What one mesh's forward and backward pass in bf16 takes on top of weights and their gradients: 100M as it is, with a coarse stack
    that is reversible, and with the fine stack's layers worked out again on the way back beside.
    """
    faces = bench.most(faces, faces // 100)
    lines = []
    for what, reversible, again in (("as it is", False, False), ("reversible", True, False), ("reversible, fine layers again", True, True)):
        model = network(bench, "100M", faces=faces, reversible=reversible).to(bench.device).train()
        if again:
            work_out_again(model)
        codes = some_codes(model, 1, faces, bench)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        line: Line = {"what": f"100M, {what}", "faces": faces}
        try:
            with bench.peak() as peak:
                with torch.autocast(bench.device.type, torch.bfloat16):
                    loss = model(codes=codes)
                loss.backward()
            if peak:
                line |= {"memory, MB": (peak[0] - peak[1]) / MB, "KB a face": (peak[0] - peak[1]) / faces / 1e3}
        except torch.OutOfMemoryError:
            line |= {"error": "does not fit"}
        lines.append(line)
        del model
    return lines


def work_out_again(model: Any) -> None:
    from torch.utils.checkpoint import checkpoint

    for block in model.fine.blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
