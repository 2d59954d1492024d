"""In which unit IB sends volumes of US stocks: shares, or lots of a hundred. We store shares.

From server version 175 on historical volumes come in shares, unless the gateway's setting "send market data in lots for
US stocks" is on; images that answer IB's dialog by themselves often leave it on (IBC user guide). The volumes themselves
prove nothing: shares are traded in fractions, too. What decides is, in this order:

    setting         a person's word, NAUTILUS_STOCK_VOLUME_UNIT
    server_version  below 175 volumes come in lots
    stated          a simulator's own word, at its control port
    compared        days that are over, requested once more as a client of version 174, to which IB sends lots

Until then volumes are stored as they came, and are marked as of unknown unit. All but the setting holds for one
connection: the gateway behind the next one may be set otherwise.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ib_bridge.history.booking import Booking, NotYet
from ib_bridge.ib import translate
from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.connection import IbConnection, NotConnected
from ib_bridge.ib.requests import IbError, IbRequests, NoAnswer
from nautilus.backfill.pacing import Request
from nautilus.clock import NS_PER_DAY, rfc3339
from nautilus.db.bars import volume_units
from nautilus.db.bars.volume_units import UNKNOWN, Taken, Unit
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.errors import Unavailable
from nautilus.log import fields
from nautilus.market.instrument import Instrument, sent_in_lots
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.bridge import BridgeSettings

SHARES_SINCE = 175
"""HMDS_MARKET_DATA_IN_SHARES in the version table of IB's own clients (server_versions, read 2026-11)."""
_AGAIN_S = 600.0
"""Machine time before an instrument is compared once more on a connection, when IB did not answer."""
_UNTELLING_AGAIN_S = 6 * 3_600.0
"""The same, when IB answered and the volumes of its days do not tell."""
_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 120.0
"""Machine time between two attempts with any instruments on one connection: doubled with each."""
_DAYS = 10
_LEAST_LOTS = 1_000
"""Lots of the days compared: below, what a lot is rounded by could matter."""
_SPREAD = 0.1
"""How far the ratio of two answers may be from 1 or 100: history is adjusted now and then, never by so much."""


def compared(modern: Sequence[Any], in_lots: Sequence[Any]) -> str:
    """The unit of `modern` bars, by the same days as they came in lots; `unknown` when these cannot tell.

    Both are IB's daily bars, with `date` and `volume`.
    """
    lots = {row.date: row.volume for row in in_lots if row.volume > 0}
    pairs = [(row.volume, lots[row.date]) for row in modern if row.volume > 0 and row.date in lots]
    total = sum(lot for _, lot in pairs)
    if total < _LEAST_LOTS:
        return "unknown"
    ratio = sum(volume for volume, _ in pairs) / total
    if abs(ratio / 100 - 1) <= _SPREAD:
        return "shares"
    return "lots" if abs(ratio - 1) <= _SPREAD else "unknown"


class VolumeUnits:
    """The unit of this login's volumes, and the stored bars that were taken otherwise."""

    def __init__(
        self,
        settings: BridgeSettings,
        *,
        transactions: TransactionRunner,
        connection: IbConnection,
        requests: IbRequests,
        booking: Booking,
        clock: MarketClock,
        log: Any,
    ) -> None:
        self._setting = settings.stock_volume_unit
        self._transactions = transactions
        self._connection = connection
        self._requests = requests
        self._booking = booking
        self._clock = clock
        self._log = log
        self._comparing = asyncio.Lock()
        self._compared: tuple[int, Unit] = (0, UNKNOWN)
        """The connection that was compared last, and the outcome."""
        self._attempts = 0
        self._compare_at = 0.0
        """When the next comparison on that connection may begin, with any instrument."""
        self._not_before: dict[int, float] = {}
        """con_id of what was compared on that connection in vain, and until when it is left alone."""
        self._last_unit = UNKNOWN
        self._last_known = "unknown"
        self._change: Mapping[str, Any] | None = None

    # ---- what is known -----------------------------------------------------------------------------------------------

    def recall(self, activity: Mapping[str, Any]) -> None:
        """Take over what a predecessor of this name had published, so that a changed unit is published as a change."""
        self._last_known = str(activity.get("volume_unit", "unknown"))
        self._change = activity.get("volume_unit_change")

    def current(self) -> Unit:
        """The unit of what the present connection sends; what was last known while there is none."""
        if self._setting != "auto":
            return self._tell(Unit(self._setting, "setting"))
        if not self._connection.up:
            return self._last_unit
        if (self._connection.server_version or 0) < SHARES_SINCE:
            return self._tell(Unit("lots", "server_version"))
        if self._connection.stated_volume_unit is not None:
            return self._tell(Unit(self._connection.stated_volume_unit, "stated"))
        number, unit = self._compared
        return self._tell(unit if number == self._connection.number else UNKNOWN)

    def activity(self) -> dict[str, Any]:
        """For the session's status: the unit, its evidence, and the last change of mind."""
        unit = self.current()
        return {
            "volume_unit": unit.unit,
            "volume_unit_evidence": unit.evidence,
            "volume_unit_change": self._change,
        }

    def _tell(self, unit: Unit) -> Unit:
        if unit == self._last_unit:
            return unit
        was, self._last_unit = self._last_known, unit
        if unit.known:
            self._last_known = unit.unit
        if unit.known and was not in ("unknown", unit.unit):
            self._change = {"was": was, "is": unit.unit, "evidence": unit.evidence, "at": rfc3339(self._clock.now_ns())}
            self._log.warning("volume-unit-changed", extra={"was": was, "unit": unit.unit, "evidence": unit.evidence})
        elif unit.known:
            self._log.info("volume-unit-known", extra={"unit": unit.unit, "evidence": unit.evidence})
        return unit

    async def taken(self, instrument: Instrument, price: str, connection: int) -> Taken | None:
        """How to take the volumes of an answer that came over `connection`; None when they are of one unit always."""
        if not sent_in_lots(instrument, price):
            return None
        if not self.current().known:
            await self._compare(instrument)
        unit = self.current()
        same = self._setting != "auto" or connection == self._connection.number
        return Taken(self._connection.login, unit if same else UNKNOWN)

    # ---- comparing ---------------------------------------------------------------------------------------------------

    async def _compare(self, instrument: Instrument) -> None:
        """Ask for closed days in both units, until the unit is known for this connection. An instrument that does not tell
        rests for itself, so that it keeps no other one from deciding."""
        async with self._comparing:
            connection = self._connection.number
            self._begin(connection)
            now = time.monotonic()
            rests = now < max(self._compare_at, self._not_before.get(instrument.con_id, 0.0))
            if self.current().known or rests or not self._connection.serves(instrument):
                return
            self._compare_at = now + min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** min(self._attempts, 10))
            self._attempts += 1
            self._not_before[instrument.con_id] = now + _AGAIN_S
            try:
                unit = await self._ask_twice(instrument)
            except (IbError, NoAnswer, NotConnected, NotYet) as failed:
                self._log.warning("volume-unit-not-compared", extra={"reason": str(failed) or type(failed).__name__})
                return
            except Unavailable:
                raise
            except Exception:
                # What nobody foresaw in comparing must not cost the answer that waits for the outcome.
                self._log.exception("volume-unit-broke")
                return
            if unit == "unknown":
                self._not_before[instrument.con_id] = now + _UNTELLING_AGAIN_S
                self._log.warning("volume-unit-not-compared", extra={"reason": "the volumes of these days do not tell"})
            elif connection == self._connection.number:
                self._compared = (connection, Unit(unit, "compared"))

    def _begin(self, connection: int) -> None:
        """Forget what was found out about another connection."""
        if self._compared[0] != connection:
            self._compared, self._attempts, self._compare_at = (connection, UNKNOWN), 0, 0.0
            self._not_before.clear()

    def _resting(self) -> list[int]:
        """con_ids of what was compared on this connection in vain not long ago."""
        self._begin(self._connection.number)
        return [con_id for con_id, until in self._not_before.items() if time.monotonic() < until]

    async def _ask_twice(self, instrument: Instrument) -> str:
        end = translate.moment(self._clock.now_ns() // NS_PER_DAY * NS_PER_DAY)
        requested = (translate.contract(instrument), end, f"{_DAYS} D")
        answers = []
        for name, ask in (("now", self._requests.daily), ("lots", self._requests.daily_in_lots)):
            identity = f"{instrument.con_id}|VOLUMES|{name}|{end}"
            request = Request(identity, f"{instrument.con_id}|VOLUMES", small=False)
            number = await self._booking.book(self._connection.login, "volumes", request)
            began = time.monotonic()
            try:
                answers.append(await ask(*requested))
            except (IbError, NoAnswer, NotConnected) as failed:
                code, text = (failed.code, failed.text) if isinstance(failed, IbError) else (None, None)
                outcome = "timeout" if isinstance(failed, NoAnswer) else "error" if code else "lost"
                await self._booking.close(number, outcome, began, ib_code=code, ib_text=text)
                raise
            await self._booking.close(number, "ok", began)
        return compared(answers[0], answers[1])

    # ---- what is stored ----------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Put right what was taken in another unit; while the unit is unknown, try to learn it."""
        login = self._connection.login
        if not login:
            return
        if not self.current().known and self._connection.up:
            con_id = await self._transactions.run(volume_units.undecided, login, self._resting())
            instrument = await self._transactions.run(instruments.by_id, con_id) if con_id is not None else None
            if instrument is not None:
                await self._compare(instrument)
        unit = self.current()
        if unit.known:
            await self._revise(Taken(login, unit))

    async def _revise(self, taken: Taken) -> None:
        bars, touched = 0, set()
        while (step := await self._transactions.run(volume_units.revise, taken)) is not None:
            bars += step.bars
            touched.add(step.series_id)
        if touched:
            self._log.warning(
                "volumes-revised",
                extra=fields(unit=taken.unit.unit, evidence=taken.unit.evidence, series=len(touched), bars=bars),
            )


def adopt_guesses(cursor: Cursor, bridge: str, log: Any) -> None:
    """What an earlier release stored by a guess is of unknown unit until there is evidence."""
    if series := volume_units.adopt_guesses(cursor, bridge):
        log.warning("volumes-were-guessed", extra={"series": series})
