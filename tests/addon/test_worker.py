"""The worker process: started, killed, missing, deaf; and the sentence the artist reads each time."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy", reason="the bpy package is not installed")

if sys.platform == "win32":
    pytest.skip("the stand-ins for Python are shell scripts", allow_module_level=True)


@pytest.fixture(autouse=True)
def fresh_worker(addon):
    addon.runtime.stop()
    yield
    addon.runtime.stop()


@pytest.fixture
def python(monkeypatch, tmp_path):
    """Call it with a shell script to have that run instead of Python."""

    def replace(script: str) -> Path:
        program = tmp_path / "python with a space"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("MESHGPT_PYTHON", str(program))
        return program

    return replace


def pump_until(job, condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"still {job.stage}: {job.text}"
        job.pump()
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ---- a worker that ends


def test_a_worker_killed_in_the_middle_leaves_the_scene_as_it_was_and_the_next_generate_works(addon, settings, cube, scene_state):
    before = scene_state()
    settings.prompt = "a slow chair"
    job = addon.jobs.generate(bpy.context)
    pump_until(job, lambda: "meshgpt_preview" in bpy.data.objects[-1])

    os.kill(addon.runtime.running().ready["pid"], signal.SIGKILL)
    pump_until(job, lambda: job.over)

    assert scene_state() == before
    assert job.stage == "failed"
    assert job.text.startswith("The worker has ended unexpectedly. Try again")
    assert "worker.log" in job.text
    settings.prompt = "a chair"
    assert bpy.ops.meshgpt.generate() == {"FINISHED"}


def test_a_worker_that_crashes_by_itself_is_reported_by_the_operator(addon, settings, scene_state):
    before = scene_state()
    settings.prompt = "a crash"

    with pytest.raises(RuntimeError, match="The worker has ended unexpectedly"):
        bpy.ops.meshgpt.generate()

    assert scene_state() == before


def test_a_worker_that_ended_between_two_jobs_is_replaced(addon, settings):
    bpy.ops.meshgpt.generate()
    old = addon.runtime.running()
    old.process.kill()
    old.process.wait()

    assert bpy.ops.meshgpt.generate() == {"FINISHED"}
    assert addon.runtime.running() is not old


def test_cancel_stops_the_worker_within_a_face_and_it_takes_the_next_job(addon, settings, scene_state):
    before = scene_state()
    settings.prompt = "a slow chair"
    job = addon.jobs.generate(bpy.context)
    pump_until(job, lambda: job.faces >= 2)
    worker = addon.runtime.running()

    job.cancel()

    assert scene_state() == before
    settings.prompt = "a chair"
    assert bpy.ops.meshgpt.generate() == {"FINISHED"}
    assert addon.runtime.running() is worker


def test_a_worker_that_does_not_hear_a_cancel_is_replaced(addon, settings, monkeypatch):
    monkeypatch.setattr(addon.job, "CANCEL_SECONDS", 0.3)
    settings.prompt = "a slow chair"
    job = addon.jobs.generate(bpy.context)
    pump_until(job, lambda: job.faces >= 1)
    deaf = addon.runtime.running()
    os.kill(deaf.process.pid, signal.SIGSTOP)
    job.cancel()

    settings.prompt = "a chair"

    assert bpy.ops.meshgpt.generate() == {"FINISHED"}
    assert addon.runtime.running() is not deaf
    assert not is_alive(deaf.process.pid)


def test_the_worker_stays_for_the_next_job(addon, settings):
    workers = []
    for _ in range(2):
        bpy.ops.meshgpt.generate()
        workers.append(addon.runtime.running())

    assert workers[0] is workers[1]


def test_stop_worker_ends_the_process_and_the_job(addon, settings):
    settings.prompt = "a slow chair"
    job = addon.jobs.generate(bpy.context)
    pump_until(job, lambda: job.faces >= 1)
    pid = addon.runtime.running().process.pid

    bpy.ops.meshgpt.stop_worker()

    assert not is_alive(pid)
    assert job.stage == "cancelled"
    with pytest.raises(RuntimeError, match="The worker is not running"):
        bpy.ops.meshgpt.stop_worker()


# ---- a worker that does not start


def test_a_python_that_is_not_there_is_named(addon, settings, monkeypatch, scene_state):
    before = scene_state()
    monkeypatch.setenv("MESHGPT_PYTHON", "/no/such/python")

    with pytest.raises(RuntimeError, match=r"/no/such/python cannot be started.*Name a Python program in Edit > Preferences"):
        bpy.ops.meshgpt.generate()

    assert scene_state() == before


def test_a_missing_package_is_named_with_the_command_that_installs_it(settings, python):
    program = python("""echo "ModuleNotFoundError: No module named 'einops'" >&2; exit 1""")

    with pytest.raises(RuntimeError) as error:
        bpy.ops.meshgpt.generate()

    assert "lacks the package einops" in str(error.value)
    assert f'"{program}" -m pip install torch' in str(error.value)


def test_a_missing_package_is_named_too_where_the_worker_began_the_log_anew(addon, settings, python):
    (addon.runtime.user_folder() / "worker.log").write_text("an old line\n" * 1000)
    python("""while [ "$1" != --log ]; do shift; done; : > "$2"; echo "ModuleNotFoundError: No module named 'einops'" >&2; exit 1""")

    with pytest.raises(RuntimeError, match="lacks the package einops"):
        bpy.ops.meshgpt.generate()


def test_a_worker_that_ends_before_it_is_ready_points_to_the_log(addon, settings, python):
    python("echo something odd >&2; exit 3")

    with pytest.raises(RuntimeError, match=r"ended before it was ready.*worker\.log"):
        bpy.ops.meshgpt.generate()

    assert "something odd" in (addon.runtime.user_folder() / "worker.log").read_text()


def test_a_worker_that_says_nothing_is_given_up(addon, settings, python, monkeypatch):
    python("exec sleep 60")
    monkeypatch.setattr(addon.runtime, "READY_SECONDS", 0.2)
    monkeypatch.setattr(addon.runtime, "STOP_SECONDS", 0.2)

    with pytest.raises(RuntimeError, match="did not get ready"):
        bpy.ops.meshgpt.generate()

    assert addon.runtime.running() is None


def test_what_a_package_prints_does_not_disturb(settings, python):
    python(f'echo "Welcome to package X"; echo "[]"; exec {sys.executable} "$@"')

    assert bpy.ops.meshgpt.generate() == {"FINISHED"}


def test_a_worker_that_explains_itself_is_quoted(settings, python):
    error = '{"type":"error","id":null,"code":"no_device","message":"there is no NVIDIA card","hint":"choose another device"}'
    python(f"echo '{error}'; sleep 0.2")

    for _ in range(2):  # the second time it may still be on its way out
        with pytest.raises(RuntimeError, match=r"There is no NVIDIA card\. Choose another device\."):
            bpy.ops.meshgpt.generate()


def test_a_worker_that_misses_a_package_names_the_command_that_installs_it(settings, python):
    error = '{"type":"error","id":null,"code":"bad_installation","message":"torch cannot be imported","hint":"install it"}'
    python(f"echo '{error}'")

    with pytest.raises(RuntimeError, match=r"Torch cannot be imported\. Run .* -m pip install torch"):
        bpy.ops.meshgpt.generate()


def test_a_missing_model_is_named(settings, preferences, monkeypatch, tmp_path):
    monkeypatch.delenv("MESHGPT_FAKE")
    preferences.model = str(tmp_path)

    with pytest.raises(RuntimeError, match=f"There is no model in {tmp_path}.*Choose a model folder"):
        bpy.ops.meshgpt.generate()


# ---- how it is started


def test_the_preferences_choose_python_model_and_device(addon, preferences, monkeypatch, tmp_path):
    monkeypatch.delenv("MESHGPT_FAKE")
    (tmp_path / "config.json").touch()
    preferences.python, preferences.model, preferences.device = "/opt/python", str(tmp_path), "cpu"

    command = addon.runtime.place().command()

    assert command[:4] == ["/opt/python", "-m", "core", "serve"]
    assert command[command.index("--model") + 1] == str(tmp_path)
    assert command[command.index("--device") + 1] == "cpu"


def test_a_change_of_preferences_holds_from_the_next_mesh_on(addon, settings, preferences):
    bpy.ops.meshgpt.generate()
    old = addon.runtime.running()
    preferences.device = "cpu"

    bpy.ops.meshgpt.generate()

    assert addon.runtime.running() is not old
    assert not is_alive(old.process.pid)


def test_paths_relative_to_where_blender_was_started_are_found(addon, preferences, monkeypatch, tmp_path):
    monkeypatch.delenv("MESHGPT_FAKE")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    preferences.python, preferences.model = "environment/bin/python", "model"

    place = addon.runtime.place()

    assert place.python == str(tmp_path / "environment" / "bin" / "python")
    assert place.model == tmp_path / "model"


def test_a_bare_name_of_a_python_is_left_to_the_path(addon, preferences):
    preferences.python = "python3.11"

    assert addon.runtime.place().python == "python3.11"


def test_by_default_the_worker_runs_on_blenders_python(addon):
    assert addon.runtime.place().command()[0] == sys.executable


def test_the_worker_does_not_see_blenders_own_python_home(addon, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/blender/python")

    environment = addon.runtime.place().environment()

    assert "PYTHONHOME" not in environment
    assert environment["PYTHONNOUSERSITE"] == "1"
    assert (Path(environment["PYTHONPATH"]) / "core" / "__main__.py").is_file()


def test_nothing_is_written_into_the_add_ons_own_folder(addon, settings, monkeypatch):
    home = Path(addon.runtime.__file__).parent
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)

    bpy.ops.meshgpt.generate()

    assert not list((home / "core").rglob("__pycache__"))
    assert not list(home.rglob("*.log"))
    assert not addon.runtime.user_folder().is_relative_to(home)


def test_status_follows_the_worker(addon, settings):
    states = [addon.runtime.status()]
    bpy.ops.meshgpt.start_worker()
    states.append(addon.runtime.status())
    while addon.runtime.watch() is not None:
        time.sleep(0.01)
    states.append(addon.runtime.status())

    assert states == [
        "The worker is not running; it starts with the first mesh.",
        "The worker is starting.",
        "The worker is ready: fake boxes on cpu.",
    ]


def test_status_says_why_a_worker_did_not_start(addon, python):
    python("exit 1")
    bpy.ops.meshgpt.start_worker()
    while addon.runtime.watch() is not None:
        time.sleep(0.01)

    assert addon.runtime.status().startswith("The worker ended before it was ready.")
