"""core.data: mesh files as a data set, caches on disk, batches of several lengths."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset

from core import DatasetFromTransforms, Mesh, cache_face_edges_for_dataset, cache_text_embeds_for_dataset
from core.data import Batches, collate, load_mesh
from core.errors import MeshGPTError
from core.geometry import discretise

TETRAHEDRON = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]))
TRIANGLE = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """b.glb (four faces) and deep/a.OBJ (one), and a file that is no mesh."""
    (tmp_path / "meshes/deep").mkdir(parents=True)
    TETRAHEDRON.save(tmp_path / "meshes/b.glb")
    (tmp_path / "meshes/deep/a.OBJ").write_bytes(TRIANGLE.to_bytes(".obj"))
    (tmp_path / "meshes/notes.txt").write_text("no mesh")
    return tmp_path / "meshes"


# ---- files


def test_a_folder_of_mesh_files_is_a_data_set_of_canonical_meshes_in_the_order_of_their_paths(folder: Path) -> None:
    dataset = DatasetFromTransforms(folder)
    assert [path.name for path in dataset.paths] == ["b.glb", "a.OBJ"]
    vertices, faces = dataset[0]
    assert np.allclose(vertices, TETRAHEDRON.canonical(levels=128).vertices * 2 + [0, 0, -1])
    assert np.array_equal(faces, TETRAHEDRON.canonical(levels=128).faces)
    assert (len(dataset), len(dataset[1][1])) == (2, 1)


def test_files_are_read_by_the_function_for_their_extension_and_then_augmented(folder: Path) -> None:
    dataset = DatasetFromTransforms(
        folder, transforms={"OBJ": lambda path: (path.name, 1), ".txt": lambda path: (path.read_text(), 2)}, augment_fn=lambda x: (*x, 3)
    )
    assert [dataset[i] for i in range(len(dataset))] == [("a.OBJ", 1, 3), ("no mesh", 2, 3)]


def test_a_folder_without_meshes_is_refused_and_so_is_one_that_there_is_not(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(MeshGPTError, match=r"holds no file that ends in \.glb"):
            DatasetFromTransforms(path)


def test_an_error_in_a_file_names_the_file(folder: Path) -> None:
    (folder / "b.glb").write_bytes(b"no mesh")
    with pytest.raises(MeshGPTError) as caught:
        DatasetFromTransforms(folder)[0]
    assert any("b.glb" in note for note in caught.value.__notes__)


# ---- caches


class Captioned(Dataset[Any]):
    """Meshes with captions, as tuples."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.data_kwargs = texts, ["vertices", "faces", "texts"]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> Any:
        vertices, faces = (torch.from_numpy(array) for array in (TETRAHEDRON.vertices, TETRAHEDRON.faces))
        return vertices, faces, self.texts[index]


class Tower:
    """Embeds a text as its letters, two numbers each, behind them a row of padding; counts what it is asked."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self.asked = scale, []

    def __call__(self, texts: list[str]) -> Tensor:
        self.asked += texts
        rows = [[float(ord(letter)), self.scale] for letter in texts[0]]
        return torch.tensor([[*rows, [0.0, 0.0]]])


def test_texts_become_embeddings_that_are_computed_once_and_outlive_the_process(tmp_path: Path) -> None:
    first, second = Tower(), Tower()
    for tower in (first, second):
        dataset = cache_text_embeds_for_dataset(tower, 10, tmp_path / "cache")(Captioned)(["a", "cat"])
        assert dataset.data_kwargs == ["vertices", "faces", "text_embeds"]
        for _ in range(2):
            assert dataset[1][2].tolist() == [[99, 1], [97, 1], [116, 1]]
    assert first.asked == ["test", "cat"]
    assert second.asked == ["test"]


def test_a_long_text_is_cut_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    dataset = cache_text_embeds_for_dataset(Tower(), 2, tmp_path / "cache")(Captioned)(["abc", ""])
    assert [dataset[i][2].shape for i in range(2)] == [(2, 2), (0, 2)]


def test_texts_in_dictionaries_are_replaced_too(tmp_path: Path) -> None:
    class Dictionaries(Captioned):
        def __getitem__(self, index: int) -> Any:
            return {"name": "not a caption", "texts": self.texts[index]}

    dataset = cache_text_embeds_for_dataset(Tower(), 10, tmp_path / "cache")(Dictionaries)(["a"])
    assert dataset[0].keys() == {"name", "text_embeds"}
    assert dataset[0]["text_embeds"].tolist() == [[97, 1]]


def test_a_text_that_has_changed_is_embedded_again(tmp_path: Path) -> None:
    cached = cache_text_embeds_for_dataset(Tower(), 10, tmp_path / "cache")(Captioned)
    assert len(cached(["a", "b"])[0][2]) == 1
    assert cached(["xy", "b"])[0][2].tolist() == [[120, 1], [121, 1]]


@pytest.mark.parametrize(
    ("tower", "longest", "texts", "said"),
    [
        (Tower(), 10, ["a", "b", "c"], "entries 2 where 3 is wanted"),
        (Tower(), 9, ["a", "b"], "rows 10 where 9 is wanted"),
        (Tower(scale=50), 10, ["a", "b"], "another text model"),
    ],
)
def test_a_cache_of_another_data_set_or_model_is_refused(tmp_path: Path, tower: Tower, longest: int, texts: list[str], said: str) -> None:
    cache_text_embeds_for_dataset(Tower(), 10, tmp_path / "cache")(Captioned)(["a", "b"])[0]
    dataset = cache_text_embeds_for_dataset(tower, longest, tmp_path / "cache")(Captioned)(texts)
    with pytest.raises(MeshGPTError, match=f"{said}.*name another cache_path"):
        dataset[0]


def test_a_folder_with_something_else_in_it_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/thesis.tex").write_text("years of work")
    with pytest.raises(MeshGPTError, match="holds other files"):
        cache_text_embeds_for_dataset(Tower(), 10, tmp_path / "cache")(Captioned)(["a"])[0]
    assert [path.name for path in tmp_path.rglob("*")] == ["cache", "thesis.tex"]


def test_a_cache_holds_plain_arrays_and_json(tmp_path: Path) -> None:
    cache_text_embeds_for_dataset(Tower(), 10, tmp_path / "cache")(Captioned)(["a", "b"])[1]
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"values.npy", "marks.npy", "index.json"}
    assert np.load(tmp_path / "cache/values.npy", allow_pickle=False)[1, 0].tolist() == [98, 1]
    assert json.loads((tmp_path / "cache/index.json").read_text())["sizes"]["width"] == 2


def test_two_processes_can_begin_and_fill_one_cache(tmp_path: Path) -> None:
    script = tmp_path / "fill.py"
    script.write_text(
        "import sys, numpy as np\nfrom pathlib import Path\nfrom core.data import Cache\n"
        "sizes = {'entries': 200, 'rows': 2, 'width': 1, 'type': 'int32'}\n"
        f"cache = Cache(Path({str(tmp_path / 'cache')!r}), sizes, {{}})\n"
        "for i in range(200):\n"
        "    assert cache.get(i, b'x', lambda: np.full((2, 1), i, np.int32)).tolist() == [[i], [i]]\n"
    )
    processes = [subprocess.Popen([sys.executable, str(script)]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert np.load(tmp_path / "cache/values.npy")[:, 0, 0].tolist() == list(range(200))
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "fill.py"}


def test_face_edges_are_cached_as_the_last_part(tmp_path: Path) -> None:
    dataset = cache_face_edges_for_dataset(16, tmp_path / "cache")(Captioned)(["a", "b"])
    expected = [[a, b] for a in range(4) for b in range(4)]  # every face of a tetrahedron, itself included
    for _ in range(2):
        assert dataset[1][3].tolist() == expected
    assert dataset[1][3].dtype == torch.int64
    assert dataset.data_kwargs == ["vertices", "faces", "texts", "face_edges"]
    assert np.load(tmp_path / "cache/marks.npy")["length"].tolist() == [0, 16]


def test_more_neighbours_than_the_cache_holds_are_an_error_unless_they_may_be_cut(tmp_path: Path) -> None:
    with pytest.raises(MeshGPTError, match=r"mesh 0 has 16 pairs of neighbours; set max_edges_len \(15\) higher"):
        cache_face_edges_for_dataset(15, tmp_path / "strict")(Captioned)(["a"])[0]
    cut = cache_face_edges_for_dataset(15, tmp_path / "cut", assert_edge_len_lt_max=False)(Captioned)(["a"])
    assert len(cut[0][3]) == 15


def test_both_caches_can_decorate_one_class(tmp_path: Path) -> None:
    @cache_text_embeds_for_dataset(Tower(), 10, tmp_path / "texts")
    @cache_face_edges_for_dataset(16, tmp_path / "edges")
    class Both(Captioned):
        """As it was written."""

    item = dict(zip(Both(["a"]).data_kwargs, Both(["a"])[0], strict=True))
    assert item["text_embeds"].shape == (1, 2)
    assert item["face_edges"].shape == (16, 2)
    assert (Both.__name__, Both.__doc__) == ("Both", "As it was written.")


def test_only_data_sets_are_decorated() -> None:
    with pytest.raises(TypeError, match="no class of data sets"):
        cache_face_edges_for_dataset(3)(list)  # type: ignore[type-var]


# ---- batches


@settings(deadline=None)
@given(LENGTHS)
def test_shorter_rows_are_padded_behind_and_nothing_else_changes(lengths: list[int]) -> None:
    rows = [torch.rand(n, 3) for n in lengths]
    faces = [torch.randint(0, 9, (n, 4)) for n in lengths]
    batch = collate([(row, face, "text") for row, face in zip(rows, faces, strict=True)])
    assert batch[2] == ["text"] * len(rows)
    for i, n in enumerate(lengths):
        assert batch[0][i, :n].equal(rows[i])
        assert batch[1][i, :n].equal(faces[i])
        assert (batch[0][i, n:] == 0).all()
        assert (batch[1][i, n:] == -1).all()


def test_dictionaries_are_matched_by_name_not_by_order() -> None:
    batch = collate([{"a": torch.zeros(1), "b": np.ones(1)}, {"b": np.ones(2), "a": torch.zeros(1)}])
    assert batch["a"].tolist() == [[0], [0]]  # type: ignore[call-overload]
    assert batch["b"].tolist() == [[1, 0], [1, 1]]  # type: ignore[call-overload]


def test_triangles_beside_quads_lack_their_last_corner() -> None:
    faces = collate([(torch.tensor([[0, 1, 2]]),), (torch.tensor([[0, 1, 2, 3], [3, 2, 4, 5]]),)])[0]
    assert faces.tolist() == [[[0, 1, 2, -1], [-1] * 4], [[0, 1, 2, 3], [3, 2, 4, 5]]]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([(torch.zeros(2, 3),), (torch.zeros(2, 2),)], r"shapes \[2, 3\] and \[2, 2\]"),
        ([{"a": 1}, {"b": 1}], r"the parts \['b'\], another \['a'\]"),
        ([(1, 2), (1,)], "an item has 1 parts, another 2"),
    ],
)
def test_items_that_do_not_fit_together_are_refused(items: list[Any], said: str) -> None:
    with pytest.raises(MeshGPTError, match=said):
        collate(items)


class Numbers(Dataset[Any]):
    """Item i is i and what the random generators draw."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Any:
        return torch.tensor(index), [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002


def test_a_batch_and_what_is_drawn_in_it_depend_on_its_number_alone() -> None:
    first, second = (Batches(Numbers(), 3, ["i", "drawn"], seed=4) for _ in range(2))
    for number in (0, 1, 2):
        first[number]
    a, b = first[7], second[7]
    assert a["i"].equal(b["i"])
    assert a["drawn"] == b["drawn"]
    assert a["drawn"] != first[8]["drawn"]


def test_an_epoch_has_no_item_twice_and_the_next_has_another_order() -> None:
    batches = Batches(Numbers(), 3, ["i", "drawn"], seed=0)
    epochs = [[int(i) for number in range(3 * e, 3 * e + 3) for i in batches[number]["i"]] for e in range(20)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert set.union(*map(set, epochs)) == set(range(10))
    assert epochs[0] != epochs[1]


def test_parts_that_have_no_name_are_refused() -> None:
    with pytest.raises(MeshGPTError, match=r"items have 2 parts, data_kwargs names 1 \(i\)"):
        Batches(Numbers(), 3, ["i"], seed=0)[0]


def test_a_data_set_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(MeshGPTError, match="the data set has 10 items, a batch 11"):
        Batches(Numbers(), 11, ["i"], seed=0)


def test_padding_is_as_the_model_wants_it() -> None:
    faces = collate([(torch.tensor([[0, 1, 2]]),), (torch.tensor([[0, 1, 2, 3], [3, 2, 4, 5]]),)], pad_id=-5)[0]
    assert faces[0].tolist() == [[0, 1, 2, -5], [-5] * 4]


@pytest.mark.parametrize("levels", [3, 64, 128, 129])
def test_every_grid_point_of_a_mesh_that_is_read_has_its_own_cell(tmp_path: Path, levels: int) -> None:
    steps, low, high = np.arange(levels) / (levels - 1), np.zeros(levels), np.ones(levels)
    strip = np.concatenate([np.stack([steps, low, low], 1), np.stack([steps, high, high], 1)])
    Mesh(strip, np.array([[i, i + 1, levels + i] for i in range(levels - 1)])).save(tmp_path / "strip.ply")
    vertices, _ = load_mesh(tmp_path / "strip.ply", levels)
    cells = discretise(vertices, (-1.0, 1.0), levels)
    assert sorted(set(cells[:, 0].tolist())) == list(range(levels))


def test_the_default_reader_gives_what_a_model_takes(folder: Path) -> None:
    vertices, faces = load_mesh(folder / "b.glb")
    assert (vertices.dtype, vertices.shape, faces.dtype, faces.shape) == (torch.float32, (4, 3), torch.int64, (4, 3))
