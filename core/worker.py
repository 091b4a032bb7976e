"""The worker: a process of its own that holds the model and answers the add-on over its standard input and output.

Blender's process never loads torch; it starts this instead (`python -m core serve`) and talks to it as core.protocol says. Two threads:
the main one loads the model and makes the meshes, the other reads requests, so that a cancel, or the end of Blender, is noticed at once
whatever the main thread is doing. Standard output belongs to the protocol alone; what libraries print goes to the log.
"""

from __future__ import annotations

import logging
import os
import platform
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

from core.errors import MeshGPTError
from core.mesh import FloatArray
from core.protocol import (
    PROTOCOL,
    RELEASE,
    REQUESTS,
    BadMessage,
    Message,
    decode,
    encode,
    faces_to_lists,
    lines,
    mesh_to_lists,
    request_from,
)
from core.request import Cancelled, Model, Request, Result

SECONDS_BETWEEN_FACES = 0.05
SECONDS_BETWEEN_PROGRESS = 0.1
IDLE_SECONDS = 60.0
LARGEST_LOG = 1_000_000  # bytes
MOST_THREADS = 2  # a small model at one face a time gains nothing from more

wire = logging.getLogger("meshgpt")


def serve(load: Callable[[], Model], log: Path | None = None) -> NoReturn:
    """Answer requests until standard input ends or shutdown is asked for; the process ends here.

    load: makes the model, in a while. log: the file that everything but the protocol goes to, made if it is missing, begun anew if
    it is over LARGEST_LOG; None for standard error. The exit status is 0, or 2 if the model cannot be loaded, after an error message that
    says why.
    Raises OSError if the log cannot be written.
    """
    requests, answers = take_standard_streams(log)
    level = logging.getLevelNamesMapping().get(os.environ.get("MESHGPT_LOG", "").upper(), logging.INFO)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    wire.setLevel(level)
    worker = Worker(requests, answers, f"look at the log, {log.absolute() if log else 'which is on standard error'}")
    threading.Thread(target=worker.read, daemon=True).start()
    try:
        worker.work(load)
    except KeyboardInterrupt:
        os._exit(130)  # not sys.exit, which would wait for the reading thread's locks


def take_standard_streams(log: Path | None) -> tuple[BinaryIO, BinaryIO]:
    """Private copies of standard input and output; from now on the former is empty and the latter leads to the log."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            if os.fstat(file.fileno()).st_size > LARGEST_LOG:
                file.truncate(0)
            os.dup2(file.fileno(), 2)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return requests, answers


@dataclass
class Worker:
    """The two threads' common state. Only `read` sets `running`, only `handle` clears it."""

    requests: BinaryIO
    answers: BinaryIO
    where_to_look: str
    inbox: queue.SimpleQueue[Message] = field(default_factory=queue.SimpleQueue)
    running: str | None = None  # the id of the request that is waiting or being worked on
    cancelled: threading.Event = field(default_factory=threading.Event)
    writing: threading.Lock = field(default_factory=threading.Lock)

    # ---- the reading thread

    def read(self) -> None:
        """Take in requests until the stream ends, and end the process then, whatever the main thread is doing."""
        try:
            for line in lines(self.requests):
                wire.debug("-> %s", line[:300])
                self.receive(line)
        except BaseException:
            wire.exception("reading failed")
        finally:
            os._exit(0)

    def receive(self, line: bytes) -> None:
        try:
            message = decode(line, REQUESTS)
        except BadMessage as error:
            return self.send(error_answer(error.id, error))
        kind = message["type"]
        if kind == "shutdown":
            os._exit(0)
        elif kind == "hello" and message["protocol"] != PROTOCOL:
            self.send(error_answer(None, wrong_version(message["protocol"])))
        elif kind == "hello":
            self.inbox.put(message)
        elif kind == "cancel":
            if message["id"] == self.running:  # else it has been answered in the meantime
                self.cancelled.set()
        elif self.running is not None:
            self.send(error_answer(message["id"], busy()))
        else:
            self.cancelled.clear()
            self.running = message["id"]
            self.inbox.put(message)

    # ---- the main thread

    def work(self, load: Callable[[], Model]) -> NoReturn:
        """Load the model and work through the inbox; does not return."""
        try:
            model = load()
            ready = encode(ready_answer(model))
        except Exception as error:
            self.send(error_answer(None, self.explained(error)))
            os._exit(2)
        wire.info("%s is loaded on %s", model.info()["name"], model.device)
        warm = False
        while True:
            message = self.next(model)
            if message["type"] != "hello":
                self.handle(model, message)
                continue
            self.write(ready)
            if not warm:
                self.warm_up(model)
            warm = True

    def next(self, model: Model) -> Message:
        """The next request. If it is long in coming, the memory that the model keeps ready for it goes back until then."""
        try:
            return self.inbox.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            model.release()
            return self.inbox.get()

    def handle(self, model: Model, message: Message) -> None:
        """Answer a generate or a complete message with everything up to its done, error or cancelled."""
        identity = message["id"]
        stream = FaceStream(identity, self.send)
        try:
            request = request_from(message)
            stream.report("loading")
            results = model.run(request, stream.add, self.cancelled.is_set)
            if self.cancelled.is_set():
                raise Cancelled
            stream.flush()
            answer = encode({"type": "done", "id": identity, "meshes": [result_to_lists(result) for result in results]})
        except Cancelled:
            answer = encode({"type": "cancelled", "id": identity})
        except Exception as error:
            answer = encode(error_answer(identity, self.explained(error)))
        free_memory()
        self.running = None  # before the answer goes out, for the next request may follow it at once
        self.write(answer)

    def warm_up(self, model: Model) -> None:
        """Make one face for nobody, while nobody waits, so that what the model loads late is there for the first request."""
        try:
            model.run(Request("a chair", max_faces=1), should_stop=lambda: not self.inbox.empty())
        except Cancelled:
            pass
        except Exception:
            wire.exception("warming up failed")

    def explained(self, error: Exception) -> MeshGPTError:
        """What the user is told about an exception, which is written to the log in full."""
        wire.error("%s", error, exc_info=error)
        if isinstance(error, MeshGPTError):
            return error
        if is_out_of_memory(error):
            return out_of_memory()
        return MeshGPTError(f"something went wrong inside ({type(error).__name__})", hint=self.where_to_look, code="internal")

    # ---- both threads

    def send(self, message: Message) -> None:
        self.write(encode(message))

    def write(self, line: bytes) -> None:
        wire.debug("<- %s", line[:300])
        try:
            with self.writing:
                self.answers.write(line)
                self.answers.flush()
        except OSError:  # nobody reads any more
            os._exit(0)


class FaceStream:
    """Passes on the faces of one request: the first at once, the others together with those that come shortly after.

    send: where messages go. clock: seconds, for tests.
    """

    def __init__(self, identity: str, send: Callable[[Message], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.identity, self.send, self.clock = identity, send, clock
        self.waiting: dict[int, tuple[int, list[list[list[float]]]]] = {}  # variant: index of the first face, faces
        self.counts: dict[int, int] = {}
        self.sent_at = self.reported_at = float("-inf")

    def add(self, variant: int, start: int, coordinates: FloatArray) -> None:
        """Take faces from a model; called as its on_faces."""
        first, faces = self.waiting.get(variant, (start, []))
        if start < first:  # what is waiting belongs to a sample that was thrown away
            first, faces = start, []
        self.waiting[variant] = first, faces[: start - first] + faces_to_lists(coordinates)
        self.counts[variant] = start + len(coordinates)
        if self.clock() - self.sent_at >= SECONDS_BETWEEN_FACES:
            self.flush()

    def flush(self) -> None:
        """Send everything that waits."""
        for variant, (start, faces) in self.waiting.items():
            self.send({"type": "faces", "id": self.identity, "variant": variant, "start": start, "faces": faces})
        self.waiting.clear()
        self.sent_at = self.clock()
        if self.sent_at - self.reported_at >= SECONDS_BETWEEN_PROGRESS:
            self.report("generating")
            self.reported_at = self.sent_at

    def report(self, stage: str) -> None:
        """Say how far it is; stage as in the protocol's progress."""
        self.send({"type": "progress", "id": self.identity, "stage": stage, "faces": sum(self.counts.values())})


# ---- answers


def ready_answer(model: Model) -> Message:
    torch = sys.modules.get("torch")
    info = model.info()
    return {
        "type": "ready",
        "protocol": PROTOCOL,
        "device": str(model.device),
        "model": info["name"],
        "domain": info["domain"],
        "versions": {"meshgpt": RELEASE, "torch": str(getattr(torch, "__version__", "")), "python": platform.python_version()},
        "pid": os.getpid(),
    }


def result_to_lists(result: Result) -> Message:
    return {
        "variant": result.variant,
        "seed": int(result.seed),
        "text": result.text,
        **mesh_to_lists(result.mesh),
        "seconds": result.seconds,
        "first_face_seconds": result.first_face_seconds,
        "rejected": result.rejected,
        "drawn": result.drawn,
        "ended": result.ended,
        "note": result.note,
    }


def error_answer(identity: str | None, error: MeshGPTError) -> Message:
    return {"type": "error", "id": identity, "code": error.code, "message": error.message, "hint": error.hint}


def wrong_version(theirs: int) -> MeshGPTError:
    return MeshGPTError(
        f"the add-on speaks version {theirs} of the protocol, the worker version {PROTOCOL}",
        hint="restart Blender, and reinstall the add-on if that does not help",
        code="wrong_version",
    )


def busy() -> MeshGPTError:
    return MeshGPTError("another mesh is being made", hint="wait for it or cancel it", code="busy")


# ---- the machine


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception, from torch or not, says that memory ran out."""
    named_so = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named_so or (isinstance(error, RuntimeError) and any(words in str(error) for words in ("out of memory", "allocate memory")))


def out_of_memory() -> MeshGPTError:
    return MeshGPTError(
        "there is not enough memory",
        hint="ask for fewer variants or fewer faces, close other programs, or use the CPU",
        code="out_of_memory",
    )


def free_memory() -> None:
    """Give the accelerator's unused memory back, for Blender renders on it too."""
    if "torch" in sys.modules:
        from core.devices import give_back

        give_back()


def set_threads() -> int:
    """Tell torch how many threads to use, and return that: OMP_NUM_THREADS if it is set, else one a physical core, two at most.

    Left to itself torch takes every core, and is many times slower where another program is using one of them.
    """
    import torch

    asked = os.environ.get("OMP_NUM_THREADS", "")
    count = int(asked) if asked.isdecimal() and int(asked) else min(MOST_THREADS, physical_cores())
    torch.set_num_threads(count)
    return count


def physical_cores() -> int:
    """How many this process may use; where the system does not say, half the logical ones."""
    try:
        cores = os.sched_getaffinity(0)
        return len({Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text() for core in cores})
    except (AttributeError, OSError):  # only Linux says
        return max(1, (os.cpu_count() or 1) // 2)
