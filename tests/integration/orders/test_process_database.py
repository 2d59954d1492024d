"""The order process over a database that is killed with -9 and keeps what it committed."""

import itertools

from dev.postgres import start_postgres
from nautilus.db.migrate import upgrade
from tests.support.order_process import order_stack

_numbers = itertools.count(1)


def test_words_that_came_while_the_database_was_dead_are_committed_when_it_is_back(servers, tmp_path):
    folder = servers.folder / f"orders-database-{next(_numbers)}"
    server = start_postgres(servers.group, folder, durable=True)
    server.child.wait_ready()
    upgrade(server.dsn())
    with order_stack(servers.group, tmp_path, server.dsn(), settings={}) as stack:
        stack.until(stack.place(), "working")
        stack.sim.command("latency 500")
        resting = stack.place()
        stack.wait(lambda: str(resting) in stack.placed(), "the order arrives")
        servers.group.kill_child(server.child)
        stack.sim.command("latency none")
        server = start_postgres(servers.group, folder, durable=True, port=server.port)
        server.child.wait_ready()
        row = stack.until(resting, "working")
        assert len(row.perm_ids) == 1
        filled = stack.place(type="MKT", limit_price=None)
        stack.until(filled, "filled")
        assert sorted(stack.placed()) == sorted({*stack.placed()}), "none was sent twice"
        assert stack.process is not None
        assert stack.process.exit_code() is None
        servers.group.kill_child(stack.process)
        stack.process = None
    servers.group.stop_child(server.child)
