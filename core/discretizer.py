"""MeshDiscretizer: faces as codes without learning. A vertex is its three grid coordinates, in the order z, y, x.

It stands where MeshAutoencoder can stand: between a Mesh and the transformer. A tokenizer has `codes_per_vertex`, `codes_per_face`,
`codebook_size`, `levels`, `encode`, `decode`, `code_vectors` and `grammar`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from core.grammar import ABSENT, VERTICES_PER_FACE, CoordinateGrammar
from core.mesh import LEVELS, FloatArray, Frame, IntArray, Mesh, dequantise, quantise


class MeshDiscretizer:
    """Coordinates as codes: `codes_per_face` is 12, the codebook is the grid.

    levels: grid points along an axis, 2 or more.
    """

    codes_per_vertex = 3
    codes_per_face = VERTICES_PER_FACE * codes_per_vertex

    def __init__(self, levels: int = LEVELS) -> None:
        self.levels = self.codebook_size = levels

    def encode(self, mesh: Mesh, frame: Frame | None = None) -> IntArray:
        """[faces, 12] codes in 0..levels-1 of the mesh's canonical form; -1 for the absent corner of a triangle.

        frame: the box to place the mesh in, as in `Mesh.canonical`. Raises MeshGPTError (bad_mesh) as that does.
        """
        canonical = mesh.canonical(frame, self.levels).quads()
        codes = quantise(canonical.vertices, self.levels)[canonical.faces][..., ::-1]
        return np.where(canonical.faces[..., None] >= 0, codes, ABSENT).reshape(-1, self.codes_per_face)

    def decode(self, codes: IntArray) -> FloatArray:
        """[faces, 4, 3] coordinates in the unit box, NaN for an absent corner, of codes [faces, 12]."""
        corners = np.asarray(codes).reshape(-1, VERTICES_PER_FACE, self.codes_per_vertex)[..., ::-1]
        coordinates = dequantise(corners, self.levels)
        coordinates[(corners < 0).any(-1)] = np.nan
        return coordinates

    def code_vectors(self) -> Tensor:
        """[3, levels, 32] what each code means, as sines and cosines of its coordinate, so that near codes look alike."""
        position = torch.arange(self.levels) / (self.levels - 1)
        frequency = torch.logspace(0, math.log10(self.levels / 4), 16)
        angle = 2 * math.pi * position[:, None] * frequency
        return torch.cat([angle.sin(), angle.cos()], 1).expand(self.codes_per_vertex, -1, -1)

    def grammar(self, given: IntArray | None = None) -> CoordinateGrammar:
        """The rules for the next code after the faces `given` [faces, 12]."""
        return CoordinateGrammar(self.codebook_size, given)
