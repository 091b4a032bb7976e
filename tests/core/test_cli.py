"""`meshgpt` as a user meets it: files where they were asked for, one line and status 2 for every mistake, and never half a file."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from core import cli
from core.fake import FakeMeshGPT
from core.mesh import Mesh
from core.properties import Properties
from core.request import Request, Result

ROOT = Path(__file__).resolve().parents[2]
CUBE = Mesh(
    np.array([[x, y, z] for x in (3, 5) for y in (7, 9) for z in (1, 2)], np.float32),
    np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]),
)


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Outcome:
        status = cli.main([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeMeshGPT:
    """What the commands find instead of a checkpoint."""
    fake = FakeMeshGPT(seconds_a_face=0)
    monkeypatch.setattr(cli, "load_model", lambda folder, device: fake)
    return fake


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads a model fails the test."""
    monkeypatch.setattr(cli, "load_model", lambda folder, device: pytest.fail("the model was loaded before the mistake was told"))


def made(text: str = "a tower", **options: Any) -> list[Result]:
    return FakeMeshGPT(0).run(Request(text, **options))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_refused(outcome: Outcome, *words: str) -> None:
    """One line that says what is wrong and what to do, nothing else, and status 2."""
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.startswith("meshgpt: ")
    assert outcome.err.count("\n") == 1
    assert "; " in outcome.err
    assert "Traceback" not in outcome.err
    assert len(outcome.err) < 500
    for word in words:
        assert word in outcome.err


def meshgpt(*arguments: object, program: str = "", **options: Any) -> subprocess.Popen[str]:
    """The command in a process of its own, with a fake model; program: Python to run before it."""
    setup = "import sys, core.cli as cli; from core.fake import FakeMeshGPT; cli.load_model = lambda *_: FakeMeshGPT(0)"
    command = [sys.executable, "-c", f"{setup}\n{program}\nsys.exit(cli.main(sys.argv[1:]))", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT, "env": environment} | options
    return subprocess.Popen(command, **options)


# ---- making meshes


def test_one_result_goes_into_the_file_that_was_named(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    outcome = run("generate", "a tower", "--seed", 3, "-o", tmp_path / "new" / "tower.obj")
    assert (outcome.status, outcome.err) == (0, "")
    assert "tower.obj: " in outcome.out
    assert names(tmp_path / "new") == ["tower.obj"]
    written, (expected,) = Mesh.load(tmp_path / "new" / "tower.obj"), made(seed=3)
    assert written.report() == expected.mesh.welded().report()


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".stl", ".off", ".GLB"])
def test_every_format_holds_the_mesh(run: Run, model: FakeMeshGPT, tmp_path: Path, suffix: str) -> None:
    assert run("generate", "a tower", "-o", tmp_path / f"tower{suffix}").status == 0
    written, (expected,) = Mesh.load(tmp_path / f"tower{suffix}"), made()
    assert len(written.triangles()) == len(expected.mesh.triangles())
    np.testing.assert_allclose(written.vertices.max(0), expected.mesh.vertices.max(0), atol=1e-5)


def test_several_results_for_one_file_name_are_numbered(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    assert run("generate", "a tower", "--variants", 3, "-o", tmp_path / "tower.glb").status == 0
    assert names(tmp_path) == ["tower-1.glb", "tower-2.glb", "tower-3.glb"]
    assert run("generate", "a tower", "a box", "-o", tmp_path / "both.obj").status == 0
    assert names(tmp_path)[:2] == ["both-1.obj", "both-2.obj"]


def test_files_in_a_folder_are_named_after_their_prompts(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    prompts = ["A Tower, 3 m high!", "a tower 3 m high", "椅子", "../../etc/passwd", "!?", "x" * 300]
    folder = tmp_path / "furniture"
    outcome = run("generate", *prompts, "-o", folder, "--json")
    assert outcome.status == 0
    files = [json.loads(line)["file"] for line in outcome.out.splitlines()]
    assert [Path(file).name for file in files] == [
        "a-tower-3-m-high-1.glb",
        "a-tower-3-m-high-2.glb",
        "椅子-1.glb",
        "etc-passwd-1.glb",
        "mesh-1.glb",
        "x" * 60 + "-1.glb",
    ]
    assert names(folder) == sorted(Path(file).name for file in files)


def test_json_tells_what_each_file_holds(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    outcome = run("generate", "reject outside", "--variants", 2, "--seed", 9, "--json", "-o", tmp_path / "t.obj")
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [record["variant"] for record in records] == [0, 1]
    for record, expected in zip(records, made("reject", seed=9, variants=2), strict=True):
        mesh = Mesh.load(record["file"])
        assert (record["faces"], record["vertices"]) == (len(mesh.faces), len(mesh.vertices))
        assert record["faces"] == len(expected.mesh.faces)
        assert (record["prompt"], record["seed"], record["rejected"], record["drawn"]) == ("reject outside", 9, 1, 2)
        assert record["rejection_rate"] == 0.5
        assert 0 <= record["first_face_seconds"] <= record["seconds"]
        assert "boxes" in record["note"]


def test_the_rejection_rate_is_told(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    assert run("generate", "a tower", "-o", tmp_path).out.endswith(", 0 of 1 sample rejected (0%)\n")
    assert run("generate", "reject", "--candidates", 4, "-o", tmp_path).out.endswith(", 1 of 5 samples rejected (20%)\n")


def test_the_same_command_makes_the_same_file_and_replaces_it(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    path = tmp_path / "tower.glb"

    def content(seed: int) -> bytes:
        assert run("generate", "a tower", "--seed", seed, "-o", path).status == 0
        return path.read_bytes()

    assert content(1) == content(1) != content(2)


def test_options_reach_the_model_and_what_is_left_out_is_its_own_choice(
    run: Run, model: FakeMeshGPT, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Request] = []
    monkeypatch.setattr(model, "run", lambda request, on_faces: asked.append(request) or [])
    options = ["--variants", 2, "--seed", 5, "--max-faces", 40, "--guidance", 2.5, "--temperature", 0.7, "--candidates", 3]
    options += ["--faces", 30, "--extents", 1, 0.5, 2, "--polygons", "quads"]
    wanted = Properties(30, (1, 0.5, 2), "quads")
    assert run("generate", "a", "b", *options, "-o", tmp_path).status == 0
    assert asked == [Request(text, None, 2, 5, 2.5, 0.7, 40, 3, wanted) for text in "ab"]
    assert run("generate", "a", "-o", tmp_path).status == 0
    assert asked[-1] == Request("a")


def test_a_mesh_is_completed_in_its_own_place(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    CUBE.save(tmp_path / "half a chair.obj")
    assert run("complete", tmp_path / "half a chair.obj", "-o", tmp_path / "out").status == 0
    assert run("complete", tmp_path / "half a chair.obj", "--text", "a chair", "-o", tmp_path / "out").status == 0
    assert names(tmp_path / "out") == ["a-chair-1.glb", "half-a-chair-1.glb"]
    completed = Mesh.load(tmp_path / "out" / "a-chair-1.glb")
    given = {tuple(vertex) for vertex in CUBE.vertices.tolist()}
    assert given <= {tuple(vertex) for vertex in completed.vertices.tolist()}
    assert len(completed.faces) > len(CUBE.triangles())


def test_properties_make_another_mesh(run: Run, knowing_checkpoint: Path, tmp_path: Path) -> None:
    def content(*wanted: object) -> bytes:
        path = tmp_path / "chair.obj"
        outcome = run("generate", "a chair", "--max-faces", 6, *wanted, "--model", knowing_checkpoint, "--device", "cpu", "-o", path)
        assert outcome.status == 0
        assert "cannot be asked" not in outcome.err
        return path.read_bytes()

    made = [content(), content("--faces", 30), content("--extents", 1, 2, 0.5), content("--polygons", "quads")]
    assert len(set(made)) == 4


def test_the_box_of_the_whole_reaches_the_model(
    run: Run, model: FakeMeshGPT, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Request] = []
    monkeypatch.setattr(model, "run", lambda request, on_faces: asked.append(request) or [])
    CUBE.save(tmp_path / "cube.obj")
    assert run("complete", tmp_path / "cube.obj", "--bounds", 2, -7, 1, 5, 9.5, 4, "-o", tmp_path).status == 0
    assert asked[0].bounds == ((2, -7, 1), (5, 9.5, 4))
    outside = run("complete", tmp_path / "cube.obj", "--bounds", 0, 0, 0, 1, 1, 1, "-o", tmp_path)
    assert_refused(outside, "out of the bounds", "make the bounds larger")


def test_a_note_is_told_once_and_is_no_error(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    outcome = run("generate", "outside", "--variants", 3, "-o", tmp_path)
    assert outcome.status == 0
    assert outcome.err.startswith("meshgpt: This model knows boxes")
    assert outcome.err.count("\n") == 1


def test_progress_is_shown_to_a_terminal_and_cleared(
    run: Run, model: FakeMeshGPT, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    outcome = run("generate", "a tower", "-o", tmp_path)
    assert "a tower: 1 faces" in outcome.err
    assert outcome.err.endswith(cli.CLEAR_LINE)
    assert "tower: 1 faces" not in outcome.out


def test_info_tells_what_the_model_is(run: Run, model: FakeMeshGPT) -> None:
    assert "name: fake boxes\n" in run("info").out
    assert "domain: box, tower\n" in run("info").out
    facts = json.loads(run("info", "--json").out)
    assert (facts["name"], facts["device"], facts["domain"]) == ("fake boxes", "cpu", ["box", "tower"])


# ---- codes


@pytest.fixture
def tokenizer(model: FakeMeshGPT, monkeypatch: pytest.MonkeyPatch) -> Any:
    from core.discretizer import MeshDiscretizer

    tokenizer = MeshDiscretizer()
    monkeypatch.setattr(model, "tokenizer", tokenizer, raising=False)
    return tokenizer


def test_a_mesh_goes_through_codes_and_comes_back_to_its_place(run: Run, tokenizer: Any, tmp_path: Path) -> None:
    CUBE.save(tmp_path / "cube.obj")
    assert run("tokenize", tmp_path / "cube.obj", "-o", tmp_path / "codes.npz").status == 0
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["codes"], tokenizer.encode(CUBE))
    assert run("detokenize", tmp_path / "codes.npz", "-o", tmp_path / "again.obj").status == 0
    again = Mesh.load(tmp_path / "again.obj")
    np.testing.assert_allclose(np.unique(again.vertices, axis=0), np.unique(CUBE.vertices, axis=0), atol=1e-5)
    assert len(again.faces) == len(CUBE.faces)
    assert names(tmp_path) == ["again.obj", "codes.npz", "cube.obj"]


def arrays(**changes: Any) -> dict[str, Any]:
    return {"codes": np.arange(24).reshape(2, 12), "origin": np.zeros(3), "scale": np.array(1.0)} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"codes": np.zeros((2, 12))},
        {"codes": np.zeros(12, np.int64)},
        {"codes": np.zeros((0, 12), np.int64)},
        {"codes": np.zeros((2, 11), np.int64)},
        {"codes": np.full((2, 12), 129)},
        {"codes": np.full((2, 12), -2)},
        {"codes": np.full((2, 12), -1)},
        {"codes": np.array([[None] * 12], object)},
        {"codes": np.array(5)},
        {"origin": np.zeros(2)},
        {"origin": np.array(["a", "b", "c"])},
        {"origin": np.array([np.nan, 0, 0])},
        {"scale": np.array(0.0)},
        {"scale": np.array(np.inf)},
        {"scale": np.ones(2)},
    ],
    ids=lambda changes: str(changes)[:50],
)
def test_codes_that_are_none_are_refused(run: Run, tokenizer: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    np.savez(tmp_path / "codes.npz", **arrays(**changes))
    assert_refused(run("detokenize", tmp_path / "codes.npz", "-o", tmp_path / "again.obj"))
    assert names(tmp_path) == ["codes.npz"]


@pytest.mark.parametrize("missing", ["codes", "origin", "scale"])
def test_a_codes_file_without_one_of_its_arrays_is_refused(run: Run, tokenizer: Any, tmp_path: Path, missing: str) -> None:
    np.savez(tmp_path / "codes.npz", **{name: array for name, array in arrays().items() if name != missing})
    assert_refused(run("detokenize", tmp_path / "codes.npz", "-o", tmp_path / "again.obj"), missing)


def test_a_codes_file_that_is_cut_or_no_codes_file_is_refused(run: Run, no_model: None, tmp_path: Path) -> None:
    path = tmp_path / "codes.npz"
    np.savez_compressed(path, **arrays())
    whole = path.read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    damaged = whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]
    contents = [whole[: len(whole) // 2], damaged, b"", b"PK\x03\x04", b"not codes", b"\x80\x04.", (tmp_path / "array.npy").read_bytes()]
    for content in contents:
        path.write_bytes(content)
        assert_refused(run("detokenize", path, "-o", tmp_path / "again.obj"), "codes.npz")
    path.unlink()
    assert_refused(run("detokenize", path, "-o", tmp_path / "again.obj"), "codes.npz")
    assert_refused(run("detokenize", tmp_path, "-o", tmp_path / "again.obj"), str(tmp_path))


def test_codes_are_written_to_npz_files_alone(run: Run, no_model: None, tmp_path: Path) -> None:
    CUBE.save(tmp_path / "cube.obj")
    assert_refused(run("tokenize", tmp_path / "cube.obj", "-o", tmp_path / "codes.json"), ".npz")
    assert_refused(run("tokenize", tmp_path / "cube.obj", "-o", "/dev/null"), ".npz")
    assert_refused(run("detokenize", "codes.npz", "-o", tmp_path / "chair.fbx"), ".glb")


# ---- mistakes


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["generate", ""], "empty"),
        (["generate", "a chair", "  "], "empty"),
        (["generate", "chair " * 1666 + "legs"], "10000 characters"),
        (["generate", "a \udcff chair"], "UTF-8"),
        (["generate", "a chair", "--variants", "0"], "variants"),
        (["generate", "a chair", "--seed", "-1"], "seed"),
        (["generate", "a chair", "--max-faces", "0"], "max_faces"),
        (["generate", "a chair", "--guidance", "nan"], "guidance_scale"),
        (["generate", "a chair", "--temperature", "inf"], "temperature"),
        (["generate", "a chair", "--candidates", "65"], "candidates"),
        (["generate", "a chair", "--faces", "0"], "faces"),
        (["generate", "a chair", "--extents", "1", "-1", "1"], "extents"),
        (["generate", "a chair", "--polygons", "ngons"], "triangles or quads"),
    ],
)
def test_a_bad_wish_is_refused_before_anything_is_done(run: Run, no_model: None, tmp_path: Path, arguments: list[str], word: str) -> None:
    assert_refused(run(*arguments, "-o", tmp_path / "out"), word)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.obj", None),
        ("empty.obj", b""),
        ("words.obj", b"f one two three\n"),
        ("points.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"),
        ("noise.glb", b"glTF" + bytes(range(200))),
        ("noise.ply", bytes(200)),
        ("text.stl", b"hello"),
        ("chair.blend", b"BLENDER"),
        ("two\nlines.obj", b""),
    ],
)
@pytest.mark.parametrize("command", ["complete", "tokenize"])
def test_a_mesh_that_cannot_be_read_is_refused(
    run: Run, no_model: None, tmp_path: Path, command: str, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    output = tmp_path / "out" / ("codes.npz" if command == "tokenize" else "mesh.glb")
    assert_refused(run(command, tmp_path / name, "-o", output), name.split()[-1])
    assert not output.exists()


def test_a_mesh_with_a_corner_that_is_not_there_is_refused(run: Run, no_model: None, tmp_path: Path) -> None:
    (tmp_path / "beyond.obj").write_text("v 0 0 0\nf 1 2 3\n")
    assert_refused(run("complete", tmp_path / "beyond.obj", "-o", tmp_path / "out.glb"), "index 2")


def test_a_folder_is_no_mesh(run: Run, no_model: None, tmp_path: Path) -> None:
    (tmp_path / "folder.obj").mkdir()
    assert_refused(run("complete", tmp_path / "folder.obj", "-o", tmp_path / "out.glb"), "folder.obj")


@pytest.mark.parametrize("command", [["generate", "a"], ["info"], ["complete", "cube.obj"], ["tokenize", "cube.obj"]])
def test_a_checkpoint_that_is_not_there_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    CUBE.save(tmp_path / "cube.obj")
    output = [] if command == ["info"] else ["-o", "codes.npz" if command[0] == "tokenize" else "out.glb"]
    for folder in ("nowhere", "cube.obj", "."):
        assert_refused(run(*command, "--model", folder, *output), f"no checkpoint in {folder}", "--model")
    assert names(tmp_path) == ["cube.obj"]


@pytest.mark.parametrize("config", ["", "{", "[]", "null", '{"format": 1}', '{"format": 999}', "\udcff\udcfe"])
def test_a_damaged_checkpoint_is_named(run: Run, tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config, errors="surrogateescape")
    assert_refused(run("info", "--model", tmp_path), str(tmp_path))


@pytest.mark.parametrize("raised", [KeyError("shards"), ValueError("two\nlines"), RuntimeError("size mismatch"), EOFError()])
def test_whatever_loading_stumbles_over_is_a_damaged_checkpoint(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("core.pipeline.MeshGPT.from_pretrained", fail)
    assert_refused(run("info", "--model", tmp_path), str(tmp_path), type(raised).__name__)


def test_a_missing_package_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.delitem(sys.modules, "core.pipeline", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert_refused(run("info", "--model", tmp_path), "torch", "install")


def test_running_out_of_memory_is_told_in_words(run: Run, model: FakeMeshGPT, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(model, "misbehave", fail)
    assert_refused(run("generate", "a tower", "-o", tmp_path), "memory", "fewer")


def test_a_defect_of_ours_keeps_its_traceback(model: FakeMeshGPT, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="as it was asked to"):
        cli.main(["generate", "error", "-o", str(tmp_path)])
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["paint"], ["generate", "a"], ["generate", "-o", "x"], ["generate", "a", "-o", "x", "--seed", "one"], ["info", "--device", "tpu"]],
)
def test_arguments_that_are_none_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: meshgpt" in capsys.readouterr().err


# ---- places that cannot be written


@pytest.mark.parametrize("output", ["file/folder", "file/mesh.glb", "file/deeper/mesh.glb", "/proc/folder", "/proc/mesh.glb"])
def test_a_place_that_cannot_be_written_is_named_before_the_model_is_loaded(run: Run, no_model: None, tmp_path: Path, output: str) -> None:
    (tmp_path / "file").write_text("a regular file")
    assert_refused(run("generate", "a", "-o", tmp_path / output), "cannot be written")
    CUBE.save(tmp_path / "cube.obj")
    codes = (tmp_path / output).with_suffix(".npz")
    assert_refused(run("tokenize", tmp_path / "cube.obj", "-o", codes), "cannot be written")
    assert_refused(run("detokenize", "codes.npz", "-o", (tmp_path / output).with_suffix(".glb")), "cannot be written")
    assert names(tmp_path) == ["cube.obj", "file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(run: Run, no_model: None, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert_refused(run("generate", "a", "-o", tmp_path / "mesh.glb"), "may write to")


def test_a_file_of_another_kind_is_not_taken_for_a_folder(run: Run, no_model: None, tmp_path: Path) -> None:
    assert_refused(run("generate", "a", "-o", tmp_path / "chair.fbx"), ".glb")
    assert names(tmp_path) == []


def test_a_folder_whose_name_ends_like_a_mesh_is_a_folder(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    (tmp_path / "meshes.obj").mkdir()
    assert run("generate", "a box", "-o", tmp_path / "meshes.obj").status == 0
    assert run("generate", "a box", "-o", tmp_path / "v1.2").status == 0
    assert names(tmp_path / "meshes.obj") == names(tmp_path / "v1.2") == ["a-box-1.glb"]


def test_a_disk_that_fills_up_leaves_the_earlier_file_and_nothing_else(
    run: Run, model: FakeMeshGPT, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "tower.glb").write_bytes(b"earlier")
    monkeypatch.setattr(Path, "write_bytes", half)
    assert_refused(run("generate", "a tower", "-o", tmp_path / "tower.glb"), "tower.glb", "No space left", "free some space")
    assert names(tmp_path) == ["tower.glb"]
    assert (tmp_path / "tower.glb").read_bytes() == b"earlier"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit on the size of files")
def test_a_real_limit_of_the_system_leaves_nothing_half_written(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    process = meshgpt("generate", "a tower", "-o", tmp_path / "tower.obj", program=limit)
    out, err = process.communicate(timeout=60)
    assert_refused(Outcome(process.returncode, out, err), "tower.obj", "free some space")
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_output_that_nothing_fits_into_is_one_line_too(tmp_path: Path) -> None:
    for arguments in (["info"], ["generate", "a tower", "--json", "-o", tmp_path]):
        with open("/dev/full", "w") as full:
            process = meshgpt(*arguments, stdout=full)
            _, err = process.communicate(timeout=60)
        assert_refused(Outcome(process.returncode, "", err), "No space left")


def test_files_have_the_rights_that_new_files_have(run: Run, model: FakeMeshGPT, tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    run("generate", "a tower", "-o", tmp_path / "tower.glb")
    assert (tmp_path / "tower.glb").stat().st_mode == (tmp_path / "other").stat().st_mode


# ---- the process


def test_an_interrupt_ends_quietly_with_130_and_keeps_what_was_finished(tmp_path: Path) -> None:
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background jobs start deaf to it
    process = meshgpt("generate", "a tower", "slow", "-o", tmp_path, program=heard)
    assert process.stdout is not None
    assert "a-tower-1.glb" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    assert names(tmp_path) == ["a-tower-1.glb"]


def test_help_gives_examples_and_needs_no_torch() -> None:
    program = "import atexit; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    process = meshgpt("--help", program=program)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert 'meshgpt generate "a chair with four legs" -o chair.glb' in out
    assert err == "False\n"


def test_python_m_core_is_the_same_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "core", "generate", " ", "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert_refused(Outcome(done.returncode, done.stdout, done.stderr), "empty")


def test_a_log_that_cannot_be_written_is_named() -> None:
    process = meshgpt("serve", "--fake", "--log", "/proc/nowhere/worker.log", stdin=subprocess.DEVNULL)
    out, err = process.communicate(timeout=60)
    assert_refused(Outcome(process.returncode, out, err), "/proc/nowhere")
