"""The wheel in a clean environment, as a user has it: frames of every library, a chart, the command, the page's blocks."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.client.conftest import NOW
from tests.integration.client.test_bars import minutes
from tests.integration.reading.test_pages import END, START
from tests.support.client_server import ROOT, in_environment, installed
from tests.support.markets import DAY
from tests.support.stored_bars import StoredBars, stock

BARS = f'Client().bars("AAPL", "1m", start={START}, end={END})'
EMPTY = f'Client().bars("AAPL", "1m", start={START - 10**13}, end={START})'


@pytest.fixture(scope="module")
def python() -> Path:
    return installed()


@pytest.fixture
def environment(python: Path, stored_bars: StoredBars, url: str, tmp_path: Path) -> Mapping[str, str]:
    """What a program of the clean environment is given: the address of stored bars."""
    stored_bars.record(stock(), "1m", minutes(START, 390), settled=[(START - 30 * DAY, NOW)])
    (tmp_path / "home").mkdir()
    return {"NAUTILUS_URL": url, "HOME": str(tmp_path / "home"), "MPLBACKEND": "Agg", "NO_PROXY": "*"}


def blocks_of_the_page() -> list[str]:
    page = (ROOT / "docs" / "client.md").read_text()
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_the_wheel_has_no_dependency_of_the_server(python: Path, environment: Mapping[str, str]) -> None:
    foreign = ("nautilus", "fastapi", "psycopg2", "pydantic", "httpx", "rich")
    code = f"import json, importlib.util as u; print(json.dumps([n for n in {foreign} if u.find_spec(n)]))"
    assert in_environment(code, environment) == []


FRAMES = f"""
import json
from nautilus_client import Client
bars, empty = {BARS}, {EMPTY}
sums = [sum(bars.columns["close"].data)]
frame = bars.pandas()
sums.append(float(frame["close"].sum()))
polars = bars.polars()
sums.append(polars["close"].sum())
table = bars.arrow()
sums.append(float(table["close"].to_pandas().sum()))
sums.append(bars.duckdb().aggregate("sum(close)").fetchall()[0][0])
import polars as pl, pyarrow as pa, duckdb
assert pl.DataFrame(bars).shape == (390, 8)
assert str(polars.schema["ts"]) == str(empty.polars().schema["ts"]) == "Datetime(time_unit='ns', time_zone='UTC')"
assert polars["volume"].null_count() == table["volume"].null_count == 130
assert table.schema.equals(empty.arrow().schema)
assert empty.polars().schema == polars.schema
assert empty.pandas().dtypes.equals(frame.dtypes) and empty.pandas().index.dtype == frame.index.dtype
assert table.schema.metadata[b"nautilus.complete"] == b"true"
print(json.dumps([sums, len(empty), str(table.schema.field("ts").type)]))
"""


def test_every_library_has_the_same_bars_and_an_empty_frame_the_whole_schema(environment: Mapping[str, str]) -> None:
    sums, empty, kind = in_environment(FRAMES, environment)
    assert sums == pytest.approx([sum(100.0 + n / 100 for n in range(390))] * 5)
    assert (empty, kind) == (0, "timestamp[ns, tz=UTC]")


ALONE = """
import contextlib, io, json, sys
others = ("pyarrow", "polars", "duckdb", "nanoarrow", "arro3", "matplotlib", "mplfinance", "keyring")
sys.modules.update(dict.fromkeys(others))  # as if they were not installed
names = {}
with contextlib.redirect_stdout(io.StringIO()) as printed:
    exec(sys.argv[1], names)
print(json.dumps([printed.getvalue(), len(names["frame"]), str(names["frame"].index.dtype)]))
"""


def test_the_first_block_of_the_page_needs_pandas_alone(environment: Mapping[str, str]) -> None:
    found = in_environment(ALONE, environment, blocks_of_the_page()[0])
    assert found == ["True [] 1\n", 390, "datetime64[ns, UTC]"]


READS = """
import json, random, sys
import pyarrow as pa
from nautilus_client.arrow_stream import read
from nautilus_client.errors import BrokenAnswer

chance = random.Random(5)
numbers = [("ts", pa.timestamp("ns", "UTC")), ("trades", pa.int64()), ("close", pa.float64())]
schema = pa.schema([*numbers, ("p", pa.bool_()), ("s", pa.string())], metadata={"nautilus": '{"a": 1}'})
checked = 0
for size in (0, 1, 7, 8, 9, 64, 1000):
    def values(draw):
        return [None if chance.random() < 0.3 else draw() for _ in range(size)]
    rows = {"ts": [chance.randrange(10**18) for _ in range(size)], "close": values(chance.random)}
    rows["trades"] = values(lambda: chance.randrange(-9, 10**12))
    rows["p"] = [chance.random() < 0.5 for _ in range(size)]
    rows["s"] = values(lambda: "x" * chance.randrange(9))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        table = pa.table(rows, schema=schema)
        for batch in table.to_batches(max_chunksize=300):
            writer.write_batch(batch)
    data = sink.getvalue().to_pybytes()
    found = read(data)
    assert found.metadata["nautilus"] == '{"a": 1}'
    for name in ("ts", "trades", "close", "p"):
        assert found.columns[name].values() == rows[name], name
    for end in range(0, len(data), 1 if size < 9 else 997):
        try:
            read(data[:end])
        except BrokenAnswer:
            checked += 1
        else:
            raise AssertionError(end)
try:
    packed = pa.BufferOutputStream()
    with pa.ipc.new_stream(packed, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    read(packed.getvalue().to_pybytes())
    raise AssertionError("packed")
except BrokenAnswer:
    pass
print(json.dumps(checked))
"""


def test_streams_that_pyarrow_has_written_are_read_and_cut_ones_raise(
    python: Path, environment: Mapping[str, str]
) -> None:
    assert in_environment(READS, environment) > 1_000


MARGIN = """
import json, sys
import matplotlib.image
picture = matplotlib.image.imread(sys.argv[1])
edges = [picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]]
print(json.dumps(float(min(edge.min() for edge in edges))))
"""


def test_the_blocks_of_the_page_run_one_after_the_other(environment: Mapping[str, str], tmp_path: Path) -> None:
    blocks = blocks_of_the_page()
    assert len(blocks) >= 4
    title = "print(bars.plot()[1][0].get_title())"
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + "\n".join([*blocks, title])
    done = subprocess.run(
        [str(installed()), "-I", "-c", code], env=dict(environment), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "not a word, also of fonts"
    lines = done.stdout.splitlines()
    assert lines[:2] == ["True [] 1", "True 390"]
    assert lines[-2:] == ["7 True True 0", "AAPL.NASDAQ 1m TRADES, 2024-01-08, America/New_York"]
    assert in_environment(MARGIN, environment, str(tmp_path / "aapl.png")) == 1.0, "no label is cut off at an edge"


def test_the_command_writes_parquet_and_arrow(environment: Mapping[str, str], tmp_path: Path) -> None:
    nautilus = installed().with_name("nautilus-md")
    window = ["--start", "2024-01-08", "--end", "2024-01-09"]
    for ending in ("parquet", "arrow"):
        path = tmp_path / f"aapl.{ending}"
        subprocess.run([nautilus, "bars", "AAPL", *window, "-o", path], env=dict(environment), check=True)
    code = f"""
import json, pyarrow.parquet as pq, pyarrow as pa, duckdb
rows = pq.read_table({str(tmp_path / "aapl.parquet")!r})
file = pa.ipc.open_file(pa.memory_map({str(tmp_path / "aapl.arrow")!r})).read_all()
assert rows.equals(file)
counted = duckdb.sql("SELECT count(*), min(ts)::text FROM '{tmp_path / "aapl.parquet"}'").fetchall()[0]
print(json.dumps([rows.num_rows, counted[0]]))
"""
    assert in_environment(code, environment) == [390, 390]


KEYRING = """
import json, sys
import keyring
from keyring.backend import KeyringBackend

class InMemory(KeyringBackend):
    priority = 1
    kept = {}
    def get_password(self, service, name): return self.kept.get((service, name))
    def set_password(self, service, name, value): self.kept[service, name] = value
    def delete_password(self, service, name): del self.kept[service, name]

keyring.set_keyring(InMemory())
from nautilus_client import profiles
where = profiles.folder()
profiles.save(where, "local", {"url": "http://127.0.0.1:1", "keyring": True}, key="nautilus_1_s")
found = profiles.settings(profile="local")
profiles.forget_key(where, "local")
print(json.dumps([found.key, (where / profiles.SECRETS).exists(), len(InMemory.kept)]))
"""


def test_a_profile_that_names_the_keyring_keeps_its_key_there(
    python: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    only = {name: value for name, value in environment.items() if name != "NAUTILUS_URL"}
    assert in_environment(KEYRING, only) == ["nautilus_1_s", False, 0]
