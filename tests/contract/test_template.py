"""infra/template.yaml against the code it deploys: routes, settings, metrics; and against rules of our own.

`make lint-template` checks that it is valid; here is what no linter knows.
"""

import importlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import SecretStr

from dev.stack import MEMORY
from nautilus.http import app as web
from nautilus.orders import waiting
from nautilus.settings.api import ORIGIN, ApiSettings
from nautilus.settings.auth import AuthSettings
from nautilus.settings.base import Settings
from nautilus.settings.bridge import KEPT_DAYS, BridgeSettings, MigrateSettings, RetentionSettings
from nautilus.settings.exports import ExportTaskSettings
from nautilus.settings.orders import ACCOUNT, TIME_OF_DAY, OrderModeSettings, OrderSettings
from nautilus.settings.strategies import StrategySettings
from nautilus.settings.stream import StreamSettings
from strategy_host import host
from stream import server
from stream.service import POOL

ROOT = Path(__file__).parents[2]

# Statements that allow something on every resource, and why it cannot be narrower. A new one needs a reason here.
WILDCARDS = {
    ("*Role", "ec2:*NetworkInterface*, ec2:*PrivateIpAddresses, ec2:DescribeSubnets"): (
        "Lambda makes network interfaces in the VPC with the function's role, and they have no name beforehand; AWS's own"
        " AWSLambdaVPCAccessExecutionRole says the same. Only when functions are in a VPC."
    ),
    (
        "*ExecutionRole",
        "ecr:GetAuthorizationToken",
    ): "the token is for the whole registry; this action knows no resource",
    ("ExportsRole", "s3:GetObject"): "the files of all exports, below one prefix of the stack's own bucket",
    (
        "ExportTaskRole",
        "s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload",
    ): "the same, to write them",
    ("BridgeRole", "ssmmessages:*Channel"): "these actions know no resource. Only with AllowExec.",
}
# docs/aws.md sets max_connections to 150, of which 3 are for superusers; room for people with psql, and for a second deployment.
CONNECTIONS = 130
LAMBDA_SECONDS = 30  # API Gateway's limit for HTTP APIs, which cannot be raised


# ---- reading the template --------------------------------------------------------------------------------------------


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with CloudFormation's short forms: `!Ref x` becomes {"Ref": "x"}."""


def _short_form(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _short_form)


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / name).read_text(), Loader)
    return loaded


TEMPLATE = read("infra/template.yaml")
COMPOSE = read("infra/compose.yaml")
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
GLOBALS = TEMPLATE["Globals"]["Function"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """Logical id -> properties of the resources of a type."""
    return {name: made["Properties"] for name, made in RESOURCES.items() if made["Type"] == kind}


FUNCTIONS = {
    Path(properties["CodeUri"]).name: (logical, properties)
    for logical, properties in of_type("AWS::Serverless::Function").items()
}
FOLDERS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
CONTAINERS = {
    f"{logical}.{container['Name']}": container
    for logical, properties in of_type("AWS::ECS::TaskDefinition").items()
    for container in properties["ContainerDefinitions"]
}


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def settled(value: Any) -> Any:
    """A list without its `If`s: each condition taken as true."""
    if isinstance(value, dict) and list(value) == ["Fn::If"]:
        return settled(value["Fn::If"][1])
    if isinstance(value, list):
        return [settled(inner) for inner in value]
    if isinstance(value, dict):
        return {name: settled(inner) for name, inner in value.items()}
    return value


# ---- functions and routes --------------------------------------------------------------------------------------------


def test_each_folder_of_functions_is_a_function_and_back():
    assert sorted(FUNCTIONS) == FOLDERS
    assert {logical for logical, _ in FUNCTIONS.values()} == {f"{name.capitalize()}Function" for name in FOLDERS}


@pytest.mark.parametrize("name", FOLDERS)
def test_each_route_is_in_the_template_and_back(name):
    _, properties = FUNCTIONS[name]
    there = {
        (event["Properties"]["Method"], event["Properties"]["Path"])
        for event in properties["Events"].values()
        if event["Type"] == "HttpApi"
    }
    router = importlib.import_module(f"functions.{name}.app").router
    served = {
        (method, re.sub(r"\{(\w+):path\}", r"{\1+}", route.path))
        for route in router.routes
        for method in route.methods - {"HEAD", "OPTIONS"}
    }
    lines = "\n".join(
        f'        Name: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, Method: {method}, Path: "{path}"}}}}'
        for method, path in sorted(served - there)
    )
    assert not served - there, (
        f"add to the Events of functions/{name} in infra/template.yaml, each with a name:\n{lines}"
    )
    assert not there - served, f"infra/template.yaml has routes that functions/{name} does not serve"


def test_no_two_functions_have_the_same_route():
    routes = [
        (event["Properties"]["Method"], event["Properties"]["Path"])
        for _, properties in FUNCTIONS.values()
        for event in properties["Events"].values()
        if event["Type"] == "HttpApi"
    ]
    assert len(routes) == len(set(routes))


def test_the_policy_of_a_function_has_room_for_its_routes():
    """Each route adds a statement of some 350 bytes to the function's policy, which may measure 20 KB."""
    assert max(len(properties["Events"]) for _, properties in FUNCTIONS.values()) <= 50


def test_a_function_ends_before_api_gateway_does():
    longest_wait_s = max(
        rule.le
        for name in ("read_wait_s", "search_wait_s")
        for rule in ApiSettings.model_fields[name].metadata
        if hasattr(rule, "le")
    )
    statement_s = ApiSettings.model_fields["statement_timeout_ms"].default / 1000
    assert max(longest_wait_s, statement_s) + 5 <= GLOBALS["Timeout"] < LAMBDA_SECONDS
    assert not any("Timeout" in properties for _, properties in FUNCTIONS.values())


@pytest.mark.parametrize("name", FOLDERS)
def test_a_function_has_logs_of_its_own_and_a_role_that_writes_there_only(name):
    _, properties = FUNCTIONS[name]
    logs, role = properties["LoggingConfig"]["LogGroup"]["Ref"], properties["Role"]["Fn::GetAtt"].split(".")[0]
    assert (logs, role) == (f"{name.capitalize()}Logs", f"{name.capitalize()}Role")
    assert properties["LoggingConfig"]["LogFormat"] == "JSON"
    written = [s["Resource"] for s in statements(role) if "logs:PutLogEvents" in actions(s)]
    assert written == [{"Fn::GetAtt": f"{logs}.Arn"}]


def test_a_new_layer_publishes_a_new_version():
    assert GLOBALS["AutoPublishAlias"]
    assert all(properties["AutoPublishAliasAllProperties"] for _, properties in FUNCTIONS.values())


def test_all_processes_together_fit_the_databases_connections():
    reserved = [properties["ReservedConcurrentExecutions"]["Fn::If"][1] for _, properties in FUNCTIONS.values()]
    each = int(GLOBALS["Environment"]["Variables"]["NAUTILUS_DATABASE_POOL"])
    environment = {e["Name"]: e["Value"] for e in CONTAINERS["BridgeTask.bridge"]["Environment"]}
    beside = 2  # one holds its name, one listens
    bridge = int(environment["NAUTILUS_DATABASE_POOL"]) + beside + 1  # and one of the bridge holds the live data
    orders = int(
        {e["Name"]: e["Value"] for e in CONTAINERS["BridgeTask.orders"]["Environment"]}["NAUTILUS_DATABASE_POOL"]
    )
    orders += beside
    assert (bridge, FUNCTIONS["live"][1]["ReservedConcurrentExecutions"]["Fn::If"][1]) == (13, 5)
    signs_in = {e["Name"]: e["Value"] for e in CONTAINERS["StreamTask.stream"]["Environment"]}
    stream = int(signs_in["NAUTILUS_DATABASE_POOL"]) + POOL + 2  # one listens to the bus, one to what happens to orders
    deployed_at_once = 2  # of the stream: the old one says goodbye while the new one serves
    writes = {e["Name"]: e["Value"] for e in CONTAINERS["ExportTask.export"]["Environment"]}
    exports = int(writes["NAUTILUS_DATABASE_POOL"])
    runs = {e["Name"]: e["Value"] for e in CONTAINERS["StrategyTask.strategies"]["Environment"]}
    strategies = host.POOL + 3  # one holds its name, one listens, one reads the bus where there is no Redis
    assert int(runs["NAUTILUS_DATABASE_POOL"]) == host.POOL
    command = 1
    functions = sum(reserved) * each
    together = functions + bridge + orders + deployed_at_once * stream + exports + strategies + command
    assert together <= CONNECTIONS
    page = (ROOT / "docs" / "aws.md").read_text()
    parts = f"functions hold at most {functions} (one each, by their reserved concurrency), the bridge {bridge}"
    parts += f", the order process {orders}, the stream {stream}, and while it is replaced {deployed_at_once * stream}"
    parts += f", the export task {exports}, the strategy host {strategies}, a command {command}"
    assert f"At least {together} connections must be allowed: {parts}." in page


def test_calls_that_wait_for_an_order_leave_half_of_the_function_to_cancels_and_kills():
    reserved = FUNCTIONS["orders"][1]["ReservedConcurrentExecutions"]["Fn::If"][1]
    assert reserved == waiting.CONCURRENCY
    assert reserved >= waiting.MOST * 2


def test_the_bridge_keeps_the_watch_list_that_the_functions_show():
    name = "NAUTILUS_LIVE_WATCH"
    deployed = [settings_of(process)[1][name] for process in (*FOLDERS, "BridgeTask.bridge")]
    assert all(value == deployed[0] and "LiveWatch" in str(value) for value in deployed)
    composed = [service["environment"][name] for service in COMPOSE["services"].values() if name in str(service)]
    assert len(composed) == 2
    assert len(set(composed)) == 1


def test_a_full_cache_of_the_containers_drops_no_stream():
    command = COMPOSE["services"]["cache"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "volatile-lru"


def test_pages_of_other_origins_may_the_same_as_without_api_gateway():
    """API Gateway's answer replaces ours: a header that is missing there cannot be read by a front end."""
    cors = RESOURCES["Api"]["Properties"]["CorsConfiguration"]
    assert tuple(cors["AllowMethods"]) == web.CORS_METHODS
    assert tuple(cors["AllowHeaders"]) == web.CORS_HEADERS
    assert tuple(cors["ExposeHeaders"]) == web.CORS_EXPOSED


def test_the_api_keeps_its_memory_wherever_it_runs():
    given = GLOBALS["Environment"]["Variables"]
    assert MEMORY.items() <= given.items()
    image = (ROOT / "infra" / "api.Dockerfile").read_text()
    assert all(f"{name}={value}" in image for name, value in MEMORY.items())


# ---- settings and secrets --------------------------------------------------------------------------------------------


def settings_of(process: str) -> tuple[type[Settings], dict[str, Any]]:
    """Settings class of a function or container, and the variables that the template gives it."""
    if process in FUNCTIONS:
        own = FUNCTIONS[process][1].get("Environment", {}).get("Variables", {})
        return (AuthSettings if process == "auth" else ApiSettings), {**GLOBALS["Environment"]["Variables"], **own}
    container = CONTAINERS[process]
    given = {e["Name"]: e["Value"] for e in container.get("Environment", [])}
    given |= {e["Name"]: e["ValueFrom"] for e in container.get("Secrets", [])}
    return SETTINGS[process], given


SETTINGS: dict[str, type[Settings]] = {
    "BridgeTask.bridge": BridgeSettings,
    "BridgeTask.orders": OrderSettings,
    "CommandTask.command": MigrateSettings,
    "StreamTask.stream": StreamSettings,
    "ExportTask.export": ExportTaskSettings,
    "StrategyTask.strategies": StrategySettings,
}
PROCESSES = [*FOLDERS, *SETTINGS]


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_gets_the_settings_it_needs_and_no_unknown_ones(process):
    kind, given = settings_of(process)
    known = {f"NAUTILUS_{name.upper()}": field for name, field in kind.model_fields.items()}
    assert {name for name in given if name.startswith("NAUTILUS_")} <= set(known)
    assert {name for name, field in known.items() if field.is_required()} <= set(given)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_secret_setting_is_the_reference_of_a_secret(process):
    kind, given = settings_of(process)
    for name, field in kind.model_fields.items():
        variable = f"NAUTILUS_{name.upper()}"
        if field.annotation is SecretStr and given.get(variable) and name != "redis_url":  # a cache has no password
            assert re.fullmatch(r"\w+SecretArn", given[variable]["Ref"]), variable


def test_only_sign_in_may_read_the_signing_key():
    readers = {role for role in of_type("AWS::IAM::Role") for s in statements(role) if "TokenKeySecretArn" in str(s)}
    assert readers == {"AuthRole"}
    assert "NAUTILUS_TOKEN_PRIVATE_KEY" not in GLOBALS["Environment"]["Variables"]


def test_only_bars_are_read_from_a_replica():
    readers = {role for role in of_type("AWS::IAM::Role") for s in statements(role) if "ReplicaSecretArn" in str(s)}
    assert readers == {"BarsRole"}
    documented = [name for name in FOLDERS if "NAUTILUS_REPLICA_URL" in settings_of(name)[1]]
    assert documented == ["bars"]


def test_no_file_of_infra_holds_a_secret():
    for path in [*(ROOT / "infra").iterdir(), ROOT / "samconfig.toml"]:
        text = path.read_text()
        assert "PRIVATE KEY" not in text
        assert not re.search(r"AKIA[0-9A-Z]{16}", text)
        # A password is empty, a reference, or the one that compose.yaml explains.
        for value in re.findall(r"(?im)^\s*-?\s*\w*(?:password|secret_access_key)\w*\s*[:=]\s*(\S.*)$", text):
            allowed = (r"\$\{\w+(:-(inside-this-network)?)?\}", "local")
            assert any(re.fullmatch(pattern, value) for pattern in allowed), f"{path.name}: {value}"
    named = [name for name in TEMPLATE["Parameters"] if re.search("secret|key|password", name, re.IGNORECASE)]
    assert not any(TEMPLATE["Parameters"][name].get("Default") for name in named if name.endswith("SecretArn"))


def test_parameters_say_what_they_are_and_what_is_allowed():
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"], name
        typed = parameter["Type"].startswith(("AWS::EC2", "AWS::SSM", "List<AWS", "CommaDelimitedList"))
        checked = {"AllowedPattern", "AllowedValues", "MinValue"} & set(parameter)
        assert typed or checked, f"{name} needs an AllowedPattern"
        if "AllowedPattern" in parameter and "Default" in parameter:
            assert re.search(parameter["AllowedPattern"], parameter["Default"]), name


def sample_values() -> list[str]:
    """Values of CorsOrigins and KeepBarsDays: good ones, slips, and everything one character away from the good ones."""
    good = ["https://app.example.com", "http://localhost:3000,https://a.b", "1s=30,5s=90", "1M=1", "30m=999999", "1w=7"]
    bad = ["*", "https://*", "https://a/", "HTTPS://a", "https://a:", "https://a:123456", "ftp://a", "a.example.com"]
    bad += [
        "1s=0",
        "1s=01",
        "1s",
        "7m=3",
        "1s=3,",
        ",1s=3",
        "1s=3;5s=4",
        "1s=-3",
        "1s=1000000",
        "1s=3,,5s=4",
        "1S=3",
        "99d=5",
    ]
    bad += [
        "https://a,,https://b",
        "https://[::1]",
        "https://a?x",
        "https://a#x",
        "https://a_b",
        "https://ä.de",
        "https://a:٣",
    ]
    near = [v[:n] + c + v[n + k :] for v in good for n in range(len(v) + 1) for k in (0, 1) for c in "/:,=0*Aä9"]
    return good + bad + near


@pytest.mark.parametrize(
    ("parameter", "setting", "kind", "part"),
    [
        ("CorsOrigins", "cors_origins", ApiSettings, ORIGIN),
        ("KeepBarsDays", "keep_bars_days", RetentionSettings, KEPT_DAYS),
        ("LiveAccount", "live_account", OrderModeSettings, ACCOUNT),
    ],
)
def test_a_parameter_takes_what_its_setting_takes(parameter, setting, kind, part):
    """What the template lets through and a process refuses is a stack that deploys and does not start."""
    pattern = TEMPLATE["Parameters"][parameter]["AllowedPattern"]
    assert pattern in (f"^{part}(,{part})*$", f"^({part}(,{part})*)?$")
    url = SecretStr("postgresql://x:y@h/d")
    for value in sample_values():
        try:
            kind(**{"database_url": url, "token_public_keys": "{}", setting: value})
            taken = True
        except ValueError:
            taken = False
        allowed = bool(re.fullmatch(pattern.strip("^$"), value, re.ASCII))
        names = [one.partition("=")[0] for one in value.split(",")]
        if setting == "keep_bars_days" and len(set(names)) < len(names):
            continue  # twice the same timeframe: no pattern says that
        # A process forgives a comma too many, the template does not.
        assert allowed == taken or (taken and "" in value.split(",")), value


def test_parameters_with_a_pattern_of_a_settings_own_were_found():
    """Each parameter that goes into a setting is of a fixed list, a number, a reference, or compared above."""
    assert TEMPLATE["Parameters"]["GatewayRestartTime"]["AllowedPattern"] == f"^{TIME_OF_DAY}$"
    compared = {"CorsOrigins", "KeepBarsDays", "LiveAccount", "GatewayRestartTime"}
    for process in PROCESSES:
        kind, given = settings_of(process)
        for variable, value in given.items():
            name = str(value.get("Ref", "")) if isinstance(value, dict) else ""
            parameter = TEMPLATE["Parameters"].get(name, {})
            if not variable.startswith("NAUTILUS_") or name in compared or not parameter:
                continue
            field = kind.model_fields[variable.removeprefix("NAUTILUS_").lower()]
            if "AllowedValues" in parameter:
                assert set(parameter["AllowedValues"]) <= set(get_args(field.annotation)), name
            elif "MaxValue" in parameter:
                limits = {w: getattr(rule, w) for rule in field.metadata for w in ("ge", "le") if hasattr(rule, w)}
                assert (parameter["MinValue"], parameter["MaxValue"]) == (limits["ge"], limits["le"]), name
            else:
                assert (
                    name in ("TokenKeyId", "StreamHost") or name.endswith("SecretArn") or "SSM" in parameter["Type"]
                ), name


# ---- roles -----------------------------------------------------------------------------------------------------------


def statements(role: str) -> list[dict[str, Any]]:
    policies = RESOURCES[role]["Properties"]["Policies"]
    return [settled(s) for policy in policies for s in policy["PolicyDocument"]["Statement"]]


def actions(statement: dict[str, Any]) -> list[str]:
    found = statement["Action"]
    return [found] if isinstance(found, str) else list(found)


def test_nothing_is_allowed_everywhere_without_a_reason():
    used = set()
    for role in of_type("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in RESOURCES[role]["Properties"], "policies stand here, to be read"
        for statement in statements(role):
            assert statement["Effect"] == "Allow"
            assert not any("*" in action for action in actions(statement)), f"{role} allows {actions(statement)}"
            if any(isinstance(leaf, str) and "*" in leaf for leaf in leaves(statement["Resource"])):
                reason = next((key for key in WILDCARDS if _covers(key, role, actions(statement))), None)
                assert reason, f"{role} allows {actions(statement)} on {statement['Resource']} without a reason"
                used.add(reason)
    assert used == set(WILDCARDS), "a reason that no statement needs"


def _covers(key: tuple[str, str], role: str, allowed: list[str]) -> bool:
    who, what = (text.replace("*", ".*") for text in key)
    patterns = what.split(", ")
    return bool(re.fullmatch(who, role)) and all(any(re.fullmatch(p, a) for p in patterns) for a in allowed)


def test_only_services_take_roles():
    for name, properties in of_type("AWS::IAM::Role").items():
        (statement,) = properties["AssumeRolePolicyDocument"]["Statement"]
        assert set(statement["Principal"]) == {"Service"}, name


def test_nobody_comes_in_from_outside():
    for name, properties in of_type("AWS::EC2::SecurityGroup").items():
        for rule in properties.get("SecurityGroupIngress", []):
            if name == "BalancerSecurityGroup":  # the one door: sockets by TLS
                assert (rule["FromPort"], rule["ToPort"], rule["CidrIp"]) == (443, 443, {"Ref": "StreamClients"})
            else:
                assert "SourceSecurityGroupId" in rule, name
        assert properties["SecurityGroupEgress"], f"{name}: without egress rules everything is allowed"


# ---- queues, logs, alarms --------------------------------------------------------------------------------------------


def test_each_queue_has_a_dead_letter_queue_or_is_one():
    queues = of_type("AWS::SQS::Queue")
    dead = {
        properties["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"].split(".")[0]
        for properties in queues.values()
        if "RedrivePolicy" in properties
    }
    for name, properties in queues.items():
        assert ("RedrivePolicy" in properties) != (name in dead), name
        assert properties["SqsManagedSseEnabled"] is True
    assert {queues[name]["MessageRetentionPeriod"] for name in dead} == {14 * 86_400}
    watched = str([a["Dimensions"] for a in of_type("AWS::CloudWatch::Alarm").values() if "Dimensions" in a])
    assert all(f"{name}.QueueName" in watched for name in queues)


def test_the_local_queue_is_like_the_deployed_one():
    local = (ROOT / "infra" / "elasticmq.conf").read_text()
    deployed = of_type("AWS::SQS::Queue")["HintQueue"]
    assert f"maxReceiveCount = {deployed['RedrivePolicy']['maxReceiveCount']}" in local
    assert f"defaultVisibilityTimeout = {deployed['VisibilityTimeout']} seconds" in local
    assert f"receiveMessageWait = {deployed['ReceiveMessageWaitTimeSeconds']} seconds" in local


def test_logs_are_kept_for_a_time_only():
    groups = of_type("AWS::Logs::LogGroup")
    assert all(properties["RetentionInDays"] == {"Ref": "LogDays"} for properties in groups.values())
    used = {container["LogConfiguration"]["Options"]["awslogs-group"]["Ref"] for container in CONTAINERS.values()}
    assert used <= set(groups)


def test_what_is_watched_is_emitted():
    """Names of our metrics in alarms and dashboard, against the code and the filters that make them."""
    from functions.monitoring import app

    filters = of_type("AWS::Logs::MetricFilter")
    filtered = {m["MetricName"] for f in filters.values() for m in f["MetricTransformations"]}
    source = Path(app.__file__).read_text()
    emitted = filtered | set(re.findall(r'Measure\("(\w+)"', source))
    alarms = of_type("AWS::CloudWatch::Alarm").values()
    watched = {a["MetricName"] for a in alarms if str(a["Namespace"]).count("Nautilus")}
    body = json.loads(of_type("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]["Fn::Sub"])
    for widget in body["widgets"]:
        namespace = ""
        for metric in widget["properties"]["metrics"]:
            namespace = namespace if metric[0] in (".", "...") else metric[0]
            if namespace.startswith("Nautilus/") and metric[0] != "...":
                watched.add(metric[1])
    assert watched <= emitted
    assert {"SessionConnected", "JobSilence", "PacingViolations", "UnmappedCodes"} <= watched

    folders = {"BridgeLogs": "ib_bridge", "StrategyHostLogs": "strategy_host"}
    for name, properties in filters.items():
        folder = ROOT / folders[properties["LogGroupName"]["Ref"]]
        log_lines = "".join(path.read_text() for path in folder.rglob("*.py"))
        (action,) = re.findall(r'\$\.message = "([\w-]+)"', properties["FilterPattern"])
        assert f'"{action}"' in log_lines, f"{name} looks for a line that {folder.name} never writes"


def test_every_alarm_tells_somebody_and_says_what_it_means():
    for name, properties in of_type("AWS::CloudWatch::Alarm").items():
        assert properties["AlarmActions"] == [{"Ref": "Alarms"}], name
        assert len(properties["AlarmDescription"]) > 30, name


def test_for_every_alarm_the_handbook_says_what_to_do():
    table = (ROOT / "docs" / "aws.md").read_text().partition("| alarm | what to do |")[2].partition("\n\n")[0]
    documented = {
        name.strip() for row in re.findall(r"^\| ([A-Za-z, ]+) \|", table, re.MULTILINE) for name in row.split(",")
    }
    assert documented == {name.removesuffix("Alarm") for name in of_type("AWS::CloudWatch::Alarm")}


# ---- the bridge ------------------------------------------------------------------------------------------------------


def gateway_environments() -> list[dict[str, Any]]:
    """What the gateway is given in a deployment and in containers."""
    deployed = {e["Name"]: e["Value"] for e in CONTAINERS["BridgeTask.gateway"]["Environment"]}
    return [deployed, COMPOSE["services"]["ib-gateway"]["environment"]]


def test_the_gateway_takes_orders_only_where_they_are_sent():
    deployed, composed = gateway_environments()
    assert deployed["READ_ONLY_API"] == {"Fn::If": ["WithOrders", "no", "yes"]}
    assert deployed["BYPASS_WARNING"] == {"Fn::If": ["WithOrders", "yes", "no"]}
    assert TEMPLATE["Conditions"]["WithOrders"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "OrdersMode"}, "off"]}]}
    assert composed["READ_ONLY_API"] == "${READ_ONLY_API:-yes}", "who says nothing sends nothing"
    given = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "infra" / "ib.env").read_text(), re.MULTILINE))
    assert (given["NAUTILUS_ORDERS"], given["READ_ONLY_API"], given["BYPASS_WARNING"]) == ("paper", "no", "yes")


def test_the_order_process_is_the_gateways_master_client():
    process = {e["Name"]: e["Value"] for e in CONTAINERS["BridgeTask.orders"]["Environment"]}
    composed = COMPOSE["services"]["orders"]["environment"]
    numbers = {given["TWS_MASTER_CLIENT_ID"] for given in gateway_environments()}
    assert numbers == {process["NAUTILUS_ORDERS_CLIENT_ID"], composed["NAUTILUS_ORDERS_CLIENT_ID"]} == {"5"}
    assert OrderSettings.model_fields["orders_client_id"].default == 5


def test_the_order_process_knows_when_the_gateway_restarts():
    process = {e["Name"]: e["Value"] for e in CONTAINERS["BridgeTask.orders"]["Environment"]}
    deployed, composed = gateway_environments()
    assert process["NAUTILUS_GATEWAY_RESTART_AT"] == deployed["AUTO_RESTART_TIME"] == {"Ref": "GatewayRestartTime"}
    assert f"NAUTILUS_GATEWAY_RESTART_AT={composed['AUTO_RESTART_TIME']}\n" in (ROOT / "infra" / "ib.env").read_text()


def test_one_session_at_a_time():
    """A login at Interactive Brokers is a single session: a second task would push the first one out."""
    service = of_type("AWS::ECS::Service")["BridgeService"]
    assert service["DeploymentConfiguration"]["MaximumPercent"] == 100
    assert service["DeploymentConfiguration"]["MinimumHealthyPercent"] == 0
    assert TEMPLATE["Parameters"]["BridgeCount"]["AllowedValues"] == [0, 1]


def test_a_login_that_waits_for_a_person_is_not_thrown_away():
    check = CONTAINERS["BridgeTask.gateway"]["HealthCheck"]
    assert check["StartPeriod"] + check["Interval"] * check["Retries"] >= 30 * 60
    assert CONTAINERS["BridgeTask.bridge"]["DependsOn"] == [{"ContainerName": "gateway", "Condition": "START"}]
    assert all(c["RestartPolicy"]["Enabled"] for name, c in CONTAINERS.items() if name.startswith("BridgeTask"))


def test_ours_write_nothing_to_their_file_system():
    assert all(CONTAINERS[name]["ReadonlyRootFilesystem"] for name in SETTINGS)
    for name in ("simulator", "migrate", "bridge", "orders", "api", "stream", "export", "strategies"):
        assert COMPOSE["services"][name]["read_only"] is True
        assert COMPOSE["services"][name]["cap_drop"] == ["ALL"]


# ---- the stream ------------------------------------------------------------------------------------------------------


def test_nothing_of_the_stream_is_made_without_a_certificate():
    made = [name for name in RESOURCES if name.startswith(("Stream", "Balancer")) and name != "StreamLogs"]
    assert len(made) > 8
    conditions = {RESOURCES[name].get("Condition") for name in made}
    assert conditions == {"WithBalancer", "StreamAndCache", "WithStream"}
    assert "StreamCertificateArn" in str(TEMPLATE["Conditions"]["WithBalancer"])
    assert all(
        {"Condition": "WithBalancer"} in TEMPLATE["Conditions"][name]["Fn::And"]
        for name in conditions - {"WithBalancer"}
    )
    assert (
        TEMPLATE["Parameters"]["StreamCount"]["Default"],
        TEMPLATE["Parameters"]["StreamCertificateArn"]["Default"],
    ) == (0, "")
    # An emulator computes with the text of a number.
    assert of_type("AWS::ECS::Service")["StreamService"]["DesiredCount"] == {"Fn::If": ["WithStream", 1, 0]}


def test_sockets_come_by_tls_alone():
    listener = of_type("AWS::ElasticLoadBalancingV2::Listener")["StreamListener"]
    assert (listener["Protocol"], listener["Certificates"]) == (
        "HTTPS",
        [{"CertificateArn": {"Ref": "StreamCertificateArn"}}],
    )


def test_no_process_of_ours_is_the_first_of_its_container():
    ours = {name: one for name, one in CONTAINERS.items() if not name.endswith(".gateway")}
    assert set(ours) >= {"BridgeTask.bridge", "BridgeTask.orders", "StreamTask.stream"}
    assert [name for name, one in ours.items() if one.get("LinuxParameters") != {"InitProcessEnabled": True}] == []


def test_a_socket_lives_longer_than_a_heartbeat_and_a_ping():
    balancer = of_type("AWS::ElasticLoadBalancingV2::LoadBalancer")["StreamBalancer"]
    idle = {a["Key"]: a["Value"] for a in balancer["LoadBalancerAttributes"]}["idle_timeout.timeout_seconds"]
    assert int(idle) > 4 * max(StreamSettings.model_fields["stream_heartbeat_s"].default, server.PING_S)


def test_the_stream_has_time_to_say_goodbye():
    container = CONTAINERS["StreamTask.stream"]
    targets = of_type("AWS::ElasticLoadBalancingV2::TargetGroup")["StreamTargets"]
    delay = {a["Key"]: a["Value"] for a in targets["TargetGroupAttributes"]}["deregistration_delay.timeout_seconds"]
    longest_bye_s = StreamSettings.model_fields["stream_bye_s"].default + 10
    assert (container["StopTimeout"], delay) == (30, "30")
    assert container["StopTimeout"] > longest_bye_s
    assert COMPOSE["services"]["stream"]["stop_grace_period"] == "30s"


def test_the_stream_listens_where_it_is_looked_for():
    container = CONTAINERS["StreamTask.stream"]
    given = {e["Name"]: e["Value"] for e in container["Environment"]}
    port = int(given["NAUTILUS_STREAM_PORT"])
    targets = of_type("AWS::ElasticLoadBalancingV2::TargetGroup")["StreamTargets"]
    (balanced,) = of_type("AWS::ECS::Service")["StreamService"]["LoadBalancers"]
    (rule,) = of_type("AWS::EC2::SecurityGroup")["StreamSecurityGroup"]["SecurityGroupIngress"]
    assert {port} == {
        container["PortMappings"][0]["ContainerPort"],
        targets["Port"],
        balanced["ContainerPort"],
        rule["FromPort"],
        rule["ToPort"],
    }
    assert targets["HealthCheckPath"] == "/health"
    image = (ROOT / "stream" / "Dockerfile").read_text()
    assert f"NAUTILUS_STREAM_PORT={port}" in image


def test_each_socket_is_a_descriptor():
    (limit,) = CONTAINERS["StreamTask.stream"]["Ulimits"]
    assert limit == {"Name": "nofile", "SoftLimit": 65_536, "HardLimit": 65_536}
    assert COMPOSE["services"]["stream"]["ulimits"] == {"nofile": 65_536}


def test_whoever_speaks_on_the_bus_reaches_the_cache():
    inside = of_type("AWS::EC2::SecurityGroup")["CacheSecurityGroup"]["SecurityGroupIngress"]
    added = of_type("AWS::EC2::SecurityGroupIngress")["StreamToCache"]
    sources = [rule["SourceSecurityGroupId"] for rule in inside]
    assert sources == [{"Ref": "FunctionSecurityGroup"}, {"Ref": "BridgeSecurityGroup"}]
    assert added["SourceSecurityGroupId"] == {"Fn::GetAtt": "StreamSecurityGroup.GroupId"}
    for group in ("FunctionSecurityGroup", "BridgeSecurityGroup", "StreamSecurityGroup"):
        out = of_type("AWS::EC2::SecurityGroup")[group]["SecurityGroupEgress"]
        assert {"cache", "database"} <= {rule["Description"] for rule in out}, group
    for process in ("BridgeTask.bridge", "StreamTask.stream"):
        given = {e["Name"]: e["Value"] for e in CONTAINERS[process]["Environment"]}
        assert given["NAUTILUS_REDIS_URL"] == GLOBALS["Environment"]["Variables"]["NAUTILUS_REDIS_URL"]
    local = {
        name: COMPOSE["services"][name]["environment"]["NAUTILUS_REDIS_URL"] for name in ("bridge", "api", "stream")
    }
    assert set(local.values()) == {"redis://cache:6379/0"}


def test_the_stream_does_not_know_the_login_at_interactive_brokers():
    readers = {role for role in of_type("AWS::IAM::Role") for s in statements(role) if "IbLoginSecretArn" in str(s)}
    assert readers == {"ExecutionRole"}
    assert of_type("AWS::ECS::TaskDefinition")["StreamTask"]["ExecutionRoleArn"] == {
        "Fn::GetAtt": "StreamExecutionRole.Arn"
    }


def test_images_have_all_that_they_start():
    """Each top folder that a module of an image imports is copied into it."""
    for image, module in (
        ("stream/Dockerfile", "stream"),
        ("infra/api.Dockerfile", "stream"),
        ("infra/api.Dockerfile", "functions"),
    ):
        assert f"COPY {module} /app/{module}\n" in (ROOT / image).read_text(), image


# ---- strategies ------------------------------------------------------------------------------------------------------


def test_nothing_of_the_strategy_host_runs_unless_it_is_chosen():
    made = [name for name in RESOURCES if re.match(r"Strategy|StrategiesTo|StrategiesNot", name)]
    conditions = {name: RESOURCES[name].get("Condition") for name in made}
    kept = {name for name, condition in conditions.items() if condition is None}
    assert kept == {"StrategyRepository", "StrategyHostLogs"}, "an image is pushed before the host runs"
    assert set(conditions.values()) == {None, "WithStrategies", "StrategiesAndCache"}
    assert TEMPLATE["Parameters"]["StrategyCount"]["Default"] == 0
    assert len(made) >= 10


def test_two_strategy_hosts_never_run_at_once():
    """They have one name, and the second one would end."""
    deployment = of_type("AWS::ECS::Service")["StrategyService"]["DeploymentConfiguration"]
    assert (deployment["MaximumPercent"], deployment["MinimumHealthyPercent"]) == (100, 0)
    assert TEMPLATE["Parameters"]["StrategyCount"]["AllowedValues"] == [0, 1]


def test_strategies_have_no_rights_in_aws():
    """Whatever a strategy's process reads, credentials of a role are not among it."""
    assert "TaskRoleArn" not in of_type("AWS::ECS::TaskDefinition")["StrategyTask"]
    readable = [s["Resource"] for s in statements("StrategyExecutionRole") if "secretsmanager" in str(actions(s))]
    assert readable == [{"Ref": "DatabaseSecretArn"}]


def test_the_strategy_host_reaches_what_it_reads():
    out = of_type("AWS::EC2::SecurityGroup")["StrategySecurityGroup"]["SecurityGroupEgress"]
    assert {rule["Description"] for rule in out} == {"AWS", "database", "cache"}
    added = of_type("AWS::EC2::SecurityGroupIngress")["StrategiesToCache"]
    assert added["SourceSecurityGroupId"] == {"Fn::GetAtt": "StrategySecurityGroup.GroupId"}
    given = {e["Name"]: e["Value"] for e in CONTAINERS["StrategyTask.strategies"]["Environment"]}
    assert given["NAUTILUS_REDIS_URL"] == GLOBALS["Environment"]["Variables"]["NAUTILUS_REDIS_URL"]
    assert COMPOSE["services"]["strategies"]["environment"]["NAUTILUS_REDIS_URL"] == "redis://cache:6379/0"


def test_the_task_has_the_paths_of_its_image_and_health_where_it_is_looked_for():
    container = CONTAINERS["StrategyTask.strategies"]
    given = {e["Name"]: e["Value"] for e in container["Environment"]}
    image = (ROOT / "strategy_runner" / "Dockerfile").read_text()
    for name in ("NAUTILUS_STRATEGY_PYTHON", "NAUTILUS_STRATEGY_FOLDER", "NAUTILUS_STRATEGY_HEALTH_PORT"):
        assert f"{name}={given[name]}" in image
    port = f"C('127.0.0.1', {given['NAUTILUS_STRATEGY_HEALTH_PORT']}, "
    assert port in image
    assert port in container["HealthCheck"]["Command"][-1]
    (mounted,) = COMPOSE["services"]["strategies"]["volumes"]
    assert mounted.endswith(f":{given['NAUTILUS_STRATEGY_FOLDER']}:ro")


def test_every_size_of_the_strategy_host_has_its_memory():
    sizes = TEMPLATE["Mappings"]["StrategyTasks"]
    assert list(sizes) == TEMPLATE["Parameters"]["StrategyCpu"]["AllowedValues"]
    assert all(int(memory["Memory"]) == 4 * int(cpu) for cpu, memory in sizes.items())


def test_logs_of_every_group_are_followed():
    """make logs names the groups of the template, each once."""
    groups = sorted(p["LogGroupName"]["Fn::Sub"].rsplit("/", 1)[1] for p in of_type("AWS::Logs::LogGroup").values())
    (followed,) = re.findall(r"\$\(foreach group,([\w -]+),--cw-log-group", (ROOT / "Makefile").read_text())
    assert sorted(followed.split()) == groups


# ---- local containers ------------------------------------------------------------------------------------------------


def test_local_ports_are_this_machines_own():
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_images_have_versions_and_agree():
    services = COMPOSE["services"]
    for name, service in services.items():
        assert not re.search(r"(:latest|:stable)$|^[^:]+$", service["image"]), name
    assert services["ib-gateway"]["image"] == TEMPLATE["Parameters"]["GatewayImage"]["Default"]
    assert re.search(TEMPLATE["Parameters"]["GatewayImage"]["AllowedPattern"], services["ib-gateway"]["image"])
    assert not re.search(TEMPLATE["Parameters"]["GatewayImage"]["AllowedPattern"], "ghcr.io/gnzsnz/ib-gateway:latest")


DIGEST = "@sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("parameter", "version"),
    [
        ("GatewayImage", "ghcr.io/gnzsnz/ib-gateway:10.45.1j"),
        ("GatewayImage", "registry.example.com:5000/ib-gateway:10.45.1j"),
        ("BridgeImageTag", "7"),
        ("CommandImageTag", "7"),
        ("StreamImageTag", "7"),
        ("ExportImageTag", "7"),
        ("StrategyImageTag", "7"),
    ],
)
def test_an_image_may_be_named_with_its_digest(parameter, version):
    pattern = TEMPLATE["Parameters"][parameter]["AllowedPattern"]
    for good in (version, version + DIGEST):
        assert re.search(pattern, good), good
    for bad in (version + DIGEST[:-1], version + DIGEST.upper(), version + "@", version + DIGEST + "x", DIGEST):
        assert not re.search(pattern, bad), bad
    if parameter == "GatewayImage":
        for moving in ("latest", "stable"):
            name = version.rpartition(":")[0]
            assert not re.search(pattern, f"{name}:{moving}")
            assert not re.search(pattern, f"{name}:{moving}{DIGEST}")


def test_the_database_is_of_the_version_that_was_measured_last():
    """docs/decisions/0026-timescaledb.md names the versions on which the whole suite ran."""
    image = COMPOSE["services"]["database"]["image"]
    [version] = (tuple(map(int, found)) for found in re.findall(r":(\d+)\.(\d+)\.(\d+)-pg\d+$", image))
    measured = (ROOT / "docs" / "decisions" / "0026-timescaledb.md").read_text()
    newest = max(tuple(map(int, found)) for found in re.findall(r"\b(2)\.(\d+)\.(\d+)\b", measured))
    assert version == newest
    assert image in (ROOT / "docs" / "aws.md").read_text()


def test_sam_deploys_what_was_built():
    """template_file anywhere else would make `deploy` and `local` take the sources."""
    for environment, sections in tomllib.loads((ROOT / "samconfig.toml").read_text()).items():
        if environment != "version":
            given = {name for name, section in sections.items() if "template_file" in section.get("parameters", {})}
            assert given == ({"validate", "build", "sync"} if environment == "default" else set()), environment
