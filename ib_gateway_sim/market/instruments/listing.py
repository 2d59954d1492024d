"""Everything that is listed in the generated market, by contract id and by symbol."""

from functools import cache

from ib_gateway_sim.market.instruments.futures import FUTURES, continuous, months
from ib_gateway_sim.market.instruments.instrument import Instrument
from ib_gateway_sim.market.instruments.others import cfds, coins, indices, pairs
from ib_gateway_sim.market.instruments.stocks import stocks, stocks_for_tests


@cache
def listed() -> tuple[Instrument, ...]:
    """Everything but futures months and options."""
    return (*stocks(), *stocks_for_tests(), *pairs(), *indices(), *coins(), *cfds(), *map(continuous, FUTURES))


@cache
def by_con_id() -> dict[int, Instrument]:
    """Everything but options, by contract id."""
    every = [*listed(), *(one for root in FUTURES for one in months(root))]
    table = {one.contract.con_id: one for one in every}
    if len(table) != len(every):
        raise RuntimeError("two instruments got the same con_id: change con_id()")
    return table


@cache
def by_symbol() -> dict[str, tuple[Instrument, ...]]:
    """Everything but options, by symbol and by local symbol."""
    table: dict[str, tuple[Instrument, ...]] = {}
    for one in by_con_id().values():
        for name in {one.contract.symbol, one.contract.local_symbol}:
            table[name] = (*table.get(name, ()), one)
    return table
