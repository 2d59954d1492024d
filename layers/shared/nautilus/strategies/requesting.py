"""From a request for a back-test, a sweep, or a run in paper or live to its rows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from nautilus.auth.principal import Principal
from nautilus.coverage.availability import Calendars, Subject, Window
from nautilus.db.bridge.status import market_now
from nautilus.db.connection import Database, UniqueViolation
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import idempotency
from nautilus.db.market import instruments
from nautilus.db.strategies import listing, runs, sweeps
from nautilus.db.strategies.configs import ConfigRow
from nautilus.db.strategies.hosts import HostRow
from nautilus.db.strategies.runs import NewRun, RunRow
from nautilus.db.strategies.sweeps import SweepRow
from nautilus.db.strategies.templates import TemplateRow
from nautilus.errors import Conflict, InvalidInput, RateLimited
from nautilus.log import correlation
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import timeframe
from nautilus.settings.api import ApiSettings
from nautilus.strategies import hosts_up, needed_bars
from nautilus.strategies.desk import BACKTESTS, ON_LIVE_DATA, usable_template, visible_config, visible_run
from nautilus.strategies.grid import combinations
from nautilus.strategies.options import run_options
from nautilus.strategies.parameter_check import checked
from nautilus.strategies.run_series import RunSeries, series_of
from nautilus.strategies.schemas import MAX_COMBINATIONS, BacktestRequest, RunRequest
from nautilus.strategies.states import Mode

MOST_OPEN = 100
"""Back-tests of one caller that are not over."""
MOST_LIVE = 20
"""The same of runs in paper and live."""
_USUAL_FRAME = "1m"
FENCE = ("privileges", "files", "network")
"""From what a strategy is kept, as `strategy_hosts.fence` names it."""


class Started(NamedTuple):
    """What became of a request. sweep: with a grid. repeated: the key had made it before."""

    runs: Sequence[RunRow]
    sweep: SweepRow | None = None
    repeated: bool = False


class Plan(NamedTuple):
    """What a run is made of."""

    template: TemplateRow
    config: ConfigRow | None
    parameters: Mapping[str, Any]
    series: Sequence[RunSeries]
    options: Mapping[str, Any]


class Requesting:
    """Writes new runs."""

    def __init__(self, database: Database, settings: ApiSettings) -> None:
        self._db = database
        self._settings = settings
        self._calendars = Calendars()

    # ---- back-tests --------------------------------------------------------------------------------------------------

    def backtest(
        self, body: BacktestRequest, found: Sequence[Instrument], caller: Principal, *, key: str | None
    ) -> Started:
        """Write a back-test, or those of a grid. found: the instruments that the body names.

        Unavailable: no host runs. Conflict: bars are missing, or the template has changed. InvalidInput names the field.
        """
        with self._db.transaction() as cursor:
            if known := self._known(cursor, "backtests", body, caller, key=key):
                return known
            hosts_up.require(cursor)
            if body.repeat_of is not None:
                new = [self._repeated(cursor, body, caller)]
                sweep = None
            else:
                new, sweep = self._new_backtests(cursor, body, found, caller)
            self._refuse_too_many(cursor, caller, BACKTESTS, len(new), most=MOST_OPEN)
            made = [runs.insert(cursor, one) for one in new]
            self._keep(cursor, "backtests", body, caller, key=key, made=sweep.id if sweep else made[0].id)
            return Started(made, sweep)

    def _new_backtests(
        self, cursor: Cursor, body: BacktestRequest, found: Sequence[Instrument], caller: Principal
    ) -> tuple[list[NewRun], SweepRow | None]:
        start, end = _range(body, market_now(cursor))
        plan = _plan(cursor, body, found, caller)
        varied = combinations(body.grid, most=MAX_COMBINATIONS) if body.grid is not None else [{}]
        alone = body.grid is None  # a combination that breaks a relation is a row of the table, with the reason
        given = [
            checked(plan.template.parameter_schema, {**plan.parameters, **values}, relations=alone) for values in varied
        ]
        if not body.allow_missing:
            subjects = [
                (one.as_dict(), Subject(one.instrument, one.timeframe, one.price, one.session)) for one in plan.series
            ]
            needed_bars.refuse(needed_bars.gaps(cursor, self._calendars, subjects, Window(start, end)), start, end)
        sweep = None
        if body.grid is not None:
            sweep = sweeps.insert(
                cursor,
                sweep_id=uuid4(),
                owner=caller.id,
                name=body.name,
                grid=body.grid,
                runs=len(varied),
                correlation_id=correlation.get(),
            )
        whole = _new(plan, body.name, caller, Mode.BACKTEST)
        return [
            whole._replace(
                id=uuid4(),
                parameters=parameters,
                start_ns=start,
                end_ns=end,
                sweep_id=sweep.id if sweep else None,
                sweep_n=n if sweep else None,
            )
            for n, parameters in enumerate(given)
        ], sweep

    def _repeated(self, cursor: Cursor, body: BacktestRequest, caller: Principal) -> NewRun:
        """The same back-test as another one, as of the versions that it read."""
        others = sorted(body.model_fields_set - {"repeat_of", "name"})
        if others:
            raise InvalidInput.field(others[0], "has no meaning beside repeat_of", ["repeat_of", "name"])
        assert body.repeat_of is not None  # noqa: S101  for the type checker: called for these alone
        row = visible_run(cursor, body.repeat_of, caller, BACKTESTS)
        if not row.data_versions:
            raise Conflict("that back-test has read no bars yet: there is nothing to repeat", code="run-not-read")
        template = usable_template(cursor, row.template_id, "repeat_of")
        return NewRun(
            id=uuid4(),
            owner=caller.id,
            mode=Mode.BACKTEST,
            template_id=row.template_id,
            template_hash=template.code_hash,
            parameters=row.parameters,
            series=row.series,
            options=row.options,
            name=body.name or row.name,
            config_id=row.config_id,
            start_ns=row.start_ns,
            end_ns=row.end_ns,
            as_of=row.data_versions,
            correlation_id=correlation.get(),
            key_id=caller.key_id,
        )

    # ---- paper and live ----------------------------------------------------------------------------------------------

    def run(self, body: RunRequest, found: Sequence[Instrument], caller: Principal, *, key: str | None) -> Started:
        """Write a run in paper or live. Of a live one Forbidden without the right to trade its account; InvalidInput unless
        `confirm` names it; Conflict where orders are off, nothing keeps strategies in bounds, or an instrument is taken."""
        mode = Mode(body.mode)
        account = self._account(body, caller) if mode is Mode.LIVE else ""
        with self._db.transaction() as cursor:
            if known := self._known(cursor, "strategy-runs", body, caller, key=key):
                return known
            able = hosts_up.require(cursor)
            if mode is Mode.LIVE:
                self._require_fence(able)
            plan = _plan(cursor, body, found, caller)
            parameters = checked(plan.template.parameter_schema, plan.parameters)
            self._refuse_too_many(cursor, caller, ON_LIVE_DATA, 1, most=MOST_LIVE)
            new = _new(plan, body.name, caller, mode)._replace(parameters=parameters, account=account)
            try:
                made = runs.insert(cursor, new)
            except UniqueViolation as taken:
                names = ", ".join(sorted({one.instrument.instrument_id for one in plan.series}))
                raise Conflict(
                    f"another live run of {account} trades one of {names}: stop that one first", code="instrument-taken"
                ) from taken
            self._keep(cursor, "strategy-runs", body, caller, key=key, made=made.id)
            return Started([made])

    def _account(self, body: RunRequest, caller: Principal) -> str:
        """The account of a live run."""
        caller.require("orders:write")
        if body.account is None:
            raise InvalidInput.field("account", "is missing: a live run names its account")
        caller.require_account(body.account)
        if body.confirm != body.account:
            raise InvalidInput.field(
                "confirm", "must be the account once more: a live run sends orders", [body.account]
            )
        if self._settings.orders == "off":
            raise Conflict("orders are switched off by the setting NAUTILUS_ORDERS", code="orders-off")
        return body.account

    def _require_fence(self, able: Sequence[HostRow]) -> None:
        """Outside of development a live run needs a host whose children hold the whole fence. A host that has had no child yet
        finds out with the first one, and refuses the run then."""
        known = [host.fence for host in able if host.fence]
        if self._settings.deployed and known and not any(all(fence.get(name) for name in FENCE) for fence in known):
            raise Conflict(
                f"a live run needs a strategy host whose fence has {', '.join(FENCE)}; none here has all of these",
                code="no-fence",
            )

    # ---- keys and limits ---------------------------------------------------------------------------------------------

    def _known(
        self, cursor: Cursor, route: str, body: BacktestRequest | RunRequest, caller: Principal, *, key: str | None
    ) -> Started | None:
        """What this key made before."""
        if not key:
            return None
        known = idempotency.claim_key(cursor, caller.id, route, key=key, fingerprint=_fingerprint(body))
        if known is None:
            return None
        sweep = sweeps.read(cursor, known)
        if sweep is not None:
            return Started(runs.of_sweep(cursor, known), sweep, repeated=True)
        row = runs.read(cursor, known)
        return None if row is None else Started([row], repeated=True)

    def _keep(
        self,
        cursor: Cursor,
        route: str,
        body: BacktestRequest | RunRequest,
        caller: Principal,
        *,
        key: str | None,
        made: UUID,
    ) -> None:
        if key:
            idempotency.keep_key(cursor, caller.id, route, key=key, fingerprint=_fingerprint(body), job_id=made)

    def _refuse_too_many(self, cursor: Cursor, caller: Principal, modes: Sequence[str], new: int, *, most: int) -> None:
        if listing.count_open(cursor, caller.id, modes) + new > most:
            raise RateLimited(
                f"you may have {most} of these that are not over: wait for some, or cancel them", code="too-many-runs"
            )


def _fingerprint(body: BacktestRequest | RunRequest) -> str:
    given = body.model_dump(mode="json", exclude_defaults=True)
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


def _range(body: BacktestRequest, now: int) -> tuple[int, int]:
    """The range of a back-test."""
    for name, value in (("start", body.start), ("end", body.end)):
        if value is None:
            raise InvalidInput.field(name, "is missing: RFC 3339 with offset, or epoch nanoseconds")
    assert body.start is not None  # noqa: S101  for the type checker
    assert body.end is not None  # noqa: S101
    if body.start >= body.end:
        raise InvalidInput.field("end", "must be later than start")
    if body.start >= now:
        raise InvalidInput.field("start", "lies in the future: a back-test reads bars that are stored")
    return body.start, body.end


def _plan(cursor: Cursor, body: BacktestRequest | RunRequest, found: Sequence[Instrument], caller: Principal) -> Plan:
    if (body.config_id is None) == (body.template is None):
        raise InvalidInput.field("template", "give template or config_id, one of both", ["template", "config_id"])
    config = visible_config(cursor, body.config_id, caller) if body.config_id is not None else None
    template = usable_template(cursor, config.template_id if config else body.template or "")
    if config is not None and config.template_hash != template.code_hash and not body.accept_new_version:
        raise Conflict(
            f"the code of the template {template.id} has changed since this configuration was made: look at it, then send"
            " accept_new_version",
            code="template-changed",
        )
    options: dict[str, Any] = {
        name: str(value) if name == "capital" else value
        for name in ("fill", "capital", "warm_up_bars", "adaptive_ordering", "seed", "on_crash", "restart_on_fault")
        if name in body.model_fields_set and (value := getattr(body, name)) is not None
    }
    run_options(options)
    parameters = {**(config.parameters if config else {}), **body.parameters}
    return Plan(template, config, parameters, _series(cursor, body, found, config), options)


def _series(
    cursor: Cursor, body: BacktestRequest | RunRequest, found: Sequence[Instrument], config: ConfigRow | None
) -> list[RunSeries]:
    """The series of a run: of the instruments that it names, else of those of its configuration."""
    stored = config.series if config else ()
    named = list(found) or known_instruments(cursor, stored)
    if not named:
        raise InvalidInput.field("instruments", "is missing: name what to trade")
    usual = stored[0] if stored else {}
    frame = timeframe(body.timeframe or usual.get("timeframe") or _USUAL_FRAME)
    return series_of(named, frame, body.session or usual.get("session"))


def known_instruments(cursor: Cursor, series: Sequence[Mapping[str, Any]]) -> list[Instrument]:
    """The instruments of stored series, each once."""
    con_ids = list(dict.fromkeys(int(one["con_id"]) for one in series))
    known = instruments.several(cursor, con_ids)
    return [known[con_id] for con_id in con_ids if con_id in known]


def _new(plan: Plan, name: str, caller: Principal, mode: Mode) -> NewRun:
    return NewRun(
        id=uuid4(),
        owner=caller.id,
        mode=mode,
        template_id=plan.template.id,
        template_hash=plan.template.code_hash,
        parameters=plan.parameters,
        series=[one.as_dict() for one in plan.series],
        options=plan.options,
        name=name or (plan.config.name if plan.config else plan.template.name),
        config_id=plan.config.id if plan.config else None,
        correlation_id=correlation.get(),
        key_id=caller.key_id,
    )
