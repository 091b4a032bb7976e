"""The one error the add-on raises on purpose: a sentence for the artist, and what to do about it."""

from __future__ import annotations


class AddonError(Exception):
    """Something the artist should read.

    message: what is wrong; hint: what to do. Both without a full stop, the hint in the imperative, and both in an artist's words.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{sentence(message)} {sentence(hint)}".rstrip())
        self.message, self.hint = message, hint


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop; empty stays empty."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ":")) else ".") if text else ""
