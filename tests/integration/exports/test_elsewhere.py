"""Exports in other hands: DuckDB, polars and pyarrow, NautilusTrader of both lines, and S3."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

import functions.bars.app
from dev.environment import REGION
from dev.sqs import Sqs
from nautilus.market.bar import Bar
from tests.support.export_world import FIRST, NOW, ROOT, ExportWorld, always_open, bar, needs_pyarrow
from tests.support.markets import DAY, HOUR, market
from tests.support.stored_bars import BARS, StoredBars, stock

pytestmark = needs_pyarrow
READERS = ROOT / "tests" / "support" / "lake_readers.py"
LAKE = ROOT / ".venv-lake" / "bin" / "python"
LINES = {
    "nautilus-trader-1.x": ROOT / ".venv-nautilus-1" / "bin" / "python",
    "nautilus-trader-2.x": ROOT / ".venv-strategies" / "bin" / "python",
}
HOURS = 40 * 24
needs_lake = pytest.mark.skipif(not LAKE.exists(), reason="needs .venv-lake: make lake")


def by(python: Path, kind: str, path: Path) -> Any:
    done = subprocess.run([python, READERS, kind, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def world(dsn: str, tmp_path: Path) -> Iterator[ExportWorld]:
    """Hours of a stock and of a pair of currencies, with prices below zero and above a thousand."""
    stored_bars = StoredBars(dsn, NOW)
    always_open(stored_bars)
    pair = stock(2, "EUR", "TEST:EUR")._replace(
        asset_class="CASH", instrument_id="EUR/USD.IDEALPRO", local_symbol="EUR.USD", min_tick=0.00005
    )
    stored_bars.instrument(pair, market("UTC", date(2023, 12, 1), 250, [(0, 1_440)], weekdays=range(7)), "all")
    span = [(FIRST, FIRST + HOURS * HOUR)]
    one = stock(1, "AAPL", "TEST:AAPL")
    stored_bars.record(one, "1h", [bar(FIRST + n * HOUR, n) for n in range(HOURS)], settled=span)
    rates = [Bar(FIRST + n * HOUR, 1.0, 1.2, 0.9, 1.081025, None, None, None) for n in range(HOURS // 2)]
    stored_bars.record(pair, "1h", rates, settled=span, price="MIDPOINT", session="all")
    yield ExportWorld(stored_bars, tmp_path)
    stored_bars.close()


def done(world: ExportWorld, **body: Any) -> Any:
    begun = world.begin(**{"all": True, **body})["export_id"]
    with world.task():
        world.wait(lambda: world.shown(begun)["finished_at"])
    shown = world.shown(begun)
    assert shown["status"] == "done", (shown, world.log())
    return shown


@needs_lake
def test_partitions_are_read_by_three_programs_pairs_with_a_slash_too(world: ExportWorld) -> None:
    shown = done(world)
    found = by(LAKE, "hive", world.folder_of(shown["export_id"]))
    counts = {"AAPL.NASDAQ": HOURS, "EUR/USD.IDEALPRO": HOURS // 2}
    assert {row[0]: row[3] for row in found["duckdb"]} == counts
    assert {(row[1], row[2]) for row in found["duckdb"]} == {("1h", 2024)}
    assert found["polars"] == found["pyarrow"] == counts
    assert found["view"] == [sum(counts.values())]


@needs_lake
def test_a_page_of_arrow_is_read_by_four_programs(world: ExportWorld, tmp_path: Path) -> None:
    api = world.stored_bars.api(tmp_path, router=functions.bars.app.router, anonymous_scopes=("bars:read",))
    params = {"symbol": "AAPL", "timeframe": "1h", "start": FIRST, "limit": 50_000, "wait": 0}
    (tmp_path / "page.arrows").write_bytes(api.get(BARS, params={**params, "format": "arrow"}).content)
    candles = api.get(BARS, params=params).json()["candles"]
    found = by(LAKE, "arrow", tmp_path / "page.arrows")
    volumes = [one["volume"] for one in candles]
    for reader in ("pyarrow", "polars", "duckdb", "nanoarrow"):
        rows, opens, nulls = found[reader]
        assert (rows, nulls) == (len(candles), volumes.count(None)), reader
        assert opens == pytest.approx(sum(one["open"] for one in candles)), reader
    assert found["types"]["ts"] == "timestamp[ns, tz=UTC]"


@pytest.mark.parametrize("layout", LINES)
def test_nautilus_trader_reads_its_catalog(world: ExportWorld, layout: str) -> None:
    python = LINES[layout]
    if not python.exists():
        pytest.skip(f"needs {python.relative_to(ROOT)}: make lake")
    shown = done(world, instrument_ids=["AAPL.NASDAQ"], all=False, layout=layout)
    found = by(python, "nautilus", world.folder_of(shown["export_id"]) / layout)
    assert found["types"] == ["AAPL.NASDAQ-1-HOUR-LAST-EXTERNAL"]
    expected = [
        [
            *(f"{price:.2f}" for price in (one.open, one.high, one.low, one.close)),
            f"{one.volume or 0:.0f}",
            one.ts + HOUR,
        ]
        for one in (bar(FIRST + n * HOUR, n) for n in range(HOURS))
    ]
    assert found["bars"] == expected
    assert expected[0][:2] == ["-37.63", "1000.25"]


# ---- S3 --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def s3(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a stand-in for S3 with two buckets."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = boto3.client("s3", endpoint_url=sqs.endpoint_url, region_name=REGION)
    for bucket in ("kept-bucket", "other-bucket"):
        client.create_bucket(Bucket=bucket)
        for one in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=one["Key"])
    return client


def keys(s3: Any, bucket: str) -> list[str]:
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def test_downloads_from_s3_go_by_an_address_that_ends(world: ExportWorld, s3: Any, sqs: Sqs) -> None:
    world.use_s3(sqs.endpoint_url, kept="kept-bucket")
    shown = done(world)
    files = [one for one in world.get(f"{shown['export_id']}/files").json()["files"] if one["path"]]
    assert len(files) == 2
    answer = world.api.get(files[0]["url"], headers=world.headers())
    assert answer.status_code == 302
    assert "X-Amz-Expires=900" in answer.headers["location"]
    content = httpx.get(answer.headers["location"]).content
    assert hashlib.sha256(content).hexdigest() == files[0]["sha256"]
    assert f"exports/{shown['export_id']}/manifest.json" in keys(s3, "kept-bucket")
    assert world.api.request("DELETE", f"/api/v1/market-data/exports/{shown['export_id']}", headers=world.headers())
    with world.task():
        world.wait(lambda: world.shown(shown["export_id"])["status"] == "expired")
    assert keys(s3, "kept-bucket") == []


def test_a_bucket_of_ones_own_keeps_its_files(world: ExportWorld, s3: Any, sqs: Sqs) -> None:
    world.use_s3(sqs.endpoint_url, others=("other-bucket",))
    target = {"kind": "s3", "bucket": "other-bucket", "prefix": "lake/2024"}
    shown = done(world, target=target)
    found = keys(s3, "other-bucket")
    assert all(key.startswith("lake/2024/") for key in found)
    manifest = json.loads(s3.get_object(Bucket="other-bucket", Key="lake/2024/manifest.json")["Body"].read())
    assert sorted(found) == sorted(
        f"lake/2024/{name}"
        for name in [*(one["path"] for one in manifest["files"]), "manifest.json", "coverage.json", "views.sql"]
    )
    assert shown["expires_at"] is None


def test_a_bucket_that_is_not_there_fails_the_export(world: ExportWorld, s3: Any, sqs: Sqs) -> None:
    world.use_s3(sqs.endpoint_url, others=("no-such-bucket",))
    begun = world.begin(all=True, target={"kind": "s3", "bucket": "no-such-bucket"})["export_id"]
    with world.task():
        world.wait(lambda: world.shown(begun)["finished_at"])
    assert (world.shown(begun)["status"], world.shown(begun)["problem"]["code"]) == ("failed", "target-unusable")


def test_a_large_file_goes_up_in_parts(world: ExportWorld, s3: Any, sqs: Sqs) -> None:
    one = stock(1, "AAPL", "TEST:AAPL")
    minutes = [bar(FIRST + n * 60 * 10**9, n) for n in range(150 * 1_440)]
    world.stored_bars.record(one, "1m", minutes, settled=[(FIRST, FIRST + 150 * DAY)])
    world.use_s3(sqs.endpoint_url, others=("other-bucket",))
    done(
        world,
        timeframes=["1m"],
        format="csv",
        compression="none",
        layout="flat",
        target={"kind": "s3", "bucket": "other-bucket"},
    )
    name = "AAPL.NASDAQ_1m_TRADES_rth_2024.csv"
    about = s3.head_object(Bucket="other-bucket", Key=name)
    assert about["ContentLength"] > 8 << 20
    assert "-" in about["ETag"], "an upload in parts has a tag with their number"
    content = s3.get_object(Bucket="other-bucket", Key=name)["Body"].read()
    assert hashlib.sha256(content).hexdigest() == about["Metadata"]["sha256"]
    assert content.count(b"\n") == len(minutes) + 1
