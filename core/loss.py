"""Cross entropy under logits x @ head, of which few exist at a time: with a codebook of thousands they would be most of a step's memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.symbols import IGNORE

LOGITS_AT_ONCE = 1 << 23


def cross_entropies(x: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """[rows] nats of targets [rows], 0 where they are IGNORE, under the logits x [rows, d] @ head [d, vocabulary]."""
    size = max(1, LOGITS_AT_ONCE // head.shape[1])
    parts = zip(x.split(size), targets.split(size), strict=True)
    return torch.cat([F.cross_entropy((rows @ head).float(), wanted, ignore_index=IGNORE, reduction="none") for rows, wanted in parts])


class SummedCrossEntropy(torch.autograd.Function):
    """The sum of `cross_entropies`. Its gradients are worked out on the way forward, while the logits are there, and only scaled later."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros((), device=x.device)
        x_grad, head_grad = torch.empty_like(x), torch.zeros_like(head)
        size = max(1, LOGITS_AT_ONCE // head.shape[1])
        for rows, wanted, grad in zip(x.split(size), targets.split(size), x_grad.split(size), strict=True):
            logits = (rows @ head).float()
            counted = (wanted != IGNORE)[:, None]
            place = wanted[:, None].clamp(min=0)
            normaliser = logits.logsumexp(-1, keepdim=True)
            total += ((normaliser - logits.gather(1, place)) * counted).sum()
            chances = logits.sub_(normaliser).exp_().scatter_add_(1, place, torch.full_like(normaliser, -1)).mul_(counted)
            grad.copy_(chances.to(head.dtype) @ head.t())
            head_grad += rows.t() @ chances.to(rows.dtype)
        ctx.save_for_backward(x_grad, head_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_grad, head_grad = ctx.saved_tensors
        return grads[0] * x_grad, grads[0] * head_grad, None
