"""The contract between meshes and the transformer: faces to codes and back. Two classes keep it, and a checkpoint says which it needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Protocol

from torch import Tensor

from core.checkpoint import bad_checkpoint
from core.discretizer import MeshDiscretizer
from core.grammar import CodeGrammar
from core.mesh import FloatArray, Frame, IntArray, Mesh


class Tokenizer(Protocol):
    """Faces of v corners, each of k codes in 0..codebook_size-1; every code of an absent corner is -1."""

    @property
    def vertices_per_face(self) -> int:
        """v: 3, or 4 where quads are known, and a triangle is a quad whose last corner is absent."""

    @property
    def codes_per_vertex(self) -> int:
        """k."""

    @property
    def codes_per_face(self) -> int:
        """v k."""

    @property
    def codebook_size(self) -> int:
        """How many different codes there are at each level."""

    @property
    def levels(self) -> int:
        """Grid points along an axis of the unit box."""

    def encode(self, mesh: Mesh, frame: Frame | None = None) -> IntArray:
        """[faces, v k] the canonical form of a mesh as codes. frame: as in Mesh.canonical."""

    def decode(self, codes: IntArray) -> FloatArray:
        """[faces, v, 3] coordinates in the unit box, NaN for an absent corner."""

    def tokenize(self, vertices: Tensor, faces: Tensor, face_edges: Tensor | None = None) -> Tensor:
        """[b, n v, k] codes of a batch of meshes, padded with -1."""

    def decode_from_codes_to_faces(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates [b, n, v, 3], NaN where absent, and which faces there are [b, n], of codes [b, n v, k] padded with -1."""

    def code_vectors(self) -> Tensor:
        """[k, codebook_size, width] what each code means."""

    def grammar(self, given: IntArray | None = None) -> CodeGrammar:
        """The rules for the next code after the faces `given` [faces, v k]."""


def describe_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """Plain values from which `make_tokenizer` makes the same, without its weights."""
    if isinstance(tokenizer, MeshDiscretizer):
        return {"model": "MeshDiscretizer", "levels": tokenizer.levels, "quads": tokenizer.vertices_per_face == 4}
    learned: Any = tokenizer
    return {"model": "MeshAutoencoder", **asdict(learned.config)}


def make_tokenizer(facts: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `describe_tokenizer` described. Raises MeshGPTError (bad_checkpoint) if it is of no kind that is known here."""
    options = dict(facts)
    kind = options.pop("model", None)
    try:
        if kind == "MeshDiscretizer":
            return MeshDiscretizer(**options)
        if kind == "MeshAutoencoder":
            from core.autoencoder import MeshAutoencoder  # needs packages that the discretizer does without

            return MeshAutoencoder(**options)
    except (TypeError, ValueError) as error:
        raise bad_checkpoint(f"the checkpoint's tokenizer cannot be made ({error})", "copy or download the model again") from error
    raise bad_checkpoint(f"the checkpoint's tokenizer is a {kind}, which is not known here", "use the version it was made with")
