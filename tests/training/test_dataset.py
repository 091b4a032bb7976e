"""Sets of codes and the batches drawn from them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.mesh import Mesh
from training.data.dataset import CodeSet, batches, build, components, epoch_batches, part
from training.data.lowpoly import RealMesh
from training.procedural import generate

FAMILIES = ["stool", "table"]


@pytest.fixture(scope="module")
def data() -> CodeSet:
    return build(FAMILIES, range(0, 30), max_faces=60, processes=1)


def test_a_set_holds_the_meshes_of_its_seeds(data: CodeSet) -> None:
    index = data.labels.index("table") + 3
    sample = generate("table", 3)
    np.testing.assert_array_equal(data.codes[data.faces(index)], MeshDiscretizer().encode(sample.mesh))
    assert data.captions[index] == list(sample.captions)


def test_larger_meshes_are_left_out() -> None:
    small = build(["table"], range(0, 30), max_faces=35, processes=1)
    assert 0 < len(small) < 30
    assert np.diff(small.starts).max() <= 35


def test_real_meshes_join_with_their_captions_and_category() -> None:
    mesh = generate("table", 0).mesh
    speck = Mesh(np.array([[0, 0, 0], [1, 0, 0], [1, 1e-4, 0]]), np.array([[0, 1, 2]]))
    real = [RealMesh(m, ("a thing",), "thing", "train", 1.0) for m in (mesh, speck)]
    joined = build(["stool"], range(3), 60, 1, real)
    assert joined.labels == ["stool"] * 3 + ["thing"]
    assert joined.captions[3] == ["a thing"]
    np.testing.assert_array_equal(joined.codes[joined.faces(3)], MeshDiscretizer().encode(mesh))


def test_a_saved_set_comes_back(data: CodeSet, tmp_path: Path) -> None:
    data.save(tmp_path / "set.npz")
    again = CodeSet.load(tmp_path / "set.npz")
    np.testing.assert_array_equal(again.codes, data.codes)
    np.testing.assert_array_equal(again.grid, data.grid)
    assert (again.captions, again.labels) == (data.captions, data.labels)


def test_a_file_that_is_no_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(b"nothing of the kind")
    for name in ("set.npz", "missing.npz"):
        with pytest.raises(MeshGPTError, match="is not a set of codes"):
            CodeSet.load(tmp_path / name)


def test_an_epoch_shows_every_mesh_once_and_keeps_to_the_size(data: CodeSet) -> None:
    found = epoch_batches(data, 300, np.random.default_rng(0))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(data)))
    lengths = np.diff(data.starts)
    assert max(len(batch) * lengths[batch].max() for batch in found) <= 300


def test_a_batch_depends_on_its_step_alone(data: CodeSet) -> None:
    options = {"faces": 300, "seed": 5, "text_dropout": 0.3, "given_share": 0.5}
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


def test_a_given_part_and_the_rest_are_the_mesh_and_both_are_in_order(data: CodeSet) -> None:
    for batch in itertools.islice(batches(data, faces=300, seed=0, given_share=1.0), 10):
        for faces, given in zip(batch.codes, batch.given, strict=True):
            faces = faces[faces[:, 0] >= 0].tolist()
            assert 0 < given < len(faces)
            assert faces[:given] == sorted(faces[:given])
            assert faces[given:] == sorted(faces[given:])


def test_parts_are_pieces_or_sides() -> None:
    codes = MeshDiscretizer().encode(generate("table", 0).mesh)
    pieces = components(codes)
    rng = np.random.default_rng(0)
    kept = [part(codes, rng) for _ in range(40)]
    assert all(0 < mask.sum() < len(codes) for mask in kept)
    whole = [all(len(set(mask[pieces == piece])) == 1 for piece in set(pieces)) for mask in kept]
    assert 5 < sum(whole) < 40


def test_the_legs_of_a_table_are_pieces_of_their_own() -> None:
    sample = next(s for s in (generate("table", seed) for seed in range(50)) if "four legs" in " ".join(s.captions))
    mesh = sample.mesh.canonical()
    assert components(MeshDiscretizer().encode(sample.mesh)).max() + 1 == mesh.report().components
