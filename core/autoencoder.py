"""MeshAutoencoder: learned codes for the vertices of a mesh.

A graph encoder looks at every face and its neighbours, a vertex takes the mean of what its faces say about it and is quantised to
`num_quantizers` codes, and a decoder along the row of faces turns codes back into grid coordinates. After MeshGPT (Siddiqui et al. 2023),
with quads beside triangles, and with a short way for a vertex's place past both networks. docs/autoencoder.md goes through every part.

It is called in two ways. `forward`, `tokenize` and `decode_from_codes_to_faces` take batches of padded tensors. `encode` and `decode` keep
the contract of core.tokenizer, a mesh at a time, as MeshDiscretizer does.

Letters: b batch, n faces, v corners of a face (3, or 4 with quads), k codes of a vertex, d width, c coordinates. Inside, the meshes of a
batch are one row of faces, so that nothing is computed for padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.adjacency import face_adjacency
from core.autoencoder_config import AutoencoderConfig
from core.decoder import FaceDecoder
from core.encoder import FaceEncoder
from core.errors import MeshGPTError
from core.geometry import discretise, group_means, smoothed_targets, undiscretise
from core.grammar import ABSENT, CodeGrammar
from core.mesh import FloatArray, Frame, IntArray, Mesh, dequantise, quantise
from core.pretrained import Pretrained, configure
from core.quantiser import VertexQuantiser

__all__ = ["AutoencoderConfig", "LossBreakdown", "MeshAutoencoder"]

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class LossBreakdown(NamedTuple):
    """What the loss is made of, detached: reconstruction + joint_loss_weight * joint + commit_loss_weight * commitment.

    reconstruction: smoothed cross entropy, nats a coordinate. joint: cross entropy of all coordinates of a face together, nats a face.
    commitment: the quantiser's own loss. codebook_use: [k] not a loss; the share of the codebook that the batch used at each level.
    """

    reconstruction: Tensor
    joint: Tensor
    commitment: Tensor
    codebook_use: Tensor


class Row(NamedTuple):
    """The meshes of a batch as one row of faces.

    corners: [n, v, c] grid indices, 0 where absent. faces: [n, v] vertices, numbered apart from those of other meshes; -1 where absent.
    mesh: [n] which mesh, rising. edges: [2, pairs] neighbouring faces. real: [b, faces] where in the batch the row's faces came from.
    """

    corners: Tensor
    faces: Tensor
    mesh: Tensor
    edges: Tensor
    real: Tensor


class MeshAutoencoder(nn.Module, Pretrained):
    """A tokenizer that is learned: called, it gives the loss that trains it; `tokenize` and `encode` make codes, the rest undoes them.

    config, options: an AutoencoderConfig, or its fields as keywords. Raises ValueError for both, or for an option that there is not.
    """

    config: AutoencoderConfig
    targets: Tensor

    def __init__(self, config: AutoencoderConfig | None = None, **options: Any) -> None:
        super().__init__()
        self.config = config = configure(AutoencoderConfig, config, options)
        self.encoder = FaceEncoder(config)
        self.quantiser = VertexQuantiser(config)
        self.decoder = FaceDecoder(config, self.encoder.place.inverse())
        self.register_buffer("targets", smoothed_targets(config.num_discrete_coors, config.bin_smooth_blur_sigma), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.targets.device

    @property
    def vertices_per_face(self) -> int:
        """v: 3, or 4 with quads."""
        return self.config.vertices_per_face

    @property
    def levels(self) -> int:
        """Grid points along an axis."""
        return self.config.num_discrete_coors

    @property
    def codebook_size(self) -> int:
        """A code is in 0..codebook_size-1."""
        return self.config.codebook_size

    @property
    def codes_per_vertex(self) -> int:
        """Depth of the residual quantiser."""
        return self.config.num_quantizers

    @property
    def codes_per_face(self) -> int:
        """v k."""
        return self.vertices_per_face * self.codes_per_vertex

    def code_vectors(self) -> Tensor:
        """[k, codebook_size, width] what each code means; the vectors of a vertex's codes add up."""
        return self.quantiser.codebooks.detach().clone()

    def grammar(self, given: IntArray | None = None) -> CodeGrammar:
        """The rules for the next code after the faces `given` [faces, codes_per_face]."""
        return CodeGrammar(self.codebook_size, self.codes_per_vertex, given, self.vertices_per_face)

    # ---- batches of tensors

    def forward(
        self,
        *,
        vertices: Tensor,
        faces: Tensor,
        face_edges: Tensor | None = None,
        return_loss_breakdown: bool = False,
        rvq_sample_codebook_temp: float = 1.0,
    ) -> Tensor | tuple[Tensor, LossBreakdown]:
        """The loss of a batch of meshes, a scalar; with `return_loss_breakdown`, also what it is made of.

        vertices: [b, vertices, 3] coordinates (floating point; outside `coor_continuous_range` they are clamped) or grid indices
        (integers); what pads them is never looked at. faces: [b, n, v] indices of vertices, pad_id for an absent corner and where a mesh
        has ended. face_edges: [b, e, 2] neighbours among the faces of each mesh, padded with pad_id, as core.adjacency derives them;
        derived if not given. rvq_sample_codebook_temp: temperature of drawn codes, see rvq_stochastic_sample_codes.
        Raises MeshGPTError, a ValueError, naming the argument and the value that does not do.
        """
        row = self.row(vertices, faces, face_edges)
        seen, noise = self.disturbed(row)
        quantised, codes, commitment = self.quantised(seen, row, rvq_sample_codebook_temp)
        present = row.faces >= 0
        chances = self.decoder(quantised, present, row.mesh, noise).log_softmax(-1)
        wanted = row.corners[present]
        reconstruction = -(self.targets[wanted] * chances).sum(-1).mean()
        joint = -chances.gather(-1, wanted[..., None]).sum() / len(row.faces)
        weights = self.config
        loss = reconstruction + weights.joint_loss_weight * joint + weights.commit_loss_weight * commitment
        if not return_loss_breakdown:
            return loss
        return loss, LossBreakdown(reconstruction.detach(), joint.detach(), commitment.detach(), self.codebook_use(codes))

    @torch.no_grad()
    def tokenize(self, vertices: Tensor, faces: Tensor, face_edges: Tensor | None = None) -> Tensor:
        """[b, n v, k] codes in 0..codebook_size-1 of a batch as in `forward`; pad_id for an absent corner and for padding.

        One mesh may come without the batch's dimension, and its codes then lack it too. The model keeps its mode.
        """
        if vertices.ndim == 2 and faces.ndim == 2 and (face_edges is None or face_edges.ndim == 2):
            edges = None if face_edges is None else face_edges[None]
            return self.tokenize(vertices=vertices[None], faces=faces[None], face_edges=edges)[0]
        row = self.row(vertices, faces, face_edges)
        with evaluating(self):
            _, codes, _ = self.quantised(row.corners, row)
        laid = codes.new_full((*row.real.shape, *codes.shape[1:]), self.config.pad_id)
        laid[row.real] = torch.where(codes == ABSENT, self.config.pad_id, codes)
        return laid.flatten(1, 2)

    @torch.no_grad()
    def decode_from_codes_to_faces(
        self, codes: Tensor, face_mask: Tensor | None = None, *, noise_level: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Face coordinates [b, n, v, 3], NaN where absent, and which faces there are [b, n], of codes [b, n v, k] or [b, n v k].

        Corners of a mesh with the same codes are one vertex and come out at the same place. face_mask: [b, n] which faces to decode; those
        that have codes if not given. noise_level: 0..1, see denoise_sigma. The model keeps its mode.
        Raises MeshGPTError (bad_codes), a ValueError, if a shape or a code is out of range.
        """
        codes, face_mask = self.checked_codes(codes, face_mask)
        if not 0 <= noise_level <= 1 or (noise_level and not self.config.denoise_sigma):
            raise bad_codes(f"noise_level is {noise_level}", "use 0, or up to 1 for a model that was trained with denoise_sigma")
        coordinates = torch.full((*codes.shape[:-1], 3), torch.nan, device=codes.device)
        if face_mask.any():
            mesh = face_mask.nonzero()[:, 0]
            places = self.places(codes[face_mask], torch.unique(mesh, return_inverse=True)[1], noise_level)
            found = undiscretise(places, self.config.coor_continuous_range, self.levels)
            coordinates[face_mask] = found.masked_fill(places < 0, torch.nan)
        return coordinates, face_mask

    def codebook_use(self, codes: Tensor) -> Tensor:
        """[k] the share of the codebook that appears in codes [.., k] at each level; negative codes do not count."""
        levels = codes.detach().flatten(0, -2).unbind(-1)
        used = [len(torch.unique(level[level >= 0])) / self.codebook_size for level in levels]
        return torch.tensor(used, device=codes.device)

    # ---- the contract of core.tokenizer

    @torch.no_grad()
    def encode(self, mesh: Mesh, frame: Frame | None = None) -> IntArray:
        """[faces, codes_per_face] codes in 0..codebook_size-1 of the mesh's canonical form; -1 for the absent corner of a triangle.

        frame: the box to place the mesh in, as in `Mesh.canonical`. Raises MeshGPTError (bad_mesh) as that does, and for a quad if this
        model knows triangles only.
        """
        canonical = mesh.canonical(frame, self.levels).quads()
        grid = torch.from_numpy(quantise(canonical.vertices, self.levels)).to(self.device)
        faces = torch.from_numpy(canonical.faces).to(self.device)
        codes = self.tokenize(vertices=grid, faces=torch.where(faces < 0, self.config.pad_id, faces))
        found: IntArray = torch.where(codes < 0, ABSENT, codes).reshape(len(faces), -1).cpu().numpy()
        return found

    @torch.no_grad()
    def decode(self, codes: IntArray) -> FloatArray:
        """[faces, v, 3] coordinates in the unit box, NaN for an absent corner, of codes [faces, codes_per_face].

        Corners with the same codes are one vertex and come out at the same place. The decoder sees a few faces to both sides, so the last
        faces of a prefix may still move by a grid step when more follow. Raises MeshGPTError (bad_codes) if a code is out of range.
        """
        found = torch.as_tensor(codes, device=self.device).reshape(-1, self.vertices_per_face, self.codes_per_vertex)
        coordinates = np.full((*found.shape[:2], 3), np.nan, np.float32)
        if not len(found):
            return coordinates
        self.checked_codes(torch.where(found < 0, self.config.pad_id, found)[None], torch.ones(1, len(found), dtype=torch.bool))
        places = self.places(found, found.new_zeros(len(found)), 0.0).cpu().numpy()
        present = places[..., 0] >= 0
        coordinates[present] = dequantise(places[present], self.levels)
        return coordinates

    # ---- the way through

    def row(self, vertices: Tensor, faces: Tensor, face_edges: Tensor | None) -> Row:
        """A batch, checked, as one row of faces."""
        vertices, faces = checked(vertices, faces, self.config)
        real = faces[..., 0] >= 0
        if face_edges is None:
            shared = 1 if self.config.neighbor_if_share_one_vertex else 2
            edges = face_adjacency(faces, shared=shared, include_self=True)
        else:
            edges = checked_edges(face_edges, real, self.config.pad_id)
        number = real.flatten().cumsum(0) - 1  # of a face in the row
        first = torch.arange(len(faces), device=faces.device)[:, None, None] * vertices.shape[1]
        apart = torch.where(faces >= 0, faces + first, ABSENT)[real]
        corners = vertices.flatten(0, 1)[apart].masked_fill(apart[..., None] < 0, 0)
        return Row(self.to_grid(corners, apart), apart, real.nonzero()[:, 0], number[edges], real)

    def to_grid(self, corners: Tensor, faces: Tensor) -> Tensor:
        """Grid indices [n, v, c] of corners that are grid indices already, or coordinates."""
        bad = ~corners.isfinite() if corners.is_floating_point() else (corners < 0) | (corners >= self.levels)
        if bad.any():
            hint = "repair the mesh before using it" if corners.is_floating_point() else f"grid indices are 0..{self.levels - 1}"
            raise bad_mesh(f"vertices holds {corners[bad][0].item()}, in a vertex that a face uses", hint)
        if corners.is_floating_point():
            grid = discretise(corners.float(), self.config.coor_continuous_range, self.levels)
            return grid.masked_fill(faces[..., None] < 0, 0)
        return corners.long()

    def disturbed(self, row: Row) -> tuple[Tensor, Tensor]:
        """The corners [n, v, c] to encode, and how much they were moved [n] in 0..1: not at all unless the model learns to denoise."""
        quiet = torch.zeros(len(row.faces), device=row.faces.device)
        if not self.config.denoise_sigma or not self.training:
            return row.corners, quiet
        level = torch.rand(len(row.real), device=row.faces.device)[row.mesh]
        steps = torch.randn(int(row.faces.max()) + 1, 3, device=row.faces.device) * self.config.denoise_sigma
        moved = row.corners + steps[row.faces] * level[:, None, None]
        return moved.round().clamp(0, self.levels - 1).long(), level

    def quantised(self, corners: Tensor, row: Row, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """The quantised corners [corners, d] that are present, the codes of all [n, v, k] (ABSENT where a corner is), and the loss."""
        said = self.encoder(corners, row.faces, row.edges, row.mesh)
        present = row.faces >= 0
        _, vertex = torch.unique(row.faces[present], return_inverse=True)
        quantised, codes, loss = self.quantiser(said[present], vertex, temperature)
        laid = codes.new_full((*present.shape, codes.shape[-1]), ABSENT)
        laid[present] = codes[vertex]
        return quantised[vertex], laid, loss

    def places(self, codes: Tensor, mesh: Tensor, noise_level: float) -> Tensor:
        """[n, v, c] grid indices, ABSENT where a corner is, of codes [n, v, k] of the faces of meshes [n], numbered from 0."""
        present = (codes >= 0).all(-1)
        with evaluating(self):
            quantised = self.quantiser.vectors(codes[present])
            noise = torch.full((len(codes),), noise_level, device=codes.device)
            logits = self.decoder(quantised, present, mesh, noise)
        owner = mesh[:, None].expand_as(present)[present]
        places = codes.new_full((*present.shape, 3), ABSENT)
        places[present] = weld(logits, torch.cat([owner[:, None], codes[present]], -1))
        return places

    def checked_codes(self, codes: Tensor, face_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Codes as [b, n, v, k], negative where absent, and which faces there are [b, n]; MeshGPTError (bad_codes) if they do not do."""
        v, k, pad = self.vertices_per_face, self.codes_per_vertex, self.config.pad_id
        if codes.dtype not in INTEGERS:
            raise bad_codes(f"codes have dtype {codes.dtype}", "give integers")
        if codes.ndim < 2 or codes[0].numel() % (v * k):
            raise bad_codes(f"codes have shape {list(codes.shape)}", f"give [meshes, faces * {v}, {k}]")
        codes = codes.long().reshape(len(codes), -1, v, k)
        if face_mask is None:
            face_mask = (codes[:, :, :3] != pad).all(-1).all(-1)
        if face_mask.shape != codes.shape[:2] or face_mask.dtype != torch.bool:
            shape = list(face_mask.shape)
            raise bad_codes(f"face_mask has shape {shape} and dtype {face_mask.dtype}", f"give booleans {list(codes.shape[:2])}")
        face_mask = face_mask.to(codes.device)
        kept = codes[face_mask]
        absent = (kept == pad).any(-1)
        bad = ((kept != pad) & ((kept < 0) | (kept >= self.codebook_size))) | (kept[:, :, :1].expand_as(kept) == pad) & (kept != pad)
        if bad.any() or absent[:, :3].any():
            value = int(kept[bad][0]) if bad.any() else pad
            hint = f"use 0..{self.codebook_size - 1}, and {pad} only for all codes of a last corner or of a face that is not there"
            raise bad_codes(f"codes hold {value}", hint)
        return torch.where((codes == pad).any(-1, keepdim=True), ABSENT, codes), face_mask


# ---- parts


def checked(vertices: Tensor, faces: Tensor, config: AutoencoderConfig) -> tuple[Tensor, Tensor]:
    """Vertices and faces [b, n, v], -1 where absent, as `forward` takes them, or MeshGPTError (bad_mesh)."""
    shapes = f"vertices has shape {list(vertices.shape)} and faces {list(faces.shape)}"
    if vertices.ndim != 3 or vertices.shape[-1] != 3 or faces.ndim != 3 or faces.shape[-1] not in (3, 4):
        raise bad_mesh(shapes, f"give [meshes, vertices, 3] and [meshes, faces, {config.vertices_per_face}]")
    if len(vertices) != len(faces):
        raise bad_mesh(f"vertices holds {len(vertices)} meshes but faces holds {len(faces)}", "give as many of the one as of the other")
    if faces.dtype not in INTEGERS:
        raise bad_mesh(f"faces has dtype {faces.dtype}", "give integers, the indices of vertices")
    if not vertices.is_floating_point() and vertices.dtype not in INTEGERS:
        raise bad_mesh(f"vertices has dtype {vertices.dtype}", "give floating point coordinates, or integers, the indices of grid points")
    faces, count = faces.long(), vertices.shape[1]
    present = faces != config.pad_id
    if not present.flatten(1).any(1).all() or not len(faces):
        empty = (~present.flatten(1).any(1)).nonzero().flatten().tolist()
        raise bad_mesh(f"faces holds no face in mesh {empty[0]}" if empty else f"{shapes}: there is no mesh", "leave out empty meshes")
    bad = present & ((faces < 0) | (faces >= count))
    if bad.any():
        hint = f"use 0..{count - 1}, and {config.pad_id} for padding"
        raise bad_mesh(f"faces holds index {int(faces[bad][0])} but there are {count} vertices", hint)
    if not (present[..., :3].all(-1) | ~present.any(-1)).all():
        hint = f"use {config.pad_id} only for a triangle's last corner or a whole face"
        raise bad_mesh(f"faces holds {config.pad_id} among the first three corners of a face", hint)
    if not config.quads and present[..., 3:].any():
        quad = faces[present.all(-1)][0].tolist()
        raise bad_mesh(f"faces holds a quad, {quad}, but the model knows triangles only", "cut it into triangles, or use quads=True")
    faces = torch.where(present, faces, ABSENT)
    return vertices, F.pad(faces, (0, config.vertices_per_face - faces.shape[-1]), value=ABSENT)


def checked_edges(face_edges: Tensor, real: Tensor, pad_id: int) -> Tensor:
    """[2, pairs] numbers of faces in the whole batch, of face_edges [b, e, 2], or MeshGPTError (bad_mesh)."""
    if face_edges.ndim != 3 or face_edges.shape[-1] != 2 or len(face_edges) != len(real) or face_edges.dtype not in INTEGERS:
        found = f"face_edges has shape {list(face_edges.shape)} and dtype {face_edges.dtype}"
        raise bad_mesh(found, f"give integers [{len(real)}, edges, 2]")
    kept = (face_edges != pad_id).all(-1)
    owner, ends = kept.nonzero()[:, 0], face_edges[kept].long()
    count = real.shape[1]
    inside = ((ends >= 0) & (ends < count)).all(-1)
    if not inside.all() or not real[owner[:, None], ends].all():
        bad = ends[~inside] if not inside.all() else ends[~real[owner[:, None], ends].all(-1)]
        raise bad_mesh(f"face_edges holds {bad[0].tolist()}, but there is no such face", f"use the numbers of faces, padded with {pad_id}")
    return (owner[:, None] * count + ends).T


def weld(logits: Tensor, codes: Tensor) -> Tensor:
    """[corners, 3] grid indices by logits [corners, 3, levels], averaged over the corners whose codes [corners, k] are equal."""
    _, vertex = torch.unique(codes, dim=0, return_inverse=True)
    return group_means(logits.flatten(1), vertex).unflatten(1, logits.shape[1:]).argmax(-1)[vertex]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, and afterwards in the mode it was in."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def bad_mesh(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_mesh")


def bad_codes(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_codes")
