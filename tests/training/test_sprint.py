"""Training in short commands on a machine that is there for a short time."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from core.discretizer import MeshDiscretizer
from core.pipeline import MeshGPT
from core.transformer import MeshTransformer
from training.sprint import main, operations_a_face

SMALL = [
    *("minutes=0.05", "batch_faces=400", "precision=fp32", "workers=1", "augmentation=null"),
    *("transformer.dim=16", "transformer.max_seq_len=1200", "transformer.attn_depth=1", "transformer.attn_heads=1"),
    *("transformer.attn_dim_head=8", "transformer.fine_attn_depth=1", "transformer.fine_attn_heads=1", "transformer.fine_attn_dim_head=8"),
    "transformer.text_condition_model_kwargs=[{width: 16, layers: 1, heads: 1}]",
]


def test_commands_go_on_until_the_run_is_over_and_what_is_kept_can_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), "--per-family", "1"]
    main([*place, "--minutes", "0", *SMALL])  # draws the data, and has no time left to train
    speed = json.loads((tmp_path / "out/speed.json").read_text())
    assert (speed["step"], speed["faces_a_second"]) == (0, 0)
    assert "0.1 of 0.05 minutes are left" in capsys.readouterr().out
    main([*place, "--minutes", "2", *SMALL])
    speed = json.loads((tmp_path / "out/speed.json").read_text())
    assert "the run is over" in capsys.readouterr().out
    assert speed["tokens_a_second"] == pytest.approx(12 * speed["faces_a_second"])
    assert speed["share_of_the_best"] == pytest.approx(
        speed["faces_a_second"] * speed["operations_a_face"] / speed["best_operations_a_second"]
    )
    assert 0 < speed["share_of_the_best"] < 1

    def evaluated(command: list[str], check: bool) -> None:
        folder = Path(command[command.index("--out") + 1])
        folder.mkdir()
        (folder / "evaluation.md").write_text(command[command.index("--training") + 1])

    monkeypatch.setattr("subprocess.run", evaluated)
    main([*place, "--evaluate"])
    assert MeshGPT.from_pretrained(tmp_path / "out").info()["name"] == "run"
    with zipfile.ZipFile(tmp_path / "out/report.zip") as report:
        assert report.read("evaluation/evaluation.md").decode() == str(tmp_path / "work/data/train")
        assert {name.split("/")[0] for name in report.namelist()} == {"evaluation", "log", "samples"}


def test_the_operations_of_a_face_are_six_for_each_weight_that_a_code_or_face_meets() -> None:
    model = MeshTransformer(MeshDiscretizer(), dim=(64, 32), attn_depth=3, attn_heads=1, fine_attn_depth=2, fine_attn_heads=1)
    matrices = {name: p.numel() for name, p in model.named_parameters() if p.ndim == 2}
    of_coarse = sum(size for name, size in matrices.items() if name.startswith(("coarse.", "face_projection", "plan")))
    of_fine = sum(size for name, size in matrices.items() if name.startswith("fine."))
    heads = model.head[0].numel()
    assert operations_a_face(model) == pytest.approx(6 * (of_coarse + 12 * (of_fine + heads)), rel=0.1)
