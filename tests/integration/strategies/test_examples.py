"""The curl lines of docs/strategies.md, as they stand there, against the routes over real rows."""

import re
import shlex
from pathlib import Path
from string import Template
from typing import Any

from nautilus.strategies.states import Mode
from tests.support.strategy_api import Strategies, strategies

PAGE = (Path(__file__).parents[3] / "docs" / "strategies.md").read_text()
BLOCK = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
LINES = [line for line in BLOCK.splitlines() if line.startswith("curl ")]


def sent(desk: Strategies, line: str, names: dict[str, str]) -> Any:
    """The answer to a curl line; what it names in capitals is filled in as the shell would."""
    words = shlex.split(Template(line).substitute(names))
    assert words[:2] == ["curl", "-s"]
    method, headers, body, url = "GET", {}, None, words[-1]
    for option, value in zip(words[2:-1:2], words[3:-1:2], strict=True):
        if option == "-X":
            method = value
        elif option == "-H":
            name, _, text = value.partition(": ")
            headers[name] = text
        else:
            assert option == "-d"
            body = value
    assert headers.pop("X-API-Key") == "the key"
    return desk.api.request(method, url, headers={**desk.trader, **headers}, content=body)


def test_every_example_is_answered(dsn: str, tmp_path: Path) -> None:
    with strategies(dsn, tmp_path) as desk:
        names = {"KEY": "the key", "API": ""}
        for line in LINES:
            answer = sent(desk, line, names)
            assert answer.status_code in (200, 201, 202), f"{line}: {answer.text}"
            if "ID" not in names and "/backtests" in line:
                names["ID"] = answer.json()["id"]
                desk.sql("UPDATE strategy_runs SET data_versions = '{\"1\": 1}'")
            if 'strategy-configs"' in line:
                names["CONFIG"] = answer.json()["id"]
            if "paper-1" in line:
                names["RUN"] = answer.json()["id"]
        assert [row.wanted for row in desk.sql("SELECT wanted FROM strategy_runs WHERE mode = %s", Mode.PAPER)] == [
            "flat"
        ]
    assert len(LINES) > 15


def test_a_line_with_another_word_is_refused(dsn: str, tmp_path: Path) -> None:
    with strategies(dsn, tmp_path) as desk:
        answer = sent(desk, LINES[1].replace("ema_cross", "none"), {"KEY": "the key", "API": ""})
        assert answer.status_code == 422
