"""What the autoencoder computes of faces without learning: grid indices, angles, areas and normals, and means over what is shared.

Letters: b batch, n faces, v corners of a face (3 or 4), c coordinates. A triangle among quads has no fourth corner.
"""

from __future__ import annotations

import torch
from torch import Tensor

Range = tuple[float, float]


def discretise(values: Tensor, limits: Range, count: int) -> Tensor:
    """The cell, 0..count-1, in which each value lies; `limits` are cut into `count` equal cells. What lies outside is clamped."""
    low, high = limits
    return ((values - low) / (high - low) * count).floor().clamp(0, count - 1).long()


def undiscretise(indices: Tensor, limits: Range, count: int) -> Tensor:
    """The middle of each cell, float32; the inverse of `discretise` up to half a cell."""
    low, high = limits
    return (indices.float() + 0.5) / count * (high - low) + low


def face_geometry(corners: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normal, size and angles of faces.

    corners: [n, v, 3] coordinates. present: [n, v], False for the corner that a triangle among quads lacks.
    Returns normals [n, 3] of length 1 (0 for a face without area), the square root of the area [n, 1], and the angle at each corner
    [n, v] in 0..pi (0 where absent). Finite for every face.
    """
    a, b, c, d = corners[:, 0], corners[:, 1], corners[:, 2], corners[:, -1]
    quad = present[:, 3:] if corners.shape[1] == 4 else present.new_zeros(len(present), 1)
    d = torch.where(quad, d, a)
    twice = torch.linalg.cross(b - a, c - a) + torch.linalg.cross(c - a, d - a)
    length = twice.norm(dim=-1, keepdim=True)
    here = torch.stack([a, b, c, d], 1)
    ahead = torch.stack([b, c, d, a], 1) - here
    back = torch.stack([torch.where(quad, d, c), a, b, c], 1) - here
    angles = torch.atan2(torch.linalg.cross(ahead, back).norm(dim=-1), (ahead * back).sum(-1))
    return twice / length.clamp(min=1e-12), (length / 2).sqrt(), angles[:, : corners.shape[1]].masked_fill(~present, 0)


def group_means(values: Tensor, group: Tensor) -> Tensor:
    """[groups, d] the means of the rows of values [rows, d] that belong together; group: [rows] which one, 0 and up, none left out."""
    count = torch.bincount(group)
    return values.new_zeros(len(count), values.shape[1]).index_add(0, group, values) / count[:, None]


def smoothed_targets(levels: int, deviation: float) -> Tensor:
    """[levels, levels] for each grid index the distribution asked for: a bell around it that sums to 1, one-hot at deviation 0."""
    if deviation == 0:
        return torch.eye(levels)
    index = torch.arange(levels)
    return (-((index[:, None] - index) ** 2) / (2 * deviation**2)).softmax(-1)
