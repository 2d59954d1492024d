"""A running service stack for tests: database and queue of their own, the simulator and the bridge as processes, the API here.

The API is the same app that runs locally and in Lambda, served by a thread of the test; everything behind it is real.
"""

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

import functions.auth.app
import functions.backfill.app
import functions.bars.app
import functions.live.app
import functions.monitoring.app
import functions.orders.app
from dev.credentials import token_settings
from dev.environment import environment
from dev.process import Child, Group, free_port
from nautilus.auth.passwords import Passwords
from nautilus.clock import parse_rfc3339
from nautilus.db.auth import users
from nautilus.db.connection import Database
from nautilus.http.app import create_app
from nautilus.http.services import Services
from nautilus.settings.auth import AuthSettings
from tests.support.sim_process import Simulator, simulator

PASSWORD = "correct horse battery"
PATIENCE_S = 120
"""How long anything here may take on a machine that does much else."""
_names = itertools.count(1)


class ServiceStack:
    """The parts, and short words for what tests do with them."""

    def __init__(
        self, group: Group, folder: Path, dsn: str, sim: Simulator, queue: Any, settings: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.dsn = dsn
        self.sim = sim
        self.db = Database(dsn, name="test", size=8)
        self._group = group
        self._settings = {
            "NAUTILUS_ENV": "test",
            "NAUTILUS_LOG_LEVEL": "WARNING",
            "NAUTILUS_DATABASE_URL": dsn,
            "NAUTILUS_QUEUE_URL": queue.url if queue else "",
            "NAUTILUS_QUEUE_ENDPOINT": queue.endpoint_url if queue else "",
            **token_settings(folder),
            **settings,
        }
        self.bridges: dict[str, Child] = {}
        hashed = Passwords(passes=1, memory_kib=64).hash(PASSWORD)
        with self.db.transaction() as cursor:
            users.put(cursor, "trader", hashed, ["bars:read", "backfill:write", "monitoring:read"])
            users.put(cursor, "chief", hashed, ["admin"])
        self._api = uvicorn.Server(uvicorn.Config(self._app(), "127.0.0.1", free_port(), log_level="warning"))
        self._serving = threading.Thread(target=self._api.run, daemon=True)
        self._serving.start()
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self._api.config.port}", timeout=PATIENCE_S, trust_env=False
        )
        self.wait(lambda: self._api.started, "the API listens")
        self.sign_in("trader")

    def _app(self) -> Any:
        names = {name.removeprefix("NAUTILUS_").lower(): value for name, value in self._settings.items()}
        known = {name: value for name, value in names.items() if name in AuthSettings.model_fields}
        modules = (
            functions.auth,
            functions.bars,
            functions.backfill,
            functions.live,
            functions.monitoring,
            functions.orders,
        )
        routers = [module.app.router for module in modules]
        return create_app(*routers, services=Services(AuthSettings.model_validate(known), "service-stack"))

    def sign_in(self, name: str) -> None:
        answer = self.client.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD})
        self.client.headers["Authorization"] = "Bearer " + answer.json()["access_token"]

    # ---- bridges -----------------------------------------------------------------------------------------------------

    def start_bridge(
        self, name: str = "bridge-1", *, command: Sequence[str] = ("-m", "ib_bridge"), **settings: str
    ) -> Child:
        """Start a bridge and wait until it answers; settings as lower-case names. command: what Python runs."""
        child = self.launch_bridge(name, command=command, **settings)
        child.wait_ready(within_s=PATIENCE_S)
        self.wait(lambda: self.session()["state"] != "starting", "the bridge tells its state")
        return child

    def launch_bridge(
        self, name: str = "bridge-1", *, command: Sequence[str] = ("-m", "ib_bridge"), **settings: str
    ) -> Child:
        """Start a bridge that may give up before it answers."""
        port = free_port()
        own = {
            **self._settings,
            "NAUTILUS_BRIDGE_ID": name,
            "NAUTILUS_LOG_LEVEL": "INFO",
            "NAUTILUS_IB_PORT": str(self.sim.port),
            "NAUTILUS_IB_CLIENT_ID": str(17 + 20 * len(self.bridges)),
            "NAUTILUS_CONTROL_PORT": str(self.sim.ready["control_port"]),
            "NAUTILUS_HEALTH_PORT": str(port),
            **{f"NAUTILUS_{key.upper()}": value for key, value in settings.items()},
        }
        child = self._group.start(
            f"{name}-{next(_names)}",
            [sys.executable, *command],
            log=self.folder / f"{name}.log",
            env=environment(own),
            ready=lambda child: child.logged("ib-connected"),
        )
        self.bridges[name] = child
        return child

    def kill_bridge(self, name: str = "bridge-1") -> None:
        """SIGKILL."""
        self._group.kill_child(self.bridges.pop(name))

    def stop_bridge(self, name: str = "bridge-1") -> int:
        """SIGTERM; returns the exit code."""
        return self._group.stop_child(self.bridges.pop(name))

    def log(self, name: str = "bridge-1") -> list[dict[str, Any]]:
        """The bridge's log lines."""
        lines = (self.folder / f"{name}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    # ---- the API -----------------------------------------------------------------------------------------------------

    def session(self) -> dict[str, Any]:
        return dict(self.client.get("/api/v1/ib/session").json())

    def backfill(self, **body: Any) -> str:
        """Ask for bars; returns the job's id."""
        answer = self.client.post("/api/v1/ib/backfill", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.client.get(f"/api/v1/historical/backfill/{job_id}").json())

    def finished(self, job_id: str, within_s: float = 60) -> dict[str, Any]:
        """The job when it has ended."""
        self.wait(lambda: self.job(job_id)["finished_at"], f"job {job_id} ends", within_s, lambda: self.job(job_id))
        return self.job(job_id)

    def bars(self, **query: Any) -> dict[str, Any]:
        answer = self.client.get("/api/v1/market-data/historical/bars", params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def close(self) -> None:
        """Stop what this service stack started, but for the simulator."""
        for name in list(self.bridges):
            self.stop_bridge(name)
        self.client.close()
        self._api.should_exit = True
        self._serving.join(10)
        self.db.close()

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self.db.transaction() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def market_ns(self) -> int:
        return int(self.sim.command("clock")["now_ns"])

    def advance(self, seconds: float) -> None:
        """Move the simulator's stepped clock, and wait until everybody knows."""
        self.sim.command(f"advance {seconds}")
        now = self.market_ns()
        self.wait(lambda: parse_rfc3339(self.session()["market_time"]) >= now, "the new time is known")

    def received(self, kind: str) -> list[Any]:
        """What the simulator received of one kind."""
        return list(self.sim.command(f"received {kind}")["received"])

    @staticmethod
    def wait(
        true: Callable[[], Any],
        what: str,
        within_s: float = PATIENCE_S,
        tell: Callable[[], Any] = lambda: "",
        every_s: float = 0.05,
    ) -> None:
        """Wait until something is true; AssertionError says what never became true."""
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, f"after {within_s} s still not: {what} {tell()}"
            time.sleep(every_s)


@contextmanager
def service_stack(
    group: Group, folder: Path, dsn: str, *options: str, queue: Any = None, settings: Mapping[str, str] | None = None
) -> Iterator[ServiceStack]:
    """A service stack around a simulator with these options; no bridge runs yet. What is started ends with the block."""
    folder = folder / f"stack-{os.getpid()}-{next(_names)}"
    folder.mkdir()
    with simulator(*options) as sim:
        made = ServiceStack(group, folder, dsn, sim, queue, settings or {})
        try:
            yield made
        finally:
            made.close()
