"""How many historical requests are open at the gateway."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ib_gateway_sim.history.families import FAMILY, LIVE, open_requests
from ib_gateway_sim.session.jobs import Jobs


@pytest.mark.parametrize(("slots", "counted"), [("held", 3), ("free", 2)])
def test_a_request_that_is_answered_and_kept_up_to_date_is_open_once(slots: str, counted: int) -> None:
    async def count() -> int:
        jobs = Jobs(lambda: None, lambda number: None)
        for family, number in ((FAMILY, 1), (LIVE, 1), (LIVE, 2), (FAMILY, 3)):
            jobs.start(family, number, asyncio.sleep(60))
        client: Any = SimpleNamespace(jobs=jobs, open_heads=set())
        client.gateway = SimpleNamespace(clients={1: client}, settings=SimpleNamespace(live_slots=slots))
        found = open_requests(client)
        jobs.stop_all()
        return found

    assert asyncio.run(count()) == counted
