"""training.finetune: a model of a few weights learns the meshes of a folder, and is then a model like any other."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.mesh import Mesh
from core.pipeline import MeshGPT
from core.transformer import MeshTransformer
from training import finetune as script
from training.finetune import SETTINGS, finetune
from training.train_transformer import read_config, train

BOX = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
FACTS = {"name": "old", "domain": ["stool", "unheard of"], "nouns": ["pouf", "stool"], "sampling": {"min_p": 0.25}}


@pytest.fixture
def monoliths(tmp_path: Path) -> Path:
    """A folder of boxes of several proportions."""
    corners = np.array(list(itertools.product([0, 1], repeat=3)), np.float32)
    (tmp_path / "monoliths").mkdir()
    for number, size in enumerate([(1, 1, 3), (1, 2, 5), (3, 1, 9), (2, 2, 7)]):
        Mesh(corners * size, np.array(BOX)).save(tmp_path / f"monoliths/PurpleMonolith_{number}.obj")
    return tmp_path / "monoliths"


def old_model(folder: Path, max_faces: int) -> Path:
    sizes = {"dim": 32, "attn_depth": 1, "attn_heads": 2, "attn_dim_head": 16, "fine_attn_depth": 1, "fine_attn_heads": 2}
    text = {"condition_on_text": True, "text_condition_model_kwargs": [{"width": 16, "layers": 1, "heads": 2}]}
    model = MeshTransformer(MeshDiscretizer(), **sizes, **text, fine_attn_dim_head=16, max_seq_len=max_faces * 12)
    model.save_pretrained(folder / "old", facts=FACTS)
    return folder / "old"


def test_the_result_knows_the_folder_and_what_the_model_knew(monoliths: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, out = old_model(tmp_path, max_faces=64), tmp_path / "runs/monoliths"
    words = json.dumps({"known": {"stool": ["stool"]}, "general": [], "said": [], "names": {"stool": "tripod"}, "words": {}})
    (old / "words.json").write_text(words)
    ticks = itertools.count()
    monkeypatch.setattr(script, "train", partial(train, clock=lambda: float(next(ticks))))
    monkeypatch.setattr(script, "REHEARSED", 3)
    options = ["data={}", "validation=[]", f"init={old}", "minutes=0.1", "batch_faces=200", "precision=fp32"]
    finetune(monoliths, "", read_config(SETTINGS, options), out)
    model = MeshGPT.from_pretrained(out / "checkpoint", "cpu")
    assert model.info()["name"] == "monoliths"
    assert model.info()["domain"] == ["purple monolith", "stool", "unheard of"]
    assert {"monolith", "pouf"} <= set(model.facts["nouns"])
    assert model.facts["sampling"]["min_p"] == 0.25
    assert model.config == MeshGPT.from_pretrained(old, "cpu").config
    assert (out / "checkpoint/words.json").read_text() == words
    assert model.reading("a tripod") == "a stool"
    assert len(model.generate("a purple monolith", max_faces=4)[0].faces) > 0
    times = model.facts["training"]["data"]
    assert times[str(out / "data/train")] > 1 == times[str(out / "rehearsal/train")]


def test_a_folder_of_meshes_that_are_all_too_large_is_refused_with_the_reason(monoliths: Path, tmp_path: Path) -> None:
    config = read_config(SETTINGS, ["data={}", "validation=[]", f"init={old_model(tmp_path, max_faces=5)}"])
    with pytest.raises(MeshGPTError, match=r"no mesh in .*monoliths can be learned \(too many faces.*: 4\)"):
        finetune(monoliths, "", config, tmp_path / "run")
