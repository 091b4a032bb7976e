"""MeshDiscretizer: faces as codes without learning. A vertex is its three grid coordinates, in the order z, y, x.

It stands where MeshAutoencoder can stand: between a Mesh and the transformer. A tokenizer has `codes_per_vertex`, `codes_per_face`,
`codebook_size`, `levels`, `encode`, `decode`, `code_vectors` and `grammar`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.mesh import LEVELS, FloatArray, Frame, IntArray, Mesh, dequantise, quantise

VERTICES_PER_FACE = 4
ABSENT = -1  # every code of the corner that a triangle lacks


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

    def grammar(self, given: IntArray | None = None) -> FaceGrammar:
        """The rules for the next code after the faces `given` [faces, 12], which new faces must not repeat."""
        return FaceGrammar(self.codebook_size, given)


class FaceGrammar:
    """Which code may come next, so that faces are neither degenerate nor repeated and stand in canonical order.

    The vocabulary is the codebook, then `absent`, then `end`. Ask `allowed()`, draw from what it allows, `push` the draw. When nothing
    is allowed the sample has run into a corner and must be given up.
    """

    def __init__(self, codebook_size: int, given: IntArray | None = None) -> None:
        self.absent, self.end = codebook_size, codebook_size + 1
        self.previous: list[int] = []  # the face before this one, absent as -1
        self.face: list[int] = []
        self.seen = {corners(face) for face in given.tolist()} if given is not None else set()
        self.ended = False

    def allowed(self) -> NDArray[np.bool_]:
        """[codebook_size + 2] the codes that may be pushed."""
        face, at = self.face, len(self.face)
        vertex, level = divmod(at, 3)
        mask = np.ones(self.end + 1, bool)
        mask[self.absent] = vertex == 3 and (level == 0 or face[9] == ABSENT)
        mask[self.end] = at == 0 and bool(self.seen)
        if vertex == 3 and level > 0 and face[9] == ABSENT:
            mask[: self.absent] = False
            return mask
        low = 0
        if self.previous and face == self.previous[:at]:  # still level with the face before: go up, or on along with it
            low = max(low, self.previous[at])
            if vertex == 3 and level == 0:
                mask[self.absent] = self.previous[at] == ABSENT
        if vertex and face[3 * vertex :] == face[:level]:  # corners after the first lie above it
            low = max(low, face[level] + (level == 2))
        mask[:low] = False
        if level == 2:
            self.forbid_repeats(mask, vertex)
        elif vertex == 3 and level == 0 and corners([*face, *[ABSENT] * 3]) in self.seen:
            mask[self.absent] = False
        return mask

    def forbid_repeats(self, mask: NDArray[np.bool_], vertex: int) -> None:
        """Strike out a last coordinate that would repeat a corner of this face, or this face one that has been."""
        face = self.face
        open_corner = tuple(face[-2:])
        for corner in range(vertex):
            if tuple(face[3 * corner : 3 * corner + 2]) == open_corner:
                mask[face[3 * corner + 2]] = False
        if vertex == 3:
            three = corners([*face[:9], *[ABSENT] * 3])
            for other in self.seen:
                if len(other) == 4 and three < other:
                    (missing,) = other - three
                    if missing[:2] == open_corner:
                        mask[missing[2]] = False

    def push(self, code: int) -> None:
        """Take the next code, one that `allowed()` allows."""
        if code == self.end:
            self.ended = True
            return
        self.face.append(ABSENT if code == self.absent else code)
        if len(self.face) == VERTICES_PER_FACE * 3:
            self.seen.add(corners(self.face))
            self.previous, self.face = self.face, []


def corners(face: list[int]) -> frozenset[tuple[int, ...]]:
    """The corners of a face of 12 codes, whatever their order."""
    return frozenset(tuple(face[i : i + 3]) for i in range(0, len(face), 3) if face[i] != ABSENT)
