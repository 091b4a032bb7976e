"""core.autoencoder while it trains: it learns with every part, gradients reach everything, half precision holds, every option counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.autoencoder import AutoencoderConfig, MeshAutoencoder
from tests.core.test_autoencoder import CONFIGURATIONS, PARTS, QUANTISERS, TINY, VQ, batch, meshes_for, trained

EVERYTHING: dict[str, Any] = {
    "quads": True,
    "vertex_encoder_depth": 1,
    "attn_encoder_depth": 1,
    "attn_decoder_depth": 1,
    "denoise_sigma": 1.0,
}


@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_steps_on_one_batch_lower_the_loss(options: dict[str, Any]) -> None:
    _, losses = trained(options, 8)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("quantiser", list(QUANTISERS))
@pytest.mark.parametrize("part", [*PARTS, "everything"])
def test_gradients_reach_every_parameter(part: str, quantiser: str) -> None:
    model, _ = trained({**TINY, **QUANTISERS[quantiser], **(EVERYTHING if part == "everything" else PARTS[part])}, 3)
    model.train().zero_grad()  # the first step passes nothing on behind what starts at zero
    vertices, faces = batch(meshes_for(vars(model.config)))
    model(vertices=vertices, faces=faces).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("quantiser", ["lfq", "vq"])
def test_recomputed_codes_give_the_same_gradients_and_the_same_codebook(quantiser: str) -> None:
    def after_a_step(recompute: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
        torch.manual_seed(0)
        drawn = {**QUANTISERS[quantiser], "rvq_stochastic_sample_codes": True}
        model = MeshAutoencoder(**{**TINY, **drawn, "checkpoint_quantizer": recompute})
        vertices, faces = batch(meshes_for({}))
        model(vertices=vertices, faces=faces).backward()
        return [p.grad for p in model.parameters() if p.grad is not None], dict(model.named_buffers())

    (plain, kept), (again, recomputed) = after_a_step(False), after_a_step(True)
    assert len(plain) == len(again) > 0
    assert all(a.equal(b) for a, b in zip(plain, again, strict=True))
    assert [name for name in kept if not kept[name].equal(recomputed[name])] == []


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("quantiser", ["lfq", "vq"])
def test_half_precision_stays_finite(quantiser: str, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    model = MeshAutoencoder(**{**TINY, **QUANTISERS[quantiser], **EVERYTHING})
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    vertices, faces = batch(meshes_for(EVERYTHING))
    losses = []
    for _ in range(200):
        with torch.autocast("cpu", precision):
            loss = model(vertices=vertices, faces=faces)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert torch.tensor(losses).isfinite().all()
    assert all(p.isfinite().all() for p in model.parameters())
    assert sum(losses[-20:]) < sum(losses[:20])


def test_quantised_vertices_keep_their_precision_under_autocast() -> None:
    model, _ = trained({**TINY, "quads": True}, 30)
    vertices, faces = batch(meshes_for({"quads": True}))
    whole = model.quantised(*first_two(model, vertices, faces))[0]
    with torch.autocast("cpu", torch.bfloat16):
        half = model.quantised(*first_two(model, vertices, faces))[0]
    assert whole.dtype == half.dtype == torch.float32


def first_two(model: MeshAutoencoder, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Any]:
    row = model.row(vertices, faces, None)
    return row.corners, row


# ---- every option has an effect


OTHERS: dict[str, tuple[dict[str, Any], Any]] = {  # what the option needs beside it, and another value for it
    "num_discrete_coors": ({}, 16),
    "coor_continuous_range": ({}, (-2.0, 2.0)),
    "quads": ({}, True),
    "dim_coor_embed": ({}, 8),
    "num_discrete_area": ({}, 5),
    "dim_area_embed": ({}, 8),
    "num_discrete_normals": ({}, 5),
    "dim_normal_embed": ({}, 8),
    "num_discrete_angle": ({}, 5),
    "dim_angle_embed": ({}, 8),
    "vertex_encoder_depth": ({}, 1),
    "dim_vertex_embed": ({"vertex_encoder_depth": 1}, 8),
    "encoder_dims_through_depth": ({}, (16, 16)),
    "neighbor_if_share_one_vertex": ({}, True),
    "sageconv_kwargs": ({}, {"normalize": False}),
    "attn_encoder_depth": ({}, 1),
    "dim_codebook": ({}, 32),
    "num_quantizers": ({}, 3),
    "codebook_size": ({}, 128),
    "use_residual_lfq": ({}, False),
    "rq_kwargs": ({}, {"quantize_dropout": True, "quantize_dropout_cutoff_index": 0}),
    "rlfq_kwargs": ({}, {"soft_clamp_input_value": 1.5}),
    "rvq_kwargs": (VQ, {"kmeans_init": False}),
    "rvq_stochastic_sample_codes": ({**VQ, "rvq_kwargs": {}}, True),
    "attn_decoder_depth": ({}, 1),
    "init_decoder_conv_kernel": ({}, 3),
    "decoder_dims_through_depth": ({}, (24, 16)),
    "resnet_dropout": ({}, 0.5),
    "use_linear_attn": ({"attn_encoder_depth": 1}, False),
    "linear_attn_kwargs": ({"attn_encoder_depth": 1}, {"dim_head": 2, "heads": 2}),
    "local_attn_window_size": ({"attn_encoder_depth": 1}, 1),
    "local_attn_kwargs": ({"attn_encoder_depth": 1}, {"dim_head": 2, "heads": 2}),
    "attn_dropout": ({"attn_encoder_depth": 1}, 0.5),
    "ff_dropout": ({"attn_encoder_depth": 1}, 0.5),
    "bin_smooth_blur_sigma": ({}, 1.0),
    "joint_loss_weight": ({}, 0.2),
    "commit_loss_weight": ({}, 1.0),
    "denoise_sigma": ({}, 2.0),
}
ELSEWHERE = {
    "pad_id": "test_another_number_may_mark_what_is_not_there",
    "checkpoint_quantizer": "test_recomputed_codes_give_the_same_gradients_and_the_same_codebook",
    "flash_attn": "test_without_flash_attention_the_plain_kernel_is_used",
}


def traces(options: dict[str, Any]) -> tuple[list[torch.Size], list[float]]:
    """The shapes of the parameters, and three losses while training from one start."""
    torch.manual_seed(0)
    model = MeshAutoencoder(**{**TINY, **options})
    for part in (model.encoder.leave, model.decoder.leave):
        torch.nn.init.normal_(part.weight)  # so that the networks have their say, which starts at zero
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    vertices, faces = batch(meshes_for({}))
    losses = []
    for step in range(3):
        torch.manual_seed(step)
        loss = model(vertices=vertices, faces=faces)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [p.shape for p in model.parameters()], losses


@pytest.mark.parametrize("name", list(OTHERS))
def test_another_value_of_an_option_is_another_model(name: str) -> None:
    beside, other = OTHERS[name]
    (shapes, losses), (other_shapes, other_losses) = traces(beside), traces({**beside, name: other})
    assert shapes != other_shapes or losses != pytest.approx(other_losses, rel=1e-6)


def test_no_option_is_left_out() -> None:
    assert {*OTHERS, *ELSEWHERE} == set(AutoencoderConfig.__dataclass_fields__)


@pytest.mark.parametrize("flash", [True, False])
def test_without_flash_attention_the_plain_kernel_is_used(flash: bool) -> None:
    torch.manual_seed(0)
    model = MeshAutoencoder(**TINY, attn_encoder_depth=1, flash_attn=flash).eval()
    vertices, faces = batch(meshes_for({}))
    with torch.profiler.profile() as profile, torch.no_grad():
        loss = model(vertices=vertices, faces=faces)
    kernels = {event.key for event in profile.key_averages()}
    assert ("aten::_scaled_dot_product_attention_math" in kernels) != flash
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        assert model(vertices=vertices, faces=faces).item() == pytest.approx(loss.item())


def test_the_temperature_of_drawn_codes_counts() -> None:
    def loss(temperature: float) -> float:
        torch.manual_seed(0)
        model = MeshAutoencoder(**TINY, use_residual_lfq=False, rvq_stochastic_sample_codes=True)
        vertices, faces = batch(meshes_for({}))
        return model(vertices=vertices, faces=faces, rvq_sample_codebook_temp=temperature).item()

    assert loss(0.1) != loss(10.0)


def test_codes_that_nobody_uses_are_put_where_they_are_used() -> None:
    def used(threshold: float) -> float:
        options = {"kmeans_init": False, "threshold_ema_dead_code": threshold, "decay": 0.5}
        model, _ = trained({**TINY, **VQ, "rvq_kwargs": options}, 20)
        row = model.row(*batch(meshes_for({})), None)
        return float(model.codebook_use(model.quantised(row.corners, row)[1]).sum())

    assert used(0.05) > used(0)
