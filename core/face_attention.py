"""Attention between the faces of a mesh, for the autoencoder's encoder and decoder: to all of them at linear cost, then to near ones.

Faces come as one row [n, d], the meshes of a batch one behind the other; `mesh` [n] says which mesh each belongs to. Attention needs
meshes side by side, so the row is laid out, padded and masked, and put together again.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange
from taylor_series_linear_attention import TaylorSeriesLinearAttn
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from core.autoencoder_config import AutoencoderConfig


class AttentionBlocks(nn.Module):
    """`depth` blocks of linear attention (optional), local attention and feed-forward, each added to what came in."""

    def __init__(self, depth: int, width: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AttentionBlock(width, config) for _ in range(depth))

    def forward(self, x: Tensor, mesh: Tensor) -> Tensor:
        """[n, d] of faces x [n, d], those of a mesh among themselves."""
        if not self.blocks:
            return x
        place = torch.arange(len(mesh), device=mesh.device) - torch.searchsorted(mesh, mesh)
        shape = int(mesh[-1]) + 1, int(place.max()) + 1
        real = torch.zeros(shape, dtype=torch.bool, device=mesh.device)
        real[mesh, place] = True
        laid = x.new_zeros(*shape, x.shape[-1]).index_put((mesh, place), x)
        for block in self.blocks:
            laid = block(laid, real)
        return laid[mesh, place]


class AttentionBlock(nn.Module):
    """One block, over meshes side by side."""

    def __init__(self, width: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.linear = None
        if config.use_linear_attn:
            options = {"dropout": config.attn_dropout, **config.linear_attn_kwargs}
            self.norm = nn.LayerNorm(width)
            self.linear = TaylorSeriesLinearAttn(width, **options)
        self.local = LocalAttention(
            width, config.local_attn_window_size, dropout=config.attn_dropout, flash=config.flash_attn, **config.local_attn_kwargs
        )
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(config.ff_dropout), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """[b, n, d] of x [b, n, d]; real [b, n] is False for padding, which nothing looks at."""
        if self.linear is not None:
            with torch.autocast(x.device.type, enabled=False):  # it divides by what half precision takes for nothing
                x = x + self.linear(self.norm(x.float()), mask=real)
        x = x + self.local(x, real)
        fed: Tensor = self.feed_forward(x)
        return x + fed


class LocalAttention(nn.Module):
    """Attention of each face to those at most `window` places away, with rotary positions (Su et al. 2021).

    The row is cut into windows, and a window looks at itself and at its two neighbours, so that cost is linear in faces.
    flash: PyTorch may choose a fused kernel; otherwise the plain computation is made, which shows every step to a profiler.
    """

    def __init__(self, width: int, window: int, *, dim_head: int = 32, heads: int = 8, dropout: float = 0.0, flash: bool = True) -> None:
        super().__init__()
        self.window, self.heads, self.dropout, self.flash = window, heads, dropout, flash
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 3 * heads * dim_head, bias=False)
        self.leave = nn.Linear(heads * dim_head, width, bias=False)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """[b, n, d] of x [b, n, d]; real [b, n] is False for padding, which is not attended to."""
        (b, n, _), w = x.shape, self.window
        query, key, value = rearrange(self.enter(self.norm(x)), "b n (qkv h d) -> qkv b h n d", qkv=3, h=self.heads)
        query, key = rotated(query), rotated(key)
        spare = -n % w  # to fill the last window
        query = rearrange(F.pad(query, (0, 0, 0, spare)), "b h (s w) d -> (b s) h w d", w=w)
        key, value = (surroundings(F.pad(t, (0, 0, 0, spare)), w) for t in (key, value))
        seen = surroundings(F.pad(real, (0, spare))[:, None, :, None].float(), w)[:, 0, :, 0] > 0
        place = torch.arange(3 * w, device=x.device)
        distance = (place - place[w : 2 * w, None]).abs()
        mask = (seen[:, None] & (distance <= w)) | (distance == 0)  # padding looks at itself, for a row must look at something
        dropout = self.dropout if self.training else 0.0
        with nullcontext() if self.flash else sdpa_kernel(SDPBackend.MATH):
            found = F.scaled_dot_product_attention(query, key, value, mask[:, None], dropout)
        found = rearrange(found, "(b s) h w d -> b (s w) (h d)", b=b)[:, :n]
        left: Tensor = self.leave(found)
        return left


def surroundings(x: Tensor, window: int) -> Tensor:
    """[b windows, h, 3 window, d] what each window of x [b, h, n, d] sees: the window before, itself, and the one behind."""
    padded = F.pad(x, (0, 0, window, window))
    return rearrange(padded.unfold(2, 3 * window, window), "b h s d w -> (b s) h w d")


def rotated(x: Tensor) -> Tensor:
    """x [.., n, d] turned by its place, so that products of two depend on how far apart they stand."""
    half = x.shape[-1] // 2
    rate = 10_000 ** -(torch.arange(half, device=x.device) / half)
    angle = torch.arange(x.shape[-2], device=x.device)[:, None] * rate
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    one, two = x[..., :half], x[..., half:]
    return torch.cat([one * cos - two * sin, one * sin + two * cos], -1)
