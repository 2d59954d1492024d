"""Machine time is the database's clock: what a process's own wall clock is read for is listed here."""

import ast

from tests.contract.test_loops import modules

# Place -> why its own clock will do. Two machines' clocks differ; what is stored and compared goes by the database's.
OWN_CLOCK = {
    "ib_bridge.ib.clock": "the difference between this clock and IB's is what it learns",
    "nautilus.infra.rate_limit": "which minute of a rate limit it is; neighbours may differ by a second",
    "nautilus.auth.authenticate": "the same, once per request",
    "stream.hub": "times for clients until the database's clock was read",
    "nautilus.reading.schemas": "a field of the old front end that tells when it was answered",
}
WALL = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}


def readers() -> set[str]:
    return {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in WALL
    }


def test_a_wall_clock_is_read_only_where_it_will_do() -> None:
    assert readers() == set(OWN_CLOCK)
