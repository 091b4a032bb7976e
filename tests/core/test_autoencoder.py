"""core.autoencoder: what goes in and comes out, padding, learning, and the tokenizer's contract, on models small enough to train here."""

from __future__ import annotations

import math
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.adjacency import derive_face_edges_from_faces
from core.autoencoder import AutoencoderConfig, LossBreakdown, MeshAutoencoder, weld
from core.errors import MeshGPTError
from core.geometry import discretise, face_geometry, group_means, smoothed_targets, undiscretise
from core.mesh import Frame, Mesh, quantise

TINY: dict[str, Any] = {
    "num_discrete_coors": 32,
    "dim_coor_embed": 4,
    "dim_area_embed": 4,
    "dim_normal_embed": 4,
    "dim_angle_embed": 4,
    "encoder_dims_through_depth": (16, 24),
    "decoder_dims_through_depth": (24, 24, 16),
    "dim_codebook": 24,
    "codebook_size": 64,
    "local_attn_window_size": 2,
    "local_attn_kwargs": {"dim_head": 4, "heads": 2},
    "linear_attn_kwargs": {"dim_head": 4, "heads": 2},
}
VQ: dict[str, Any] = {"use_residual_lfq": False, "rvq_stochastic_sample_codes": False}
QUANTISERS = {"lfq": {}, "vq": VQ, "vq-two-codebooks": {**VQ, "rvq_kwargs": {"shared_codebook": False, "kmeans_init": True}}}
PARTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "vertex stage": {"vertex_encoder_depth": 1, "dim_vertex_embed": 8},
    "attention": {"attn_encoder_depth": 1, "attn_decoder_depth": 1},
    "local attention alone": {"attn_encoder_depth": 1, "attn_decoder_depth": 1, "use_linear_attn": False},
    "denoising": {"denoise_sigma": 1.0},
    "checkpointed codes": {"checkpoint_quantizer": True},
    "neighbours over a vertex": {"neighbor_if_share_one_vertex": True},
}
CONFIGURATIONS = [
    pytest.param({**TINY, **quantiser, **part, "quads": quads}, id=f"{part_name}, {name}, {'quads' if quads else 'triangles'}")
    for (part_name, part) in PARTS.items()
    for (name, quantiser), quads in [(("lfq", {}), False), (("vq", VQ), True)]
]

CUBE_VERTICES = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
CUBE = Mesh(CUBE_VERTICES, np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]))
PRISM = Mesh(
    np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3], [2, 0, 3], [0, 1, 3]]),
    np.array([[0, 2, 1, -1], [3, 4, 5, -1], [0, 1, 4, 3], [1, 2, 5, 4], [2, 0, 3, 5]]),
)
TETRAHEDRON = Mesh(CUBE_VERTICES[[0, 1, 2, 4]], np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]))
MESHES = {"quads": CUBE, "mixed": PRISM, "triangles": TETRAHEDRON}
MIXED_BATCH = [CUBE, PRISM, TETRAHEDRON]
TRIANGLE_BATCH = [Mesh(mesh.vertices, mesh.triangles()) for mesh in MIXED_BATCH]


def batch(meshes: list[Mesh], spare: int = 0, levels: int = 32) -> tuple[Tensor, Tensor]:
    """Coordinates in -1..1 and faces of canonical meshes, `spare` rows of padding beyond the longest."""
    canonical = [mesh.canonical(levels=levels) for mesh in meshes]
    vertices = torch.full((len(meshes), max(len(mesh.vertices) for mesh in canonical) + spare, 3), torch.nan)
    width = max(mesh.faces.shape[1] for mesh in canonical)
    faces = torch.full((len(meshes), max(len(mesh.faces) for mesh in canonical) + spare, width), -1)
    for row, mesh in enumerate(canonical):
        grid = torch.from_numpy(quantise(mesh.vertices, levels))
        vertices[row, : len(mesh.vertices)] = undiscretise(grid, (-1, 1), levels)
        faces[row, : len(mesh.faces), : mesh.faces.shape[1]] = torch.from_numpy(mesh.faces)
    return vertices, faces


def meshes_for(options: dict[str, Any]) -> list[Mesh]:
    return MIXED_BATCH if options.get("quads") else TRIANGLE_BATCH


def trained(options: dict[str, Any], steps: int) -> tuple[MeshAutoencoder, list[float]]:
    """A model after some steps on one batch, and the loss before each."""
    torch.manual_seed(0)
    model = MeshAutoencoder(**options)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    vertices, faces = batch(meshes_for(options))
    losses = []
    for _ in range(steps):
        loss = model(vertices=vertices, faces=faces)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), losses


@pytest.fixture(scope="module", params=list(QUANTISERS))
def model(request: pytest.FixtureRequest) -> MeshAutoencoder:
    """One that has seen MIXED_BATCH often."""
    return trained({**TINY, **QUANTISERS[request.param], "quads": True}, 120)[0]


# ---- the calls that a user knows


def test_the_short_way_to_a_loss_and_codes() -> None:
    autoencoder = MeshAutoencoder(num_discrete_coors=128)
    vertices, faces = torch.rand(2, 9, 3) * 2 - 1, torch.randint(0, 9, (2, 5, 3))
    loss = autoencoder(vertices=vertices, faces=faces)
    loss.backward()
    assert loss.shape == ()
    codes = autoencoder.tokenize(vertices=vertices, faces=faces)
    assert codes.shape == (2, 15, 2)
    coordinates, face_mask = autoencoder.decode_from_codes_to_faces(codes)
    assert coordinates.shape == (2, 5, 3, 3)
    assert face_mask.all()


def test_one_mesh_may_come_without_a_batch(model: MeshAutoencoder) -> None:
    vertices, faces = batch([PRISM])
    edges = derive_face_edges_from_faces(faces)
    alone = model.tokenize(vertices[0], faces[0])
    assert alone.shape == (20, 2)
    assert alone.equal(model.tokenize(vertices, faces)[0])
    assert alone.equal(model.tokenize(vertices[0], faces[0], edges[0]))


def test_edges_may_be_derived_beforehand(model: MeshAutoencoder) -> None:
    vertices, faces = batch(MIXED_BATCH)
    edges = derive_face_edges_from_faces(faces)
    assert model(vertices=vertices, faces=faces, face_edges=edges).equal(model(vertices=vertices, faces=faces))
    cut = edges[:, :1]  # other edges are another graph
    assert not model.encoder(*of(model, vertices, faces, cut)).allclose(model.encoder(*of(model, vertices, faces, edges)))


def of(model: MeshAutoencoder, vertices: Tensor, faces: Tensor, edges: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    row = model.row(vertices, faces, edges)
    return row.corners, row.faces, row.edges, row.mesh


def test_the_breakdown_names_the_parts_of_the_loss(model: MeshAutoencoder) -> None:
    vertices, faces = batch(MIXED_BATCH)
    loss, parts = model.train()(vertices=vertices, faces=faces, return_loss_breakdown=True)
    model.eval()
    assert isinstance(parts, LossBreakdown)
    total = parts.reconstruction + 0.1 * parts.joint + 0.1 * parts.commitment
    assert loss.item() == pytest.approx(total.item())
    assert (parts.codebook_use > 0).all()
    assert (parts.codebook_use <= 1).all()


def test_cross_entropies_are_those_of_the_logits() -> None:
    torch.manual_seed(0)
    model = MeshAutoencoder(**TINY, bin_smooth_blur_sigma=0.0).eval()
    vertices, faces = batch([TETRAHEDRON])
    row = model.row(vertices, faces, None)
    quantised, _, _ = model.quantised(row.corners, row)
    logits = model.decoder(quantised, row.faces >= 0, row.mesh, torch.zeros(4))
    a_coordinate = torch.nn.functional.cross_entropy(logits.flatten(0, 1), row.corners.flatten()).item()
    _, parts = model(vertices=vertices, faces=faces, return_loss_breakdown=True)
    assert parts.reconstruction.item() == pytest.approx(a_coordinate, rel=1e-5)  # without smoothing
    assert parts.joint.item() == pytest.approx(9 * a_coordinate, rel=1e-5)  # nine independent coordinates a triangle


def test_codebook_use_is_the_share_of_codes_that_appear(model: MeshAutoencoder) -> None:
    codes = torch.tensor([[[0, 5], [1, 5], [0, 5], [-1, -1]]])
    assert model.codebook_use(codes).tolist() == pytest.approx([2 / 64, 1 / 64])


# ---- padding and company


@pytest.mark.parametrize("options", CONFIGURATIONS)
@torch.no_grad()
def test_meshes_of_a_batch_do_not_see_each_other_nor_their_padding(options: dict[str, Any]) -> None:
    torch.manual_seed(3)
    # codes from k-means would lie on the few vertices here, and what is left to quantise then is nothing but rounding
    model = MeshAutoencoder(**{**options, "rvq_kwargs": {"kmeans_init": False}})
    model.eval()
    for part in (model.encoder.leave, model.decoder.leave):
        torch.nn.init.normal_(part.weight, std=0.3)  # so that the networks have their say, which starts at zero
    meshes = meshes_for(options)
    vertices, faces = batch(meshes, spare=5)
    together = model.row(vertices, faces, None)
    told = model.encoder(together.corners, together.faces, together.edges, together.mesh)
    codes = model.tokenize(vertices, faces)
    places, mask = model.decode_from_codes_to_faces(codes)
    losses, weights = [], []
    for index, mesh in enumerate(meshes):
        alone_vertices, alone_faces = batch([mesh])
        row = model.row(alone_vertices, alone_faces, None)
        assert model.encoder(row.corners, row.faces, row.edges, row.mesh).allclose(told[together.mesh == index], atol=1e-5)
        alone_codes = model.tokenize(alone_vertices, alone_faces)
        count = alone_codes.shape[1]
        assert alone_codes[0].equal(codes[index, :count])
        assert (codes[index, count:] == -1).all()
        alone_places, _ = model.decode_from_codes_to_faces(alone_codes)
        n = alone_places.shape[1]
        assert mask[index].tolist() == [True] * n + [False] * (mask.shape[1] - n)
        assert torch.equal(alone_places[0].nan_to_num(9), places[index, :n].nan_to_num(9))
        assert places[index, n:].isnan().all()
        _, parts = model(vertices=alone_vertices, faces=alone_faces, return_loss_breakdown=True)
        losses.append([parts.reconstruction.item(), parts.joint.item()])
        weights.append([int((alone_faces >= 0).sum()), n])
    _, parts = model(vertices=vertices, faces=faces, return_loss_breakdown=True)
    means = [np.average(column, weights=share) for column, share in zip(zip(*losses), zip(*weights))]  # noqa: B905
    assert [parts.reconstruction.item(), parts.joint.item()] == pytest.approx(means, rel=1e-4)


def test_padding_may_hold_anything(model: MeshAutoencoder) -> None:
    vertices, faces = batch([TETRAHEDRON], spare=2)
    codes = model.tokenize(vertices, faces)
    vertices[:, 4:] = -1000
    assert model.tokenize(vertices, faces).equal(codes)


def test_another_number_may_mark_what_is_not_there() -> None:
    torch.manual_seed(0)
    usual = MeshAutoencoder(**TINY, quads=True).eval()
    other = MeshAutoencoder(**TINY, quads=True, pad_id=-7).eval()
    other.load_state_dict(usual.state_dict())
    vertices, faces = batch(MIXED_BATCH)
    codes, others = usual.tokenize(vertices, faces), other.tokenize(vertices, torch.where(faces < 0, -7, faces))
    assert others.equal(torch.where(codes < 0, -7, codes))
    assert torch.equal(
        *(found.nan_to_num(9) for found in (usual.decode_from_codes_to_faces(codes)[0], other.decode_from_codes_to_faces(others)[0]))
    )
    assert np.array_equal(usual.encode(PRISM), other.encode(PRISM))


def test_coordinates_and_grid_indices_are_the_same_mesh(model: MeshAutoencoder) -> None:
    vertices, faces = batch([PRISM])
    grid = discretise(vertices, (-1, 1), 32)
    assert model.tokenize(grid, faces).equal(model.tokenize(vertices, faces))


def test_triangles_may_come_with_or_without_a_fourth_column(model: MeshAutoencoder) -> None:
    vertices, faces = batch([TETRAHEDRON])
    padded = torch.nn.functional.pad(faces, (0, 1), value=-1)
    assert model.tokenize(vertices, faces).equal(model.tokenize(vertices, padded))
    triangles = MeshAutoencoder(**TINY).eval()
    assert triangles.tokenize(vertices, faces).equal(triangles.tokenize(vertices, padded))


# ---- round trips


@pytest.mark.parametrize("kind", list(MESHES))
def test_meshes_seen_often_come_back_exactly(model: MeshAutoencoder, kind: str) -> None:
    vertices, faces = batch([MESHES[kind]])
    faces = torch.nn.functional.pad(faces, (0, 4 - faces.shape[-1]), value=-1)
    found, mask = model.decode_from_codes_to_faces(model.tokenize(vertices, faces))
    wanted = vertices[0][faces[0]].masked_fill(faces[0, ..., None] < 0, torch.nan)
    assert mask.all()
    assert torch.allclose(found[0], wanted, atol=1e-6, equal_nan=True)


def test_meshes_come_back_through_the_contract_too(model: MeshAutoencoder) -> None:
    for mesh in MIXED_BATCH:
        canonical = mesh.canonical(levels=32).quads()
        assert np.array_equal(model.decode(model.encode(mesh)), canonical.face_coordinates(), equal_nan=True)


def test_a_mask_chooses_what_is_decoded(model: MeshAutoencoder) -> None:
    codes = model.tokenize(*batch([CUBE]))
    mask = torch.tensor([[True, True, False, True, False, True]])
    found, kept = model.decode_from_codes_to_faces(codes, mask)
    assert kept.equal(mask)
    assert found.isnan().all(-1).all(-1).equal(~mask)


def test_codes_may_come_as_one_sequence(model: MeshAutoencoder) -> None:
    codes = model.tokenize(*batch(MIXED_BATCH))
    whole, flat = model.decode_from_codes_to_faces(codes)[0], model.decode_from_codes_to_faces(codes.flatten(1))[0]
    assert whole.nan_to_num(9).equal(flat.nan_to_num(9))


def test_coordinates_lie_in_the_range_that_was_asked_for() -> None:
    torch.manual_seed(0)
    narrow, wide = (MeshAutoencoder(**TINY, coor_continuous_range=(-size, size)).eval() for size in (1.0, 10.0))
    wide.load_state_dict(narrow.state_dict())
    vertices, faces = batch([TETRAHEDRON])
    codes = narrow.tokenize(vertices, faces)
    assert wide.tokenize(10 * vertices, faces).equal(codes)
    assert not wide.tokenize(vertices, faces).equal(codes)
    assert torch.allclose(wide.decode_from_codes_to_faces(codes)[0], 10 * narrow.decode_from_codes_to_faces(codes)[0])


# ---- the contract of core.tokenizer


def test_codes_are_whole_numbers_of_the_codebook_and_absent_corners_have_none(model: MeshAutoencoder) -> None:
    codes = model.encode(PRISM)
    assert codes.shape == (5, model.codes_per_face) == (5, 8)
    assert codes.dtype == np.int64
    quad = PRISM.canonical(levels=32).faces[:, 3] >= 0
    assert (codes[~quad, 6:] == -1).all()
    assert codes[quad].min() >= 0
    assert codes[:, :6].min() >= 0
    assert codes.max() < model.codebook_size == 64


def test_corners_at_one_vertex_have_the_same_codes(model: MeshAutoencoder) -> None:
    faces, codes = CUBE.canonical(levels=32).faces, model.encode(CUBE).reshape(-1, 4, 2)
    for vertex in range(8):
        assert len(np.unique(codes[faces == vertex], axis=0)) == 1


@pytest.mark.parametrize("quads", [False, True])
def test_corners_with_the_same_codes_come_out_welded(quads: bool) -> None:
    torch.manual_seed(1)
    untrained = MeshAutoencoder(**TINY, quads=quads)
    torch.nn.init.normal_(untrained.decoder.leave.weight)  # so that the decoder answers by face as well as by vertex
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (2, 20, 3 + quads, 2)))
    places, _ = untrained.decode_from_codes_to_faces(codes)
    for corners, found in zip(codes.flatten(1, 2), places.flatten(1, 2), strict=True):
        for corner in torch.unique(corners, dim=0):
            assert len(torch.unique(found[(corners == corner).all(1)], dim=0)) == 1


def test_a_model_of_triangles_keeps_the_contract_with_three_corners() -> None:
    torch.manual_seed(0)
    model = MeshAutoencoder(**TINY).eval()
    assert (model.vertices_per_face, model.codes_per_vertex, model.codes_per_face) == (3, 2, 6)
    codes = model.encode(TETRAHEDRON)
    assert codes.shape == (4, 6)
    coordinates = model.decode(codes)
    assert coordinates.shape == (4, 3, 3)
    assert np.isfinite(coordinates).all()
    with pytest.raises(MeshGPTError, match=r"faces holds a quad.* knows triangles only"):
        model.encode(CUBE)


@pytest.mark.parametrize("quads", [False, True])
def test_the_grammar_knows_the_codes(quads: bool) -> None:
    torch.manual_seed(0)
    model = MeshAutoencoder(**TINY, quads=quads).eval()
    mesh = PRISM if quads else TETRAHEDRON
    grammar = model.grammar()
    for code in model.encode(mesh).flatten().tolist():
        symbol = grammar.absent if code < 0 else code
        assert grammar.allowed()[symbol]
        grammar.push(symbol)
    assert grammar.previous == model.encode(mesh)[-1].tolist()
    assert len(grammar.allowed()) == model.codebook_size + 2
    for _ in range(6):
        grammar.push(0)
    assert (grammar.face == []) != quads  # a triangle is whole after three corners
    assert grammar.allowed()[grammar.absent] == quads


def test_what_decoding_makes_of_vertices_is_what_training_sees(model: MeshAutoencoder) -> None:
    row = model.row(*batch([PRISM]), None)
    quantised, codes, _ = model.quantised(row.corners, row)
    present = row.faces >= 0
    again = model.quantiser.vectors(codes[present])
    assert torch.allclose(quantised, again, atol=1e-5)
    vectors = model.code_vectors()
    assert vectors.shape[:2] == (2, 64)
    summed = sum(vectors[level, codes[present][:, level]] for level in range(2))
    assert torch.allclose(model.quantiser.residual.project_out(summed), again, atol=1e-5)


def test_a_frame_places_the_mesh_before_it_is_encoded(model: MeshAutoencoder) -> None:
    assert not np.array_equal(model.encode(CUBE, Frame((0.5, 0.5, 0.0), 2.0)), model.encode(CUBE))


def test_no_codes_are_no_faces(model: MeshAutoencoder) -> None:
    assert model.decode(np.zeros((0, 8), np.int64)).shape == (0, 4, 3)


def test_encoding_and_decoding_leave_the_model_in_the_mode_it_was_in(model: MeshAutoencoder) -> None:
    model.train()
    codes = model.tokenize(*batch([CUBE]))
    model.decode_from_codes_to_faces(codes)
    model.decode(model.encode(CUBE))
    assert model.training
    assert model.quantiser.residual.training
    model.eval()
    model.tokenize(*batch([CUBE]))
    assert not model.training


def test_a_saved_autoencoder_encodes_as_before(model: MeshAutoencoder, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    loaded = MeshAutoencoder.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert np.array_equal(loaded.encode(PRISM), model.encode(PRISM))


# ---- parts


def test_targets_are_bells_around_the_wanted_index() -> None:
    targets = smoothed_targets(129, 0.4)
    assert targets.sum(1) == pytest.approx(np.ones(129))
    assert targets.argmax(1).tolist() == list(range(129))
    assert (targets[60, 61] / targets[60, 60]).item() == pytest.approx(np.exp(-1 / (2 * 0.4**2)))
    assert smoothed_targets(5, 0.0).equal(torch.eye(5))


def test_geometry_of_a_right_triangle_and_a_square() -> None:
    corners = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [9, 9, 9]], [[0, 0, 0], [0, 3, 0], [0, 3, 3], [0, 0, 3]]])
    normal, size, angles = face_geometry(corners, torch.tensor([[True, True, True, False], [True] * 4]))
    assert normal.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert size.flatten().tolist() == pytest.approx([math.sqrt(2), 3])
    assert (angles[0] / math.pi).tolist() == pytest.approx([1 / 2, 1 / 4, 1 / 4, 0])
    assert (angles[1] / math.pi).tolist() == pytest.approx([1 / 2] * 4)
    alone = face_geometry(corners[:1, :3], torch.ones(1, 3, dtype=torch.bool))
    assert [part.squeeze().tolist() for part in alone] == [normal[0].tolist(), size[0].item(), angles[0, :3].tolist()]


def test_geometry_of_a_face_without_area_is_finite() -> None:
    for part in face_geometry(torch.zeros(1, 4, 3), torch.tensor([[True, True, True, False]])):
        assert part.isfinite().all()


def test_cells_hold_their_middles_and_clamp_what_lies_outside() -> None:
    cells = torch.arange(7)
    assert discretise(undiscretise(cells, (-2, 5), 7), (-2, 5), 7).equal(cells)
    assert undiscretise(cells, (-2, 5), 7).tolist() == pytest.approx([-1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5])
    assert discretise(torch.tensor([-9.0, 5.0, 9.0]), (-2, 5), 7).tolist() == [0, 6, 6]


def test_a_vertex_takes_the_mean_of_its_corners() -> None:
    means = group_means(torch.tensor([[1.0, 2], [3, 4], [5, 6]]), torch.tensor([1, 0, 1]))
    assert means.tolist() == [[3, 4], [3, 4]]


def test_welding_averages_logits_before_choosing() -> None:
    logits = torch.zeros(3, 3, 5)
    logits[0, :, 1], logits[1, :, 2], logits[2, :, 4] = 1, 3, 1  # corners 0 and 1 have equal codes and disagree
    assert weld(logits, torch.tensor([[7, 8], [7, 8], [8, 7]])).tolist() == [[2] * 3, [2] * 3, [4] * 3]


def test_the_vertex_stage_carries_word_along_edges_only() -> None:
    torch.manual_seed(0)
    stage = MeshAutoencoder(**TINY, vertex_encoder_depth=1, dim_vertex_embed=8).eval().encoder.vertices
    assert stage is not None
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [3, 1, 4]])
    grid = torch.randint(0, 32, (5, 3))
    before = stage(grid[faces], faces)
    grid[4] = (grid[4] + 9) % 32
    changed = (stage(grid[faces], faces) != before).any(-1)
    neighbours = {1, 3, 4}  # of vertex 4, and itself
    assert changed.equal(torch.tensor([[corner in neighbours for corner in face] for face in faces.tolist()]))


def test_a_denoiser_decodes_by_the_level_of_noise() -> None:
    model, _ = trained({**TINY, "denoise_sigma": 2.0}, 30)
    row = model.row(*batch(TRIANGLE_BATCH), None)
    model.train()
    torch.manual_seed(0)
    moved, level = model.disturbed(row)
    model.eval()
    step = (moved - row.corners).abs().float()
    assert step.max() > 0
    for one, other in pairwise(sorted(set(zip(level.tolist(), row.mesh.tolist(), strict=True)))):
        assert one[1] != other[1]  # one level a mesh
    assert (moved[0, 0] == moved[row.faces == row.faces[0, 0]]).all()  # a vertex moves as one
    assert model.disturbed(row)[0].equal(row.corners)  # only while training
    quantised, _, _ = model.quantised(row.corners, row)
    clean, noisy = (model.decoder(quantised, row.faces >= 0, row.mesh, torch.full((len(row.faces),), x)) for x in (0.0, 1.0))
    assert not clean.allclose(noisy)
    with pytest.raises(MeshGPTError, match=r"noise_level is 0\.5"):
        MeshAutoencoder(**TINY).decode_from_codes_to_faces(torch.zeros(1, 3, 2, dtype=torch.long), noise_level=0.5)


# ---- options


@pytest.mark.parametrize("kind", ["dataclass", "keywords", "json"])
def test_options_come_as_a_dataclass_or_as_keywords(kind: str) -> None:
    config = AutoencoderConfig(**TINY)
    model = {
        "dataclass": lambda: MeshAutoencoder(config),
        "keywords": lambda: MeshAutoencoder(**TINY),
        "json": lambda: MeshAutoencoder(**__import__("json").loads(__import__("json").dumps(asdict(config)))),
    }[kind]()
    assert model.config == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codebook_size": 100}, "codebook_size is 100; LFQ needs a power of 2"),
        ({"init_decoder_conv_kernel": 4}, "init_decoder_conv_kernel is 4; use an odd number"),
        ({"bin_smooth_blur_sigma": -1.0}, r"bin_smooth_blur_sigma is -1\.0"),
        ({"coor_continuous_range": (1.0, -1.0)}, r"coor_continuous_range is \(1\.0, -1\.0\)"),
        ({"pad_id": 0}, "pad_id is 0"),
        ({"num_quantizers": 0}, "num_quantizers is 0; use a whole number, 1 or more"),
        ({"dim_codebook": 2.5}, r"dim_codebook is 2\.5"),
        ({"encoder_dims_through_depth": ()}, r"encoder_dims_through_depth is \(\)"),
        ({"decoder_dims_through_depth": (8, 0)}, r"decoder_dims_through_depth is \(8, 0\)"),
        ({"resnet_dropout": 1.0}, r"resnet_dropout is 1\.0; use a share below 1"),
        ({"quads": 1}, "quads is 1; use True or False"),
        ({"local_attn_kwargs": {"depth": 3}}, "local_attn_kwargs is .*; give dim_head and heads"),
        ({"codebok_size": 64}, "no option 'codebok_size'; did you mean codebook_size"),
    ],
)
def test_options_that_cannot_be_built_are_refused_by_name_and_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MeshAutoencoder(**options)


# ---- what is no mesh


FINE = torch.tensor([[[0, 1, 2]]])


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (torch.zeros(1, 3, 2), FINE, r"vertices has shape \[1, 3, 2\] and faces \[1, 1, 3\]"),
        (torch.zeros(3, 3), FINE, r"vertices has shape \[3, 3\]"),
        (torch.zeros(2, 3, 3), FINE, "vertices holds 2 meshes but faces holds 1"),
        (torch.zeros(0, 3, 3), torch.zeros(0, 1, 3, dtype=torch.long), "there is no mesh"),
        (torch.zeros(1, 3, 3), torch.full((1, 2, 4), -1), "faces holds no face in mesh 0"),
        (torch.zeros(2, 3, 3), torch.tensor([[[0, 1, 2]], [[-1, -1, -1]]]), "faces holds no face in mesh 1"),
        (torch.zeros(1, 3, 3), torch.zeros(1, 0, 3, dtype=torch.long), "faces holds no face in mesh 0"),
        (torch.zeros(1, 3, 3), torch.tensor([[[0, 1, 3]]]), "faces holds index 3 but there are 3 vertices"),
        (torch.zeros(1, 3, 3), torch.tensor([[[0, 1, -2]]]), "faces holds index -2"),
        (torch.zeros(1, 3, 3), torch.tensor([[[0, -1, 2]]]), "among the first three corners"),
        (torch.zeros(1, 3, 3), torch.tensor([[[-1, 1, 2]]]), "among the first three corners"),
        (torch.zeros(1, 3, 3), FINE.float(), r"faces has dtype torch\.float32"),
        (torch.zeros(1, 3, 3, dtype=torch.bool), FINE, r"vertices has dtype torch\.bool"),
        (torch.full((1, 3, 3), torch.nan), FINE, "vertices holds nan"),
        (torch.full((1, 3, 3), -torch.inf), FINE, "vertices holds -inf"),
        (torch.full((1, 3, 3), 32), FINE, r"vertices holds 32.* 0\.\.31"),
    ],
)
@pytest.mark.parametrize("call", ["loss", "tokenize"])
def test_what_is_no_batch_of_meshes_is_refused_by_name_and_value(vertices: Tensor, faces: Tensor, message: str, call: str) -> None:
    model = MeshAutoencoder(**TINY, quads=True)
    with pytest.raises(MeshGPTError, match=message):
        model(vertices=vertices, faces=faces) if call == "loss" else model.tokenize(vertices, faces)


def test_a_quad_is_refused_by_a_model_of_triangles() -> None:
    with pytest.raises(MeshGPTError, match=r"faces holds a quad, \[0, 1, 3, 2\]"):
        MeshAutoencoder(**TINY)(vertices=torch.rand(1, 4, 3), faces=torch.tensor([[[0, 1, 2, -1], [0, 1, 3, 2]]]))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (torch.tensor([[0, 0]]), "face_edges has shape"),
        (torch.zeros(1, 1, 2), r"dtype torch\.float32"),
        (torch.tensor([[[0, 9]]]), r"face_edges holds \[0, 9\]"),
        (torch.tensor([[[0, 1]]]), r"face_edges holds \[0, 1\]"),  # the second face is padding
    ],
)
def test_edges_between_faces_that_are_not_there_are_refused(edges: Tensor, message: str) -> None:
    faces = torch.tensor([[[0, 1, 2], [-1, -1, -1]]])
    with pytest.raises(MeshGPTError, match=message):
        MeshAutoencoder(**TINY)(vertices=torch.zeros(1, 3, 3), faces=faces, face_edges=edges)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[0, 0, 0, 0, 0, 64]], "codes hold 64"),
        ([[0, 0, 0, 0, 0, -3]], "codes hold -3"),
        ([[0, 0, 0, 0, 0]], "codes have shape"),
        ([[0.0] * 6], r"codes have dtype torch\.float32"),
    ],
)
def test_codes_out_of_range_are_refused(codes: list[list[float]], message: str) -> None:
    with pytest.raises(MeshGPTError, match=message):
        MeshAutoencoder(**TINY).decode_from_codes_to_faces(torch.tensor(codes))


def test_codes_of_the_contract_out_of_range_are_refused(model: MeshAutoencoder) -> None:
    with pytest.raises(MeshGPTError, match="codes hold 64"):
        model.decode(np.array([[0, 0, 0, 0, 0, 0, 0, 64]]))
