"""Every loop that waits is known, and no error ends one that runs in the background."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("ib_bridge", "functions", "layers/shared/nautilus", "stream", "strategy_host")

# Loops whose error is told to whoever waits for them; the sentence says who that is.
CALLERS = {
    "ib_bridge.history.booking.Booking.book": "who sends the request",
    "ib_bridge.bridge.Bridge.run": "the process: its loops end by their own end alone",
    "nautilus.process.tasks.cancel_all": "the process, which ends",
    "ib_bridge.bridge.Bridge._plan": "a step of the loop of planning",
    "ib_bridge.inbox.commands.Commands.begin": "a step of the loop of commands",
    "ib_bridge.reference.calendars.Calendars.calendar": "who asks for the calendar",
    "ib_bridge.reference.calendars.Calendars.relearn": "a step of the loop of empty re-checks",
    "ib_bridge.ib.connection.IbConnection._read_clock_first": "a step of the loop that connects",
    "ib_bridge.ib.connection.IbConnection._watch": "a step of the loop that connects",
    "ib_bridge.history.volume_units.VolumeUnits._revise": "a step of the loop of volume units",
    "nautilus.reading.service.MarketData._wait": "who reads",
    "nautilus.orders.waiting.OrderWaits._poll": "who waits for an order",
    "stream.events._gone": "the event stream, which ends",
    "stream.listener.SocketListener.flush": "who sends for a socket",
    "stream.listener.SocketListener.send_all": "the socket, which is closed",
    "stream.order_channels.begin": "the task around it, which tells the client",
    "stream.order_events.OrderEvents.snapshot": "who begins a channel",
    "stream.realtime.PageListener.receive_all": "the socket, which is closed",
    "stream.service.Stream.listening": "who opens a socket",
    "stream.snapshots.Snapshots._work": "all who wait for the snapshots",
    "stream.subscriber.Subscriber._send_bars": "the task around it, which tells the client",
    "stream.v1.Socket.receive_all": "the socket, which is closed",
    "ib_bridge.orders.gateway.OrderGateway._watch": "a step of the loop that connects the order process",
    "ib_bridge.orders.pacer.Pacer._pass": "who sends an order, a change or a question",
    "ib_bridge.orders.what_ifs.WhatIfs.step": "a step of the loop of what-if orders",
    "ib_bridge.orders.sender.Sender._send_accepted": "a step of the loop of sending",
    "ib_bridge.orders.word_writer.WordWriter.drain": "the process, which ends",
    "ib_bridge.history.open_requests.OpenRequests.enter": "a request that confirms live bars",
    "strategy_host.backtest.BackTest._attempt": "the run, which ends with it",
    "strategy_host.backtest.BackTest._feed": "the attempt, which ends with it",
    "strategy_host.backtest.BackTest._store_often": "the attempt, which ends with it",
    "strategy_host.live_run.LiveRun._order": "the attempt, which ends with it",
    "strategy_host.live_run.LiveRun._patiently": "the attempt, which ends with it",
    "strategy_host.stopping.end": "the run, which ends with it",
    "strategy_host.stopping.outcome": "the run, which ends with it",
    "strategy_host.child.Child._keep_errors": "the task around it; nothing but the words of an end depends on it",
    "strategy_host.child.Child.messages": "who reads the child",
    "strategy_host.child.Child.watch": "the attempt, which ends with it",
}
# Loops that catch everything in their body themselves: threads, and some that wait in their own way.
GUARDED = {
    "ib_bridge.live.live_lock.LiveLock.wait",
    "nautilus.process.notify.Listener._run",
    "nautilus.process.notify.Consumer.run",
    "nautilus.lookup.command_watch.CommandWatch._poll",
    "nautilus.db.deadlines.Deadlines._watch",
    "stream.bus.BusThread._run",
    "strategy_host.bar_bus.BarBus._run",
    "stream.realtime.PageListener.settle",
}
HELPER = "nautilus.infra.loops.repeat"

WAITS = ("sleep", "wait", "wait_for", "run_in_executor", "get", "acquire", "join")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for place in PLACES:
        base = (ROOT / place).parent
        for path in sorted((ROOT / place).rglob("*.py")):
            yield ".".join(path.relative_to(base).with_suffix("").parts), ast.parse(path.read_text())


def functions(tree: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
    """Every function with its qualified name."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inner = f"{name}.{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield inner, child
            yield from functions(child, inner)
        else:
            yield from functions(child, name)


def own(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, those of functions in it left out."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from own(child)


def waits(loop: ast.While) -> bool:
    """True when a loop waits for something between its rounds."""
    return any(
        isinstance(node, ast.Await)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WAITS)
        for node in own(loop)
    )


def catches_everything(loop: ast.While) -> bool:
    return any(
        isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == "Exception"
        for node in own(loop)
    )


LOOPS = {
    name: [node for node in own(function) if isinstance(node, ast.While) and waits(node)]
    for module, tree in modules()
    for name, function in functions(tree, module)
}
LOOPS = {name: found for name, found in LOOPS.items() if found}


def test_every_loop_that_waits_is_known() -> None:
    assert {"nautilus.process.notify.Consumer.run", HELPER} <= set(LOOPS), "the loops were read"
    unknown = set(LOOPS) - set(CALLERS) - GUARDED - {HELPER}
    assert not unknown, f"use nautilus.infra.loops.repeat, or say who hears of an error: {sorted(unknown)}"
    assert set(CALLERS) | GUARDED <= set(LOOPS), "a loop that is gone has no place in the table"


@pytest.mark.parametrize("name", sorted(GUARDED | {HELPER}))
def test_a_loop_of_its_own_catches_everything(name: str) -> None:
    assert catches_everything(LOOPS[name][0])


def started(tree: ast.AST) -> Iterator[str]:
    """What is started in the background, as text: the first argument of create_task or shared_task, the target of a thread."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("create_task", "shared_task"):
                yield ast.unparse(node.args[0])
            elif called == "Thread":
                yield ast.unparse(next(k.value for k in node.keywords if k.arg == "target"))


# What may run in the background besides `repeat(...)`, and why that cannot end unheard.
BACKGROUND = {
    "ib_bridge.bridge: loop": "the loops of the process, each of which catches everything, or the helper",
    "ib_bridge.bridge: stop.wait()": "an event",
    "ib_bridge.bridge: self._fatal_event.wait()": "an event",
    "ib_bridge.orders.process: loop": "made of the helper",
    "ib_bridge.orders.process: stop.wait()": "an event",
    "ib_bridge.orders.process: self._fatal_event.wait()": "an event",
    "ib_bridge.inbox.commands: self._run(row)": "one command, whose every error is its result",
    "ib_bridge.reference.contracts: self._ask(selector, correlation_id)": "one lookup: all who wait for it get its error",
    "nautilus.process.notify: self._run": "catches everything",
    "ib_bridge.history.worker: loop": "made of the helper",
    "ib_bridge.live.confirming: loop": "made of the helper",
    "ib_bridge.live.confirming: self._work(task)": "one request: every error is logged, and its bars are asked for again",
    "ib_bridge.live.publishing: self._write(self.outbox.take_rows())": "a beat waits for it and raises its error",
    "ib_bridge.live.recovery: self._ask_history(silence)": "one look at history, whose every error is logged",
    "ib_bridge.history.in_flight: work": "one request, whose every error is told and gives the chunk back",
    "nautilus.infra.executors: work": "shared_task itself, whose work is listed where it is called",
    "nautilus.lookup.command_watch: self._poll()": "catches everything",
    "nautilus.db.deadlines: self._watch": "catches everything",
    "nautilus.reading.read_through: polling": "made of the helper",
    "stream.bus: self._run": "catches everything",
    "stream.events: _gone(receive)": "the event stream ends with it",
    "stream.events: listener.send_all()": "the event stream ends with it",
    "stream.open_socket: listener.send_all()": "the socket is closed with it, and its error is raised",
    "stream.realtime: listener.settle()": "catches everything",
    "stream.page_orders: self._begin(subscription)": "catches everything",
    "stream.snapshots: self._work()": "all who wait for the snapshots get its errors",
    "stream.subscriber: self._with_errors(work)": "tells the client every error",
    "strategy_host.backtest: child.watch()": "the attempt waits for it and raises its error",
    "strategy_host.backtest: self._end_when_cancelled()": "the attempt waits for it and raises its error",
    "strategy_host.backtest: self._feed(child, found, recorder)": "the attempt waits for it and raises its error",
    "strategy_host.backtest: self._listen(child, found, recorder)": "the attempt waits for it and raises its error",
    "strategy_host.backtest: self._store_often(recorder)": "the attempt waits for it and raises its error",
    "strategy_host.bar_bus: self._run": "catches everything",
    "strategy_host.live_run: child.watch()": "the attempt waits for it and raises its error",
    "strategy_host.live_run: self._drive(child, feed, before, orders)": "the attempt waits for it and raises its error",
    "strategy_host.live_run: self._listen(child, recorder, orders)": "the attempt waits for it and raises its error",
    "strategy_host.live_run: self._store_often(recorder)": "of the helper",
    "strategy_host.live_run: following.want_often(self._parts, self.run)": "of the helper",
    "strategy_host.live_run: Standing(self._parts, self.run).write_often()": "of the helper",
    "strategy_host.child: self._keep_errors()": "it reads a pipe to its end; nothing but the words of an end depends on it",
    "strategy_host.host: loop": "made of the helper",
    "strategy_host.host: one.work()": "one run: every error is logged when it ends, and its lease runs out",
    "strategy_host.host: stop.wait()": "an event",
    "strategy_host.host: self._fatal_event.wait()": "an event",
}


def test_what_runs_in_the_background_cannot_end_unheard() -> None:
    found = {
        f"{module}: {what}" for module, tree in modules() for what in started(tree) if not what.startswith("repeat(")
    }
    assert found == set(BACKGROUND)
