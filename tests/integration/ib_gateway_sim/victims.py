"""Clients that ignore a fault, and clients that reckon with it: the registry that `test_victims.py` walks.

How to join: write a case below (or in a module of yours that `test_victims.py` imports) and mark it with the commands
that it injects.

    @victim("commission_delay")
    async def a_fee_that_is_not_there_is_none(client, sim, inject):
        await inject("commission_delay 60")       # only here; in the control run this does nothing
        ...
        return Reading(naive=..., careful=..., truth=...)

`naive` is what a client believes that ignores the fault, `careful` what one believes that reckons with it, `truth` what
the simulator knows. The walk runs each case twice. With the fault the naive reading must be wrong and the careful one
right; without it both must be right, so it is the fault that the naive one falls for. Faults whose victim is in a test of
its own, and commands that are no faults, are in `fault_table.py`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.support.sim_client import RawClient
from tests.support.sim_orders import messages, order

Inject = Callable[[str], Awaitable[Any]]
"""Carries out a line at the control port; does nothing in the run without the fault."""


@dataclass(frozen=True)
class Reading:
    naive: Any
    careful: Any
    truth: Any


Case = Callable[[RawClient, Any, Inject], Awaitable[Reading]]


@dataclass(frozen=True)
class Victim:
    commands: tuple[str, ...]
    case: Case

    @property
    def name(self) -> str:
        return self.case.__name__


VICTIMS: list[Victim] = []


def victim(*commands: str) -> Callable[[Case], Case]:
    """Registers a case for the commands that it injects."""

    def join(case: Case) -> Case:
        VICTIMS.append(Victim(commands, case))
        return case

    return join


# ---- reading what came -----------------------------------------------------------------------------------------------
def executions(words: list[list[str]]) -> list[tuple[str, float, float]]:
    """(execId, shares, price) of each execDetails."""
    return [(fields[14], float(fields[19]), float(fields[20])) for fields in words if fields[0] == "11"]


def fees(words: list[list[str]]) -> dict[str, float]:
    """execId -> commission of each commissionReport."""
    return {fields[2]: float(fields[3]) for fields in words if fields[0] == "59"}


def booked_fees(sim: Any) -> float:
    return round(sum(float(booking.fee) for each in sim.portfolios.values() for booking in each.bookings), 4)


def held(sim: Any, account: str = "") -> float:
    """Shares of all positions of an account."""
    portfolio = sim.portfolios[account] if account else sim.portfolio
    return float(sum(position.quantity for position in portfolio.open_positions()))


async def requested_fees(client: RawClient) -> dict[str, float]:
    """Commissions, as reqExecutions answers."""
    client.send(7, 3, 900, 0, "", "", "", "", "", "")
    return fees(await messages(client))


async def positions(client: RawClient) -> dict[str, float]:
    """Account -> shares, as reqPositions answers."""
    client.send(61, 1)
    found: dict[str, float] = {}
    while (fields := await client.read())[0] != "62":
        if fields[0] == "61":
            found[fields[2]] = found.get(fields[2], 0.0) + float(fields[14])
    return found


async def ledger(client: RawClient, tag: str, account: str = "") -> dict[str, float]:
    """Currency -> a value of the ledger, as the account summary tells it for the first account."""
    client.send(62, 1, 77, "All", "$LEDGER:ALL")
    found: dict[str, float] = {}
    while (fields := await client.read())[0] != "64":
        if fields[0] == "63" and fields[4] == tag and account in ("", fields[3]):
            found.setdefault(fields[6], float(fields[5]))
    client.send(63, 1, 77)
    return found


# ---- commissions -----------------------------------------------------------------------------------------------------
@victim("commission_delay")
async def commissions_that_come_later(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client sums what came with its fill; the careful one asks again later."""
    await inject("commission_delay 60")
    order(client, 1, quantity=10)
    with_the_fill = fees(await messages(client))
    await sim.clock.advance(61)
    await messages(client)
    return Reading(sum(with_the_fill.values()), sum((await requested_fees(client)).values()), booked_fees(sim))


@victim("commission_delay")
async def commissions_that_never_come(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client takes a fee that is not there for zero; the careful one counts the executions without one."""
    await inject("commission_delay never")
    order(client, 1, quantity=10)
    words = await messages(client)
    await sim.clock.advance(1000)
    reported = fees(words) | await requested_fees(client)
    missing = [execution for execution, _, _ in executions(words) if execution not in reported]
    now_s, made = sim.clock.now_s(), sim.orders.executions
    known = sum(each.fee for each in made if each.fee_known(now_s))
    unknown = sum(not each.fee_known(now_s) for each in made)
    return Reading((sum(reported.values()), 0), (sum(reported.values()), len(missing)), (known, unknown))


@victim("commission_first")
async def commissions_before_their_executions(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client looks the execution of a commission up and drops one that it does not know yet."""
    await inject("commission_first")
    order(client, 1, quantity=10)
    known, naive = set(), 0.0
    words = await messages(client)
    for fields in words:
        known |= {fields[14]} if fields[0] == "11" else set()
        naive += float(fields[3]) if fields[0] == "59" and fields[2] in known else 0.0
    return Reading(naive, sum(fees(words).values()), booked_fees(sim))


# ---- executions that change ------------------------------------------------------------------------------------------
def latest(made: list[tuple[str, float, float]]) -> dict[str, tuple[float, float]]:
    """Execution without its revision -> (shares, price) of the highest revision."""
    return {execution.rpartition(".")[0]: (shares, price) for execution, shares, price in sorted(made)}


@victim("correct")
async def corrected_executions(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client adds every execDetails up; the careful one replaces a revision by the next."""
    order(client, 1, quantity=10)
    words = await messages(client)
    await inject("correct last 250.5 8")
    made = executions(words + await messages(client))
    naive = sum(shares for _, shares, _ in made)
    return Reading(naive, sum(shares for shares, _ in latest(made).values()), held(sim))


@victim("correct")
async def commissions_of_corrected_executions(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client keeps the commission of each execId it was told; that of a revision takes the former's place."""
    order(client, 1, quantity=1000)
    await sim.clock.advance(30)
    words = await messages(client)
    await inject("correct last 250.5 1")
    reported = fees(words + await messages(client))
    newest = {execution.rpartition(".")[0]: fee for execution, fee in sorted(reported.items())}
    return Reading(round(sum(reported.values()), 4), round(sum(newest.values()), 4), booked_fees(sim))


@victim("bust_execution")
async def executions_taken_back(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client drops an execution of no shares as senseless."""
    order(client, 1, quantity=10)
    words = await messages(client)
    await inject("bust_execution last")
    made = executions(words + await messages(client))
    naive = sum(shares for shares, _ in latest([each for each in made if each[1] > 0]).values())
    return Reading(naive, sum(shares for shares, _ in latest(made).values()), held(sim))


@victim("bust_execution")
async def executions_taken_back_without_a_word(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client knows its position by its executions; the careful one compares with reqPositions."""
    order(client, 1, quantity=10)
    words = await messages(client)
    await inject("bust_execution last silent")
    made = executions(words + await messages(client))
    naive = sum(shares for shares, _ in latest(made).values())
    return Reading(naive, (await positions(client)).get("SIM7", 0.0), held(sim))


# ---- accounts --------------------------------------------------------------------------------------------------------
@victim("accounts")
async def several_accounts(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client takes all positions for those of its one account."""
    order(client, 1, quantity=10, account="SIM7")
    await messages(client)
    await inject("accounts 2")
    await inject("assign MSFT 5 400 STK SIM7001")
    found = await positions(client)
    return Reading(sum(found.values()), found["SIM7"], held(sim, "SIM7"))


@victim("fa")
async def an_advisors_order(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client adds all executions of its order up: the shares of the accounts follow the whole."""
    await inject("accounts 3")
    await inject("fa on")
    order(client, 1, quantity=10)
    words = await messages(client)
    owners = {fields[16] for fields in words if fields[0] == "11"}
    naive = sum(shares for _, shares, _ in executions(words))
    careful = sum(
        float(fields[19]) for fields in words if fields[0] == "11" and (fields[16] != "SIM7" or owners == {"SIM7"})
    )
    return Reading(naive, careful, sum(held(sim, account) for account in sim.portfolios))


@victim("cash")
async def cash_in_another_currency(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client adds the balances of all currencies up as they are."""
    await inject("cash JPY 1000000")
    balances = await ledger(client, "CashBalance")
    every = {currency: amount for currency, amount in balances.items() if currency != "BASE"}
    return Reading(round(sum(every.values())), round(balances["BASE"]), round(sim.totals().cash))


@victim("deposit")
async def money_paid_in(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client takes what the account is worth more for profit; the careful one asks for the profit."""
    await inject("deposit 5000")
    client.send(62, 1, 78, "All", "NetLiquidation")
    worth = float((await client.message(63))[5])
    client.send(92, 5, "SIM7", "")
    profit = float((await client.message(94))[2])
    return Reading(round(worth - 1_000_000), round(profit), 0)


@victim("assign")
async def positions_without_an_execution(client: RawClient, sim: Any, inject: Inject) -> Reading:
    """The naive client knows its position by its executions; an assignment makes none."""
    order(client, 1, quantity=10)
    made = executions(await messages(client))
    await inject("assign AAPL 100 240")
    return Reading(sum(shares for _, shares, _ in made), (await positions(client))["SIM7"], held(sim))


@victim("split_position")
async def positions_that_split(client: RawClient, sim: Any, inject: Inject) -> Reading:
    order(client, 1, quantity=10)
    made = executions(await messages(client))
    await inject("split_position AAPL 4")
    return Reading(sum(shares for _, shares, _ in made), (await positions(client))["SIM7"], held(sim))
