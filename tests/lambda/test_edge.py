"""What the edge makes of API Gateway's events, in the built layer, by a function made for these tests."""

import base64
import gzip
import json

import pytest

from dev.lambda_events import http_event
from dev.lambda_runtime import ANSWER_LIMIT_BYTES, Function, TimedOut, running
from nautilus.http.response_size import ANSWER_BYTES, lambda_bytes

pytestmark = pytest.mark.built

APP = """
import gzip
import time

from fastapi import APIRouter, Request, Response

from nautilus.http.lambda_entry import lambda_handler

router = APIRouter()


@router.api_route("/echo/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def echo(request: Request):
    return {
        "method": request.method,
        "path": request.url.path,
        "query": request.query_params.multi_items(),
        "cookies": request.cookies,
        "body": (await request.body()).decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape").hex(),
        "header": request.headers.get("x-several"),
        "client": request.client.host,
        "scheme": request.url.scheme,
    }


@router.get("/cookies")
def cookies(response: Response):
    response.set_cookie("one", "1", httponly=True)
    response.set_cookie("two", "2", secure=True)
    return {}


@router.get("/bytes")
def some_bytes():
    return Response(bytes(range(256)), media_type="application/octet-stream")


@router.get("/gzip")
def zipped():
    return Response(gzip.compress(b"[1, 2]"), media_type="application/json", headers={"Content-Encoding": "gzip"})


@router.get("/large")
def large(size: int, of: str):
    return Response(of.encode() * size, media_type="application/json")


@router.get("/slow")
def slow(s: float):
    time.sleep(s)
    return {}


@router.get("/broken")
def broken():
    raise KeyError("nobody expected this")


handler = lambda_handler("edge", router)
"""


@pytest.fixture(scope="module")
def edge(servers, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edge")
    (folder / "app.py").write_text(APP)
    function = Function(servers.group, "edge", servers.folder / "edge.log", settings, folder=folder, timeout_s=2.0)
    with running(function):
        yield function


def ask(edge, *args, **named):
    answer = edge.invoke(http_event(*args, **named))
    return answer, json.loads(answer["body"]) if not answer["isBase64Encoded"] else base64.b64decode(answer["body"])


def test_queries_with_several_values_and_signs(edge):
    _, body = ask(edge, "GET", "/echo/x", query="symbol=EUR%2FUSD&tag=a&tag=b&empty=&plus=a+b&at=2024-01-05T14%3A30Z")
    assert body["query"] == [
        ["symbol", "EUR/USD"],
        ["tag", "a"],
        ["tag", "b"],
        ["empty", ""],
        ["plus", "a b"],
        ["at", "2024-01-05T14:30Z"],
    ]


def test_bodies_plain_and_in_base64(edge):
    raw = bytes(range(256))
    assert ask(edge, "POST", "/echo/x", body="grüß dich")[1]["body"] == "grüß dich".encode().hex()
    encoded = base64.b64encode("grüß dich".encode()).decode()
    assert ask(edge, "PUT", "/echo/x", body=encoded, base64=True)[1]["body"] == "grüß dich".encode().hex()
    encoded = base64.b64encode(raw).decode()
    assert ask(edge, "PATCH", "/echo/x", body=encoded, base64=True)[1]["body"] == raw.hex()
    assert ask(edge, "DELETE", "/echo/x")[1]["body"] == ""


def test_cookies_both_ways(edge):
    _, body = ask(edge, "GET", "/echo/x", cookies=["session=abc", "other=1=2"])
    assert body["cookies"] == {"session": "abc", "other": "1=2"}
    answer, _ = ask(edge, "GET", "/cookies")
    assert [cookie.split(";")[0] for cookie in answer["cookies"]] == ["one=1", "two=2"]
    assert "set-cookie" not in answer["headers"]


def test_what_is_known_of_the_caller(edge):
    _, body = ask(edge, "GET", "/echo/a b/ü", headers={"x-several": "1,2"})
    assert body["client"] == "192.0.2.1"
    assert (body["scheme"], body["header"], body["method"]) == ("https", "1,2", "GET")
    assert body["path"] in ("/echo/a b/ü", "/echo/a%20b/%C3%BC")


def test_bytes_travel_in_base64(edge):
    answer, body = ask(edge, "GET", "/bytes")
    assert (answer["isBase64Encoded"], body) == (True, bytes(range(256)))
    answer, body = ask(edge, "GET", "/gzip")
    assert answer["isBase64Encoded"] is True
    assert gzip.decompress(body) == b"[1, 2]"


def test_what_is_not_there_is_a_problem(edge):
    answer, body = ask(edge, "GET", "/nowhere")
    assert (answer["statusCode"], body["code"]) == (404, "no-such-route")
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert answer["isBase64Encoded"] is False


def test_what_nobody_expected_is_a_problem_and_a_log_line_with_the_same_id(edge):
    event = http_event("GET", "/broken")
    answer = edge.invoke(event)
    body = json.loads(answer["body"])
    number = event["requestContext"]["requestId"]
    assert (answer["statusCode"], body["code"], body["request_id"]) == (500, "internal-error", number)
    lines = [json.loads(line) for line in edge.log.read_text().splitlines() if "request-broke" in line]
    (line,) = [line for line in lines if line["message"] == "request-broke"]
    assert line["correlation_id"] == number
    assert "nobody expected this" in line["exception"]


@pytest.mark.parametrize("of", ["a", '"', "\\", "\n", "ü"])
def test_an_answer_is_as_large_as_lambda_allows_and_no_larger(edge, of):
    """Escapes count: a quote inside the JSON of the answer takes two bytes."""
    each = lambda_bytes(of.encode(), text=True)
    assert each == len(json.dumps(of, ensure_ascii=False).encode()) - 2
    most = ANSWER_BYTES // each
    assert most * each <= ANSWER_LIMIT_BYTES
    query = f"of=%{'%'.join(f'{byte:02x}' for byte in of.encode())}"
    answer = edge.invoke(http_event("GET", "/large", query=f"{query}&size={most}"))
    assert (answer["statusCode"], len(answer["body"])) == (200, most)
    answer, body = ask(edge, "GET", "/large", query=f"{query}&size={most + 1}")
    assert (answer["statusCode"], body["code"]) == (413, "answer-too-large")
    assert "6 MB" in body["detail"]


def test_a_function_that_takes_too_long_is_killed_and_the_next_event_finds_a_new_one(edge):
    process = edge._child.pid
    with pytest.raises(TimedOut, match=r"timed out after 2.00 seconds"):
        edge.invoke(http_event("GET", "/slow", query="s=30"))
    assert ask(edge, "GET", "/echo/x")[0]["statusCode"] == 200
    assert edge._child.pid != process
