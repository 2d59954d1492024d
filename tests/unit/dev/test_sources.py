"""What `make demo` and `make up` are told, and what they make of it."""

import argparse
from pathlib import Path

import pytest

from dev.sources import Gateway, Generated, Replay, gateway_of, parser, source_of

CASES = Path(__file__).parents[4] / "shared" / "cases"
ROWS = "".join(f"2026-03-03 15:{minute:02}:00,100,101,99,100.5,1000\n" for minute in range(8))
NIGHT = "".join(f"2026-03-03 10:{minute:02}:00,100,101,99,100.5,1000\n" for minute in range(8))
HEADER = "timestamp,open,high,low,close,volume\n"


def options(*words: str) -> argparse.Namespace:
    made = parser("make up", "")
    made.add_argument("--ib", type=gateway_of)
    return made.parse_args(list(words))


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    file = tmp_path / "My bars (2024).csv"
    file.write_text(HEADER + ROWS)
    return file


def replayed(file: Path, *words: str) -> Replay:
    source = source_of(options("--replay", str(file), *words))
    assert isinstance(source, Replay)
    return source


def refusal(*words: str) -> str:
    """The sentence with which the command line is refused; nothing has started by then."""
    with pytest.raises(SystemExit) as refused:
        source_of(options(*words))
    assert isinstance(refused.value.code, str), "a sentence, and so exit status 1"
    assert "\n" not in refused.value.code
    return refused.value.code


def test_without_words_the_market_is_simulated() -> None:
    assert source_of(options()) == Generated()
    assert source_of(options()).folder == "sim"


def test_a_file_has_a_folder_of_its_own(bars: Path) -> None:
    source = replayed(bars, "--symbol", "6EH4", "--stamp", "close", "--price", "trades")
    assert source.folder.startswith("replay-My-bars-2024-")
    assert source.selector == {"symbol": "6EH4", "asset_class": "FUT", "price": "TRADES"}
    folders = {
        source.folder,
        replayed(bars, "--symbol", "6EH4").folder,
        replayed(bars, "--symbol", "6EH4", "--zone", "Asia/Tokyo").folder,
    }
    bars.write_text(HEADER + ROWS.replace("1000", "1001"))
    folders.add(replayed(bars, "--symbol", "6EH4").folder)
    assert len(folders) == 4, "another file, or the same read in another way, has other bars"


def test_the_options_say_what_the_file_holds(bars: Path) -> None:
    words = ("--symbol", "btc", "--class", "crypto", "--session", "ALL", "--price", "aggtrades")
    source = replayed(bars, *words)
    chosen = {"symbol": "BTC/USD", "asset_class": "CRYPTO", "price": "AGGTRADES", "session": "all"}
    assert source.selector == chosen
    assert (source.bars_to_read, source.hint) == (8, "")
    tokyo = replayed(bars, "--symbol", "SPY", "--zone", "Asia/Tokyo", "--session", "all")
    assert f"{tokyo.content.start:%H:%M} {tokyo.content.end:%H:%M}" == "06:00 06:08"


def test_bars_outside_regular_hours_are_not_left_out_in_silence(bars: Path) -> None:
    bars.write_text(HEADER + NIGHT + ROWS)
    source = replayed(bars, "--symbol", "SPY")
    assert source.bars_to_read == 8
    assert source.hint.startswith("8 of the 16 bars of My bars (2024).csv lie outside the regular hours")
    assert all(word in source.hint for word in ("SESSION=all", "CLASS=CRYPTO", "ZONE=America/New_York", "UTC"))
    every = replayed(bars, "--symbol", "SPY", "--session", "all")
    assert (every.bars_to_read, every.hint) == (16, "")


def test_a_file_without_a_bar_in_regular_hours_is_refused_with_the_options(bars: Path) -> None:
    bars.write_text(HEADER + NIGHT)
    sentence = refusal("--replay", str(bars), "--symbol", "SPY")
    assert "no bar lies in regular hours: 8 of the 8 bars" in sentence
    assert "ZONE=America/New_York" in sentence
    assert replayed(bars, "--symbol", "SPY", "--zone", "America/New_York").bars_to_read == 8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("new-york-local.csv", "times without a zone are taken for UTC, and ZONE=America/New_York"),
        ("nan.csv", "nan.csv, row 5, column open: 'NaN'"),
        ("short-row.csv", "short-row.csv, row 5, column low: "),
        ("epoch-ms.csv", "epoch-ms.csv, row 2, column timestamp: '1772550000000'"),
        ("high-below-low.csv", "high-below-low.csv, row 5, column high: '100.20'"),
        ("hourly-as-minutes.csv", "hourly-as-minutes.csv, row 3, column timestamp: '2026-03-03 15:00:00'"),
    ],
)
def test_bad_files_beside_this_checkout_are_refused_before_anything_starts(name: str, words: str) -> None:
    if not (CASES / name).exists():
        pytest.skip(f"the small file {name} is not beside this checkout")
    assert words in refusal("--replay", str(CASES / name), "--symbol", "SPY", "--stamp", "open")


def test_a_gateway_has_a_folder_of_its_own() -> None:
    source = source_of(options("--ib", "10.0.0.7:4001"))
    assert source == Gateway("10.0.0.7", 4001)
    assert source.folder == "ib"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--replay", "nowhere.csv", "--symbol", "ES"], "there is no file nowhere.csv"),
        (["--replay", "{bars}"], "REPLAY needs SYMBOL="),
        (["--replay", "{bars}", "--symbol", "ES", "--ib", "h:1"], "a database holds one source"),
        (["--symbol", "ES"], "give REPLAY=path.csv.gz as well"),
        (["--zone", "Asia/Tokyo"], "give REPLAY=path.csv.gz as well"),
        (["--replay", "{bars}", "--symbol", "ES", "--class", "FUT"], "under its local symbol, such as ESH4"),
        (
            ["--replay", "{bars}", "--symbol", "SPY", "--price", "LAST"],
            "price 'LAST' of My bars (2024).csv is not one of",
        ),
        (["--replay", "{bars}", "--symbol", "SPY", "--zone", "Mars"], "zone 'Mars' of My bars (2024).csv is unknown"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_next_step(words: list[str], sentence: str, bars: Path) -> None:
    assert sentence in refusal(*(word.format(bars=bars) for word in words))


@pytest.mark.parametrize("text", ["4002", "host:", ":4002", "host:0", "host:65536", "host:gateway"])
def test_a_gateway_is_host_and_port(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--ib", text)
    assert f"'{text}' is not host:port" in capsys.readouterr().err
