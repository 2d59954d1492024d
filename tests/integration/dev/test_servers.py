"""The servers of `make test`, `make demo` and `make up`: they start, they keep what they promise, they end."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import psycopg2
import pytest
import redis

from dev.folders import in_use
from dev.postgres import Postgres, start_postgres
from dev.process import Child, Group, StartError, free_port
from dev.redis import Redis, redis_binary, start_redis

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def group() -> Iterator[Group]:
    with Group() as group:
        yield group


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nautilus-servers-") as name:
        yield Path(name)


def started(server: Postgres) -> Postgres:
    server.child.wait_ready()
    return server


def query(dsn: str, statement: str) -> list[Any]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
        connection.commit()
        return rows


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def eventually(condition: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("content", ["", "\n", "{pid}\n", "{pid}\n/elsewhere\n1\n5432\n", "no number\n"])
def test_a_stale_pid_file_keeps_no_server_from_starting(folder: Path, group: Group, content: str) -> None:
    """Empty after the machine stopped; of a number that another program has by now, here this test's own."""
    with Group() as killed:
        killed.kill_child(started(start_postgres(killed, folder, durable=False)).child)
    (folder / "postgres" / "postmaster.pid").write_text(content.format(pid=os.getpid()))
    assert query(started(start_postgres(group, folder, durable=False)).dsn(), "SELECT 1") == [(1,)]


def test_a_server_that_outlived_its_owner_is_named(folder: Path, group: Group) -> None:
    first = started(start_postgres(group, folder, durable=False))
    for content in (None, ""):
        if content is not None:
            (folder / "postgres" / "postmaster.pid").write_text(content)
        with (
            Group() as other,
            pytest.raises(StartError, match=r"PostgreSQL \(process (\d+)\) still runs in") as refused,
        ):
            start_postgres(other, folder, durable=False)
        assert str(first.child.pid) in str(refused.value)
        assert "\n" not in str(refused.value)
    assert query(first.dsn(), "SELECT 1") == [(1,)]


def never(child: Child) -> bool:
    return False


def says_ready(child: Child) -> bool:
    return child.logged("ready")


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def running(pid: int) -> bool:
    """False also for a process that has ended and only waits for its parent to notice."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip() != "" and not state.startswith("Z")


# ---- PostgreSQL ----------------------------------------------------------------------------------------------------


def test_postgres_is_private_to_this_user_and_machine(postgres: Postgres, servers: SimpleNamespace) -> None:
    assert query(postgres.dsn(), "SHOW listen_addresses") == [("127.0.0.1",)]
    assert query(postgres.dsn(), "SHOW unix_socket_directories") == [("",)]
    assert mode(servers.folder / "postgres.password") == 0o600
    assert mode(servers.folder / "postgres") == 0o700
    assert postgres.password not in repr(postgres)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(postgres.dsn().replace(postgres.password, "guess"))


def test_postgres_orders_text_alike_on_every_machine(postgres: Postgres) -> None:
    assert query(postgres.dsn(), "SELECT string_agg(w, ' ' ORDER BY w) FROM unnest('{b,A,a,é,Z}'::text[]) w") == [
        ("A Z a b é",)
    ]


def test_each_database_is_a_copy_of_its_own(dsn: str, empty_dsn: str) -> None:
    query(dsn, "CREATE TABLE mine ()")
    assert dsn != empty_dsn
    assert query(empty_dsn, "SELECT to_regclass('mine')") == [(None,)]


def test_durable_data_survive_a_crash_of_the_server(group: Group, folder: Path) -> None:
    first = started(start_postgres(group, folder, durable=True))
    assert query(first.dsn(), "SELECT name, setting FROM pg_settings WHERE name ~ '^(fsync|full_page_writes)$'") == [
        ("fsync", "on"),
        ("full_page_writes", "on"),
    ]
    query(first.dsn(), "CREATE TABLE kept AS SELECT 7 AS number")
    group.kill_child(first.child)

    second = started(start_postgres(group, folder, durable=True))
    assert query(second.dsn(), "SELECT number FROM kept") == [(7,)]
    assert second.password == first.password


def test_a_first_start_that_was_interrupted_is_begun_again(group: Group, folder: Path) -> None:
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("1")
    server = started(start_postgres(group, folder, durable=False))
    assert query(server.dsn(), "SELECT current_database()") == [("nautilus",)]


def test_settings_for_another_server_are_not_taken(group: Group, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGSSLMODE", "require")
    server = started(start_postgres(group, folder, durable=False))
    assert query(server.dsn(), "SELECT 1") == [(1,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_becomes_nobody_where_user_namespaces_are_not_allowed(
    group: Group, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not all(mode(parent) & 0o001 for parent in REPOSITORY.parents):
        pytest.skip("the user nobody may not enter this checkout")
    monkeypatch.setattr("shutil.which", lambda name: None)
    server = started(start_postgres(group, folder, durable=False))
    assert query(server.dsn(), "SELECT current_database()") == [("nautilus",)]
    assert (folder / "postgres").stat().st_uid != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_learns_what_to_do_where_nobody_may_not_enter(
    group: Group, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(StartError, match=r"the user nobody may not .* Run this as an ordinary user"):
        start_postgres(group, folder / "private", durable=False)


@pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")
def test_a_port_in_use_is_named_in_the_servers_own_words(group: Group, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=rf"(?s)redis ended with code 1 .*127.0.0.1:{port}.*in use"):
            start_redis(group, folder, port=port).child.wait_ready()


# ---- Redis and SQS -------------------------------------------------------------------------------------------------


def test_redis_wants_its_password_and_keeps_nothing(
    redis_server: Redis, redis_url: str, servers: SimpleNamespace
) -> None:
    with closing(redis.Redis.from_url(redis_url)) as client:
        assert client.set("name", "value")
        assert client.get("name") == b"value"
    with socket.create_connection(("127.0.0.1", redis_server.port)) as stranger:  # the client library would try again
        stranger.sendall(b"GET name\r\n")
        assert stranger.recv(100).startswith(b"-NOAUTH")
    assert mode(servers.folder / "redis.conf") == 0o600
    assert not list(servers.folder.glob("*.rdb"))


@pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")
def test_a_full_redis_drops_what_expires_and_keeps_its_streams(group: Group, folder: Path) -> None:
    server = start_redis(group, folder)
    server.child.wait_ready()
    with closing(redis.Redis.from_url(server.url)) as client:
        for number in range(20):
            client.xadd(f"bus-{number}", {"bar": b"x" * 1_000})
        for number in range(100):
            client.set(f"page-{number}", b"x" * 1_000_000, ex=3_600)
        assert client.info("stats")["evicted_keys"] > 0
        assert [client.xlen(f"bus-{number}") for number in range(20)] == [1] * 20


def test_each_redis_url_is_empty(redis_url: str) -> None:
    with closing(redis.Redis.from_url(redis_url)) as client:
        assert client.dbsize() == 0


def test_sqs_delivers_and_keeps_the_unreadable_apart(queue: SimpleNamespace) -> None:
    with closing(boto3.client("sqs", endpoint_url=queue.endpoint_url)) as client:
        client.send_message(QueueUrl=queue.url, MessageBody="hint")
        for _ in range(5):
            (message,) = client.receive_message(QueueUrl=queue.url, VisibilityTimeout=0)["Messages"]
            assert message["Body"] == "hint"
        assert "Messages" not in client.receive_message(QueueUrl=queue.url)
        assert client.receive_message(QueueUrl=queue.dead_url)["Messages"][0]["Body"] == "hint"


# ---- processes -----------------------------------------------------------------------------------------------------


def test_a_child_that_dies_at_start_shows_the_end_of_its_log(group: Group, tmp_path: Path) -> None:
    script = "print('no coffee'); raise SystemExit(3)"
    group.start("sulker", [sys.executable, "-c", script], log=tmp_path / "sulker.log", ready=never)
    with pytest.raises(StartError, match=r"(?s)sulker ended with code 3 while it started.*no coffee"):
        group.wait_ready()


def test_a_child_that_is_never_ready_is_named(group: Group, tmp_path: Path) -> None:
    child = group.start("sleeper", ["sleep", "60"], log=tmp_path / "sleeper.log", ready=never)
    with pytest.raises(StartError, match=r"sleeper was not ready within 0.05 s"):
        child.wait_ready(within_s=0.05)


def test_a_child_that_will_not_end_is_ended(group: Group, tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 60; done"
    child = group.start("stubborn", ["sh", "-c", script], log=tmp_path / "stubborn.log", ready=says_ready)
    child.wait_ready()
    assert child.stop(grace_s=0.1) == -signal.SIGKILL


def test_children_end_in_the_reverse_order_of_their_start(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "def end(*_):\n    open(sys.argv[1], 'a').write(sys.argv[2]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True)\n"
        "while True: time.sleep(60)\n"
    )
    with Group() as group:
        for name in ("database", "bridge", "web"):
            argv = [sys.executable, "-c", script, str(tmp_path / "order"), name + " "]
            group.start(name, argv, log=tmp_path / f"{name}.log", ready=says_ready)
        group.wait_ready()
    assert (tmp_path / "order").read_text() == "web bridge database "


def test_a_child_that_ended_by_itself_is_reported_once(group: Group, tmp_path: Path) -> None:
    child = group.start("brief", ["true"], log=tmp_path / "brief.log", ready=never)
    assert eventually(lambda: child.exit_code() is not None)
    assert group.ended() == [child]
    assert group.ended() == []


def test_the_log_of_the_run_before_is_kept(group: Group, tmp_path: Path) -> None:
    for word in ("first", "second"):
        child = group.start("echo", ["echo", word], log=tmp_path / "echo.log", ready=lambda child: child.logged("\n"))
        child.wait_ready()
    assert (tmp_path / "echo.log").read_text() == "second\n"
    assert (tmp_path / "echo.log.1").read_text() == "first\n"


def test_free_ports_are_free_and_loopback() -> None:
    port = free_port()
    assert not accepts(port)
    with socket.create_server(("127.0.0.1", port)):
        assert accepts(port)


OWNER = """
    import json, sys, time
    from pathlib import Path
    from dev.postgres import start_postgres
    from dev.process import Group, end_on_signals

    folder = Path(sys.argv[1])
    end_on_signals()
    with Group() as group:
        postgres = start_postgres(group, folder, durable=False)
        deaf = ["sh", "-c", "trap '' INT HUP; echo deaf; sleep 60"]
        other = group.start("deaf", deaf, log=folder / "deaf.log", ready=lambda child: child.logged("deaf"))
        group.wait_ready()
        pids = [postgres.child.pid, other.pid]
        print(json.dumps({"pids": pids, "ports": [postgres.port]}), flush=True)
        time.sleep(60)
"""


def start_owner(script: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'layers' / 'shared'}"},
        # Whoever started the tests in the background made them, and all their children, deaf to SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_children_end_with_their_owner(how: signal.Signals, code: int, folder: Path) -> None:
    owner = start_owner(OWNER, folder)
    assert owner.stdout is not None
    with owner.stdout as output:
        started = json.loads(output.readline())
    assert all(accepts(port) for port in started["ports"])
    assert all(running(pid) for pid in started["pids"])

    owner.send_signal(how)

    assert owner.wait(10) == code
    assert eventually(lambda: not any(running(pid) for pid in started["pids"]))
    assert not any(accepts(port) for port in started["ports"])
    # Ended in order, not killed: the next start has nothing to recover.
    assert "database system is shut down" in (folder / "postgres.log").read_text()


LOCK_HOLDER = """
    import sys, time
    from pathlib import Path
    from dev.folders import in_use
    from dev.process import Group

    folder = Path(sys.argv[1])
    with in_use(folder) as lock, Group(held=[lock]) as group:
        slow = ["sh", "-c", "trap 'sleep 0.7; exit' TERM; echo ready; while :; do sleep 0.1; done"]
        group.start("slow", slow, log=folder / "slow.log", ready=lambda child: child.logged("ready")).wait_ready()
        print("ready", flush=True)
        time.sleep(60)
"""


def test_data_stay_locked_until_the_last_process_of_a_killed_owner_has_ended(folder: Path) -> None:
    owner = start_owner(LOCK_HOLDER, folder)
    assert owner.stdout is not None
    with owner.stdout as output:
        assert output.readline() == b"ready\n"
    owner.kill()
    owner.wait()

    def free() -> bool:
        try:
            with in_use(folder):
                return True
        except StartError:
            return False

    assert not free()
    assert eventually(free)
