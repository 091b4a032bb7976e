"""The autoencoder's bottleneck: what faces say about their corners, averaged over the faces at a vertex, becomes the vertex's codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from vector_quantize_pytorch import ResidualLFQ, ResidualVQ

from core.geometry import group_means

if TYPE_CHECKING:
    from core.autoencoder_config import AutoencoderConfig


class VertexQuantiser(nn.Module):
    """Residual codes for vertices: lookup-free (LFQ, Yu et al. 2023) or learned vectors (VQ), by vector-quantize-pytorch.

    Always in float32: codes must not depend on the precision of training.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.recompute = config.checkpoint_quantizer
        sizes = {"dim": config.dim_codebook, "num_quantizers": config.num_quantizers, "codebook_size": config.codebook_size}
        self.residual: Any
        if config.use_residual_lfq:
            self.residual = ResidualLFQ(**{**sizes, "commitment_loss_weight": 1.0, **config.rlfq_kwargs, **config.rq_kwargs})
            if self.residual.has_projections:  # at first the code is the vector's first dimensions, where its place is (see PlaceEmbedding)
                for projection in (self.residual.project_in, self.residual.project_out):
                    nn.init.eye_(projection.weight)
                    nn.init.zeros_(projection.bias)
            return
        learned = {"shared_codebook": True, "rotation_trick": True, "stochastic_sample_codes": config.rvq_stochastic_sample_codes}
        self.residual = ResidualVQ(**{**sizes, **learned, **config.rvq_kwargs, **config.rq_kwargs})

    @property
    def codebooks(self) -> Tensor:
        """[codes of a vertex, codebook_size, width] what each code means; the vectors of a vertex's codes add up."""
        vectors: Tensor = self.residual.codebooks
        return vectors

    def forward(self, corners: Tensor, vertex: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise the mean of what lies at each vertex.

        corners: [corners, d]. vertex: [corners] which vertex each lies at, 0 and up. temperature: of drawn codes, while training learned
        vectors. Returns quantised vertices [vertices, d], their codes [vertices, k] (-1 where quantise dropout left one out), and the loss.
        """
        with torch.autocast(corners.device.type, enabled=False):
            means = group_means(corners.float(), vertex)[None]
            options: dict[str, Any] = {"sample_codebook_temp": temperature} if isinstance(self.residual, ResidualVQ) else {}
            if self.recompute and self.training and torch.is_grad_enabled():
                before = {name: buffer.clone() for name, buffer in self.residual.named_buffers()}

                def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
                    return nullcontext(), rewound(self.residual, before)

                quantised, codes, losses = checkpoint(self.residual, means, use_reentrant=False, context_fn=contexts, **options)
            else:
                quantised, codes, losses = self.residual(means, **options)
        return quantised[0], codes[0].long(), losses.sum()

    def vectors(self, codes: Tensor) -> Tensor:
        """[vertices, d] what codes [vertices, k] in 0..codebook_size-1 stand for; a code of -1 adds nothing."""
        quantised: Tensor = self.residual.get_output_from_indices(codes[None])[0]
        return quantised


@contextmanager
def rewound(module: nn.Module, before: dict[str, Tensor]) -> Iterator[None]:
    """The module's buffers as they were before; afterwards as they are now. A codebook learns in its forward pass, and must not twice."""
    after = {name: buffer.clone() for name, buffer in module.named_buffers()}
    for name, buffer in module.named_buffers():
        buffer.data.copy_(before[name])
    try:
        yield
    finally:  # recomputation stops by an exception as soon as it has what it needs
        for name, buffer in module.named_buffers():
            buffer.data.copy_(after[name])
