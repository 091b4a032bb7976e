"""The one exception that reaches a user: what is wrong, and what to do about it, in one line."""

from __future__ import annotations


class MeshGPTError(ValueError):
    """Something given from outside cannot be used: a prompt, a mesh, a file, a checkpoint, a message or a setting.

    message: what was given and why it does not do, without a full stop.
    hint: what to do instead, an imperative sentence without a full stop.
    code: a stable word for programs, such as "bad_prompt", "bad_mesh", "bad_checkpoint", "bad_request", "no_space".
    """

    def __init__(self, message: str, *, hint: str, code: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message, self.hint, self.code = message, hint, code
