"""infra/compose.yaml against the settings of the processes it starts, and infra/settings.env, which holds the others."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nautilus.settings.auth import AuthSettings
from nautilus.settings.base import Settings
from nautilus.settings.bridge import BridgeSettings, MigrateSettings, RetentionSettings
from nautilus.settings.exports import ExportTaskSettings
from nautilus.settings.orders import OrderSettings
from nautilus.settings.strategies import StrategySettings
from nautilus.settings.stream import StreamLimits, StreamSettings
from tests.contract.test_settings import default_of

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OPEN = (ROOT / "infra" / "settings.env").read_text()
# Service -> what its process reads, and the file of its image.
PROCESSES: dict[str, tuple[tuple[type[Settings], ...], str]] = {
    "migrate": ((MigrateSettings, RetentionSettings), "ib_bridge/Dockerfile"),
    "bridge": ((BridgeSettings,), "ib_bridge/Dockerfile"),
    "orders": ((OrderSettings,), "ib_bridge/Dockerfile"),
    "api": ((AuthSettings, StreamLimits), "infra/api.Dockerfile"),
    "stream": ((StreamSettings,), "stream/Dockerfile"),
    "export": ((ExportTaskSettings,), "export_task/Dockerfile"),
    "strategies": ((StrategySettings,), "strategy_runner/Dockerfile"),
}
# Settings that nobody gives to containers, and why.
ELSEWHERE = {
    "token_private_key": "the API makes its keys at its first start",
    "token_key_id": "the API makes its keys at its first start",
    "anonymous_scopes": "refused where the API binds more than loopback",
    "source_replay": "of the simulator that make up starts",
    "control_host": "of the simulator that make up starts",
    "control_port": "of the simulator that make up starts",
    "orders_crash_at": "for tests",
    "replica_url": "compose.yaml has no standby; docs/operations.md tells how to make one",
    "bridge_id": "one bridge",
    "strategy_host_id": "one strategy host",
    "queue_region": "the queue is a container",
}


def variables(names: set[str]) -> set[str]:
    return {f"NAUTILUS_{name.upper()}" for name in names}


def fields(service: str) -> dict[str, Any]:
    """Variable -> field, of all that the process of a service reads."""
    return {f"NAUTILUS_{n.upper()}": f for kind in PROCESSES[service][0] for n, f in kind.model_fields.items()}


def decided(service: str) -> set[str]:
    """The variables that compose.yaml or the image sets for a service."""
    image = (ROOT / PROCESSES[service][1]).read_text()
    command = str(SERVICES[service].get("command", ""))
    found = set(SERVICES[service]["environment"]) | set(re.findall(r"\b(NAUTILUS_\w+)=", image + command))
    return {name for name in found if name.startswith("NAUTILUS_")}


def left_open() -> set[str]:
    """The variables that compose.yaml sets for no process, although one reads them."""
    read = {name for service in PROCESSES for name in fields(service)}
    return read - {name for service in PROCESSES for name in decided(service)}


def test_every_process_of_ours_is_compared():
    ours = {name for name, service in SERVICES.items() if service["image"].startswith("nautilus-")}
    assert ours - {"simulator"} == set(PROCESSES)


@pytest.mark.parametrize("service", PROCESSES)
def test_a_container_gets_the_settings_it_needs_and_no_unknown_ones(service):
    known = fields(service)
    shared = set(SERVICES["migrate"]["environment"])  # the same for all
    # A bridge's image says where its health page is, whatever is started in it.
    assert decided(service) - shared - {"NAUTILUS_HEALTH_PORT"} <= set(known)
    needed = {name for name, field in known.items() if field.is_required()}
    made = variables({"token_private_key", "token_key_id", "token_public_keys"}) if service == "api" else set()
    assert needed - made <= decided(service)


def test_every_process_gets_the_file_of_what_is_left_open():
    assert all(SERVICES[service]["env_file"] == ["settings.env"] for service in PROCESSES)


def test_the_file_has_each_setting_that_is_left_open_with_its_default():
    known = {name: field for service in PROCESSES for name, field in fields(service).items()}
    expected = {
        f"#{name}={default_of(known[name]).strip('`').replace('empty', '')}"
        for name in left_open() - variables(set(ELSEWHERE))
    }
    lines = [line for line in OPEN.splitlines() if line and not line.startswith("# ")]
    assert len(lines) == len(set(lines))
    assert set(lines) == expected, f"missing: {expected - set(lines)}; too many: {set(lines) - expected}"


def test_each_exception_is_one():
    assert variables(set(ELSEWHERE)) <= left_open()


def test_orders_and_watch_list_are_the_same_for_all_that_read_them():
    for name, readers in (("NAUTILUS_ORDERS", 3), ("NAUTILUS_LIVE_ACCOUNT", 3), ("NAUTILUS_LIVE_WATCH", 2)):
        given = [
            service["environment"][name] for service in SERVICES.values() if name in service.get("environment", {})
        ]
        assert len(given) == readers, name
        assert len(set(given)) == 1, name


def test_a_container_that_is_stopped_has_time_to_end():
    """Docker kills after 10 s: the bridge gives back its work, the order process hears IB's last words, sockets close,
    strategies end."""
    for name in ("bridge", "orders", "stream", "strategies"):
        assert SERVICES[name]["stop_grace_period"] == "30s", name


def test_no_process_of_ours_is_the_first_of_its_container():
    """The kernel keeps SIGTERM from a first process that has no handler yet, so that it could not be stopped while it begins."""
    ours = [service for service in SERVICES.values() if service["image"].startswith("nautilus-")]
    assert len(ours) == len(PROCESSES) + 1
    assert all(service["init"] is True for service in ours)


def test_health_of_the_order_process_is_where_its_image_looks():
    image = (ROOT / "ib_bridge" / "Dockerfile").read_text()
    port = SERVICES["orders"]["environment"]["NAUTILUS_ORDERS_HEALTH_PORT"]
    assert f"C('127.0.0.1', {port}," in image
    assert f"NAUTILUS_HEALTH_PORT={port}" in image


def test_the_simulator_keeps_orders_and_hears_whose_they_are():
    """A simulator that forgets an order or a position at its restart is a broker that does so: a position break."""
    simulator, orders = SERVICES["simulator"], SERVICES["orders"]
    options = simulator["command"]
    state = Path(options[options.index("--state") + 1])
    assert simulator["volumes"] == [f"simulator:{state.parent}"]
    assert "simulator" in COMPOSE["volumes"]
    assert (
        f"mkdir {state.parent} && chown nautilus {state.parent}" in (ROOT / "ib_gateway_sim" / "Dockerfile").read_text()
    )
    assert options[options.index("--master-client") + 1] == orders["environment"]["NAUTILUS_ORDERS_CLIENT_ID"]
