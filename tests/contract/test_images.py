"""The Dockerfiles against the files they copy: what .dockerignore keeps out cannot be copied, and what a process imports must be.

The images themselves are built and tried by hand (docs/aws.md, "Without AWS: containers").
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = (
    *("ib_bridge/Dockerfile", "ib_gateway_sim/Dockerfile", "stream/Dockerfile", "strategy_runner/Dockerfile"),
    "export_task/Dockerfile",
    "infra/api.Dockerfile",
)
OURS = (
    *("nautilus", "functions", "stream", "strategy_host", "strategy_runner", "export_task", "ib_bridge"),
    *("ib_gateway_sim", "dev"),
)
# What an image starts, and what compose.yaml and the template start in it: modules, by the place of their file in the image.
STARTED = {
    "ib_bridge/Dockerfile": (
        *("ib_bridge/__main__.py", "ib_bridge/orders/__main__.py", "nautilus/db/migrate.py", "nautilus/db/verify.py"),
        *("nautilus/db/retention.py", "nautilus/orders/kill.py"),
    ),
    "ib_gateway_sim/Dockerfile": ("ib_gateway_sim/__main__.py",),
    "stream/Dockerfile": ("stream/__main__.py",),
    "strategy_runner/Dockerfile": (
        *("strategy_host/__main__.py", "strategy_runner/__main__.py", "strategy_runner/backtest.py"),
        "strategy_runner/node.py",
        *(
            f"strategy_runner/builtin/{name}.py"
            for name in ("bollinger_reversion", "buy_and_hold", "donchian_breakout")
        ),
        "strategy_runner/builtin/ema_cross.py",
    ),
    "export_task/Dockerfile": ("export_task/__main__.py",),
    "infra/api.Dockerfile": ("dev/container.py",),
}


def copied(dockerfile: str) -> list[str]:
    """The paths of the repository that an image copies, without what one stage takes from another."""
    found: list[str] = []
    for line in re.findall(r"^COPY (?!--from)(.+)$", (ROOT / dockerfile).read_text(), re.MULTILINE):
        found += line.split()[:-1]
    return found


def admitted() -> list[str]:
    """The top folders that .dockerignore lets into a build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines, "everything else is kept out"
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def test_every_dockerfile_is_looked_at():
    found = {str(path.relative_to(ROOT)) for folder in (*OURS, "infra") for path in (ROOT / folder).glob("*Dockerfile")}
    assert found == set(DOCKERFILES)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_an_image_copies_reaches_the_build(dockerfile):
    paths = copied(dockerfile)
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path
        assert path.split("/")[0] in admitted(), f".dockerignore keeps {path} out: add !{path.split('/')[0]}"


def in_image(dockerfile: str, module: str) -> Path | None:
    """The source of a module of ours, if the image has it."""
    place = module.replace(".", "/")
    for path in copied(dockerfile):
        base = (ROOT / path).parent if (ROOT / path).suffix != ".py" else ROOT
        for source in (base / f"{place}.py", base / place / "__init__.py"):
            if source.is_file() and source.is_relative_to(ROOT / path):
                return source
    return None


def imports(source: Path) -> set[str]:
    """The modules of ours that a file imports anywhere, also within functions; `from x import y` may mean the module x.y."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {
                f"{node.module}.{alias.name}" for alias in node.names if _is_module(f"{node.module}.{alias.name}")
            }
    return {name for name in found if name.split(".")[0] in OURS}


def _is_module(name: str) -> bool:
    bases = (ROOT, ROOT / "layers" / "shared")
    return any((base / f"{name.replace('.', '/')}{end}").is_file() for base in bases for end in (".py", "/__init__.py"))


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_an_image_has_every_module_that_its_processes_import(dockerfile):
    waiting = [started.removesuffix(".py").replace("/", ".") for started in STARTED[dockerfile]]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            source = in_image(dockerfile, module)
            assert source is not None, f"{dockerfile} does not copy {module}"
            waiting += imports(source)
    assert len(seen) > 5


def test_the_image_with_the_engine_has_its_licence_and_says_which_version():
    text = (ROOT / "strategy_runner" / "Dockerfile").read_text()
    pinned = re.search(r"^nautilus-trader==(\S+)", (ROOT / "requirements" / "strategies.txt").read_text(), re.MULTILINE)
    assert pinned
    assert "licenses/LICENSE /opt/strategies/LICENSE-nautilus_trader" in text
    # The LGPL is given together with the GPL, which the wheel lacks and Debian has.
    assert "cp /usr/share/common-licenses/GPL-3 /opt/strategies/LICENSE-GPL-3" in text
    notice = (ROOT / "strategy_runner" / "NOTICE").read_text()
    written = re.findall(r" /opt/strategies/(LICENSE-[\w-]+)", text)
    assert re.findall(r"/opt/strategies/(LICENSE-[\w-]+)", notice) == written
    assert f"NautilusTrader {pinned[1]}," in notice
    assert f"tag v{pinned[1]}." in notice


def test_the_licence_that_the_image_copies_is_where_the_engine_brings_it():
    text = (ROOT / "strategy_runner" / "Dockerfile").read_text()
    (named,) = re.findall(r"cp /opt/strategies/(\S+/LICENSE) /opt/strategies/LICENSE-nautilus_trader", text)
    made = ROOT / ".venv-strategies"
    if not made.exists():
        pytest.skip("no environment of strategies: make strategies")
    (licence,) = made.glob(named)
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in licence.read_text()


def test_the_health_page_of_the_host_is_where_the_image_looks():
    text = (ROOT / "strategy_runner" / "Dockerfile").read_text()
    (port,) = re.findall(r"NAUTILUS_STRATEGY_HEALTH_PORT=(\d+)", text)
    assert re.findall(r"C\('127\.0\.0\.1', (\d+)", text) == [port]


def test_the_host_finds_in_its_image_what_it_starts_strategies_with():
    """A strategy's process is given the folders that hold `strategy_runner` and `nautilus`; there the host's libraries, which
    are of other versions than the engine's, must not lie."""
    text = (ROOT / "strategy_runner" / "Dockerfile").read_text()
    assert "NAUTILUS_STRATEGY_PYTHON=/opt/strategies/bin/python" in text
    assert "venv --copies /opt/strategies" in text
    places = dict(re.findall(r"^COPY (?:layers/shared/)?(nautilus|strategy_\w+) (\S+)$", text, re.MULTILINE))
    assert places == {name: f"/app/{name}" for name in ("nautilus", "strategy_host", "strategy_runner")}
    assert "--target /opt/python -r /tmp/bridge.txt" in text


def test_a_module_that_is_not_copied_is_missed():
    assert in_image("stream/Dockerfile", "ib_bridge.bridge") is None
    assert in_image("infra/api.Dockerfile", "dev.stack") is None
    assert in_image("infra/api.Dockerfile", "dev.container") is not None
