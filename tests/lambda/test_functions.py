"""Every built function answers its routes under Lambda's runtime client, with API Gateway's events."""

import importlib
import json
import re
import time
from pathlib import Path

import pytest

from dev.lambda_build import (
    BUILD,
    LAYER,
    LAYER_BUDGET_BYTES,
    UNZIPPED_LIMIT_BYTES,
    ZIPPED_LIMIT_BYTES,
    folder_of,
    size_bytes,
    zipped_bytes,
)
from dev.lambda_events import http_event
from dev.lambda_runtime import Function, FunctionError, running
from dev.process import free_port
from nautilus.infra.messages import JobHint
from nautilus.infra.queue import Queue
from tests.support.secrets_extension import extension

pytestmark = pytest.mark.built
FUNCTIONS = sorted(path.parent.name for path in (Path(__file__).parents[2] / "functions").glob("*/app.py"))
PUBLIC = {"/health", "/health/ready", "/api/v1/auth/login"}
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nautilus/test/database-AbC123"


def routes(name):
    """(method, path) of every route of a function, from its sources."""
    router = importlib.import_module(f"functions.{name}.app").router
    return sorted((method, route.path) for route in router.routes for method in route.methods)


@pytest.mark.parametrize(("name", "method", "path"), [(name, *route) for name in FUNCTIONS for route in routes(name)])
def test_every_route_answers(functions, name, method, path):
    filled = re.sub(r"\{job_id\}", "6f1c3f6e-0f0a-4a3c-9d9b-0b6b1f9a5e11", path)
    answer = functions(name).invoke(http_event(method, re.sub(r"\{\w+\}", "1", filled)))
    body = json.loads(answer["body"])
    assert body.get("code") != "no-such-route", body
    assert answer["statusCode"] < 500 or path == "/health/ready", body
    if path not in PUBLIC and not path.startswith("/api/v1/auth/"):
        assert (answer["statusCode"], body["code"]) == (401, "unauthorized")
        assert answer["headers"]["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_fits_with_its_layer(name, record_property, capsys):
    layer, own = size_bytes(BUILD / LAYER), size_bytes(folder_of(name))
    with capsys.disabled():
        print(
            f"\n  {name}: {own / 1e3:.1f} kB + layer {layer / 1e6:.1f} MB, allowed {UNZIPPED_LIMIT_BYTES / 1e6:.0f} MB"
        )
    assert layer + own < UNZIPPED_LIMIT_BYTES


HEAVY = ("numpy", "pandas", "pyarrow", "polars", "duckdb", "boto3", "botocore", "ib_insync", "sqlalchemy")


def test_the_layer_stays_small_and_has_no_library_of_frames():
    layer = BUILD / LAYER
    zipped = zipped_bytes(layer)
    assert 0.1 * size_bytes(layer) < zipped < ZIPPED_LIMIT_BYTES
    assert size_bytes(layer) < LAYER_BUDGET_BYTES
    assert [name for name in HEAVY if (layer / "python" / name).exists()] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_which_settings_it_lacks(servers, name):
    with running(Function(servers.group, name, servers.folder / f"bare-{name}.log", {})) as bare:
        with pytest.raises(FunctionError, match="NAUTILUS_DATABASE_URL: is missing") as broken:
            bare.invoke(http_event("GET", "/health"))
        assert broken.value.kind == "RuntimeError"


def test_layer_and_functions_have_bytecode_that_lambda_will_use():
    """Flags of a .pyc (PEP 552): 0b01 is hash-based and unchecked; by time they would be ignored after unpacking."""
    files = list((BUILD / LAYER / "python").rglob("*.pyc"))
    assert len(files) > 500
    files += [folder_of(name) / "__pycache__" / "app.cpython-313.pyc" for name in FUNCTIONS]
    assert {file.read_bytes()[4:8] for file in files} == {b"\x01\x00\x00\x00"}


# ---- sign-in ---------------------------------------------------------------------------------------------------------


def test_a_token_of_one_function_is_good_at_another(functions, token):
    headers = {"authorization": f"Bearer {token}"}
    answer = functions("monitoring").invoke(http_event("GET", "/api/v1/ib/session", headers=headers))
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["state"] == "down"
    answer = functions("auth").invoke(http_event("GET", "/api/v1/auth/me", headers=headers))
    assert json.loads(answer["body"])["username"] == "trader"


def test_secrets_are_read_by_their_arn(servers, store, settings):
    with extension() as aws:
        aws.secrets[ARN] = {"SecretString": store.dsn}
        body = {
            **settings,
            "NAUTILUS_DATABASE_URL": ARN,
            "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(aws.port),
        }
        log = servers.folder / "secret.log"
        with running(Function(servers.group, "monitoring", log, body)) as function:
            assert aws.requests == [], "the extension does not serve during init"
            for _ in range(2):
                assert function.invoke(http_event("GET", "/health"))["statusCode"] == 200
        assert aws.requests == [("/secretsmanager/get", ARN, "session-1")]


def test_a_secret_that_cannot_be_read_now_is_read_later(servers, store, settings):
    with extension() as aws:
        body = {**settings, "NAUTILUS_DATABASE_URL": ARN, "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(aws.port)}
        with running(Function(servers.group, "monitoring", servers.folder / "late.log", body)) as function:
            with pytest.raises(FunctionError, match=r"NAUTILUS_DATABASE_URL: the secret .* 400 AccessDenied"):
                function.invoke(http_event("GET", "/health"))
            aws.secrets[ARN] = {"SecretString": store.dsn}
            assert function.invoke(http_event("GET", "/health"))["statusCode"] == 200


# ---- bars ------------------------------------------------------------------------------------------------------------


def test_stored_bars_are_read(functions, token):
    query = "instrument_id=AAPL.NASDAQ&timeframe=1m&session=rth&start=2024-01-05T14:30:00Z&limit=3&wait=0"
    event = http_event(
        "GET", "/api/v1/market-data/historical/bars", query=query, headers={"authorization": f"Bearer {token}"}
    )
    answer = functions("bars").invoke(event)
    assert answer["statusCode"] == 200, answer["body"]
    assert answer["isBase64Encoded"] is False
    assert [candle["ts"] for candle in json.loads(answer["body"])["candles"]] == [
        (1704465000 + 60 * n) * 10**9 for n in range(3)
    ]


def test_the_largest_answer_fits_through_lambda(functions, token):
    query = (
        "instrument_id=AAPL.NASDAQ&timeframe=1m&session=rth&start=2024-01-05T14:30:00Z&end=2024-03-01T00:00:00Z"
        "&limit=50000&wait=0&fields=time,ts,open,high,low,close,volume,vwap,trades"
    )
    event = http_event(
        "GET", "/api/v1/market-data/historical/bars", query=query, headers={"authorization": f"Bearer {token}"}
    )
    answer = functions("bars").invoke(event)
    assert answer["statusCode"] == 200, answer["body"][:200]
    body = json.loads(answer["body"])
    assert body["next_page_token"], "a shorter page says how to go on"
    assert 10_000 < len(body["candles"]) < 50_000


# ---- backfill --------------------------------------------------------------------------------------------------------


def test_a_backfill_is_a_row_and_a_hint_with_one_correlation(functions, token, store, hints, monkeypatch):
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    body = {"symbol": "MSFT", "timeframe": "1m", "start": "2026-03-02T00:00:00Z", "end": "2026-03-04T00:00:00Z"}
    event = http_event("POST", "/api/v1/ib/backfill", headers=headers, body=json.dumps(body))
    answer = functions("backfill").invoke(event)
    assert answer["statusCode"] == 202, answer["body"]
    number = event["requestContext"]["requestId"]
    assert answer["headers"]["x-request-id"] == number
    job_id = json.loads(answer["body"])["job_id"]

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    # Behind those of the tests before; one question may bring a part of what is there.
    queue, received, deadline = Queue(hints.url, endpoint=hints.endpoint_url), [], time.monotonic() + 60
    while JobHint(job_id=job_id, correlation_id=number) not in received:
        assert time.monotonic() < deadline, "as the bridge reads it"
        received += [message.hint for message in queue.receive(2)]
    with store.db.transaction() as cursor:
        cursor.execute("SELECT correlation_id FROM backfill_jobs WHERE id = %s", (job_id,))
        assert cursor.fetchone().correlation_id == number
    lines = [json.loads(line) for line in functions("backfill").log.read_text().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("correlation_id") == number and line["message"] == "request"]
    assert (line["service"], line["status"]) == ("backfill", 202)
    assert line["function_request_id"]


def test_without_the_queue_a_backfill_is_accepted_all_the_same(servers, settings, token):
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    payload = {**settings, "NAUTILUS_QUEUE_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    body = {"symbol": "NVDA", "timeframe": "1m", "start": "2026-03-02T00:00:00Z", "end": "2026-03-04T00:00:00Z"}
    with running(Function(servers.group, "backfill", servers.folder / "no-queue.log", payload)) as function:
        event = http_event("POST", "/api/v1/ib/backfill", headers=headers, body=json.dumps(body))
        assert function.invoke(event)["statusCode"] == 202


@pytest.mark.parametrize(("kind", "loaded"), [("on-demand", False), ("snap-start", True)])
def test_a_snapshot_holds_what_is_else_imported_late(servers, settings, kind, loaded, tmp_path):
    (tmp_path / "app.py").write_text(
        "import sys\nfrom fastapi import APIRouter\nfrom nautilus.http.lambda_entry import lambda_handler\n"
        "lambda_handler('x', APIRouter())\n"
        "def handler(event, context):\n    return sorted({'boto3', 'mangum', 'argon2'} & set(sys.modules))\n"
    )
    body = {**settings, "AWS_LAMBDA_INITIALIZATION_TYPE": kind}
    with running(Function(servers.group, "x", servers.folder / f"{kind}.log", body, folder=tmp_path)) as function:
        assert function.invoke({}) == (["argon2", "boto3", "mangum"] if loaded else [])


def test_the_layer_has_no_first_version_of_pydantic(functions):
    """Where it is, FastAPI loads it for every route with a parameter."""
    assert not (BUILD / LAYER / "python" / "pydantic" / "v1").exists()


# ---- what is no request ----------------------------------------------------------------------------------------------


def test_the_schedule_of_monitoring_emits_metrics(functions):
    function = functions("monitoring")
    before = len(function.log.read_text())
    assert function.invoke({"task": "measure"}) is None
    lines = function.log.read_text()[before:].splitlines()
    (body,) = [json.loads(line) for line in lines if '"_aws"' in line]
    (metrics,) = body["_aws"]["CloudWatchMetrics"]
    assert (metrics["Namespace"], metrics["Dimensions"], body["service"]) == (
        "Nautilus/test",
        [["service"]],
        "monitoring",
    )
    assert {m["Name"]: m["Unit"] for m in metrics["Metrics"]} == {
        "SessionConnected": "Count",
        "LiveJobs": "Count",
        "JobSilence": "Seconds",
        "OpenIncidents": "Count",
        "CriticalIncidents": "Count",
        "WatchedSeries": "Count",
        "StaleSeries": "Count",
    }
    assert body["SessionConnected"] == [0.0], "no bridge was ever here"


def test_an_event_nobody_expects_is_an_error_that_names_it(functions):
    record = {"messageId": "1", "receiptHandle": "r", "body": "{}", "eventSource": "aws:sqs"}
    with pytest.raises(FunctionError, match="function bars has no use for an event with Records"):
        functions("bars").invoke({"Records": [record]})
    with pytest.raises(FunctionError, match="function auth has no use for an event with task"):
        functions("auth").invoke({"task": "measure"})


def test_a_database_that_does_not_answer_is_503_before_lambda_gives_up(servers, store, settings):
    import psycopg2

    log, body = servers.folder / "locked.log", {**settings, "NAUTILUS_STATEMENT_TIMEOUT_MS": "500"}
    with running(Function(servers.group, "monitoring", log, body)) as function:
        with psycopg2.connect(store.dsn) as blocker, blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE store IN ACCESS EXCLUSIVE MODE")
            answer = function.invoke(http_event("GET", "/health"))
            blocker.rollback()
        blocker.close()
        assert answer["statusCode"] == 503
    # The same function again, which may take its time: nothing was left locked.
    with running(Function(servers.group, "monitoring", log, settings)) as function:
        again = function.invoke(http_event("GET", "/health"))
        assert again["statusCode"] == 200, log.read_text()[-2000:]
