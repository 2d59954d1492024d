"""The unit of volumes, where comparing breaks in a way that nobody foresaw."""

import asyncio
from types import SimpleNamespace
from typing import Any

from ib_bridge.history.volume_units import VolumeUnits
from ib_bridge.ib.clock import MarketClock
from nautilus.db.bars.volume_units import UNKNOWN, Taken
from nautilus.settings.bridge import BridgeSettings
from tests.support.stored_bars import stock


class Booking:
    """Lets every request be sent."""

    async def book(self, *about: Any) -> int:
        return 1

    async def close(self, *about: Any, **more: Any) -> None:
        return None


def test_an_answer_is_taken_as_of_unknown_unit_where_comparing_breaks() -> None:
    broke: list[str] = []

    async def daily(*about: Any) -> list[Any]:
        raise IndexError("a bug of the client library")

    connection: Any = SimpleNamespace(
        up=True,
        server_version=178,
        stated_volume_unit=None,
        number=1,
        login="U1",
        serves=lambda instrument: True,
    )
    requests: Any = SimpleNamespace(daily=daily, daily_in_lots=daily)
    log = SimpleNamespace(exception=broke.append, warning=lambda *about, **more: None)
    settings = BridgeSettings.model_validate({"database_url": "postgresql://x@127.0.0.1/x"})
    store: Any = None
    booking: Any = Booking()
    units = VolumeUnits(
        settings,
        transactions=store,
        connection=connection,
        requests=requests,
        booking=booking,
        clock=MarketClock(),
        log=log,
    )
    for _ in range(2):
        assert asyncio.run(units.taken(stock(), "TRADES", 1)) == Taken("U1", UNKNOWN)
    assert broke == ["volume-unit-broke"], "it is tried again after some minutes, not with each answer"
