"""Builds dist/meshgpt_blender-<version>.zip: the extension as Blender installs it, the same bytes from the same files.

The zip holds the add-on's modules and the manifest at its root, and core/, models/default and LICENSES/ beside them. The version's home
is pyproject.toml; the manifest must agree. If a Blender, or the bpy package, is at hand, its own extension tool validates the zip.

    python build_addon.py [--out dist]
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
FOLDERS = ("core", "models/default", "LICENSES")
LEFT_OUT = ("__pycache__",)
TIME = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the Blender extension.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip")
    package = build(parser.parse_args().out)
    print(f"{package} ({package.stat().st_size / 1e6:.1f} MB)")
    return validate(package)


def build(folder: Path) -> Path:
    """Write the zip into that folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / f"meshgpt_blender-{version()}.zip"
    with zipfile.ZipFile(package, "w") as archive:
        for name, source in sorted(contents()):
            entry = zipfile.ZipInfo(name, TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, source.read_bytes(), compresslevel=6)
    return package


def contents() -> Iterator[tuple[str, Path]]:
    """The name in the zip and the path of everything that goes into it."""
    yield "blender_manifest.toml", ROOT / "blender_manifest.toml"
    for folder, prefix in [(ROOT / "meshgpt_blender", ""), *((ROOT / name, f"{name}/") for name in FOLDERS)]:
        for path in folder.rglob("*"):
            if path.is_file() and not set(LEFT_OUT) & set(path.parts):
                yield prefix + path.relative_to(folder).as_posix(), path


def version() -> str:
    """The project's version. Exits if the manifest has another one."""
    project = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    manifest = str(tomllib.loads((ROOT / "blender_manifest.toml").read_text())["version"])
    if project != manifest:
        sys.exit(f"pyproject.toml has version {project} but blender_manifest.toml has {manifest}; make them agree")
    return project


def validate(package: Path) -> int:
    """Let Blender's extension tool judge the zip; returns its exit code, 0 if there is no such tool here."""
    if tool := extension_tool():
        return subprocess.run([*tool, "validate", str(package)], check=False).returncode
    print("not validated: neither blender nor the bpy package is here")
    return 0


def extension_tool() -> list[str] | None:
    """The command line of Blender's extension tool, from the bpy package or a Blender program, or None."""
    bpy = importlib.util.find_spec("bpy")
    if bpy and bpy.origin:
        tools = Path(bpy.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
        return next(([sys.executable, str(tool)] for tool in tools), None)
    blender = shutil.which("blender")
    return [blender, "--command", "extension"] if blender else None


if __name__ == "__main__":
    sys.exit(main())
