"""What is asked of a model and what it answers: the plain values that the pipeline, the worker, the command line and the fake share.

Nothing here needs torch, so that a worker without a model and Blender's tests can use it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Protocol

import numpy as np

from core.errors import MeshGPTError
from core.mesh import FloatArray, Mesh
from core.properties import Properties

LONGEST_TEXT = 1000  # characters
MOST_VARIANTS = 64
MOST_CANDIDATES = 64
HIGHEST_SEED = 2**31 - 1
MOST_FACES = 100_000
HIGHEST_GUIDANCE_SCALE = 100.0
HIGHEST_TEMPERATURE = 10.0
OUTSIDE = 1e-3  # how far a mesh may reach out of its bounds, in longest sides of these

Point = tuple[float, float, float]

OnFaces = Callable[[int, int, FloatArray], None]
"""on_faces(variant, start, coordinates [n, 4, 3]): faces as they come, NaN for the absent last corner of a triangle. `start` is the
index of the first of them in that variant; one lower than what came before means: all from there on was thrown away."""

ShouldStop = Callable[[], bool]
"""Asked after every face; once it returns True, `run` raises Cancelled."""


class Cancelled(Exception):
    """The run was stopped by its should_stop, and has no result."""


@dataclass(frozen=True)
class Request:
    """One wish: a text to make meshes of, or a mesh to complete.

    text: what to make, up to 1000 characters; may be empty if a mesh is given. mesh: what to complete, None to start from nothing.
    variants: how many results, 1..64. seed: 0..2**31-1; the same seed gives the same results. guidance_scale: 0..100, how closely to
    follow the text. temperature: 0..10, where 0 always takes what is likeliest. max_faces: 1..100000, the end of a mesh that does not
    end by itself. candidates: 1..64, how many samples of each result are drawn at once, of which the best is the result. None stands for
    the checkpoint's own default, and for eight candidates at least of a completion.
    properties: what the whole mesh shall be beside what the text says; a model that knows no properties leaves them out, with a note.
    bounds: the lowest and the highest corner of the box that a completed mesh fills, in the coordinates of the given one; None leaves the
    place and the size of the whole to the model.
    Raises MeshGPTError: bad_prompt for the text, bad_mesh for a mesh without faces or not within the bounds, bad_request for everything
    else.
    """

    text: str = ""
    mesh: Mesh | None = None
    variants: int = 1
    seed: int = 0
    guidance_scale: float | None = None
    temperature: float | None = None
    max_faces: int | None = None
    candidates: int | None = None
    properties: Properties = field(default_factory=Properties)
    bounds: tuple[Point, Point] | None = None

    def __post_init__(self) -> None:
        check_text(self.text, required=self.mesh is None)
        check_mesh(self.mesh)
        check_whole("variants", self.variants, 1, MOST_VARIANTS)
        check_whole("seed", self.seed, 0, HIGHEST_SEED)
        if self.guidance_scale is not None:
            check_number("guidance_scale", self.guidance_scale, HIGHEST_GUIDANCE_SCALE)
        if self.temperature is not None:
            check_number("temperature", self.temperature, HIGHEST_TEMPERATURE)
        if self.max_faces is not None:
            check_whole("max_faces", self.max_faces, 1, MOST_FACES)
        if self.candidates is not None:
            check_whole("candidates", self.candidates, 1, MOST_CANDIDATES)
        if not isinstance(self.properties, Properties):
            raise bad_request(f"properties is {self.properties!r:.40}", "give core.properties.Properties")
        if self.bounds is not None:
            check_bounds(self.bounds, self.mesh)


@dataclass(frozen=True)
class Result:
    """One mesh that a request led to.

    text, seed: as asked. variant: which of the request's results, from 0. seconds: from the request's start to this mesh's end.
    first_face_seconds: from the request's start to this mesh's first face. rejected: samples thrown away, in whole or from some face on,
    because they did not end or were broken. ended: the mesh ended by itself, not at max_faces. note: "" or a sentence for the user, such
    as that the text is outside the model's domain. drawn: samples in all, this one, the rejected and the sound ones that it was chosen
    from.
    """

    mesh: Mesh
    text: str
    seed: int
    variant: int
    seconds: float
    first_face_seconds: float
    rejected: int
    ended: bool
    note: str = ""
    drawn: int = 1

    @property
    def rejection(self) -> str:
        """How many samples were thrown away, in words."""
        return rejection(self.rejected, self.drawn)


def rejection(rejected: int, drawn: int) -> str:
    """The rejection rate in words, such as "1 of 4 samples rejected (25%)"."""
    return f"{rejected} of {drawn} {'sample' if drawn == 1 else 'samples'} rejected ({rejected / drawn:.0%})"


class Model(Protocol):
    """What the worker and the command line need of a model: core.pipeline.MeshGPT, or core.fake.FakeMeshGPT."""

    @property
    def device(self) -> object:
        """Where it computes; its str() is for display, such as "cpu" or "cuda:0"."""

    def info(self) -> dict[str, Any]:
        """For display; has at least `name` and `domain`, a list of the words it knows best."""

    def release(self) -> None:
        """Give back memory that is kept ready for the next request."""

    def run(self, request: Request, on_faces: OnFaces | None = None, should_stop: ShouldStop | None = None) -> list[Result]:
        """One result a variant, in order. Raises Cancelled, or MeshGPTError if the request does not suit the model."""


# ---- checks


def check_text(text: object, required: bool) -> None:
    if not isinstance(text, str):
        raise bad_prompt(f"the prompt is a {type(text).__name__}, not a text", "give it as a string")
    if required and not text.strip():
        raise bad_prompt("the prompt is empty", 'say what to make, for example "a chair with four legs"')
    if len(text) > LONGEST_TEXT:
        raise bad_prompt(f"the prompt has {len(text)} characters", f"say it in at most {LONGEST_TEXT}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise bad_prompt("the prompt holds bytes that are not UTF-8 text", "type it again")


def check_mesh(mesh: object) -> None:
    if mesh is None:
        return
    if not isinstance(mesh, Mesh):
        raise bad_request(f"mesh is a {type(mesh).__name__}, not a Mesh", "give a core.mesh.Mesh, or None to start from nothing")
    if not len(mesh.faces):
        raise MeshGPTError("the mesh to complete has no faces", hint="give a mesh with at least one face", code="bad_mesh")


def check_whole(name: str, value: object, lowest: int, highest: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or not lowest <= int(value) <= highest:
        raise bad_request(f"{name} is {value!r:.40}", f"give a whole number in {lowest}..{highest}")


def check_number(name: str, value: object, highest: float) -> None:
    if not isinstance(value, (int, float, np.floating)) or isinstance(value, bool) or not 0 <= value <= highest:
        raise bad_request(f"{name} is {value!r:.40}", f"give a number in 0..{highest:g}")


def check_bounds(bounds: object, mesh: Mesh | None) -> None:
    if mesh is None:
        raise bad_request("bounds are given, but no mesh to complete", "give a mesh, or ask for proportions with extents")
    try:
        low, high = corners = np.array(bounds, float)
        fits = corners.shape == (2, 3) and np.isfinite(corners).all() and (low <= high).all() and (low < high).any()
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise bad_request(f"bounds is {bounds!r:.80}", "give the lowest and the highest corner of a box, three numbers each")
    used = mesh.vertices[mesh.faces[mesh.faces >= 0]]
    slack = OUTSIDE * (high - low).max()
    if (used < low - slack).any() or (used > high + slack).any():
        raise MeshGPTError(
            f"the mesh to complete reaches from {point(used.min(0))} to {point(used.max(0))}, "
            f"out of the bounds from {point(low)} to {point(high)}",
            hint="make the bounds larger, or leave them out",
            code="bad_mesh",
        )


def point(coordinates: FloatArray) -> str:
    return f"({', '.join(f'{number:.4g}' for number in coordinates.tolist())})"


def bad_prompt(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_prompt")


def bad_request(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_request")
