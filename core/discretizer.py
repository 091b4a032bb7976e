"""MeshDiscretizer: faces as codes without learning. A vertex is its three grid coordinates, in the order z, y, x.

It keeps core.tokenizer's contract, as MeshAutoencoder does.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from core.errors import MeshGPTError
from core.grammar import ABSENT, CoordinateGrammar
from core.mesh import LEVELS, FloatArray, Frame, IntArray, Mesh, dequantise, quantise


class MeshDiscretizer:
    """Coordinates as codes: three a vertex, and the codebook is the grid.

    levels: grid points along an axis, 2 or more. quads: faces have up to four corners; otherwise every face is a triangle.
    """

    codes_per_vertex = 3

    def __init__(self, levels: int = LEVELS, quads: bool = True) -> None:
        self.levels = self.codebook_size = levels
        self.vertices_per_face = 4 if quads else 3
        self.codes_per_face = self.vertices_per_face * self.codes_per_vertex

    def encode(self, mesh: Mesh, frame: Frame | None = None) -> IntArray:
        """[faces, codes_per_face] codes in 0..levels-1 of the mesh's canonical form; -1 for the absent corner of a triangle among quads.

        frame: the box to place the mesh in, as in `Mesh.canonical`. Raises MeshGPTError (bad_mesh) as that does, and for a quad where
        faces are triangles.
        """
        canonical = mesh.canonical(frame, self.levels).quads()
        if self.vertices_per_face == 3 and (canonical.faces[:, 3] >= 0).any():
            raise MeshGPTError("the mesh has quads, this model knows triangles alone", hint="triangulate the mesh first", code="bad_mesh")
        faces = canonical.faces[:, : self.vertices_per_face]
        codes = quantise(canonical.vertices, self.levels)[faces][..., ::-1]
        return np.where(faces[..., None] >= 0, codes, ABSENT).reshape(-1, self.codes_per_face)

    def decode(self, codes: IntArray) -> FloatArray:
        """[faces, 3 or 4, 3] coordinates in the unit box, NaN for an absent corner, of codes [faces, codes_per_face]."""
        corners = np.asarray(codes).reshape(-1, self.vertices_per_face, self.codes_per_vertex)[..., ::-1]
        coordinates = dequantise(corners, self.levels)
        coordinates[(corners < 0).any(-1)] = np.nan
        return coordinates

    def tokenize(self, vertices: Tensor, faces: Tensor, face_edges: Tensor | None = None) -> Tensor:
        """[b, n v, 3] codes of the canonical forms of a batch of meshes, padded with -1.

        vertices: [b, vertices, 3]. faces: [b, n, 3 or 4] indices of vertices, padded with -1. face_edges: nothing is made of them.
        Raises MeshGPTError (bad_mesh) for a mesh that has no canonical form, and for tensors that hold no meshes.
        """
        if vertices.ndim != 3 or faces.ndim != 3 or len(vertices) != len(faces) or faces.is_floating_point():
            raise MeshGPTError(
                f"vertices has shape {list(vertices.shape)}, faces {list(faces.shape)} of {faces.dtype}",
                hint="give [meshes, vertices, 3] and whole numbers [meshes, faces, 3 or 4]",
                code="bad_mesh",
            )
        codes = [
            torch.from_numpy(self.encode(Mesh(points.cpu().numpy(), polygons[(polygons >= 0).any(-1)].cpu().numpy())))
            for points, polygons in zip(vertices, faces, strict=True)
        ]
        padded = torch.nn.utils.rnn.pad_sequence(codes, batch_first=True, padding_value=ABSENT)
        return padded.reshape(len(codes), -1, self.codes_per_vertex).to(vertices.device)

    def decode_from_codes_to_faces(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Unit box coordinates [b, n, v, 3], NaN where absent, and which faces there are [b, n], of codes [b, n v, 3] padded with -1."""
        coordinates = torch.from_numpy(self.decode(codes.cpu().numpy())).to(codes.device)
        coordinates = coordinates.view(len(codes), -1, self.vertices_per_face, 3)
        return coordinates, ~coordinates[:, :, 0, 0].isnan()

    def code_vectors(self) -> Tensor:
        """[3, levels, 32] what each code means, as sines and cosines of its coordinate, so that near codes look alike."""
        return coordinate_vectors(self.levels).expand(self.codes_per_vertex, -1, -1)

    def grammar(self, given: IntArray | None = None) -> CoordinateGrammar:
        """The rules for the next code after the faces `given` [faces, codes_per_face]."""
        return CoordinateGrammar(self.codebook_size, given, self.vertices_per_face)


@cache
def coordinate_vectors(levels: int) -> Tensor:
    """[levels, 32] sines and cosines of every grid coordinate at 16 frequencies, up to a period of four steps."""
    position = torch.arange(levels) / (levels - 1)
    frequency = torch.logspace(0, math.log10(levels / 4), 16)
    angle = 2 * math.pi * position[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)
