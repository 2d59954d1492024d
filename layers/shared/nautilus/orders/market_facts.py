"""What checks need to know of the market and of the settings: quote, hours, price steps, exchange rate. The ledger's part is in
`account_facts`."""

from decimal import Decimal

from nautilus.db.cursor import Cursor
from nautilus.db.live.quotes import AgedQuote
from nautilus.db.orders.pictures import market_picture
from nautilus.lookup.identity import trade_day
from nautilus.market.account_kind import account_kind
from nautilus.market.instrument import Instrument
from nautilus.orders import hours
from nautilus.orders.facts import Facts, Quote, age_s, magnifier_of, multiplier_of
from nautilus.orders.prices import rule_of
from nautilus.settings.orders import OrderModeSettings


def market_facts(
    cursor: Cursor, instrument: Instrument, account: str, *, now: int, settings: OrderModeSettings
) -> Facts:
    """The facts without those of the account. now: market time in ns."""
    details, rate, quote = market_picture(cursor, instrument.con_id, account, instrument.currency)
    return Facts(
        now=now,
        today=trade_day(now),
        account_kind=None,
        mode=settings.orders,
        limits={},
        live_accounts=frozenset(settings.live_account),
        rule=rule_of(instrument, details),
        multiplier=multiplier_of(instrument) or Decimal(1),
        magnifier=magnifier_of(details),
        rate=rate,
        quote=_quote(quote, now) if quote is not None else None,
        close=_number(quote.close) if quote is not None else None,
        delayed_allowed=settings.orders_feed == "delayed" and account_kind([account]) != "live",
        session=hours.phase(instrument, details, now),
    )


def _quote(row: AgedQuote, now: int) -> Quote:
    age = age_s(market_at=row.seen_at, market_now=now, machine_at=0, machine_now=row.written_ago_ns)
    return Quote(_number(row.bid), _number(row.ask), _number(row.last), age, row.feed)


def _number(value: float | None) -> Decimal | None:
    """The shortest decimal that means this float: what IB sent."""
    return None if value is None else Decimal(repr(value))
