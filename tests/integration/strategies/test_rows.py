from collections.abc import Iterator
from contextlib import closing

import pytest

from nautilus.db.connection import Database, UniqueViolation
from nautilus.db.live.notifications import Notifications
from nautilus.db.strategies import configs, hosts, results, runs, sweeps, templates
from nautilus.db.strategies.notifications import CHANNEL
from nautilus.db.strategies.templates import Template
from nautilus.strategies.states import Mode, Wanted
from tests.support.strategy_rows import insert_run, new_run, series_of


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with closing(Database(dsn, name="test-strategies", size=3)) as opened:
        yield opened


def test_a_run_reads_as_it_was_written(database):
    with database.transaction() as cursor:
        written = insert_run(cursor, name="first \x00 run", as_of={"7": 3})
        read = runs.read(cursor, written.id)
    assert read == written
    assert (read.state, read.wanted, read.wanted_by, read.name) == ("queued", "running", "user:1", "first \ufffd run")
    assert (read.series, read.con_ids) == ([series_of(265598)], [265598])
    assert (read.as_of, read.metrics, read.progress, read.principal) == ({"7": 3}, None, None, f"run:{read.id}")


def test_whoever_listens_is_woken_by_a_new_run_and_by_what_is_wanted_of_it(database):
    with closing(Notifications(database, CHANNEL)) as notified:
        notified.read(0)
        with database.transaction() as cursor:
            run = insert_run(cursor)
        assert notified.read(10) == [str(run.id)]
        with database.transaction() as cursor:
            runs.read(cursor, run.id, lock=True)
            changed = runs.want(cursor, run.id, Wanted.STOPPED, "user:2")
        assert notified.read(10) == [str(run.id)]
    assert (changed.wanted, changed.wanted_by, changed.version) == ("stopped", "user:2", run.version + 1)


def test_one_live_run_at_a_time_has_a_contract_of_an_account(database):
    two = [series_of(1), series_of(2), series_of(1, price="BID")]
    with database.transaction() as cursor:
        insert_run(cursor, Mode.LIVE, series=two)
        insert_run(cursor, Mode.LIVE, 2, account="DU2")
        insert_run(cursor, Mode.PAPER, 2)
    with pytest.raises(UniqueViolation), database.transaction() as cursor:
        insert_run(cursor, Mode.LIVE, 2)


@pytest.mark.parametrize(
    "changed",
    [
        {"mode": Mode.LIVE, "account": ""},
        {"mode": Mode.PAPER, "account": "DU1"},
        {"mode": Mode.BACKTEST, "start_ns": None},
        {"mode": Mode.PAPER, "end_ns": 7, "start_ns": 6},
        {"series": []},
    ],
)
def test_a_run_without_what_its_mode_needs_is_not_stored(database, changed):
    new = new_run(changed.pop("mode", Mode.BACKTEST), **changed)
    with pytest.raises(Exception, match="violates check constraint"), database.transaction() as cursor:
        runs.insert(cursor, new)


def test_a_sweep_has_its_runs_in_the_order_of_its_combinations(database):
    one = new_run()
    with database.transaction() as cursor:
        sweep = sweeps.insert(cursor, sweep_id=one.id, owner="user:1", name="", grid={"fast": [5, 10]}, runs=2)
        for n in (1, 0):
            insert_run(cursor, sweep_id=sweep.id, sweep_n=n)
        assert [run.sweep_n for run in runs.of_sweep(cursor, sweep.id)] == [0, 1]
        assert sweeps.read(cursor, sweep.id) == sweep


def template(name: str, **changed: object) -> Template:
    base = Template(name, name.title(), "What it does.", "abc", {"type": "object"}, "nautilus.strategies")
    return base._replace(**changed)  # type: ignore[arg-type]  # fields by name


def test_a_template_that_no_host_has_any_more_cannot_be_used(database):
    with database.transaction() as cursor:
        templates.replace(cursor, [template("a"), template("b", error="ImportError: no module x")])
        templates.replace(cursor, [template("b"), template("c", code_hash="new")])
        found = {row.id: row for row in templates.every_template(cursor)}
        assert templates.read(cursor, "c") == found["c"]
        assert templates.read(cursor, "d") is None
    assert {name: row.error for name, row in found.items()} == {"a": templates.GONE, "b": None, "c": None}


def test_a_configuration_reads_as_it_was_written(database):
    new = new_run()
    with database.transaction() as cursor:
        templates.replace(cursor, [template("ema_cross")])
        written = configs.insert(
            cursor,
            config_id=new.id,
            owner="user:1",
            name="mine",
            description="",
            template_id="ema_cross",
            template_hash="abc",
            parameters=new.parameters,
            series=new.series,
            risk={"max_position": "100"},
        )
        assert configs.read(cursor, new.id) == written
    assert (written.parameters, written.archived_at) == ({"fast": 10, "slow": 20}, None)


def test_a_host_is_away_when_it_is_silent(database):
    with database.transaction() as cursor:
        for name in ("a", "b"):
            hosts.put(cursor, name, engine="e 1", fence={"uid": True}, problem="", children=2, capacity=1, starts=True)
        cursor.execute("UPDATE strategy_hosts SET heartbeat_at = heartbeat_at - interval '16 s' WHERE host = 'a'")
        rows = hosts.every_host(cursor)
    assert [(row.host, row.away, row.fence) for row in rows] == [
        ("b", False, {"uid": True}),
        ("a", True, {"uid": True}),
    ]


def test_a_run_without_results_has_none(database):
    with database.transaction() as cursor:
        run = insert_run(cursor)
        for read in (results.bars, results.orders, results.fills, results.equity, results.events):
            assert read(cursor, run.id) == []
