"""What each route of the old front end answers comes from the tables that docs/portfolio.md names for it, and from no others."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter

import functions.frontend.app
import functions.orders.app
import functions.portfolio.app
from nautilus.auth.scopes import ROUTES
from tests.contract.test_documents import rows
from tests.integration.portfolio import test_page_risk as risk
from tests.support.portfolio_api import instrument, portfolio
from tests.support.statements import Statements

PAGE = (Path(__file__).parents[2] / "docs" / "portfolio.md").read_text()
HEADING = "## What each old route answers, and from which rows"
WITHOUT = "These routes of its pages answer 404"
_FROM = re.compile(r"\b(?:FROM|JOIN)\s+(?:ONLY\s+)?([a-z_]+)")
CLOCK = {"ib_sessions"}
"""Market time is read from here."""
WORDS = {"{portfolio_id}": "default", "{symbol}": "SPY"}


def served() -> list[str]:
    """The page's routes that are read and have figures: of the functions frontend, portfolio and orders."""
    found = [path.removeprefix("/api/v1") for method, path in ROUTES if method == "GET"]
    wanted = (
        "/trades",
        "/performance/",
        "/execution/",
        "/risk/",
        "/portfolio/{",
        "/ib/account",
        "/ib/positions",
        "/ib/orders",
    )
    known = {getattr(route, "path", "") for route in PAGES.routes}
    own = [path for path in found if path.startswith(wanted) and f"/api/v1{path}" in known]
    return [
        path for path in own if not path.endswith(("/strategy-correlations", "/compare"))
    ]  # docs/strategies.md has them


PAGES = APIRouter()
for function in ("frontend", "orders", "portfolio"):
    PAGES.routes.extend(getattr(functions, function).app.router.routes)


def documented(page: str = PAGE) -> dict[str, set[str]]:
    """Route -> the tables that the page names for it."""
    part = page.partition(HEADING)[2].partition(WITHOUT)[0]
    (made_of,) = re.findall(r"\*A position\* is made of (.*?)\.\n", part)
    position, found = set(re.findall(r"`([a-z_]+)`", made_of)), dict[str, set[str]]()
    for cells in rows(part):
        for path in re.findall(r"`(?:GET )?(/[^`]*)`", cells[0]):
            found[path] = set(re.findall(r"`([a-z_]+)`", cells[-1])) | (
                position if "a position" in cells[-1] else set()
            )
    return found


def without_figures() -> list[str]:
    """The routes that do not exist, as the page lists them."""
    part = PAGE.partition(WITHOUT)[2].partition("\n### ")[0]
    return [path for cells in rows(part) for path in re.findall(r"`(/[^`]*)`", cells[0])]


@pytest.fixture
def page(dsn: str, tmp_path: Path) -> Iterator[risk.Page]:
    """An account with a past, positions, a round trip, an order, and a market that it is compared with."""
    with portfolio(dsn, tmp_path) as made:
        made.__class__ = risk.Page
        assert isinstance(made, risk.Page)
        made.page = made.stored.api(tmp_path, router=PAGES)
        with made.db.transaction() as cursor:
            instrument(cursor, risk.SPY, "SPY")
        risk.held(made)
        risk.past(made)
        made.fill(3, -5, "110")
        made.fill(4, 7, "100")
        yield made


def test_each_route_reads_the_tables_that_its_row_names(page: risk.Page, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        row.table_name
        for row in page.stored.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    }
    page.answer("/ib/account")
    found: dict[str, set[str]] = {}
    for path in served():
        with monkeypatch.context() as patched:
            statements = Statements(patched)
            whole = path
            for name, word in WORDS.items():
                whole = whole.replace(name, word)
            query: dict[str, Any] = {"chart_type": "correlation_matrix"} if path.startswith("/risk/charts") else {}
            answer = page.answer(whole, **query)
            assert answer.status_code == 200, f"{path}: {answer.text}"
            found[path] = {name for one in statements.texts for name in _FROM.findall(one)} & known - CLOCK
    assert found == documented()
    assert found != documented(PAGE.replace("`equity_days`, ", "", 1)), "a row that names one table less is found"


def test_every_route_has_a_row_and_no_row_is_left_over() -> None:
    assert set(documented()) == set(served())
    assert all(documented().values()), "each has a table"


@pytest.mark.parametrize("path", without_figures())
def test_a_route_without_figures_does_not_exist(page: risk.Page, path: str) -> None:
    whole = path.replace("{portfolio_id}", "default")
    for method in ("GET", "POST"):
        answer = page.page.request(method, f"/api/v1{whole}", headers=page.chief)
        assert (answer.status_code, isinstance(answer.json()["detail"], str)) == (404, True), answer.text
