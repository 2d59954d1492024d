"""The whole backend on this machine as plain processes, no Docker, no AWS. dev/up.py keeps it up, dev/demo.py shows it.

PostgreSQL, Redis, SQS and the simulator start side by side; then the migrations run; then bridge and API start. What
they store lies in <data>/<source> and survives; Redis and the queues begin empty each time, as nothing depends on what
they hold. Every process listens on 127.0.0.1 alone.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev.credentials import password_of, token_settings
from dev.environment import REGION, environment
from dev.folders import in_use
from dev.postgres import start_postgres
from dev.process import Child, Group, StartError, ended, free_port
from dev.redis import redis_binary, start_redis
from dev.sources import Gateway, Replay, Source
from dev.sqs import start_sqs
from nautilus.auth.accounts.users import put_user
from nautilus.auth.passwords import Passwords
from nautilus.auth.scopes import ROLES
from nautilus.db.connection import Database
from nautilus.db.migrate import upgrade

QUEUE = "nautilus-hints"
USERNAME = ROLE = "trader"
# How the API keeps its memory (docs/decisions/0028-memory-between-requests.md); the template and the image say the same.
MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
}
ORDERS_CLIENT_ID = "5"
EXPORT_PYTHON = Path(__file__).parents[1] / ".venv-exports" / "bin" / "python"
"""Of the export task, which has an environment of its own (`make exports-environment`); without it nothing is exported."""
RESTART_AFTER_S = 2.0
REFUSED_WITHIN_S = 10.0  # a process that ends by itself so soon has refused to work, and would again


class Stack:
    """The processes of one source, their ports and their data in `folder`. `start` starts them."""

    def __init__(
        self,
        group: Group,
        folder: Path,
        source: Source,
        *,
        port: int | None = None,
        watched: Sequence[str] = (),
        simulator: Sequence[str] = (),
    ) -> None:
        """watched: the watch list of who has set none, in the words of NAUTILUS_LIVE_WATCH. simulator: more options of it."""
        self.folder = folder
        self._simulator = simulator
        self._watched = ",".join(watched)
        self.source = source
        self.api_port = port or free_port()
        self.bridge_port = free_port()
        self.orders_port = free_port()
        self.stream_port = free_port()
        self.strategies_port = free_port()
        self.gateway = source if isinstance(source, Gateway) else Gateway("127.0.0.1", free_port())
        self.control_port = None if isinstance(source, Gateway) else free_port()
        self.password = password_of(folder / f"{USERNAME}.password")
        self._group = group
        self._token_settings = token_settings(folder)
        self._again: dict[str, Callable[[], Child]] = {}
        self._due: dict[str, float] = {}
        self._running: dict[str, Child] = {}
        self._more: dict[str, Mapping[str, str]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def ports(self) -> Mapping[str, int]:
        """Who listens where on 127.0.0.1, once started."""
        ports = {"API": self.api_port, "stream": self.stream_port, "bridge": self.bridge_port}
        ports["orders"] = self.orders_port
        if "strategies" in self._running:
            ports["strategies"] = self.strategies_port
        if self.control_port is not None:
            ports |= {"simulator": self.gateway.port, "its control port": self.control_port}
        ports["PostgreSQL"] = self.postgres.port
        if self.redis is not None:
            ports["Redis"] = self.redis.port
        return ports | {"SQS": self.sqs.port}

    @property
    def bridge_url(self) -> str:
        """The bridge's own health page."""
        return f"http://127.0.0.1:{self.bridge_port}/"

    def session(self) -> str:
        """What the bridge says of its session with IB: `connected`, or another state and why."""
        body = read(self.bridge_url)
        if body is None:
            return "unknown, the bridge does not answer"
        found = json.loads(body)
        return f"{found['state']}, {found['reason']}" if found["reason"] else str(found["state"])

    def start(self, report: Callable[[str], None] = lambda line: None) -> None:
        """Start everything; `report` gets a line for each step. StartError when something does not start."""
        begun = time.monotonic()
        self.postgres = start_postgres(self._group, self.folder, durable=True)
        self.redis = start_redis(self._group, self.folder) if redis_binary() else None
        self.sqs = start_sqs(self._group, self.folder)
        if self.control_port is not None:
            self._start("simulator", self._start_simulator)
        self._group.wait_ready()
        self._make_queues()
        names = ["PostgreSQL", *(["Redis"] if self.redis else []), "SQS", *(["simulator"] if self.control_port else [])]
        report(f"{', '.join(names)}: {time.monotonic() - begun:.1f} s")
        begun = time.monotonic()
        self._prepare_database()
        self._start("bridge", self._start_bridge)
        self._start("orders", self._start_orders)
        self._start("api", self._start_api)
        self._start("stream", self._start_stream)
        if EXPORT_PYTHON.exists():
            self._start("exports", self._start_exports)
        if python := strategy_python():
            self._start("strategies", lambda: self._start_strategies(python))
        else:
            report("no strategies: they need Python 3.13 (make strategies; NAUTILUS_STRATEGY_PYTHON names another)")
        self._group.wait_ready()
        more = [name for name in ("strategies", "exports") if name in self._running]
        report(f"{', '.join(['schema, user, bridge, orders, API, stream', *more])}: {time.monotonic() - begun:.1f} s")

    def tend(self, report: Callable[[str], None]) -> None:
        """Start again, a little later, what has ended by itself; to be called every now and then."""
        for child in self._group.ended():
            code = child.exit_code() or 0
            what = f"{child.name} {ended(code)}; the end of {child.log}:\n{child.tail()}"
            if child.name not in self._again or (code >= 0 and child.age_s < REFUSED_WITHIN_S):
                raise StartError(what)
            report(f"{what}\n{child.name} starts again in {RESTART_AFTER_S:g} s")
            self._due[child.name] = time.monotonic() + RESTART_AFTER_S
        for name, due in list(self._due.items()):
            if time.monotonic() >= due:
                del self._due[name]
                self._running[name] = self._again[name]()

    def running(self, name: str) -> Child:
        """A process of ours: simulator, bridge, orders, api, stream, exports or strategies."""
        return self._running[name]

    def restart(self, name: str, **settings: str) -> None:
        """End a process, if it still runs, and start it anew; returns when it is ready. settings: by their names in lower
        case, beside those that it has anyway; of an earlier call none stays."""
        self._group.stop_child(self._running[name])
        self._more[name] = {f"NAUTILUS_{key.upper()}": value for key, value in settings.items()}
        self._running[name] = self._again[name]()
        self._running[name].wait_ready()

    # ---- one process each ------------------------------------------------------------------------------------------

    def _start(self, name: str, start: Callable[[], Child]) -> None:
        self._again[name] = start
        self._running[name] = start()

    def _start_simulator(self) -> Child:
        options = ["--port", str(self.gateway.port), "--control-port", str(self.control_port), "--latency", "measured"]
        options += ["--master-client", ORDERS_CLIENT_ID, "--state", str(self.folder / "simulator.orders")]
        if isinstance(self.source, Replay):
            options += self.source.options.for_simulator
        options += self._simulator
        return self._python(
            "simulator", "ib_gateway_sim", options, settings={}, ready=lambda child: child.logged('"ready"')
        )

    def _start_bridge(self) -> Child:
        settings = {
            **self._common_settings(),
            "NAUTILUS_IB_HOST": self.gateway.host,
            "NAUTILUS_IB_PORT": str(self.gateway.port),
            "NAUTILUS_CONTROL_PORT": str(self.control_port or 0),
            "NAUTILUS_SOURCE_REPLAY": self.source.name if isinstance(self.source, Replay) else "",
            "NAUTILUS_HEALTH_PORT": str(self.bridge_port),
            "NAUTILUS_REDIS_URL": self.redis.url if self.redis else "",
        }
        return self._python(
            "bridge", "ib_bridge", [], settings=settings, ready=lambda child: read(self.bridge_url) is not None
        )

    @property
    def orders_url(self) -> str:
        """The order process's own health page."""
        return f"http://127.0.0.1:{self.orders_port}/"

    def _start_orders(self) -> Child:
        settings = {
            **self._common_settings(),
            **self._order_settings(),
            "NAUTILUS_IB_HOST": self.gateway.host,
            "NAUTILUS_IB_PORT": str(self.gateway.port),
            "NAUTILUS_CONTROL_PORT": str(self.control_port or 0),
            "NAUTILUS_SOURCE_REPLAY": self.source.name if isinstance(self.source, Replay) else "",
            "NAUTILUS_ORDERS_CLIENT_ID": ORDERS_CLIENT_ID,
            "NAUTILUS_ORDERS_HEALTH_PORT": str(self.orders_port),
        }
        return self._python(
            "orders",
            "ib_bridge.orders",
            [],
            settings=settings,
            ready=lambda child: read(self.orders_url) is not None,
        )

    def _order_settings(self) -> Mapping[str, str]:
        """What the order process and the functions must know alike: whose orders may be sent. From the shell, else paper."""
        names = ("NAUTILUS_ORDERS", "NAUTILUS_LIVE_ACCOUNT", "NAUTILUS_ORDERS_FEED")
        return {name: os.environ[name] for name in names if name in os.environ}

    def _start_api(self) -> Child:
        settings = {
            **self._common_settings(),
            **self._token_settings,
            "NAUTILUS_API_HOST": "127.0.0.1",
            "NAUTILUS_REDIS_URL": self.redis.url if self.redis else "",
            **self._export_settings(),
            **MEMORY,
        }
        options = ["--port", str(self.api_port)]
        ready = f"{self.url}/health"
        return self._python(
            "api", "dev.local_api", options, settings=settings, ready=lambda child: read(ready) is not None
        )

    def _start_stream(self) -> Child:
        """The process that serves sockets in a deployment; the API serves the same on its own port."""
        settings = {
            **self._common_settings(),
            "NAUTILUS_TOKEN_PUBLIC_KEYS": self._token_settings["NAUTILUS_TOKEN_PUBLIC_KEYS"],
            "NAUTILUS_API_HOST": "127.0.0.1",
            "NAUTILUS_STREAM_PORT": str(self.stream_port),
            "NAUTILUS_REDIS_URL": self.redis.url if self.redis else "",
        }
        ready = f"http://127.0.0.1:{self.stream_port}/health"
        return self._python("stream", "stream", [], settings=settings, ready=lambda child: read(ready) is not None)

    def _export_settings(self) -> Mapping[str, str]:
        """What the API and the export task must know alike: where files lie. Without the task there is no such folder."""
        if not EXPORT_PYTHON.exists():
            return {}
        roots = os.environ.get("NAUTILUS_EXPORT_ROOTS", "")
        return {"NAUTILUS_EXPORT_DIR": str(self.folder / "exports"), "NAUTILUS_EXPORT_ROOTS": roots}

    def _start_exports(self) -> Child:
        settings = {**self._common_settings(), **self._export_settings()}
        return self._group.start(
            "exports",
            [str(EXPORT_PYTHON), "-m", "export_task"],
            log=self.folder / "exports.log",
            env=environment({**settings, **self._more.get("exports", {})}),
            ready=lambda child: child.logged("export-task-starts"),
        )

    def _start_strategies(self, python: str) -> Child:
        """The process that runs strategies. NAUTILUS_STRATEGY_FOLDER names a folder with your own."""
        folder = os.environ.get("NAUTILUS_STRATEGY_FOLDER", "")
        settings = {
            **self._common_settings(),
            **self._order_settings(),
            "NAUTILUS_STRATEGY_PYTHON": python,
            "NAUTILUS_STRATEGY_HEALTH_PORT": str(self.strategies_port),
            "NAUTILUS_REDIS_URL": self.redis.url if self.redis else "",
            **({"NAUTILUS_STRATEGY_FOLDER": str(Path(folder).resolve())} if folder else {}),
        }
        ready = f"http://127.0.0.1:{self.strategies_port}/"
        return self._python(
            "strategies", "strategy_host", [], settings=settings, ready=lambda child: read(ready) is not None
        )

    def _prepare_database(self) -> None:
        """The newest schema, and a user with the password kept in the data folder."""
        upgrade(self.postgres.dsn())
        database = Database(self.postgres.dsn(), name="nautilus-dev", size=1)
        put_user(
            database, Passwords(), username=USERNAME, password=self.password, scopes=ROLES[ROLE], reason="local start"
        )
        database.close()

    def _make_queues(self) -> None:
        self.queue_url, _ = self.sqs.make_queue_pair(QUEUE)

    def _common_settings(self) -> Mapping[str, str]:
        return {
            "NAUTILUS_ENV": "dev",
            "NAUTILUS_DATABASE_URL": self.postgres.dsn(),
            "NAUTILUS_QUEUE_URL": self.queue_url,
            "NAUTILUS_QUEUE_ENDPOINT": self.sqs.endpoint_url,
            "NAUTILUS_QUEUE_REGION": REGION,
            **({"NAUTILUS_LIVE_WATCH": self._watched} if self._watched else {}),
        }

    def _python(
        self, name: str, module: str, options: list[str], *, settings: Mapping[str, str], ready: Callable[[Child], bool]
    ) -> Child:
        return self._group.start(
            name,
            [sys.executable, "-m", module, *options],
            log=self.folder / f"{name}.log",
            env=environment({**settings, **self._more.get(name, {})}),
            ready=ready,
        )


@contextmanager
def stack_of(
    data: Path, source: Source, *, port: int | None = None, watched: Sequence[str] = (), simulator: Sequence[str] = ()
) -> Iterator[Stack]:
    """A stack that is not yet started; whatever of it runs ends with the block. The arguments are those of Stack.

    One stack per data folder: the lock is held, also by the guard, until the last process has ended.
    """
    folder = (data / source.folder).resolve()
    with in_use(folder) as lock, Group(held=[lock]) as group:
        yield Stack(group, folder, source, port=port, watched=watched, simulator=simulator)


def strategy_python() -> str:
    """The interpreter that has the strategies' engine: of the shell, else what make has made; empty where there is none."""
    given = os.environ.get("NAUTILUS_STRATEGY_PYTHON")
    made = Path(__file__).parents[1] / ".venv-strategies" / "bin" / "python"
    return given if given is not None else str(made) if made.exists() else ""


def read(url: str) -> bytes | None:
    """The body of an HTTP answer of any status; None without an answer."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.read()
    except (OSError, http.client.HTTPException):
        return None
