"""What goes over the wire comes out as it went in, and nothing else gets through."""

from __future__ import annotations

import contextlib
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.errors import MeshGPTError
from core.mesh import Mesh
from core.properties import Properties
from core.protocol import (
    ANSWERS,
    LONGEST_LINE,
    RELEASE,
    REQUESTS,
    BadMessage,
    decode,
    encode,
    faces_from_lists,
    faces_to_lists,
    lines,
    mesh_from_lists,
    mesh_to_lists,
    request_from,
)

BOTH = REQUESTS | ANSWERS
ROOT = Path(__file__).resolve().parents[2]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
wholes = st.integers(0, 2**53)
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
points = st.lists(numbers, min_size=3, max_size=3)
polygons = st.lists(points, min_size=3, max_size=4)
mesh_fields = {
    "vertices": st.lists(points, max_size=5),
    "faces": st.lists(st.lists(wholes, min_size=3, max_size=4), max_size=5),
}
options = {
    "variants": st.integers(),
    "seed": st.integers(),
    "guidance_scale": st.none() | numbers,
    "temperature": st.none() | numbers,
    "max_faces": st.none() | st.integers(),
    "candidates": st.none() | st.integers(),
    "properties": st.fixed_dictionaries(
        {
            "faces": st.none() | st.integers(),
            "extents": st.none() | points,
            "polygons": st.none() | st.sampled_from(["triangles", "quads"]),
        }
    ),
    "bounds": st.none() | st.lists(points, min_size=2, max_size=2),
}
results = st.fixed_dictionaries(
    {
        **dict.fromkeys(("variant", "seed", "rejected", "drawn"), wholes),
        **dict.fromkeys(("seconds", "first_face_seconds"), numbers),
        **dict.fromkeys(("text", "note"), texts),
        **mesh_fields,
        "ended": st.booleans(),
    }
)


def message(kind: str, optional: dict[str, Any] | None = None, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields}, optional=optional or {})


messages = st.one_of(
    message("hello", protocol=wholes),
    message("generate", options, id=texts, text=texts),
    message("complete", options, id=texts, text=texts, **mesh_fields),
    message("cancel", id=texts),
    message("shutdown"),
    message(
        "ready",
        protocol=wholes,
        device=texts,
        model=texts,
        domain=st.lists(texts),
        versions=st.dictionaries(texts, texts),
        pid=wholes,
    ),
    message("progress", id=texts, stage=st.sampled_from(["loading", "generating"]), faces=wholes),
    message("faces", id=texts, variant=wholes, start=wholes, faces=st.lists(polygons, max_size=5)),
    message("done", id=texts, meshes=st.lists(results, max_size=2)),
    message("error", id=st.none() | texts, code=texts, message=texts, hint=texts),
    message("cancelled", id=texts),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def refusal(line: bytes) -> MeshGPTError:
    with pytest.raises(MeshGPTError) as caught:
        decode(line, REQUESTS)
    assert caught.value.code == "bad_message"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return caught.value


def generate(**changes: Any) -> bytes:
    return json.dumps({"type": "generate", "id": "r1", "text": "a chair", **changes}).encode()


# ---- what goes through


@settings(deadline=None)
@given(messages)
def test_every_message_is_one_line_and_comes_back_as_it_was(sent: dict[str, Any]) -> None:
    line = encode(sent)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    line.decode("ascii")
    assert decode(line, BOTH) == sent


@settings(deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(0, 6), st.just(4), st.just(3)), elements=numbers), st.integers(0, 63))
def test_faces_come_back_to_the_bit_with_their_absent_corners(coordinates: Any, triangles: int) -> None:
    coordinates[[bool(triangles >> i & 1) for i in range(len(coordinates))], 3] = np.nan
    sent = {"type": "faces", "id": "r1", "variant": 0, "start": 0, "faces": faces_to_lists(coordinates)}
    assert "NaN" not in encode(sent).decode()
    received = faces_from_lists(decode(encode(sent), ANSWERS)["faces"])
    assert received.dtype == np.float32
    np.testing.assert_array_equal(received, coordinates)


def test_half_a_character_is_carried_to_where_prompts_are_checked() -> None:
    sent = {"type": "generate", "id": "r1", "text": "\ud800"}
    assert decode(encode(sent), REQUESTS) == sent
    with pytest.raises(MeshGPTError) as caught:
        request_from(sent)
    assert caught.value.code == "bad_prompt"


def test_faces_of_three_corners_are_padded_to_four() -> None:
    coordinates = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    received = faces_from_lists(faces_to_lists(coordinates))
    np.testing.assert_array_equal(received[:, :3], coordinates)
    assert np.isnan(received[:, 3]).all()


def test_a_mesh_comes_back_with_its_triangles_among_quads() -> None:
    mesh = Mesh(np.random.default_rng(0).normal(size=(5, 3)), np.array([[0, 1, 2, 3], [0, 1, 4, -1]]))
    lists = json.loads(json.dumps(mesh_to_lists(mesh)))
    assert lists["faces"] == [[0, 1, 2, 3], [0, 1, 4]]
    received = mesh_from_lists(lists)
    np.testing.assert_array_equal(received.vertices, mesh.vertices)
    np.testing.assert_array_equal(received.faces, mesh.faces)


def test_an_option_left_out_is_the_requests_own_default() -> None:
    request = request_from(decode(generate(seed=7, guidance_scale=None), REQUESTS))
    assert (request.text, request.seed, request.variants, request.guidance_scale, request.mesh) == ("a chair", 7, 1, None, None)


def test_a_complete_message_carries_a_mesh_into_the_request() -> None:
    sent = {"type": "complete", "id": "r1", "text": "", "vertices": [[0, 0, 0], [1, 0, 0], [0, 1, 0]], "faces": [[0, 1, 2]]}
    request = request_from(decode(encode(sent), REQUESTS))
    assert request.mesh is not None
    assert request.mesh.report().faces == 1


def test_properties_and_bounds_come_into_the_request() -> None:
    asked = {"faces": 12, "extents": [1, 2.5, 0], "polygons": None}
    mesh = {"vertices": [[0, 0, 0], [1, 0, 0], [0, 1, 0]], "faces": [[0, 1, 2]]}
    sent = {"type": "complete", "id": "r1", "text": "", **mesh, "properties": asked, "bounds": [[0, 0, 0], [1, 1, 3]]}
    request = request_from(decode(encode(sent), REQUESTS))
    assert request.properties == Properties(12, (1, 2.5, 0))
    assert request.bounds == ((0, 0, 0), (1, 1, 3))


def test_properties_that_are_none_are_refused_by_the_request() -> None:
    with pytest.raises(MeshGPTError, match="faces is 0") as caught:
        request_from(decode(generate(properties={"faces": 0, "extents": None, "polygons": None}), REQUESTS))
    assert caught.value.code == "bad_request"


def test_an_index_beyond_the_vertices_is_a_bad_mesh() -> None:
    sent = {"type": "complete", "id": "r1", "text": "", "vertices": [[0, 0, 0]], "faces": [[0, 1, 2]]}
    with pytest.raises(MeshGPTError) as caught:
        request_from(decode(encode(sent), REQUESTS))
    assert caught.value.code == "bad_mesh"


def test_numbers_out_of_range_reach_the_request_which_names_the_range() -> None:
    with pytest.raises(MeshGPTError) as caught:
        request_from(decode(generate(variants=-3), REQUESTS))
    assert caught.value.code == "bad_request"


# ---- what does not


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"hello",
        b'{"type":"hello","protocol":1',
        b'{"type":"hello","protocol":1}{"type":"shutdown"}',
        b"\xff\xfe\x00",
        '{"type":"shutdown"}'.encode("utf-16"),
        b"[" * 100_000,
        b"1" * 5000,
        b'"shutdown"',
        b"null",
        b'[{"type":"shutdown"}]',
        b'{"type":["shutdown"]}',
        b'{"type":null}',
        b"{}",
    ],
    ids=lambda line: repr(line[:30]),
)
def test_a_line_that_is_no_message_is_refused(line: bytes) -> None:
    refusal(line)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"type": "make"}, "type"),
        ({"type": "ready"}, "type"),
        ({"text": None}, "text"),
        ({"text": 5}, "text"),
        ({"id": 5}, "id"),
        ({"id": "x" * 101}, "id"),
        ({"seed": True}, "seed"),
        ({"seed": 1.0}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"variants": None}, "variants"),
        ({"temperature": True}, "temperature"),
        ({"temperature": [1]}, "temperature"),
        ({"guidance_scale": 10**400}, "guidance_scale"),
        ({"guidance_scale": 1e300}, "guidance_scale"),
        ({"max_faces": 2.5}, "max_faces"),
        ({"properties": None}, "properties"),
        ({"properties": {"faces": 5}}, "properties"),
        ({"properties": {"faces": 5, "extents": [1, 2], "polygons": None}}, "properties"),
        ({"properties": {"faces": 5, "extents": None, "polygons": "ngons"}}, "properties"),
        ({"bounds": [[0, 0, 0]]}, "bounds"),
        ({"bounds": [0, 0, 0, 1, 1, 1]}, "bounds"),
        ({"sede": 3}, "sede"),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_kind_is_named(changes: dict[str, Any], named: str) -> None:
    assert named in refusal(generate(**changes)).message


@pytest.mark.parametrize("name", ["id", "text"])
def test_a_missing_field_is_named(name: str) -> None:
    message = json.loads(generate())
    del message[name]
    assert f"no {name}" in refusal(json.dumps(message).encode()).message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    refusal(b'{"type":"generate","id":"r1","text":"a","temperature":%s}' % number.encode())
    refusal(b'{"type":"complete","id":"r1","text":"","vertices":[[0,0,%s]],"faces":[[0,0,0]]}' % number.encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"vertices": [[0, 0]], "faces": [[0, 0, 0]]},
        {"vertices": [[0, 0, True]], "faces": [[0, 0, 0]]},
        {"vertices": [[0, 0, "0"]], "faces": [[0, 0, 0]]},
        {"vertices": [0, 0, 0], "faces": [[0, 0, 0]]},
        {"vertices": {"0": [0, 0, 0]}, "faces": [[0, 0, 0]]},
        {"vertices": [[0, 0, 0]], "faces": [[0, 0]]},
        {"vertices": [[0, 0, 0]], "faces": [[0, 0, 0, 0, 0]]},
        {"vertices": [[0, 0, 0]], "faces": [[0, 0, -1]]},
        {"vertices": [[0, 0, 0]], "faces": [[0, 0, 0.0]]},
        {"vertices": [[0, 0, 0]], "faces": [[0, 0, False]]},
        {"vertices": [[0, 0, 0]], "faces": [[0, 0, 2**64]]},
    ],
    ids=str,
)
def test_a_mesh_of_anything_but_points_and_corners_is_refused(fields: dict[str, Any]) -> None:
    refusal(json.dumps({"type": "complete", "id": "r1", "text": "", **fields}).encode())


def test_an_error_about_a_request_says_which_one_it_was() -> None:
    def blamed(line: bytes) -> str | None:
        error = refusal(line)
        assert isinstance(error, BadMessage)
        return error.id

    assert blamed(generate(text=5)) == "r1"
    assert blamed(generate(id=7)) is None
    assert blamed(b"garbage") is None


@settings(deadline=None)
@given(st.binary(max_size=50) | json_values.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_a_bad_message_whatever_it_is(line: bytes) -> None:
    refusal(line)


@settings(deadline=None)
@given(messages, st.data())
def test_a_message_with_one_field_replaced_is_refused_or_still_a_message(sent: dict[str, Any], data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(sent)))
    line = json.dumps(sent | {field: data.draw(json_values)}).encode()
    with contextlib.suppress(BadMessage):
        received = decode(line, BOTH)
        assert decode(encode(received), BOTH) == received


def test_what_is_not_finite_is_not_sent() -> None:
    for number in (float("nan"), float("inf")):
        with pytest.raises(MeshGPTError) as caught:
            encode({"type": "progress", "id": "r1", "stage": "generating", "faces": number})
        assert caught.value.code == "bad_message"


# ---- lines


def test_a_line_that_is_too_long_is_neither_sent_nor_taken() -> None:
    with pytest.raises(MeshGPTError) as caught:
        encode({"type": "generate", "id": "r1", "text": "x" * LONGEST_LINE})
    assert caught.value.code == "bad_message"
    assert "longer" in refusal(b" " * (LONGEST_LINE + 1)).message


def test_a_line_that_is_too_long_is_skipped_to_its_end() -> None:
    stream = io.BytesIO(b"x" * (2 * LONGEST_LINE + 5) + b"\n" + b'{"type":"shutdown"}\n')
    first, second = lines(stream)
    refusal(first)
    assert decode(second, REQUESTS) == {"type": "shutdown"}


def test_a_line_that_is_just_short_enough_is_taken() -> None:
    line = b'{"type":"shutdown"}' + b" " * (LONGEST_LINE - 20) + b"\n"
    assert list(lines(io.BytesIO(line))) == [line]
    assert decode(line, REQUESTS) == {"type": "shutdown"}


def test_a_line_that_the_streams_end_cut_is_no_line() -> None:
    assert list(lines(io.BytesIO(b'one\n{"type":"shutdown"}'))) == [b"one\n"]


def test_the_release_is_the_packages() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == RELEASE
