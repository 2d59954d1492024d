"""The whole API by its own document: whatever a caller sends, nothing breaks and every answer has the shape it should."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.support.stack import ServiceStack, service_stack

PATIENCE_S = 600
"""How long anything may take on a machine that does much else. Nothing here is about speed."""


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    options = ("--latency", "none", "--clock", "rate:1", "--start", "2026-03-04T17:30:30Z")
    limits = {
        "NAUTILUS_READS_PER_MINUTE": "0",
        "NAUTILUS_READ_WAIT_S": "0",
        "NAUTILUS_SEARCH_WAIT_S": "1",
        "NAUTILUS_STATEMENT_TIMEOUT_MS": str(PATIENCE_S * 1000),
        "NAUTILUS_TOKEN_MINUTES": "60",
    }
    with service_stack(servers.group, servers.folder, dsn, *options, settings=limits) as made:
        made.client.timeout = PATIENCE_S
        made.start_bridge()
        made.wait(lambda: _has_bars(made), "bars of AAPL are here", PATIENCE_S)
        yield made


def _has_bars(made: ServiceStack) -> bool:
    """Whether a read finds some; until the bridge has looked AAPL up, it is told to come again."""
    answer = made.client.get("/api/v1/market-data/historical/bars", params={"symbol": "AAPL", "timeframe": "5m"})
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200 and bool(answer.json()["candles"])


def _later(answer: Any) -> bool:
    """Whether it says that it may be asked again: what IB or the database did not answer in time is no breakdown."""
    return answer.status_code == 503 and int(answer.headers["retry-after"][0]) > 0 and bool(answer.json()["code"])


@pytest.mark.timeout(6 * PATIENCE_S)
def test_no_request_breaks_the_api_and_every_answer_has_its_shape(stack: ServiceStack) -> None:
    schema = schemathesis.openapi.from_dict(stack.client.get("/openapi.json").json())
    schema.config.update(base_url=str(stack.client.base_url))
    headers = {"Authorization": stack.client.headers["Authorization"]}
    seen: dict[str, set[int]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]
        name = f"{operation.method.upper()} {operation.path}"
        if "/auth/" in name and operation.method != "get":
            continue  # they end the session that all this needs; their own tests are elsewhere

        codes = seen.setdefault(name, set())

        @settings(deadline=None, max_examples=12, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            answer = case.call(headers=headers, timeout=PATIENCE_S)
            codes.add(answer.status_code)  # noqa: B023  called before the next turn
            if _later(answer):
                return
            case.validate_response(
                answer, checks=[not_a_server_error, response_schema_conformance, content_type_conformance]
            )

        holds()
    assert len(seen) > 20
    assert any(200 in codes for codes in seen.values())
