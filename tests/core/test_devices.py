"""What happens where there is no graphics card, or none that works: torch is made to say what it says on such machines."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from core import MeshGPT, devices, worker
from core.devices import choose, failure, or_on_cpu
from core.engine import Engine
from core.errors import MeshGPTError
from core.fake import FakeMeshGPT
from core.request import Request

OLD_DRIVER = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver. (Triggered"
    " internally at CUDAFunctions.cpp:109.)"
)


@dataclass
class Machine:
    """A machine as torch sees it. cards: how many. capability: of them. built: architectures that torch was built for."""

    cards: int = 1
    capability: tuple[int, int] = (8, 9)
    built: tuple[str, ...] = ("sm_75", "sm_80", "sm_86", "sm_90", "compute_90")
    complaint: str = ""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    seen = Machine()

    def is_available() -> bool:
        if seen.complaint:
            warnings.warn(seen.complaint, UserWarning, stacklevel=1)
        return seen.cards > 0

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen.cards)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda card: seen.capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda card: "GeForce X")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(seen.built))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (300 * 2**20, 8000 * 2**20))
    monkeypatch.setattr(devices, "out_of_order", lambda device: None)
    return seen


def a_failing(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:0"])
def test_a_card_that_works_is_taken(machine: Machine, name: str) -> None:
    assert choose(name) == devices.Choice("cuda" if name == "auto" else name)


@pytest.mark.parametrize(
    ("capability", "built", "fits"),
    [
        ((9, 0), ("sm_80", "sm_90"), True),
        ((8, 9), ("sm_80", "sm_86"), True),  # machine code runs on younger cards of its generation
        ((8, 0), ("sm_86", "sm_90"), False),
        ((12, 0), ("sm_80", "sm_90"), False),
        ((12, 0), ("sm_80", "compute_90"), True),
        ((6, 1), ("sm_75", "sm_80", "sm_120", "compute_120"), False),
        ((12, 1), ("sm_75", "sm_120"), True),
    ],
)
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_card_that_torch_has_no_code_for_gives_the_cpu_and_says_why(
    machine: Machine, name: str, capability: tuple[int, int], built: tuple[str, ...], fits: bool
) -> None:
    machine.capability, machine.built = capability, built
    choice = choose(name)
    assert choice.device == ("cuda" if fits else "cpu")
    note = f"GeForce X has compute capability {capability[0]}.{capability[1]}"
    assert choice.note == "" if fits else choice.note.startswith(note)


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_driver_that_does_not_fit_gives_the_cpu_and_says_why(machine: Machine, name: str) -> None:
    machine.cards, machine.complaint = 0, OLD_DRIVER
    choice = choose(name)
    assert choice.device == "cpu"
    assert "The NVIDIA driver on your system is too old (found version 11040)" in choice.note
    assert choice.note.endswith("the CPU is used instead")


def test_without_a_card_auto_is_the_cpu_and_nothing_is_said(machine: Machine) -> None:
    machine.cards = 0
    assert choose("auto") == devices.Choice("cpu")


@pytest.mark.parametrize("name", ["cuda", "tpu", "mps"])
def test_a_device_that_is_not_there_is_refused_with_what_is(machine: Machine, name: str) -> None:
    machine.cards = 0
    with pytest.raises(MeshGPTError, match=f"there is no device '{name}' here; use auto or cpu") as caught:
        choose(name)
    assert caught.value.code == "bad_device"


def test_a_card_beyond_the_last_is_refused(machine: Machine) -> None:
    machine.cards = 2
    with pytest.raises(MeshGPTError, match="use auto or cuda:0 or cuda:1 or cpu"):
        choose("cuda:2")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "memory is full, 300 of its 8000 MB are free"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "memory is full, 300 of its 8000 MB are free"),
        (
            RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be"),
            r"\(CUDA error: unspecified launch failure\)",
        ),
        (RuntimeError("CUDA driver error: device not ready"), "stopped working"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "stopped working"),
        (RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."), "stopped working"),
        (torch.AcceleratorError("the device is gone"), "stopped working"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_errors_of_the_card_are_told_in_a_sentence(machine: Machine, error: BaseException, words: str) -> None:
    said = failure(error)
    assert said is not None
    assert re.search(words, said)
    assert "\n" not in said


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("CUDA error"), KeyError("cuda")])
def test_other_errors_are_not_the_cards(error: BaseException) -> None:
    assert failure(error) is None


def test_a_card_that_does_not_even_say_how_full_it_is_is_told_of_too(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", a_failing(RuntimeError("CUDA error: unknown error")))
    assert failure(torch.OutOfMemoryError("CUDA out of memory")) == "the graphics card's memory is full"


def test_the_first_piece_of_work_shows_that_a_card_is_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "ones", a_failing(RuntimeError("CUDA error: no kernel image is available for execution on the device\n")))
    assert devices.out_of_order("cuda") == (
        "the graphics card stopped working (CUDA error: no kernel image is available for execution on the device)"
    )


def test_work_that_a_card_fails_is_done_anew_on_the_cpu(machine: Machine) -> None:
    tried: list[str] = []
    notes: list[str] = []

    def work() -> str:
        tried.append("cpu" if notes else "cuda")
        if not notes:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "a mesh"

    assert or_on_cpu(work, notes.append) == "a mesh"
    assert tried == ["cuda", "cpu"]
    assert notes == ["the graphics card's memory is full, 300 of its 8000 MB are free; the CPU is used instead"]


def test_work_that_fails_for_another_reason_is_not_done_twice() -> None:
    tried: list[None] = []

    def work() -> None:
        tried.append(None)
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        or_on_cpu(work, lambda note: None)
    assert len(tried) == 1


def test_a_worker_that_waits_long_gives_back_what_the_model_keeps_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.0)
    waiting = worker.Worker(io.BytesIO(), io.BytesIO(), "")

    class Model(FakeMeshGPT):
        def release(self) -> None:
            waiting.inbox.put({"type": "generate"})  # a request that comes after that

    assert waiting.next(Model()) == {"type": "generate"}


def test_a_worker_that_is_asked_at_once_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, model = worker.Worker(io.BytesIO(), io.BytesIO(), ""), FakeMeshGPT()
    monkeypatch.setattr(model, "release", a_failing(AssertionError("given back too early")))
    waiting.inbox.put({"type": "generate"})
    assert waiting.next(model) == {"type": "generate"}


def test_giving_memory_back_to_a_card_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", a_failing(RuntimeError("CUDA error: the device is gone")))
    worker.free_memory()


# ---- a pipeline on a card that fails


@pytest.fixture
def on_a_card(checkpoint: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MeshGPT]:
    """Loads the checkpoint as if on a card. fails(model) is called wherever the pipeline puts something on it."""
    make = MeshGPT.make_stepper

    def load(fails: Callable[[MeshGPT], None]) -> MeshGPT:
        def make_stepper(model: MeshGPT) -> Any:
            if model.device.type != "cuda":
                return make(model)
            fails(model)
            return Engine(model.tokenizer, model.config, model.weights, "cpu", precision="fp32")  # stands for one on the card

        monkeypatch.setattr(MeshGPT, "make_stepper", make_stepper)
        return MeshGPT.from_pretrained(checkpoint, "auto")

    return load


NOTE = "the graphics card's memory is full, 300 of its 8000 MB are free; the CPU is used instead"


def test_a_model_that_does_not_fit_on_the_card_is_loaded_on_the_cpu_and_its_meshes_say_so(
    on_a_card: Callable[..., MeshGPT], checkpoint: Path
) -> None:
    model = on_a_card(a_failing(torch.OutOfMemoryError("CUDA out of memory")))
    assert model.device.type == "cpu"
    assert model.captured is None
    result, expected = (one.run(Request("a chair", max_faces=4))[0] for one in (model, MeshGPT.from_pretrained(checkpoint, "cpu")))
    assert NOTE in result.note
    assert result.mesh.vertices.tobytes() == expected.mesh.vertices.tobytes()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory")])
def test_a_card_that_fails_within_a_mesh_costs_time_and_no_mesh(
    on_a_card: Callable[..., MeshGPT], checkpoint: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    model = on_a_card(lambda model: None)
    assert model.captured is not None

    def a_face_and_the_end(text: object, rows: object, sampling: object, on_face: Callable[[int], None], **_: object) -> None:
        for row in rows:  # type: ignore[attr-defined]
            row.faces.append([0, 0, 0, 0, 0, 1, 0, 1, 1, -1, -1, -1])
            on_face(0)
        raise error

    monkeypatch.setattr(model.captured, "decode", a_face_and_the_end)
    monkeypatch.setattr(model, "read", MeshGPT.from_pretrained(checkpoint, "cpu").read)
    starts: list[int] = []
    result = model.run(Request("a chair", max_faces=4), lambda variant, start, coordinates: starts.append(start))[0]
    expected = MeshGPT.from_pretrained(checkpoint, "cpu").run(Request("a chair", max_faces=4))[0]
    assert NOTE in result.note
    assert starts[:2] == [0, 0]  # what the card had made is thrown away
    assert result.mesh.vertices.tobytes() == expected.mesh.vertices.tobytes()
    assert model.device.type == "cpu"


def test_whole_faces_make_the_meshes_that_the_loop_makes(
    on_a_card: Callable[..., MeshGPT], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, other = on_a_card(lambda model: None), MeshGPT.from_pretrained(checkpoint, "cpu")
    monkeypatch.setattr(model, "read", other.read)
    monkeypatch.setattr(MeshGPT, "best", lambda self, task, samples: samples[0])
    other.stepper = Engine(other.tokenizer, other.config, other.weights, precision="fp32")
    request = Request("a chair", variants=3, max_faces=8)
    for mine, its in zip(model.run(request), other.run(request), strict=True):
        assert mine.mesh.vertices.tobytes() == its.mesh.vertices.tobytes()
        assert mine.mesh.faces.tobytes() == its.mesh.faces.tobytes()
    assert model.captured is not None
    assert model.captured.rooms
    model.release()
    assert not model.captured.rooms
