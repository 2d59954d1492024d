"""Whether orders and changes of orders may be sent now, and why not. No gate stops a cancel."""

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from nautilus.clock import NS_PER_S, datetime_of, ns_of

_RESTART_S = 60
"""So long before and after its restart a gateway gets no order: what is written in its last seconds is lost unread."""
READ_ONLY = "the gateway's box Read-Only API is ticked: it takes no order, and tells of none"
_NEW_YORK = ZoneInfo("America/New_York")
"""The zone in which the gateway's image restarts it (infra/template.yaml, TIME_ZONE)."""


class GateView(NamedTuple):
    """What is known about the way to IB. guard: why the accounts may get no orders; None when they may. read_only: the gateway
    refuses orders, and questions for orders."""

    up: bool
    reason: str
    guard: str | None
    read_only: bool
    servers_lost: bool
    reconciled: bool
    recording: bool
    halted_by_signal: bool
    restarting: bool


class ProcessStatus(NamedTuple):
    """State and reason as the row `order_process` has them."""

    state: str
    reason: str

    @property
    def open(self) -> bool:
        return self.state == "ready"


def status(view: GateView) -> ProcessStatus:
    """The first thing that is in the way."""
    if not view.up:
        return ProcessStatus("connecting", view.reason)
    if view.guard is not None:
        return ProcessStatus("not_ready", view.guard)
    if view.halted_by_signal:
        return ProcessStatus("not_ready", "halted by a signal (SIGUSR1): start the process anew to go on")
    if view.read_only:
        return ProcessStatus("not_ready", READ_ONLY)
    if view.servers_lost:
        return ProcessStatus("not_ready", "the gateway has lost IB's servers (1100): nobody knows what reaches them")
    if not view.recording:
        return ProcessStatus("not_ready", "the database takes no words of IB at present")
    if view.restarting:
        return ProcessStatus("not_ready", "the gateway is about to restart: what it gets now would be lost")
    if not view.reconciled:
        return ProcessStatus("reconciling", "asking IB which orders, completed orders and executions it has")
    return ProcessStatus("ready", "")


def restarting(restart_at: str, market_ns: int) -> bool:
    """True within a minute of the gateway's daily restart. restart_at: `11:45 PM` in New York; empty: there is none."""
    return any(abs(at - market_ns) <= _RESTART_S * NS_PER_S for at in _restarts(restart_at, market_ns))


def next_restart(restart_at: str, market_ns: int) -> int | None:
    """When the gateway restarts next, by market time in ns; None where no time is set."""
    return min((at for at in _restarts(restart_at, market_ns) if at > market_ns), default=None)


def _restarts(restart_at: str, market_ns: int) -> list[int]:
    """The restarts of the day before, of this day and of the next one."""
    if not restart_at:
        return []
    today = datetime_of(market_ns).astimezone(_NEW_YORK).date()
    at = datetime.strptime(restart_at, "%I:%M %p").time()
    days = (today + timedelta(days=shift) for shift in (-1, 0, 1))
    return [ns_of(datetime.combine(day, at, _NEW_YORK)) for day in days]
