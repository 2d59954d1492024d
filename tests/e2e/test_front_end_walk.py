"""The walk through a built copy of the old front end finds what its page dies of.

The page here is a small one of our own, which calls the old routes and dies of the same answers; all else is real. Needs Chromium
and .venv-front-end (make front-end makes it).
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dev import front_end
from dev.front_end import PYTHON, report, served_api, walked
from dev.front_end_server import FrontEndServer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "tests" / "support" / "front_end"
TABS = ["first page", "Chart", "Interactive Brokers", "Engine", "Risk", "Portfolio"]
pytestmark = pytest.mark.skipif(
    not ((ROOT / PYTHON).exists() and Path(front_end.CHROMIUM).exists()),
    reason="no Chromium, or no .venv-front-end: make front-end DIST=... makes it",
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and key of an API whose account has an order and a trade."""
    with served_api(tmp_path_factory.mktemp("front-end")) as (stack, key):
        yield stack.url, key


def walk(api: tuple[str, str], **answers: Any) -> list[dict[str, Any]]:
    """answers: path -> what the page gets instead."""
    changed = {path: body if isinstance(body, str) else json.dumps(body) for path, body in answers.items()}
    with closing(FrontEndServer(PAGE, *api, answers=changed)) as server:
        return walked(server.url, python=ROOT / PYTHON)


def test_every_tab_is_opened_and_nothing_dies_of_real_answers(api: tuple[str, str]) -> None:
    found = walk(api)
    assert [tab["tab"] for tab in found] == TABS
    assert report(found) == 0, found
    answered = [line.split(" ", 2) for tab in found for line in tab["requests"]]
    statuses = {url.partition("/api/v1")[2].partition("?")[0]: status for status, _, url in answered}
    assert statuses["/ib/positions"] == statuses["/trades/"] == statuses["/market-data/historical/bars"] == "200"
    assert statuses["/nautilus/engine/status"] == "200"
    assert statuses["/risk/portfolio/default"] == "404", "without a past there is no beta"


# What the crash table of the page's contract has: the answer, and the tab that dies of it.
MUTANTS: list[tuple[str, Any, str]] = [
    ("/api/v1/historical/backfill/status", {"service_status": None}, "first page"),
    ("/api/v1/historical/backfill/status", {"controller": {"current_mode": None}}, "first page"),
    ("/api/v1/ib/positions", {"positions": [{"position": "10"}]}, "Interactive Brokers"),
    ("/api/v1/ib/orders", {"orders": [{"filled_quantity": None, "total_quantity": 1}]}, "Interactive Brokers"),
    ("/api/v1/trades/", {"trades": []}, "Interactive Brokers"),
    ("/api/v1/nautilus/engine/status", {"status": {"error": "away"}}, "Engine"),
    ("/api/v1/market-data/historical/bars", {"candles": [{"time": 1704465000}]}, "Chart"),
    ("/api/v1/risk/portfolio/default", {"total_exposure": "1", "beta": None}, "Risk"),
]


@pytest.mark.parametrize(("path", "answer", "dies"), MUTANTS)
def test_an_answer_that_the_page_dies_of_is_found(api: tuple[str, str], path: str, answer: Any, dies: str) -> None:
    found = walk(api, **{path: answer})
    assert [tab["tab"] for tab in found if tab["died"]][:1] == [dies]
    assert report(found) > 0


def test_a_folder_without_a_page_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no index\.html"):
        FrontEndServer(tmp_path, "http://127.0.0.1:1", "key")
