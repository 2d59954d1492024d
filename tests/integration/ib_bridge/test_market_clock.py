"""A gateway whose clock is not this machine's: the simulator, told through whole seconds alone, counts no violation."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from nautilus.clock import NS_PER_S, parse_rfc3339
from tests.conftest import Server, database
from tests.support.stack import service_stack


@pytest.mark.parametrize("offset_s", [1.8, 3.0, -1.9])
def test_no_violation_however_far_ibs_clock_is_from_ours(
    servers: SimpleNamespace, server: Server, template: str, offset_s: float
) -> None:
    options = ("--latency", "none", "--clock", "real")
    with database(server, template) as dsn, service_stack(servers.group, servers.folder, dsn, *options) as stack:
        start = datetime.now(UTC) + timedelta(seconds=offset_s)
        stack.sim.command(f"set_clock {start:%Y-%m-%dT%H:%M:%S.%f}Z")
        # No control port: market time is learnt as from IB.
        stack.start_bridge(control_port="0", ib_heartbeat_s="0.5")
        days = [start - timedelta(days=n) for n in range(3, 8)]
        day = next(one for one in days if one.weekday() == 1 or one.weekday() == 2)
        job = stack.finished(
            stack.backfill(
                symbol="MSFT", timeframe="1s", start=f"{day:%Y-%m-%d}T15:00:00Z", end=f"{day:%Y-%m-%d}T20:00:00Z"
            )
        )
        assert job["status"] == "succeeded"
        assert job["progress"]["requests_sent"] >= 10
        errors = stack.sim.command("received error")["received"]
        assert [e["fields"] for e in errors if e["fields"]["code"] == 162] == []
        sim_ns = stack.sim.command("clock")["now_ns"]
        published_ns = parse_rfc3339(stack.session()["market_time"])
        assert abs(published_ns - sim_ns) < NS_PER_S
