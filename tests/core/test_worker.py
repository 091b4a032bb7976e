"""The worker as Blender meets it: a real process, spoken to over its pipes, with models that behave and models that do not."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.mesh import Mesh
from core.properties import Properties
from core.protocol import ANSWERS, LONGEST_LINE, PROTOCOL, Message, decode, encode, faces_from_lists
from core.worker import LARGEST_LOG, FaceStream, physical_cores

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds until a test gives up on an answer; none of them is a measurement
BUILTIN_FAKE = "from core.fake import FakeMeshGPT as load"


class Client:
    """The other end of a worker's pipes. `log` is the file it writes to."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def send(self, kind: str, **fields: Any) -> None:
        self.send_line(encode({"type": kind, **fields}))

    def send_line(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def receive(self) -> Message:
        """The next answer, which must be a valid one."""
        line = self.lines.get(timeout=PATIENCE)
        assert line, f"the worker ended: {self.log.read_text()}"
        return decode(line, ANSWERS)

    def receive_until(self, *kinds: str) -> list[Message]:
        """Answers up to the first of one of these kinds, that one included."""
        received = [self.receive()]
        while received[-1]["type"] not in kinds:
            received.append(self.receive())
        return received

    def ask(self, kind: str, **fields: Any) -> list[Message]:
        """All answers to a request."""
        self.send(kind, **fields)
        return self.receive_until("done", "error", "cancelled")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def remaining(self) -> list[Message]:
        """What is still said before the process ends by itself."""
        self.process.wait(PATIENCE)
        return [decode(line, ANSWERS) for line in iter(lambda: self.lines.get(timeout=PATIENCE), b"")]


@contextlib.contextmanager
def started(command: list[str], log: Path) -> Iterator[Client]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        yield Client(process, log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "worker.log"


@pytest.fixture
def fake(log: Path) -> Iterator[Client]:
    with started(["-m", "core", "serve", "--fake", "--log", str(log)], log) as client:
        yield client


@contextlib.contextmanager
def worker_of(program: str, log: Path, *arguments: str) -> Iterator[Client]:
    """A worker whose model is what `load()` in a piece of Python makes."""
    program = f"import os, sys, time\nfrom pathlib import Path\nfrom core.worker import serve\n{program}\nserve(load, Path({str(log)!r}))"
    with started(["-c", program, *arguments], log) as client:
        yield client


def replay(messages: list[Message]) -> dict[int, Any]:
    """The faces [n, 4, 3] of every variant as a client shows them at the end."""
    shown: dict[int, list[Any]] = {}
    for message in messages:
        if message["type"] == "faces":
            faces = shown.setdefault(message["variant"], [])
            assert message["start"] <= len(faces), "faces are missing"
            faces[message["start"] :] = message["faces"]
    return {variant: faces_from_lists(faces) for variant, faces in shown.items()}


# ---- beginning and end


def test_the_handshake_says_who_is_there(fake: Client) -> None:
    fake.send("hello", protocol=PROTOCOL)
    ready = fake.receive()
    assert ready["type"] == "ready"
    assert ready["protocol"] == PROTOCOL
    assert ready["pid"] == fake.process.pid
    assert (ready["device"], ready["model"], ready["domain"]) == ("cpu", "fake boxes", ["box", "tower"])
    assert ready["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert ready["versions"]["torch"] == "", "the fake needs no torch"


def test_another_version_of_the_protocol_is_refused_in_words(fake: Client) -> None:
    fake.send("hello", protocol=PROTOCOL + 1)
    error = fake.receive()
    assert (error["type"], error["id"], error["code"]) == ("error", None, "wrong_version")
    assert str(PROTOCOL + 1) in error["message"]
    assert error["hint"]


def test_shutdown_ends_the_worker(fake: Client) -> None:
    fake.send("shutdown")
    assert fake.remaining() == []
    assert fake.process.returncode == 0


def test_the_end_of_input_ends_an_idle_worker(fake: Client) -> None:
    fake.send("hello", protocol=PROTOCOL)
    fake.receive()
    fake.close()
    assert fake.remaining() == []
    assert fake.process.returncode == 0


def test_the_end_of_input_ends_the_worker_in_the_middle_of_a_mesh(fake: Client) -> None:
    fake.send("generate", id="r1", text="slow")
    fake.receive_until("faces")
    fake.close()
    assert "done" not in [message["type"] for message in fake.remaining()]
    assert fake.process.returncode == 0


@pytest.mark.parametrize("last_words", [b"", b'{"type":"shutdown"}\n', b'{"type":"gen'])
def test_the_worker_ends_while_it_is_loading(log: Path, last_words: bytes) -> None:
    with worker_of("def load(): time.sleep(600)", log) as client:
        client.send_line(b"garbage\n" + last_words)
        assert client.receive()["code"] == "bad_message"  # it reads, though it is not loaded
        client.close()
        assert client.remaining() == []
        assert client.process.returncode == 0


def test_a_worker_whose_output_nobody_reads_ends(log: Path) -> None:
    with started(["-m", "core", "serve", "--fake", "--log", str(log)], log) as client:
        client.send("generate", id="r1", text="slow")
        client.receive_until("faces")
        os.dup2(os.open(os.devnull, os.O_RDONLY), client.process.stdout.fileno())  # type: ignore[union-attr]
        client.process.wait(PATIENCE)


# ---- making meshes


@pytest.mark.parametrize(("text", "variants"), [("a tower", 1), ("a tower", 3), ("reject", 2)])
def test_the_faces_that_are_streamed_are_those_of_the_final_mesh(fake: Client, text: str, variants: int) -> None:
    answers = fake.ask("generate", id="r1", text=text, variants=variants, seed=5)
    done, shown = answers[-1], replay(answers)
    assert {message["id"] for message in answers} == {"r1"}
    assert [mesh["variant"] for mesh in done["meshes"]] == sorted(shown) == list(range(variants))
    for mesh in done["meshes"]:
        corners = [[mesh["vertices"][corner] for corner in face] for face in mesh["faces"]]
        np.testing.assert_array_equal(faces_from_lists(corners), shown[mesh["variant"]])
        assert {len(face) for face in mesh["faces"]} == {3, 4}
        assert mesh["rejected"] == (text == "reject")


def test_the_first_face_is_sent_alone_and_progress_tells_the_stages(fake: Client) -> None:
    answers = fake.ask("generate", id="r1", text="a tower")
    first = next(message for message in answers if message["type"] == "faces")
    assert (first["start"], len(first["faces"])) == (0, 1)
    progress = [(message["stage"], message["faces"]) for message in answers if message["type"] == "progress"]
    assert progress[0] == ("loading", 0)
    assert progress[1] == ("generating", 1)
    assert {stage for stage, _ in progress[1:]} == {"generating"}


def test_a_rejected_sample_goes_back_to_its_start(fake: Client) -> None:
    answers = fake.ask("generate", id="r1", text="reject slow", max_faces=6)
    starts = [message["start"] for message in answers if message["type"] == "faces"]
    assert starts.count(0) == 2


def test_properties_and_candidates_reach_the_model(knowing_checkpoint: Path, log: Path) -> None:
    from core.pipeline import ATTEMPTS, MeshGPT

    program = f"from core.pipeline import MeshGPT\ndef load(): return MeshGPT.from_pretrained({str(knowing_checkpoint)!r}, 'cpu')"
    asked = {"faces": 30, "extents": [1, 2, 0.5], "polygons": "quads"}
    with worker_of(program, log) as client:
        (plain,) = client.ask("generate", id="r1", text="a chair", max_faces=6)[-1]["meshes"]
        (made,) = client.ask("generate", id="r2", text="a chair", max_faces=6, properties=asked, candidates=2)[-1]["meshes"]
    wanted = Properties(30, (1, 2, 0.5), "quads")
    (expected,) = MeshGPT.from_pretrained(knowing_checkpoint, "cpu").generate("a chair", max_faces=6, properties=wanted, candidates=2)
    assert made["vertices"] == expected.vertices.tolist()
    assert made["vertices"] != plain["vertices"]
    assert (plain["drawn"], made["drawn"]) == (ATTEMPTS, ATTEMPTS + 1)


def test_equal_seeds_give_equal_meshes_and_others_give_others(fake: Client) -> None:
    def made(seed: int) -> Any:
        (mesh,) = fake.ask("generate", id="r1", text="a tower", seed=seed)[-1]["meshes"]
        return mesh["vertices"], mesh["faces"]

    assert made(3) == made(3)
    assert made(3) != made(4)


def test_a_completion_keeps_what_was_given_in_its_own_place(fake: Client) -> None:
    vertices = [[10, 0, 3], [12, 0, 3], [12, 2, 3], [10, 2, 3]]
    (mesh,) = fake.ask("complete", id="r1", text="", vertices=vertices, faces=[[0, 1, 2, 3]])[-1]["meshes"]
    first = [mesh["vertices"][corner] for corner in mesh["faces"][0]]
    assert first == vertices
    assert len(mesh["faces"]) > 1
    assert Mesh(np.array(mesh["vertices"]), np.array([face for face in mesh["faces"] if len(face) == 4])).vertices[:, 2].min() >= 3


def test_a_bad_prompt_is_answered_and_the_next_one_made(fake: Client) -> None:
    (_, answer) = [{}, *fake.ask("generate", id="r1", text=" ")]
    assert (answer["id"], answer["code"]) == ("r1", "bad_prompt")
    assert fake.ask("generate", id="r2", text="x" * 10_000)[-1]["code"] == "bad_prompt"
    assert fake.ask("generate", id="r3", text="a tower", variants=65)[-1]["code"] == "bad_request"
    assert fake.ask("generate", id="r4", text="a tower")[-1]["type"] == "done"


def test_a_second_request_is_told_that_the_worker_is_busy(fake: Client) -> None:
    fake.send("generate", id="r1", text="slow", max_faces=5)
    fake.send("generate", id="r2", text="a tower")
    answers = fake.receive_until("done")
    (error,) = [message for message in answers if message["type"] == "error"]
    assert (error["id"], error["code"]) == ("r2", "busy")
    assert answers[-1]["id"] == "r1"
    assert fake.ask("generate", id="r3", text="a tower")[-1]["type"] == "done"


# ---- cancelling

GATED = """
from core.fake import FakeMeshGPT

class load(FakeMeshGPT):
    "Makes a face whenever the gate lets one through, and writes how many it has made into a file."

    def run(self, request, on_faces=None, should_stop=None):
        gate, made = open(sys.argv[1], "rb", buffering=0), Path(sys.argv[2])

        def passed():
            gate.read(1)
            return should_stop()

        def counted(variant, start, coordinates):
            made.write_text(str(start + 1))
            on_faces(variant, start, coordinates)

        return super().run(request, counted, passed)
"""

LATE = """
def load():
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)
    from core.fake import FakeMeshGPT
    return FakeMeshGPT()
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the gate is a fifo")
def test_cancel_is_obeyed_within_one_face(log: Path, tmp_path: Path) -> None:
    gate, made = tmp_path / "gate", tmp_path / "made"
    os.mkfifo(gate)
    with worker_of(GATED, log, str(gate), str(made)) as client:
        client.send("generate", id="r1", text="a tower", variants=1, seed=0)
        with gate.open("wb", buffering=0) as opened:
            client.receive_until("faces")  # now it waits at the gate
            client.send("cancel", id="r1")
            client.send_line(b"garbage\n")
            while client.receive()["type"] != "error":  # once this is answered, the cancel before it has been read
                pass
            before = int(made.read_text())
            with contextlib.suppress(BrokenPipeError):
                opened.write(b"." * 100)
            last = client.receive_until("cancelled", "done")[-1]
        assert last == {"type": "cancelled", "id": "r1"}
        assert int(made.read_text()) <= before + 1


def test_after_a_cancel_the_worker_is_free(fake: Client) -> None:
    for number in range(3):
        fake.send("generate", id=f"r{number}", text="slow")
        fake.receive_until("faces")
        fake.send("cancel", id=f"r{number}")
        assert fake.receive_until("cancelled", "done")[-1]["type"] == "cancelled"
    assert fake.ask("generate", id="last", text="a tower")[-1]["type"] == "done"


def test_a_request_cancelled_before_the_model_is_loaded_is_never_made(log: Path) -> None:
    with worker_of(LATE, log, str(log.parent / "go")) as client:
        client.send("generate", id="r1", text="slow")
        client.send("cancel", id="r1")
        client.send_line(b"garbage\n")
        assert client.receive()["code"] == "bad_message"
        (log.parent / "go").touch()
        answers = client.receive_until("cancelled", "done", "error")
    assert answers[-1] == {"type": "cancelled", "id": "r1"}
    assert sum(len(message["faces"]) for message in answers if message["type"] == "faces") <= 1


def test_cancelling_what_is_not_running_changes_nothing(fake: Client) -> None:
    fake.send("cancel", id="r0")
    answers = fake.ask("generate", id="r1", text="a tower")
    assert answers[-1]["type"] == "done"
    fake.send("cancel", id="r1")
    assert fake.ask("generate", id="r2", text="a tower")[-1]["type"] == "done"


# ---- misfortunes


def test_garbage_is_answered_and_survived(fake: Client) -> None:
    garbage = [b"\n", b"hello\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b'{"type":"ready"}\n', b"x" * (LONGEST_LINE + 10) + b"\n"]
    for line in garbage:
        fake.send_line(line)
        error = fake.receive()
        assert (error["type"], error["id"], error["code"]) == ("error", None, "bad_message")
    fake.send_line(b'{"type":"generate","id":"r1","text":5}\n')
    assert fake.receive()["id"] == "r1"
    assert fake.ask("generate", id="r2", text="a tower")[-1]["type"] == "done"


def test_a_crash_is_the_end_of_the_process_and_of_nothing_else(fake: Client) -> None:
    fake.send("generate", id="r1", text="crash")
    types = [message["type"] for message in fake.remaining()]
    assert "faces" in types
    assert not {"done", "error"} & set(types)
    assert fake.process.returncode == 9


def test_an_exception_is_told_in_brief_and_logged_in_full(fake: Client) -> None:
    answers = fake.ask("generate", id="r1", text="error")
    error = answers[-1]
    assert (error["type"], error["id"], error["code"]) == ("error", "r1", "internal")
    assert str(fake.log) in error["hint"]
    assert "Traceback" not in json.dumps(answers)
    assert "Traceback" in fake.log.read_text()
    assert "in misbehave" in fake.log.read_text()
    assert fake.ask("generate", id="r2", text="a tower")[-1]["type"] == "done"


@pytest.mark.parametrize(
    "raised",
    ["MemoryError()", "type('OutOfMemoryError', (RuntimeError,), {})('CUDA')", "RuntimeError('[enforce fail] cannot allocate memory')"],
)
def test_running_out_of_memory_has_its_own_words(log: Path, raised: str) -> None:
    program = f"{BUILTIN_FAKE}\ndef fail(*_): raise {raised}\nload.misbehave = fail"
    with worker_of(program, log) as client:
        for identity in ("r1", "r2"):
            error = client.ask("generate", id=identity, text="a tower")[-1]
            assert (error["id"], error["code"]) == (identity, "out_of_memory")
            assert "fewer" in error["hint"]


NOISY = f"""
{BUILTIN_FAKE}

def misbehave(self, *_):
    print("a library prints")
    sys.__stdout__.write("and writes\\n")
    sys.__stdout__.flush()
    os.write(1, b"and writes past Python\\n")
    os.system("echo and starts programs that print")
    assert sys.stdin.read() == ""

load.misbehave = misbehave
"""


def test_what_a_model_prints_goes_to_the_log_and_not_to_the_wire(log: Path) -> None:
    with worker_of(NOISY, log) as client:
        assert client.ask("generate", id="r1", text="a tower")[-1]["type"] == "done"  # every answer was decoded on the way
    for words in ("a library prints", "and writes", "and writes past Python", "and starts programs that print"):
        assert words in log.read_text().splitlines()


@pytest.mark.parametrize("config", [None, "{", "[]"])
def test_without_a_checkpoint_the_worker_says_so_and_exits_with_2(log: Path, tmp_path: Path, config: str | None) -> None:
    if config is not None:
        pytest.importorskip("core.pipeline")
        (tmp_path / "config.json").write_text(config)
    with started(["-m", "core", "serve", "--model", str(tmp_path), "--log", str(log)], log) as client:
        client.send("hello", protocol=PROTOCOL)
        (error,) = client.remaining()
        assert (error["type"], error["id"], error["code"]) == ("error", None, "bad_checkpoint")
        assert str(tmp_path) in error["message"]
        assert client.process.returncode == 2


@pytest.mark.parametrize("program", ["def load(): 1 / 0", "def load(): return 'a model without a name'"])
def test_a_model_that_fails_before_it_is_ready_is_told_before_the_end(log: Path, program: str) -> None:
    with worker_of(program, log) as client:
        (error,) = client.remaining()
        assert (error["type"], error["id"], error["code"]) == ("error", None, "internal")
        assert client.process.returncode == 2
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(("size", "kept"), [(LARGEST_LOG, True), (LARGEST_LOG + 1, False)])
def test_a_log_is_added_to_until_it_is_large_and_begun_anew_then(log: Path, size: int, kept: bool) -> None:
    log.parent.mkdir()
    log.write_bytes(b"x" * size)
    with started(["-m", "core", "serve", "--fake", "--log", str(log)], log) as client:
        client.ask("generate", id="r1", text="misbehave")
    assert log.read_bytes().startswith(b"x" * size) == kept
    assert log.stat().st_size != size
    assert b"\0" not in log.read_bytes()


def test_the_wire_is_logged_if_asked_for(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHGPT_LOG", "debug")
    with started(["-m", "core", "serve", "--fake", "--log", str(log)], log) as client:
        client.ask("generate", id="r1", text="a tower")
    assert '-> b\'{"type":"generate","id":"r1"' in log.read_text()
    assert '<- b\'{"type":"done","id":"r1"' in log.read_text()


# ---- parts


def face(number: int) -> Any:
    return np.full((1, 4, 3), number, np.float32)


def numbers(message: Message) -> list[int]:
    return [int(face[0][0]) for face in message["faces"]]


class Sent:
    """Takes messages, and is the clock that says when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.messages: list[Message] = []

    def stream(self) -> FaceStream:
        return FaceStream("r1", self.messages.append, lambda: self.now)

    @property
    def faces(self) -> list[tuple[int, int, list[int]]]:
        return [(message["variant"], message["start"], numbers(message)) for message in self.messages if message["type"] == "faces"]


def test_faces_within_fifty_milliseconds_travel_together() -> None:
    sent = Sent()
    stream = sent.stream()
    for number, seconds in enumerate([0.0, 0.01, 0.04, 0.051, 0.06, 0.07]):
        sent.now = seconds
        stream.add(0, number, face(number))
    assert sent.faces == [(0, 0, [0]), (0, 1, [1, 2, 3])]
    stream.flush()
    assert sent.faces[-1] == (0, 4, [4, 5])


def test_the_faces_of_every_variant_are_gathered_for_themselves() -> None:
    sent = Sent()
    stream = sent.stream()
    for number, variant in itertools.product(range(3), range(2)):
        stream.add(variant, number, face(10 * variant + number))
    stream.flush()
    assert sent.faces == [(0, 0, [0]), (1, 0, [10, 11, 12]), (0, 1, [1, 2])]


def test_faces_thrown_away_before_they_were_sent_are_never_sent() -> None:
    sent = Sent()
    stream = sent.stream()
    for start in range(5):
        stream.add(0, start, face(start))
    stream.add(0, 3, face(33))
    stream.flush()
    assert sent.faces == [(0, 0, [0]), (0, 1, [1, 2, 33])]
    stream.add(0, 4, face(44))
    stream.add(0, 0, face(55))
    stream.flush()
    assert sent.faces[2:] == [(0, 0, [55])]


def test_progress_counts_all_variants_and_comes_ten_times_a_second() -> None:
    sent = Sent()
    stream = sent.stream()
    for number in range(10):
        sent.now = number * 0.06
        stream.add(number % 2, number // 2, face(number))
    progress = [message["faces"] for message in sent.messages if message["type"] == "progress"]
    assert progress == [1, 3, 5, 7, 9]


def test_torch_is_told_how_many_threads_to_use() -> None:
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)
    program = "from core.worker import set_threads; import torch; print(set_threads(), torch.get_num_threads())"

    def threads(**asked: str) -> list[str]:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | asked
        command = [sys.executable, "-c", program]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout.split()

    expected = str(min(2, physical_cores()))
    assert threads() == [expected, expected]
    assert threads(OMP_NUM_THREADS="3") == ["3", "3"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch's threads do not say how they wait")
@pytest.mark.parametrize(("asked", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_asked_to_spin(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None, policy: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if asked:
        monkeypatch.setenv("OMP_WAIT_POLICY", asked)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "TRUE")
    (tmp_path / "config.json").write_text("{}")  # no checkpoint, but torch is loaded before that is known
    with started(["-m", "core", "serve", "--model", str(tmp_path), "--log", str(log)], log) as client:
        client.remaining()
    assert f"OMP_WAIT_POLICY = '{policy}'" in log.read_text()
