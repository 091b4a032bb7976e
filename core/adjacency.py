"""Which faces are neighbours: the graph along which the autoencoder's encoder passes messages from face to face.

Corners, or pairs of corners, are sorted, so that the faces that share one lie side by side; faces that share nothing never meet.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def face_adjacency(faces: Tensor, *, shared: int = 2, include_self: bool = False) -> Tensor:
    """Pairs of faces that have at least `shared` vertices in common.

    faces: [n, v] or [b, n, v] vertex indices, v 3 or 4; -1 pads the absent corner of a triangle among quads, and a whole face of -1
    pads a mesh of a batch. shared: 2 for a common edge (or diagonal), 1 for a common vertex.
    include_self: every face that is not padding is also a neighbour of itself.
    Returns [2, pairs] face indices, both directions, each pair once, sorted. In a batch, face i of mesh b is b * n + i,
    and pairs stay within a mesh. Time and memory O(pairs log pairs).
    Raises ValueError if the shape is another, `shared` is neither 1 nor 2, or an index is below -1.
    """
    if shared not in (1, 2):
        raise ValueError(f"shared is {shared}; use 2 for a common edge or 1 for a common vertex")
    if faces.ndim not in (2, 3) or faces.shape[-1] not in (3, 4):
        raise ValueError(f"faces have shape {list(faces.shape)}; use [faces, 3 or 4] or [meshes, faces, 3 or 4]")
    if not faces.numel():
        return faces.new_zeros(2, 0)
    if faces.min() < -1:
        raise ValueError(f"faces have index {int(faces.min())}; indices must be 0 or more, or -1 for padding")

    faces = apart(faces)
    keys, owners = corner_keys(faces, shared)
    first, second = pairs_within_groups(keys, owners)
    pairs = (first * len(faces) + second)[first != second]
    if include_self:
        pairs = torch.cat([pairs, (faces >= 0).any(1).nonzero()[:, 0] * (len(faces) + 1)])
    pairs = torch.unique(pairs)
    return torch.stack([pairs // len(faces), pairs % len(faces)])


def derive_face_edges_from_faces(
    faces: Tensor, pad_id: int = -1, neighbor_if_share_one_vertex: bool = False, include_self: bool = True
) -> Tensor:
    """The neighbours among the faces of each mesh, to be kept beside the mesh and given to MeshAutoencoder as `face_edges`.

    faces: [n, v] or [b, n, v], padded with pad_id. Returns [e, 2] or [b, e, 2], sorted; meshes with fewer pairs are padded with pad_id.
    The defaults are what MeshAutoencoder derives by itself. Raises ValueError as `face_adjacency` does.
    """
    faces = torch.where(faces == pad_id, -1, faces)
    shared = 1 if neighbor_if_share_one_vertex else 2
    edges = face_adjacency(faces, shared=shared, include_self=include_self).T
    if faces.ndim == 2:
        return edges
    n = faces.shape[1]
    counts = torch.bincount(edges[:, 0] // n, minlength=len(faces)).tolist()
    return pad_sequence([part % n for part in edges.split(counts)], batch_first=True, padding_value=pad_id)


def apart(faces: Tensor) -> Tensor:
    """[n, v] or [b, n, v] to [b * n, v], the vertices of every mesh numbered apart from those of the others."""
    if faces.ndim == 2:
        return faces
    offset = torch.arange(len(faces), device=faces.device)[:, None, None] * (faces.max() + 1)
    return torch.where(faces >= 0, faces + offset, -1).flatten(0, 1)


def corner_keys(faces: Tensor, shared: int) -> tuple[Tensor, Tensor]:
    """A number for every choice of `shared` different vertices of a face, equal where the vertices are, and the face it comes from."""
    corners = torch.tensor(list(combinations(range(faces.shape[1]), shared)), device=faces.device)
    chosen = faces[:, corners].sort(-1).values
    owners = torch.arange(len(faces), device=faces.device)[:, None].expand(chosen.shape[:2])
    valid = (chosen >= 0).all(-1) & (chosen[..., 1:] > chosen[..., :-1]).all(-1)
    first, last = chosen[..., 0], chosen[..., -1]
    return (first * (faces.max() + 1) + last)[valid], owners[valid]


def pairs_within_groups(keys: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Every ordered pair of owners [pairs] whose keys are equal, an owner with itself included."""
    keys, order = keys.sort()
    owners = owners[order]
    _, sizes = torch.unique_consecutive(keys, return_counts=True)
    start, size = (x.repeat_interleave(sizes) for x in (sizes.cumsum(0) - sizes, sizes))
    first = owners.repeat_interleave(size)
    rank = torch.arange(len(first), device=keys.device) - (size.cumsum(0) - size).repeat_interleave(size)
    return first, owners[start.repeat_interleave(size) + rank]
