"""What a user is told beside a mesh: how the prompt was read, and what of the request the model does not know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict

from core.properties import Properties

NAMED = 12  # things that a user is told the model knows, of all that it does
PROPERTIES = {"faces": "a number of faces", "extents": "proportions", "polygons": "triangles or quads"}  # as a user is told of them


def note_on_text(text: str, read: str, nouns: Sequence[str], domain: Sequence[str]) -> str:
    """A sentence for a text that names nothing the model was trained on, or "". It says how the text was read, or names a few things
    that the model was trained on.

    read: the text in words that the model knows. nouns: single words for what it has seen. domain: the kinds of things that it makes.
    """
    if read != text:
        return f"{text[:60]!r} was read as {read[:60]!r}"
    words = re.findall(r"[a-z]+", text.lower())
    known = {form for noun in nouns for form in (noun, noun + "s", noun + "es")}
    if not words or known & set(words):
        return ""
    some = ", ".join(domain[:: -(-len(domain) // NAMED)])
    return f"the model was not trained on anything named in {text[:60]!r}; it knows {len(domain)} kinds of things, such as {some}"


def note_on_properties(properties: Properties) -> str:
    """A sentence for what is asked of a model that knows no properties, or ""."""
    asked = [PROPERTIES[name] for name, value in asdict(properties).items() if value is not None]
    return f"this model cannot be asked for {' and '.join(asked)}, so that was left out" if asked else ""
