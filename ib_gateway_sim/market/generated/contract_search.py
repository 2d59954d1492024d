"""Which contracts of the generated market answer a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.generated.dates import new_york_date
from ib_gateway_sim.market.generated.prices import Prices
from ib_gateway_sim.market.instruments import options
from ib_gateway_sim.market.instruments.futures import EXPIRED_FUTURE_DAYS, front, root_of
from ib_gateway_sim.market.instruments.instrument import Instrument, expiry
from ib_gateway_sim.market.instruments.listing import by_con_id, by_symbol, listed
from ib_gateway_sim.market.source import OptionParams


class ContractSearch:
    """Finds contracts, options among them, whose strikes follow the price of their underlying."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def find(self, query: ContractQuery, now_s: float) -> list[Contract]:
        today = new_york_date(now_s)
        found = []
        for one in self._candidates(query, now_s):
            contract = one.contract
            if not query.matches(contract) or today < one.head:
                continue
            if contract.sec_type == "CONTFUT" and "CONTFUT" not in query.types() and not query.con_id:
                continue
            end = expiry(contract)
            if (
                end
                and end < today
                and not (
                    query.include_expired and contract.sec_type == "FUT" and (today - end).days <= EXPIRED_FUTURE_DAYS
                )
            ):
                continue
            found.append(_routed(self._current(one, today), query.exchange))
        return found

    def search(self, pattern: str, now_s: float) -> list[Contract]:
        text, today = pattern.strip().upper(), new_york_date(now_s)
        shown = [one.contract for one in listed() if one.head <= today] if text else []
        begins = [contract for contract in shown if contract.symbol.startswith(text)]
        names = [contract for contract in shown if contract not in begins and text in contract.long_name.upper()]
        return [contract for contract in begins + names if contract.sec_type != "CFD"][:16]

    def derivatives(self, contract: Contract) -> tuple[str, ...]:
        others = [one.contract for one in by_symbol().get(contract.symbol, ())]
        types = [other.sec_type for other in others if other.under_con_id == contract.con_id]
        if contract.sec_type == "STK" and contract.symbol in options.UNDERLYINGS:
            types.append("OPT")
        return tuple(dict.fromkeys(types))

    def option_params(self, contract: Contract, now_s: float) -> list[OptionParams]:
        if contract.sec_type != "STK" or contract.symbol not in options.UNDERLYINGS:
            return []
        ends = tuple(f"{end:%Y%m%d}" for end in options.expirations(new_york_date(now_s)))
        strikes = options.strikes(self._prices.spot(contract.symbol, now_s))
        return [
            OptionParams(exchange, contract.con_id, contract.symbol, "100", ends, strikes)
            for exchange in options.EXCHANGES
        ]

    def _candidates(self, query: ContractQuery, now_s: float) -> Sequence[Instrument]:
        if query.con_id:
            one = by_con_id().get(query.con_id) or options.by_con_id(query.con_id)
            return (one,) if one else ()
        name = (query.local_symbol or query.symbol).upper()
        if "OPT" in query.types() and name[:6].strip() in options.UNDERLYINGS:
            spot = self._prices.spot(name[:6].strip(), now_s)
            return list(options.matching(query, spot, new_york_date(now_s)))
        if not name and query.sec_id:
            return listed()
        return by_symbol().get(name, ())

    def _current(self, one: Instrument, today: date) -> Contract:
        """A continuous future names the month that it stands for."""
        root = root_of(one.contract.symbol) if one.roll else None
        if root is None:
            return one.contract
        month = front(root, today).contract
        return replace(
            one.contract,
            last_trade_date=month.last_trade_date,
            local_symbol=month.local_symbol,
            contract_month=month.contract_month,
            real_expiration_date=month.real_expiration_date,
        )


def _routed(contract: Contract, exchange: str) -> Contract:
    return replace(contract, exchange=exchange) if exchange and exchange != contract.exchange else contract
