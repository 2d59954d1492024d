"""What other programs read of our files, as JSON. Run by the interpreter of their environment:

python lake_readers.py arrow|hive|nautilus PATH
"""

import json
import sys
from pathlib import Path
from typing import Any


def arrow(path: Path) -> dict[str, Any]:
    """A stream of Arrow by four readers: number of rows, sum of the opens, NULLs among the volumes."""
    import duckdb
    import nanoarrow
    import polars
    import pyarrow.ipc

    stream = path.read_bytes()
    bars = pyarrow.ipc.open_stream(stream).read_all()
    bars.validate(full=True)
    frame = polars.read_ipc_stream(stream)
    nano = nanoarrow.ArrayStream.from_readable(stream).read_all()
    opens = [row["open"] for row in nano.to_pylist()]
    volumes = [row["volume"] for row in nano.to_pylist()]
    (by_duckdb,) = duckdb.sql("SELECT count(*), sum(open), count(*) - count(volume) FROM bars").fetchall()
    return {
        "pyarrow": [bars.num_rows, sum(bars["open"].to_pylist()), bars["volume"].null_count],
        "polars": [frame.height, sum(frame["open"].to_list()), frame["volume"].null_count()],
        "duckdb": list(by_duckdb),
        "nanoarrow": [len(nano), sum(opens), volumes.count(None)],
        "types": {field.name: str(field.type) for field in bars.schema},
    }


def hive(folder: Path) -> dict[str, Any]:
    """Bars for each instrument by DuckDB, polars and pyarrow, and the view that lies beside them."""
    import duckdb
    import polars
    import pyarrow.dataset

    glob = f"{folder}/**/*.parquet"
    by_duckdb = duckdb.sql(
        f"SELECT instrument_id, timeframe, year, count(*) FROM read_parquet('{glob}', hive_partitioning = true)"
        " GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    frame = polars.scan_parquet(glob, hive_partitioning=True).group_by("instrument_id").len().collect()
    data = pyarrow.dataset.dataset(folder, partitioning="hive", exclude_invalid_files=True, format="parquet").to_table()
    names = data["instrument_id"].to_pylist()
    connection = duckdb.connect()
    connection.execute(f"SET file_search_path = '{folder}'")
    connection.execute((folder / "views.sql").read_text())
    return {
        "duckdb": [list(row) for row in by_duckdb],
        "polars": dict(frame.iter_rows()),
        "pyarrow": {name: names.count(name) for name in set(names)},
        "view": connection.execute("SELECT count(*) FROM bars").fetchone(),
    }


def nautilus(folder: Path) -> dict[str, Any]:
    """The bars of a catalog by NautilusTrader itself, as its texts."""
    try:
        from nautilus_trader.persistence.catalog import ParquetDataCatalog

        found = ParquetDataCatalog(str(folder)).bars()
    except ImportError:
        from nautilus_trader.persistence import ParquetDataCatalog

        catalog = ParquetDataCatalog(str(folder))
        found = catalog.query_bars() if hasattr(catalog, "query_bars") else catalog.bars()
    shown = [
        [str(bar.open), str(bar.high), str(bar.low), str(bar.close), str(bar.volume), int(bar.ts_event)]
        for bar in found
    ]
    return {"bars": shown, "types": sorted({str(bar.bar_type) for bar in found})}


if __name__ == "__main__":
    kinds = {"arrow": arrow, "hive": hive, "nautilus": nautilus}
    print(json.dumps(kinds[sys.argv[1]](Path(sys.argv[2]))))
