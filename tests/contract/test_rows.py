"""Rows get their types in nautilus/db/rows.py: nobody else takes them from a cursor, where they have none."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("layers/shared/nautilus", "functions", "ib_bridge", "stream", "strategy_host")
RAW = re.compile(r"\.fetch(?:one|all|many)\(")
READERS = {
    "layers/shared/nautilus/db/rows.py",
    "layers/shared/nautilus/db/prepared.py",  # texts of candles, of as many columns as fields
    # The cursors of these belong to connections of their own, outside the pool.
    "layers/shared/nautilus/db/bridge/name.py",
    "layers/shared/nautilus/db/migrate.py",
    "layers/shared/nautilus/db/retention.py",
}
MIGRATIONS = "layers/shared/nautilus/db/migrations/"


def readers() -> set[str]:
    found = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if RAW.search(path.read_text())}
    names = {path.relative_to(ROOT).as_posix() for path in found}
    return {name for name in names if not name.startswith(MIGRATIONS)}


def test_rows_are_read_with_their_types() -> None:
    assert readers() == READERS
