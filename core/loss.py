"""Cross entropy under logits x @ head, of which few exist at a time: with a codebook of thousands they would be most of a step's memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.hints import point
from core.symbols import IGNORE

LOGITS_AT_ONCE = 1 << 23


def cross_entropies(x: Tensor, head: Tensor, targets: Tensor, told: Tensor | None = None) -> Tensor:
    """[rows] nats of targets [rows], 0 where they are IGNORE, under the logits x [rows, d] @ head [d, vocabulary].

    told: [rows, 4] what hints tell, for a head [d, vocabulary + 4] that says how far to trust them.
    """
    parts = in_parts(x, head, targets, told)
    nats = [F.cross_entropy(read_head(rows, head, said), wanted, ignore_index=IGNORE, reduction="none") for rows, wanted, said in parts]
    return torch.cat(nats)


def read_head(x: Tensor, head: Tensor, told: Tensor | None) -> Tensor:
    """[rows, vocabulary] logits, for x, head and told as above."""
    scores = (x @ head).float()
    return scores if told is None else point(scores, told)


def in_parts(x: Tensor, head: Tensor, targets: Tensor, told: Tensor | None) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """x, targets and told, a few rows at a time."""
    size = rows_at_once(head)
    parts = x.split(size)
    return zip(parts, targets.split(size), [None] * len(parts) if told is None else told.split(size), strict=True)


def rows_at_once(head: Tensor) -> int:
    return max(1, LOGITS_AT_ONCE // head.shape[1])


class SummedCrossEntropy(torch.autograd.Function):
    """The sum of `cross_entropies`. Its gradients are worked out on the way forward, while the logits are there, and only scaled later."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, targets: Tensor, told: Tensor | None) -> Tensor:
        total = torch.zeros((), device=x.device)
        x_grad, head_grad = torch.empty_like(x), torch.zeros_like(head)
        for (rows, wanted, said), grad in zip(in_parts(x, head, targets, told), x_grad.split(rows_at_once(head)), strict=True):
            chances = read_head(rows, head, said)
            counted = (wanted != IGNORE)[:, None]
            place = wanted[:, None].clamp(min=0)
            normaliser = chances.logsumexp(-1, keepdim=True)
            total += ((normaliser - chances.gather(1, place)) * counted).sum()
            chances = chances.sub_(normaliser).exp_().scatter_add_(1, place, torch.full_like(normaliser, -1)).mul_(counted)
            if said is not None:
                chances = torch.cat([chances, F.pad(chances, (0, 1)).gather(1, said)], 1)
            grad.copy_(chances.to(head.dtype) @ head.t())
            head_grad += rows.t() @ chances.to(rows.dtype)
        ctx.save_for_backward(x_grad, head_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_grad, head_grad = ctx.saved_tensors
        return grads[0] * x_grad, grads[0] * head_grad, None, None
