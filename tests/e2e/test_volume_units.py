"""Volumes of US stocks: the source's own, decided by evidence alone, and put right as a revision when the evidence comes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.db.market import instruments, series
from nautilus.market.timeframes import timeframe
from tests.integration.backfill.test_backfill import own_bars
from tests.support.stack import ServiceStack, service_stack
from tests.support.stored_bars import stock

WEEK = {"symbol": "AAPL", "timeframe": "1h", "start": "2026-02-23T00:00:00Z", "end": "2026-02-28T00:00:00Z"}
SIM = ("--latency", "none", "--start", "2026-03-04T17:30:30Z")


def coins() -> list[tuple[str, float]]:
    """(time, volume) of two days of a coin's minutes, replayed as a stock: every volume is a fraction."""
    opens = [datetime(2024, 1, day, 14, 30, tzinfo=UTC) for day in (3, 4)]
    minutes = [first + timedelta(minutes=n) for first in opens for n in range(120)]
    return [(f"{when:%Y-%m-%d %H:%M:%S}", round(0.00017 + n * 0.0713, 5)) for n, when in enumerate(minutes)]


@pytest.fixture
def coin(servers: SimpleNamespace, dsn: str, tmp_path: Path) -> Iterator[ServiceStack]:
    """A service stack that replays them; no bridge runs yet."""
    file = tmp_path / "coin.csv"
    rows = [f"{when},100,101,99,100.5,{volume!r}" for when, volume in coins()]
    file.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    options = ("--latency", "none", "--replay", str(file), "--replay-symbol", "COIN")
    with service_stack(servers.group, servers.folder, dsn, *options) as stack:
        yield stack


def fetched(stack: ServiceStack) -> None:
    job = stack.finished(stack.backfill(symbol="COIN", timeframe="1m", start="2024-01-02T00:00:00Z"))
    assert job["status"] == "succeeded", job


def volumes(stack: ServiceStack) -> list[float]:
    return [row.volume for row in stack.rows("SELECT volume FROM bars_minute ORDER BY ts")]


def unit(stack: ServiceStack) -> tuple[str, str]:
    body = stack.session()
    return body["volume_unit"], body["volume_unit_evidence"]


def covered_in(stack: ServiceStack, symbol: str, timeframe: str = "1m", **more: Any) -> tuple[str | None, int]:
    query = {"symbol": symbol, "timeframe": timeframe, "start": "2024-01-03T00:00:00Z", "end": "2024-01-05T00:00:00Z"}
    answer = stack.client.get("/api/v1/market-data/historical/coverage", params=query | more)
    assert answer.status_code == 200, answer.text
    return answer.json()["volume_unit"], answer.json()["data_version"]


def logged(stack: ServiceStack, action: str) -> list[dict[str, Any]]:
    return [line for line in stack.log() if line["message"] == action]


def test_a_replay_of_fractions_gives_exactly_the_volumes_of_the_file(coin: ServiceStack) -> None:
    coin.start_bridge()
    fetched(coin)
    assert volumes(coin) == [volume for _, volume in coins()]
    assert unit(coin) == ("shares", "stated")
    assert covered_in(coin, "COIN")[0] == "shares"
    assert coin.rows("SELECT 1 FROM bar_revisions UNION ALL SELECT 1 FROM volume_units") == []


def test_what_nobody_knows_is_stored_as_it_came_said_so_and_revised_when_a_person_knows(coin: ServiceStack) -> None:
    """Without the control port nobody states a unit, and so few coins prove nothing."""
    own = [volume for _, volume in coins()]
    coin.start_bridge(control_port="0")
    fetched(coin)
    assert volumes(coin) == own
    assert unit(coin) == ("unknown", "none")
    assert covered_in(coin, "COIN")[0] == "unknown"
    (version,) = [row.data_version for row in coin.rows("SELECT data_version FROM series")]
    assert logged(coin, "volume-unit-not-compared")
    before = coin.bars(symbol="COIN", timeframe="1m", start="2024-01-03T00:00:00Z", end="2024-01-05T00:00:00Z")

    coin.stop_bridge()
    coin.start_bridge(control_port="0", stock_volume_unit="lots")
    coin.wait(lambda: logged(coin, "volumes-revised"), "the bars are put right")
    lots = [round(volume * 100, 3) for volume in own]
    assert volumes(coin) == lots
    assert unit(coin) == ("lots", "setting")
    body, risen = covered_in(coin, "COIN")
    assert body == "shares"
    assert risen > version
    assert [row.volume for row in coin.rows("SELECT volume FROM bar_revisions ORDER BY ts")] == own
    after = coin.bars(symbol="COIN", timeframe="1m", start="2024-01-03T00:00:00Z", end="2024-01-05T00:00:00Z")
    assert [row["volume"] for row in after["candles"]] == [round(row["volume"] * 100, 3) for row in before["candles"]]

    coin.stop_bridge()
    coin.start_bridge(control_port="0", stock_volume_unit="shares")
    coin.wait(lambda: logged(coin, "volumes-revised"), "the person has changed their mind")
    assert volumes(coin) == own
    (changed,) = logged(coin, "volume-unit-changed")
    assert (changed["was"], changed["unit"], changed["evidence"]) == ("lots", "shares", "setting")
    change = coin.session()["activity"]["volume_unit_change"]
    assert (change["was"], change["is"], change["evidence"]) == ("lots", "shares", "setting")


def test_what_an_earlier_release_guessed_is_put_right_by_evidence(coin: ServiceStack) -> None:
    """It took one fraction for lots, and multiplied every volume that came after."""
    coin.start_bridge()
    fetched(coin)
    coin.stop_bridge()
    coin.rows("UPDATE bars_minute SET volume = volume * 100.0::float8 RETURNING 1")
    coin.rows('UPDATE ib_sessions SET activity = \'{"stock_volume_unit": "lots"}\' RETURNING 1')
    coin.start_bridge(control_port="0")
    assert covered_in(coin, "COIN")[0] == "unknown"
    assert logged(coin, "volumes-were-guessed")
    coin.stop_bridge()
    coin.start_bridge()
    coin.wait(lambda: logged(coin, "volumes-revised"), "the bars are put right")
    assert volumes(coin) == [volume for _, volume in coins()]
    assert covered_in(coin, "COIN")[0] == "shares"


@pytest.mark.parametrize("sent", ["shares", "lots"])
@pytest.mark.parametrize("control", [True, False], ids=["stated", "compared"])
def test_the_unit_is_stated_by_the_simulator_or_found_by_asking_twice(
    servers: SimpleNamespace, dsn: str, sent: str, control: bool
) -> None:
    with service_stack(servers.group, servers.folder, dsn, *SIM, "--volume", sent) as stack:
        stack.start_bridge(**({} if control else {"control_port": "0"}))
        stack.wait(lambda: unit(stack)[0] == (sent if control else "unknown"), "what is known before the first bars")
        assert stack.finished(stack.backfill(**WEEK))["status"] == "succeeded"
        stack.wait(lambda: unit(stack) == (sent, "stated" if control else "compared"), "the unit is told")
        con_id = stack.rows("SELECT con_id FROM instruments")[0].con_id
        there = [row.volume for row in stack.rows("SELECT volume FROM bars_coarse ORDER BY ts")]
        assert len(there) == 35
        bars = own_bars(stack, con_id, "TRADES", WEEK["start"], WEEK["end"], rth=True, size="1h")
        own = [bar.volume for bar in bars]
        assert there == ([volume // 100 * 100 for volume in own] if sent == "lots" else own)
        assert stack.rows("SELECT 1 FROM bar_revisions UNION ALL SELECT 1 FROM volume_units") == []
        requested = [row.outcome for row in stack.rows("SELECT outcome FROM ib_requests WHERE kind = 'volumes'")]
        assert requested == ([] if control else ["ok", "ok"])


def test_a_stock_that_cannot_be_compared_keeps_no_other_one_from_it(servers: SimpleNamespace, dsn: str) -> None:
    """The first series of unknown unit is of a stock that IB does not know any more."""
    with service_stack(servers.group, servers.folder, dsn, *SIM, "--volume", "lots") as stack:
        with stack.db.transaction() as cursor:
            instruments.store(cursor, stock(7, "GONE"), {})
            row = series.find_or_make(cursor, 7, timeframe("1h"), price="TRADES", session="rth")
            taken = {"series": row.id, "login": stack.sim.ready.get("account", "SIM7")}
            cursor.execute(
                "INSERT INTO volume_units (series_id, login, unit, evidence, ranges)"
                " VALUES (%(series)s, %(login)s, 'unknown', 'none', '{[0,1)}')",
                taken,
            )
        stack.start_bridge(control_port="0")
        stack.wait(lambda: logged(stack, "volume-unit-not-compared"), "the first one was tried")
        assert stack.finished(stack.backfill(**WEEK))["status"] == "succeeded"
        stack.wait(lambda: unit(stack) == ("lots", "compared"), "the other one tells")
        stack.wait(lambda: covered_in(stack, "AAPL", "1h")[0] == "shares", "its bars are put right")
