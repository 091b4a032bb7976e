"""A stack of x-transformers' layers whose memory for activations does not grow with depth (Gomez et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import get_device_states, set_device_states
from x_transformers import Decoder
from x_transformers.x_transformers import LayerIntermediates

Branch = Callable[[Tensor], Tensor]


class ReversibleDecoder(Decoder):  # type: ignore[misc]
    """x-transformers' Decoder with two residual streams, each layer added to one of them from the other in turn (Gomez et al. 2017).

    What went into a layer is recomputed from what came out, so that the memory for activations does not grow with depth. Same
    parameters as the plain stack; not the same function.
    """

    def forward(
        self,
        x: Tensor,
        *,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        condition: Tensor | None = None,
        attn_bias: Tensor | None = None,
        cache: LayerIntermediates | None = None,
        return_hiddens: bool = False,
    ) -> Any:
        """As AttentionLayers.forward with those arguments; `cache` is what `return_hiddens` gave before."""
        done = cache.cache_length if cache else 0
        if cache and context is not None:
            context = context[:, :0]  # its keys and values are in the cache
        rotary = self.rotary_pos_emb(torch.arange(done + x.shape[1], device=x.device))
        normed = {} if condition is None else {"condition": rearrange(condition, "b d -> b 1 d")}
        kinds = {
            "a": {"rotary_pos_emb": rotary, "attn_bias": attn_bias, "return_intermediates": True},
            "c": {"context": context, "context_mask": context_mask, "return_intermediates": True},
            "f": {},
        }
        before = iter(cache.attn_intermediates if cache else ())
        kept: list[Any] = []

        def branch(kind: str, norm: nn.Module, block: nn.Module, x: Tensor) -> Tensor:
            if kind == "f":
                answer: Tensor = block(norm(x, **normed))
                return answer
            answer, layer = block(norm(x, **normed), cache=next(before, None), **kinds[kind])
            if return_hiddens:
                kept.append(layer)
            return answer

        branches = [partial(branch, kind, norms[0], block) for kind, (norms, block, _) in zip(self.layer_types, self.layers, strict=True)]
        if torch.is_grad_enabled() and not return_hiddens:
            shared = [t for t in (context, condition, attn_bias) if t is not None and t.requires_grad]
            first, second = Reversible.apply(branches, x, *shared, *self.layers.parameters())
        else:
            first, second = two_streams(branches, x)
        out = self.final_norm(first + second, **normed)
        return (out, LayerIntermediates(attn_intermediates=kept, cache_length=done + x.shape[1])) if return_hiddens else out


def two_streams(branches: Sequence[Branch], x: Tensor) -> tuple[Tensor, Tensor]:
    """Both residual streams after all branches: even ones read the second stream and are added to the first, odd ones the reverse."""
    streams = [x, x]
    for i, branch in enumerate(branches):
        streams[i % 2] = streams[i % 2] + branch(streams[1 - i % 2])
    return streams[0], streams[1]


class Reversible(torch.autograd.Function):
    """`two_streams` that keeps nothing but its result. Gradients reach x, the tensors shared by all branches, and the parameters."""

    @staticmethod
    def forward(ctx: Any, branches: Sequence[Branch], x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        ctx.branches, ctx.tensors, ctx.random = branches, tensors, []
        ctx.autocast = torch.is_autocast_enabled(x.device.type), torch.get_autocast_dtype(x.device.type)

        def noted(branch: Branch, x: Tensor) -> Tensor:
            ctx.random.append((torch.get_rng_state(), *get_device_states(x)))
            return branch(x)

        streams = two_streams([partial(noted, branch) for branch in branches], x)
        ctx.save_for_backward(*streams)
        return streams

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        streams, gradients = list(ctx.saved_tensors), list(grads)
        wanted = [t for t in ctx.tensors if t.requires_grad]
        sums: list[Tensor | None] = [None] * len(wanted)
        enabled, dtype = ctx.autocast
        devices = get_device_states(streams[0])[0]
        with torch.random.fork_rng(devices):
            for i in reversed(range(len(ctx.branches))):
                state, *device_states = ctx.random[i]
                torch.set_rng_state(state)  # the same dropout as on the way forward
                set_device_states(*device_states)
                source = streams[1 - i % 2].detach().requires_grad_()
                with torch.enable_grad(), torch.autocast(source.device.type, dtype, enabled):
                    answer = ctx.branches[i](source)
                streams[i % 2] = streams[i % 2] - answer.detach()
                found = torch.autograd.grad(answer, [source, *wanted], gradients[i % 2].to(answer.dtype), allow_unused=True)
                gradients[1 - i % 2] = gradients[1 - i % 2] + found[0]
                sums = [added(old, new) for old, new in zip(sums, found[1:], strict=True)]
        answers = iter(sums)
        return None, gradients[0] + gradients[1], *(next(answers) if t.requires_grad else None for t in ctx.tensors)


def added(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    """Their sum, None standing for zero."""
    return new if old is None else old if new is None else old + new
