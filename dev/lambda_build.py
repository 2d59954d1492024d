"""What `sam build` made, and whether it can be run here."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
BUILD = REPOSITORY / ".aws-sam" / "build"
INTERPRETER = REPOSITORY / ".venv-lambda" / "bin" / "python"
LAYER = "SharedLayer"
UNZIPPED_LIMIT_BYTES = 262_144_000  # a function and its layers together


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


def size_bytes(folder: Path) -> int:
    """What a folder measures unzipped."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
