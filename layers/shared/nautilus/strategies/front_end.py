"""The routes of strategies of the web front end that there was before: its words, over the same rows as our own routes.

What the page calls a strategy is a configuration; a run that was made without one is known by its own id.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.clock import NS_PER_DAY, microseconds_text, rfc3339
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.strategies import configs, hosts, listing, page, results, runs, templates
from nautilus.db.strategies.configs import ConfigRow
from nautilus.db.strategies.listing import RunFilter
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.templates import TemplateRow
from nautilus.errors import InvalidInput, NotFound
from nautilus.market.timeframes import ALL
from nautilus.strategies import hosts_up, page_words
from nautilus.strategies.desk import ALL_MODES, ON_LIVE_DATA, may_read, readable, usable_template
from nautilus.strategies.figures import EquityPoint
from nautilus.strategies.instruments import TRADABLE
from nautilus.strategies.options import run_options
from nautilus.strategies.parameter_check import checked
from nautilus.strategies.results_of_runs import fills
from nautilus.strategies.states import OVER

MOST_STRATEGIES = 200
BACKTEST_NS = 30 * NS_PER_DAY
"""Range of a back-test that names none."""


class Strategy(NamedTuple):
    """What the page means by an id. run: the newest of the configuration, or the run itself; None: it never ran."""

    config: ConfigRow | None
    run: RunRow | None

    @property
    def id(self) -> str:
        return str(self.config.id) if self.config else page_words.strategy_id_of(self.run) if self.run else ""

    @property
    def name(self) -> str:
        return self.config.name if self.config else self.run.name if self.run else ""


def strategy(cursor: Cursor, given: str, caller: Principal) -> Strategy:
    """A configuration with its newest run, or a run. NotFound for those of others."""
    found = find_strategy(cursor, given, caller)
    if found is None:
        raise NotFound(f"there is no strategy {given}", code="config-not-found")
    return found


def find_strategy(cursor: Cursor, given: str, caller: Principal) -> Strategy | None:
    try:
        number = UUID(given)
    except ValueError:
        return None
    config = configs.read(cursor, number)
    if config is not None and config.archived_at is None and (caller.admin or config.owner == caller.id):
        return Strategy(config, listing.newest_runs(cursor, [number]).get(number))
    row = runs.read(cursor, number)
    return Strategy(None, row) if row is not None and may_read(caller, row) else None


class StrategyPages:
    """Reads what the page shows."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def configurations(self, caller: Principal) -> list[dict[str, Any]]:
        """A bare list; empty where there is none."""
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            rows = listing.configs(cursor, None if caller.admin else caller.id, None, MOST_STRATEGIES)
            newest = listing.newest_runs(cursor, [row.id for row in rows])
        return [page_words.config_object(row, newest.get(row.id)) for row in rows]

    def configuration(self, given: str, caller: Principal) -> dict[str, Any]:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            found = strategy(cursor, given, caller)
            if found.config is None:
                raise NotFound(f"there is no strategy {given}", code="config-not-found")
            return page_words.config_object(found.config, found.run)

    def templates(self, *, category: str, search: str, tags: str) -> dict[str, Any]:
        """Templates that can be used. No template has tags, so that a wanted one has none."""
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            known = [one for one in templates.every_template(cursor) if one.error is None]
        shown = [one for one in known if not tags and _matches(one, category, search)]
        return {
            "templates": [page_words.template_object(one) for one in shown],
            "categories": sorted({page_words.category_of(one) for one in known}),
        }

    def template(self, template_id: str) -> dict[str, Any]:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            row = templates.read(cursor, template_id)
        if row is None:
            raise NotFound(f"there is no template {template_id}", code="template-not-found")
        return page_words.template_object(row)

    def validate(self, template_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in parameters.items() if name not in _OF_THE_FORM}
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            known = usable_template(cursor, template_id, "template_id")
        errors = []
        try:
            checked(known.parameter_schema, own)
        except InvalidInput as wrong:
            errors = [f"{one.field}: {one.detail}" for one in wrong.errors] or [wrong.detail]
        if not parameters.get(page_words.INSTRUMENT):
            errors.append(f"{page_words.INSTRUMENT}: is missing")
        return {"valid": not errors, "errors": errors}

    def instruments(self) -> list[str]:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            return page.tradable_names(cursor, sorted(TRADABLE))

    def timeframes(self) -> list[str]:
        """In the order of their length."""
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            known = set(page.timeframes(cursor))
        return [one.name for one in ALL if one.name in known]

    # ---- runs --------------------------------------------------------------------------------------------------------

    def status(self, given: str, caller: Principal) -> dict[str, Any]:
        with self._db.transaction(snapshot=True) as cursor:
            found = strategy(cursor, given, caller)
            up = page.up_seconds(cursor, found.run.id) if found.run else 0.0
            opened = _opened(cursor, found.run) if found.run else 0
        made = found.config or found.run
        assert made is not None  # noqa: S101  a strategy has one of both
        return page_words.status_object(found.run, made.created_at, opened=opened, uptime_s=up)

    def active(self, caller: Principal) -> dict[str, Any]:
        return {"instances": [page_words.instance_object(row) for row in self._alive(caller, ALL_MODES)]}

    def monitoring(self, caller: Principal) -> dict[str, Any]:
        return {"strategies": [page_words.monitored_object(row) for row in self._alive(caller, ON_LIVE_DATA)]}

    def _alive(self, caller: Principal, modes: Sequence[str]) -> list[RunRow]:
        which = RunFilter(readable(caller), modes, alive=True)
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            return listing.runs(cursor, which, None, MOST_STRATEGIES)

    def signals(self, caller: Principal, limit: int) -> dict[str, Any]:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            rows = page.signals(cursor, readable(caller), limit)
        return {
            "signals": [
                {
                    "id": f"{row.run_id}:{row.n}",
                    "strategy_id": str(row.config_id or row.run_id),
                    "strategy_name": row.name,
                    "run_id": str(row.run_id),
                    "mode": row.mode,
                    "timestamp": microseconds_text(row.at) if row.market_ns is None else rfc3339(row.market_ns),
                    "signal": row.body.get("name"),
                    "data": {name: value for name, value in row.body.items() if name != "name"},
                }
                for row in rows
            ]
        }

    def positions(self, caller: Principal) -> dict[str, Any]:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            rows = page.positions(cursor, readable(caller))
        return {
            "positions": [
                {
                    "strategy_id": str(row.config_id or row.run_id),
                    "strategy_name": row.name,
                    "run_id": str(row.run_id),
                    "mode": row.mode,
                    "symbol": row.instrument_id or str(row.con_id),
                    "side": "LONG" if row.quantity > 0 else "SHORT",
                    "quantity": float(abs(row.quantity)),
                    "last_fill_price": float(row.last_price),
                    "timestamp": rfc3339(row.market_ns),
                }
                for row in rows
            ]
        }

    # ---- figures -----------------------------------------------------------------------------------------------------

    def performance(self, given: str, caller: Principal) -> dict[str, Any]:
        """Figures of the newest run of a strategy."""
        with self._db.transaction(snapshot=True) as cursor:
            return performance(cursor, strategy(cursor, given, caller))

    def compare(self, given: Sequence[str], caller: Principal) -> dict[str, Any]:
        """Strategies side by side; without names all of the caller. One that is not known is left out."""
        with self._db.transaction(snapshot=True) as cursor:
            names = given or [
                str(row.id)
                for row in listing.configs(cursor, None if caller.admin else caller.id, None, MOST_STRATEGIES)
            ]
            found = [one for one in (find_strategy(cursor, name, caller) for name in names) if one is not None]
            return {
                "comparisons": [
                    page_words.comparison_object(one.id, one.name, one.run, uptime_percent=_uptime(cursor, one.run))
                    for one in found
                ]
            }

    def engine(self) -> dict[str, Any]:
        """`state` is always a text: the page breaks without it."""
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            found = hosts.every_host(cursor)
        newest = found[0] if found else None
        able = hosts_up.able(found)
        return {
            "success": True,
            "status": {
                "state": "running" if able else "stopped",
                "message": hosts_up.why_none(found) or None,
                "engine": newest.engine or None if newest else None,
                "active_runs": sum(one.children for one in able),
                "capacity": sum(one.capacity for one in able),
                "started_at": microseconds_text(able[0].started_at) if able else None,
                "last_heartbeat": microseconds_text(newest.heartbeat_at) if newest else None,
            },
        }


_OF_THE_FORM = (page_words.INSTRUMENT, page_words.TIMEFRAME)


def _matches(row: TemplateRow, category: str, search: str) -> bool:
    words = f"{row.id} {row.name} {row.description}".lower()
    return (not category or page_words.category_of(row) == category) and search.lower() in words


def _opened(cursor: Cursor, run: RunRow) -> int:
    """How many positions a run opened, or turned."""
    held: dict[int, Decimal] = {}
    opened = 0
    for one in fills(cursor, run):
        before = held.get(one.con_id, Decimal(0))
        after = before + (one.quantity if one.side == "BUY" else -one.quantity)
        opened += bool(after) and (not before or (before > 0) != (after > 0))
        held[one.con_id] = after
    return opened


def _uptime(cursor: Cursor, run: RunRow | None) -> float:
    """Percent of the time since its first start for which a run's process was alive; 0 before."""
    if run is None or run.started_at is None:
        return 0.0
    whole = ((run.finished_at or run.updated_at) - run.started_at).total_seconds()
    up = page.up_seconds(cursor, run.id)
    return min(100.0, 100 * up / whole) if whole > 0 else 0.0


def performance(cursor: Cursor, found: Strategy) -> dict[str, Any]:
    """Figures of a strategy's newest run, with its return of each day."""
    points = equity(cursor, found.run)
    returns = [after.equity / before.equity - 1 for before, after in pairwise(points) if before.equity > 0]
    return {"strategy_id": found.id, **page_words.performance_object(found.run, returns)}


def equity(cursor: Cursor, run: RunRow | None) -> list[EquityPoint]:
    """Equity at the end of each day (UTC), after the capital of the run."""
    if run is None:
        return []
    rows = results.equity(cursor, run.id)
    last = {one.market_ns // NS_PER_DAY: EquityPoint(one.market_ns, one.equity) for one in rows}
    if not last:
        return []
    return [EquityPoint(rows[0].market_ns, run_options(run.options).capital), *last.values()]


def snapshots(cursor: Cursor, found: Strategy) -> list[dict[str, Any]]:
    """What a strategy's newest run has made by the end of each day."""
    points = equity(cursor, found.run)
    return [
        {"timestamp": rfc3339(one.at_ns), "total_pnl": float(one.equity - points[0].equity), "strategy_id": found.id}
        for one in points[1:]
    ]


def is_over(run: RunRow | None) -> bool:
    return run is None or run.state in OVER
