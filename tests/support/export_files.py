"""Prints what files of an export hold, as JSON. Run by the interpreter of an environment with pyarrow:

python export_files.py FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any


def contents(path: Path) -> dict[str, Any]:
    """Columns, rows, metadata and the packing of a file."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    packing: dict[str, Any] = {}
    if path.suffix == ".parquet":
        whole = pyarrow.parquet.ParquetFile(path)
        table = whole.read()
        group = whole.metadata.row_group(0)
        for n in range(group.num_columns):
            column = group.column(n)
            packing[column.path_in_schema] = [column.compression, *column.encodings]
        packing["row_groups"] = whole.metadata.num_row_groups
    elif path.suffix == ".arrow":
        table = pa.ipc.open_file(path).read_all()
    else:
        table = pyarrow.csv.read_csv(path)
    return {
        "types": {field.name: str(field.type) for field in table.schema},
        "metadata": {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()},
        "packing": packing,
        "rows": [{name: plain(value) for name, value in row.items()} for row in _rows(table)],
    }


def _rows(table: Any) -> list[dict[str, Any]]:
    import pyarrow as pa

    for n, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(n, field.name, table.column(n).cast(pa.int64()))
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def plain(value: Any) -> Any:
    """A value as JSON has it; 128-bit numbers of a catalog as text of the whole number."""
    if isinstance(value, bytes):
        return str(int.from_bytes(value, "little", signed=True))
    if value is not None and not isinstance(value, (int, float, str)):
        return str(int(value.scaleb(16)))
    return value


def main() -> None:
    folder = Path(sys.argv[1])
    endings = (".parquet", ".arrow", ".csv", ".gz", ".zst")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name.endswith(endings))
    print(json.dumps({str(path.relative_to(folder)): contents(path) for path in paths}))


if __name__ == "__main__":
    main()
