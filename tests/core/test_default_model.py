"""The checkpoint that ships: whole, small, repeatable, and making sound meshes of everything it says it can make."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core import Mesh, MeshGPT
from core.pipeline import Request

FOLDER = Path(__file__).parents[2] / "models" / "default"


@pytest.fixture(scope="module")
def model() -> MeshGPT:
    return MeshGPT.from_pretrained(FOLDER, "cpu")


def meshgpt(*arguments: str) -> dict[str, object]:
    """What `meshgpt ... --json` prints of its one mesh."""
    command = [sys.executable, "-m", "core", *arguments, "--device", "cpu", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    printed: dict[str, object] = json.loads(done.stdout)
    return printed


def test_shards_are_small_and_the_whole_is_under_60_mb() -> None:
    sizes = [path.stat().st_size for path in FOLDER.iterdir()]
    assert max(sizes) < 16e6
    assert sum(sizes) < 60e6


def test_the_card_names_everything_it_makes(model: MeshGPT) -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text()
    assert [name for name in model.info()["domain"] if name not in card] == []


def test_everything_in_its_domain_comes_out_whole(model: MeshGPT) -> None:
    results = [model.run(Request(f"a {name}"))[0] for name in model.info()["domain"]]
    reports = [result.mesh.report() for result in results]
    assert all(report.duplicate == 0 for report in reports)
    assert all(result.note == "" for result in results if result.ended)
    sound = [r.ended and not report.degenerate and not report.boundary_edges for r, report in zip(results, reports, strict=True)]
    assert sum(sound) >= 0.75 * len(sound)  # animals, rocks and other faceted things are often torn, see the card


def test_the_same_command_twice_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one.glb", 5), ("two.glb", 5), ("three.glb", 6)):
        printed = meshgpt("generate", "a stool", "--seed", str(seed), "-o", str(tmp_path / name))
        assert printed["seed"] == seed
    one, two, three = ((tmp_path / name).read_bytes() for name in ("one.glb", "two.glb", "three.glb"))
    assert one == two
    assert one != three


def test_half_a_table_is_completed_and_keeps_its_half(model: MeshGPT) -> None:
    whole = model.generate("a table", seed=1)[0]
    heights = whole.vertices[whole.faces[:, 0], 2]
    half = Mesh(whole.vertices, whole.faces[heights <= sorted(heights.tolist())[len(heights) // 2]]).welded()
    completed = model.complete(half, "a table")[0]
    assert len(completed.faces) > len(half.faces)
    kept = completed.quads().face_coordinates()[: len(half.faces)]
    np.testing.assert_array_equal(kept, half.quads().face_coordinates())


def test_a_prompt_outside_the_domain_gives_a_mesh_and_a_note(tmp_path: Path) -> None:
    printed = meshgpt("generate", "a fire-breathing dragon", "-o", str(tmp_path / "dragon.glb"))
    assert "was not trained on" in str(printed["note"])
    assert Mesh.load(tmp_path / "dragon.glb").report().faces > 0
