"""The command `nautilus`: what it prints, its exit codes, and that `--json` is JSON alone."""

import argparse
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nautilus_client import cli, profiles
from nautilus_client.cli.tree import parser_of
from nautilus_client.client import Client
from tests.integration.client.conftest import NOW
from tests.integration.client.test_bars import limited, minutes
from tests.integration.reading.test_pages import START
from tests.support.client_server import served, wire
from tests.support.markets import DAY
from tests.support.stored_bars import StoredBars, stock

WINDOW = ["--start", "2024-01-08", "--end", "2024-01-09"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def day(stored_bars: StoredBars) -> StoredBars:
    stored_bars.record(stock(), "1m", minutes(START, 390), settled=[(START - DAY, NOW)])
    return stored_bars


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against the served app; returns exit code, output and error output."""
    monkeypatch.setattr(signal, "signal", lambda *given: None)  # which is for a process of its own

    def call(*arguments: str, at: str = url) -> tuple[int, str, str]:
        try:
            code = cli.main(["--url", at, "--retries", "1", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def test_bars_as_a_table_csv_and_lines(day: StoredBars, run: Run) -> None:
    code, out, err = run("bars", "AAPL", *WINDOW)
    assert code == cli.OK
    assert out.splitlines()[0].split()[:3] == ["time", "(UTC)", "open"]
    assert out.count("\n") == 42, "20 at the beginning, 20 at the end, what is left out, and the heading"
    assert "AAPL.NASDAQ 1m TRADES rth: version 1" in err
    code, out, _ = run("bars", "AAPL", *WINDOW, "--csv")
    assert out.splitlines()[:2] == [
        "ts,open,high,low,close,volume,vwap,trades",
        "2024-01-08T14:30:00Z,100.0,101.25,99.0,100.0,,,0",
    ]
    code, out, _ = run("bars", "AAPL.NASDAQ", *WINDOW, "--ndjson")
    assert len([json.loads(line) for line in out.splitlines()]) == 390
    _, out, _ = run("bars", "AAPL", *WINDOW, "--tz", "exchange", "--limit", "1")
    assert out.startswith("time (exchange)")
    assert "2024-01-08 09:30:00" in out


def test_a_file_has_its_name_when_it_is_whole(day: StoredBars, run: Run, tmp_path: Path) -> None:
    for ending in ("csv", "ndjson", "json"):
        code, _, err = run("bars", "AAPL", *WINDOW, "-o", str(tmp_path / f"aapl.{ending}"))
        assert code == cli.OK, err
    assert len((tmp_path / "aapl.csv").read_text().splitlines()) == 391
    assert len(json.loads((tmp_path / "aapl.json").read_text())["bars"]) == 390
    code, _, err = run("bars", "AAPL", *WINDOW, "-o", str(tmp_path / "aapl.xls"))
    assert (code, "the ending says the form" in err) == (cli.FAILED, True)
    assert not list(tmp_path.glob("*.part"))


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_fetched(
    day: StoredBars, run: Run, url: str, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    refused = {
        "the ending says the form": ["-o", str(tmp_path / "aapl.xls")],
        f"there is no folder {nowhere}": ["-o", str(nowhere / "aapl.csv")],
        "one file holds one series": ["MSFT", "-o", str(tmp_path / "both.csv")],
        "pip install 'nautilus-client[arrow]'": ["-o", str(tmp_path / "aapl.parquet")],  # not in this environment
        "this needs pyarrow:": ["--arrow"],
    }
    with wire(url, lambda n, answer: answer) as line:
        for words, given in refused.items():
            code, out, err = run("bars", "AAPL", *given, *WINDOW, "--fill", at=line.url)
            assert (code, out) == (cli.FAILED, "")
            assert words in err
        assert line.requests == []
        assert run("bars", "AAPL", *WINDOW, "-o", str(tmp_path / "aapl.csv"), at=line.url)[0] == cli.OK
        assert line.requests != []


def test_who_does_not_want_what_is_missing_has_nothing_fetched(day: StoredBars, tmp_path: Path) -> None:
    import functions.backfill.app

    app = day.app(tmp_path)
    app.include_router(functions.backfill.app.router)
    early = ["--start", "2024-01-03", "--end", "2024-01-09"]
    leader, follower = pty.openpty()
    os.write(leader, b"n\n")
    with served(app) as url:
        done = subprocess.run(
            [sys.executable, "-m", "nautilus_client", "--url", url, "bars", "AAPL", *early, "--fill", "--csv"],
            env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
            stdin=follower,
            stdout=subprocess.PIPE,
            stderr=follower,
            check=True,
        )
        seen = os.read(leader, 10_000).decode()
        assert "1,170 to fetch: " in seen
        assert "Fetch? [Y/n]" in seen
        assert done.stdout.count(b"\n") == 391
        assert day.rows("SELECT count(*) FROM backfill_jobs") == [(0,)]
        with Client(url) as client:
            len(client.bars("AAPL", "1m", start=early[1], end=early[3]))
        assert day.rows("SELECT count(*) FROM backfill_jobs") == [(1,)], "a read without a question has it fetched"
    os.close(follower)
    os.close(leader)


NOBODY = "9e107d9d-0000-0000-0000-000000000000"
COMMANDS = [
    ["bars", "AAPL", *WINDOW],
    ["bars", "AAPL", "AAPL.NASDAQ", *WINDOW],
    ["coverage", "AAPL", *WINDOW],
    ["coverage", "AAPL", *WINDOW, "--map"],
    ["explain", "AAPL", "2024-01-08T15:00:00Z"],
    ["series"],
    ["calendar", "AAPL", "--start", "2024-01-08", "--end", "2024-01-10"],
    ["instruments"],
    ["cache", "info"],
    ["cache", "clear"],
    ["config"],
    ["config", "get", "url"],
    ["completion", "bash"],
    ["doctor"],
    ["export", "list"],
    ["orders", "list"],
    ["positions"],
    ["session"],
    ["budget"],
    ["watch", "--once"],
    ["whoami"],
    ["strategies", "list"],
    ["backfill", "status"],
    ["backfill", "dry-run", "AAPL", "-t", "1h", *WINDOW],
    ["backfill", "start", "AAPL", "-t", "1h", *WINDOW],
    *(["backfill", action, NOBODY] for action in ("show", "chunks", "stop", "watch")),
    ["export", "start", "AAPL", "--dry-run"],
    *(["export", action, NOBODY] for action in ("status", "stop")),
    ["export", "get", NOBODY, "nowhere"],
    ["export", "verify", "nowhere"],
    *(["orders", side, "AAPL", "10", "--preview"] for side in ("buy", "sell")),
    *(["orders", action, NOBODY] for action in ("show", "events", "cancel", "cancel-all")),
    ["strategies", "backtests"],
    *(["strategies", action, NOBODY] for action in ("show", "pause", "resume", "stop", "flatten")),
    ["live", "AAPL", "--count", "1"],
    ["kill", "a test"],
    ["incidents"],
    ["login", "--name", "ann", "--password-stdin"],
    ["logout"],
    ["demo"],
    ["bars", "AAPL", "--start", "yesterday"],
    ["bars", "AAPL", "--price", "NONE"],
]


def test_json_is_json_alone_also_for_an_error(day: StoredBars, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in COMMANDS:
        monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
        _, out, _ = run(*words, "--json")
        try:
            json.loads(out)
        except ValueError:
            pytest.fail(f"{' '.join(words)}: {out[:200]!r}")


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command, with those of its actions."""
    branches = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not branches:
        yield words
    for branch in branches:
        for name, inner in branch.choices.items():
            yield from leaves(inner, (*words, name))


def test_every_command_is_among_those_whose_json_is_tested() -> None:
    found = set(leaves(parser_of()))
    assert len(found) > 40
    tested = {tuple(words[:length]) for words in COMMANDS for length in (1, 2)}
    assert found - tested == set()


def arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What may be given to each command, and to each of its actions."""
    for one in parser._actions:
        if isinstance(one, argparse._SubParsersAction):
            for inner in one.choices.values():
                yield from arguments(inner)
        else:
            yield one


def test_help_explains_every_argument_of_every_command() -> None:
    found = list(arguments(parser_of()))
    assert len(found) > 400
    assert [one.dest for one in found if not one.help] == []


def test_json_is_json_alone_with_a_terminal_on_the_error_output(day: StoredBars, url: str) -> None:
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "nautilus_client", "--url", url, "bars", "AAPL", *WINDOW, "--json"],
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=follower,
        check=True,
    )
    os.close(follower)
    os.close(leader)
    assert len(json.loads(done.stdout)["bars"]) == 390


# ---- exit codes ------------------------------------------------------------------------------------------------------


def test_exit_codes_tell_what_became_of_it(day: StoredBars, run: Run, url: str, tmp_path: Path) -> None:
    assert run("bars", "AAPL", *WINDOW, "--require-complete")[0] == cli.OK
    assert run("bars", "AAPL", "--price", "NONE")[0] == cli.FAILED
    assert run("bars")[0] == cli.USAGE
    assert run()[0] == cli.USAGE
    early = ["--start", "2024-01-03", "--end", "2024-01-09", "--require-complete"]
    code, _, err = run("bars", "AAPL", *early)
    assert (code, "missing 2024-01-03" in err) == (cli.INCOMPLETE, True)
    assert run("session")[0] == cli.NOT_FOUND, "a route that this server does not have"
    with wire(url, lambda n, answer: limited("0").ljust(len(answer))) as line:
        assert run("bars", "AAPL", *WINDOW, at=line.url)[0] == cli.LIMITED
    with served(day.app(tmp_path, anonymous_scopes=())) as guarded:
        code, _, err = run("bars", "AAPL", *WINDOW, at=guarded)
        assert (code, "401 unauthorized" in err) == (cli.NOT_ALLOWED, True)
    with served(day.app(tmp_path, anonymous_scopes=("monitoring:read",))) as guarded:
        assert run("bars", "AAPL", *WINDOW, at=guarded)[0] == cli.NOT_ALLOWED


def test_what_is_missing_while_ib_is_away_has_an_exit_code_of_its_own(
    day: StoredBars, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import functions.monitoring.app

    early = ["--start", "2024-01-03", "--end", "2024-01-09", "--require-complete"]
    scopes = ("bars:read", "monitoring:read")
    app = day.app(tmp_path, anonymous_scopes=scopes)
    app.include_router(functions.monitoring.app.router)
    with served(app) as url:
        assert run("bars", "AAPL", *early, at=url)[0] == cli.INCOMPLETE
        assert run("session", at=url)[0] == cli.OK
        day.rows("UPDATE ib_sessions SET state = 'down' RETURNING 1")
        assert run("session", at=url)[0] == cli.IB_AWAY
        assert run("bars", "AAPL", *early, at=url)[0] == cli.IB_AWAY


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nautilus_client.cli import jobs

    def interrupted(context: Any) -> int:
        context.resume = "`nautilus backfill watch 7` follows it"
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "backfill", interrupted)
    code, out, err = run("backfill", "status")
    assert (code, out) == (cli.INTERRUPTED, "")
    assert err == "interrupted; `nautilus backfill watch 7` follows it\n"


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_no_key_is_in_what_is_traced_shown_or_wrong(
    day: StoredBars, run: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "nautilus_1a2b3c4d_thesecretpart"
    monkeypatch.setenv("NAUTILUS_API_KEY", key)
    for words in (["bars", "AAPL", *WINDOW, "--trace"], ["doctor", "--trace"], ["config"]):
        _, out, err = run(*words)
        assert "thesecretpart" not in out + err
    assert "GET /api/v1/market-data/" in run("bars", "AAPL", *WINDOW, "--trace")[2]


def test_a_key_that_others_can_read_is_refused_by_every_command(
    day: StoredBars, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *given: None)
    profiles.save(profiles.folder(), "local", {"url": url}, key="nautilus_1a2b3c4d_s")
    (profiles.folder() / profiles.SECRETS).chmod(0o644)
    assert cli.main(["bars", "AAPL", *WINDOW]) == cli.FAILED
    assert "chmod 600" in capsys.readouterr().err


def test_settings_of_a_profile_are_set_and_shown(run: Run) -> None:
    assert run("config", "set", "tries", "2")[0] == cli.OK
    assert run("config", "get", "tries")[1] == "2\n"
    assert run("config", "set", "tries", "many")[0] == cli.FAILED
    assert run("config", "set", "colour", "red")[0] == cli.FAILED


def test_a_day_has_one_character_on_the_map_and_a_legend_explains_it(day: StoredBars, run: Run) -> None:
    code, out, err = run("coverage", "AAPL", "--start", "2024-01-03", "--end", "2024-01-10", "--map")
    assert code == cli.OK
    name, frame, month, days = out.split()[:4]
    assert (name, frame, month) == ("AAPL.NASDAQ", "1m", "Jan")
    assert "#" in days
    assert "." in days or "q" in days
    assert err.startswith("a character for each day: # all there, - no session, ")
    assert all(f"{mark} " in err for mark in days)
    assert "! failed" not in err, "only what is on the map"


def test_months_on_a_map_stand_below_each_other_where_there_are_many(day: StoredBars, run: Run) -> None:
    _, out, _ = run("coverage", "AAPL", "--start", "2023-11-03", "--end", "2024-02-02", "--map")
    heading, *months = out.splitlines()
    assert heading.startswith("AAPL.NASDAQ 1m  390 bars, ")
    names = [line[2:10] for line in months]
    assert names == ["2023 Nov", "2023 Dec", "2024 Jan", "2024 Feb"]
    assert [len(line) - 12 for line in months[:3]] == [30, 31, 31], "the first line begins below its day of the month"
    assert months[0][12:15] == "  ."


def test_a_wrong_field_is_named_once(day: StoredBars, run: Run) -> None:
    _, _, err = run("bars", "AAPL", "--price", "NONE")
    assert (err.count("price:"), err.count("MIDPOINT"), err.count("\n")) == (1, 1, 1)
    _, _, err = run("bars", "AAPL", "--start", "2026-13-01")
    assert err == "nautilus: start: '2026-13-01': month must be in 1..12\n"
    _, _, err = run("explain", "AAPL", "2026-10-01")
    assert "write a time, such as 2026-10-01T14:30:00Z" in err


def test_who_has_enough_ends_the_command_without_a_word(day: StoredBars, url: str) -> None:
    command = f"{sys.executable} -m nautilus_client --url {url} bars AAPL {' '.join(WINDOW)} --ndjson | head -1"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["open"] == 100.0
    assert "Error" not in done.stderr


def test_the_password_is_read_from_the_input_and_an_address_is_needed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *given: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    assert cli.main(["login", "--name", "trader", "--password-stdin"]) == cli.FAILED
    assert "--url" in capsys.readouterr().err
