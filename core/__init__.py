"""MeshGPT: meshes from text, and unfinished meshes completed, face by face. Runs anywhere torch runs; knows nothing of Blender.

from core import Mesh, MeshGPT
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.autoencoder import MeshAutoencoder as MeshAutoencoder
    from core.data import DatasetFromTransforms as DatasetFromTransforms
    from core.data import cache_face_edges_for_dataset as cache_face_edges_for_dataset
    from core.data import cache_text_embeds_for_dataset as cache_text_embeds_for_dataset
    from core.mesh import Mesh as Mesh
    from core.pipeline import MeshGPT as MeshGPT
    from core.trainer import MeshAutoencoderTrainer as MeshAutoencoderTrainer
    from core.trainer import MeshTransformerTrainer as MeshTransformerTrainer
    from core.transformer import MeshTransformer as MeshTransformer

HOMES = {
    "DatasetFromTransforms": "core.data",
    "Mesh": "core.mesh",
    "MeshAutoencoder": "core.autoencoder",
    "MeshAutoencoderTrainer": "core.trainer",
    "MeshGPT": "core.pipeline",
    "MeshTransformer": "core.transformer",
    "MeshTransformerTrainer": "core.trainer",
    "cache_face_edges_for_dataset": "core.data",
    "cache_text_embeds_for_dataset": "core.data",
}


def __getattr__(name: str) -> Any:
    """Import a public class on first use, so that what needs no torch does not wait for it."""
    if name not in HOMES:
        raise AttributeError(f"module 'core' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(HOMES[name]), name)
