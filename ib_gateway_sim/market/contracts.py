"""What can be traded here: the contract as IB describes it, and the question that finds it.

Field names follow IB's contractDetails message; numbers are numbers, lists are tuples, dates are text as on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass

ORDER_TYPES = ("ACTIVETIM", "LMT", "MKT", "STP", "STPLMT", "TRAIL", "WHATIF")


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract with everything that a contractDetails answer needs.

    `calendar` is the key of its sessions in calendars.py. `kinds` are the whatToShow values that are served for it.
    """

    con_id: int
    symbol: str
    sec_type: str  # STK CASH FUT CONTFUT IND OPT CRYPTO CFD
    exchange: str  # where this answer routes: SMART, or the listed exchange of the request
    currency: str
    local_symbol: str
    long_name: str
    calendar: str
    time_zone: str  # as IB spells it: US/Eastern, US/Central
    min_tick: float
    kinds: tuple[str, ...]
    last_trade_date: str = ""  # yyyymmdd; FUT, OPT
    strike: float = 0.0
    right: str = ""  # C, P or empty
    multiplier: str = ""
    primary_exchange: str = ""
    trading_class: str = ""
    market_name: str = ""
    contract_month: str = ""  # yyyymm
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    order_types: tuple[str, ...] = ORDER_TYPES
    valid_exchanges: tuple[str, ...] = ()
    market_rule_ids: tuple[int, ...] = ()  # parallel to valid_exchanges
    price_magnifier: int = 1
    under_con_id: int = 0
    under_symbol: str = ""
    under_sec_type: str = ""
    real_expiration_date: str = ""  # yyyymmdd
    last_trade_time: str = ""  # hh:mm in time_zone
    stock_type: str = ""  # COMMON, ETF
    sec_ids: tuple[tuple[str, str], ...] = ()  # (tag, value), e.g. ("ISIN", "US...")
    agg_group: int = 1
    ev_rule: str = ""
    ev_multiplier: float = 0.0
    md_size_multiplier: int = 1
    min_size: float = 1.0
    size_increment: float = 1.0
    suggested_size_increment: float = 1.0
    permitted: bool = True  # False: the login has no market data permission for it


@dataclass(frozen=True, slots=True)
class ContractQuery:
    """A contract as a client asks for it: IB's twelve fields and three more; empty text and zero mean "not given"."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    last_trade_date: str = ""  # yyyymm or yyyymmdd
    strike: float = 0.0
    right: str = ""  # C P CALL PUT, also 0 and ? for none
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""
    include_expired: bool = False
    sec_id_type: str = ""  # ISIN is known
    sec_id: str = ""

    def matches(self, contract: Contract) -> bool:
        """Whether every field that is given agrees with the contract; expiry in the past is judged by the market."""
        return (
            self.con_id in (0, contract.con_id)
            and self.symbol.upper() in ("", contract.symbol)
            and self._type_fits(contract)
            and self.last_trade_date in ("", contract.last_trade_date, contract.contract_month)
            and self.strike in (0.0, contract.strike)
            and _right(self.right) in ("", contract.right)
            and self.multiplier in ("", contract.multiplier)
            and self.exchange in ("", contract.exchange, *contract.valid_exchanges)
            and self.primary_exchange in ("", contract.primary_exchange)
            and self.currency in ("", contract.currency)
            and self.local_symbol.upper() in ("", contract.local_symbol)
            and self.trading_class in ("", contract.trading_class)
            and (not self.sec_id or (self.sec_id_type, self.sec_id) in contract.sec_ids)
        )

    def types(self) -> tuple[str, ...]:
        """The requested security types; none: any (`FUT+CONTFUT` names two)."""
        return tuple(self.sec_type.upper().split("+")) if self.sec_type else ()

    def _type_fits(self, contract: Contract) -> bool:
        return not self.sec_type or contract.sec_type in self.types()


def _right(text: str) -> str:
    return {"CALL": "C", "PUT": "P", "0": "", "?": ""}.get(text.upper(), text.upper())
