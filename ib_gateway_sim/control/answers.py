"""Faults of answers: slow, missing, wrong, refused."""

from typing import Any

from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import KINDS, Answer, choice, count, number, whole
from ib_gateway_sim.faults.notices import HISTORY_ERRORS
from ib_gateway_sim.rules.latency import Latency


def latency(control: Context, mode: Any) -> None:
    """none, measured, or milliseconds"""
    factor = control.gateway.latency.factor
    control.gateway.latency = Latency.parse(str(mode))
    control.gateway.latency.factor = factor


def slow(control: Context, factor: Any) -> None:
    """all answers take so many times longer; 1 is normal"""
    control.gateway.latency.factor = number("factor", factor, 0, 1e6)


def crawl(control: Context, beyond: Any, factor: Any = 10) -> None:
    """history takes so many times longer while more requests than this are open; 0 takes the limit away"""
    control.gateway.faults.hidden_open = count("beyond", beyond)
    control.gateway.faults.hidden_factor = number("factor", factor, 0, 1e6)


def silent(control: Context, n: Any = 1, kind: str = "reqHistoricalData") -> None:
    """the next n requests of a kind are never answered"""
    control.gateway.faults.silent[choice("kind", kind, KINDS)] = count("n", n)


def short(control: Context, n: Any = 1) -> None:
    """the next n answers with bars lack every other session"""
    control.gateway.faults.short = count("n", n)


def duplicate(control: Context, n: Any = 1) -> None:
    """the next n answers with bars come twice"""
    control.gateway.faults.duplicate = count("n", n)


def cut(control: Context, n: Any = 1) -> None:
    """the next n answers with bars break off in mid-frame, and the socket with them"""
    control.gateway.faults.cut = count("n", n)


def pacing(control: Context, n: Any = 1) -> None:
    """the next n history requests are pacing violations"""
    history_error(control, "pacing", n)


def history_error(control: Context, error: str, n: Any = 1) -> None:
    """the next n history requests fail with a kind of 162"""
    control.gateway.faults.history_errors += [choice("error", error, list(HISTORY_ERRORS))] * count("n", n)


def reject_next(control: Context, kind: str, code: Any, text: str, n: Any = 1) -> None:
    """the next n requests of a kind are answered with an error of your choice"""
    entry = (choice("kind", kind, KINDS), count("code", code), text)
    control.gateway.faults.rejects += [entry] * count("n", n)


def notice(control: Context, code: Any, text: str, request_id: Any = -1, client_id: Any = None) -> Answer:
    """sends an error message to a client or to all"""
    recipients = control.clients(client_id)
    for client in recipients:
        client.error(whole("request_id", request_id, -1, 2**31), count("code", code), text)
    return {"told": len(recipients)}


COMMANDS = commands(
    latency,
    slow,
    crawl,
    silent,
    short,
    duplicate,
    cut,
    pacing,
    history_error,
    reject_next,
    notice,
)
