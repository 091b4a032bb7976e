"""What a trainer reads: meshes from files, what is known of them kept on disk, and batches of several lengths.

An item of a data set is what a model's forward takes for one mesh: a tuple, or a dictionary by argument name. `vertices` [v, 3],
`faces` [n, 3 or 4], `texts` a string, `text_embeds` [t, d], `face_edges` [pairs, 2], `codes` [n, codes_per_face]; tensors or arrays.
`data_kwargs`, of the data set or else of the trainer, names the parts of a tuple. In a batch, what is shorter than the
longest is padded behind its rows: whole numbers with -1 (or the model's pad_id), others with 0.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from core.adjacency import derive_face_edges_from_faces
from core.autoencoder_config import AutoencoderConfig
from core.errors import MeshGPTError
from core.mesh import BOX_LOW, READABLE, Mesh

PADDING = -1
CACHE_FORMAT = 1
MARK = np.dtype([("key", np.uint64), ("length", np.int64)])  # of one entry of a cache: a hash of what it was made from, and its rows

Item = tuple[Any, ...] | dict[str, Any]
D = TypeVar("D", bound=Dataset[Any])


# ---- meshes from files


class DatasetFromTransforms(Dataset[Item]):
    """The mesh files under a folder, in the order of their paths, each read by the function for its extension.

    transforms: by extension ("glb"), a function of the path that gives an item, (vertices, faces) or more; without it, `load_mesh` for
    GLB, glTF, OBJ, PLY, STL and OFF. data_kwargs: names of the item's parts. augment_fn: called with every item that is read, gives the
    item to use; it may draw from the global random generators, which are seeded for every batch.
    Raises MeshGPTError (bad_data) if there is no such folder, or no file with one of the extensions in it.
    """

    def __init__(
        self,
        folder: str | Path,
        transforms: Mapping[str, Callable[[Path], Item]] | None = None,
        data_kwargs: Sequence[str] | None = None,
        augment_fn: Callable[[Any], Item] | None = None,
    ) -> None:
        readers = dict.fromkeys(READABLE, load_mesh) if transforms is None else transforms
        self.transforms = {"." + extension.lower().lstrip("."): read for extension, read in readers.items()}
        self.paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in self.transforms and path.is_file())
        if not self.paths:
            raise bad_data(f"{folder} holds no file that ends in {', '.join(self.transforms)}", "check the folder and the extensions")
        self.data_kwargs = list(data_kwargs) if data_kwargs else None
        self.augment_fn = augment_fn

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Item:
        path = self.paths[index]
        try:
            item = self.transforms[path.suffix.lower()](path)
            return self.augment_fn(item) if self.augment_fn else item
        except Exception as error:
            error.add_note(f"while reading {path}")
            raise


def load_mesh(path: Path, levels: int = AutoencoderConfig.num_discrete_coors) -> tuple[Tensor, Tensor]:
    """Vertices [v, 3] float32 and faces [n, 3 or 4] int64 of a mesh file, in canonical form (see core.mesh.Mesh.canonical).

    levels: num_discrete_coors of the model. The unit box becomes that model's coor_continuous_range, -1 to 1, so that every point of the
    grid has a cell of its own. Raises MeshGPTError (bad_mesh) as Mesh.load and Mesh.canonical do.
    """
    mesh = Mesh.load(path).canonical(levels=levels)
    low, high = AutoencoderConfig.coor_continuous_range
    vertices = (mesh.vertices - BOX_LOW) * (high - low) + low
    return torch.from_numpy(vertices.astype(np.float32)), torch.from_numpy(mesh.faces)


# ---- caches


def cache_text_embeds_for_dataset(
    embed_texts_fn: Callable[[list[str]], Tensor], max_text_len: int, cache_path: str | Path = "./text_embed_cache"
) -> Callable[[type[D]], type[D]]:
    """Decorates a data set's class: `texts` become `text_embeds`, computed once and then read from a folder.

    embed_texts_fn: a list of one text to [1, t, d]; rows that are all 0 or all -1 are padding and left out. max_text_len: rows a text that
    are kept at most. cache_path: the folder, one for each data set. An entry whose text has changed is computed again. Once a process, a
    test text is embedded to see that the model is the one that filled the cache. Of a tuple, the text is the part that data_kwargs calls
    texts, or else the first string.
    Raises MeshGPTError (bad_cache) when an item is first read, if the folder holds the embeddings of another number of texts, of another
    model, or of another length; bad_data if an item has no text.
    """

    def embed(text: str) -> NDArray[np.float32]:
        rows = embed_texts_fn([text])[0].detach().float().cpu()
        return rows[~((rows == 0).all(-1) | (rows == PADDING).all(-1))][:max_text_len].numpy()

    def decorate(dataset_class: type[D]) -> type[D]:
        class Cached(check_dataset(dataset_class)):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                if names := getattr(self, "data_kwargs", None):
                    self.data_kwargs = ["text_embeds" if name == "texts" else name for name in names]

            @cached_property
            def text_embeds_cache(self) -> Cache:
                probe = embed("test").mean(0)
                sizes = {"entries": len(self), "rows": max_text_len, "width": len(probe), "type": "float32"}
                cache = Cache(Path(cache_path), sizes, {"probe": probe.tolist()})
                known = np.array(cache.facts["probe"])
                if np.linalg.norm(known - probe) > 0.05 * np.linalg.norm(known):  # far above what another precision or device does
                    raise bad_cache(f"the embeddings in {cache_path} are those of another text model")
                return cache

            def __getitem__(self, index: int) -> Any:
                def embedded(text: str) -> Tensor:
                    return torch.from_numpy(self.text_embeds_cache.get(index, text.encode(), lambda: embed(text)))

                item = super().__getitem__(index)
                if isinstance(item, Mapping) and isinstance(item.get("texts"), str):
                    others = {name: value for name, value in item.items() if name != "texts"}
                    return {**others, "text_embeds": embedded(item["texts"])}
                if isinstance(item, tuple) and (places := [i for i, part in enumerate(item) if isinstance(part, str)]):
                    names = getattr(self, "data_kwargs", None) or []
                    place = names.index("text_embeds") if "text_embeds" in names else places[0]
                    return (*item[:place], embedded(item[place]), *item[place + 1 :])
                raise bad_data(f"item {index} of {dataset_class.__name__} has no text", 'give a string in it, in a dictionary as "texts"')

        return named_like(Cached, dataset_class)

    return decorate


def cache_face_edges_for_dataset(
    max_edges_len: int, cache_path: str | Path = "./face_edges_cache", assert_edge_len_lt_max: bool = True, pad_id: int = PADDING
) -> Callable[[type[D]], type[D]]:
    """Decorates a data set's class: items get `face_edges` (of a tuple, the last part), computed once and then read from a folder.

    The edges are those of core.adjacency.derive_face_edges_from_faces, which are what a MeshAutoencoder derives when it gets none.
    max_edges_len: pairs a mesh that are kept at most; a mesh with more is an error, or cut if `assert_edge_len_lt_max` is False.
    cache_path: the folder, one for each data set. An entry whose faces have changed is computed again. pad_id: marks absent corners.
    Raises MeshGPTError when an item is read: bad_cache if the folder holds the edges of another number of meshes or of another length,
    bad_data if an item has no faces or too many pairs. Of a tuple, the faces are the part that data_kwargs says, or else the second.
    """

    def decorate(dataset_class: type[D]) -> type[D]:
        class Cached(check_dataset(dataset_class)):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                if names := getattr(self, "data_kwargs", None):
                    self.data_kwargs = [*names, "face_edges"]

            @cached_property
            def face_edges_cache(self) -> Cache:
                return Cache(Path(cache_path), {"entries": len(self), "rows": max_edges_len, "width": 2, "type": "int32"}, {})

            def __getitem__(self, index: int) -> Any:
                item = super().__getitem__(index)
                names = getattr(self, "data_kwargs", None) or ["vertices", "faces"]
                parts = item if isinstance(item, Mapping) else dict(zip(names, item, strict=False))
                if "faces" not in parts:
                    raise bad_data(f"item {index} of {dataset_class.__name__} has no faces", "name its parts in data_kwargs")
                faces = torch.as_tensor(parts["faces"])

                def derive() -> NDArray[np.int32]:
                    edges = derive_face_edges_from_faces(faces, pad_id)
                    if assert_edge_len_lt_max and len(edges) > max_edges_len:
                        raise bad_data(f"mesh {index} has {len(edges)} pairs of neighbours", f"set max_edges_len ({max_edges_len}) higher")
                    return edges[:max_edges_len].int().numpy()

                kept = self.face_edges_cache.get(index, faces.cpu().numpy().astype(np.int64).tobytes(), derive)
                edges = torch.from_numpy(kept.astype(np.int64))
                return {**item, "face_edges": edges} if isinstance(item, Mapping) else (*item, edges)

        return named_like(Cached, dataset_class)

    return decorate


class Cache:
    """Arrays of several lengths in a folder, memory-mapped: `values.npy` [entries, rows, width], `marks.npy` [entries], `index.json`.

    sizes: entries, rows (at most, of an entry), width, and type, a numpy name. facts: plain values that are kept in index.json; those of
    the process that began the cache are the ones in `self.facts`. Several processes may fill one cache: what they write is the same.
    Raises MeshGPTError (bad_cache) if the folder holds a cache of other sizes, or something else.
    """

    def __init__(self, folder: Path, sizes: dict[str, Any], facts: dict[str, Any]) -> None:
        if not (folder / "index.json").is_file():
            begin_cache(folder, sizes, facts)
        try:
            index = json.loads((folder / "index.json").read_text())
            known, self.facts = {name: index["sizes"][name] for name in sizes}, index["facts"]
            self.values = np.load(folder / "values.npy", mmap_mode="r+", allow_pickle=False)
            self.marks = np.load(folder / "marks.npy", mmap_mode="r+", allow_pickle=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise bad_cache(f"{folder} holds no whole cache ({error})") from error
        if other := [f"{name} {known[name]} where {sizes[name]} is wanted" for name in sizes if known[name] != sizes[name]]:
            raise bad_cache(f"the cache in {folder} is of another data set or model: {', '.join(other)}")

    def get(self, index: int, source: bytes, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """A copy of the rows of an entry; computed first if it is not there or was made from something else than `source`."""
        key = int.from_bytes(hashlib.blake2b(source, digest_size=8).digest(), "big") | 1  # 0 marks an entry that is not there
        if self.marks[index]["key"] != key:
            rows = compute()
            self.marks["key"][index] = 0
            self.values[index, : len(rows)] = rows
            self.marks["length"][index] = len(rows)
            self.marks["key"][index] = key  # last, so that who finds it finds a whole entry, also if this process dies before
        return np.array(self.values[index, : self.marks[index]["length"]])


def begin_cache(folder: Path, sizes: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write an empty cache beside `folder` and put it in its place, unless another process was first."""
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    fresh.mkdir(parents=True)
    open_memmap(fresh / "values.npy", "w+", np.dtype(sizes["type"]), (sizes["entries"], sizes["rows"], sizes["width"]))
    open_memmap(fresh / "marks.npy", "w+", MARK, (sizes["entries"],))
    (fresh / "index.json").write_text(json.dumps({"format": CACHE_FORMAT, "sizes": sizes, "facts": facts}))
    try:
        os.rename(fresh, folder)
    except OSError as error:
        shutil.rmtree(fresh)
        if not (folder / "index.json").is_file():
            raise bad_cache(f"{folder} holds other files") from error


def check_dataset(dataset_class: type[D]) -> type[D]:
    """The class, or TypeError if it is none of a data set."""
    if not (isinstance(dataset_class, type) and issubclass(dataset_class, Dataset)):
        raise TypeError(f"{dataset_class!r} is no class of data sets; decorate a subclass of torch.utils.data.Dataset")
    return dataset_class


def named_like(made: type[Any], original: type[D]) -> type[D]:
    """The class under the name of the one it stands for."""
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(made, name, getattr(original, name))
    return made


# ---- batches


class Batches(Dataset[dict[str, Any]]):
    """Batch number i of an endless row, by argument name, whichever process asks for it and when: every epoch shuffles the items anew.

    names: of the parts of items that are tuples, unless the data set has data_kwargs. pad_id: as for `collate`. The last items of an
    epoch, too few for a batch, wait for another epoch. Before a batch is read the random generators of Python, NumPy and torch are seeded
    with its number.
    Raises MeshGPTError (bad_data) if the data set has fewer items than a batch, or, when a batch is read, if items do not fit together.
    """

    def __init__(self, dataset: Dataset[Any], batch_size: int, names: Sequence[str], seed: int, pad_id: int = PADDING) -> None:
        self.dataset, self.batch_size, self.seed, self.pad_id = dataset, batch_size, seed, pad_id
        self.names = list(getattr(dataset, "data_kwargs", None) or names)
        self.items = len(dataset)  # type: ignore[arg-type]
        self.per_epoch = self.items // batch_size
        if not self.per_epoch:
            raise bad_data(f"the data set has {self.items} items, a batch {batch_size}", "use a smaller batch_size or more data")

    def __getitem__(self, number: int) -> dict[str, Any]:
        epoch, place = divmod(number, self.per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.items)
        seed_generators(self.seed, number)
        batch = collate([self.dataset[int(i)] for i in order[place * self.batch_size :][: self.batch_size]], self.pad_id)
        if isinstance(batch, dict):
            return batch
        if len(batch) > len(self.names):
            raise bad_data(
                f"items have {len(batch)} parts, data_kwargs names {len(self.names)} ({', '.join(self.names)})",
                "name every part, in the data set's data_kwargs or the trainer's",
            )
        return dict(zip(self.names, batch, strict=False))


def collate(items: Sequence[Item], pad_id: int = PADDING) -> Item:
    """One item whose tensors have a batch in front; parts that are no tensors become lists. Behind shorter rows stands pad_id, or 0 in
    floating point tensors, for embeddings of texts are padded so.

    Triangles [n, 3] beside quads [n, 4] get pad_id as their last corner.
    Raises MeshGPTError (bad_data) if the items have other parts, or a part other widths.
    """
    first = items[0]
    if isinstance(first, Mapping):
        if unlike := [sorted(item) for item in items if not isinstance(item, Mapping) or item.keys() != first.keys()]:
            raise bad_data(f"an item has the parts {unlike[0]}, another {sorted(first)}", "give every item the same parts")
        return {name: collate_part([item[name] for item in items], pad_id) for name in first}  # type: ignore[call-overload]
    if other := [len(item) for item in items if len(item) != len(first)]:
        raise bad_data(f"an item has {other[0]} parts, another {len(first)}", "give every item the same parts")
    return tuple(collate_part(part, pad_id) for part in zip(*items, strict=True))


def collate_part(values: Sequence[Any], pad_id: int) -> Any:
    """The values of one part of every item, as one tensor if they are tensors or arrays, or else as a list."""
    if not isinstance(values[0], Tensor | np.ndarray):
        return list(values)
    return padded([torch.as_tensor(value) for value in values], pad_id)


def padded(tensors: Sequence[Tensor], pad_id: int) -> Tensor:
    """Tensors [n, ...] of several n as one [b, n, ...], pad_id (0 if floating point) behind the shorter ones; scalars as [b]."""
    widths = {tuple(tensor.shape[1:]) for tensor in tensors}
    if widths == {(3,), (4,)} and not tensors[0].is_floating_point():
        tensors = [F.pad(tensor, (0, 4 - tensor.shape[1]), value=pad_id) for tensor in tensors]
    elif len(widths) > 1:
        shapes = " and ".join(str(list(tensor.shape)) for tensor in tensors[:8])
        raise bad_data(f"items of one batch have the shapes {shapes}", "let only the first size differ")
    if tensors[0].ndim == 0:
        return torch.stack(list(tensors))
    return pad_sequence(list(tensors), batch_first=True, padding_value=0 if tensors[0].is_floating_point() else pad_id)


def seed_generators(*numbers: int) -> None:
    """Seed the global generators of Python, NumPy and torch; users' augmentations and models draw from them."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def bad_data(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_data")


def bad_cache(message: str) -> MeshGPTError:
    return MeshGPTError(message, hint="name another cache_path, one for each data set and model, or delete the folder", code="bad_cache")
