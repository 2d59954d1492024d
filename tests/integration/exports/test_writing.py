"""Exports from the request to the files: what is written equals what the API answers, whatever happens to the task."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

import functions.bars.app
from nautilus.coverage.states import CoverageState, Note
from nautilus.market.timeframes import NAMES
from tests.support.export_world import EXPORTS, FIRST, NOW, ExportWorld, always_open, bar, needs_pyarrow, rows
from tests.support.markets import DAY, HOUR, MINUTE, ns, nyse
from tests.support.stored_bars import BARS, StoredBars, stock

pytestmark = needs_pyarrow
MONTHS = 5
END = FIRST + MONTHS * 30 * DAY
MADE = ("2h", "3h", "4h", "8h")
"""Timeframes that are made of the hours that are stored."""


@pytest.fixture
def world(dsn: str, tmp_path: Path) -> Iterator[ExportWorld]:
    """Hours of five months, all settled but one note."""
    stored_bars = StoredBars(dsn, NOW)
    always_open(stored_bars)
    one = stock(1, "AAPL", "TEST:AAPL")
    hours = [bar(FIRST + n * HOUR, n) for n in range(MONTHS * 30 * 24)]
    stored_bars.record(one, "1h", hours, settled=[(FIRST, FIRST + MONTHS * 30 * DAY)])
    yield ExportWorld(stored_bars, tmp_path)
    stored_bars.close()


def finished(world: ExportWorld, export_id: str) -> Any:
    world.wait(lambda: world.shown(export_id)["finished_at"])
    return world.shown(export_id)


def done(world: ExportWorld, **body: Any) -> Any:
    begun = world.begin(**{"instrument_ids": ["AAPL.NASDAQ"], **body})
    with world.task():
        shown = finished(world, begun["export_id"])
    assert shown["status"] == "done", (shown, world.log())
    return shown


def candles(world: ExportWorld, **query: Any) -> list[dict[str, Any]]:
    api = world.stored_bars.api(world.root.parent, router=functions.bars.app.router, anonymous_scopes=("bars:read",))
    fields = "ts,open,high,low,close,volume,vwap,trades"
    params = {"symbol": "AAPL", "timeframe": "1h", "session": "rth", "start": FIRST, "end": NOW, "limit": 50_000}
    found: list[dict[str, Any]] = api.get(BARS, params={**params, "fields": fields, "wait": 0, **query}).json()[
        "candles"
    ]
    return found


def in_order(files: Any) -> list[dict[str, Any]]:
    return sorted((row for one in files.values() for row in one["rows"]), key=lambda row: row["ts"])


def test_parquet_in_partitions_is_what_the_api_answers_and_the_manifest_proves_it(world: ExportWorld) -> None:
    shown = done(world, split="month")
    folder = world.folder_of(shown["export_id"])
    files = rows(folder)
    assert in_order(files) == candles(world)
    where = "timeframe=1h/price=TRADES/session=rth/instrument_id=AAPL.NASDAQ/year=2024/month=2"
    first = files[f"{where}/part-v1.parquet"]
    assert first["types"]["ts"] == "timestamp[ns, tz=UTC]"
    assert first["metadata"]["nautilus.data_version"] == "1"
    assert first["packing"]["ts"][0] == "ZSTD"
    assert "DELTA_BINARY_PACKED" in first["packing"]["ts"]
    assert any("DICTIONARY" in word for word in first["packing"]["open"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["totals"]["rows"] == MONTHS * 30 * 24
    assert [one["path"] for one in manifest["files"]] == sorted(files)
    for one in manifest["files"]:
        assert hashlib.sha256((folder / one["path"]).read_bytes()).hexdigest() == one["sha256"]
        assert (one["complete"], one["missing"]) == (True, [])
    assert shown["progress"]["pct"] == 100.0
    assert list(folder.rglob("*.part")) == []


def of_frame(files: Any, frame: str) -> list[dict[str, Any]]:
    return in_order({name: one for name, one in files.items() if f"timeframe={frame}/" in name})


def test_bars_that_are_made_of_stored_ones_are_those_of_the_answers(world: ExportWorld) -> None:
    """In hours that a session cuts, too; a fold by the clock alone is another one."""
    stored, day = world.stored_bars, ns("2024-01-08 09:30", "America/New_York")
    new_york = stored.instrument(stock(3, "MSFT"), nyse(date(2023, 12, 1), 90))
    minutes = [bar(day + n * MINUTE, n) for n in range(390)]
    stored.record(new_york, "1m", minutes, settled=[(day - HOUR, day + 10 * HOUR)])
    catalog = world.begin(instrument_ids=["AAPL.NASDAQ"], timeframes=["4h"], layout="nautilus-trader-1.x")["export_id"]
    cut = world.begin(symbols=["MSFT"], timeframes=["1h"], split="none")["export_id"]
    shown = done(world, timeframes=["1h", *MADE], split="month")
    files = rows(world.folder_of(shown["export_id"]))
    for frame in ("1h", *MADE):
        expected = candles(world, timeframe=frame, end=END)
        assert of_frame(files, frame) == expected, frame
        assert len(expected) == MONTHS * 30 * 24 // int(frame[0])
    made = next(one for name, one in files.items() if "timeframe=4h" in name)["metadata"]
    assert (made["nautilus.timeframe"], made["nautilus.made_of"]) == ("4h", "1h")
    folder = world.folder_of(shown["export_id"])
    series = [one["series"] for one in json.loads((folder / "manifest.json").read_text())["files"]]
    assert {(one["timeframe"], one.get("made_of")) for one in series} == {("1h", None), *((one, "1h") for one in MADE)}
    known = json.loads((folder / "coverage.json").read_text())["series"]
    assert [(one["timeframe"], one["complete"]) for one in known] == [(one, True) for one in ("1h", *MADE)]

    closes = [row["ts_init"] for one in rows(world.folder_of(catalog)).values() for row in one["rows"]]
    assert sorted(closes) == [one["ts"] + 4 * HOUR for one in candles(world, timeframe="4h", end=END)]
    hours = in_order(rows(world.folder_of(cut)))
    assert hours == candles(world, symbol="MSFT", start=day, end=day + 7 * HOUR)
    assert [row["ts"] for row in hours] == [day, *(day + HOUR // 2 + n * HOUR for n in range(6))]
    assert [row["ts"] for row in hours] != [day + n * HOUR for n in range(7)], "which a fold from the open would be"


@pytest.mark.parametrize(
    ("form", "compression", "ending"),
    [("arrow", "zstd", "arrow"), ("csv", "gzip", "csv.gz"), ("csv", "none", "csv"), ("parquet", "none", "parquet")],
)
def test_every_form_side_by_side_holds_the_same(world: ExportWorld, form: str, compression: str, ending: str) -> None:
    shown = done(world, format=form, compression=compression, layout="flat", split="none")
    files = rows(world.folder_of(shown["export_id"]))
    (name,) = files
    assert name == f"AAPL.NASDAQ_1h_TRADES_rth.{ending}"
    assert in_order(files) == candles(world)


@pytest.mark.parametrize("layout", ["nautilus-trader-1.x", "nautilus-trader-2.x"])
def test_catalogs_hold_whole_numbers_of_128_bits_and_the_closing_times(world: ExportWorld, layout: str) -> None:
    shown = done(world, layout=layout)
    folder = world.folder_of(shown["export_id"])
    files = rows(folder)
    bars = "bar" if layout.endswith("1.x") else "bars"
    names = sorted(Path(name).name for name in files)
    assert all(str(Path(name).parent) == f"{layout}/data/{bars}/AAPL.NASDAQ-1-HOUR-LAST-EXTERNAL" for name in files)
    assert names[0] == "2024-01-01T01-00-00-000000000Z_2024-02-01T00-00-00-000000000Z.parquet"
    found = [row for name in sorted(files) for row in files[name]["rows"]]
    expected = candles(world)
    assert len(found) == len(expected)
    for row, candle in zip(found, expected, strict=True):
        assert row["ts_event"] == row["ts_init"] == candle["ts"] + HOUR
        for field in ("open", "high", "low", "close"):
            assert Decimal(row[field]).scaleb(-16) == Decimal(str(round(candle[field], 2))), field
        assert Decimal(row["volume"]).scaleb(-16) == Decimal(str(candle["volume"] or 0))
    about = files[next(iter(files))]["metadata"]
    assert (about["bar_type"], about["price_precision"], about["size_precision"]) == (
        *("AAPL.NASDAQ-1-HOUR-LAST-EXTERNAL", "2", "0"),
    )
    assert ("type_name" in about) is layout.endswith("2.x")
    assert json.loads((folder / "coverage.json").read_text())["series"][0]["complete"] is True


def test_a_task_that_is_killed_is_followed_by_one_that_writes_only_what_is_missing(world: ExportWorld) -> None:
    world.stored_bars.record(  # many files, so that some are missing
        stock(1, "AAPL", "TEST:AAPL"), "1d", [bar(FIRST + n * DAY, n) for n in range(150)],
        settled=[(FIRST, FIRST + 150 * DAY)],
    )  # fmt: skip
    export_id = world.begin(instrument_ids=["AAPL.NASDAQ"], split="month")["export_id"]
    folder = world.folder_of(export_id)
    with world.task(export_lease_s="1") as process:
        world.wait(lambda: world.shown(export_id)["progress"]["files_done"] >= 2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    written = {path: path.stat().st_ino for path in folder.rglob("*.parquet")}
    before = world.shown(export_id)["progress"]["files_done"]
    assert before >= 2
    with world.task():
        shown = finished(world, export_id)
    assert shown["status"] == "done", world.log()
    kept = {one["path"] for one in world.get(f"{export_id}/files").json()["files"] if one["n"] < before}
    assert all(path.stat().st_ino == inode for path, inode in written.items() if str(path.relative_to(folder)) in kept)
    assert in_order({n: one for n, one in rows(folder).items() if "timeframe=1h" in n}) == candles(world)
    assert list(folder.rglob("*.part")) == []


def test_a_task_that_is_ended_within_a_file_says_no_error_and_another_one_goes_on(world: ExportWorld) -> None:
    export_id = world.begin(instrument_ids=["AAPL.NASDAQ"], split="month")["export_id"]
    with world.task() as process:
        world.wait(lambda: world.shown(export_id)["progress"]["files_done"] >= 1)
        process.terminate()
        assert process.wait(20) == 0
    assert world.shown(export_id)["status"] == "running"
    with world.task(export_lease_s="60"):
        shown = finished(world, export_id)
    assert shown["status"] == "done", world.log()
    # A writer that was left open would write the end of its file when it is collected.
    assert "Traceback" not in world.log()
    assert list(world.folder_of(export_id).rglob("*.part")) == []


def test_all_files_of_a_series_have_one_version_whatever_is_revised_meanwhile(world: ExportWorld) -> None:
    one, version = stock(1, "AAPL", "TEST:AAPL"), 1
    wanted = {"instrument_ids": ["AAPL.NASDAQ"], "timeframes": ["1h", "4h"]}
    export_id = world.begin(**wanted, split="month")["export_id"]
    with world.task() as process:
        world.wait(lambda: world.shown(export_id)["progress"]["files_done"] >= 1)
        os.kill(process.pid, signal.SIGSTOP)
        written = world.shown(export_id)["progress"]["files_done"]
        revised = [bar(FIRST + n * HOUR, n, shift=1.0) for n in range(MONTHS * 30 * 24)]
        world.stored_bars.record(one, "1h", revised, settled=[(FIRST, FIRST + MONTHS * 30 * DAY)])
        os.kill(process.pid, signal.SIGCONT)
        shown = finished(world, export_id)
    assert shown["status"] == "done", world.log()
    assert written < MONTHS, "the revision came too late to show anything"
    files = rows(world.folder_of(export_id))
    for frame in ("1h", "4h"):
        found, query = of_frame(files, frame), {"timeframe": frame, "end": END}
        assert found == candles(world, as_of=version, **query)
        assert found != candles(world, **query)


def test_a_series_whose_version_is_forgotten_meanwhile_is_written_anew(world: ExportWorld) -> None:
    export_id = world.begin(instrument_ids=["AAPL.NASDAQ"], split="month")["export_id"]
    with world.task() as process:
        world.wait(lambda: world.shown(export_id)["progress"]["files_done"] >= 1)
        os.kill(process.pid, signal.SIGSTOP)
        assert world.shown(export_id)["progress"]["files_done"] < MONTHS
        revised = [bar(FIRST + n * HOUR, n, shift=1.0) for n in range(MONTHS * 30 * 24)]
        world.stored_bars.record(stock(1, "AAPL", "TEST:AAPL"), "1h", revised)
        world.stored_bars.forget_changes(2)
        os.kill(process.pid, signal.SIGCONT)
        shown = finished(world, export_id)
    assert shown["status"] == "done", world.log()
    assert "export-series-anew" in world.log()
    folder = world.folder_of(export_id)
    assert in_order(rows(folder)) == candles(world)
    assert {path.name for path in folder.rglob("*.parquet")} == {"part-v2.parquet"}, "none of version 1 has stayed"
    assert {one["data_version"] for one in json.loads((folder / "manifest.json").read_text())["files"]} == {2}


def test_what_is_stopped_has_no_manifest_and_what_is_removed_is_gone(world: ExportWorld) -> None:
    export_id = world.begin(instrument_ids=["AAPL.NASDAQ"])["export_id"]
    stopped = world.api.request("POST", f"{EXPORTS}/{export_id}/stop", headers=world.headers()).json()
    assert stopped["status"] == "stopped"
    shown = done(world)
    folder = world.folder_of(shown["export_id"])
    assert (folder / "manifest.json").exists()
    gone = world.api.request("DELETE", f"{EXPORTS}/{shown['export_id']}", headers=world.headers())
    assert gone.status_code == 204
    with world.task():
        world.wait(lambda: world.shown(shown["export_id"])["status"] == "expired")
    assert not folder.exists()
    assert world.get(f"{shown['export_id']}/files/manifest.json").status_code == 404


def test_a_disk_without_room_fails_the_export_and_leaves_no_half_file(world: ExportWorld) -> None:
    import resource

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))

    target = {"kind": "folder", "path": str(world.root / "full")}
    export_id = world.begin(instrument_ids=["AAPL.NASDAQ"], target=target)["export_id"]
    # The log of the task is longer than that, too: it goes on to standard error, which ignores it.
    with world.task(preexec=small, log_level="ERROR"):
        shown = finished(world, export_id)
    assert (shown["status"], shown["problem"]["code"]) == ("failed", "disk-full")
    assert [path for path in (world.root / "full").rglob("*") if path.is_file()] == []


def test_gaps_stand_beside_the_files_and_complete_refuses_them(world: ExportWorld) -> None:
    one = stock(1, "AAPL", "TEST:AAPL")
    gap = (FIRST + 150 * DAY, FIRST + 151 * DAY)
    world.stored_bars.record(one, "1h", noted=[Note(gap, CoverageState.FAILED, "IB answered nothing")])
    world.stored_bars.record(one, "1h", [bar(gap[1], 0)], settled=[(gap[1], gap[1] + HOUR)])
    refused = world.refused(instrument_ids=["AAPL.NASDAQ"], require="complete")
    assert (refused["status_code"], refused["code"]) == (409, "export-incomplete")
    dry = world.api.request(
        "POST", EXPORTS, json={"symbols": ["AAPL"], "dry_run": True}, headers=world.headers()
    ).json()
    assert (dry["bars"], dry["files"], dry["complete"]) == (MONTHS * 30 * 24 + 1, 1, False)
    assert dry["incomplete"][0]["backfill"]["body"]["timeframe"] == "1h"
    shown = done(world)
    (file,) = [one for one in world.get(f"{shown['export_id']}/files").json()["files"] if one["path"]]
    assert file["complete"] is False
    assert [row["state"] for row in file["missing"]] == ["failed"]


def test_next_months_export_replaces_a_month_that_has_grown(world: ExportWorld) -> None:
    target = {"kind": "folder", "path": str(world.root / "catalog")}
    half = FIRST + 135 * DAY
    done(world, layout="nautilus-trader-2.x", target=target, end=half)
    done(world, layout="nautilus-trader-2.x", target=target)
    files = rows(world.root / "catalog")
    names = sorted(Path(name).name for name in files)
    assert len(names) == MONTHS
    ends = [name.removesuffix(".parquet").split("_") for name in names]
    assert all(one[1] < other[0] for one, other in pairwise(ends))
    assert sum(len(one["rows"]) for one in files.values()) == len(candles(world))


# ---- where it may be written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/etc", "/", "relative", "{root}/../outside", "{root}", "{root}x", "{root}/a\nb", "/proc/self"]
)
def test_folders_outside_the_roots_are_refused(world: ExportWorld, path: str) -> None:
    target = {"kind": "folder", "path": path.format(root=world.root)}
    refused = world.refused(instrument_ids=["AAPL.NASDAQ"], target=target)
    assert (refused["status_code"], refused["code"]) == (422, "validation-error")
    assert "target" in refused["errors"][0]["field"]


@pytest.mark.parametrize("deep", [False, True])
def test_a_link_below_a_root_is_not_followed(world: ExportWorld, tmp_path: Path, deep: bool) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (world.root / "sub").mkdir()
    (world.root / "sub" / "link").symlink_to(outside)
    path = world.root / "sub" / "link" / "deep" if deep else world.root / "sub" / "link"
    export_id = world.begin(instrument_ids=["AAPL.NASDAQ"], target={"kind": "folder", "path": str(path)})["export_id"]
    with world.task():
        shown = finished(world, export_id)
    assert (shown["status"], shown["problem"]["code"]) == ("failed", "target-unusable")
    assert list(outside.iterdir()) == []


# ---- downloads -------------------------------------------------------------------------------------------------------


def test_files_are_downloaded_whole_and_in_ranges(world: ExportWorld) -> None:
    shown = done(world)
    export_id = shown["export_id"]
    (file,) = [one for one in world.get(f"{export_id}/files").json()["files"] if one["path"]]
    content = (world.folder_of(export_id) / file["path"]).read_bytes()
    whole = world.api.get(file["url"], headers=world.headers())
    assert whole.content == content
    tag = whole.headers["etag"]
    assert tag == f'"{file["sha256"]}"'

    def part(header: str, **more: str) -> httpx.Response:
        return world.api.get(file["url"], headers={**world.headers(), "Range": header, **more})

    assert (part("bytes=10-19").status_code, part("bytes=10-19").content) == (206, content[10:20])
    assert part("bytes=10-19").headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert part("bytes=-5").content == content[-5:]
    assert part(f"bytes={len(content) - 3}-").content == content[-3:]
    assert part("bytes=0-1,4-5").status_code == part("lines=1-2").status_code == 200
    assert part(f"bytes={len(content)}-").status_code == 416
    assert part("bytes=10-19", **{"If-Range": tag}).status_code == 206
    assert part("bytes=10-19", **{"If-Range": '"other"'}).content == content
    assert world.api.get(file["url"], headers={**world.headers(), "If-None-Match": tag}).status_code == 304
    assert world.get(f"{export_id}/files/manifest.json").json()["totals"]["rows"] == MONTHS * 30 * 24
    for path in ("../manifest.json", "%2e%2e/x", "no-such", "/etc/passwd"):
        assert world.get(f"{export_id}/files/{path}").status_code == 404, path
    # Somebody else's export is no export; an administrator sees all.
    other = world.headers(2)
    assert world.api.get(file["url"], headers=other).status_code == 404
    assert world.api.get(f"{EXPORTS}/{export_id}", headers=other).status_code == 404
    assert world.api.get(f"{EXPORTS}/{export_id}", headers=world.headers(3, "admin")).status_code == 200
    # A byte that has changed its file's length is no file of ours any more.
    (world.folder_of(export_id) / file["path"]).write_bytes(content + b"x")
    assert world.api.get(file["url"], headers=world.headers()).status_code == 404


# ---- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "about"),
    [
        ({}, 422, "symbols"),
        ({"symbols": ["AAPL"], "all": True}, 422, "one of"),
        ({"symbols": ["NOPE"]}, 404, "NOPE"),
        ({"symbols": ["AAPL"], "price": "BID"}, 404, "AAPL"),
        ({"symbols": ["AAPL"], "timeframes": ["5m"]}, 422, "5m is not stored of AAPL"),
        ({"symbols": ["AAPL"], "timeframes": ["7m"]}, 422, "7m"),
        ({"symbols": ["AAPL"], "start": "2031-01-01T00:00:00Z"}, 422, "start"),
        ({"symbols": ["AAPL"], "start": "2024-02-01T00:00:00Z", "end": "2024-01-01T00:00:00Z"}, 422, "start"),
        ({"symbols": ["AAPL"], "layout": "nautilus-trader-1.x", "format": "csv"}, 422, "catalog"),
        ({"symbols": ["AAPL"], "format": "arrow", "compression": "gzip"}, 422, "zstd"),
        ({"symbols": ["AAPL"], "format": "xls"}, 422, "format"),
        ({"symbols": ["AAPL"], "target": {"kind": "s3", "bucket": "somebody-elses"}}, 422, "bucket"),
        ({"symbols": ["AAPL"], "target": {"kind": "ftp"}}, 422, "target"),
        ({"symbols": ["AAPL"], "from": 1}, 422, "from"),
    ],
)
def test_bad_requests_are_refused_by_name(world: ExportWorld, body: dict[str, Any], status: int, about: str) -> None:
    refused = world.refused(**body)
    assert refused["status_code"] == status
    assert about in json.dumps(refused)


def test_a_timeframe_that_is_not_stored_is_refused_unless_answers_make_it_too(world: ExportWorld) -> None:
    """Nothing is left out in silence, whatever else is requested with it."""
    made = [one for one in NAMES if candles(world, timeframe=one, end=END)]
    assert made == ["1h", *MADE]
    for frame in NAMES:
        for named in ({"symbols": ["AAPL"]}, {"instrument_ids": ["AAPL.NASDAQ"]}, {"all": True}):
            body = {**named, "timeframes": ["1h", frame], "dry_run": True}
            answer = world.api.request("POST", EXPORTS, json=body, headers=world.headers())
            assert answer.status_code == (200 if frame in made else 422), (named, frame, answer.text)
            if frame in made:
                assert answer.json()["series"] == len({"1h", frame})
                continue
            (wrong,) = answer.json()["errors"]
            assert (wrong["field"], wrong["allowed"]) == ("timeframes", ["1h"])
    one, gap = stock(1, "AAPL", "TEST:AAPL"), (END + HOUR, END + 2 * HOUR)
    world.stored_bars.record(
        one, "1h", [bar(END + n * HOUR, n) for n in (0, 2)], settled=[(END, END + HOUR), (gap[1], gap[1] + HOUR)]
    )
    refused = world.refused(symbols=["AAPL"], timeframes=["2h"])
    assert refused["status_code"] == 422
    assert "2h is not stored of AAPL, nor a finer one without a gap" in refused["detail"]
    assert not candles(world, timeframe="2h", end=END + 3 * HOUR), "nor does an answer make it"


def test_an_idempotency_key_makes_one_export(world: ExportWorld) -> None:
    def begin(**body: Any) -> httpx.Response:
        headers = {**world.headers(), "Idempotency-Key": "once"}
        return world.api.request("POST", EXPORTS, json={"symbols": ["AAPL"], **body}, headers=headers)

    first, again, other = begin(), begin(), begin(split="month")
    assert first.json()["export_id"] == again.json()["export_id"]
    assert (first.json()["deduplicated"], again.json()["deduplicated"]) == (False, True)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
