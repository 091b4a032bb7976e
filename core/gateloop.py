"""Gate loops: layers that carry a running sum along a sequence, before or after attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GateLoop(nn.Module):
    """h = a h' + x along a sequence, with gates a in 0..1 that depend on the input, and h read through a third projection.

    GateLoop (Katsch 2023) without its complex phase. The recurrence is worked out by doubling, in log2(length) steps of products and
    sums; nothing is divided by a gate and no logarithm is taken, so that half precision stays finite.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(dim)
        self.project = nn.Linear(dim, 3 * dim, bias=False)

    def forward(self, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [b, length, d] with the layer's answer added, and the last h [b, d], from which the next call goes on as `before`."""
        read, value, gate = self.project(self.norm(x)).chunk(3, -1)
        gate = gate.sigmoid()
        if before is not None:
            value = torch.cat([value[:, :1] + gate[:, :1] * before[:, None].to(value.dtype), value[:, 1:]], 1)
        step = 1
        while step < x.shape[1]:
            earlier = F.pad(value[:, :-step], (0, 0, step, 0))
            value = value + gate * earlier
            gate = gate * F.pad(gate[:, :-step], (0, 0, step, 0))
            step *= 2
        return x + read * value, value[:, -1]


class GateLoops(nn.ModuleList):
    """`depth` gate loops one behind the other; none is a wire."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__(GateLoop(dim) for _ in range(depth))

    def forward(self, x: Tensor, memory: list[Tensor] | None = None) -> Tensor:
        """x: [b, length, d]. memory: one h a layer, empty before the first call; what is there is gone on from and replaced."""
        states = []
        for i, layer in enumerate(self):
            x, state = layer(x, memory[i] if memory else None)
            states.append(state)
        if memory is not None:
            memory[:] = states
        return x
