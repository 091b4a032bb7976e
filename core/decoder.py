"""The autoencoder's decoder: from quantised corners along the row of faces to logits over the grid.

The meshes of a batch lie one behind the other with empty faces between, as many as the widest convolution reaches, so that no mesh sees
another. Letters: n faces, v corners of a face, c coordinates, d width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.encoder import SLOW, zeroed
from core.face_attention import AttentionBlocks

if TYPE_CHECKING:
    from core.autoencoder_config import AutoencoderConfig


class FaceDecoder(nn.Module):
    """Optional attention, then a residual network of 1D convolutions (as in MeshGPT), then places.

    A corner's place is read straight off its codes, and the network shifts it by some grid steps. The logits of a coordinate fall off on
    both sides of the place, at a rate that is predicted too, so that one corner teaches all grid points at once; free logits are added.
    """

    def __init__(self, config: AutoencoderConfig, reading: tuple[Tensor, Tensor]) -> None:
        """reading: [c, d] and [c] the linear map from a corner's vector to its place, -1..1, that the decoder starts from."""
        super().__init__()
        v, width, dims = config.vertices_per_face, config.dim_codebook, config.decoder_dims_through_depth
        self.levels, self.gap = config.num_discrete_coors, max(1, config.init_decoder_conv_kernel // 2)
        self.absent = nn.Parameter(torch.zeros(width)) if config.quads else None
        self.near = nn.Sequential(ResidualPerceptron(width), ResidualPerceptron(width))
        self.attention = AttentionBlocks(config.attn_decoder_depth, v * width, config)
        self.enter = nn.Conv1d(v * width, dims[0], config.init_decoder_conv_kernel, padding=config.init_decoder_conv_kernel // 2)
        self.noise = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, dims[0])) if config.denoise_sigma else None
        self.blocks = nn.ModuleList(ResidualBlock(before, after, config.resnet_dropout) for before, after in pairwise(dims))
        self.norm = nn.LayerNorm(dims[-1])
        self.leave = zeroed(nn.Linear(dims[-1], v * width))
        self.last = ResidualPerceptron(width)
        self.place = nn.Linear(width, 3)
        self.place.weight.data, self.place.bias.data = (part / SLOW for part in reading)
        self.shift = zeroed(nn.Linear(width, 2 * 3))  # of the place, then the rate at which logits fall off around it
        self.free = nn.Sequential(nn.LayerNorm(width), zeroed(nn.Linear(width, 3 * config.num_discrete_coors)))

    def forward(self, quantised: Tensor, present: Tensor, mesh: Tensor, noise: Tensor) -> Tensor:
        """Logits [corners, c, levels] of quantised corners [corners, d], those that are present [n, v].

        mesh: [n] which mesh each face belongs to, rising. noise: [n] in 0..1, how much its vertices were moved (see `denoise_sigma`).
        """
        near = self.near(quantised)
        faces = near.unflatten(0, present.shape) if self.absent is None else self.with_absent(near, present)
        x = self.attention(faces.flatten(1), mesh)
        slot = torch.arange(len(mesh), device=mesh.device) + self.gap * mesh
        length = len(mesh) + self.gap * (int(mesh[-1]) + 1)
        real = torch.zeros(length, dtype=torch.bool, device=mesh.device).index_fill(0, slot, True)
        x = self.enter(x.new_zeros(length, x.shape[-1]).index_copy(0, slot, x).T)
        if self.noise is not None:
            x = x + x.new_zeros(x.shape).index_copy(1, slot, self.noise(noise[:, None]).T.to(x.dtype))
        for block in self.blocks:
            x = block(x, real)
        told = self.leave(F.silu(self.norm(x.T[slot]))).unflatten(-1, (present.shape[1], -1))
        return self.logits(quantised, self.last(near + told[present]))

    def with_absent(self, near: Tensor, present: Tensor) -> Tensor:
        """[n, v, d] corners near [corners, d] at their places, and at the others what stands for an absent one."""
        assert self.absent is not None
        return self.absent.to(near.dtype).expand(*present.shape, -1).masked_scatter(present[..., None], near)

    def logits(self, quantised: Tensor, corners: Tensor) -> Tensor:
        """[corners, c, levels] float32 of corners by their codes alone [corners, d], and as the network sees them [corners, d]."""
        with torch.autocast(corners.device.type, enabled=False):  # half precision is coarser than the grid
            shift, rate = self.shift(corners.float()).chunk(2, -1)
            place = (self.levels - 1) / 2 * (1 + SLOW * self.place(quantised.float())) + shift
        steps = torch.arange(self.levels, device=corners.device) - place[..., None]
        width = (1 - rate.clamp(-3, 3)).exp()[..., None]
        logits: Tensor = self.free(corners).float().unflatten(-1, (3, -1)) - 3 * (1 + (steps / width).square()).sqrt()
        return logits


class ResidualBlock(nn.Module):
    """Two convolutions over three faces, each behind a norm of the single face, added to what came in."""

    def __init__(self, before: int, after: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in (before, after))
        self.convolutions = nn.ModuleList(nn.Conv1d(width, after, 3, padding=1) for width in (before, after))
        self.dropout = nn.Dropout(dropout)
        self.across = nn.Identity() if before == after else nn.Conv1d(before, after, 1)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """[after, n] of x [before, n]; real [n] is False where a face is empty."""
        y = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = convolution(self.dropout(F.silu(norm(y.T))).T * real)
        added: Tensor = self.across(x)
        return added + y


class ResidualPerceptron(nn.Module):
    """A layer between two matrices, added to what came in; at first it adds nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), zeroed(nn.Linear(2 * width, width)))

    def forward(self, x: Tensor) -> Tensor:
        """[.., d] of x [.., d]."""
        added: Tensor = self.inner(x)
        return x + added
