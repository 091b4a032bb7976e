"""A request says at once what is wrong with it, and needs no torch to do so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import MeshGPTError
from core.mesh import Mesh
from core.request import Request

ROOT = Path(__file__).resolve().parents[2]
TRIANGLE = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))


def refusal(**fields: Any) -> MeshGPTError:
    with pytest.raises(MeshGPTError) as caught:
        Request(**fields)
    return caught.value


@pytest.mark.parametrize("text", ["", "  \n\t", "x" * 1001, "half a char\udc80acter", None, 7])
def test_a_text_that_says_nothing_or_too_much_is_a_bad_prompt(text: Any) -> None:
    assert refusal(text=text).code == "bad_prompt"


def test_a_long_prompt_is_not_repeated_in_the_message() -> None:
    assert "10000 characters" in str(refusal(text="chair " * 1666 + "legs"))
    assert len(str(refusal(text="x" * 10_000))) < 200


def test_the_longest_text_is_accepted() -> None:
    assert len(Request("é" * 1000).text) == 1000


def test_a_mesh_to_complete_needs_no_text_but_a_face() -> None:
    assert Request(mesh=TRIANGLE).text == ""
    assert refusal(mesh=Mesh(TRIANGLE.vertices, np.zeros((0, 3)))).code == "bad_mesh"
    assert refusal(mesh="chair.obj").code == "bad_request"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("variants", value) for value in (0, 65, -1, 1.0, True, "2", None)],
        *[("seed", value) for value in (-1, 2**31, 0.5, False, None)],
        *[("candidates", value) for value in (0, 65, 2.0, False)],
        *[("max_faces", value) for value in (0, 100_001, 3.0, True)],
        *[("guidance_scale", value) for value in (-0.1, 101, float("nan"), float("inf"), 10**400, True, "3")],
        *[("temperature", value) for value in (-1.0, 11, float("nan"), True)],
    ],
)
def test_a_number_out_of_range_is_named_with_its_range(name: str, value: Any) -> None:
    error = refusal(text="a chair", **{name: value})
    assert error.code == "bad_request"
    assert error.message.startswith(name)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    "bounds",
    [
        ((0, 0, 0),),
        ((0, 0, 0), (1, 1)),
        ((0, 0, 0), (1, 1, float("nan"))),
        ((0, 0, 0), (1, 1, "high")),
        ((0, 1, 0), (1, 0, 1)),
        ((0, 0, 0), (0, 0, 0)),
        7,
    ],
    ids=str,
)
def test_bounds_that_are_no_box_are_refused(bounds: Any) -> None:
    error = refusal(mesh=TRIANGLE, bounds=bounds)
    assert error.code == "bad_request"
    assert error.message.startswith("bounds is")


def test_bounds_belong_to_a_mesh_that_lies_within_them() -> None:
    Request(mesh=TRIANGLE, bounds=((0, 0, 0), (1, 1, 0)))
    Request(mesh=TRIANGLE, bounds=((-1, 0, -2), (1, 1, 7.5)))
    assert refusal(text="a chair", bounds=((0, 0, 0), (1, 1, 1))).code == "bad_request"
    outside = refusal(mesh=TRIANGLE, bounds=((0, 0.01, 0), (1, 1, 1)))
    assert outside.code == "bad_mesh"
    assert "from (0, 0, 0) to (1, 1, 0), out of the bounds from (0, 0.01, 0) to (1, 1, 1)" in outside.message


def test_properties_are_properties() -> None:
    assert refusal(text="a chair", properties={"faces": 5}).code == "bad_request"


def test_the_ends_of_every_range_are_accepted() -> None:
    Request("a", variants=1, seed=0, guidance_scale=0, temperature=0, max_faces=1, candidates=1)
    Request("a", variants=64, seed=2**31 - 1, guidance_scale=100.0, temperature=10, max_faces=100_000, candidates=64)
    Request("a", variants=np.int64(3), seed=np.int32(5), temperature=np.float32(0.5))  # type: ignore[arg-type]


def test_requests_and_the_fake_need_no_torch() -> None:
    program = "import sys, core.request, core.protocol, core.fake, core.worker, core.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False).returncode == 0
