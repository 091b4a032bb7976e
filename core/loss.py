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

    told: [rows, 6] what hints tell, for a head [d, vocabulary + 6] that says how far to trust them.
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
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, head = x.to(dtype), head.to(dtype)  # once, not for every part
        for (rows, wanted, said), grad in zip(in_parts(x, head, targets, told), x_grad.split(rows_at_once(head)), strict=True):
            logs = read_head(rows, head, said).log_softmax(-1)
            counted = (wanted != IGNORE)[:, None]
            place = wanted[:, None].clamp(min=0)
            total -= (logs.gather(1, place) * counted).sum()
            slopes = logs.exp_().scatter_add_(1, place, logs.new_full(place.shape, -1)).mul_(counted)
            if said is not None:
                slopes = torch.cat([slopes, F.pad(slopes, (0, 1)).gather(1, said)], 1)
            slopes = slopes.to(head.dtype)
            grad.copy_(slopes @ head.t())
            if slopes.dtype == head_grad.dtype:
                torch.addmm(head_grad, rows.t(), slopes, out=head_grad)
            else:
                head_grad += rows.t() @ slopes
        ctx.save_for_backward(x_grad, head_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_grad, head_grad = ctx.saved_tensors
        return grads[0] * x_grad, grads[0] * head_grad, None, None
