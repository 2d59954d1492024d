"""Every setting of a deployed process is given by infra/template.yaml, or stands here with the reason why it is not; and the
rules by which a deployment is refused before it begins.
"""

import tomllib
from typing import Any

import pytest

from nautilus.settings.exports import ExportTargets
from nautilus.settings.orders import OrderModeSettings
from tests.contract.test_template import CONTAINERS, PROCESSES, ROOT, TEMPLATE, settings_of

# Reason -> settings that a deployment leaves at their defaults. A new setting gets a place in the template, or here.
LEFT: dict[str, tuple[str, ...]] = {
    "of the simulator and of tests; refused when deployed": (
        *("source_replay", "control_host", "control_port", "orders_crash_at", "anonymous_scopes"),
    ),
    "one machine only: a function binds no address, and its hosts are API Gateway's": ("api_host", "allowed_hosts"),
    "API Gateway tells who calls; who puts something before it adds the setting by hand": ("trusted_proxies",),
    "changing them ends every sign-in": ("token_issuer", "token_audience"),
    "figures of ours that hold everywhere; PostgreSQL's and API Gateway's limits are behind them": (
        *("statement_timeout_ms", "max_body_bytes", "read_wait_s", "read_plan_limit", "reads_per_minute"),
        "search_wait_s",
    ),
    "what a backfill means that names nothing": ("watch_list", "watch_timeframes", "watch_days"),
    "lives of sign-ins, as decided for all": ("token_minutes", "refresh_days", "session_days", "refresh_grace_s"),
    "IB's limits, and how long IB is waited for": (
        *("ib_client_id", "ib_timeout_s", "ib_heartbeat_s", "request_timeout_s", "max_open_requests", "chunk_spans"),
        *("live_keep_up_to_date", "live_real_time_bars", "live_reserved", "live_tick_by_tick", "live_rtb_book"),
        *("live_linger_s", "settle_intraday_s", "settle_daily_s", "orders_messages_per_s", "orders_kept_for_cancels"),
        *("orders_ack_timeout_s", "orders_ask_again_s", "orders_bracket_repair", "orders_zone"),
    ),
    "only bars are given a time to live by a parameter": (
        *("keep_requests_days", "keep_confirmations_days", "keep_revisions_days", "keep_audit_days"),
        *("keep_commands_days", "keep_incidents_days", "keep_runs_days", "forget_hour"),
    ),
    "folders of one machine, and buckets that an installation adds by hand with the rights to them": (
        *("export_dir", "export_roots", "export_buckets", "export_endpoint"),
    ),
    "figures of the export task that hold everywhere": ("export_poll_s", "export_lease_s", "export_row_group"),
    "limits of a socket": (
        *("stream_beat_ms", "stream_heartbeat_s", "stream_sockets_per_caller", "stream_channels_per_socket"),
        *("stream_quotes_per_caller", "stream_messages_per_s", "stream_message_burst", "stream_frame_bytes"),
        *("stream_snapshot_bars", "stream_stuck_s", "stream_queue", "stream_sign_in_s", "stream_sign_in_again_s"),
        "stream_bye_s",
    ),
}
# Settings that a process inherits and does not use.
UNUSED = {
    "StreamTask.stream": {"replica_url", "queue_url", "queue_endpoint", "queue_region", "live_watch", "orders"}
    | {"live_account", "orders_feed"},
    "BridgeTask.bridge": {"queue_endpoint"},
    "CommandTask.command": {"database_pool"},
}


@pytest.mark.parametrize("process", PROCESSES)
def test_each_setting_is_given_or_left_for_a_reason(process):
    kind, given = settings_of(process)
    left = {name for names in LEFT.values() for name in names} | UNUSED.get(process, set())
    if process != "bars":
        left |= {"replica_url"}  # a test of the template says who reads bars from a standby
    if process not in ("exports", "ExportTask.export"):
        left |= set(ExportTargets.model_fields)  # the others neither begin exports nor write them
    forgotten = {name for name in kind.model_fields if f"NAUTILUS_{name.upper()}" not in given} - left
    assert not forgotten, f"{process}: give them in infra/template.yaml, or say here why not"


def test_no_reason_is_left_over():
    kinds = [settings_of(process) for process in PROCESSES]
    open_ones = {name for kind, given in kinds for name in kind.model_fields if f"NAUTILUS_{name.upper()}" not in given}
    named = [name for names in LEFT.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) <= open_ones


def test_process_and_functions_agree_on_orders():
    """A function that thinks orders are off while the process sends them, or the other way round, says what is not true."""
    _, function = settings_of("orders")
    for process in ("BridgeTask.orders", "StrategyTask.strategies"):
        _, given = settings_of(process)
        for name in OrderModeSettings.model_fields:
            variable = f"NAUTILUS_{name.upper()}"
            if variable not in ("NAUTILUS_ENV", "NAUTILUS_LOG_LEVEL"):
                assert given[variable] == function[variable], f"{process}: {variable}"


# ---- rules -----------------------------------------------------------------------------------------------------------


def value(parameters: dict[str, str], expression: Any) -> Any:
    """A rule's expression, computed with the values of parameters."""
    if not isinstance(expression, dict):
        return expression
    ((name, inner),) = expression.items()
    if name == "Ref":
        return parameters[inner]
    if name == "Fn::Not":
        return not value(parameters, inner[0])
    assert name == "Fn::Equals", name
    return value(parameters, inner[0]) == value(parameters, inner[1])


def refusals(**chosen: str) -> list[str]:
    """What CloudFormation says to a stack with these parameters, and the defaults of the others."""
    parameters = {name: str(one.get("Default", "")) for name, one in TEMPLATE["Parameters"].items()} | chosen
    return [
        assertion["AssertDescription"]
        for rule in TEMPLATE["Rules"].values()
        if value(parameters, rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not value(parameters, assertion["Assert"])
    ]


def test_real_money_takes_two_parameters():
    assert refusals() == []
    assert "LiveAccount" in refusals(OrdersMode="live")[0]
    assert refusals(OrdersMode="live", LiveAccount="U1234567") == []
    assert refusals(OrdersMode="live", LiveAccount="U1234567", TradingMode="live") == []


def test_a_live_gateway_with_paper_orders_is_refused():
    """No order could go there, yet the gateway would take orders of anybody."""
    assert "OrdersMode=off" in refusals(TradingMode="live")[0]
    assert refusals(TradingMode="live", OrdersMode="off") == []
    assert refusals(TradingMode="live", OrdersMode="live") != []


def test_the_examples_of_deployments_are_not_refused():
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())
    seen = 0
    for name in ("dev", "staging", "prod"):
        given = dict(one.split("=", 1) for one in configured[name]["deploy"]["parameters"]["parameter_overrides"])
        assert refusals(**given) == [], name
        seen += 1
    assert seen == 3


# ---- never two -------------------------------------------------------------------------------------------------------


def test_the_order_process_is_as_single_as_the_gateway():
    """It is a container of the bridge's task, of which a deployment ends the old one before it begins the new one."""
    assert [name for name in CONTAINERS if name.endswith(".orders")] == ["BridgeTask.orders"]
    gateway, orders = CONTAINERS["BridgeTask.gateway"], CONTAINERS["BridgeTask.orders"]
    assert orders["DependsOn"] == [{"ContainerName": "gateway", "Condition": "START"}]
    assert gateway["StopTimeout"] >= orders["StopTimeout"] >= 30, "the gateway is there until the order process is gone"
