"""A picture of what a model makes now: the first sample for each of a few prompts, whatever its flaws, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from core.decoding import Row, decode
from core.mesh import Mesh
from core.pipeline import MeshGPT
from core.tokenizer import Tokenizer
from training.data.dataset import CodeSet
from training.drawing import COLOURS, contact_sheet

COLUMNS = 4
MOST_FACES = 400  # a model that does not end anything yet should not take minutes


def pick_captions(sets: Sequence[CodeSet], count: int = 8) -> list[str]:
    """The same captions every time: of as many meshes from each set, drawn at random, one each; "" for a mesh without any."""
    rng = np.random.default_rng(0)
    each = max(1, count // max(1, len(sets)))
    drawn = [data.captions[place] for data in sets for place in rng.permutation(len(data))[:each].tolist()]
    return [captions[rng.integers(len(captions))] if captions else "" for captions in drawn]


def draw_samples(model: MeshGPT, captions: Sequence[str]) -> Image.Image:
    """A sheet of one mesh for each caption, labelled with it, its number of faces, and "no end" where the model did not end it."""
    sampling = model.default_sampling
    conditioned = model.config.condition_on_text
    if not conditioned:
        sampling = replace(sampling, guidance_scale=1.0)
    said = [*captions, *[""] * len(captions)] if sampling.guidance_scale != 1 else list(captions)
    with torch.inference_mode():
        text = model.text_conditioner(said) if conditioned else None
    rows = [Row(model.tokenizer.grammar(None), np.random.default_rng(place), []) for place in range(len(captions))]
    decode(model.stepper, text, rows, sampling, max_faces=min(MOST_FACES, model.stepper.max_faces))
    labels = [f"{caption} ({len(row.faces)}{'' if row.ended else ', no end'})" for caption, row in zip(captions, rows, strict=True)]
    meshes = [mesh_of_codes(row.faces, model.tokenizer) for row in rows]
    return contact_sheet(list(zip(meshes, labels, strict=True)), COLUMNS).quantize(COLOURS)


def mesh_of_codes(faces: list[list[int]], tokenizer: Tokenizer) -> Mesh:
    """The mesh of faces of codes [faces, codes a face]."""
    return Mesh.from_face_coordinates(tokenizer.decode(np.array(faces, np.int64).reshape(-1, tokenizer.codes_per_face)))
