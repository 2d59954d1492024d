"""Whether orders and changes of orders may be sent now, and why not. No gate stops a cancel."""

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from nautilus.clock import datetime_of

_RESTART_S = 60
"""So long before and after its restart a gateway gets no order: what is written in its last moments is lost unheard."""
_NEW_YORK = ZoneInfo("America/New_York")
"""The zone in which the gateway's image restarts it (infra/template.yaml, TIME_ZONE)."""


class GateView(NamedTuple):
    """What is known about the way to IB. guard: why the accounts may get no orders; None when they may."""

    up: bool
    reason: str
    guard: str | None
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
    if not restart_at:
        return False
    now = datetime_of(market_ns).astimezone(_NEW_YORK)
    at = datetime.strptime(restart_at, "%I:%M %p").time()
    days = (now.date() + timedelta(days=shift) for shift in (-1, 0, 1))
    moments = (datetime.combine(day, at, _NEW_YORK) for day in days)
    return any(abs((moment - now).total_seconds()) <= _RESTART_S for moment in moments)
