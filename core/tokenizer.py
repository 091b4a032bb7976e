"""The contract between meshes and the transformer: faces to codes and back. Two classes keep it, and a checkpoint says which it needs."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.grammar import CodeGrammar
from core.mesh import FloatArray, Frame, IntArray, Mesh


class Tokenizer(Protocol):
    """Faces of four corners, each of `codes_per_vertex` codes in 0..codebook_size-1; every code of an absent corner is -1."""

    @property
    def codes_per_vertex(self) -> int:
        """k."""

    @property
    def codes_per_face(self) -> int:
        """4 k."""

    @property
    def codebook_size(self) -> int:
        """How many different codes there are at each level."""

    @property
    def levels(self) -> int:
        """Grid points along an axis of the unit box."""

    def encode(self, mesh: Mesh, frame: Frame | None = None) -> IntArray:
        """[faces, 4 k] the canonical form of a mesh as codes. frame: as in Mesh.canonical."""

    def decode(self, codes: IntArray) -> FloatArray:
        """[faces, 4, 3] coordinates in the unit box, NaN for an absent corner."""

    def code_vectors(self) -> Tensor:
        """[k, codebook_size, width] what each code means."""

    def grammar(self, given: IntArray | None = None) -> CodeGrammar:
        """The rules for the next code after the faces `given` [faces, 4 k]."""


def make_tokenizer(kind: str | dict[str, Any], levels: int, weights: dict[str, Tensor]) -> Tokenizer:
    """The tokenizer of a checkpoint. kind: "discretizer", or the fields of an AutoencoderConfig, which `weights` fit.

    Raises MeshGPTError (bad_checkpoint) if it is of another kind or the weights do not fit.
    """
    if kind == "discretizer":
        return MeshDiscretizer(levels)
    from core.autoencoder import AutoencoderConfig, MeshAutoencoder  # needs packages that the discretizer does without

    try:
        autoencoder = MeshAutoencoder(AutoencoderConfig(**kind))  # type: ignore[arg-type]
        autoencoder.load_state_dict(weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MeshGPTError(
            "the checkpoint's tokenizer is of a kind that is not known here, or its weights do not fit",
            hint="copy or download the model again",
            code="bad_checkpoint",
        ) from error
    return autoencoder.eval()
