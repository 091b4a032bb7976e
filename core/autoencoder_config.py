"""The options of a MeshAutoencoder, in the order the data meets them. This is their only home: defaults stand here and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

Options = dict[str, Any]


@dataclass(frozen=True)
class AutoencoderConfig:
    """Every option of a MeshAutoencoder. Plain values only: `asdict` of it is JSON, and `AutoencoderConfig(**json)` is it again.

    Raises ValueError, naming the option and its value, for what cannot be built.

    Meshes
        num_discrete_coors: grid points along an axis. coor_continuous_range: lowest and highest coordinate; the range is cut into that many
        cells, and a coordinate is the cell it lies in. quads: faces have up to four corners, and a triangle is a quad whose last corner is
        absent; otherwise every face is a triangle. pad_id: marks in faces, edges and codes what is not there; below 0.

    Faces as vectors
        dim_coor_embed: width of the embedding of one coordinate. num_discrete_area, _normals, _angle: cells that a face's size (square root
        of its area), each coordinate of its normal and each of its angles are cut into; dim_area_embed, dim_normal_embed,
        dim_angle_embed: widths of their embeddings.

    Encoder
        vertex_encoder_depth: graph layers along the edges of the mesh, from vertex to vertex, before faces are formed; 0 for none.
        dim_vertex_embed: width of these layers. encoder_dims_through_depth: widths of the graph layers from face to face.
        neighbor_if_share_one_vertex: faces are neighbours over a vertex instead of over an edge. sageconv_kwargs: for torch_geometric's
        SAGEConv, such as normalize, project, aggr. attn_encoder_depth: attention blocks behind the graph layers.

    Codes
        dim_codebook: width of a vertex before and after its codes. num_quantizers: codes of a vertex. codebook_size: different codes; a
        power of 2 for LFQ. use_residual_lfq: lookup-free codes (ResidualLFQ) instead of learned vectors (ResidualVQ). rq_kwargs: for
        either, such as quantize_dropout. rlfq_kwargs, rvq_kwargs: for the one or the other, such as threshold_ema_dead_code,
        rotation_trick, shared_codebook. rvq_stochastic_sample_codes: learned vectors are drawn by their distance while training, at the
        temperature that `forward` is given. checkpoint_quantizer: compute the codes twice instead of keeping what they were computed from.

    Decoder
        attn_decoder_depth: attention blocks before the convolutions. init_decoder_conv_kernel: faces that the first convolution sees, odd.
        decoder_dims_through_depth: widths of the convolution before, and of each residual block. resnet_dropout: in the blocks.

    Attention blocks
        use_linear_attn, linear_attn_kwargs: whether a block opens with attention to all faces at linear cost, and options of
        TaylorSeriesLinearAttn. local_attn_window_size: how many faces to each side local attention sees. local_attn_kwargs: its dim_head
        and heads. flash_attn: fused attention kernels may be used. attn_dropout, ff_dropout: of attention weights, and in the feed-forward.

    Loss
        bin_smooth_blur_sigma: how far the target of a coordinate is smeared over its neighbours, standard deviation in grid steps.
        joint_loss_weight, commit_loss_weight: of the joint cross entropy of a face, and of the quantiser's own loss.

    Denoising
        denoise_sigma: while training, the vertices of each mesh are moved by a random share of that many grid steps (standard deviation),
        and the decoder is told which share; 0 for never.
    """

    num_discrete_coors: int = 128
    coor_continuous_range: tuple[float, float] = (-1.0, 1.0)
    quads: bool = False
    pad_id: int = -1

    dim_coor_embed: int = 64
    num_discrete_area: int = 128
    dim_area_embed: int = 16
    num_discrete_normals: int = 128
    dim_normal_embed: int = 64
    num_discrete_angle: int = 128
    dim_angle_embed: int = 16

    vertex_encoder_depth: int = 0
    dim_vertex_embed: int = 64
    encoder_dims_through_depth: tuple[int, ...] = (64, 128, 256, 256, 576)
    neighbor_if_share_one_vertex: bool = False
    sageconv_kwargs: Options = field(default_factory=lambda: {"normalize": True, "project": True})
    attn_encoder_depth: int = 0

    dim_codebook: int = 192
    num_quantizers: int = 2
    codebook_size: int = 16384
    use_residual_lfq: bool = True
    rq_kwargs: Options = field(
        default_factory=lambda: {"quantize_dropout": True, "quantize_dropout_cutoff_index": 1, "quantize_dropout_multiple_of": 1}
    )
    rlfq_kwargs: Options = field(
        default_factory=lambda: {
            "frac_per_sample_entropy": 1.0,
            "soft_clamp_input_value": 10.0,
            "experimental_softplus_entropy_loss": True,
        }
    )
    rvq_kwargs: Options = field(default_factory=lambda: {"kmeans_init": True, "decay": 0.95, "threshold_ema_dead_code": 0.05})
    rvq_stochastic_sample_codes: bool = False
    checkpoint_quantizer: bool = False

    attn_decoder_depth: int = 0
    init_decoder_conv_kernel: int = 7
    decoder_dims_through_depth: tuple[int, ...] = (*(128,) * 4, *(192,) * 4, *(256,) * 6, *(384,) * 3)
    resnet_dropout: float = 0.0

    use_linear_attn: bool = True
    linear_attn_kwargs: Options = field(default_factory=lambda: {"dim_head": 8, "heads": 16})
    local_attn_window_size: int = 64
    local_attn_kwargs: Options = field(default_factory=lambda: {"dim_head": 32, "heads": 8})
    flash_attn: bool = True
    attn_dropout: float = 0.0
    ff_dropout: float = 0.0

    bin_smooth_blur_sigma: float = 0.4
    joint_loss_weight: float = 0.1
    commit_loss_weight: float = 0.1

    denoise_sigma: float = 0.0

    def __post_init__(self) -> None:
        for name in ("coor_continuous_range", "encoder_dims_through_depth", "decoder_dims_through_depth"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON and YAML bring lists
        for option in fields(self):
            check_kind(option.name, getattr(self, option.name), str(option.type))
        limits = self.coor_continuous_range
        require(len(limits) == 2 and limits[0] < limits[1], "coor_continuous_range", limits, "give a lower and a higher number")
        require(self.pad_id < 0, "pad_id", self.pad_id, "use a number below 0, for others are vertices")
        require(self.num_discrete_coors >= 2, "num_discrete_coors", self.num_discrete_coors, "use 2 or more")
        kernel = self.init_decoder_conv_kernel
        require(kernel % 2 == 1, "init_decoder_conv_kernel", kernel, "use an odd number")
        if self.use_residual_lfq:
            require(self.codebook_size.bit_count() == 1, "codebook_size", self.codebook_size, "LFQ needs a power of 2")
        require(self.codebook_size >= 2, "codebook_size", self.codebook_size, "use 2 or more")
        unknown = sorted(set(self.local_attn_kwargs) - {"dim_head", "heads"})
        require(not unknown, "local_attn_kwargs", self.local_attn_kwargs, "give dim_head and heads")
        require(self.local_attn_kwargs.get("dim_head", 2) % 2 == 0, "local_attn_kwargs", self.local_attn_kwargs, "dim_head must be even")

    @property
    def vertices_per_face(self) -> int:
        """Corners of a face, the absent ones included: 3, or 4 with quads."""
        return 4 if self.quads else 3


MAY_BE_ZERO = {"vertex_encoder_depth", "attn_encoder_depth", "attn_decoder_depth"}


def check_kind(name: str, value: Any, kind: str) -> None:
    """Raises ValueError if the value of an option is not of its kind, or out of the range that its kind and name imply."""
    if kind == "bool":
        require(isinstance(value, bool), name, value, "use True or False")
    elif kind == "int" and name != "pad_id":
        low = 0 if name in MAY_BE_ZERO else 1
        require(is_whole(value) and value >= low, name, value, f"use a whole number, {low} or more")
    elif kind == "int":
        require(is_whole(value), name, value, "use a whole number")
    elif kind == "float":
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
        require(number, name, value, "use a number, 0 or more")
        require(not name.endswith("dropout") or value < 1, name, value, "use a share below 1")
    elif kind == "tuple[int, ...]":
        require(len(value) > 0 and all(is_whole(width) and width > 0 for width in value), name, value, "give whole numbers, 1 or more")
    elif kind == "Options":
        require(isinstance(value, dict), name, value, "give a dictionary")


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def require(fine: bool, name: str, value: Any, wanted: str) -> None:
    """Raises ValueError about an option that is not fine."""
    if not fine:
        raise ValueError(f"{name} is {value!r}; {wanted}")
