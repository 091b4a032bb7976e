"""What may be asked of a mesh beside its text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from core.discretizer import MeshDiscretizer
from core.errors import MeshGPTError
from core.mesh import Frame, Mesh
from core.properties import Properties


def grid(*faces: list[list[float]]) -> Any:
    corners = np.full((len(faces), 4, 3), np.nan, np.float32)
    for row, face in enumerate(faces):
        corners[row, : len(face)] = face
    return MeshDiscretizer().encode(Mesh.from_face_coordinates(corners), Frame()).astype(np.int16)


QUAD = [[-0.5, -0.25, 0], [0.5, -0.25, 0], [0.5, 0.25, 0], [-0.5, 0.25, 0]]
TRIANGLE = [[-0.5, -0.25, 0], [0.5, -0.25, 0], [0, 0, 0.125]]


def test_the_properties_of_a_mesh() -> None:
    assert Properties.of(grid(QUAD)) == Properties(1, (128, 64, 0), "quads")
    assert Properties.of(grid(TRIANGLE)) == Properties(1, (128, 32, 16), "triangles")
    assert Properties.of(grid(QUAD, TRIANGLE)).polygons == "quads"
    assert Properties.of(grid(QUAD, TRIANGLE, [TRIANGLE[0], TRIANGLE[2], [0, 0.125, 0.5]])).polygons is None


def test_proportions_count_and_sizes_do_not() -> None:
    assert Properties(extents=(2, 4, 1)).numbers() == pytest.approx([math.nan, 0.5, 1, 0.25, math.nan], nan_ok=True)
    assert Properties(32, polygons="quads").numbers() == pytest.approx([0.5, *[math.nan] * 3, 1], nan_ok=True)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"faces": 0}, {"faces": 2.5}, {"faces": True}),
        *({"extents": (1, 2)}, {"extents": (0, 0, 0)}, {"extents": (1, -1, 1)}),
        {"polygons": "ngons"},
    ],
    ids=str,
)
def test_what_is_no_property_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(MeshGPTError, match=next(iter(wrong))) as caught:
        Properties(**wrong)
    assert caught.value.hint
