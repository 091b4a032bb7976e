"""`meshgpt`: meshes from the command line, and the worker that the add-on starts.

Everything is checked before the model is loaded, whatever can be: the prompt, the mesh to complete, the place to write to. What the
user got wrong is one line on standard error and exit status 2. torch is imported only where a model is, so that --help is instant.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MeshGPTError
from core.mesh import FORMATS, FloatArray, Frame, IntArray, Mesh, first_line
from core.properties import POLYGONS, Properties
from core.request import Request, Result

if TYPE_CHECKING:
    from core.pipeline import MeshGPT

DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "models" / "default"
LONGEST_SLUG = 60  # characters of a prompt in a file's name
CLEAR_LINE = "\r\033[K"

EXAMPLES = """\
examples:
  meshgpt generate "a chair with four legs" -o chair.glb
  meshgpt generate "a chair" "a round table" --variants 4 --seed 7 -o furniture/
  meshgpt generate "a shelf" --faces 120 --extents 1 0.4 2 --polygons quads --candidates 8 -o shelf.glb
  meshgpt complete half_a_chair.obj --text "a chair" -o chair.obj
  meshgpt tokenize chair.obj -o codes.npz
  meshgpt detokenize codes.npz -o again.obj
  meshgpt info
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `meshgpt` with these arguments, by default the process's own, and return its exit status: 0, 2 or 130."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads; spinning on a busy machine 50 faces take 32 s, not 4
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # a moment of it, some microseconds, saves the time it takes to wake a thread
    options = build_parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal cannot show
    try:
        options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except MeshGPTError as error:
        return complain(str(error))
    except OSError as error:
        give_up_on_output()
        return complain(f"{error.filename or 'input or output'} failed ({error.strerror or error}); {hint_for(error)}")
    except Exception as error:
        from core.worker import is_out_of_memory, out_of_memory

        if not is_out_of_memory(error):
            raise
        return complain(str(out_of_memory()))
    return 0


def load_model(folder: Path, device: str) -> MeshGPT:
    """The model in a checkpoint folder, on auto, cpu, cuda, cuda:1 or mps.

    Raises MeshGPTError: bad_checkpoint if it is missing or damaged, bad_installation if a package is.
    """
    if not (folder / "config.json").is_file():
        raise bad_checkpoint(f"there is no checkpoint in {folder}", "name the folder that holds its config.json with --model")
    from core.worker import is_out_of_memory, set_threads

    try:
        from core.pipeline import MeshGPT

        set_threads()
        return MeshGPT.from_pretrained(folder, device=device)
    except MeshGPTError:
        raise
    except ImportError as error:
        message = f"{error.name} cannot be imported ({first_line(error)})"
        raise MeshGPTError(message, hint="install the packages that meshgpt needs", code="bad_installation") from error
    except Exception as error:  # damage shows itself in as many ways as there are places for it
        if is_out_of_memory(error):
            raise
        raise bad_checkpoint(f"{folder} cannot be loaded ({type(error).__name__}: {first_line(error)})", "download it again") from error


# ---- the commands


def generate(options: argparse.Namespace) -> None:
    requests = [Request(text, **sampling(options)) for text in options.text]
    make(options, requests, names=options.text)


def complete(options: argparse.Namespace) -> None:
    bounds = options.bounds and (tuple(options.bounds[:3]), tuple(options.bounds[3:]))
    request = Request(options.text, Mesh.load(options.mesh), bounds=bounds, **sampling(options))
    make(options, [request], names=[options.text.strip() or options.mesh.stem])


def make(options: argparse.Namespace, requests: list[Request], names: list[str]) -> None:
    """Write the results of all requests; names: what a file in a folder is called after, one a request."""
    output = Output(options.output, several=len(requests) * options.variants > 1)
    model = load_model(options.model, options.device)
    for request, name in zip(requests, names, strict=True):
        with shown_progress(name) as on_faces:
            results = model.run(request, on_faces=on_faces)
        for result in results:
            path = output.next_path(name)
            write_whole(path, result.mesh.to_bytes(path.suffix.lower()))
            print(json.dumps(as_record(result, path)) if options.json else as_line(result, path), flush=True)
        for note in dict.fromkeys(result.note for result in results if result.note):
            print(f"meshgpt: {note}", file=sys.stderr)


def tokenize(options: argparse.Namespace) -> None:
    check_suffix(options.output, (".npz",))
    check_writable(options.output.parent)
    mesh = Mesh.load(options.mesh)
    codes = load_model(options.model, options.device).tokenizer.encode(mesh)
    frame = mesh.frame()
    content = io.BytesIO()
    np.savez_compressed(content, codes=np.asarray(codes, np.int64), origin=np.array(frame.origin), scale=np.array(frame.scale))
    write_whole(options.output, content.getvalue())
    print(f"{options.output}: {len(codes)} faces of {codes.shape[1]} codes")


def detokenize(options: argparse.Namespace) -> None:
    check_suffix(options.output, FORMATS)
    check_writable(options.output.parent)
    codes, frame = read_codes(options.codes)
    tokenizer = load_model(options.model, options.device).tokenizer
    width, highest = tokenizer.codes_per_face, tokenizer.codebook_size - 1
    if codes.shape[1] != width or codes.min() < -1 or codes.max() > highest:
        found = f"{codes.shape[1]} codes a face in {codes.min()}..{codes.max()}"
        raise bad_codes(f"{options.codes} holds {found}, the model has {width} in 0..{highest}", "use the model that made them")
    mesh = Mesh.from_face_coordinates(np.asarray(tokenizer.decode(codes))).transformed(frame)
    write_whole(options.output, mesh.to_bytes(options.output.suffix.lower()))
    print(f"{options.output}: {len(mesh.faces)} faces, {len(mesh.vertices)} vertices")


def info(options: argparse.Namespace) -> None:
    model = load_model(options.model, options.device)
    facts = {**model.info(), "device": str(model.device), "checkpoint": str(options.model)}
    if options.json:
        print(json.dumps(facts, default=str))
        return
    for name, value in facts.items():
        print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list | tuple) else value}")


def serve(options: argparse.Namespace) -> None:
    from core.fake import FakeMeshGPT
    from core.worker import serve

    serve(FakeMeshGPT if options.fake else lambda: load_model(options.model, options.device), options.log)


# ---- writing


class Output:
    """Where results go: one file, numbered files beside each other, or a folder of files named after their prompts.

    path: a file with a mesh suffix, or a folder. several: more than one result will come.
    Raises MeshGPTError: bad_request if the suffix is that of another kind of file; not_writable, no_space.
    """

    def __init__(self, path: Path, several: bool) -> None:
        self.is_file = bool(path.suffix[1:].isalpha()) and not path.is_dir()
        if self.is_file:
            check_suffix(path, FORMATS)
        self.path, self.several = path, several
        self.counts: Counter[str] = Counter()
        check_writable(path.parent if self.is_file else path)

    def next_path(self, name: str) -> Path:
        """The file for the next result of that name."""
        if self.is_file and not self.several:
            return self.path
        stem = self.path.stem if self.is_file else slug(name)
        self.counts[stem] += 1
        file_name = f"{stem}-{self.counts[stem]}"
        return self.path.with_name(file_name + self.path.suffix) if self.is_file else self.path / f"{file_name}.glb"


def slug(text: str) -> str:
    """A text as part of a file's name: words and hyphens, of any script."""
    return re.sub(r"[\W_]+", "-", text.lower())[:LONGEST_SLUG].strip("-") or "mesh"


def check_suffix(path: Path, known: tuple[str, ...]) -> None:
    if path.suffix.lower() not in known:
        raise MeshGPTError(f"{path} cannot be written", hint=f"use a name that ends in {', '.join(known)}", code="bad_request")


def check_writable(folder: Path) -> None:
    """Make the folder if it is missing. Raises MeshGPTError (not_writable, no_space) if no file can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise not_writable(folder, error) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file such that it is never there in part: on any failure an earlier one is left as it was.

    Raises MeshGPTError (not_writable, no_space).
    """
    temporary = path.with_name(f".meshgpt-{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise not_writable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def not_writable(path: Path, error: OSError) -> MeshGPTError:
    code = "no_space" if error.errno == errno.ENOSPC else "not_writable"
    return MeshGPTError(f"{path} cannot be written ({error.strerror})", hint=hint_for(error), code=code)


# ---- reading


def read_codes(path: Path) -> tuple[IntArray, Frame]:
    """The codes [faces, codes a face] in a file that `tokenize` wrote, and where the mesh stood."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            codes, origin, scale = arrays["codes"], arrays["origin"], arrays["scale"]
        x, y, z = map(float, origin)
        frame = Frame((x, y, z), float(scale))
    except OSError:
        raise
    except Exception as error:  # zip files and arrays can be broken in many ways
        raise bad_codes(f"{path} cannot be read ({type(error).__name__}: {first_line(error)})", "write it again with tokenize") from error
    sound = codes.dtype == np.int64 and codes.ndim == 2 and codes.size and np.isfinite([x, y, z, frame.scale]).all() and frame.scale > 0
    if not sound:
        raise bad_codes(f"{path} holds no codes of a mesh", "write it again with tokenize")
    return codes, frame


# ---- telling


def as_record(result: Result, path: Path) -> dict[str, Any]:
    return {
        "prompt": result.text,
        "seed": result.seed,
        "variant": result.variant,
        "faces": len(result.mesh.faces),
        "vertices": len(result.mesh.vertices),
        "seconds": round(result.seconds, 3),
        "first_face_seconds": round(result.first_face_seconds, 3),
        "rejected": result.rejected,
        "drawn": result.drawn,
        "rejection_rate": round(result.rejected / result.drawn, 3),
        "file": str(path),
        "note": result.note,
    }


def as_line(result: Result, path: Path) -> str:
    size = f"{len(result.mesh.faces)} faces, {len(result.mesh.vertices)} vertices"
    return f"{path}: {size}, {result.seconds:.1f} s, first face after {result.first_face_seconds:.1f} s, {result.rejection}"


@dataclass
class Progress:
    """Counts faces on one line of standard error; called as a model's on_faces."""

    name: str
    counts: Counter[int] = field(default_factory=Counter)
    shown_at: float = 0.0

    def __call__(self, variant: int, start: int, coordinates: FloatArray) -> None:
        self.counts[variant] = start + len(coordinates)
        if time.monotonic() - self.shown_at >= 0.1:
            print(f"{CLEAR_LINE}{self.name:.50}: {self.counts.total()} faces", end="", file=sys.stderr, flush=True)
            self.shown_at = time.monotonic()


@contextlib.contextmanager
def shown_progress(name: str) -> Iterator[Progress | None]:
    """Gives an on_faces that shows how far it is, or None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        yield Progress(" ".join(name.split()))
    finally:
        print(CLEAR_LINE, end="", file=sys.stderr, flush=True)


def complain(what: str) -> int:
    print("meshgpt:", " ".join(what.split()), file=sys.stderr)
    return 2


def hint_for(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space or write to another disk"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "use a folder that you may write to"
    return "check the path and the disk"


def give_up_on_output() -> None:
    """Drop what standard output cannot take, else Python tries again at exit and ends with a message of its own."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def bad_checkpoint(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_checkpoint")


def bad_codes(message: str, hint: str) -> MeshGPTError:
    return MeshGPTError(message, hint=hint, code="bad_codes")


# ---- the parser


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="meshgpt",
        description="Low-poly meshes from text, and unfinished meshes completed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Callable[[argparse.Namespace], None], summary: str) -> argparse.ArgumentParser:
        subparser = commands.add_parser(command.__name__, help=summary, description=summary[0].upper() + summary[1:] + ".")
        subparser.set_defaults(command=command)
        subparser.add_argument("--model", type=Path, default=DEFAULT_MODEL, metavar="DIR", help="the checkpoint (default: %(default)s)")
        subparser.add_argument("--device", type=device, default="auto", help="auto (default), cpu, cuda, cuda:1 or mps")
        return subparser

    generating = add(generate, "make meshes of one or more phrases")
    generating.add_argument("text", nargs="+", metavar="TEXT", help='what to make, each phrase in quotes, such as "a chair with four legs"')
    add_sampling(generating)

    completing = add(complete, "complete an unfinished mesh")
    completing.add_argument("mesh", type=Path, metavar="MESH", help=f"the mesh to begin with ({', '.join(FORMATS)})")
    completing.add_argument("--text", default=Request.text, help="what it shall become")
    completing.add_argument(
        "--bounds",
        type=float,
        nargs=6,
        metavar=("X", "Y", "Z", "X", "Y", "Z"),
        help="lowest and highest corner of the box that the whole fills (default: where the part is likeliest)",
    )
    add_sampling(completing)

    tokenizing = add(tokenize, "turn a mesh into codes")
    tokenizing.add_argument("mesh", type=Path, metavar="MESH", help=f"a mesh ({', '.join(FORMATS)})")
    tokenizing.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .npz file to write")

    detokenizing = add(detokenize, "turn codes into a mesh")
    detokenizing.add_argument("codes", type=Path, metavar="CODES", help="an .npz file that tokenize wrote")
    detokenizing.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=f"the mesh to write ({', '.join(FORMATS)})")

    informing = add(info, "tell what the model is and what it knows")
    informing.add_argument("--json", action="store_true", help="as one JSON object")

    serving = add(serve, "answer the add-on over standard input and output")
    serving.add_argument("--fake", action="store_true", help="play with boxes instead of a model, for tests")
    serving.add_argument("--log", type=Path, metavar="FILE", help="write messages there (default: standard error)")
    return parser


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """The arguments that generate and complete share."""
    parser.add_argument("--variants", type=int, default=Request.variants, metavar="N", help="results a phrase (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=Request.seed, metavar="N", help="equal seeds, equal results (default: %(default)s)")
    parser.add_argument("--max-faces", type=int, metavar="N", help="faces at most (default: as the checkpoint says)")
    parser.add_argument("--guidance", type=float, metavar="X", help="how closely to follow the text (default: as the checkpoint says)")
    parser.add_argument("--temperature", type=float, metavar="X", help="how daring to be, from 0 (default: as the checkpoint says)")
    parser.add_argument(
        "--candidates",
        type=int,
        metavar="N",
        help="samples drawn for each result, the best is taken (default: as the checkpoint says, 8 or more to complete)",
    )
    parser.add_argument("--faces", type=int, metavar="N", help="about how many faces to make (default: any number)")
    parser.add_argument("--extents", type=float, nargs=3, metavar=("X", "Y", "Z"), help="proportions of the whole (default: any)")
    parser.add_argument("--polygons", metavar="KIND", help=f"{' or '.join(POLYGONS)} (default: any)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a mesh")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE-OR-FOLDER",
        help=f"a file ({', '.join(FORMATS)}; numbered if there are several results), or a folder for .glb files named after the phrase",
    )


def sampling(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "variants": options.variants,
        "seed": options.seed,
        "max_faces": options.max_faces,
        "guidance_scale": options.guidance,
        "temperature": options.temperature,
        "candidates": options.candidates,
        "properties": Properties(options.faces, options.extents and tuple(options.extents), options.polygons),
    }


def device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise argparse.ArgumentTypeError(f"{name} is not one of auto, cpu, cuda, cuda:1, mps")
    return name
