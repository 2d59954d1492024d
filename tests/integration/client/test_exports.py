"""Downloads of exports: begun again where they ended, and never wrong under a final name."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nautilus_client import cli, exports
from nautilus_client.cli.tree import parse
from nautilus_client.client import Client
from nautilus_client.errors import BrokenAnswer, ChecksumMismatch, Invalid
from nautilus_client.exports import Export
from nautilus_client.retry import RetryPolicy
from tests.support.client_server import PATIENCE_S, ROOT, Wire, api_key, served, wire
from tests.support.export_world import FIRST, NOW, ExportWorld, always_open, bar, needs_pyarrow
from tests.support.markets import DAY, HOUR
from tests.support.stored_bars import StoredBars, stock

pytestmark = needs_pyarrow
DAYS = 60
ONCE = RetryPolicy(tries=1)
AGAIN = RetryPolicy(tries=3, first_wait_s=0.01)


@pytest.fixture
def world(dsn: str, tmp_path: Path) -> Iterator[ExportWorld]:
    """Hours of two months."""
    stored_bars = StoredBars(dsn, NOW)
    always_open(stored_bars)
    hours = [bar(FIRST + n * HOUR, n) for n in range(DAYS * 24)]
    stored_bars.record(stock(1, "AAPL", "TEST:AAPL"), "1h", hours, settled=[(FIRST, FIRST + DAYS * DAY)])
    yield ExportWorld(stored_bars, tmp_path)
    stored_bars.close()


@pytest.fixture
def url(world: ExportWorld) -> Iterator[str]:
    with served(world.app()) as found:
        yield found


@pytest.fixture
def key(world: ExportWorld) -> str:
    return api_key(world.stored_bars.db, "exports:write", "bars:read")


@pytest.fixture
def made(world: ExportWorld, url: str, key: str, capsys: pytest.CaptureFixture[str]) -> Export:
    """An export of one CSV file, which is done."""
    with Client(url, key) as client, world.task():
        states: list[str] = []
        found = client.exports.start(
            symbols=["AAPL"], timeframes=["1h"], layout="flat", format="csv", compression="none"
        )
        found.wait(timeout=PATIENCE_S, progress=lambda one: states.append(one.status))
        found.wait(progress=True)
    assert found.status == "done", world.log()
    assert states[-1] == "done"
    assert capsys.readouterr().err == f"done  1/1 files  {DAYS * 24:,} bars\n"
    return found


def content(world: ExportWorld, made: Export) -> tuple[str, bytes]:
    """The path of the only file, and what it holds."""
    [one] = made.files
    return str(one["path"]), (world.folder_of(made.id) / one["path"]).read_bytes()


def of_file(line: Wire) -> list[str]:
    """The heads of requests for the file itself."""
    return [head for head in line.heads if ".csv" in head.split("\r\n")[0]]


def cut_once(share: float, then: Callable[[bytes], bytes] = bytes) -> Callable[[int, bytes], bytes]:
    """Cuts the first answer that is a CSV file after a share of its body; `then` gets the answers after it."""
    cut: list[int] = []

    def cutting(number: int, answer: bytes) -> bytes:
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"octet-stream" not in head or body.startswith(b"{"):
            return answer
        if cut:
            return then(answer)
        cut.append(number)
        return head + b"\r\n\r\n" + body[: int(len(body) * share)]

    return cutting


def test_a_download_that_is_cut_goes_on_where_it_ended(
    world: ExportWorld, made: Export, url: str, key: str, tmp_path: Path
) -> None:
    path, expected = content(world, made)
    with wire(url, cut_once(0.5)) as line, Client(line.url, key, policy=AGAIN) as client:
        found = client.exports.get(made.id).download(tmp_path / "here")
        first, second = of_file(line)
    assert "range:" not in first.lower()
    assert f"range: bytes={len(expected) // 2}-" in second.lower(), "nothing that has come is fetched again"
    assert "if-range:" in second.lower()
    assert (tmp_path / "here" / path).read_bytes() == expected
    assert [one.name for one in found] == [Path(path).name, "coverage.json", "manifest.json"], "the manifest is last"
    assert exports.verify(tmp_path / "here") == []


def test_a_second_download_fetches_no_file_that_is_right(
    world: ExportWorld, made: Export, url: str, key: str, tmp_path: Path
) -> None:
    path, expected = content(world, made)
    with wire(url, lambda n, answer: answer) as line, Client(line.url, key) as client:
        client.exports.get(made.id).download(tmp_path / "here")
        (tmp_path / "here" / path).write_bytes(expected[:-1] + b"9")
        client.exports.get(made.id).download(tmp_path / "here")
        client.exports.get(made.id).download(tmp_path / "here")
        assert len(of_file(line)) == 2, "the first, and the one that was wrong"
    assert (tmp_path / "here" / path).read_bytes() == expected


def test_a_part_of_another_file_is_not_glued_to_this_one(
    world: ExportWorld, made: Export, url: str, key: str, tmp_path: Path
) -> None:
    path, _ = content(world, made)
    part = tmp_path / f"{path}.part"
    part.write_bytes(b"of an older version")
    with Client(url, key) as client, pytest.raises(ChecksumMismatch):
        client.exports.get(made.id).download(tmp_path)
    assert not part.exists(), "what is wrong in it is not known"
    assert not (tmp_path / path).exists()
    with Client(url, key) as client:
        client.exports.get(made.id).download(tmp_path)
    assert exports.verify(tmp_path) == []


def test_a_file_with_a_flipped_byte_gets_no_name_and_verify_finds_it(
    world: ExportWorld, made: Export, url: str, key: str, tmp_path: Path
) -> None:
    path, expected = content(world, made)
    good, bad = tmp_path / "good", tmp_path / "bad"
    with Client(url, key) as client:
        client.exports.get(made.id).download(good)
    flipped = expected[:100] + bytes([expected[100] ^ 1]) + expected[101:]
    (good / path).write_bytes(flipped)
    (world.folder_of(made.id) / path).write_bytes(flipped)
    assert [word.split()[0] for word in exports.verify(good)] == [path]
    with Client(url, key) as client, pytest.raises(ChecksumMismatch) as wrong:
        client.exports.get(made.id).download(bad)
    assert exports.sha256(good / path)[:12] in str(wrong.value)
    assert list(bad.iterdir()) == [], "neither the file, nor a part of it, nor a manifest"


def test_a_download_that_is_always_cut_raises_and_keeps_what_has_come(
    world: ExportWorld, made: Export, url: str, key: str, tmp_path: Path
) -> None:
    path, expected = content(world, made)
    with wire(url, cut_once(0.25)) as line, Client(line.url, key, policy=ONCE) as client, pytest.raises(BrokenAnswer):
        client.exports.get(made.id).download(tmp_path)
    assert (tmp_path / f"{path}.part").read_bytes() == expected[: len(expected) // 4]
    assert [one.name for one in tmp_path.glob("*") if one.suffix in (".csv", ".json")] == []


def test_ctrl_c_leaves_a_part_and_the_same_command_goes_on(
    world: ExportWorld, made: Export, url: str, key: str, tmp_path: Path
) -> None:
    path, expected = content(world, made)
    folder, part = tmp_path / "here", tmp_path / "here" / f"{path}.part"
    held, go_on = threading.Event(), threading.Event()

    def hold(answer: bytes) -> bytes:
        held.set()
        go_on.wait(PATIENCE_S)
        return answer

    with wire(url, cut_once(0.5, hold)) as line:
        # Whoever runs the tests in the background may ignore SIGINT, and children inherit that.
        python = ["env", "--default-signal=INT", sys.executable]
        command = [*python, "-m", "nautilus_client", "--url", line.url, "export", "get", made.id, str(folder)]
        environment = {**os.environ, "NAUTILUS_API_KEY": key}
        running = subprocess.Popen(
            command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert held.wait(PATIENCE_S), "the command has half of the file, and waits for the rest"
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE_S)
        assert (running.returncode, out) == (cli.INTERRUPTED, "")
        assert f"nautilus export get {made.id} {folder}" in err
        assert part.read_bytes() == expected[: len(expected) // 2]
        go_on.set()
        again = subprocess.run(
            [*command, "--json"], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert f"range: bytes={len(expected) // 2}-" in of_file(line)[-1].lower()
    assert len(json.loads(again.stdout)["files"]) == 3
    assert not part.exists()
    assert exports.verify(folder) == []


@pytest.mark.parametrize(("layout", "beside"), [("hive", "views.sql"), ("nautilus-trader-1.x", "README.txt")])
def test_a_download_brings_coverage_and_how_to_read_it_and_the_command_names_gaps(
    world: ExportWorld,
    url: str,
    key: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    layout: str,
    beside: str,
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *given: None)  # which is for a process of its own
    monkeypatch.setenv("NAUTILUS_API_KEY", key)
    late = FIRST + (DAYS + 2) * DAY
    last = [bar(late + n * HOUR, n) for n in range(24)]
    world.stored_bars.record(stock(1, "AAPL", "TEST:AAPL"), "1h", last, settled=[(late, late + DAY)])
    command = ["--url", url, "export", "start", "AAPL", "-t", "1h", "--layout", layout]
    assert cli.main([*command, "--dry-run"]) == cli.OK
    summary, gaps, fill = capsys.readouterr().out.splitlines()
    assert summary.startswith("1,464 bars, series: 1, files: ")
    assert gaps == "AAPL.NASDAQ 1h TRADES rth has gaps, the first from 2024-03-01T00:00:00Z"
    assert fill.split()[:4] == ["nautilus", "backfill", "start", "AAPL.NASDAQ"]
    assert vars(parse(fill.split()[1:])).items() >= {"symbol": ["AAPL.NASDAQ"], "end": "2024-03-03T00:00:00Z"}.items()
    assert cli.main(command) == cli.OK
    begun = capsys.readouterr()
    assert begun.out.split()[1:3] == ["queued", "0/1" if layout == "hive" else "0/3"]
    assert f"`nautilus export get {begun.out.split()[0]} FOLDER`" in begun.err
    with world.task():
        assert cli.main([*command, "--get", str(tmp_path / "here")]) == cli.OK
    assert "AAPL.NASDAQ 1h TRADES rth has gaps: coverage.json lists them, and why\n" in capsys.readouterr().err
    assert {one.name for one in (tmp_path / "here").iterdir()} >= {"manifest.json", "coverage.json", beside}
    assert not list((tmp_path / "here").rglob("*.part"))


def test_requests_are_typed_and_a_dry_run_writes_nothing(
    world: ExportWorld, url: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MOST_LISTED", 1)
    with Client(url, key) as client:
        tried = client.exports.start(symbols=["AAPL"], timeframes=["1h"], dry_run=True).as_dict()
        assert tried["bars"] == DAYS * 24
        assert client.exports.list() == []
        with pytest.raises(Invalid) as wrong:
            client.exports.start(symbols=["AAPL"], format="xls")
        assert "format" in json.dumps(wrong.value.errors)
        begun = [client.exports.start(symbols=["AAPL"], split=split).id for split in ("none", "year", "month")]
        assert [one.id for one in client.exports.list()] == begun[::-1], "all pages, the newest first"
        with pytest.raises(TypeError, match="no compresion"):
            client.exports.start(symbols=["AAPL"], compresion="zstd")


def test_a_lost_answer_makes_no_second_export_and_one_can_be_stopped_and_removed(
    world: ExportWorld, url: str, key: str
) -> None:
    def lose(number: int, answer: bytes) -> bytes:
        return answer[:20] if number == 1 else answer

    with wire(url, lose) as line, Client(line.url, key, policy=AGAIN) as client:
        found = client.exports.start(symbols=["AAPL"], timeframes=["1h"])
        assert [one.id for one in client.exports.list()] == [found.id]
        keys = [row.lower() for head in line.heads[:2] for row in head.split("\r\n") if row.lower().startswith("idemp")]
        assert len(keys) == 2
        assert len(set(keys)) == 1
        with world.task():
            found.stop().wait(timeout=PATIENCE_S)
        assert found.status in ("stopped", "done")
        found.delete()
