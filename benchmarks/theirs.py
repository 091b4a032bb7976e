"""What is measured of meshgpt-pytorch 1.8.1. Runs in its own environment, as a `Side`.

Models are its defaults with random weights. `streams` is num_residual_streams: 4 as it ships, 1 because the cost of the others is so
large. Generation never ends by itself here, for the end code is struck out.
"""

# mypy: disable-error-code="import-untyped,import-not-found"
from __future__ import annotations

import time
from functools import cache
from itertools import pairwise
from typing import Any

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:  # installed beside a CPU build of torch it lacks these operators, and meshgpt-pytorch cannot be imported
    LIBRARY = torch.library.Library("torchvision", "DEF")
    LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from classifier_free_guidance_pytorch import classifier_free_guidance_pytorch as guidance_library
from meshgpt_pytorch import MeshAutoencoder, MeshTransformer
from x_transformers.autoregressive_wrapper import top_k

from benchmarks.shapes import triangles
from benchmarks.side import Figures, answer, forget_peak, resident_bytes

MOST_FACES = 1024
CODES_A_FACE = 6
TEXT_TOKENS, TEXT_WIDTH = 16, 512


class NoTextTower:
    """Stands where a pretrained text tower would: it cannot be downloaded everywhere, and only its width is needed."""

    dim_latent = TEXT_WIDTH

    def __init__(self, *_: object, **__: object) -> None:
        pass


guidance_library.CONDITION_CONFIG["t5"] = NoTextTower


@cache
def autoencoder() -> MeshAutoencoder:
    torch.manual_seed(0)
    return MeshAutoencoder().eval()


@cache
def transformer(streams: int, text: bool = False) -> MeshTransformer:
    torch.manual_seed(0)
    attention = {"ff_glu": True, "attn_num_mem_kv": 4, "add_value_residual": True, "learned_value_residual_mix": True}
    return MeshTransformer(
        autoencoder(),
        max_seq_len=CODES_A_FACE * MOST_FACES,
        attn_kwargs={**attention, "num_residual_streams": streams},
        condition_on_text=text,
    ).eval()


def about(streams: int) -> Figures:
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def reads(streams: int) -> Figures:
    """What a generated face reads of memory; fields as in benchmarks.floor.Reads."""
    model = transformer(streams)
    inner = 16 * 64  # its attention's heads and their width
    return {
        "face_weights": size_of(model.to_face_tokens, model.coarse_gateloop_block, model.decoder),
        "code_weights": size_of(model.fine_gateloop_block, model.fine_decoder, model.to_logits),
        "codes": CODES_A_FACE,
        "cache": 12 * 2 * inner * 4,
        "parameters": sum(p.numel() for name, p in model.named_parameters() if not name.startswith("autoencoder.")),
    }


def size_of(*modules: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for module in modules for p in module.parameters())


def generate(streams: int, faces: int, batch: int = 1, prompt: int = 0, guidance: float | None = None) -> Figures:
    """Seconds to generate codes of `faces` faces after a prompt: in all, to the first code, to the first face, and for each later one.

    prompt: its faces. guidance: the scale, None for a model without text.
    """
    model = transformer(streams, text=guidance is not None)
    stamps: list[float] = []

    def sample_from(logits: torch.Tensor) -> torch.Tensor:
        stamps.append(time.perf_counter())
        logits = top_k(torch.nan_to_num(logits))  # random weights overflow with 4 streams, and with text
        logits[:, -1] = -torch.finfo(logits.dtype).max
        return logits

    arguments: dict[str, Any] = {"prompt": prompt_codes(batch, prompt)} if prompt else {"batch_size": batch}
    if guidance is not None:
        arguments |= {"text_embeds": torch.randn(batch, TEXT_TOKENS, TEXT_WIDTH), "cond_scale": guidance}
    begin = time.perf_counter()
    model.generate(**arguments, max_seq_len=CODES_A_FACE * (prompt + faces), return_codes=True, cache_kv=True, filter_logits_fn=sample_from)
    ends = [*stamps[CODES_A_FACE::CODES_A_FACE], time.perf_counter()]  # a face is done when the next one's first code is drawn
    return {
        "seconds": ends[-1] - begin,
        "prefill": stamps[0] - begin,
        "first_face": ends[0] - begin,
        "faces": [later - sooner for sooner, later in pairwise(ends)],
    }


def prompt_codes(batch: int, faces: int) -> torch.Tensor:
    return torch.randint(0, autoencoder().codebook_size, (batch, CODES_A_FACE * faces))


def forward(streams: int, faces: int) -> Figures:
    """Seconds of one forward pass over so many faces."""
    model, codes = transformer(streams), prompt_codes(1, faces)
    with torch.no_grad():
        begin = time.perf_counter()
        model.forward_on_codes(codes, return_loss=False, append_eos=False)
        return {"seconds": time.perf_counter() - begin}


def train(streams: int, faces: int, batch: int, steps: int, bf16: bool) -> Figures:
    """Seconds of each forward and backward pass over a batch, and memory, in bytes, before and at most. Asked of a new process."""
    model, codes = transformer(streams).train(), prompt_codes(batch, faces)
    before, seconds = resident_bytes(), []
    forget_peak()
    for _ in range(steps):
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model.forward_on_codes(codes)
        loss.backward()
        seconds.append(time.perf_counter() - begin)
        model.zero_grad(set_to_none=True)
    return {"seconds": seconds, "before": before, "peak": resident_bytes(peak=True)}


def tokenise(faces: int) -> Figures:
    """Seconds to turn a mesh into codes and back."""
    model, (vertices, indices) = autoencoder(), (torch.from_numpy(x) for x in triangles(faces))
    with torch.no_grad():
        begin = time.perf_counter()
        codes = model.tokenize(vertices, indices)
        middle = time.perf_counter()
        model.decode_from_codes_to_faces(codes.view(1, -1))
        return {"encode": middle - begin, "decode": time.perf_counter() - middle}


def ready(streams: int) -> Figures:
    """Memory in bytes with a model made. Asked of a new process."""
    transformer(streams)
    return {"resident": resident_bytes()}


if __name__ == "__main__":
    answer({function.__name__: function for function in (about, reads, generate, forward, train, tokenise, ready)})
