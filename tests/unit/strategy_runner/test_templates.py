"""Templates are found and described without any of them being able to harm the others."""

import pytest

from tests.support.strategy_runner import SCRIPTED, Runner, backtest, needs_engine, scripted

pytestmark = needs_engine
BUILT_IN = ["bollinger_reversion", "buy_and_hold", "donchian_breakout", "ema_cross"]


def described(folder=None, *options):
    with Runner("describe", *options, folder=folder) as runner:
        found = runner.rest()
        assert runner.process.wait() == 0
    assert [one["type"] for one in found] == ["templates"], found
    return found[0]


def test_built_in_templates_have_a_schema_that_names_units_and_limits():
    found = described()
    assert found["engine"] == "nautilus_trader 2.0.0rc7"
    assert [(one["id"], one["source"], one["error"]) for one in found["templates"]] == [
        (name, "built in", None) for name in BUILT_IN
    ]
    fast = found["templates"][3]["schema"]["properties"]["fast"]
    assert (fast["minimum"], fast["default"], fast["description"]) == (1, 10, "Bars of the fast average.")
    assert all(len(one["hash"]) == 64 and one["description"] for one in found["templates"])


def test_files_of_users_are_described_and_what_cannot_be_imported_says_why(tmp_path):
    folder = scripted(tmp_path / "strategies")
    scripted(folder, "raise OSError('no such data')", "broken")
    scripted(folder, "import os; os._exit(9)", "exits")
    scripted(folder, "x = 1", "none")
    scripted(folder, SCRIPTED, "buy_and_hold")
    (folder / "_helper.py").write_text("raise OSError")
    rows = {one["id"] + one["source"]: one for one in described(folder, "--within", "120")["templates"]}
    errors = {name: one["error"] for name, one in rows.items() if "file" in one["source"]}
    assert errors == {
        "scriptedfile scripted.py": None,
        "brokenfile broken.py": "OSError: no such data",
        "exitsfile exits.py": "its import ended the process (exit code 9)",
        "nonefile none.py": "SetupError: 0 classes of this file extend Strategy; it must be one",
        "buy_and_holdfile buy_and_hold.py": "more than one template has this id",
    }
    assert "wanted" in rows["scriptedfile scripted.py"]["schema"]["properties"]
    before = rows["scriptedfile scripted.py"]["hash"]
    scripted(folder, SCRIPTED + "\n")
    again = {
        one["id"]: one["hash"] for one in described(folder, "--within", "120")["templates"] if one["id"] == "scripted"
    }
    assert again["scripted"] != before


PARAMETERS = """
from pydantic import ConfigDict, Field
from strategy_runner.strategy import Strategy, StrategyParameters

class Own(Strategy):
    class Parameters(StrategyParameters):
        {body}
    def decide(self, bar):
        return None
"""
FIELDS = 'short: int = Field(2, alias="fast"); long: int = Field(5, alias="slow")'


@pytest.mark.parametrize(
    ("body", "relations"),
    [
        (f'relations = (("short", "<", "long"),); {FIELDS}', [["fast", "<", "slow"]]),
        ('model_config = ConfigDict(json_schema_extra={"examples": [], "x-relations": 5}); a: int = 1', None),
        (
            'model_config = ConfigDict(json_schema_extra={"a": 1}); relations = (("a", "<=", "b"),); a: int = 1; b: int = 2',
            [["a", "<=", "b"]],
        ),
        ('relations: list[str] = Field(default_factory=lambda: ["AAPL"])', None),
    ],
)
def test_relations_stand_in_the_schema_by_the_names_of_callers_whatever_else_is_in_it(tmp_path, body, relations):
    folder = scripted(tmp_path / "strategies", PARAMETERS.format(body=body), "own")
    (row,) = [one for one in described(folder, "--within", "120")["templates"] if one["id"] == "own"]
    assert row["error"] is None
    assert row["schema"].get("x-relations") == relations
    done = backtest([], folder=folder, template="own", parameters={})
    assert done.of("fault") == []


def test_relations_of_what_is_no_parameter_are_the_templates_error(tmp_path):
    folder = scripted(tmp_path / "strategies", PARAMETERS.format(body='relations = (("quick", "<", "slow"),)'), "own")
    (row,) = [one for one in described(folder, "--within", "120")["templates"] if one["id"] == "own"]
    assert "names no parameter; there are trade_size" in row["error"]


def test_a_package_names_its_strategies_by_entry_points(tmp_path):
    """An installed package, as its metadata describe it; the folder is mounted, too, so that the fence lets it be read."""
    folder = scripted(tmp_path / "packages", SCRIPTED, "my_package")
    metadata = folder / "my_package-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.2\n")
    points = "[nautilus.strategies]\nmine = my_package:Scripted\nwrong = my_package:Decimal\n"
    (metadata / "entry_points.txt").write_text(points)
    with Runner("describe", "--within", "120", folder=folder, more=[folder]) as runner:
        rows = {one["id"]: one for one in runner.rest()[0]["templates"]}
    assert rows["mine"]["source"] == "entry point my_package:Scripted of my-package 1.2"
    assert (rows["mine"]["error"], len(rows["mine"]["hash"])) == (None, 64)
    assert "wanted" in rows["mine"]["schema"]["properties"]
    assert "no class that extends Strategy" in rows["wrong"]["error"]


def test_an_import_that_never_ends_is_ended(tmp_path):
    folder = scripted(tmp_path / "strategies", "import time; time.sleep(3600)", "endless")
    row = described(folder, "--within", "1")["templates"][-1]
    assert (row["id"], row["error"]) == ("endless", "not imported within 1 s")


@pytest.mark.parametrize("name", ["../etc/passwd", "EMA", ""])
def test_a_name_that_is_none_is_refused(name):
    assert "no template" in backtest([], template=name).one("fault")["message"]
