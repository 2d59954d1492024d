"""What `make demo` and `make up` are told, and what they make of it."""

import argparse
from pathlib import Path

import pytest

from dev.sources import Gateway, Generated, Replay, gateway_of, parser, source_of


def options(*words: str) -> argparse.Namespace:
    made = parser("make up", "")
    made.add_argument("--ib", type=gateway_of)
    return made.parse_args(list(words))


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    file = tmp_path / "My bars (2024).csv.gz"
    file.touch()
    return file


def test_without_words_the_market_is_simulated() -> None:
    assert source_of(options()) == Generated()
    assert source_of(options()).folder == "sim"


def test_a_file_has_a_folder_of_its_own(bars: Path) -> None:
    source = source_of(options("--replay", str(bars), "--symbol", "6EH4", "--stamp", "close", "--price", "TRADES"))
    assert source == Replay(bars, "6EH4", "close", "TRADES")
    assert source.folder == "replay-My-bars-2024-"


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
    ],
)
def test_what_makes_no_sense_is_refused_with_the_next_step(words: list[str], sentence: str, bars: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        source_of(options(*(word.format(bars=bars) for word in words)))
    assert sentence in str(refused.value)


@pytest.mark.parametrize("text", ["4002", "host:", ":4002", "host:0", "host:65536", "host:gateway"])
def test_a_gateway_is_host_and_port(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--ib", text)
    assert f"'{text}' is not host:port" in capsys.readouterr().err
