"""The script of docs/orders.md, run as it stands there against everything that `make up` starts: it prints what the page says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dev.order_desk import OrderDesk
from dev.sources import Generated
from dev.stack import Stack, stack_of

PAGE = (Path(__file__).parents[2] / "docs" / "orders.md").read_text()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose market is open."""
    with stack_of(tmp_path / "data", Generated(), simulator=("--latency", "none")) as stack:
        stack.start()
        with closing(OrderDesk(stack)) as desk:
            desk.open_market()
            desk.until_ready()
        yield stack


def block(language: str) -> str:
    """The first block in a language below Try it."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.partition("## Try it")[2], re.DOTALL | re.MULTILINE)
    return str(next(text for name, text in blocks if name == language))


def numberless(text: str) -> list[str]:
    """The lines with every number replaced, and without what the page leaves out at their ends."""
    return [re.sub(r"\d+(\.\d+)?", "N", line).partition(" ...")[0] for line in text.splitlines()]


def test_the_script_of_the_page_prints_what_the_page_says(opened: Stack, tmp_path: Path) -> None:
    script = tmp_path / "try_orders.py"
    script.write_text(block("python"))
    words = [sys.executable, str(script), opened.url, opened.password]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    printed, page = numberless(done.stdout), numberless(block(""))
    assert len(printed) == len(page), done.stdout
    for line, expected in zip(printed, page, strict=True):
        assert line.startswith(expected), done.stdout
