"""Sets of codes, and the batches and given parts drawn from them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import networkx
import numpy as np
import pytest
from torch.utils.data import DataLoader

from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.mesh import Mesh
from core.properties import Properties
from training.data.augment import Augmentation
from training.data.dataset import (
    CodeSet,
    Feed,
    Streamed,
    batches,
    build,
    components,
    epoch_batches,
    grown,
    links,
    load_mixed,
    part,
)
from training.data.parquet import Row, Rows, grid_of, mesh_of, shards, stream, write_shard, write_shards
from training.procedural import generate

FAMILIES = ["stool", "table"]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(build(FAMILIES, range(0, 30), max_faces=60, processes=1))


@pytest.fixture(scope="module")
def folder(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set")
    for number in range(3):
        write_shard(path / f"{number}.parquet", rows[number::3])
    return path


@pytest.fixture(scope="module")
def data(folder: Path) -> CodeSet:
    return CodeSet.load(folder)


def is_connected(grid: np.ndarray, kept: np.ndarray) -> bool:
    """By another way than the code's: faces of the part are joined where they have a corner in common."""
    corners = [{tuple(corner) for corner in face.reshape(4, 3).tolist()} - {(-1, -1, -1)} for face in grid[kept]]
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(corners)))
    graph.add_edges_from((i, j) for i, j in itertools.combinations(range(len(corners)), 2) if corners[i] & corners[j])
    return bool(networkx.is_connected(graph))


def ball() -> np.ndarray:
    """A mesh of one piece: a sphere of 12 by 8 patches."""
    turn, rise = np.meshgrid(np.arange(12) * np.pi / 6, np.linspace(0.15, np.pi - 0.15, 9), indexing="ij")
    points = np.stack([np.cos(turn) * np.sin(rise), np.sin(turn) * np.sin(rise), np.cos(rise)], -1).reshape(-1, 3)
    faces = [[i * 9 + j, (i + 1) % 12 * 9 + j, (i + 1) % 12 * 9 + j + 1, i * 9 + j + 1] for i in range(12) for j in range(8)]
    return grid_of(Mesh(points, np.array(faces)).canonical())


# ---- sets


def test_a_set_holds_the_meshes_of_its_seeds(rows: list[Row]) -> None:
    row = next(row for row in rows if row.name == "table 3")
    sample = generate("table", 3)
    np.testing.assert_array_equal(row.grid, MeshDiscretizer().encode(sample.mesh))
    assert row.captions == sample.captions
    assert row.extents == pytest.approx(np.ptp(sample.mesh.vertices, axis=0))


def test_larger_meshes_are_left_out() -> None:
    small = list(build(["table"], range(0, 30), max_faces=35, processes=1))
    assert 0 < len(small) < 30
    assert max(len(row.grid) for row in small) <= 35


def test_held_out_objects_are_those_that_training_never_draws() -> None:
    names = [(row.name, row.grid.tobytes()) for row in build(["table"], range(3), max_faces=500, processes=1, held_out=True)]
    expected = [generate("table", seed, held_out=True).mesh.canonical() for seed in range(3)]
    assert names == [(f"table {seed} held out", grid_of(mesh).tobytes()) for seed, mesh in enumerate(expected)]


def test_a_loaded_set_is_what_was_written(rows: list[Row], data: CodeSet) -> None:
    written = [row for number in range(3) for row in rows[number::3]]
    assert len(data) == len(written)
    for index, row in enumerate(written):
        np.testing.assert_array_equal(data.grid[data.faces(index)], row.grid)
        assert (tuple(data.captions[index]), data.labels[index]) == (row.captions, row.category)
        assert data.metres[index] == pytest.approx(max(row.extents))
    assert data.oriented.all()
    assert not data.is_learned


def test_several_folders_make_one_set(rows: list[Row], folder: Path, tmp_path: Path) -> None:
    write_shards(tmp_path, rows[:4])
    assert len(CodeSet.load(folder, tmp_path)) == len(rows) + 4


def test_a_folder_that_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeshGPTError, match="holds no Parquet files"):
        CodeSet.load(tmp_path)
    (tmp_path / "0.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(MeshGPTError, match="is damaged"):
        CodeSet.load(tmp_path)
    write_shards(tmp_path, [])
    with pytest.raises(MeshGPTError, match="hold no mesh"):
        CodeSet.load(tmp_path)


# ---- rows on disk


def test_rows_come_back_by_number_and_in_a_stream_from_any_place(rows: list[Row], folder: Path) -> None:
    written = [row for number in range(3) for row in rows[number::3]]
    by_number = Rows(folder)
    assert [by_number[i].name for i in (0, 25, -1)] == [written[i].name for i in (0, 25, -1)]
    assert by_number.lengths.tolist() == [len(row.grid) for row in written]
    assert [row.name for row in stream(folder)] == [row.name for row in written]
    assert [row.name for row in stream(folder, start=27)] == [row.name for row in written[27:]]


def test_a_row_comes_back_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    grid = grid_of(generate("table", 0).mesh.canonical())
    codes = np.arange(len(grid) * 6).reshape(-1, 6)
    known = Row("a", grid, ("x", "y"), "table", 0.5, "g", True, "CC0", "me", "there", (1.0, 2.0, 4.0), 0.5, codes)
    write_shards(tmp_path, [known, replace(known, name="b", captions=())])
    for back, row in zip(stream(tmp_path), (known, replace(known, name="b", captions=())), strict=True):
        for name in Row.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(back, name), getattr(row, name))


def test_faces_of_the_grid_are_the_discretizers_codes_and_the_way_back_is_the_same_mesh() -> None:
    mesh = generate("stool", 1).mesh
    np.testing.assert_array_equal(grid_of(mesh.canonical()), MeshDiscretizer().encode(mesh))
    np.testing.assert_array_equal(mesh_of(grid_of(mesh.canonical())).face_coordinates(), mesh.canonical().quads().face_coordinates())


# ---- batches


def test_an_epoch_shows_every_mesh_once_and_keeps_to_the_size(data: CodeSet) -> None:
    found = epoch_batches(data, 300, np.random.default_rng(0))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(data)))
    lengths = np.diff(data.starts)
    assert max(len(batch) * lengths[batch].max() for batch in found) <= 300


def test_a_mesh_of_small_weight_is_shown_in_few_epochs(data: CodeSet) -> None:
    light = replace(data, weights=np.where(np.arange(len(data)) == 7, np.float32(0.25), np.float32(1)))
    shown = [np.concatenate(epoch_batches(light, 300, np.random.default_rng(epoch))).tolist() for epoch in range(200)]
    assert 30 <= sum(7 in epoch for epoch in shown) <= 75  # 50 on average; outside less than once in a thousand
    assert all(len(set(epoch) - {7}) == len(data) - 1 for epoch in shown)


@pytest.mark.parametrize("augmentation", [None, Augmentation()])
def test_a_batch_depends_on_its_step_alone(folder: Path, augmentation: Augmentation | None) -> None:
    options = {"faces": 300, "seed": 5, "text_dropout": 0.3, "given_share": 0.5, "augmentation": augmentation}
    for data in (CodeSet.load(folder), Streamed((folder,))):
        whole = list(itertools.islice(batches(data, **options), 40))  # type: ignore[arg-type]
        resumed = next(batches(data, start=37, **options))  # type: ignore[arg-type]
        np.testing.assert_array_equal(whole[37].codes, resumed.codes)
        assert whole[37].captions == resumed.captions
        np.testing.assert_array_equal(whole[37].given, resumed.given)


def test_processes_share_the_batches_out(data: CodeSet) -> None:
    alone = itertools.islice(batches(data, faces=300, seed=0), 6)
    ranks = [batches(data, faces=300, seed=0, rank=rank, ranks=2) for rank in range(2)]
    for step, batch in enumerate(alone):
        np.testing.assert_array_equal(batch.codes, next(ranks[step % 2]).codes)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_change_neither_the_batches_nor_their_order(data: CodeSet, workers: int) -> None:
    options = {"faces": 300, "seed": 0, "start": 4, "rank": 1, "ranks": 2}
    alone = batches(data, **options)  # type: ignore[arg-type]
    loader = DataLoader(Feed(data, **options), batch_size=None, num_workers=workers)
    for batch, expected in zip(itertools.islice(loader, 8), alone, strict=False):
        np.testing.assert_array_equal(batch.codes, expected.codes)
        assert batch.captions == expected.captions


def test_properties_are_those_of_the_mesh_and_some_are_dropped(data: CodeSet) -> None:
    numbers = []
    for batch in itertools.islice(batches(data, faces=300, seed=0), 40):
        for faces, told in zip(batch.codes, batch.properties, strict=True):
            truth = np.array(Properties.of(faces[faces[:, 0] >= 0].astype(np.int16)).numbers(), np.float32)
            np.testing.assert_array_equal(told[~np.isnan(told)], truth[~np.isnan(told)])
            numbers.append(told)
    told = ~np.isnan(numbers)
    assert 0.35 < (~told.any(1)).mean() < 0.49  # two fifths, and 0.3 cubed of the others
    assert 0.35 < told[:, 0].mean() < 0.49  # 0.6 times 0.7
    assert (told[:, 1] == told[:, 3]).all()


def test_a_set_is_shown_as_often_as_is_said_and_long_meshes_never(folder: Path, tmp_path: Path) -> None:
    write_shards(tmp_path, build(["rock"], range(3), 200, 1))
    data = CodeSet.load(folder, tmp_path)
    mixed, lengths = load_mixed({str(folder): 1, str(tmp_path): 2.5}, 40), np.diff(data.starts)
    expected = data.weights * np.where(np.arange(len(data)) < len(data) - 3, 1, 2.5) * (lengths <= 40)
    np.testing.assert_allclose(mixed.weights, expected)
    assert 0 < (mixed.weights == 0).sum() < len(data)


def test_a_streamed_epoch_shows_every_mesh_once(rows: list[Row], folder: Path) -> None:
    seen: list[bytes] = []
    feed = batches(Streamed((folder,)), faces=300, seed=0)
    while len(seen) < len(rows):
        seen += [faces[faces[:, 0] >= 0].tobytes() for faces in next(feed).codes]
    assert sorted(seen) == sorted(row.grid.astype(np.int64).tobytes() for row in rows)


def test_a_mesh_without_captions_has_the_empty_one(data: CodeSet) -> None:
    silent = replace(data, captions=[[] for _ in data.captions])
    assert set(next(batches(silent, faces=300, seed=0)).captions) == {""}


def test_learned_codes_are_not_varied(data: CodeSet) -> None:
    learned = replace(data, codes=data.grid.copy())
    with pytest.raises(MeshGPTError, match="cannot be varied"):
        next(batches(learned, faces=300, seed=0, augmentation=Augmentation()))


# ---- given parts


def test_behind_a_given_part_stands_the_whole_mesh_and_both_are_in_order(data: CodeSet) -> None:
    meshes = [data.codes[data.faces(index)].tolist() for index in range(len(data))]
    for batch in itertools.islice(batches(data, faces=300, seed=0, given_share=1.0), 10):
        for faces, given in zip(batch.codes, batch.given, strict=True):
            faces = faces[faces[:, 0] >= 0].tolist()
            assert faces[given:] in meshes
            assert 0 < given < len(faces[given:])
            assert faces[:given] == [face for face in faces[given:] if face in faces[:given]]


def test_of_a_batch_all_meshes_have_a_given_part_or_none(data: CodeSet) -> None:
    drawn = [batch.given > 0 for batch in itertools.islice(batches(data, faces=300, seed=0, given_share=0.25), 200)]
    assert all(given.all() or not given.any() for given in drawn)
    assert 0.15 < np.mean([given.all() for given in drawn]) < 0.35


def test_parts_are_pieces_sides_or_grown() -> None:
    codes = MeshDiscretizer().encode(generate("table", 0).mesh)
    pieces = components(codes)
    rng = np.random.default_rng(0)
    kept = [part(codes, rng) for _ in range(60)]
    assert all(0 < mask.sum() < len(codes) for mask in kept)
    whole = [all(len(set(mask[pieces == piece])) == 1 for piece in set(pieces)) for mask in kept]
    assert 5 < sum(whole) < 60


def test_a_grown_part_is_connected_and_of_the_size_asked_for() -> None:
    grid, rng = ball(), np.random.default_rng(0)
    shares = []
    for _ in range(30):
        kept = grown(grid, components(grid), rng)
        assert is_connected(grid, kept)
        shares.append(kept.mean())
    assert 0.14 < min(shares) < 0.35
    assert 0.65 < max(shares) < 0.86


def test_growth_begins_anywhere_and_takes_any_way() -> None:
    grid, rng = ball(), np.random.default_rng(0)
    often = np.mean([grown(grid, components(grid), rng) for _ in range(200)], 0)
    assert 0.1 < often.min() < often.max() < 0.9  # half on average, less at the rims


def test_growth_takes_whole_pieces_before_it_begins_another() -> None:
    grid = MeshDiscretizer().encode(generate("table", 0).mesh)
    pieces, rng = components(grid), np.random.default_rng(0)
    for _ in range(30):
        kept = grown(grid, pieces, rng)
        broken = [piece for piece in set(pieces) if 0 < kept[pieces == piece].sum() < (pieces == piece).sum()]
        assert len(broken) <= 1
        assert all(is_connected(grid[pieces == piece], kept[pieces == piece]) for piece in broken)


def test_links_join_exactly_the_faces_of_a_piece() -> None:
    grid = MeshDiscretizer().encode(generate("table", 0).mesh)
    graph = networkx.Graph(zip(*(faces.tolist() for faces in links(grid)), strict=True))
    pieces = components(grid)
    assert {frozenset(piece) for piece in networkx.connected_components(graph)} == {
        frozenset(np.flatnonzero(pieces == piece).tolist()) for piece in set(pieces)
    }


def test_the_legs_of_a_table_are_pieces_of_their_own() -> None:
    sample = next(s for s in (generate("table", seed) for seed in range(50)) if "four legs" in " ".join(s.captions))
    mesh = sample.mesh.canonical()
    assert components(MeshDiscretizer().encode(sample.mesh)).max() + 1 == mesh.report().components


def test_shards_are_read_in_order(folder: Path) -> None:
    assert [path.name for path in shards(folder)] == ["0.parquet", "1.parquet", "2.parquet"]
