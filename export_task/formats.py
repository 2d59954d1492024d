"""Writers of files: Parquet, Arrow and CSV, packed as an export wants them."""

from collections.abc import Mapping
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from pyarrow import ipc

from export_task.places import Sink

_ZSTD_LEVEL = 3


class Writer(Protocol):
    """Writes tables one behind the other into a file."""

    def write(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


def parquet(sink: Sink, schema: pa.Schema, compression: str) -> Writer:
    """Prices repeat, so that dictionaries make them small; stamps rise by the same step, which takes two bytes for eight."""
    names = [name for name in schema.names if name not in ("ts", "ts_event", "ts_init")]
    stamps = {name: "DELTA_BINARY_PACKED" for name in schema.names if name not in names}
    made = pyarrow.parquet.ParquetWriter(
        sink,
        schema,
        compression=compression,
        compression_level=_ZSTD_LEVEL if compression == "zstd" else None,
        use_dictionary=names,
        column_encoding=stamps,
    )
    return _Parquet(made)


class _Parquet:
    """One row group for each table."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def write(self, table: pa.Table) -> None:
        self._made.write_table(table, row_group_size=max(1, table.num_rows))

    def close(self) -> None:
        self._made.close()


def writer(form: str, sink: Sink, schema: pa.Schema, compression: str) -> Writer:
    """A writer of files in a form of an export."""
    if form == "parquet":
        return parquet(sink, schema, compression)
    if form == "arrow":
        options = ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
        made: Writer = ipc.new_file(sink, schema, options=options)
        return made
    return _Csv(sink, schema, compression)


class _Csv:
    """The same as the API's CSV: stamps are numbers, and what is missing is empty."""

    def __init__(self, sink: Sink, schema: pa.Schema, compression: str) -> None:
        at = schema.get_field_index("ts")
        self._schema = schema.set(at, pa.field("ts", pa.int64(), nullable=False)).remove_metadata()
        self._out: Any = (
            sink if compression == "none" else pa.CompressedOutputStream(pa.PythonFile(sink, "w"), compression)
        )
        options = pyarrow.csv.WriteOptions(quoting_style="none")
        self._made = pyarrow.csv.CSVWriter(self._out, self._schema, write_options=options)

    def write(self, table: pa.Table) -> None:
        self._made.write_table(table.cast(self._schema))

    def close(self) -> None:
        self._made.close()
        self._out.close()


def described(schema: pa.Schema, about: Mapping[str, str]) -> pa.Schema:
    """The schema with what a file says about itself, each under `nautilus.<name>`."""
    return schema.with_metadata({f"nautilus.{name}": text for name, text in about.items()})
