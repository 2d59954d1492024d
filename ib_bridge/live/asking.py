"""One request of history for a live series, without job and chunk: booked, sent, and its answer stored, or the reason written
down why there is none."""

import time
from typing import NamedTuple

from ib_bridge.history.booking import NotYet
from ib_bridge.history.writer import Answer
from ib_bridge.ib import translate
from ib_bridge.ib.client import BarsRequest
from ib_bridge.ib.codes import UNRESOLVED, Reaction, meaning
from ib_bridge.ib.connection import NotConnected
from ib_bridge.ib.requests import IbError, NoAnswer
from ib_bridge.live import recording
from ib_bridge.live.followed import Followed
from ib_bridge.parts import BridgeParts
from nautilus.backfill.ib_durations import duration, end_text
from nautilus.backfill.pacing import Request
from nautilus.clock import NS_PER_S
from nautilus.db.bars.volume_units import Taken, in_shares
from nautilus.live.confirmation import Report
from nautilus.log import fields
from nautilus.market.bar import Bar
from nautilus.market.closing import BarClosing
from nautilus.market.instrument import Instrument
from nautilus.settings.bridge import BridgeSettings
from nautilus.spans import Span

_MOST_ATTEMPTS = 8
"""So often a request may fail for a passing reason; then its range is noted as failed, and requested again in an hour."""
_RETRY_NS = 10 * NS_PER_S
_REFUSED_NS = 3600 * NS_PER_S
"""What IB refuses for good it mostly refuses for the whole series."""
_WAIT_NS = 60 * NS_PER_S
"""After a pacing violation IB wants quiet."""


class Task(NamedTuple):
    """What a request covers: `span` is what the answer is judged on, `window` what is requested."""

    one: Followed
    instrument: Instrument
    kind: str
    span: Span
    window: Span


def request_of(instrument: Instrument, one: Followed, end: int) -> Request:
    """A request for bars of a live series as the pacer sees it; `end`: of the window, 0 for up to now."""
    key, frame = one.key, one.frame
    return Request(
        identity=f"{key.con_id}|{frame.name}|{key.price}|{key.session}|{end}",
        contract=f"{key.con_id}|{instrument.exchange}|{key.price}",
        small=frame.small,
    )


class Asking:
    """Asks, and stores. A request that comes to nothing leaves its series waiting: it is not requested again before
    `Followed.not_before`. Nothing is ever withdrawn for an answer that did not come."""

    def __init__(self, settings: BridgeSettings, parts: BridgeParts) -> None:
        self._settings = settings
        self._transactions = parts.transactions
        self._connection = parts.connection
        self._requests = parts.requests
        self._booking = parts.booking
        self._clock = parts.clock
        self._volumes = parts.volumes
        self._log = parts.log

    async def ask(self, task: Task) -> Report | None:
        """What the answer means; None when there was none to believe."""
        request = request_of(task.instrument, task.one, task.window[1])
        login, series_id = self._connection.login, task.one.series_id
        try:
            number = await self._booking.book(login, task.kind, request, series_id=series_id)
        except NotYet as later:
            self._wait(task.one, int(later.retry_after_s or 1) * NS_PER_S)
            return None
        began, connection, sent_at = time.monotonic(), self._connection.number, self._clock.now_ns()

        def answer(code: int | None = None, text: str | None = None) -> Answer:
            return Answer(number, round((time.monotonic() - began) * 1000), code, text)

        try:
            rows = await self._requests.history(self._request(task), self._settings.request_timeout_s)
        except IbError as refused:
            return await self._refused(task, answer(refused.code, refused.text))
        except (NoAnswer, NotConnected) as gone:
            lost = isinstance(gone, NotConnected)
            await self._booking.close(number, "lost" if lost else "timeout", began)
            await self._failed(task, answer(), "connection_lost" if lost else "no_answer", counts=not lost)
            return None
        bars = translate.bars(rows, task.one.frame, task.one.key.price)
        return await self.store(
            *(task.one, answer()),
            span=task.span,
            bars=bars,
            sent_at=sent_at,
            connection=connection,
            begins=task.window[0],
        )

    def _request(self, task: Task) -> BarsRequest:
        one = task.one
        assert one.calendar is not None  # noqa: S101  for the type checker: its window was made of it
        return BarsRequest(
            translate.contract(task.instrument),
            end=end_text(task.window, one.frame, one.calendar),
            duration=duration(task.window, one.frame, one.calendar),
            size=one.frame.ib,
            price=one.key.price,
            rth=one.key.session == "rth",
        )

    async def store(
        self,
        one: Followed,
        answer: Answer,
        *,
        span: Span,
        bars: list[Bar],
        sent_at: int,
        connection: int,
        begins: int | None = None,
    ) -> Report:
        """Store an answer. bars: as IB sent them, in its unit of volume; those that formed at the request are left out.
        begins: as in `ib_bridge.history.settling.store`."""
        assert one.instrument is not None  # noqa: S101  for the type checker
        assert one.calendar is not None  # noqa: S101
        taken = await self._volumes.taken(one.instrument, one.key.price, connection)
        delay = self._settings.close_delay
        closing = BarClosing.of(one.calendar, one.frame, one.instrument, delay=delay, now=sent_at)
        closed = closing.without_forming([_in_shares(bar, taken) for bar in bars], sent_at)
        report = await self._transactions.run(
            recording.record,
            one.key,
            one.series_id,
            answer,
            span=span,
            rows=closed,
            calendar=one.calendar,
            market_ns=self._clock.now_ns(),
            taken=taken,
            begins=begins,
        )
        one.attempts, one.partial = 0, False
        for ratio in report.splits:
            self._log.warning("split-found", extra={"series_id": one.series_id, "ratio": ratio})
        return report

    # ---- what is no answer -------------------------------------------------------------------------------------------

    async def _refused(self, task: Task, answer: Answer) -> Report | None:
        """IB answered with a code: the table says what it means. The same as for chunks."""
        ended = meaning(answer.ib_code or 0, answer.ib_text or "")
        serves = self._connection.serves(task.instrument)
        if ended.reaction is Reaction.EMPTY and serves:
            return await self.store(
                task.one, answer, span=task.span, bars=[], sent_at=self._clock.now_ns(), connection=0
            )
        self._log.info(
            "confirmation-refused",
            extra=fields(series_id=task.one.series_id, ib_code=answer.ib_code, ib_text=answer.ib_text),
        )
        # This came while a farm was away: neither "nothing" nor "unknown" can be believed then.
        untrue = ended.reaction is Reaction.EMPTY or (ended.reason in UNRESOLVED and not self._connection.can_resolve)
        if ended.reaction is Reaction.PERMANENT and not untrue:
            await self._note(task, answer, ended.reason, permanent=True)
            self._wait(task.one, _REFUSED_NS)
            return None
        await self._close(answer)
        if ended.reaction is Reaction.WAIT:
            if ended.reason == "pacing":
                self._log.error("pacing-violation", extra={"series_id": task.one.series_id, "ib_text": answer.ib_text})
            self._wait(task.one, _WAIT_NS)
        else:
            passing = untrue or not serves or ended.reaction is Reaction.RECONNECT
            await self._failed(task, answer, ended.reason, counts=not passing)
        return None

    async def _failed(self, task: Task, answer: Answer, reason: str, *, counts: bool) -> None:
        """Ask again a little later. counts: a failure of the request itself, and not of what is between IB and us."""
        one = task.one
        one.attempts += counts and self._connection.serves(task.instrument)
        if one.attempts >= _MOST_ATTEMPTS:
            await self._note(task, answer, reason, permanent=False)
        else:
            self._wait(one, max(1, one.attempts) * _RETRY_NS)

    async def _note(self, task: Task, answer: Answer, reason: str, *, permanent: bool) -> None:
        await self._transactions.run(
            recording.refuse,
            task.one.series_id,
            answer,
            span=task.span,
            reason=reason,
            market_ns=self._clock.now_ns(),
            permanent=permanent,
        )
        task.one.attempts, task.one.partial = 0, False

    async def _close(self, answer: Answer) -> None:
        await self._transactions.run(recording.close_unanswered, answer)

    def _wait(self, one: Followed, ns: int) -> None:
        one.not_before, one.again = self._clock.now_ns() + ns, True


def _in_shares(bar: Bar, taken: Taken | None) -> Bar:
    if taken is None or bar.volume is None:
        return bar
    return bar._replace(volume=in_shares(bar.volume, taken.unit.unit))
