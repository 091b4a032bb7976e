"""benchmarks.learning and benchmarks.tokens: orders of faces, short runs of tiny variants, and what is written of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networkx
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import learning, tokens
from benchmarks.curves import draw, marks, steps
from benchmarks.learning import VARIANTS, Settings, Variant, changed, face_nats, learn, main, read_data, table, validate, whole
from benchmarks.orders import breadth_first, by_pieces, depth_first, triangles, x_first
from core.autoencoder import MeshAutoencoder
from core.discretizer import MeshDiscretizer
from core.mesh import Frame, IntArray, Mesh
from core.transformer import MeshTransformer
from training.data.dataset import CodeSet, build, components
from training.data.parquet import mesh_of, write_shards
from training.procedural import generate

TINY = {"dim": (32, 32), "attn_depth": 1, "attn_heads": 1, "fine_attn_depth": 1, "fine_attn_heads": 1, "attn_dim_head": 32}
TEXT = {"condition_on_text": True, "condition_on_properties": True}
TOWER = {"text_condition_model_kwargs": ({"width": 16, "layers": 1, "heads": 1},)}


def grid_of(family: str, seed: int) -> IntArray:
    return MeshDiscretizer().encode(generate(family, seed).mesh)


def faces_by_edge(grid: IntArray) -> networkx.Graph:
    """Faces joined where they have two corners in common."""
    corners = [{tuple(corner) for corner in face if corner[0] >= 0} for face in grid.reshape(len(grid), 4, 3).tolist()]
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(grid)))
    graph.add_edges_from((i, j) for i in range(len(grid)) for j in range(i) if len(corners[i] & corners[j]) >= 2)
    return graph


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of runs of a second, on stools and tables."""
    folder = tmp_path_factory.mktemp("sets")
    for name, seeds in (("train", range(30)), ("validation", range(40, 46))):
        write_shards(folder / name, build(["stool", "table", "rock"], seeds, 50, 1))
    sets = {"train": (str(folder / "train"),), "validation": (str(folder / "validation"),)}
    return Settings(minutes=0.02, families=("stool", "table"), max_faces=50, batch_faces=100, per_family=3, points=2, **sets)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SIZES", {**TINY, **TEXT, **TOWER})


@pytest.fixture(scope="module")
def data(settings: Settings) -> tuple[CodeSet, CodeSet]:
    return read_data(settings)


# ---- orders


@pytest.mark.parametrize("order", [by_pieces, breadth_first, depth_first])
@pytest.mark.parametrize("family", ["chair", "house", "tree"])
def test_another_order_has_the_same_faces(order: Any, family: str) -> None:
    grid = grid_of(family, 3)
    found = order(grid)
    assert np.array_equal(np.unique(found, axis=0), np.unique(grid, axis=0))
    assert len(found) == len(grid)


def test_pieces_come_whole_the_lowest_first() -> None:
    grid = grid_of("table", 1)
    piece = components(by_pieces(grid).astype(np.int16))
    assert piece.max() > 0
    assert np.count_nonzero(np.diff(piece)) == piece.max()
    lowest = [tuple(grid[np.flatnonzero(components(grid.astype(np.int16)) == number)[0]]) for number in range(piece.max() + 1)]
    assert [tuple(by_pieces(grid)[np.flatnonzero(piece == number)[0]]) for number in np.unique(piece)] == sorted(lowest)


@pytest.mark.parametrize("family", ["mushroom", "house", "lamp"])
def test_breadth_first_never_comes_nearer_to_where_a_piece_began(family: str) -> None:
    found = breadth_first(grid_of(family, 2))
    graph = faces_by_edge(found)
    for piece in networkx.connected_components(graph):
        away = networkx.single_source_shortest_path_length(graph, min(piece))
        distances = [away[face] for face in sorted(piece)]
        assert distances == sorted(distances)
        assert sorted(piece) == list(range(min(piece), max(piece) + 1))


def test_depth_first_goes_on_from_the_last_face_as_long_as_it_can() -> None:
    found = depth_first(grid_of("mushroom", 2))
    graph = faces_by_edge(found)
    for face in range(1, len(found)):
        later = set(range(face, len(found)))
        assert face in graph[face - 1] or not set(graph[face - 1]) & later


def test_x_first_is_the_canonical_order_of_the_mesh_with_x_and_z_exchanged() -> None:
    mesh = generate("house", 4).mesh.canonical()
    middle = np.array([0, 0, 0.5], np.float32)
    exchanged = Mesh((mesh.vertices - middle)[:, ::-1] + middle, mesh.faces)
    assert np.array_equal(x_first(MeshDiscretizer().encode(mesh, Frame())), MeshDiscretizer().encode(exchanged, Frame()))


def test_triangles_are_those_of_the_mesh_cut_and_put_in_order() -> None:
    mesh = generate("chair", 5).mesh.canonical()
    cut = MeshDiscretizer(quads=False).encode(Mesh(mesh.vertices, mesh.triangles()), Frame())
    assert np.array_equal(triangles(MeshDiscretizer().encode(mesh, Frame())), cut)


# ---- runs


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_can_be_trained(name: str, settings: Settings, data: tuple[CodeSet, CodeSet]) -> None:
    variant = VARIANTS[name]
    longest = 2 * settings.max_faces * variant.tokenizer.codes_per_face
    model = MeshTransformer(variant.tokenizer, **{"max_seq_len": longest, **learning.SIZES, **variant.transformer})
    nats = face_nats(model, changed(whole(data[1], settings)[0], variant.change))
    nats.backward()
    assert nats.isfinite()
    assert model.face_projection.weight.grad is not None


def test_a_run_learns_and_tells_its_course(settings: Settings, data: tuple[CodeSet, CodeSet]) -> None:
    found, _ = learn(VARIANTS["default"], *data, settings)
    first, last = found["curve"]
    assert last["nats_a_face"] < 12 * np.log(131)  # what guessing costs
    assert last["faces"] > first["faces"]
    assert last["meshes"] > first["meshes"]
    assert last["minutes"] >= settings.minutes > first["minutes"]


def test_only_the_families_and_lengths_asked_for_are_seen(data: tuple[CodeSet, CodeSet]) -> None:
    train, held_out = data
    assert {label for label, weight in zip(train.labels, train.weights, strict=True) if weight} == {"stool", "table"}
    kept = [label for label, weight in zip(held_out.labels, held_out.weights, strict=True) if weight]
    assert sorted(kept) == ["stool"] * 3 + ["table"] * 3


def test_validation_adds_up_the_nats_of_every_face_and_end(settings: Settings, data: tuple[CodeSet, CodeSet]) -> None:
    model = MeshTransformer(MeshDiscretizer(), **{"max_seq_len": 12 * 50, **learning.SIZES}).eval()
    tests = whole(data[1], settings)
    total = meshes = 0.0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for batch in tests:
            text = model.with_properties(model.read_text(batch.captions, None, len(batch.codes)), torch.from_numpy(batch.properties))
            total += model.nats(torch.from_numpy(batch.codes), text).sum().item()
            meshes += len(batch.codes)
    assert validate(model, tests)["nats_a_mesh"] == pytest.approx(total / meshes, rel=1e-3)


def test_what_is_done_is_not_done_again(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = [{"minutes": 1.0, "meshes": 5, "faces": 50, "nats_a_face": 9.0, "nats_a_mesh": 90.0}]
    asked: list[str] = []

    def fake(variant: Variant, *_: object) -> tuple[dict[str, Any], None]:
        asked.append(variant.what)
        return {"parameters": 1000, "steps": 3, "curve": curve}, None

    monkeypatch.setattr(learning, "learn", fake)
    monkeypatch.setattr(learning, "read_data", lambda settings: (None, None))
    for only in (["default"], ["default", "face"]):
        monkeypatch.setattr(sys, "argv", ["learning", "--out", str(tmp_path), "--only", *only])
        main()
    assert asked == [VARIANTS["default"].what, VARIANTS["face"].what]
    assert set(json.loads((tmp_path / "learning.json").read_text())["runs"]) == {"default", "face"}
    monkeypatch.setattr(sys, "argv", ["learning", "--out", str(tmp_path), "--minutes", "7"])
    with pytest.raises(SystemExit):
        main()


# ---- what is written


def test_the_table_begins_with_the_variant_that_learnt_most() -> None:
    ends = {"default": 80.0, "face": 120.0, "x": 60.0}
    runs = {
        name: {"parameters": 1, "steps": 1, "curve": [{"minutes": 1, "meshes": 1, "faces": 1, "nats_a_face": 1.0, "nats_a_mesh": end}]}
        for name, end in ends.items()
    }
    assert [line.split("`")[1] for line in table(runs).splitlines()[2:]] == ["x", "default", "face"]


def test_a_curve_is_drawn_at_its_height(tmp_path: Path) -> None:
    flat = [{"minutes": minutes, "nats_a_mesh": 200.0} for minutes in (1.0, 2.0)]
    steep = [{"minutes": 1.0, "nats_a_mesh": 1000.0}, {"minutes": 2.0, "nats_a_mesh": 500.0}, {"minutes": 2.0, "nats_a_mesh": 100.0}]
    draw({"steep": steep, "flat": flat}, tmp_path / "curves.png")
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).astype(int)
    column = pixels[:, 400]  # in the plot, which reaches from 50 to 520, and is a third empty on the left
    red = np.flatnonzero(column[:, 0] - column[:, 1] > 100)  # the curve that ends second
    assert red.mean() == pytest.approx(410 - np.log10(2) * 360, abs=2)  # from 410 for 100 up to 50 for 1000


def test_marks_on_the_axes_are_round_and_enclose_what_is_drawn() -> None:
    assert steps(4) == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert marks([130.0, 88.0, 700.0]) == [50, 100, 200, 500, 1000]
    assert marks([100.0]) == [100, 200]


# ---- tokens


def test_codes_of_the_discretizer_are_the_grid_itself() -> None:
    grid = grid_of("stool", 8)
    assert np.array_equal(tokens.as_codes(MeshDiscretizer(), grid), grid)


def test_the_distance_of_a_shifted_plate_is_that_of_the_shift() -> None:
    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], np.float32)
    plate, above = (Mesh(corners + np.array([0, 0, height], np.float32), np.array([[0, 1, 2, 3]])) for height in (0, 0.25))
    assert tokens.chamfer(plate, plate) == 0
    assert tokens.chamfer(plate, above) == pytest.approx(2 * 0.25**2, rel=1e-3)


def test_a_tokenizer_that_misplaces_everything_is_found_out() -> None:
    class Shifted(MeshDiscretizer):
        def decode(self, codes: IntArray) -> Any:
            found = super().decode(codes)
            found[0, 0] += 0.1
            return found

    meshes = [mesh_of(grid_of("house", 1).astype(np.int16))]
    right, wrong = tokens.measure_tokenizer(MeshDiscretizer(), meshes), tokens.measure_tokenizer(Shifted(), meshes)
    assert (right["triangle_accuracy"], right["chamfer"], right["open_edges"]) == (1, 0, right["open_edges_before"])
    assert wrong["triangle_accuracy"] == pytest.approx(1 - 1 / len(meshes[0].faces))
    assert wrong["open_edges"] > right["open_edges"]
    assert wrong["chamfer"] > 0


def test_both_kinds_of_tokens_are_trained_kept_and_measured(settings: Settings, data: tuple[CodeSet, CodeSet], tmp_path: Path) -> None:
    sizes = {"encoder_dims_through_depth": (16, 24), "dim_codebook": 32, "decoder_dims_through_depth": (24, 24)}
    learned = MeshAutoencoder(quads=True, num_discrete_coors=129, codebook_size=512, num_quantizers=3, **sizes)
    recogniser: Any = SimpleNamespace(families=settings.families, families_of=lambda clouds: ["stool"] * len(clouds), accuracy=0.5)
    runs = {}
    for name, tokenizer in {"plain": MeshDiscretizer(), "learned": learned}.items():
        found = tokens.compare(name, tokenizer, settings, data, tmp_path)
        meshes = [mesh_of(data[1].grid[data[1].faces(0)])]
        runs[name] = found | {
            "codes_a_face": tokenizer.codes_per_face,
            "codebook_size": tokenizer.codebook_size,
            "tokenizer": tokens.measure_tokenizer(tokenizer, meshes),
            "generation": tokens.measure_generation(tmp_path / name, recogniser),
        }
        assert runs[name]["generation"]["samples"] == 2 * tokens.SAMPLES
        assert runs[name]["generation"]["recognised"] <= 0.5
    assert all(len(line.split("|")) == 5 for line in tokens.page(runs).splitlines())
