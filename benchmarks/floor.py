"""The floor: no face can be generated faster than what it has to read comes out of memory.

At batch 1 a matrix is read for a single vector, so that reading it takes longer than the arithmetic. A model with a coarse stack (a step a
face) and a fine stack (a step a code) reads the one once and the other once a code; both read what they remember of earlier faces.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reads:
    """What a generated face reads at batch 1, in bytes.

    face_weights: weights used once a face. code_weights: weights used once a code. codes: of a face. cache: keys and values that one
    earlier face adds to all that the face reads. parameters: of the whole model, a count.
    """

    face_weights: float
    code_weights: float
    codes: int
    cache: float
    parameters: int

    def of_face(self, earlier: float) -> float:
        """Bytes that a face reads after so many earlier ones."""
        return self.face_weights + self.codes * self.code_weights + self.cache * earlier

    def share(self, seconds: float, earlier: float, bandwidth: float) -> float:
        """The floor's seconds over the seconds that a face took. bandwidth: bytes a second."""
        return self.of_face(earlier) / bandwidth / seconds
