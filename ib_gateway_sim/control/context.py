"""What commands act upon: the gateway, its sockets, and what was planned for later."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ib_gateway_sim.control.values import Answer, Wrong, whole
from ib_gateway_sim.server.listener import Server
from ib_gateway_sim.session.gateway import Client, Gateway

Run = Callable[[str], Awaitable[Answer]]


class Context:
    def __init__(self, server: Server, run: Run, known: frozenset[str]) -> None:
        self.server = server
        self.run = run  # carries out one line
        self.known = known  # the names of all commands
        self.plans: set[asyncio.Task[None]] = set()  # what will happen later
        self.login_missing = ""  # how nobody gets in until somebody logs in; empty: somebody has

    @property
    def gateway(self) -> Gateway:
        return self.server.gateway

    def clients(self, client_id: Any) -> list[Client]:
        """The client of an id, or all that have signed in."""
        clients = self.gateway.clients
        if client_id is None:
            return list(clients.values())
        wanted = whole("client_id", client_id, 0, 2**31)
        if wanted not in clients:
            raise Wrong(f"client_id {wanted}; allowed: {', '.join(map(str, clients)) or 'nobody is here'}")
        return [clients[wanted]]

    def connections(self, client_id: Any) -> list[Client]:
        """The client of an id, or every open connection, also one that has not signed in."""
        return self.server.connected() if client_id is None else self.clients(client_id)

    def later(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        """Acts after so many seconds of market time."""

        async def wait() -> None:
            await self.gateway.clock.sleep(seconds)
            await action()

        self.spawn(wait())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.plans.add(task)
        task.add_done_callback(self.plans.discard)

    def cancel_plans(self) -> None:
        """All but the one that is running this."""
        for plan in self.plans - {asyncio.current_task()}:
            plan.cancel()
