"""MeshAutoencoder: learned codes for the vertices of a mesh.

A graph encoder looks at every face and its neighbours, a vertex takes the mean of what its faces say about it and is quantised to
`codes_per_vertex` codes, and a decoder along the row of faces turns codes back into grid coordinates. It keeps core.tokenizer's contract,
as MeshDiscretizer does. After MeshGPT (Siddiqui et al. 2023), with quads beside triangles, and with a short way for a vertex's place past
both networks, so that training starts from codes that say where and learns what else is worth saying.

Letters: b batch, n faces, v corners of a face, d width, c coordinates. A triangle's fourth corner is absent (-1). The meshes of a batch are
laid in one row, with an empty face behind each, so that nothing is computed for padding.
This is the only module that imports torch_geometric and vector_quantize_pytorch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv
from vector_quantize_pytorch import ResidualLFQ, ResidualVQ

from core.adjacency import face_adjacency
from core.errors import MeshGPTError
from core.grammar import ABSENT, VERTICES_PER_FACE, CodeGrammar
from core.mesh import BOX_LOW, LEVELS, FloatArray, Frame, IntArray, Mesh, dequantise, quantise

QUANTISERS = ("vq", "lfq")
GEOMETRY = 3 + 1 + VERTICES_PER_FACE  # normal, size, angles
PLACE_SCALE = 3.0  # of a coordinate in a vertex's features, so that codes say where before they say anything else


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of a MeshAutoencoder, and how it is trained.

    levels: grid points along an axis. coordinate_width: of the embedding of one coordinate. encoder_widths: of the graph layers.
    vertex_width: of a vertex before and after its codes. quantiser: "vq" (residual vectors) or "lfq" (residual, lookup-free).
    codebook_size: a power of 2 for "lfq". code_width: of a code's vector in "vq". decoder_width, decoder_depth: its channels and blocks.
    smoothing: how far the target of a coordinate is smeared over its neighbours, standard deviation in grid steps.
    commitment_weight: weight of the quantiser's own loss. Raises ValueError for what cannot be built.
    """

    levels: int = LEVELS
    coordinate_width: int = 32
    encoder_widths: tuple[int, ...] = (64, 128, 256, 256, 384)
    vertex_width: int = 96
    quantiser: str = "vq"
    codes_per_vertex: int = 2
    codebook_size: int = 4096
    code_width: int = 8
    decoder_width: int = 256
    decoder_depth: int = 4
    smoothing: float = 0.4
    commitment_weight: float = 3.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoder_widths", tuple(self.encoder_widths))  # JSON and YAML bring lists
        if self.quantiser not in QUANTISERS:
            raise ValueError(f"quantiser is {self.quantiser!r}; use one of {', '.join(QUANTISERS)}")
        if self.quantiser == "lfq" and self.codebook_size.bit_count() != 1:
            raise ValueError(f"codebook_size is {self.codebook_size}; lfq needs a power of 2")
        if self.smoothing <= 0:
            raise ValueError(f"smoothing is {self.smoothing}; it must be above 0")


class LossBreakdown(NamedTuple):
    """What the loss is made of, detached: reconstruction (nats a coordinate) + commitment_weight * commitment."""

    reconstruction: Tensor
    commitment: Tensor


class MeshAutoencoder(nn.Module):
    """A tokenizer that is learned: `forward` trains it, `encode` and `decode` use it."""

    targets: Tensor

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AutoencoderConfig()
        self.encoder = Encoder(config)
        self.quantiser: Any = make_quantiser(config)
        self.decoder = Decoder(config)
        self.register_buffer("targets", smoothed_targets(config.levels, config.smoothing), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.targets.device

    @property
    def levels(self) -> int:
        """Grid points along an axis."""
        return self.config.levels

    @property
    def codebook_size(self) -> int:
        """A code is in 0..codebook_size-1."""
        return self.config.codebook_size

    @property
    def codes_per_vertex(self) -> int:
        """Depth of the residual quantiser."""
        return self.config.codes_per_vertex

    @property
    def codes_per_face(self) -> int:
        """Those of four vertices."""
        return VERTICES_PER_FACE * self.codes_per_vertex

    def forward(self, vertices: Tensor, faces: Tensor) -> tuple[Tensor, LossBreakdown]:
        """The loss of a batch of meshes in canonical form.

        vertices: [b, vertices, 3], grid indices (integers) or unit box coordinates (floating point); what pads them is never looked at.
        faces: [b, n, 3 or 4] indices of vertices, -1 for the absent corner of a triangle, all -1 where a mesh has ended.
        Returns the loss, a scalar, and what it is made of. Raises MeshGPTError (bad_mesh) if shapes, coordinates or indices do not do.
        """
        corners, faces = in_one_row(*checked(vertices, faces))
        wanted = to_grid(corners, self.levels)
        quantised, commitment, _ = self.quantise_vertices(self.encoder(wanted, faces), faces)
        logits = self.decoder(quantised, faces)
        reconstruction = -(self.targets[wanted[faces >= 0]] * logits.log_softmax(-1)).sum(-1).mean()
        loss = reconstruction + self.config.commitment_weight * commitment
        return loss, LossBreakdown(reconstruction.detach(), commitment.detach())

    @torch.no_grad()
    def encode(self, mesh: Mesh, frame: Frame | None = None) -> IntArray:
        """[faces, codes_per_face] codes in 0..codebook_size-1 of the mesh's canonical form; -1 for the absent corner of a triangle.

        frame: the box to place the mesh in, as in `Mesh.canonical`. Raises MeshGPTError (bad_mesh) as that does.
        """
        canonical = mesh.canonical(frame, self.levels).quads()
        grid = torch.from_numpy(quantise(canonical.vertices, self.levels)).to(self.device)
        faces = torch.from_numpy(canonical.faces).to(self.device)
        with evaluating(self):
            _, _, codes = self.quantise_vertices(self.encoder(grid[faces].masked_fill(faces[..., None] < 0, 0), faces), faces)
        found: IntArray = codes.reshape(-1, self.codes_per_face).cpu().numpy()
        return found

    @torch.no_grad()
    def decode(self, codes: IntArray) -> FloatArray:
        """[faces, 4, 3] coordinates in the unit box, NaN for an absent corner, of codes [faces, codes_per_face].

        Corners with the same codes are one vertex and come out at the same place. The decoder sees a few faces to both sides, so the last
        faces of a prefix may still move by a grid step when more follow. Raises ValueError if a code is out of range.
        """
        found = torch.as_tensor(codes, device=self.device).reshape(-1, VERTICES_PER_FACE, self.codes_per_vertex)
        coordinates = np.full((len(found), VERTICES_PER_FACE, 3), np.nan, np.float32)
        if not len(found):
            return coordinates
        if found.min() < ABSENT or found.max() >= self.codebook_size:
            raise ValueError(f"codes are in {int(found.min())}..{int(found.max())}; use 0..{self.codebook_size - 1}, or -1 for absent")
        present = (found != ABSENT).all(-1)
        with evaluating(self):
            quantised = self.quantiser.get_output_from_indices(found[present][None])[0]
            logits = self.decoder(quantised, torch.where(present, 0, ABSENT))
        coordinates[present.cpu().numpy()] = dequantise(weld(logits, found[present]).cpu().numpy(), self.levels)
        return coordinates

    def code_vectors(self) -> Tensor:
        """[codes_per_vertex, codebook_size, width] what each code means; the vectors of a vertex's codes add up."""
        vectors: Tensor = self.quantiser.codebooks.detach().clone()
        return vectors

    def grammar(self, given: IntArray | None = None) -> CodeGrammar:
        """The rules for the next code after the faces `given` [faces, codes_per_face]."""
        return CodeGrammar(self.codebook_size, self.codes_per_vertex, given)

    def quantise_vertices(self, corners: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From what each face says about its corners [n, v, d]: what their vertices are quantised to, the loss, and their codes.

        Returns [corners, d] of the corners that are present; a scalar; and [n, v, codes_per_vertex], ABSENT where a corner is.
        """
        present = faces >= 0
        _, vertex = torch.unique(faces[present], return_inverse=True)
        with torch.autocast(faces.device.type, enabled=False):  # codes must not depend on the precision of training
            quantised, codes, losses = self.quantiser(vertex_means(corners[present], vertex)[None])
        corner_codes = codes.new_full((*present.shape, self.codes_per_vertex), ABSENT)
        corner_codes[present] = codes[0, vertex]
        return quantised[0, vertex], losses.sum(), corner_codes.long()


class Encoder(nn.Module):
    """Faces to a word about each of their corners: embedded coordinates and geometry, then graph layers over neighbouring faces."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = config.encoder_widths
        self.coordinate = nn.Embedding(config.levels + 1, config.coordinate_width)  # the last one is an absent corner's
        self.enter = nn.Linear(VERTICES_PER_FACE * 3 * config.coordinate_width + GEOMETRY, widths[0])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.layers = nn.ModuleList(SAGEConv(before, after) for before, after in pairwise(widths))
        self.leave = zeroed(nn.Linear(widths[-1], VERTICES_PER_FACE * config.vertex_width))
        self.place = nn.Linear(3, config.vertex_width)

    def forward(self, corners: Tensor, faces: Tensor) -> Tensor:
        """[n, v, d] of the corners' grid indices [n, v, c] and faces [n, v]."""
        levels = self.coordinate.num_embeddings - 1
        places = corners * (2 / (levels - 1)) - 1
        embedded = self.coordinate(torch.where((faces >= 0)[..., None], corners, levels))
        x = self.enter(torch.cat([embedded.flatten(1), face_geometry(places, faces)], -1))
        edges = face_adjacency(faces)
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = layer(F.silu(norm(x)), edges)
        told = self.leave(F.silu(self.norms[-1](x))).unflatten(-1, (VERTICES_PER_FACE, -1))
        with torch.autocast(faces.device.type, enabled=False):  # half precision is coarser than the grid
            return self.place(PLACE_SCALE * places) + told.float()


class Decoder(nn.Module):
    """Quantised corners to logits over the grid: residual convolutions along the row of faces, which stop at an empty face.

    The logits of a coordinate fall off on both sides of a place, at a rate that is predicted too; free logits are added.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        width, vertex_width = config.decoder_width, config.vertex_width
        self.levels = config.levels
        self.absent = nn.Parameter(torch.zeros(vertex_width))
        self.near = nn.Sequential(ResidualPerceptron(vertex_width), ResidualPerceptron(vertex_width))
        self.enter = nn.Linear(VERTICES_PER_FACE * vertex_width, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(config.decoder_depth))
        self.leave = zeroed(nn.Linear(width, VERTICES_PER_FACE * vertex_width))
        self.last = ResidualPerceptron(vertex_width)
        self.place = nn.Linear(vertex_width, 2 * 3)
        self.free = nn.Sequential(nn.LayerNorm(vertex_width), zeroed(nn.Linear(vertex_width, 3 * config.levels)))

    def forward(self, quantised: Tensor, faces: Tensor) -> Tensor:
        """Logits [corners, c, levels] of quantised corners [corners, d], those that are present in faces [n, v]."""
        present = faces >= 0
        near = self.near(quantised)
        x = self.enter(self.absent.expand(*faces.shape, -1).masked_scatter(present[..., None], near).flatten(1))
        for block in self.blocks:
            x = block(x, present[:, :1])
        told = self.leave(x).unflatten(-1, (VERTICES_PER_FACE, -1))
        corners = self.last(near + told[present])
        with torch.autocast(faces.device.type, enabled=False):  # half precision is coarser than the grid
            place, rate = self.place(corners.float()).chunk(2, -1)
        middle = (self.levels - 1) / 2
        steps = torch.arange(self.levels, device=faces.device) - middle * (1 + place[..., None])
        width = (2 - rate.clamp(-2, 4)).exp()[..., None]
        logits: Tensor = self.free(corners).float().unflatten(-1, (3, -1)) - 3 * (1 + (steps / width).square()).sqrt()
        return logits


class ResidualBlock(nn.Module):
    """Two convolutions over three faces, each behind a norm of the single face, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """[n, d] of x [n, d]; real [n, 1] is False where a face is empty."""
        y = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = convolution((F.silu(norm(y)) * real).T).T
        return x + y


class ResidualPerceptron(nn.Module):
    """A layer between two matrices, added to what came in; at first it adds nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), zeroed(nn.Linear(2 * width, width)))

    def forward(self, x: Tensor) -> Tensor:
        """[.., d] of x [.., d]."""
        added: Tensor = self.inner(x)
        return x + added


# ---- parts


def make_quantiser(config: AutoencoderConfig) -> nn.Module:
    """Vertices [1, vertices, d] to (quantised, codes [1, vertices, codes_per_vertex], losses)."""
    depth, width, size = config.codes_per_vertex, config.vertex_width, config.codebook_size
    if config.quantiser == "lfq":
        return ResidualLFQ(dim=width, num_quantizers=depth, codebook_size=size, soft_clamp_input_value=10.0, commitment_loss_weight=1.0)
    return ResidualVQ(
        dim=width,
        num_quantizers=depth,
        codebook_size=size,
        codebook_dim=config.code_width,
        kmeans_init=True,
        decay=0.95,
        threshold_ema_dead_code=0.05,  # uses a batch: above what a small batch leaves each code, all of them would be replaced all the time
    )


def zeroed(linear: nn.Linear) -> nn.Linear:
    """The same layer, answering zero until it has learned something."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def smoothed_targets(levels: int, deviation: float) -> Tensor:
    """[levels, levels] for each grid index the distribution asked for: a bell around it that sums to 1."""
    index = torch.arange(levels)
    return (-((index[:, None] - index) ** 2) / (2 * deviation**2)).softmax(-1)


def checked(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Vertices and faces [b, n, 4] as `forward` takes them, or MeshGPTError (bad_mesh)."""
    if vertices.ndim != 3 or vertices.shape[-1] != 3 or faces.ndim != 3 or faces.shape[-1] not in (3, 4) or len(vertices) != len(faces):
        shapes = f"{list(vertices.shape)} and {list(faces.shape)}"
        raise bad_mesh(f"vertices and faces have shapes {shapes}", "give [meshes, vertices, 3] and [meshes, faces, 3 or 4]")
    present, count = faces >= 0, vertices.shape[1]
    if not present.any():
        raise bad_mesh("there is no face in the batch", "leave out empty meshes")
    whole = present[..., :3].all(-1) | ~present.any(-1)
    if faces.min() < ABSENT or faces.max() >= count or not whole.all():
        hint = f"use indices in 0..{count - 1}, and -1 only for a triangle's last corner or a whole face"
        raise bad_mesh(f"faces hold indices {int(faces.min())}..{int(faces.max())} but there are {count} vertices", hint)
    faces = F.pad(faces, (0, VERTICES_PER_FACE - faces.shape[-1]), value=ABSENT)
    return vertices, faces


def in_one_row(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The meshes of a batch one behind the other, an empty face behind each: corners [n, v, c], zeros where absent, and faces [n, v].

    Vertices are numbered apart. Raises MeshGPTError (bad_mesh) if a corner is not finite.
    """
    faces = F.pad(faces, (0, 0, 0, 1), value=ABSENT)
    real = (faces >= 0).any(-1)
    kept = real | (torch.arange(faces.shape[1], device=faces.device) == real.sum(1, keepdim=True))
    first = torch.arange(len(faces), device=faces.device)[:, None, None] * vertices.shape[1]
    faces = torch.where(faces >= 0, faces + first, ABSENT)[kept]
    corners = vertices.flatten(0, 1)[faces].masked_fill(faces[..., None] < 0, 0)
    if not corners.isfinite().all():
        raise bad_mesh("a vertex has a coordinate that is not a finite number", "repair the mesh before using it")
    return corners, faces


def to_grid(corners: Tensor, levels: int) -> Tensor:
    """Grid indices of corners [.., 3] that are grid indices already, or unit box coordinates. Raises MeshGPTError if outside the grid."""
    if corners.is_floating_point():
        low = torch.as_tensor(BOX_LOW, dtype=corners.dtype, device=corners.device)
        return ((corners - low) * (levels - 1)).round().clamp(0, levels - 1).long()
    if corners.min() < 0 or corners.max() >= levels:
        raise bad_mesh(f"grid indices are in {int(corners.min())}..{int(corners.max())}", f"use 0..{levels - 1}")
    return corners.long()


def face_geometry(corners: Tensor, faces: Tensor) -> Tensor:
    """[n, 8] normal, square root of the area, and angles (in units of pi, 0 where absent) of faces with corners [n, 4, 3]."""
    quad = faces[..., 3:] >= 0
    a, b, c, d = corners.unbind(1)
    d = torch.where(quad, d, a)
    twice = torch.linalg.cross(b - a, c - a) + torch.linalg.cross(c - a, d - a)
    length = twice.norm(dim=-1, keepdim=True)
    here = torch.stack([a, b, c, d], 1)
    ahead = torch.stack([b, c, d, a], 1) - here
    back = torch.stack([torch.where(quad, d, c), a, b, c], 1) - here
    angles = torch.atan2(torch.linalg.cross(ahead, back).norm(dim=-1), (ahead * back).sum(-1)) / torch.pi
    return torch.cat([twice / length.clamp(min=1e-12), (length / 2).sqrt(), angles], -1)


def vertex_means(corners: Tensor, vertex: Tensor) -> Tensor:
    """[vertices, d] the mean of the corners [corners, d] that lie at each vertex; vertex: [corners] which one."""
    count = torch.bincount(vertex)
    return corners.new_zeros(len(count), corners.shape[1]).index_add(0, vertex, corners) / count[:, None]


def weld(logits: Tensor, codes: Tensor) -> Tensor:
    """[corners, 3] grid indices by logits [corners, 3, levels], averaged over the corners whose codes [corners, k] are equal."""
    _, vertex = torch.unique(codes, dim=0, return_inverse=True)
    return vertex_means(logits.flatten(1), vertex).unflatten(1, logits.shape[1:]).argmax(-1)[vertex]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, and afterwards in the mode it was in."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


# ---- files


def save_autoencoder(folder: Path, config: AutoencoderConfig, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write autoencoder.safetensors and autoencoder.json: the sizes, and plain facts about the training."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "autoencoder.safetensors")
    (folder / "autoencoder.json").write_text(json.dumps({"autoencoder": asdict(config), **facts}, indent=1) + "\n")


def load_autoencoder(folder: Path) -> MeshAutoencoder:
    """The autoencoder that was saved in a folder, ready to encode. Raises MeshGPTError (bad_checkpoint) if it is missing or damaged."""
    try:
        config = json.loads((folder / "autoencoder.json").read_text())["autoencoder"]
        model = MeshAutoencoder(AutoencoderConfig(**config))
        model.load_state_dict(load_file(folder / "autoencoder.safetensors"))
    except Exception as error:  # safetensors, JSON and torch each fail in their own way
        reason = f"{folder} holds no whole autoencoder ({error})"
        raise MeshGPTError(reason[:300], hint="train one, or copy it again", code="bad_checkpoint") from error
    return model.eval()


def bad_mesh(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_mesh")
