"""Which Origin and which Host what changes something, or opens a socket, may come with."""

from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from nautilus.errors import Forbidden
from nautilus.http.origin import check_origin
from nautilus.settings.api import ApiSettings

HERE = "localhost:8001"


def settings(**more: Any) -> ApiSettings:
    values: dict[str, Any] = {
        "database_url": SecretStr("postgresql://nobody@127.0.0.1:1/none"),
        "token_public_keys": "{}",
    }
    return ApiSettings(**(values | more))


def judged(
    *headers: tuple[str, str],
    method: str = "POST",
    scheme: str = "http",
    known: ApiSettings | None = None,
    domain: str | None = None,
) -> str:
    """The code of the refusal, or `ok`. `domain`: as API Gateway has it in its event."""
    scope: dict[str, Any] = {
        "type": "websocket" if scheme.startswith("ws") else "http",
        "scheme": scheme,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    if not scheme.startswith("ws"):
        scope["method"] = method
    if domain is not None:
        scope["aws.event"] = {"requestContext": {"domainName": domain}}
    try:
        check_origin(HTTPConnection(scope), known or settings())
    except Forbidden as refused:
        return refused.code
    return "ok"


FOREIGN = (
    ("origin", "https://evil.example"),
    ("origin", "null"),
    ("origin", "http://localhost:8002"),
    ("origin", "https://localhost:8001"),
    ("origin", "http://localhost:8001.evil.example"),
    ("origin", ""),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "something new"),
)


@pytest.mark.parametrize("header", FOREIGN)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "SOMETHING"])
def test_a_foreign_page_changes_nothing(header: tuple[str, str], method: str) -> None:
    assert judged(("host", HERE), header, method=method) == "foreign-origin"


@pytest.mark.parametrize("header", FOREIGN)
def test_a_foreign_page_opens_no_socket(header: tuple[str, str]) -> None:
    assert judged(("host", HERE), header, scheme="ws") == "foreign-origin"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_is_not_asked_where_it_comes_from(method: str) -> None:
    assert judged(("host", "evil.example"), FOREIGN[0], method=method) == "ok"


@pytest.mark.parametrize(
    ("scheme", "header"),
    [
        ("http", ("origin", "http://localhost:8001")),
        ("ws", ("origin", "http://localhost:8001")),
        ("https", ("origin", "https://localhost:8001")),
        ("wss", ("origin", "https://localhost:8001")),
        ("http", ("origin", "https://app.example.com")),
        ("ws", ("origin", "https://app.example.com")),
        *(("http", ("sec-fetch-site", site)) for site in ("none", "same-origin", "same-site")),
        ("http", ("user-agent", "a script says nothing of pages")),
    ],
)
def test_pages_of_ours_and_scripts_may(scheme: str, header: tuple[str, str]) -> None:
    known = settings(cors_origins=("https://app.example.com",))
    assert judged(("host", HERE), header, scheme=scheme, known=known) == "ok"


def test_an_origin_that_is_listed_is_good_whatever_is_said_of_the_site() -> None:
    known = settings(cors_origins=("https://app.example.com",))
    page = ("origin", "https://app.example.com")
    assert judged(("host", HERE), page, ("sec-fetch-site", "cross-site"), known=known) == "ok"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8001", "127.0.0.1:8001", "127.8.9.1", "[::1]:8001", "a.localhost"]
)
def test_this_machine_needs_no_setting(host: str) -> None:
    assert judged(("host", host)) == "ok"
    assert judged(("host", host), scheme="ws") == "ok"


@pytest.mark.parametrize(
    "host", ["evil.example", "10.0.0.7:8001", "0.0.0.0", "localhost.evil.example", "localhost:x", "", "a, localhost"]
)
def test_a_name_that_nobody_configured_is_refused(host: str) -> None:
    known = settings(api_host="0.0.0.0")
    assert judged(("host", host), known=known) == "foreign-host"
    assert judged(("host", host), scheme="ws", known=known) == "foreign-host"


def test_a_page_whose_name_was_made_to_lead_here_is_refused() -> None:
    assert judged(("host", "evil.example:8001"), ("origin", "http://evil.example:8001")) == "foreign-host"


def test_two_hosts_or_none_are_none_to_be_sure_of() -> None:
    assert judged() == "foreign-host"
    assert judged(("host", "localhost"), ("host", "localhost")) == "foreign-host"


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("Api.Example.com", {"allowed_hosts": "api.example.com"}),
        ("api.example.com:8443", {"allowed_hosts": ("api.example.com",)}),
        ("[fd00::7]:8001", {"allowed_hosts": "10.0.0.7,fd00::7"}),
        ("10.0.0.7:8001", {"api_host": "10.0.0.7"}),
        ("app.example.com", {"cors_origins": "https://app.example.com:8443"}),
    ],
)
def test_a_configured_name_is_taken_with_any_port(host: str, more: dict[str, Any]) -> None:
    assert judged(("host", host)) == "foreign-host"
    assert judged(("host", host), known=settings(**more)) == "ok"


def test_behind_api_gateway_its_name_of_the_api_is_ours() -> None:
    assert judged(("host", "abc.execute-api.eu-west-1.amazonaws.com")) == "foreign-host"
    for host, code in (("abc.execute-api.eu-west-1.amazonaws.com", "ok"), ("evil.example", "foreign-host")):
        assert judged(("host", host), domain="abc.execute-api.eu-west-1.amazonaws.com") == code
    assert judged(("host", ""), domain="") == "foreign-host"


@pytest.mark.parametrize(
    "host", ["*", "*.example.com", "https://a.example", "a.example:8001", "A.example", "[::1]", ""]
)
def test_hosts_are_explicit(host: str) -> None:
    with pytest.raises(ValueError, match="must be a name or an address"):
        settings(allowed_hosts=(host,))
