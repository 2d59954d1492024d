"""`make demo` with files of bars: all of them come back, page by page, or it says why not and its status is not 0."""

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dev.api_client import Api
from dev.demo import ask, follow, read_bars, show
from dev.demo_requests import SeriesRequest, Window
from dev.demo_results import went_well
from dev.sources import parser, source_of
from dev.stack import USERNAME, Stack, stack_of

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'layers' / 'shared'}"}
HEADER = "volume,close,low,high,open,Timestamp"


def written(folder: Path, opens: list[dt.datetime]) -> Path:
    """A file with the columns in another order than usual, as many bars as there are times."""
    file = folder / "bars.csv"
    file.write_text("\n".join([HEADER, *(f"0.5,100.25,99,101,100,{at:%Y-%m-%d %H:%M:%S}" for at in opens)]) + "\n")
    return file


def minutes(count: int, start: str) -> list[dt.datetime]:
    begin = dt.datetime.fromisoformat(start)
    return [begin + dt.timedelta(minutes=n) for n in range(count)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A weekend of a coin, its newest bar first in the file."""
    folder = tmp_path_factory.mktemp("demo")
    file = written(folder, minutes(3 * 24 * 60, "2026-03-06 00:00")[::-1])
    source = source_of(parser("demo", "").parse_args(["--replay", str(file), "--symbol", "BTC/USD"]))
    with stack_of(folder / "data", source) as made:
        made.start()
        yield made


def test_every_bar_of_a_coin_comes_back_nights_and_weekend_too(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Api(stack.url)) as api:
        assert show(stack, api)
        words = capsys.readouterr().out
        assert "BTC/USD.PAXOS, AGGTRADES, replay:bars:" in words
        assert "4,320 bars in the range asked for" in words
        assert "nothing is missing" in words
        assert show(stack, api), "a second run has nothing to fetch"
        assert "nothing had to be fetched" in capsys.readouterr().out
        assert api.get("/api/v1/auth/me")["role"] == "trader"


def test_pages_are_followed_to_the_end(stack: Stack) -> None:
    start = dt.datetime(2026, 3, 6, 12, tzinfo=dt.UTC)
    window = Window(start, start + dt.timedelta(hours=1))
    with closing(Api(stack.url)) as api:
        api.sign_in(USERNAME, stack.password)
        series = SeriesRequest("BTC/USD", stack.source.selector)
        follow(stack, api, [ask(api, series, window)])
        paged = read_bars(api, series, window, page_size=25)
        assert (paged.pages, len(paged.candles), paged.complete, paged.missing) == (3, 60, True, [])
        assert paged.candles == read_bars(api, series, window).candles


def test_a_range_without_a_bar_is_not_called_a_success(stack: Stack) -> None:
    start = dt.datetime(2026, 2, 2, 12, tzinfo=dt.UTC)
    with closing(Api(stack.url)) as api:
        api.sign_in(USERNAME, stack.password)
        window = Window(start, start + dt.timedelta(hours=1))
        job = ask(api, SeriesRequest("BTC/USD", stack.source.selector), window)
        follow(stack, api, [job])
        assert not went_well(job, read_bars(api, job.series, window))


@pytest.mark.parametrize(
    ("start", "words", "sentence"),
    [
        ("2026-03-03 10:00", [], "ZONE=America/New_York"),
        ("2026-03-03 15:00", ["--class", "FUT"], "under its local symbol"),
    ],
)
def test_a_file_that_cannot_be_shown_ends_the_demo_with_one_line(
    tmp_path: Path, start: str, words: list[str], sentence: str
) -> None:
    file = written(tmp_path, minutes(8, start))
    command = [sys.executable, "-m", "dev.demo", "--data", str(tmp_path / "data"), "--replay", str(file)]
    done = subprocess.run(
        [*command, "--symbol", "SPY", *words], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert "nothing is missing" not in done.stdout
