"""The words that Blender and the worker exchange: one JSON object a line, UTF-8, checked where it enters.

Requests go to the worker's standard input, answers come from its standard output. Every generate and complete is answered by exactly
one of done, error and cancelled, with any number of progress and faces before it. NaN never travels: a face is a list of three or
four points, a point three numbers. Only the standard library and numpy are needed here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from core.errors import MeshGPTError
from core.mesh import FloatArray, Mesh
from core.properties import POLYGONS, Properties
from core.request import Request

PROTOCOL = 2  # raised whenever an older partner would misunderstand
RELEASE = "0.1.0"  # of meshgpt itself; the same as in pyproject.toml, which does not travel with the add-on
LONGEST_LINE = 64 * 2**20  # bytes, line end included
LONGEST_ID = 100  # characters
FLOAT_MAX = float(np.finfo(np.float32).max)

Message = dict[str, Any]


class BadMessage(MeshGPTError):
    """A line that is no valid message. id: that of the request it wanted to be, if that much could be read."""

    def __init__(self, message: str, identity: str | None = None) -> None:
        super().__init__(message, hint="update the add-on and its runtime so that they match", code="bad_message")
        self.id = identity


# ---- what a message may hold


@dataclass(frozen=True)
class Kind:
    """A kind of value: how it is called in an error, and whether a value is of it."""

    name: str
    holds: Callable[[Any], bool]


def is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 2**53


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and -FLOAT_MAX <= value <= FLOAT_MAX  # False for NaN and infinity


TEXT = Kind("a string", lambda value: isinstance(value, str))
ID = Kind(f"a string of up to {LONGEST_ID} characters", lambda value: isinstance(value, str) and len(value) <= LONGEST_ID)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
INTEGER = Kind("a whole number", lambda value: type(value) is int)  # type, not isinstance: a bool is no number
WHOLE = Kind("a whole number from 0", is_whole)
NUMBER = Kind("a finite number", is_number)


def optional(kind: Kind) -> Kind:
    return Kind(f"{kind.name} or null", lambda value: value is None or kind.holds(value))


def one_of(*words: str) -> Kind:
    return Kind(" or ".join(words), lambda value: isinstance(value, str) and value in words)


def many(name: str, kind: Kind, *sizes: int) -> Kind:
    """Lists of that kind, of one of these sizes if any are given."""
    return Kind(name, lambda value: isinstance(value, list) and (not sizes or len(value) in sizes) and all(map(kind.holds, value)))


def named(kind: Kind) -> Kind:
    return Kind(f"an object of {kind.name}", lambda value: isinstance(value, dict) and all(map(kind.holds, value.values())))


def record(fields: dict[str, Kind]) -> Kind:
    def holds(value: Any) -> bool:
        return isinstance(value, dict) and value.keys() == fields.keys() and all(fields[name].holds(value[name]) for name in fields)

    return Kind(f"an object with {', '.join(fields)}", holds)


WORDS = many("a list of strings", TEXT)
POINT = many("a point of three finite numbers", NUMBER, 3)
POLYGON = many("a face of three or four points", POINT, 3, 4)
CORNERS = many("a face of three or four vertex indices", WHOLE, 3, 4)
MESH = {
    "vertices": many("a list of points of three finite numbers", POINT),
    "faces": many("a list of faces of three or four vertex indices", CORNERS),
}
OPTIONS = {
    "variants": INTEGER,
    "seed": INTEGER,
    "guidance_scale": optional(NUMBER),
    "temperature": optional(NUMBER),
    "max_faces": optional(INTEGER),
    "candidates": optional(INTEGER),
    "properties": record({"faces": optional(INTEGER), "extents": optional(POINT), "polygons": optional(one_of(*POLYGONS))}),
    "bounds": optional(many("a list of two points, the lowest and the highest corner", POINT, 2)),
}
RESULT = {
    "variant": WHOLE,
    "seed": WHOLE,
    "text": TEXT,
    **MESH,
    "seconds": NUMBER,
    "first_face_seconds": NUMBER,
    "rejected": WHOLE,
    "drawn": WHOLE,
    "ended": FLAG,
    "note": TEXT,
}

Fields = dict[str, Kind]
REQUESTS: dict[str, Fields] = {
    "hello": {"protocol": WHOLE},
    "generate": {"id": ID, "text": TEXT, **OPTIONS},
    "complete": {"id": ID, "text": TEXT, **MESH, **OPTIONS},
    "cancel": {"id": ID},
    "shutdown": {},
}
ANSWERS: dict[str, Fields] = {
    "ready": {"protocol": WHOLE, "device": TEXT, "model": TEXT, "domain": WORDS, "versions": named(TEXT), "pid": WHOLE},
    "progress": {"id": ID, "stage": one_of("loading", "generating"), "faces": WHOLE},
    "faces": {"id": ID, "variant": WHOLE, "start": WHOLE, "faces": many("a list of faces of three or four points", POLYGON)},
    "done": {"id": ID, "meshes": many("a list of results", record(RESULT))},
    "error": {"id": optional(ID), "code": TEXT, "message": TEXT, "hint": TEXT},
    "cancelled": {"id": ID},
}


# ---- messages and lines


def encode(message: Message) -> bytes:
    """The line, line end included, that says this message. It is plain ASCII, whatever the texts hold.

    Raises MeshGPTError (bad_message) for a number that is not finite and for a line longer than LONGEST_LINE.
    """
    try:
        line = json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except ValueError as error:
        raise BadMessage("the message holds a number that is not finite") from error
    if len(line) > LONGEST_LINE:
        raise MeshGPTError("the mesh is too large to be sent", hint="give a mesh with fewer faces", code="bad_message")
    return line


def decode(line: bytes, kinds: dict[str, Fields]) -> Message:
    """The message in a line, which must be one of REQUESTS or of ANSWERS.

    A field of OPTIONS may be left out; then it is not in the message either. Raises BadMessage for everything that is not a message
    with the fields of its type, of their kinds, and no others.
    """
    if len(line) > LONGEST_LINE:
        raise BadMessage(f"the line is longer than {LONGEST_LINE} bytes")
    try:
        message = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"the line is not JSON ({str(error)[:100]})") from error
    if not isinstance(message, dict):
        raise BadMessage(f"the line holds {shown(message)} where an object is wanted")
    check(message, kinds)
    return message


def check(message: Message, kinds: dict[str, Fields]) -> None:
    kind = message.get("type")
    identity = message.get("id")
    identity = identity if ID.holds(identity) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise BadMessage(f"the message's type is {shown(kind)}, not one of {', '.join(kinds)}", identity)
    fields = kinds[kind]
    for name in fields.keys() - OPTIONS.keys() - message.keys():
        raise BadMessage(f"the {kind} message has no {name}", identity)
    for name in message.keys() - fields.keys() - {"type"}:
        raise BadMessage(f"the {kind} message has a field {shown(name)} that is unknown here", identity)
    for name, wanted in fields.items():
        if name in message and not wanted.holds(message[name]):
            raise BadMessage(f"{name} in the {kind} message is {shown(message[name])} where {wanted.name} is wanted", identity)


def shown(value: Any) -> str:
    """A value as an error may repeat it: in brief, and on one line."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return ascii(value) if len(ascii(value)) <= 40 else ascii(value)[:40] + "..."


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """The whole lines of a stream. One that is too long is read to its end, and given cut, so that `decode` refuses it."""
    while line := stream.readline(LONGEST_LINE + 1):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(LONGEST_LINE)
        if rest:  # else the stream ended within the line
            yield line


# ---- values


def faces_to_lists(coordinates: FloatArray) -> list[list[list[float]]]:
    """[n, 3 or 4, 3] face coordinates, NaN for the absent last corner of a triangle, to lists of three or four points."""
    corners = (~np.isnan(coordinates).any(2)).sum(1)
    return [face[:count] for face, count in zip(coordinates.tolist(), corners.tolist(), strict=True)]


def faces_from_lists(faces: list[list[list[float]]]) -> FloatArray:
    """Lists of three or four points, as `decode` lets them through, to [n, 4, 3] face coordinates with NaN for an absent corner."""
    absent = [[np.nan] * 3]
    return np.array([face + absent * (4 - len(face)) for face in faces], np.float32).reshape(-1, 4, 3)


def mesh_to_lists(mesh: Mesh) -> Message:
    """The `vertices` and `faces` fields of a message."""
    corners: NDArray[np.int64] = (mesh.faces >= 0).sum(1)
    faces = [face[:count] for face, count in zip(mesh.faces.tolist(), corners.tolist(), strict=True)]
    return {"vertices": mesh.vertices.tolist(), "faces": faces}


def mesh_from_lists(message: Message) -> Mesh:
    """The mesh in the `vertices` and `faces` fields of a message. Raises MeshGPTError (bad_mesh) if an index is out of range."""
    faces = [face + [-1] * (4 - len(face)) for face in message["faces"]]
    return Mesh(np.array(message["vertices"], np.float32), np.array(faces, np.int64))


def request_from(message: Message) -> Request:
    """What a generate or complete message asks for. Raises MeshGPTError: bad_prompt, bad_mesh, bad_request."""
    mesh = mesh_from_lists(message) if message["type"] == "complete" else None
    options = {name: message[name] for name in OPTIONS if name in message}
    if asked := options.get("properties"):
        options["properties"] = Properties(asked["faces"], asked["extents"] and tuple(asked["extents"]), asked["polygons"])
    if corners := options.get("bounds"):
        options["bounds"] = tuple(map(tuple, corners))
    return Request(text=message["text"], mesh=mesh, **options)
