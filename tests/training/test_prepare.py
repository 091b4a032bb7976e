"""training.prepare on folders the tests write: what is kept and why the rest is not, what is found twice, how the rest is split, and what
a kill, a broken file and a reader that dies do to it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MeshGPTError
from core.mesh import Mesh
from training.data.dataset import CodeSet
from training.data.parquet import Row, grid_of, mesh_of, stream
from training.preparation.captions import read_captions, words_of
from training.preparation.cleaning import Rejected, clean, orient, without_slivers
from training.preparation.duplicates import compare, features, symmetric_key
from training.prepare import Settings, main, prepare
from training.procedural import generate

CUBE = Mesh(
    np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]),
    np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]),
)
FLAT = Mesh(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2, 3]]))


def box(x: float, y: float, z: float) -> Mesh:
    return Mesh(CUBE.vertices * [x, y, z], CUBE.faces)


def turned(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices[:, [1, 0, 2]] * [-1, 1, 1], mesh.faces)


def mirrored(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices * [-1, 1, 1], np.array([[*face[face >= 0][::-1], *face[face < 0]] for face in mesh.faces]))


def volume(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.triangles()].astype(float).transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def everything(out: Path) -> dict[str, Row]:
    return {row.name: row for part in ("train", "validation") for row in stream(out / part)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve different meshes, and one of everything that is to be left out."""
    path = tmp_path_factory.mktemp("sources") / "meshes"
    (path / "furniture").mkdir(parents=True)
    for seed in range(10):
        generate("table", seed).mesh.save(path / "furniture" / f"Wooden_Table_{seed}.obj")
    generate("stool", 1).mesh.save(path / "stool.glb")
    generate("stool", 2).mesh.save(path / "other.ply")
    mirrored(turned(generate("table", 3).mesh)).save(path / "turned.obj")
    Mesh(generate("table", 4).mesh.vertices * [1, 1, 1.01], generate("table", 4).mesh.faces).save(path / "nearly.obj")
    FLAT.save(path / "flat.obj")
    Mesh(np.tile(CUBE.vertices[:1], (8, 1)), CUBE.faces).save(path / "point.obj")
    Mesh(CUBE.vertices * [1, 1, 1e-4], CUBE.faces).save(path / "sheet.off")
    trimesh.creation.uv_sphere(count=(8, 8)).export(path / "large.obj")
    (path / "broken.glb").write_bytes(b"glTF and then nothing of the kind")
    (path / "empty.obj").write_text("# no faces\n")
    (path / "nan.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (path / "index.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 7\n")
    (path / "notes.txt").write_text("not a mesh and not counted")
    return path


@pytest.fixture(scope="module")
def options(folder: Path) -> Settings:
    return Settings((str(folder),), max_faces=99, validation=0.2)


@pytest.fixture(scope="module")
def prepared(options: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("prepared")
    return out, prepare(options, out, processes=2)


# ---- the whole way


def test_every_file_is_kept_or_left_out_for_its_reason(prepared: tuple[Path, dict[str, Any]]) -> None:
    out, report = prepared
    assert report["names_left_out"] == {
        "turned.obj": "exact duplicate",
        "nearly.obj": "near duplicate",
        "flat.obj": "flat",
        "sheet.off": "flat",
        "point.obj": "no extent",
        "large.obj": "too many faces",
        "broken.glb": "unreadable",
        "empty.obj": "no faces",
        "nan.obj": "not finite",
        "index.obj": "unreadable",
    }
    assert report["found"] == report["kept"] + sum(report["left_out"].values()) == 22
    assert len(everything(out)) == report["kept"]


def test_what_is_kept_is_the_canonical_mesh_with_quads_captions_and_sizes(prepared: tuple[Path, dict[str, Any]]) -> None:
    rows = everything(prepared[0])
    row, mesh = rows["furniture/Wooden_Table_5.obj"], generate("table", 5).mesh
    np.testing.assert_array_equal(row.grid, grid_of(mesh.canonical()))
    assert row.captions == ("a wooden table", "wooden table, furniture")
    assert row.extents == pytest.approx(np.ptp(mesh.vertices, axis=0))
    assert (row.metres, rows["stool.glb"].metres) == (0, 1)


def test_the_split_holds_some_back_and_the_training_reads_both(prepared: tuple[Path, dict[str, Any]]) -> None:
    out, report = prepared
    train, validation = CodeSet.load(out / "train"), CodeSet.load(out / "validation")
    assert (len(train), len(validation)) == (report["train"], report["validation"])
    assert 0 < len(validation) < len(train)
    groups = [{row.group for row in stream(out / part)} for part in ("train", "validation")]
    assert not groups[0] & groups[1]


def test_hugging_face_datasets_streams_the_folder(prepared: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    code = f"""
import datasets, os, sys
for split in ("train", "validation"):
    for row in datasets.load_dataset({str(prepared[0])!r}, split=split, streaming=True):
        print(row["name"], len(row["grid"]) == 12 * row["faces"])
sys.stdout.flush()
os._exit(0)  # the threads of datasets may abort an interpreter that is leaving
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert sorted(done.stdout.splitlines()) == sorted(f"{name} True" for name in everything(prepared[0]))


def test_a_second_run_does_nothing_and_other_settings_are_refused(
    prepared: tuple[Path, dict[str, Any]], options: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, report = prepared
    monkeypatch.setattr("training.prepare.clean_all", lambda *_: pytest.fail("it began again"))
    assert prepare(options, out) == report
    with pytest.raises(MeshGPTError, match="other sources or settings"):
        prepare(Settings(options.sources, max_faces=10), out)


def test_a_killed_run_goes_on_and_ends_the_same_without_doing_chunks_again(
    prepared: tuple[Path, dict[str, Any]], options: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.prepare.CHUNK", 4)
    from training import prepare as module

    written: list[int] = []
    real: Callable[..., None] = module.write_chunk

    def dying(work: Path, number: int, results: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        real(work, number, results)
        written.append(number)

    monkeypatch.setattr("training.prepare.write_chunk", dying)
    with pytest.raises(KeyboardInterrupt):
        prepare(options, tmp_path, processes=1)
    before, written = list(written), []
    monkeypatch.setattr("training.prepare.write_chunk", lambda work, number, results: (written.append(number), real(work, number, results)))
    assert prepare(options, tmp_path, processes=1) == prepared[1]
    assert len(before) == 2
    assert sorted(before + written) == list(range(6))
    for name, row in everything(prepared[0]).items():
        np.testing.assert_array_equal(everything(tmp_path)[name].grid, row.grid)


def test_a_set_is_read_with_its_groups_split_and_weights(tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    meshes = [generate("table", seed).mesh.canonical() for seed in range(4)]
    sizes, loops = zip(*[((mesh.faces >= 0).sum(1), mesh.faces[mesh.faces >= 0]) for mesh in meshes], strict=True)
    ends = {"v_off": [len(mesh.vertices) for mesh in meshes], "poly_off": list(map(len, sizes)), "loop_off": list(map(len, loops))}
    arrays = {"vertices": [mesh.vertices for mesh in meshes], "poly_sizes": sizes, "poly_loops": loops}
    np.savez(
        source / "meshes.npz",
        **{name: np.concatenate(parts) for name, parts in arrays.items()},
        **{name: np.cumsum([0, *lengths]) for name, lengths in ends.items()},
    )
    known = {"category": "table", "licence": "CC0", "author": "me", "source_repo": "r", "source_path": "p"}
    said = [("good", "a", "train"), ("partial", "a", "val"), ("odd", "b", "train"), ("good", "c", "train")]
    index = [
        {"row": i, "id": f"t{i}", "name": "t", "captions": ["a table"], "quality": quality, "group": group, "split": split, **known}
        for i, (quality, group, split) in enumerate(said)
    ]
    (source / "index.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in index))
    report = prepare(Settings((str(source),)), tmp_path / "out")
    assert report["names_left_out"] == {"set/t2": "marked as odd"}
    validation = {row.name: row for row in stream(tmp_path / "out" / "validation")}
    assert set(validation) == {"set/t0", "set/t1"}  # one of the group is held out, so the other is too
    assert (validation["set/t0"].weight, validation["set/t1"].weight) == (1, pytest.approx(0.1))
    assert (validation["set/t0"].licence, validation["set/t0"].author) == ("CC0", "me")


def test_copies_give_their_captions_to_the_one_that_is_kept(tmp_path: Path) -> None:
    for name, mesh in (("bench", CUBE), ("crate", turned(CUBE)), ("plank", box(4, 2, 1))):
        mesh.save(tmp_path / f"{name}.obj")
    prepare(Settings((str(tmp_path),)), tmp_path / "out")
    assert everything(tmp_path / "out")["bench.obj"].captions == ("a bench", "a crate")


def test_the_command_says_what_is_wrong_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "nowhere is not a folder or a mesh file" in capsys.readouterr().err


@pytest.mark.skipif(not importlib.util.find_spec("bpy"), reason="bpy is not installed")
def test_a_blend_file_is_read_with_its_modifiers(tmp_path: Path) -> None:
    code = f"""
import os, bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add(size=2, location=(0, 0, 1))
bpy.context.object.scale = (1, 1, 2)
bpy.context.object.modifiers.new("twice", "ARRAY").relative_offset_displace = (2, 0, 0)
bpy.ops.mesh.primitive_cube_add(size=50)
bpy.context.object.hide_render = True
bpy.ops.wm.save_as_mainfile(filepath={str(tmp_path / "boxes.blend")!r})
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    prepare(Settings((str(tmp_path),)), tmp_path / "out")
    row = everything(tmp_path / "out")["boxes.blend"]
    assert row.extents == pytest.approx((6, 2, 4))
    assert len(row.grid) == 12
    assert (row.grid[:, -1] >= 0).all()


def test_without_bpy_a_blend_file_is_left_out_and_said_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bpy.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "chair.blend").write_bytes(b"BLENDER")
    report = prepare(Settings((str(tmp_path),)), tmp_path / "out")
    assert report["names_left_out"] == {"chair.blend": "bpy is not installed"}


# ---- cleaning


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.lists(st.booleans(), min_size=200, max_size=200))
def test_any_faces_turned_over_are_turned_back(seed: int, flips: list[bool]) -> None:
    mesh = generate("table", seed).mesh.canonical()
    pairs = zip(mesh.faces, flips * 5, strict=False)
    faces = np.array([[*face[face >= 0][::-1], *face[face < 0]] if flip else face for face, flip in pairs])
    again = orient(Mesh(mesh.vertices, faces)).canonical()
    np.testing.assert_array_equal(again.face_coordinates(), mesh.face_coordinates())


def test_an_open_piece_keeps_the_side_that_most_of_its_faces_show() -> None:
    bowl = Mesh(CUBE.vertices, CUBE.faces[[0, 2, 3, 4, 5]][:, ::-1])  # seen from inside
    spoilt = bowl.faces.copy()
    spoilt[2] = spoilt[2, ::-1]
    np.testing.assert_array_equal(orient(Mesh(bowl.vertices, spoilt)).canonical().faces, bowl.canonical().faces)


def test_what_cannot_be_wound_consistently_is_left_alone() -> None:
    ring = np.array([[i, (i + 1) % 6] for i in range(6)])
    strip = np.array([[a, b, b + 6, a + 6] for a, b in ring])
    strip[-1] = [5, 6, 0, 11]  # the twist of a Moebius strip
    points = np.random.default_rng(0).random((12, 3))
    np.testing.assert_array_equal(orient(Mesh(points, strip)).faces, strip)


def test_slivers_are_taken_up_by_their_neighbours_and_nothing_opens() -> None:
    mesh = CUBE.canonical()
    low, high = (mesh.vertices.tolist().index(corner) for corner in ([-0.5, -0.5, 1.0], [0.5, -0.5, 1.0]))
    vertices = np.concatenate([mesh.vertices, [[0, -0.5, 1], [0.25, -0.5, 1]]])
    top = next(face for face in mesh.faces.tolist() if {low, high} <= set(face) and all(mesh.vertices[i][2] == 1 for i in face))
    side = next(face for face in mesh.faces.tolist() if {low, high} <= set(face) and face != top)
    place = next(i for i in range(4) if {side[i - 1], side[i]} == {low, high})
    first, last = side[place - 1], side[place]
    middles = [8, 9] if first == low else [9, 8]
    other = [side[(place + 1) % 4], side[(place + 2) % 4]]
    fan = [[middles[1], last, other[0], -1], [middles[0], middles[1], other[0], other[1]], [first, middles[0], other[1], -1]]
    slivers = [[last, middles[0], first, -1], [last, middles[1], middles[0], -1]]
    faces = [face for face in mesh.faces.tolist() if face != side] + fan + slivers
    spoilt = Mesh(vertices, np.array(faces)).canonical()
    assert (spoilt.report().boundary_edges, spoilt.report().degenerate) == (0, 2)
    mended = without_slivers(spoilt)
    assert (mended.report().boundary_edges, mended.report().degenerate) == (0, 0)
    assert volume(mended) == pytest.approx(1)
    assert mended.report().consistent_winding


def test_rubbish_around_a_mesh_is_taken_away() -> None:
    mesh = generate("stool", 0).mesh
    triangle = mesh.faces[0, [0, 1, 1]]
    vertices = np.concatenate([mesh.vertices, [[np.nan, 0, 0], [99, 99, 99]], mesh.vertices])
    faces = np.concatenate([mesh.quads().faces[::2] + (mesh.quads().faces[::2] >= 0) * (len(mesh.vertices) + 2), mesh.quads().faces[1::2]])
    faces = np.concatenate([faces, mesh.quads().faces[:3], [[*triangle, -1]]])
    np.testing.assert_array_equal(clean(vertices, faces, 500).face_coordinates(), mesh.canonical().quads().face_coordinates())


def test_open_meshes_are_left_out_where_that_is_asked_for() -> None:
    bowl = Mesh(CUBE.vertices, CUBE.faces[1:])  # four of twelve edges
    assert len(clean(bowl.vertices, bowl.faces, 10, max_open_edges=0.34).faces) == 5
    with pytest.raises(Rejected, match="too many open edges"):
        clean(bowl.vertices, bowl.faces, 10, max_open_edges=0.33)


# ---- copies


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(["table", "stool", "chair"]), st.integers(0, 50), st.integers(0, 3), st.booleans())
def test_turned_and_mirrored_meshes_have_the_same_key_and_features(family: str, seed: int, turns: int, mirror: bool) -> None:
    mesh = generate(family, seed).mesh
    moved = mirrored(mesh) if mirror else mesh
    for _ in range(turns):
        moved = turned(moved)
    assert symmetric_key(mesh.canonical()) == symmetric_key(moved.canonical())
    assert features(mesh.canonical()) == pytest.approx(features(moved.canonical()), abs=1e-4)


def test_different_meshes_have_different_keys() -> None:
    meshes = [generate("table", seed).mesh.canonical() for seed in range(40)]
    assert len({symmetric_key(mesh) for mesh in meshes}) == len({grid_of(mesh).tobytes() for mesh in meshes})
    inside_out = Mesh(CUBE.vertices, CUBE.faces[:, ::-1])
    assert symmetric_key(CUBE.canonical()) != symmetric_key(inside_out.canonical())


def test_near_meshes_are_told_from_related_and_different_ones() -> None:
    bar = box(4, 2, 1).canonical()
    cut = Mesh(bar.vertices, bar.triangles()).canonical()
    assert compare((bar, turned(cut).canonical())) == (True, True)
    assert compare((bar, box(4, 2, 1.04).canonical())) == (True, True)
    small = np.add(box(0.2, 0.2, 0.3).vertices, [0, 0, 1])
    knob = Mesh(np.concatenate([box(4, 2, 1).vertices, small]), np.concatenate([CUBE.faces, CUBE.faces + 8]))
    assert compare((bar, knob.canonical()))[0] is False
    assert compare((bar, box(4, 2.5, 1).canonical())) == (False, False)
    groove = [[1.9, 0, 1], [2.1, 0, 1], [2.1, 2, 1], [1.9, 2, 1]]  # the same surface, but with a line across
    lined = Mesh(
        np.concatenate([box(4, 2, 1).vertices, groove]),
        np.array([[0, 2, 3, 1], [4, 8, 11, 6], [8, 9, 10, 11], [9, 5, 7, 10], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]),
    )
    assert compare((bar, lined.canonical()))[0] is False


# ---- captions


def test_captions_come_from_json_lines_and_csv_alike(tmp_path: Path) -> None:
    cup = {"file": "x.glb", "captions": ["a cup", "a mug"], "category": "cup", "weight": 0.5}
    (tmp_path / "a.jsonl").write_text(f'{json.dumps(cup)}\n\n{{"name": "y", "caption": "a hat"}}\n')
    (tmp_path / "a.csv").write_text("file,caption,category,weight\nx.glb,a cup,cup,0.5\nx.glb,a mug,,\ny,a hat,,\n")
    assert read_captions(tmp_path / "a.jsonl") == read_captions(tmp_path / "a.csv")
    assert read_captions(tmp_path / "a.csv")["x.glb"].captions == ("a cup", "a mug")


@pytest.mark.parametrize("text", ["not json", '{"captions": ["a"]}', "[1]"])
def test_a_list_that_names_no_files_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(MeshGPTError, match="is not a list of captions"):
        read_captions(tmp_path / "a.jsonl")


def test_captions_are_found_by_file_name_and_stem_before_words_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "meshes" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.obj", "deep/b.obj", "c.obj", "OldChair2.obj")):
        box(1 + number, 2, 8).save(tmp_path / "meshes" / name)
    (tmp_path / "list.csv").write_text("file,caption\na.obj,one\ndeep/b.obj,two\nc,three\n")
    prepare(Settings((str(tmp_path / "meshes"),), captions=str(tmp_path / "list.csv")), tmp_path / "out")
    said = {name: row.captions for name, row in everything(tmp_path / "out").items()}
    assert said == {"a.obj": ("one",), "deep/b.obj": ("two",), "c.obj": ("three",), "OldChair2.obj": ("an old chair",)}


@pytest.mark.parametrize(
    ("name", "captions", "category"),
    [
        ("furniture/WoodenChair_02.glb", ("a wooden chair", "wooden chair, furniture"), "wooden chair"),
        ("chairs/00017.obj", ("a chairs",), "chairs"),
        ("models/9f3a2b71.ply", (), ""),
        ("apple.stl", ("an apple",), "apple"),
    ],
)
def test_words_in_names(name: str, captions: tuple[str, ...], category: str) -> None:
    found = words_of(Path(name))
    assert (found.captions, found.category) == (captions, category)


def test_a_kept_mesh_is_drawn_as_it_was_cleaned() -> None:
    mesh = generate("chair", 0).mesh
    assert mesh_of(grid_of(clean(mesh.vertices, mesh.faces, 800))).report() == mesh.canonical().report()
