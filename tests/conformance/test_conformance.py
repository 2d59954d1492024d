"""Real clients, each in its own process and environment, against the simulator; the table of docs/simulator.md.

Without CONFORMANCE=all (which `make conformance` sets) only ib_insync runs, from the development environment.
"""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sim_process import ROOT, simulator

HERE = Path(__file__).parent
ENVS = ROOT / ".data" / "clients"
ALL = os.environ.get("CONFORMANCE") == "all"

# Column of the table -> the command that drives it; the port is appended.
DRIVERS = {
    "ib_insync 0.9.86": [sys.executable, str(HERE / "drive_insync.py"), "ib_insync"],
    "ib_async 2.1.0": [str(ENVS / "ib_async/bin/python"), str(HERE / "drive_insync.py"), "ib_async"],
    "ibapi 9.81.1": [str(ENVS / "ibapi/bin/python"), str(HERE / "drive_official.py")],
    "nautilus-ibapi 10.46.1": [str(ENVS / "nautilus-ibapi/bin/python"), str(HERE / "drive_official.py")],
    "@stoqey/ib 1.6.10": ["node", str(HERE / "stoqey" / "drive.mjs"), str(ENVS / "stoqey")],
}
MARKS = {"✓": True, "–": None}  # served; the client's protocol version does not know it


def table() -> dict[str, dict[str, bool | None]]:
    """The documented table: client -> request -> served."""
    lines = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8").splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("| request |"))
    clients = [cell.strip() for cell in lines[start].split("|")[2:-1]]
    found: dict[str, dict[str, bool | None]] = {client: {} for client in clients}
    for line in lines[start + 2 :]:
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells:
            break
        for client, mark in zip(clients, cells[1:], strict=True):
            found[client][re.sub(r"\s*\(.*\)", "", cells[0])] = MARKS[mark]
    return found


@functools.cache
def run(client: str) -> dict[str, dict[str, object]]:
    """What a client saw: request -> its report."""
    with simulator("--clock", "rate:20", "--start", "2026-03-02T17:00:00Z", "--tick-pause", "0") as sim:
        done = subprocess.run([*DRIVERS[client], str(sim.port)], capture_output=True, text=True, timeout=240)
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert reports, done.stderr[-2000:]
    return {report["request"]: report for report in reports}


@pytest.mark.parametrize("client", DRIVERS)
def test_a_client_is_served_what_the_table_says(client):
    if client != "ib_insync 0.9.86":
        if not ALL:
            pytest.skip("run by `make conformance`")
        if client.startswith("@stoqey") and not (ENVS / "stoqey/.ready").exists():
            pytest.skip("npm is missing")
    reports = run(client)
    wrong = {name: report["saw"] for name, report in reports.items() if report["ok"] is False}
    assert not wrong
    assert {name: report["ok"] for name, report in reports.items()} == table()[client]


def test_the_table_has_a_column_for_every_client():
    assert list(table()) == list(DRIVERS)
