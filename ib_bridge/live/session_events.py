"""The state of the connection to IB, published whenever it changes."""

from typing import Any

from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.connection import IbConnection
from ib_bridge.live.outbox import Outbox
from nautilus.clock import rfc3339
from nautilus.live.channels import Channel


class SessionEvents:
    """Tells on `events.session.<bridge>`."""

    def __init__(self, bridge: str, outbox: Outbox, connection: IbConnection, clock: MarketClock) -> None:
        self._channel = Channel("events.session", subject=bridge).name
        self._outbox = outbox
        self._connection = connection
        self._clock = clock
        self._known: dict[str, Any] = {}

    def check(self) -> None:
        """Publish the state if it is another one than was published last."""
        health = self._connection.status()
        farms = {name: farm["state"] for name, farm in self._connection.health.farms.items()}
        fields = {"state": health.state.value, "reason": health.reason, "farms": farms}
        if fields != self._known:
            self._known = fields
            self._outbox.tell("session", self._channel, {**fields, "market_time": rfc3339(self._clock.now_ns())})
