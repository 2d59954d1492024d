"""Settings: read once from the environment; what is wrong is named, what is secret is not shown."""

import pytest
from pydantic import ValidationError

from nautilus.backfill.planner import chunk_spans
from nautilus.market.timeframes import REQUEST_SPANS_S
from nautilus.settings.api import ApiSettings
from nautilus.settings.auth import AuthSettings
from nautilus.settings.base import explain, load, read
from nautilus.settings.bridge import BridgeSettings, MigrateSettings

URL = "postgresql://someone:hidden-word@127.0.0.1:5432/bars"


@pytest.fixture
def environment(monkeypatch):
    """An environment without any setting of ours; returns a function that sets some."""
    import os

    for name in [n for n in os.environ if n.upper().startswith("NAUTILUS_")]:
        monkeypatch.delenv(name)

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"NAUTILUS_{name.upper()}", value)

    return put


def test_the_environment_is_read(environment):
    environment(database_url=URL, bridge_id="b-2", ib_port="7497", env="staging", settle_daily_s="60")
    settings = load(BridgeSettings)
    assert settings.database_url.get_secret_value() == URL
    assert (settings.bridge_id, settings.ib_port, settings.settle_daily_s) == ("b-2", 7497, 60)
    assert settings.deployed
    assert settings.max_open_requests == 6, "a default"


def test_lists_are_separated_by_commas(environment):
    environment(
        database_url=URL, token_public_keys="{}", watch_list="AAPL, EUR/USD,,", cors_origins="http://localhost:3000"
    )
    settings = load(ApiSettings)
    assert settings.watch_list == ("AAPL", "EUR/USD")
    assert settings.cors_origins == ("http://localhost:3000",)
    assert settings.anonymous_scopes == ()


def test_settings_do_not_change(environment):
    environment(database_url=URL)
    settings = load(MigrateSettings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.database_url = settings.database_url  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        (ApiSettings, ["DATABASE_URL", "TOKEN_PUBLIC_KEYS"]),
        (AuthSettings, ["DATABASE_URL", "TOKEN_PUBLIC_KEYS", "TOKEN_PRIVATE_KEY", "TOKEN_KEY_ID"]),
        (BridgeSettings, ["DATABASE_URL"]),
        (MigrateSettings, ["DATABASE_URL"]),
    ],
)
def test_what_is_missing_stops_the_process_and_is_named(environment, capsys, kind, missing):
    with pytest.raises(SystemExit) as stopped:
        load(kind)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert "docs/settings.md" in lines[0]
    assert sorted(lines[1:]) == sorted(f"  NAUTILUS_{name}: is missing" for name in missing)


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (
            BridgeSettings,
            {"database_url": "mysql://x:hidden-word@h/b"},
            "NAUTILUS_DATABASE_URL: must begin with postgresql://",
        ),
        (BridgeSettings, {"ib_port": "70000"}, "NAUTILUS_IB_PORT: Input should be less than or equal to 65535"),
        (BridgeSettings, {"bridge_id": "Bridge 1"}, "NAUTILUS_BRIDGE_ID: "),
        (BridgeSettings, {"env": "production"}, "NAUTILUS_ENV: Input should be 'dev', 'test', 'staging' or 'prod'"),
        (BridgeSettings, {"env": "prod", "control_port": "4100"}, "refused when deployed"),
        (BridgeSettings, {"env": "staging", "source_replay": "day.csv"}, "refused when deployed"),
        (BridgeSettings, {"chunk_spans": "1m=x"}, "NAUTILUS_CHUNK_SPANS: '1m=x' is not of the form timeframe=seconds"),
        (ApiSettings, {"read_wait_s": "21"}, "NAUTILUS_READ_WAIT_S: "),
        (ApiSettings, {"anonymous_scopes": "bars:read", "env": "prod"}, "only with NAUTILUS_ENV=dev"),
        (ApiSettings, {"anonymous_scopes": "bars:read", "api_host": "0.0.0.0"}, "a loopback api_host"),
        (
            ApiSettings,
            {"anonymous_scopes": "bars:read,admin"},
            "may hold only backfill:write, bars:read, monitoring:read",
        ),
    ],
)
def test_what_is_wrong_stops_the_process_and_shows_no_secret(environment, capsys, kind, values, says):
    environment(**{"database_url": URL, "token_public_keys": "{}"} | values)
    with pytest.raises(SystemExit):
        load(kind)
    found = capsys.readouterr().err
    assert says in found
    assert "hidden-word" not in found


def test_anonymous_callers_at_home(environment):
    environment(database_url=URL, token_public_keys="{}", anonymous_scopes="bars:read,monitoring:read")
    assert load(ApiSettings).anonymous_scopes == ("bars:read", "monitoring:read")


def test_the_simulators_clock_is_for_development(environment):
    environment(database_url=URL, control_port="4100", source_replay="day.csv")
    assert load(BridgeSettings).control_port == 4100


def test_a_secret_is_not_printed_with_the_settings(environment):
    environment(
        database_url=URL, token_public_keys="{}", token_private_key="hidden-key", token_key_id="k1", redis_url=URL
    )
    settings = load(AuthSettings)
    assert "hidden" not in repr(settings) + str(settings)
    assert settings.token_private_key.get_secret_value() == "hidden-key"


def test_an_error_about_several_settings_has_no_single_name(environment):
    environment(database_url=URL, env="prod", control_port="1")
    with pytest.raises(ValidationError) as wrong:
        read(BridgeSettings)
    assert explain(wrong.value).splitlines()[1].startswith("  together: control_port and source_replay")


# ---- chunk spans -----------------------------------------------------------------------------------------------------


def test_spans_of_requests_may_be_changed_one_by_one():
    assert chunk_spans("") == dict(REQUEST_SPANS_S)
    found = chunk_spans(" 1m = 86400, 1s=2000 ,")
    assert (found["1m"], found["1s"], found["5m"]) == (86_400, 2_000, REQUEST_SPANS_S["5m"])
    assert REQUEST_SPANS_S["1m"] == 604_800, "the built-in ones stay"


@pytest.mark.parametrize(
    "text", ["1m", "1m=", "1m=-1", "1m=1.5", "7m=600", "1m=59", "1s=2001", "30s=86401", "1d=999999999"]
)
def test_a_span_that_cannot_be_is_named(text):
    with pytest.raises(ValueError, match=text.split("=", maxsplit=1)[0]):
        chunk_spans(f"1h=86400,{text}")
