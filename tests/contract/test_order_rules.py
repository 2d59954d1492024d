"""docs/orders.md tells the rules of orders as the code has them: types, checks, limits, and the way a refusal is built."""

from decimal import Decimal

from nautilus.orders.check_case import plain
from nautilus.orders.checks import CHECKS
from nautilus.orders.limits import LIMITS, Limit
from nautilus.orders.ticket import TYPES, OrderType
from tests.contract.test_documents import DOCS, rows

PAGE = (DOCS / "orders.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The rows below the heading row that begins with this cell."""
    every = list(rows(PAGE))
    (start,) = [n for n, cells in enumerate(every) if cells[0] == heading]
    found = []
    for cells in every[start + 2 :]:
        if len(cells) != len(every[start]) or set(cells[0]) <= set("-: "):
            break
        found.append(cells)
    return found


def test_every_type_is_told_with_its_prices_and_times_in_force():
    expected = [
        [f"`{name}`", rule.limit, rule.stop, "yes" if rule.trail else "no", " ".join(sorted(rule.tifs))]
        for name, rule in TYPES.items()
    ]
    assert table("type") == expected
    assert set(TYPES) == set(OrderType)


def test_every_check_is_told_as_the_table_in_the_code_has_it():
    expected = [
        [
            str(row.number),
            " ".join(f"`{code}`" for code in row.codes),
            row.where,
            "checked" if row.reducing else "skipped",
            "yes" if row.exits else "no",
        ]
        for row in CHECKS
    ]
    documented = table("check")
    assert [cells[:-1] for cells in documented] == expected
    assert all(cells[-1] for cells in documented)


def test_the_checks_of_orders_that_flatten_are_told():
    *first, last = [str(row.number) for row in CHECKS if row.kill]
    assert f"when their entry ended in part, pass only {', '.join(first)} and {last}." in PAGE


def limit_row(name: str, limit: Limit) -> list[str]:
    return [f"`{name}`", shown(limit.live), shown(limit.paper), limit.unit, limit.text]


def shown(value: Decimal | None) -> str:
    return "none" if value is None else f"{value:,f}" if value >= 1000 else plain(value)


def test_every_limit_is_told_with_its_defaults():
    expected = [limit_row(name, limit) for name, limit in LIMITS.items()]
    rendered = "\n".join(f"| {' | '.join(cells)} |" for cells in expected)
    assert table("name") == expected, f"docs/orders.md, Limits:\n{rendered}"


def test_another_default_would_be_seen():
    name, limit = next(iter(LIMITS.items()))
    assert limit_row(name, limit._replace(paper=Decimal(1))) not in table("name")
