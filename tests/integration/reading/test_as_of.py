"""Bars as they were: at each version of a series the candles are, byte for byte, what was answered then; or it is said that
they cannot be told."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nautilus.coverage.states import CoverageState, Note
from nautilus.db import retention_bars
from nautilus.db.bars import bar_source
from nautilus.db.bars.bar_source import BarSource
from nautilus.market.bar import Bar
from nautilus.spans import Spans
from tests.integration.reading.test_pages import END as LAST
from tests.integration.reading.test_pages import Writer
from tests.support import arrow_stream
from tests.support.markets import HOUR, MINUTE, ns, nyse
from tests.support.stored_bars import BARS, Api, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")
START = ns("2024-01-08 09:30", "America/New_York")
SLOTS = range(START, START + 40 * MINUTE, MINUTE)
END = SLOTS.stop
FIELDS = "time,ts,open,high,low,close,volume,vwap,trades,ts_open,ts_close"
SERIES = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": END, "fields": FIELDS, "wait": 0}
FORMS = ("json", "csv", "ndjson", "columns", "arrow")


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, tmp_path: Path) -> Api:
    return stored_bars.api(tmp_path, anonymous_scopes=("bars:read",))


# ---- what a bridge may commit ----------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What IB answered: bars by slot, with a price; `state`: what the range is then, `settled` or `stale`."""

    slots: tuple[int, ...]
    price: int
    state: str


class ForgetBars(NamedTuple):
    """Retention forgets the bars before a slot."""

    before: int


class ForgetChanges(NamedTuple):
    """Retention forgets the changes of all but the newest versions."""

    keep: int


Commit = Answer | ForgetBars | ForgetChanges

SLOT = st.integers(0, len(SLOTS) - 1)
RUN = st.tuples(SLOT, st.integers(1, 25)).map(lambda run: tuple(range(run[0], min(sum(run), len(SLOTS)))))
SCATTERED = st.sets(SLOT, min_size=1, max_size=24).map(lambda slots: tuple(sorted(slots)))
ANSWERS = st.builds(Answer, RUN | SCATTERED, st.integers(90, 93), st.sampled_from(["settled", "stale"]))
COMMITS = st.lists(
    st.one_of(ANSWERS, ANSWERS, ANSWERS, st.builds(ForgetBars, SLOT), st.builds(ForgetChanges, st.integers(0, 3))),
    min_size=1,
    max_size=7,
)


def bar(slot: int, price: int) -> Bar:
    volume = None if (slot + price) % 7 == 0 else float(slot + price)
    vwap = None if volume is None else price + 0.25
    return Bar(SLOTS[slot], float(price), price + 1.5, price - 0.1, price + 0.7, volume, vwap, slot or None)


class Commits:
    """Carries commits out, and remembers which versions can be told no more."""

    def __init__(self, stored_bars: StoredBars) -> None:
        self._stored_bars = stored_bars
        tables = "series, bars_minute, bar_revisions, series_changes, coverage_notes, forgotten_versions"
        stored_bars.rows(f"TRUNCATE {tables} CASCADE")
        self.version = 0
        self.gone_below = 0

    def carry_out(self, commit: Commit) -> None:
        if isinstance(commit, Answer):
            self._answer(commit)
        elif self.version and isinstance(commit, ForgetBars):
            gone = retention_bars.forget_bars(self._stored_bars.db, self._series, SLOTS[commit.before])
            self._renew()
            self.gone_below = self.version if gone else self.gone_below
        elif self.version and isinstance(commit, ForgetChanges):
            self._forget_changes(self.version - commit.keep)

    def _answer(self, answer: Answer) -> None:
        span = (SLOTS[answer.slots[0]], SLOTS[answer.slots[-1]] + MINUTE)
        self._stored_bars.record(
            stock(),
            "1m",
            [bar(slot, answer.price) for slot in answer.slots],
            settled=[span] if answer.state == "settled" else [],
            noted=[Note(span, CoverageState.STALE, "a test says so")] if answer.state == "stale" else [],
        )
        self._renew()

    def _forget_changes(self, upto: int) -> None:
        gone = self._stored_bars.forget_changes(upto)
        if gone["series_changes"] or gone["bar_revisions"]:
            ((limit,),) = self._stored_bars.rows("SELECT version FROM forgotten_versions")
            assert limit <= upto
            self.gone_below = max(self.gone_below, limit)

    @property
    def _series(self) -> int:
        return int(self._stored_bars.rows("SELECT id FROM series")[0][0])

    def _renew(self) -> None:
        self.version = int(self._stored_bars.rows("SELECT data_version FROM series")[0][0])


# ---- what is answered ------------------------------------------------------------------------------------------------


def candles(answer: httpx.Response) -> bytes:
    """The candles alone, as they stand in a body."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"] == "application/vnd.apache.arrow.stream":
        return answer.content[arrow_stream.read(answer.content).schema_bytes :]  # its schema names version and coverage
    if answer.headers["content-type"] not in ("application/json", "application/vnd.nautilus.columns+json"):
        return answer.content
    found = re.search(rb'"candles":[\[{](.*)[\]}],"total"', answer.content, re.S)
    assert found
    return found[1]


def answers(api: Api, **more: Any) -> dict[str, bytes]:
    """The candles in every form, and from the newest to the oldest."""
    found = {form: candles(api.get(BARS, params={**SERIES, "format": form, **more})) for form in FORMS}
    return found | {"desc": candles(api.get(BARS, params={**SERIES, "sort": "desc", **more}))}


def walked(api: Api, **more: Any) -> bytes:
    """All candles, page by page."""
    found, token = [], None
    while True:
        page = api.get(BARS, params={**SERIES, "limit": 7, **more, **({"page_token": token} if token else {})})
        found += [candles(page)]
        token = page.json()["next_page_token"]
        if token is None:
            return b",".join(part for part in found if part)


def check(stored_bars: StoredBars, api: Api, commits: Sequence[Commit]) -> int:
    """Every version that there was is answered as it was answered then; returns how many versions were compared."""
    done, then = Commits(stored_bars), {0: answers(api)}
    moments: dict[int, datetime] = {}
    for commit in commits:
        done.carry_out(commit)
        then[done.version] = answers(api)
        moments[done.version] = stored_bars.rows("SELECT clock_timestamp()")[0][0]
    for version, expected in then.items():
        if version < done.gone_below:
            refused = api.get(BARS, params={**SERIES, "as_of": version})
            assert (refused.status_code, refused.json()["code"]) == (410, "version-forgotten")
            continue
        assert answers(api, as_of=version) == expected
        assert walked(api, as_of=version) == expected["json"]
        assert walked(api, as_of=version, sort="desc") == expected["desc"]
        if version in moments and done.gone_below == 0:
            at = moments[version].astimezone(UTC).isoformat()
            assert answers(api, as_of=at) == expected
    return len(then)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=COMMITS)
@example(commits=[Answer((5,), 90, "stale"), Answer((3, 7), 90, "settled")])
def test_every_version_is_answered_as_it_was_answered_then(
    stored_bars: StoredBars, api: Api, commits: list[Commit]
) -> None:
    check(stored_bars, api, commits)


@pytest.mark.parametrize("form", ["json", "arrow"])
def test_an_older_version_is_the_same_bytes_while_a_backfill_revises_it(
    stored_bars: StoredBars, api: Api, form: str
) -> None:
    writer = Writer(stored_bars, 5)
    query = {**SERIES, "end": LAST, "format": form}
    then: dict[int, bytes] = {}
    while len(then) < 4:
        writer.write()
        then[writer.version] = candles(api.get(BARS, params=query))
    with writer.running():
        for _ in range(6):
            for version, expected in then.items():
                assert candles(api.get(BARS, params={**query, "as_of": version})) == expected, version
    assert writer.version > max(then) + 5, "the writer hardly wrote"
    assert candles(api.get(BARS, params=query)) not in then.values()


TELLING = [
    Answer(tuple(range(20)), 90, "settled"),
    Answer(tuple(range(5, 15)), 91, "settled"),
    Answer(tuple(range(10, 40)), 92, "stale"),
    Answer((3, 7), 90, "settled"),
]


def one_version_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Revisions until the version itself count, not only later ones."""
    plain = bar_source._stored

    def wrong(source: BarSource, low: str, high: str) -> str:
        return plain(source, low, high).replace("r.until_version > ", "r.until_version >= ")

    monkeypatch.setattr(bar_source, "_stored", wrong)


def new_bars_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came into empty ranges later is not taken away."""
    monkeypatch.setattr("nautilus.reading.pages.bar_source.added_after", lambda *_: Spans())


def newest_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several later revisions the last one counts, not the first."""
    plain = bar_source._stored

    def wrong(source: BarSource, low: str, high: str) -> str:
        return plain(source, low, high).replace("ORDER BY r.until_version", "ORDER BY r.until_version DESC")

    monkeypatch.setattr(bar_source, "_stored", wrong)


def test_the_commits_that_show_mistakes_are_answered_rightly(stored_bars: StoredBars, api: Api) -> None:
    assert check(stored_bars, api, TELLING) == 5


@pytest.mark.parametrize("mistake", [one_version_too_far, new_bars_stay, newest_revision])
def test_a_mistake_of_one_version_is_found(
    stored_bars: StoredBars,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[pytest.MonkeyPatch], None],
) -> None:
    mistake(monkeypatch)
    with pytest.raises(AssertionError):
        check(stored_bars, api, TELLING)


# ---- aggregated timeframes ----------------------------------------------------------------------------------------------

AGGREGATED = {**SERIES, "timeframe": "10m"}
WHOLE = Answer(tuple(range(len(SLOTS))), 90, "settled")


def test_aggregated_bars_are_those_of_the_minutes_version(stored_bars: StoredBars, api: Api) -> None:
    commits = Commits(stored_bars)
    then = {}
    for commit in (WHOLE, Answer((4, 5, 33), 95, "settled"), Answer((33,), 97, "settled")):
        commits.carry_out(commit)
        now = api.get(BARS, params=AGGREGATED)
        assert now.json()["source"] == "derived from 1m"
        then[now.json()["data_version"]] = candles(now)
    assert list(then) == [1, 2, 3]
    assert len(set(then.values())) == 3
    for version, expected in then.items():
        answer = api.get(BARS, params={**AGGREGATED, "as_of": version})
        assert (candles(answer), answer.json()["data_version"]) == (expected, version)
        assert walked(api, timeframe="10m", limit=1, as_of=version, sort="desc") == candles(
            api.get(BARS, params={**AGGREGATED, "as_of": version, "sort": "desc"})
        )


@pytest.mark.parametrize("late", [Answer((12, 14, 30), 95, "settled"), Answer(tuple(range(1, 40, 2)), 95, "settled")])
def test_aggregated_bars_of_minutes_that_came_later_are_refused_with_the_way_out(
    stored_bars: StoredBars, api: Api, late: Answer
) -> None:
    """In a few ranges, or scattered so much that they are listed one by one."""
    commits = Commits(stored_bars)
    rest = tuple(slot for slot in range(len(SLOTS)) if slot not in late.slots)
    commits.carry_out(Answer(rest, 90, "stale"))
    commits.carry_out(late)
    commits.carry_out(WHOLE)
    latest = candles(api.get(BARS, params={**AGGREGATED, "as_of": commits.version}))
    refused = api.get(BARS, params={**AGGREGATED, "as_of": 1})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["field"], error["allowed"]) == ("as_of", ["2", "timeframe=1m"])
    assert "coverage has no versions" in error["detail"]
    assert candles(api.get(BARS, params={**AGGREGATED, "as_of": 2})) != latest


# ---- the rest of the answer ------------------------------------------------------------------------------------------


@pytest.fixture
def three(stored_bars: StoredBars) -> Commits:
    """A series of three versions."""
    commits = Commits(stored_bars)
    for commit in TELLING[:3]:
        commits.carry_out(commit)
    return commits


def test_coverage_is_null_with_the_reason_and_nothing_is_asked_for(
    stored_bars: StoredBars, three: Commits, tmp_path: Path
) -> None:
    api = stored_bars.api(tmp_path)
    for version in (1, 3):
        answer = api.get(BARS, params={**SERIES, "as_of": version}).json()
        assert (answer["coverage"], answer["data_version"], answer["job_id"]) == (None, version, None)
        assert "coverage has no versions" in answer["coverage_reason"]
        assert "backfill" not in answer
    lines = api.get(BARS, params={**SERIES, "as_of": 1, "format": "csv"})
    assert lines.headers["x-data-version"] == "1"
    assert '"complete":null' in lines.headers["x-coverage"]
    assert "coverage has no versions" in lines.headers["x-coverage"]
    assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 0
    assert api.get(BARS, params={**SERIES, "end": END + HOUR, "as_of": 1}).json()["job_id"] is None
    assert api.get(BARS, params={**SERIES, "end": END + HOUR}).json()["job_id"], "a plain read asks for what is missing"


def test_an_answer_with_both_ends_never_changes(stored_bars: StoredBars, api: Api, three: Commits) -> None:
    query = {**SERIES, "as_of": 2, "limit": 7}
    first = api.get(BARS, params=query)
    assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert first.headers["etag"]
    three.carry_out(Answer((1, 2), 99, "settled"))
    stored_bars.set_time(NOW + 30 * 86_400 * 10**9)
    again = api.get(BARS, params=query)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert first.json()["next_page_token"]
    assert api.get(BARS, params=query, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    open_end = {name: value for name, value in query.items() if name != "end"}
    assert api.get(BARS, params=open_end).headers["cache-control"] == "private, no-cache"


def test_a_time_is_the_highest_version_committed_by_then(stored_bars: StoredBars, api: Api, three: Commits) -> None:
    ((now,),) = stored_bars.rows("SELECT clock_timestamp()")
    for back, version in ((3, 1), (2, 2), (1, 3)):
        at = now - timedelta(hours=back)
        stored_bars.rows("UPDATE series_changes SET committed_at = %s WHERE version = %s", at, version)
        stored_bars.rows("UPDATE bar_revisions SET changed_at = %s WHERE until_version = %s", at, version)
    for hours, version in ((4.0, 0), (3.0, 1), (2.01, 1), (2.0, 2), (1.5, 2), (0.5, 3)):
        at = now - timedelta(hours=hours)
        for text in (at.isoformat(), str(int(at.timestamp() * 1_000_000) * 1_000)):
            answer = api.get(BARS, params={**SERIES, "as_of": text})
            assert (answer.json()["data_version"], answer.status_code) == (version, 200)
            assert "immutable" in answer.headers["cache-control"]
    # Who has written a moment ago may commit yet.
    recent = api.get(BARS, params={**SERIES, "as_of": now.isoformat()})
    assert recent.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("as_of", "says"),
    [
        ("4", "0 to 3"),
        ("2099-01-01T00:00:00Z", "in the future"),
        ("-1", "neither a version nor a time"),
        ("yesterday", "neither a version nor a time"),
        ("2024-01-05T14:30:00", "neither a version nor a time"),
        ("1.5", "neither a version nor a time"),
        ("", "neither a version nor a time"),
        ("9" * 30, "neither a version nor a time"),
    ],
)
def test_a_bad_value_names_the_field_and_what_is_allowed(api: Api, three: Commits, as_of: str, says: str) -> None:
    refused = api.get(BARS, params={**SERIES, "as_of": as_of})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["field"] == "as_of"
    assert error["allowed"]
    assert says in refused.json()["detail"]


def test_several_symbols_have_several_versions(api: Api, three: Commits) -> None:
    query = {name: value for name, value in SERIES.items() if name != "symbol"}
    for symbols in ("AAPL", "AAPL,MSFT"):
        refused = api.get(BARS, params={**query, "symbols": symbols, "as_of": 1})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "symbols")
        assert "as_of" in refused.json()["detail"]


def test_a_series_that_nobody_has_stored_has_version_0_alone(stored_bars: StoredBars, api: Api) -> None:
    Commits(stored_bars)
    assert candles(api.get(BARS, params={**SERIES, "as_of": 0})) == b""
    assert api.get(BARS, params={**SERIES, "as_of": 1}).status_code == 422


def test_a_walk_whose_version_is_forgotten_meanwhile_ends_and_says_so(
    stored_bars: StoredBars, api: Api, three: Commits
) -> None:
    first = api.get(BARS, params={**SERIES, "as_of": 1, "limit": 7}).json()
    token = first["next_page_token"]
    other = api.get(BARS, params={**SERIES, "as_of": 2, "page_token": token})
    assert (other.status_code, other.json()["code"]) == (400, "page-token-mismatch")
    three.carry_out(ForgetChanges(1))
    gone = api.get(BARS, params={**SERIES, "as_of": 1, "page_token": token})
    assert (gone.status_code, gone.json()["code"]) == (410, "version-forgotten")
    assert "from version 2 on" in gone.json()["detail"]
    before = api.get(BARS, params={**SERIES, "as_of": "2001-01-01T00:00:00Z"})
    assert (before.status_code, before.json()["code"]) == (410, "version-forgotten")


def test_reads_without_as_of_ask_the_database_no_more_than_before(
    api: Api, three: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a plain read looked for versions")

    for name in ("forgotten", "newest_by", "is_lost", "last_arrival"):
        monkeypatch.setattr(f"nautilus.db.bars.version_history.{name}", never)
    token = api.get(BARS, params={**SERIES, "limit": 5}).json()["next_page_token"]
    assert api.get(BARS, params={**SERIES, "page_token": token}).status_code == 200
    assert api.get(BARS, params={**SERIES, "as_of": 1}).status_code == 500, "else nothing was watched"
