"""What `sam build` made, and whether it can be run here."""

import io
import zipfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
BUILD = REPOSITORY / ".aws-sam" / "build"
INTERPRETER = REPOSITORY / ".venv-lambda" / "bin" / "python"
LAYER = "SharedLayer"
UNZIPPED_LIMIT_BYTES = 262_144_000  # a function and its layers together
ZIPPED_LIMIT_BYTES = 52_428_800  # of an upload that does not go by S3
LAYER_BUDGET_BYTES = 60_000_000
"""Ours, unzipped: a layer that grows makes every cold start longer long before AWS refuses it."""


def missing() -> str:
    """Why there is no build to run, in words; empty when there is one of the present sources."""
    if not INTERPRETER.exists():
        return "no Python 3.13 with Lambda's runtime client (.venv-lambda): make build, where a python3.13 is installed"
    if not (BUILD / "template.yaml").exists():
        return "nothing is built: make build"
    for built, source in (
        (BUILD / LAYER / "python" / "nautilus", REPOSITORY / "layers" / "shared" / "nautilus"),
        *((folder_of(path.name), path) for path in (REPOSITORY / "functions").iterdir() if (path / "app.py").exists()),
    ):
        for file in source.rglob("*.py"):
            copy = built / file.relative_to(source)
            if not copy.exists() or copy.read_bytes() != file.read_bytes():
                return f"the build is older than {file.relative_to(REPOSITORY)}: make build"
    return ""


def folder_of(name: str) -> Path:
    """Where `sam build` put the function of functions/<name>."""
    return BUILD / f"{name.capitalize()}Function"


class _Counter(io.RawIOBase):
    """Takes bytes, and keeps their number alone."""

    def __init__(self) -> None:
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.size += len(data)
        return len(data)


def zipped_bytes(folder: Path) -> int:
    """What a folder measures zipped, at most: packed in haste."""
    counter = _Counter()
    with zipfile.ZipFile(counter, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return counter.size


def size_bytes(folder: Path) -> int:
    """What a folder measures unzipped."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
