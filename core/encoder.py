"""The autoencoder's encoder: from the faces of a batch to what each of them says about each of its corners.

Faces come as one row, the meshes of a batch one behind the other, their vertices numbered apart; `mesh` [n] says which mesh a face
belongs to. Letters: n faces, v corners of a face, c coordinates, d width.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from core.face_attention import AttentionBlocks
from core.geometry import Range, discretise, face_geometry, undiscretise

if TYPE_CHECKING:
    from core.autoencoder_config import AutoencoderConfig

PLACE_SCALE = 3.0  # of a coordinate in a vertex's features, so that codes say where before they say anything else
SLOW = 0.1  # Adam moves a weight by the learning rate whatever its gradient: what a place hangs on is made of large weights times this


class FaceEncoder(nn.Module):
    """Embedded coordinates and geometry, graph layers over neighbouring faces (SAGEConv, Hamilton et al. 2017), optional attention.

    A vertex's place also goes past all of them, so that training starts from codes that say where and learns what else to say.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        v, width = config.vertices_per_face, config.dim_codebook
        absent = int(config.quads)  # one more row for what an absent corner lacks
        self.coordinate = nn.Embedding(config.num_discrete_coors + absent, config.dim_coor_embed)
        self.normal = nn.Embedding(config.num_discrete_normals, config.dim_normal_embed)
        self.area = nn.Embedding(config.num_discrete_area, config.dim_area_embed)
        self.angle = nn.Embedding(config.num_discrete_angle + absent, config.dim_angle_embed)
        self.vertices = VertexEncoder(config) if config.vertex_encoder_depth else None
        entering = 3 * v * config.dim_coor_embed + 3 * config.dim_normal_embed + config.dim_area_embed + v * config.dim_angle_embed
        if self.vertices is not None:
            entering += v * config.dim_vertex_embed
        self.enter = nn.Linear(entering, width)
        self.layers = nn.ModuleList(
            GraphLayer(before, after, config) for before, after in pairwise((width, *config.encoder_dims_through_depth))
        )
        last = config.encoder_dims_through_depth[-1]
        self.attention = AttentionBlocks(config.attn_encoder_depth, last, config)
        self.norm = nn.LayerNorm(last)
        self.leave = zeroed(nn.Linear(last, v * width))
        self.place = PlaceEmbedding(config)

    def forward(self, corners: Tensor, faces: Tensor, edges: Tensor, mesh: Tensor) -> Tensor:
        """[n, v, d] float32 of the corners' grid indices [n, v, c], faces [n, v] (-1: absent), and pairs of neighbours edges [2, pairs]."""
        x = self.enter(self.features(corners, faces))
        for layer in self.layers:
            x = layer(x, edges)
        x = self.attention(x, mesh)
        told = self.leave(F.silu(self.norm(x))).unflatten(-1, (faces.shape[1], -1))
        return self.place(corners) + SLOW * told.float()

    def features(self, corners: Tensor, faces: Tensor) -> Tensor:
        """[n, d] everything that is known of a face by itself, and of its vertices if they have been enriched."""
        config, present = self.config, faces >= 0
        places = undiscretise(corners, config.coor_continuous_range, config.num_discrete_coors)
        normal, size, angles = face_geometry(places, present)
        low, high = config.coor_continuous_range
        coordinate = corners.masked_fill(~present[..., None], config.num_discrete_coors)
        angle = cell(angles, (0, math.pi), config.num_discrete_angle).masked_fill(~present, config.num_discrete_angle)
        parts = [
            self.coordinate(coordinate),
            self.normal(cell(normal, (-1, 1), config.num_discrete_normals)),
            self.area(cell(size, (0, high - low), config.num_discrete_area)),
            self.angle(angle),
        ]
        if self.vertices is not None:
            parts.append(self.vertices(corners, faces))
        return torch.cat([part.flatten(1) for part in parts], -1)


class VertexEncoder(nn.Module):
    """Vertices enriched by their neighbours before faces are formed: graph layers along the edges of the mesh."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        width = config.dim_vertex_embed
        self.coordinate = nn.Embedding(3 * config.num_discrete_coors, width)
        self.layers = nn.ModuleList(GraphLayer(width, width, config) for _ in range(config.vertex_encoder_depth))

    def forward(self, corners: Tensor, faces: Tensor) -> Tensor:
        """[n, v, d] of the vertices at the corners [n, v, c] of faces [n, v]; zeros where a corner is absent."""
        present = faces >= 0
        _, vertex = torch.unique(faces[present], return_inverse=True)
        grid = corners.new_empty(int(vertex.max()) + 1, 3).index_put((vertex,), corners[present])
        offset = torch.arange(3, device=faces.device) * (self.coordinate.num_embeddings // 3)
        x = self.coordinate(grid + offset).sum(1)
        here = faces.clone()
        here[present] = vertex
        edges = mesh_edges(here)
        for layer in self.layers:
            x = x + layer(x, edges)
        laid = x.new_zeros(*faces.shape, x.shape[-1])
        laid[present] = x[vertex]
        return laid


class GraphLayer(nn.Module):
    """A norm, an activation, and messages between neighbours."""

    def __init__(self, before: int, after: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(before)
        self.messages = SAGEConv(before, after, **config.sageconv_kwargs)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """[nodes, after] of x [nodes, before] and edges [2, pairs]."""
        told: Tensor = self.messages(F.silu(self.norm(x)), edges)
        return told


class PlaceEmbedding(nn.Module):
    """A vertex's place as a vector that the quantiser keeps: a table for each axis, added up. It is learned from a start that says where.

    For learned vectors (VQ) it starts as a line along each axis, so that near places have near vectors. LFQ keeps only signs, in which a
    line would be lost: there each coordinate starts as its digits, one a dimension, which LFQ keeps whole.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.levels, width = config.num_discrete_coors, config.dim_codebook
        self.table = nn.Embedding(3 * self.levels, width)
        if config.use_residual_lfq:
            start = digits(config)
        else:
            direction = torch.nn.init.kaiming_uniform_(torch.empty(width, 3), a=math.sqrt(5)).T
            start = torch.linspace(-PLACE_SCALE, PLACE_SCALE, self.levels)[:, None] * direction[:, None]
        self.table.weight.data = start.flatten(0, 1) / SLOW

    def forward(self, corners: Tensor) -> Tensor:
        """[.., d] float32 of grid indices [.., c]."""
        offset = torch.arange(3, device=corners.device) * self.levels
        return SLOW * self.table(corners + offset).sum(-2)

    @torch.no_grad()
    def inverse(self) -> tuple[Tensor, Tensor]:
        """[c, d] and [c]: the linear map that reads a place, -1..1 along each axis, off its vector; as near as there is one."""
        tables = SLOW * self.table.weight.unflatten(0, (3, -1))
        means = tables.mean(1, keepdim=True)
        wanted = torch.block_diag(*[torch.linspace(-1, 1, self.levels)[:, None]] * 3)
        reading = (torch.linalg.pinv((tables - means).flatten(0, 1)) @ wanted).T
        return reading, -reading @ means.sum(0)[0]


def digits(config: AutoencoderConfig) -> Tensor:
    """[c, levels, d] grid indices along each axis in as many digits as residual LFQ has dimensions for them, the highest first.

    With k quantisers a dimension keeps k signs, worth 1, 1/2, 1/4...: one digit of 2 ** k values. Too few dimensions keep the high digits.
    """
    k, bits = config.num_quantizers, (config.num_discrete_coors - 1).bit_length()
    count = min(math.ceil(bits / k), config.dim_codebook // 3, (config.codebook_size.bit_length() - 1) // 3)
    index = torch.arange(config.num_discrete_coors) * 2 ** (k * count) // 2**bits
    found = torch.zeros(3, config.num_discrete_coors, config.dim_codebook)
    for place in range(count):
        digit = index // 2 ** (k * (count - 1 - place)) % 2**k
        for axis in range(3):
            found[axis, :, 3 * place + axis] = (2 * digit - 2**k + 1) / 2 ** (k - 1)
    return found


def cell(values: Tensor, limits: Range, count: int) -> Tensor:
    """As `discretise`, a hair higher: a right angle and a level normal lie between two cells, and rounding must not choose."""
    return discretise(values + 1e-4 * (limits[1] - limits[0]), limits, count)


def mesh_edges(faces: Tensor) -> Tensor:
    """[2, pairs] the vertices at both ends of every side of faces [n, v], both ways; -1 for the absent corner of a triangle."""
    following = faces.roll(-1, 1)
    if faces.shape[1] == 4:
        following[:, 2] = torch.where(faces[:, 3] < 0, faces[:, 0], faces[:, 3])
    present = faces >= 0
    one, other = faces[present], following[present]
    count = int(one.max()) + 1
    pairs = torch.unique(torch.cat([one * count + other, other * count + one]))
    return torch.stack([pairs // count, pairs % count])


def zeroed(linear: nn.Linear) -> nn.Linear:
    """The same layer, answering zero until it has learned something."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
