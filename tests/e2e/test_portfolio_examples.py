"""The commands of docs/portfolio.md, run as they stand there against all that `make up` starts: they print what it says."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dev.order_desk import OrderDesk
from dev.sources import Generated
from dev.stack import Stack, stack_of

PAGE = (Path(__file__).parents[2] / "docs" / "portfolio.md").read_text().partition("## Try it")[2]
pytestmark = pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl")), reason="no jq, or no curl")


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
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(next(text for name, text in blocks if name == language))


def shape(text: str) -> list[str]:
    """The lines with every figure replaced."""
    return [re.sub(r"-?\d+(\.\d+)?", "N", re.sub(r"\d{4}-\d\d-\d\d", "DAY", line)) for line in text.splitlines()]


def test_the_commands_of_the_page_print_what_the_page_says(opened: Stack) -> None:
    script = block("bash").replace("http://127.0.0.1:8001", opened.url)
    assert "$(cat .data/sim/trader.password)" in script
    script = script.replace("$(cat .data/sim/trader.password)", opened.password)
    done = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert shape(done.stdout) == shape(block(""))
    assert shape(done.stdout) != shape(block("").replace("identity: holds", "identity: broken by 0.01", 1))
