"""A market that is read from files: real one-minute bars served in place of generated ones.

What a file does not say is decided so:
- Sessions: a pause of more than 30 minutes between bars is closed time; what trades on is cut where the trade date
  changes: 17:00 Chicago for futures, 17:00 New York for currencies, midnight New York for the rest, but never between
  Friday and Saturday. So every bar of the file lies in a session, and a session that opens on Sunday belongs to Monday.
- Regular hours are 09:30 to 16:00 New York for stocks and indices, for the rest all hours.
- A file holds one price kind; other kinds, and bars shorter than a minute, have no data. Longer bars are made of its
  minutes. A minute is sent when it is over, because what was known in its middle is not in the file.
- After the last bar the market is closed for ever.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.bars import INTRADAY_S, SIZES, Bar, dated_bars, merged_slots
from ib_gateway_sim.market.calendars import Session
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.replayed.bar_files import MINUTE_S
from ib_gateway_sim.market.replayed.contract import ReplayFile
from ib_gateway_sim.market.replayed.tape import Tape, content_of, digest_of, tape_of
from ib_gateway_sim.market.source import OptionParams, Quote, Side, Tick


class Replay:
    """Serves only the instruments of its files, behind the same methods as Market (market.MarketSource)."""

    def __init__(self, files: list[ReplayFile]) -> None:
        if not files:
            raise ValueError("a replay needs at least one file")
        contents = [content_of(file) for file in files]
        digests = [digest_of(file, content) for file, content in zip(files, contents, strict=True)]
        self._digest = digests[0] if len(digests) == 1 else sha256(b"".join(digests)).digest()
        tapes = [tape_of(file, content) for file, content in zip(files, contents, strict=True)]
        self._tapes = {tape.contract.con_id: tape for tape in tapes}
        if len(self._tapes) < len(tapes):
            raise ValueError("two replay files are of the same instrument")

    @property
    def account(self) -> str:
        return f"SIMR{self._digest.hex()[:8]}"

    @property
    def end_s(self) -> int:
        """Close of the last bar of all files: where market time may start."""
        return max(tape.bars[-1].t + MINUTE_S for tape in self._tapes.values())

    def description(self) -> dict[str, Any]:
        """What the first file holds, for whoever asks for its bars: JSON values; times are RFC 3339 UTC."""
        tape = next(iter(self._tapes.values()))
        contract, regular = tape.contract, tape.by_date[True].values()
        pair = contract.sec_type in ("CASH", "CRYPTO")
        return {
            "account": self.account,
            "symbol": f"{contract.symbol}/{contract.currency}" if pair else contract.local_symbol,
            "asset_class": contract.sec_type,
            "price": tape.kind,
            "bars": len(tape.bars),
            "regular_bars": sum(
                len(tape.between(one.open_s, one.close_s, self.end_s)) for day in regular for one in day
            ),
            "start": _utc(tape.bars[0].t),
            "end": _utc(tape.bars[-1].t + MINUTE_S),
        }

    def find(self, query: ContractQuery, now_s: float) -> list[Contract]:
        found = []
        for tape in self._tapes.values():
            contract = tape.contract
            known_as = query.symbol.upper() in (contract.local_symbol, contract.trading_class)  # all that its user gave
            if (replace(query, symbol="") if known_as else query).matches(contract):
                found.append(replace(contract, exchange=query.exchange) if query.exchange else contract)
        return found

    def search(self, pattern: str, now_s: float) -> list[Contract]:
        text = pattern.strip().upper()
        contracts = [tape.contract for tape in self._tapes.values()] if text else []
        return [one for one in contracts if one.symbol.startswith(text) or one.local_symbol.startswith(text)]

    def derivatives(self, contract: Contract) -> tuple[str, ...]:
        return ()

    def option_params(self, contract: Contract, now_s: float) -> list[OptionParams]:
        return []

    def market_rule(self, rule_id: int) -> Sequence[tuple[float, float]]:
        for tape in self._tapes.values():
            if rule_id in tape.contract.market_rule_ids:
                return ((0.0, tape.contract.min_tick),)
        raise LookupError(f"no market rule {rule_id}")

    def sessions(self, contract: Contract, start_s: float, end_s: float, *, rth: bool) -> list[Session]:
        tape = self._tapes[contract.con_id]
        every = tape.regular if rth else tape.sessions
        return [one for one in every if one.open_s < end_s and one.close_s > start_s]

    def trading_hours(self, contract: Contract, now_s: float, *, liquid: bool, days: int = 7) -> str:
        tape = self._tapes[contract.con_id]
        return calendars.hours_text(tape.zone, lambda day: tape.by_date[liquid].get(day, []), now_s, days)

    def bars(
        self,
        contract: Contract,
        size: str,
        what: str,
        *,
        rth: bool,
        start_s: float,
        end_s: float,
        now_s: float,
    ) -> list[Bar]:
        if size not in SIZES:
            raise ValueError(f"size {size!r} is not one of {', '.join(SIZES)}")
        tape = self._tapes[contract.con_id]
        if what != tape.kind:
            return []
        if size not in INTRADAY_S:
            return dated_bars(
                lambda day: tape.day_bar(day, rth, now_s),
                lambda day: tape.opening(day, rth),
                (tape.sessions[0].trade_date, tape.sessions[-1].trade_date),
                size,
                what,
                start_s,
                min(end_s, now_s),
                now_s,
            )
        size_s = INTRADAY_S[size]
        if size_s < MINUTE_S:
            return []
        result: list[Bar] = []
        for sessions in tape.by_date[rth].values():
            if sessions[0].open_s >= end_s or sessions[-1].close_s <= start_s:
                continue
            shift = calendars.utc_offset_s(tape.zone, sessions[0].open_s)
            first = (start_s + shift) // size_s * size_s - shift
            parts = [
                bar
                for one in sessions
                for bar in tape.between(max(one.open_s, first), min(one.close_s, end_s + size_s), now_s)
            ]
            slots = merged_slots(parts, size_s, shift, what, sessions)
            result += [bar for bar in slots if start_s <= bar.t < end_s]
        return result

    def head_s(self, contract: Contract, what: str, *, rth: bool) -> int | None:
        tape = self._tapes[contract.con_id]
        every = tape.regular if rth else tape.sessions
        return every[0].open_s if what == tape.kind and every else None

    def quote(self, contract: Contract, t_s: float) -> Quote:
        """The last minute that is over, with bid and ask a tick apart about its close: files hold no book."""
        tape = self._tapes[contract.con_id]
        known = tape.between(0, t_s, t_s)
        if not known:
            return Quote(t_s, -1, 0, -1, 0, -1, 0, 0, -1, -1, -1, -1, 0, False, False)
        last = known[-1].close
        bid, ask = _book(tape, last)
        session = next(one for one in reversed(tape.sessions) if one.open_s <= known[-1].t)
        today = tape.day_bar(session.trade_date, False, t_s)
        before = [one for one in tape.by_date[False] if one < session.trade_date]
        close = tape.day_bar(before[-1], False, t_s) if before else None
        traded = tape.kind in ("TRADES", "AGGTRADES")
        return Quote(
            t_s=t_s,
            bid=bid,
            bid_size=1,
            ask=ask,
            ask_size=1,
            last=last if traded else -1,
            last_size=1 if traded else 0,
            last_s=known[-1].t + MINUTE_S - 1 if traded else 0,
            open=today.open if today else -1,
            high=today.high if today else -1,
            low=today.low if today else -1,
            close=close.close if close else -1,
            volume=max(today.volume, 0) if today else 0,
            halted=False,
            is_open=t_s < session.close_s,
        )

    def calm_until(
        self, contract: Contract, side: Side, within: tuple[float, float], start_s: float, end_s: float
    ) -> float:
        tape = self._tapes[contract.con_id]
        stands = self.quote(contract, start_s).price(side)
        if stands is None or not within[0] < stands < within[1]:
            return start_s
        for bar in tape.between(int(start_s) - 2 * MINUTE_S, end_s, end_s):
            price = bar.close if side == "last" else _book(tape, bar.close)[side == "ask"]
            if bar.t + MINUTE_S > start_s and not within[0] < price < within[1]:
                return bar.t + MINUTE_S
        return end_s

    def ticks(
        self,
        contract: Contract,
        kind: str,
        start_s: float,
        end_s: float,
        limit: int,
        *,
        rth: bool = False,
        from_end: bool = False,
    ) -> list[Tick]:
        """None: files hold minutes."""
        return []

    def split(self, contract: Contract, ratio: int, at_s: float) -> int:
        raise ValueError("a replayed instrument does not split")


def _utc(t_s: int) -> str:
    return datetime.fromtimestamp(t_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _book(tape: Tape, close: float) -> tuple[float, float]:
    """Bid and ask behind a minute that closed so."""
    tick = tape.contract.min_tick
    return (_on_grid(close - tick, tick), close) if tape.kind == "ASK" else (close, _on_grid(close + tick, tick))


def _on_grid(price: float, tick: float) -> float:
    return round(round(price / tick) * tick, 10)
