"""Exports as they run: the API over stored bars, and the export task as a process in an environment of its own."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

import functions.exports.app
from nautilus.market.bar import Bar
from tests.support.markets import market, ns
from tests.support.stored_bars import Api, StoredBars, stock

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-exports" / "bin" / "python"
READER = Path(__file__).parent / "export_files.py"
EXPORTS = "/api/v1/market-data/exports"
NOW = ns("2024-07-01 00:00")
FIRST = ns("2024-01-01 00:00")

needs_pyarrow = pytest.mark.skipif(
    not PYTHON.exists(), reason="the export task needs an environment of its own: make exports-environment"
)


class ExportWorld:
    """A store, its API, a folder for downloads, one for targets, and tasks that write."""

    def __init__(self, stored_bars: StoredBars, folder: Path) -> None:
        self.stored_bars = stored_bars
        self.kept = folder / "kept"
        self.root = folder / "lake"
        self.root.mkdir()
        self._log = folder / "task.log"
        self._endpoint = ""
        self._folder = folder
        self._settings: dict[str, Any] = {"export_dir": str(self.kept), "export_roots": (str(self.root),)}
        self._api: Api | None = None

    def use_s3(self, endpoint: str, *, kept: str = "", others: tuple[str, ...] = ()) -> None:
        """Buckets at a stand-in for S3; before the first request."""
        self._settings |= {"export_endpoint": endpoint, "export_bucket": kept, "export_buckets": others}

    @property
    def api(self) -> Api:
        if self._api is None:
            self._api = self.stored_bars.api(self._folder, **self._given())
        return self._api

    def app(self) -> FastAPI:
        """The same function once more, for a real socket."""
        return self.stored_bars.app(self._folder, **self._given())

    def _given(self) -> dict[str, Any]:
        return {"router": functions.exports.app.router, "anonymous_scopes": (), **self._settings}

    def headers(self, number: int = 1, *scopes: str) -> dict[str, str]:
        self.api  # noqa: B018  makes the keys
        return self.stored_bars.user(number, *(scopes or ("exports:write", "bars:read")))

    def begin(self, **body: Any) -> Any:
        answer = self.api.request("POST", EXPORTS, json=body, headers=self.headers())
        assert answer.status_code == 202, answer.text
        return answer.json()

    def refused(self, **body: Any) -> Any:
        answer = self.api.request("POST", EXPORTS, json=body, headers=self.headers())
        assert answer.status_code >= 400, answer.text
        return answer.json() | {"status_code": answer.status_code}

    def get(self, path: str, **headers: str) -> Any:
        return self.api.get(f"{EXPORTS}/{path}", headers={**self.headers(), **headers})

    def shown(self, export_id: str) -> Any:
        return self.get(export_id).json()

    @contextmanager
    def task(self, *, preexec: Any = None, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """A running export task; ended with the block."""
        given: Mapping[str, str] = {
            "export_dir": str(self.kept),
            "export_roots": str(self.root),
            "export_poll_s": "0.05",
            "export_lease_s": "2",
            "export_endpoint": self._settings.get("export_endpoint", ""),
            **settings,
        }
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'shared'}",
            "NAUTILUS_DATABASE_URL": self.stored_bars.dsn,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            **{f"NAUTILUS_{name.upper()}": value for name, value in given.items()},
        }
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [PYTHON, "-m", "export_task"], env=environment, stdout=log, stderr=log, preexec_fn=preexec
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(20)

    def wait(self, true: Callable[[], Any], *, within_s: float = 120) -> None:
        """Return as soon as something holds; AssertionError when it does not in time."""
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        return self._log.read_text()

    def folder_of(self, export_id: str) -> Path:
        return self.kept / export_id


def rows(folder: Path) -> Any:
    """What all files below a folder hold, by path."""
    done = subprocess.run([PYTHON, READER, folder], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def always_open(stored_bars: StoredBars, con_id: int = 1, symbol: str = "AAPL") -> None:
    """An instrument that trades day and night, Sundays too."""
    from datetime import date

    calendar = f"TEST:{symbol}"
    one = stock(con_id, symbol, calendar)
    stored_bars.instrument(one, market("UTC", date(2023, 12, 1), 250, [(0, 1_440)], weekdays=range(7)))


def bar(ts: int, n: int, shift: float = 0.0) -> Bar:
    """A price below zero, one above a thousand, and each kind of NULL, in turn."""
    volume = (None, 0.0, 1_234.0)[n % 3]
    return Bar(
        ts, -37.63 + shift, 1000.25 + n % 50, -40.0, 0.1 + n % 7, volume, (None, 0.3)[n % 2], (None, n)[n % 5 > 0]
    )
