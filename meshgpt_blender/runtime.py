"""The worker: where its Python, its packages and its model are, and the process itself.

The model runs in a process of its own, never in Blender's, so that Blender stays quick, its memory is given back when the worker ends,
and a crash there is no crash here. The two talk in JSON lines over pipes that are never waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from .errors import AddonError

PROTOCOL = 2
READY_SECONDS = 120.0  # a cold disk and a virus scanner together can take a minute to load the packages
STOP_SECONDS = 2.0
PACKAGES = ("torch", "numpy", "einops", "safetensors", "trimesh", "scipy", "open-clip-torch")
HERE = Path(__file__).resolve().parent
PREFERENCES = "Edit > Preferences > Add-ons > MeshGPT"

Message = dict[str, Any]


# ---- where things are


@dataclass(frozen=True)
class Place:
    """What a worker is started from. model: the checkpoint's folder, or None for the worker that only plays one."""

    python: str
    packages: Path
    model: Path | None
    device: str
    log: Path

    def command(self) -> list[str]:
        """The command line of the worker."""
        source = ["--model", str(self.model), "--device", self.device] if self.model else ["--fake"]
        return [self.python, "-m", "core", "serve", *source, "--log", str(self.log)]

    def environment(self) -> dict[str, str]:
        """The worker's environment: our packages and nothing of Blender's own Python."""
        ours = {
            "PYTHONPATH": str(self.packages),
            "PYTHONNOUSERSITE": "1",
            "PYTHONUTF8": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # not into the add-on's folder; another one for it would have torch compiled anew, 73 MB
        }
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONSTARTUP")}
        return kept | ours


def place() -> Place:
    """What the preferences say, with their blanks filled in. MESHGPT_PYTHON and MESHGPT_FAKE=1 go before them.

    Raises AddonError if there is no model.
    """
    packages = HERE if (HERE / "core").is_dir() else HERE.parent
    chosen = preferences()
    fake = os.environ.get("MESHGPT_FAKE") == "1"
    python: str = os.environ.get("MESHGPT_PYTHON") or (chosen and chosen.python) or sys.executable
    if Path(python).name != python:  # else it is one to be found on the path
        python = full_path(python)
    model = Path(full_path(chosen.model)) if chosen and chosen.model else packages / "models" / "default"
    if not fake and not (model / "config.json").is_file():
        raise AddonError(f"there is no model in {model}", f"choose a model folder in {PREFERENCES}")
    return Place(python, packages, None if fake else model, chosen.device if chosen else "auto", user_folder() / "worker.log")


def full_path(path: str) -> str:
    """The path from the root of the disk on, for the worker works in another folder; links are kept, for an environment's Python is one."""
    return str(os.path.abspath(bpy.path.abspath(os.path.expanduser(path))))


def preferences() -> Any:
    """The add-on's preferences, or None where it runs without being installed."""
    addon: bpy.types.Addon | None = bpy.context.preferences.addons.get(__package__)
    return addon and addon.preferences


def user_folder() -> Path:
    """Where the add-on may write: Blender's folder for this extension, or one among its data files if it is not installed as one."""
    try:
        return Path(bpy.utils.extension_path_user(__package__, create=True))
    except ValueError:
        return Path(bpy.utils.user_resource("DATAFILES", path="meshgpt", create=True))


# ---- the one worker

_worker: Worker | None = None
_problem = ""  # why the last worker could not be started from the preferences


def worker() -> Worker:
    """The worker, started if it does not run, or runs as the preferences were. Raises AddonError if it cannot be started."""
    global _worker, _problem
    wanted = place()
    if _worker is None or not _worker.alive or _worker.place != wanted:
        stop()
        _worker, _problem = Worker(wanted), ""
    return _worker


def running() -> Worker | None:
    """The worker if it runs."""
    return _worker if _worker and _worker.alive else None


def stop() -> None:
    """End the worker, if there is one, and wait for it."""
    global _worker
    if _worker:
        _worker.stop()
    _worker = None


def status() -> str:
    """What the worker is doing, in a sentence for the preferences."""
    current = running()
    if not current:
        return _problem or "The worker is not running; it starts with the first mesh."
    if not current.ready:
        return "The worker is starting."
    return f"The worker is ready: {current.ready['model']} on {current.ready['device']}."


def watch() -> float | None:
    """Listen until the worker is ready: a timer's function, for a worker that was started without a job."""
    global _problem
    current = _worker
    if not current or current.ended or current.ready:
        redraw()
        return None
    try:
        current.receive()
    except AddonError as error:
        _problem = str(error)
    return 0.1


def redraw() -> None:
    """Have every place that shows the worker or a job drawn anew."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "STATUSBAR", "PREFERENCES"):
                area.tag_redraw()


class Worker:
    """A worker process. Nothing here waits for it, except `stop`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log_start = place.log.stat().st_size if place.log.exists() else 0
        self.started = time.monotonic()
        self.ready: Message = {}  # what it said of itself, once it is ready
        self.request: str | None = None  # the id of the request it is busy with
        self.ended = False
        self.incoming, self.outgoing = bytearray(), bytearray()
        self.process = start_process(place)
        assert self.process.stdin
        assert self.process.stdout
        self.ears, self.mouth = self.process.stdin, self.process.stdout
        if sys.platform != "win32":
            os.set_blocking(self.ears.fileno(), False)
            os.set_blocking(self.mouth.fileno(), False)
        self.send({"type": "hello", "protocol": PROTOCOL})

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return not self.ended and self.process.poll() is None

    def send(self, message: Message) -> None:
        """Queue a message; what the pipe does not take at once goes out with the next `receive`."""
        if message["type"] in ("generate", "complete"):
            self.request = message["id"]
        self.outgoing += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def receive(self) -> Message | None:
        """The next message, or None if there is none yet. "ready" is taken in here.

        Raises AddonError if the worker has ended, was stopped, is too late or reports that it cannot start.
        """
        if self.ended:
            raise AddonError("the worker was stopped", "press Generate to start it again")
        self.flush()
        while (line := self.next_line()) is not None:
            message = parse(line)
            if message.get("type") == "ready":
                self.ready = message
            elif message.get("type") == "error" and not message.get("id"):
                raise self.refusal(message)
            elif message:
                if message.get("type") in ("done", "cancelled", "error") and message.get("id") == self.request:
                    self.request = None
                return message
        if not self.ready and time.monotonic() - self.started > READY_SECONDS:
            self.stop()
            raise AddonError(f"the worker did not get ready in {READY_SECONDS:.0f} seconds", f"look at the log ({self.place.log})")
        return None

    def next_line(self) -> bytes | None:
        searched = 0
        while (end := self.incoming.find(b"\n", searched)) < 0:
            searched = len(self.incoming)
            chunk = read_available(self.mouth.fileno())
            if chunk is None:
                return None
            if not chunk:
                raise self.obituary()
            self.incoming += chunk
        line = bytes(self.incoming[:end])
        del self.incoming[: end + 1]
        return line

    def flush(self) -> None:
        while self.outgoing and not self.ended:
            try:
                sent = os.write(self.ears.fileno(), self.outgoing[:65536])
            except BlockingIOError:
                return
            except OSError:  # it has ended: the reading side will say so, after what it still had to say
                self.outgoing.clear()
                return
            del self.outgoing[:sent]

    def refusal(self, message: Message) -> AddonError:
        """Why the worker cannot start, in its own words; it ends by itself then."""
        if not self.ready:
            self.stop()
        missing = message.get("code") == "bad_installation"
        return AddonError(message["message"], self.how_to_install() if missing else message["hint"])

    def how_to_install(self) -> str:
        return f'run "{self.place.python}" -m pip install {" ".join(PACKAGES)}, or name another Python in {PREFERENCES}'

    def obituary(self) -> AddonError:
        """Why the worker has ended, as far as can be seen from here."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.1)
        self.stop()
        tail = read_from(self.place.log, self.log_start)
        if missing := re.search(r"No module named '([\w.]+)'", tail):
            return AddonError(f"{self.place.python} lacks the package {missing[1]}", self.how_to_install())
        if not self.ready:
            return AddonError("the worker ended before it was ready", f"look at the log ({self.place.log})")
        return AddonError(
            "the worker has ended unexpectedly", f"try again, with a new one. If that ends too, look at the log ({self.place.log})"
        )

    def stop(self) -> None:
        """Close its ears, which ends it; kill it if it does not hear."""
        if self.ended:
            return
        self.ended = True
        with contextlib.suppress(OSError):
            self.ears.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.mouth.close()


def start_process(place: Place) -> subprocess.Popen[bytes]:
    """Start the worker; what it prints as errors goes to the end of the log. Raises AddonError if it cannot be started."""
    apart: dict[str, Any] = {"start_new_session": True}  # an interrupt from the keyboard is for Blender alone
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NO_WINDOW}
    try:
        with place.log.open("ab") as log:
            return subprocess.Popen(
                place.command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                cwd=place.packages,
                env=place.environment(),
                **apart,
            )
    except OSError as error:
        raise AddonError(f"{place.python} cannot be started ({error.strerror})", f"name a Python program in {PREFERENCES}") from error


# ---- pipes and files


def parse(line: bytes) -> Message:
    """The message in a line; an empty one if it holds none, as what some package prints."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


if sys.platform == "win32":
    import ctypes
    import msvcrt

    def read_available(pipe: int) -> bytes | None:
        """What the pipe holds; None if nothing yet, b"" if it is closed. (Before Python 3.12 pipes cannot be made non-blocking here.)

        Writing does wait on Windows, but requests go to a worker that is reading.
        """
        waiting = ctypes.c_ulong()
        handle = ctypes.c_void_p(msvcrt.get_osfhandle(pipe))
        if not ctypes.windll.kernel32.PeekNamedPipe(handle, None, 0, None, ctypes.byref(waiting), None):
            return b""
        return os.read(pipe, waiting.value) if waiting.value else None

else:

    def read_available(pipe: int) -> bytes | None:
        """What the pipe holds; None if nothing yet, b"" if it is closed."""
        try:
            return os.read(pipe, 1 << 20)
        except BlockingIOError:
            return None


def read_from(path: Path, start: int) -> str:
    """The last part of a file, from `start` on and at most 64 kB; from its beginning on if it has been started anew since."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(start if start <= size else 0, size - 65536))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def register() -> None:
    """Nothing: the worker starts with the first mesh."""


def unregister() -> None:
    if bpy.app.timers.is_registered(watch):
        bpy.app.timers.unregister(watch)
    stop()
