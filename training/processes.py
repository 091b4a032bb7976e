"""Several processes that train as one, on Hugging Face accelerate: how the weights lie over them, and what all of them must agree on.

Either every process has all weights (DDP), or the weights, their average and the optimisers' moments are shared out (FSDP).
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from x_transformers.x_transformers import Attention, FeedForward

from core.transformer import MeshTransformer
from training.run import PRECISIONS, bad_setting


def start(precision: str) -> Accelerator:
    """The accelerator of this process. precision: one of training.run.PRECISIONS. Without a GPU, processes speak over gloo."""
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=PRECISIONS[precision])


def over_processes(model: MeshTransformer, accelerator: Accelerator, shard: bool) -> nn.Module:
    """What to call instead of the model while training.

    shard: share the trained weights out, instead of giving every process all of them; those of a block are together only while it runs.
    Raises MeshGPTError (bad_setting) if they cannot be.
    """
    if not shard:
        prepared: nn.Module = accelerator.prepare_model(model)
        return prepared
    if model.config.reversible:
        raise bad_setting("a reversible stack runs its blocks anew on the way back, which sharded ones cannot", "use shard=false")
    if accelerator.num_processes == 1:
        raise bad_setting("shard is on, but there is one process", "start several, or use shard=false")
    options: dict[str, Any] = {
        "mesh": init_device_mesh(accelerator.device.type, (accelerator.num_processes,)),
        "ignored_params": {weight for weight in model.parameters() if not weight.requires_grad},
    }
    blocks = [module for module in model.coarse.modules() if isinstance(module, Attention | FeedForward)]
    towers = list(model.text.towers) if model.text else []
    for module in (*blocks, model.fine, *towers):
        fully_shard(module, **options)
    fully_shard(model, **options)
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")  # which nothing here changes in place
    return model


def together(accelerator: Accelerator, *numbers: float) -> list[float]:
    """The sums of the numbers over all processes, in single precision if there are several."""
    if accelerator.num_processes == 1:
        return list(numbers)
    total: Tensor = accelerator.reduce(torch.tensor(numbers, dtype=torch.float32, device=accelerator.device), "sum")
    return total.tolist()
