"""What can be chosen when the gateway starts; docs/simulator.md explains each option."""

from dataclasses import dataclass

from ib_gateway_sim.wire.framing import VERSION_CEILING


@dataclass
class Settings:
    lines: int = 100  # market data lines; half of them is the message rate
    reject_rate: bool = False  # error 100 instead of queueing
    steps: str = "current"  # which table of legal steps: current | old
    login_zone: str = "US/Eastern"
    date_zone: str = "instrument"  # text dates from version 174 on: instrument | login | utc
    volume: str = "shares"  # of US stocks from version 175 on: shares | lots
    read_only: bool = False
    max_clients: int = 32  # what a real gateway allows
    max_version: int = VERSION_CEILING
    next_order_id: int = 1
    master_client: int = -1  # this client receives everybody's orders; -1: none
    client_zero: str = "manual"  # which orders of others client 0 receives: manual (of TWS alone) | all
    gone_clients: str = "work"  # orders that were read when their client went: work | drop
    halted: str = "refuse"  # orders for what is halted: refuse (154) | hold
    children: str = "full"  # bracket children wake at a full | partial fill of the parent
    left_children: str = "end"  # children of a parent that is cancelled when a part of it has filled: end | stay
    twin_cancel: str = "first"  # what a cancel reaches of an order that became two: the first alone | then the next
    modify_cancelled: int = 201  # the code for changing a cancelled order; IB's is not established
    past_gtd: str = "refuse"  # an order good till a time that is over: refuse (201) | cancel (202)
    refused: str = "forget"  # refused orders among the completed ones: forget | complete
    price_range: float = 800.0  # a limit so many percent away from the market is refused (109); 0: none is
    at_close: str = "keep"  # bars of 5 seconds and keepUpToDate at the end of their trade date: keep | end
    accounts: int = 1  # of the login
    fa: bool = False  # the first account is an advisor's, whose orders are shared out among the others
    live_slots: str = "held"  # of the 50 open history requests, by keepUpToDate while it lives: held | free
    rtb_book: str = "own"  # where requests for bars of 5 seconds are counted: own | shared with small bars
    lines_by: str = "request"  # quotes and bars of 5 seconds of one contract use a line each (request) | one (contract)
    tick_pause: float = 15.0  # seconds between two requests for tick-by-tick data of one instrument; 0: none
    empty_live: str = "refuse"  # keepUpToDate whose first answer is empty: refuse (162) | stream
    live_cadence: str = "grid"  # when streams read the market: grid | class (as IB tells for each class of products)
    quote_s: float = 0.25  # market seconds between two readings of the market for streams
    slow_reader_bytes: int = 64 << 20  # a client that lets so much pile up is dropped
    longest_answer_bytes: int = 0xFFFFFF - 1000  # clients end at a longer frame (507); who asks for one is dropped
