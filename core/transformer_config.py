"""The options of a MeshTransformer. This is their only home: defaults stand here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.conditioning import SMALL

STACK_OPTIONS = ("attn_", "ff_")  # options of x-transformers that concern single layers begin so


@dataclass(frozen=True)
class TransformerConfig:
    """Options of a MeshTransformer; names that meshgpt-pytorch has too mean what they mean there.

    Sizes. dim: width of both stacks, or (coarse, fine). max_seq_len: the longest mesh, in codes; as many whole faces as fit.
    attn_depth, attn_dim_head, attn_heads: the coarse stack. fine_attn_depth, fine_attn_dim_head, fine_attn_heads: the fine stack.
    fine_reach: "mesh" if the fine stack looks back at every vertex so far, "face" if only at its own face.

    Layers. attn_kwargs: further options of x-transformers' AttentionLayers for the coarse stack, such as {"ff_glu": True}. flash_attn:
    torch's fused attention instead of plain products. dropout: within attention and feed-forward. coarse_pre_gateloop_depth,
    coarse_post_gateloop_depth, fine_pre_gateloop_depth: gate loops before or after attention. local_attn_window_size: how many faces
    attention reaches, the present one included; None for all. reversible: the coarse stack keeps no activations but its last.

    Inputs. num_sos_tokens: start tokens before the first face; None for 1. face_geometry: the coarse stack reads each face's angles, area
    and normal. face_distance_bias: attention among faces is biased by how far apart they are. Both need coordinates as codes
    (MeshDiscretizer). corner_hints: the fine stack is told before each corner what the grammar knows of it (core.hints); it needs
    coordinates too. quads: what the tokenizer's faces must be; None for whatever they are.

    Text. condition_on_text: whether there is any. text_condition_model_types, text_condition_model_kwargs: the towers, as in
    TextConditioner. text_condition_cond_drop_prob: share of the texts left out while training, for guidance.
    coarse_adaptive_rmsnorm: norms of the coarse stack get their gains from the text. text_cond_with_film: the inputs of both stacks are
    scaled and shifted by the text. fine_cross_attend_text: the fine stack attends to the text too. cross_attn_num_mem_kv: learned keys
    and values beside the text's. condition_on_properties: what is asked for beside the text (core.properties) are tokens before its own.

    Raises ValueError for a combination that cannot be built.
    """

    dim: int | tuple[int, int] = 512
    max_seq_len: int = 8192
    attn_depth: int = 12
    attn_dim_head: int = 64
    attn_heads: int = 8
    fine_attn_depth: int = 2
    fine_attn_dim_head: int = 64
    fine_attn_heads: int = 8
    fine_reach: str = "mesh"

    attn_kwargs: dict[str, Any] = field(default_factory=dict)
    flash_attn: bool = True
    dropout: float = 0.0
    coarse_pre_gateloop_depth: int = 0
    coarse_post_gateloop_depth: int = 0
    fine_pre_gateloop_depth: int = 0
    local_attn_window_size: int | None = None
    reversible: bool = False

    num_sos_tokens: int | None = None
    face_geometry: bool = False
    face_distance_bias: bool = False
    corner_hints: bool = False
    quads: bool | None = None

    condition_on_text: bool = False
    text_condition_model_types: tuple[str, ...] = (SMALL,)
    text_condition_model_kwargs: tuple[dict[str, Any], ...] = field(default_factory=lambda: ({},))
    text_condition_cond_drop_prob: float = 0.25
    coarse_adaptive_rmsnorm: bool = False
    text_cond_with_film: bool = False
    fine_cross_attend_text: bool = False
    cross_attn_num_mem_kv: int = 0
    condition_on_properties: bool = False

    def __post_init__(self) -> None:
        for name in ("dim", "text_condition_model_types", "text_condition_model_kwargs"):
            if isinstance(value := getattr(self, name), list):  # as JSON and YAML bring them
                object.__setattr__(self, name, tuple(value))
        if self.max_seq_len < 1:
            raise ValueError(f"max_seq_len is {self.max_seq_len}; use the number of codes of the longest mesh")
        if self.fine_reach not in ("mesh", "face"):
            raise ValueError(f'fine_reach is {self.fine_reach!r}; use "mesh" or "face"')
        if (self.num_sos_tokens or 1) < 1:
            raise ValueError(f"num_sos_tokens is {self.num_sos_tokens}; use 1 or more, or None")
        text_only = (
            *("coarse_adaptive_rmsnorm", "text_cond_with_film", "fine_cross_attend_text", "cross_attn_num_mem_kv"),
            "condition_on_properties",
        )
        if not self.condition_on_text and (given := [name for name in text_only if getattr(self, name)]):
            raise ValueError(f"{', '.join(given)} needs condition_on_text=True")
        if self.reversible and (other := [name for name in self.attn_kwargs if not name.startswith(STACK_OPTIONS)]):
            raise ValueError(f"attn_kwargs has {', '.join(other)}, which a reversible stack has no place for; leave one of them out")

    @property
    def widths(self) -> tuple[int, int]:
        """Of the coarse and of the fine stack."""
        return (self.dim, self.dim) if isinstance(self.dim, int) else self.dim
