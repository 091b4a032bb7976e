"""Meshes from the command line: `blender -b --command meshgpt generate "a chair" --variants 2 --seed 3 -o out/`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from . import jobs
from .errors import AddonError
from .properties import POLYGONS, settings_of

FAILED = 2
FORMATS = (".blend", ".glb", ".obj")

_command: Any = None


def command(arguments: list[str]) -> int:
    """Run one command line; returns the exit code: 0, or 2 with a sentence on the error stream."""
    try:
        options = parser().parse_args(arguments)
        generate(options)
    except SystemExit as error:  # argparse has said what is wrong
        return int(error.code or 0)
    except (AddonError, OSError, RuntimeError) as error:
        print(f"meshgpt: {str(error).strip()}", file=sys.stderr)
        return FAILED
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="blender -b --command meshgpt", description="Low-poly meshes from text.")
    generate = parser.add_subparsers(required=True, metavar="generate").add_parser("generate", help="make meshes from a prompt")
    generate.add_argument("prompt")
    generate.add_argument("-o", "--output", type=Path, default=Path(), help="a .blend, .glb or .obj file, or a folder for .glb files")
    generate.add_argument("--variants", type=between(int, 1, 64), default=1, help="how many meshes (default 1)")
    generate.add_argument("--seed", type=between(int, 0, 2**31 - 1), default=0, help="the same seed makes the same mesh (default 0)")
    generate.add_argument("--size", type=between(float, 0.001, 1e6), default=2.0, help="longest side in metres (default 2)")
    generate.add_argument("--guidance", type=between(float, 0, 100), default=0.0, help="how closely to follow the prompt")
    generate.add_argument("--temperature", type=between(float, 0, 2), default=0.0, help="low is careful, high is adventurous")
    generate.add_argument("--max-faces", type=between(int, 0, 100_000), default=0, help="stop a mesh at this many faces")
    generate.add_argument("--candidates", type=between(int, 0, 64), default=0, help="how many to make of each mesh, the best is kept")
    generate.add_argument("--faces", type=between(int, 0, 100_000), default=0, help="about how many faces to make")
    generate.add_argument("--extents", type=between(float, 0, 1e6), nargs=3, metavar=("X", "Y", "Z"), help="proportions of the whole")
    kinds = [name.lower() for name, _, _ in POLYGONS]
    generate.add_argument("--polygons", choices=kinds, default=kinds[0], help="what the faces should be (default any)")
    return parser


def between(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not low <= (value := kind(text)) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    parse.__name__ = "number"
    return parse


def generate(options: argparse.Namespace) -> None:
    """Make the meshes in an empty scene and write them. Raises AddonError, OSError or RuntimeError."""
    if not options.prompt.strip():
        raise AddonError("the prompt is empty", "say what to make, such as: a chair")
    path = output_file(options.output, options.prompt)
    path.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    settings = settings_of(bpy.context.scene)
    for name in ("prompt", "variants", "seed", "size", "guidance", "temperature", "max_faces", "candidates", "faces"):
        setattr(settings, name, getattr(options, name))
    settings.polygons, settings.use_extents = options.polygons.upper(), options.extents is not None
    settings.extents = options.extents or settings.extents
    job = jobs.generate(bpy.context)
    jobs.wait(job)
    if job.stage != "finished":
        raise RuntimeError(job.text)
    print(job.text)
    for written in save([name.find(bpy.data.objects) for name in job.objects], path):
        print(written)


def output_file(output: Path, prompt: str) -> Path:
    """The file to write: the one named, or one named after the prompt in the folder named."""
    if output.suffix.lower() in FORMATS:
        return output
    if output.suffix and not output.is_dir():
        raise AddonError(f"there is no way to write {output.name}", f"use one of {', '.join(FORMATS)}, or name a folder")
    return output / f"{re.sub(r'[^a-z0-9]+', '-', prompt.lower()).strip('-')[:60] or 'mesh'}.glb"


def save(objects: list[bpy.types.Object], path: Path) -> list[Path]:
    """Write objects: one .blend for all, but one .glb or .obj each, with its place among the variants in the name. Returns the files."""
    if path.suffix.lower() == ".blend":
        bpy.ops.wm.save_as_mainfile(filepath=str(path.absolute()), check_existing=False)
        return [path]
    files = [path.with_stem(f"{path.stem}-{index}") if len(objects) > 1 else path for index in range(len(objects))]
    for obj, file in zip(objects, files, strict=True):
        obj.location = (0, 0, 0)
        bpy.ops.object.select_all(action="DESELECT")
        obj.select_set(True)
        if file.suffix.lower() == ".glb":
            bpy.ops.export_scene.gltf(filepath=str(file.absolute()), export_format="GLB", use_selection=True)
        else:
            bpy.ops.wm.obj_export(filepath=str(file.absolute()), export_selected_objects=True, export_materials=False)
    return files


def register() -> None:
    global _command
    if hasattr(bpy.utils, "register_cli_command"):
        _command = bpy.utils.register_cli_command("meshgpt", command)  # type: ignore[func-returns-value]  # the stubs have no result


def unregister() -> None:
    global _command
    if _command:
        bpy.utils.unregister_cli_command(_command)
    _command = None
