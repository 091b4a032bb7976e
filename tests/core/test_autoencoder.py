"""core.autoencoder: the tokenizer's contract, padding, order, and learning, on models small enough to train here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core.autoencoder import (
    AutoencoderConfig,
    MeshAutoencoder,
    face_geometry,
    in_one_row,
    load_autoencoder,
    save_autoencoder,
    smoothed_targets,
    vertex_means,
    weld,
)
from core.errors import MeshGPTError
from core.mesh import Frame, Mesh, quantise

TINY = AutoencoderConfig(
    coordinate_width=4, encoder_widths=(16, 24), vertex_width=24, codebook_size=64, decoder_width=24, decoder_depth=1
)
CUBE_VERTICES = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
CUBE = Mesh(CUBE_VERTICES, np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]))
PRISM = Mesh(
    np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3], [2, 0, 3], [0, 1, 3]]),
    np.array([[0, 2, 1, -1], [3, 4, 5, -1], [0, 1, 4, 3], [1, 2, 5, 4], [2, 0, 3, 5]]),
)
TETRAHEDRON = Mesh(CUBE_VERTICES[[0, 1, 2, 4]], np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]))
MESHES = [CUBE, PRISM, TETRAHEDRON]


def batch(meshes: list[Mesh], spare: int = 0) -> tuple[Tensor, Tensor]:
    """Grid indices and faces, `spare` rows of padding beyond the longest."""
    canonical = [mesh.canonical().quads() for mesh in meshes]
    vertices = torch.full((len(meshes), max(len(mesh.vertices) for mesh in canonical) + spare, 3), 77)
    faces = torch.full((len(meshes), max(len(mesh.faces) for mesh in canonical) + spare, 4), -1)
    for row, mesh in enumerate(canonical):
        vertices[row, : len(mesh.vertices)] = torch.from_numpy(quantise(mesh.vertices))
        faces[row, : len(mesh.faces)] = torch.from_numpy(mesh.faces)
    return vertices, faces


def trained(config: AutoencoderConfig, steps: int) -> tuple[MeshAutoencoder, list[float]]:
    torch.manual_seed(0)
    model = MeshAutoencoder(config)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    losses = []
    for _ in range(steps):
        loss, _ = model(*batch(MESHES))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), losses


@pytest.fixture(scope="module")
def model() -> MeshAutoencoder:
    return trained(TINY, 150)[0]


# ---- learning


def test_meshes_seen_often_come_back_exactly(model: MeshAutoencoder) -> None:
    for mesh in MESHES:
        canonical = mesh.canonical().quads()
        assert np.array_equal(model.decode(model.encode(mesh)), canonical.face_coordinates(), equal_nan=True)


def test_a_lookup_free_quantiser_learns_too() -> None:
    lfq, losses = trained(AutoencoderConfig(**{**vars(TINY), "quantiser": "lfq"}), 60)
    assert losses[-1] < losses[0] / 2
    assert lfq.code_vectors().shape == (2, 64, 6)


def test_every_parameter_gets_a_gradient() -> None:
    model, _ = trained(TINY, 3)  # what starts at zero passes nothing on at the first step
    model.zero_grad()
    model.train()(*batch(MESHES))[0].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_loss_is_the_sum_of_its_parts(model: MeshAutoencoder) -> None:
    loss, parts = model.train()(*batch(MESHES))
    model.eval()
    assert loss.item() == pytest.approx((parts.reconstruction + TINY.commitment_weight * parts.commitment).item())


def test_targets_are_bells_around_the_wanted_index() -> None:
    targets = smoothed_targets(129, 0.4)
    assert targets.sum(1) == pytest.approx(np.ones(129))
    assert targets.argmax(1).tolist() == list(range(129))
    assert (targets[60, 61] / targets[60, 60]).item() == pytest.approx(np.exp(-1 / (2 * 0.4**2)))


# ---- the contract


def test_codes_are_whole_numbers_of_the_codebook_and_absent_corners_have_none(model: MeshAutoencoder) -> None:
    codes = model.encode(PRISM)
    assert codes.shape == (5, model.codes_per_face) == (5, 8)
    assert codes.dtype == np.int64
    quad = PRISM.canonical().faces[:, 3] >= 0
    assert (codes[~quad, 6:] == -1).all()
    assert codes[quad].min() >= 0
    assert codes[:, :6].min() >= 0
    assert codes.max() < model.codebook_size == 64


def test_corners_at_one_vertex_have_the_same_codes(model: MeshAutoencoder) -> None:
    faces, codes = CUBE.canonical().faces, model.encode(CUBE).reshape(-1, 4, 2)
    for vertex in range(8):
        assert len(np.unique(codes[faces == vertex], axis=0)) == 1


def test_corners_with_the_same_codes_come_out_welded() -> None:
    torch.manual_seed(1)
    untrained = MeshAutoencoder(TINY)
    torch.nn.init.normal_(untrained.decoder.leave.weight)  # so that the decoder answers by face as well as by vertex
    codes = np.random.default_rng(0).integers(0, 3, (20, 8))
    corners, places = codes.reshape(-1, 2), untrained.decode(codes).reshape(-1, 3)
    for corner in np.unique(corners, axis=0):
        assert len(np.unique(places[(corners == corner).all(1)], axis=0)) == 1


def test_what_decoding_makes_of_vertices_is_what_training_sees(model: MeshAutoencoder) -> None:
    corners, faces = in_one_row(*batch([PRISM]))
    quantised, _, codes = model.quantise_vertices(model.encoder(corners, faces), faces)
    present = faces >= 0
    again = model.quantiser.get_output_from_indices(codes[present][None])[0]
    assert torch.allclose(quantised, again, atol=1e-5)
    vectors = model.code_vectors()
    assert vectors.shape == (2, 64, TINY.code_width)
    summed = sum(vectors[level, codes[present][:, level]] for level in range(2))
    assert torch.allclose(model.quantiser.project_out(summed), again, atol=1e-5)


def test_a_frame_places_the_mesh_before_it_is_encoded(model: MeshAutoencoder) -> None:
    assert not np.array_equal(model.encode(CUBE, Frame((0.5, 0.5, 0.0), 2.0)), model.encode(CUBE))


def test_no_codes_are_no_faces(model: MeshAutoencoder) -> None:
    assert model.decode(np.zeros((0, 8), np.int64)).shape == (0, 4, 3)


def test_encoding_and_decoding_leave_the_model_in_the_mode_it_was_in(model: MeshAutoencoder) -> None:
    model.train()
    model.decode(model.encode(CUBE))
    assert model.training
    assert model.quantiser.training
    model.eval()


def test_the_grammar_knows_the_codes(model: MeshAutoencoder) -> None:
    grammar = model.grammar()
    for code in model.encode(PRISM)[0].tolist():
        symbol = grammar.absent if code < 0 else code
        assert grammar.allowed()[symbol]
        grammar.push(symbol)
    assert grammar.previous == model.encode(PRISM)[0].tolist()
    assert len(grammar.allowed()) == model.codebook_size + 2


def test_a_saved_autoencoder_encodes_as_before(model: MeshAutoencoder, tmp_path: Path) -> None:
    save_autoencoder(tmp_path, model.config, model.state_dict(), {"steps": 150})
    loaded = load_autoencoder(tmp_path)
    assert loaded.config == model.config
    assert np.array_equal(loaded.encode(PRISM), model.encode(PRISM))


@pytest.mark.parametrize("name", ["autoencoder.json", "autoencoder.safetensors"])
def test_half_a_saved_autoencoder_is_refused(model: MeshAutoencoder, tmp_path: Path, name: str) -> None:
    save_autoencoder(tmp_path, model.config, model.state_dict(), {})
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(MeshGPTError, match="holds no whole autoencoder"):
        load_autoencoder(tmp_path)


# ---- padding, order, precision


@torch.no_grad()
def test_meshes_of_a_batch_do_not_see_each_other_nor_their_padding(model: MeshAutoencoder) -> None:
    alone = [model(*batch([mesh]))[1].reconstruction.item() for mesh in MESHES]
    counts = [int((batch([mesh])[1] >= 0).sum()) for mesh in MESHES]
    together = model(*batch(MESHES, spare=5))[1].reconstruction.item()
    assert together == pytest.approx(np.average(alone, weights=counts), rel=1e-4)
    corners, faces = in_one_row(*batch(MESHES, spare=5))
    _, _, codes = model.quantise_vertices(model.encoder(corners, faces), faces)
    assert np.array_equal(codes[(faces >= 0).any(1)].reshape(-1, 8), np.concatenate([model.encode(mesh) for mesh in MESHES]))


def test_meshes_lie_in_one_row_with_an_empty_face_behind_each() -> None:
    vertices, faces = batch([TETRAHEDRON, PRISM], spare=1)
    corners, row = in_one_row(vertices, faces)
    empty = (row < 0).all(1)
    assert empty.tolist() == [False] * 4 + [True] + [False] * 5 + [True]
    assert row[:4].equal(faces[0, :4])
    assert row[5:10].equal(torch.where(faces[1, :5] >= 0, faces[1, :5] + vertices.shape[1], -1))
    assert corners[:4, :3].equal(vertices[0][faces[0, :4, :3]])
    assert not corners[row < 0].any()


def test_coordinates_and_grid_indices_are_the_same_mesh(model: MeshAutoencoder) -> None:
    vertices, faces = batch([PRISM])
    coordinates = torch.from_numpy(PRISM.canonical().vertices)[None]
    assert model(coordinates, faces)[0].item() == pytest.approx(model(vertices, faces)[0].item())


def test_triangles_may_come_without_a_fourth_column(model: MeshAutoencoder) -> None:
    vertices, faces = batch([TETRAHEDRON])
    assert model(vertices, faces[..., :3])[0].item() == pytest.approx(model(vertices, faces)[0].item())


def test_training_in_half_precision_gives_nearly_the_same_loss(model: MeshAutoencoder) -> None:
    _, full = model(*batch(MESHES))
    with torch.autocast("cpu", torch.bfloat16):
        _, half = model(*batch(MESHES))
    assert half.reconstruction.item() == pytest.approx(full.reconstruction.item(), rel=0.1)


# ---- parts


def test_geometry_of_a_right_triangle_and_a_square() -> None:
    corners = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [9, 9, 9]], [[0, 0, 0], [0, 3, 0], [0, 3, 3], [0, 0, 3]]])
    triangle, square = face_geometry(corners, torch.tensor([[0, 1, 2, -1], [3, 4, 5, 6]])).tolist()
    assert triangle == pytest.approx([0, 0, 1, np.sqrt(2), 1 / 2, 1 / 4, 1 / 4, 0])
    assert square == pytest.approx([1, 0, 0, 3, 1 / 2, 1 / 2, 1 / 2, 1 / 2])


def test_geometry_of_a_face_without_area_is_finite() -> None:
    assert face_geometry(torch.zeros(1, 4, 3), torch.tensor([[0, 1, 2, -1]])).isfinite().all()


def test_a_vertex_takes_the_mean_of_its_corners() -> None:
    means = vertex_means(torch.tensor([[1.0, 2], [3, 4], [5, 6]]), torch.tensor([1, 0, 1]))
    assert means.tolist() == [[3, 4], [3, 4]]


def test_welding_averages_logits_before_choosing() -> None:
    logits = torch.zeros(3, 3, 5)
    logits[0, :, 1], logits[1, :, 2], logits[2, :, 4] = 1, 3, 1  # corners 0 and 1 have equal codes and disagree
    assert weld(logits, torch.tensor([[7, 8], [7, 8], [8, 7]])).tolist() == [[2] * 3, [2] * 3, [4] * 3]


# ---- errors


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (torch.zeros(1, 3, 2), torch.zeros(1, 1, 3, dtype=torch.long), "have shapes"),
        (torch.zeros(2, 3, 3), torch.zeros(1, 1, 3, dtype=torch.long), "have shapes"),
        (torch.zeros(1, 3, 3), torch.full((1, 2, 4), -1), "no face in the batch"),
        (torch.zeros(1, 3, 3), torch.tensor([[[0, 1, 3]]]), "indices 0..3 but there are 3 vertices"),
        (torch.zeros(1, 3, 3), torch.tensor([[[0, -1, 2]]]), "only for a triangle's last corner"),
        (torch.zeros(1, 3, 3), torch.tensor([[[-1, 1, 2]]]), "only for a triangle's last corner"),
        (torch.zeros(1, 3, 3), torch.tensor([[[0, 1, -2]]]), "indices -2"),
        (torch.full((1, 3, 3), torch.nan), torch.tensor([[[0, 1, 2]]]), "not a finite number"),
        (torch.full((1, 3, 3), 129), torch.tensor([[[0, 1, 2]]]), "grid indices are in 0..129"),
    ],
)
def test_what_is_no_batch_of_meshes_is_refused_with_the_reason(
    model: MeshAutoencoder, vertices: Tensor, faces: Tensor, message: str
) -> None:
    with pytest.raises(MeshGPTError, match=message):
        model(vertices, faces)


def test_padding_may_hold_anything(model: MeshAutoencoder) -> None:
    vertices, faces = batch([TETRAHEDRON], spare=2)
    loss = model(vertices, faces)[0]
    vertices[:, 4:] = -1000
    assert model(vertices, faces)[0] == loss


def test_codes_out_of_range_are_refused(model: MeshAutoencoder) -> None:
    with pytest.raises(ValueError, match=r"codes are in 0\.\.64"):
        model.decode(np.array([[0, 0, 0, 0, 0, 0, 0, 64]]))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"quantiser": "fsq"}, "use one of vq, lfq"),
        ({"quantiser": "lfq", "codebook_size": 100}, "power of 2"),
        ({"smoothing": 0.0}, "above 0"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AutoencoderConfig(**setting)  # type: ignore[arg-type]
