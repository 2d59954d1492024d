"""What an attacker tries, each with the refusal."""

import base64
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dev.credentials import public_pem
from nautilus.auth import api_keys
from nautilus.auth.authenticate import matching
from nautilus.auth.login_throttle import ADDRESS, NAME, PAIR
from nautilus.db.auth.api_keys import Candidate
from tests.support.auth_api import ADMIN_PASSWORD, AUTH, PASSWORD, Api, Client, api_of, bearer, key

ME = f"{AUTH}/me"
LOGIN = f"{AUTH}/login"
REFRESH = f"{AUTH}/refresh"


@pytest.fixture
def api(dsn: str) -> Iterator[Api]:
    with api_of(dsn) as made:
        yield made


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


# ---- access tokens ---------------------------------------------------------------------------------------------------


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": "nautilus",
        "aud": "nautilus-api",
        "sub": "user:1",
        "name": "boss",
        "scope": "admin",
        "sid": "9e107d9d-0000-0000-0000-000000000000",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": "x",
    } | more


def forged(key: Any, algorithm: str = "EdDSA", *, claims_: dict[str, Any] | None = None, **header: Any) -> str:
    headers = {"kid": "dev-1", "typ": "at+jwt"} | header
    return jwt.encode(claims_ or claims(), key, algorithm=algorithm, headers=headers)


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def hs256_with_the_public_key(api: Api) -> str:
    """The confusion of algorithms: the public key, which everybody has, as the secret of an HMAC."""
    body = f"{part({'alg': 'HS256', 'kid': 'dev-1', 'typ': 'at+jwt'})}.{part(claims())}"
    mac = hmac.new(public_pem(api.pem).encode(), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def tampered(api: Api) -> str:
    """A real token whose claims were exchanged for an administrator's."""
    head, _, signature = api.login()["access_token"].split(".")
    return f"{head}.{part(claims())}.{signature}"


def signed(api: Api, **more: Any) -> str:
    """What only the holder of our key could make."""
    return forged(api.signer()._key, claims_=claims(**more))


def without(api: Api, name: str) -> str:
    kept = claims()
    del kept[name]
    return forged(api.signer()._key, claims_=kept)


FORGERIES: dict[str, Any] = {
    "alg none": lambda api: f"{part({'alg': 'none', 'kid': 'dev-1', 'typ': 'at+jwt'})}.{part(claims())}.",
    "HS256 with the public key": hs256_with_the_public_key,
    "foreign key": lambda api: forged(Ed25519PrivateKey.generate()),
    "unknown kid": lambda api: forged(api.signer()._key, kid="dev-2"),
    "kid is a path": lambda api: forged(api.signer()._key, kid="../../dev/null"),
    "kid is a list": lambda api: f"{part({'alg': 'EdDSA', 'kid': ['dev-1'], 'typ': 'at+jwt'})}.{part(claims())}.AAAA",
    "key in the header": lambda api: forged(api.signer()._key, jwk={"kty": "OKP"}),
    "key by address": lambda api: forged(api.signer()._key, jku="https://evil.example/keys"),
    "critical header": lambda api: forged(api.signer()._key, crit=["b64"]),
    "another kind of token": lambda api: forged(api.signer()._key, typ="JWT"),
    "tampered claims": tampered,
    "not yet valid": lambda api: signed(api, nbf=int(time.time()) + 60),
    "issued in the future": lambda api: signed(api, iat=int(time.time()) + 60),
    "wrong issuer": lambda api: signed(api, iss="somebody"),
    "wrong audience": lambda api: signed(api, aud="another-api"),
    "audience among others": lambda api: signed(api, aud=["nautilus-api", "another-api"]),
    "scope is a list": lambda api: signed(api, scope=["admin"]),
    "no session": lambda api: without(api, "sid"),
    "no expiry": lambda api: without(api, "exp"),
    "no issuer": lambda api: without(api, "iss"),
    "good for longer than any": lambda api: signed(api, exp=int(time.time()) + 3_700),
    "good for ever": lambda api: signed(api, exp=2**62),
    "issued long ago and good for long": lambda api: signed(api, iat=1, nbf=1),
    "issued before time began": lambda api: signed(api, iat=-(10**30)),
    **{
        f"{name} is {value!r:.40}": lambda api, name=name, value=value: signed(api, **{name: value})
        for name, values in {
            "sub": (
                *("user:0", "user:-1", "user:", "user:x", "user:1.5", "user: 1", "user:1 ", "user:٣", "user:1_0"),
                *(
                    "user:1\x00",
                    "user:1\n",
                    "\ud800",
                    "user:\ud800",
                    f"user:{2**63}",
                    f"user:{'9' * 3_000}",
                    "anonymous",
                ),
                *("", "User:1", "key:1", "1", 1, None, ["user:1"], {"user": 1}, True),
            ),
            "sid": (
                *(
                    "",
                    "x",
                    "\x00",
                    "\ud800",
                    "9e107d9d-0000-0000-0000-00000000000",
                    "9E107D9D-0000-0000-0000-000000000000",
                ),
                *(
                    "9e107d9d000000000000000000000000",
                    "9e107d9d-0000-0000-0000-000000000000\n",
                    "{9e107d9d}",
                    7,
                    None,
                    [],
                    True,
                ),
            ),
            "name": ("\x00", "a\x00b", "\ud800", "x" * 300, 7, None, [], {}, True),
            "key": (0, -1, 2**63, 10**30, 1.5, "1", True, [], {}),
            "exp": (None, "9999999999", True, 1e10, [], float("inf")),
            "iat": (None, "1", True, 1.5, float("nan")),
            "nbf": (None, "1", False, 1.5),
            "scope": (None, 7, {}, True),
            "jti": (None, 7, []),
        }.items()
        for value in values
    },
    "rubbish": lambda api: "a.b.c",
    "empty parts": lambda api: "..",
    "deeply nested": lambda api: "e30." + base64.urlsafe_b64encode(b"[" * 2000).decode() + ".x",
    "very long": lambda api: "x" * 20_000,
}


@pytest.fixture(scope="module")
def shared(servers: Any, server: Any, template: str) -> Iterator[Api]:
    """One API for the attacks that change nothing."""
    from tests.conftest import database

    with database(server, template) as dsn, api_of(dsn) as made:
        yield made


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_access_token_is_refused(shared: Api, name: str) -> None:
    answer = shared.client().get(ME, headers=bearer(FORGERIES[name](shared)))
    refused(answer, 401, "invalid-token")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_no_odd_claim_breaks_a_route(shared: Api) -> None:
    """Each route that takes a token and then asks the database for what its claims say."""
    odd = {name: made for name, made in FORGERIES.items() if name.split()[0] in ("sub", "sid", "name", "key")}
    assert len(odd) > 40
    for made in odd.values():
        for method, path in (("POST", "/logout"), ("POST", "/logout-all"), ("GET", "/sessions"), ("POST", "/password")):
            body = {"current_password": "x", "new_password": "a good long one, 8"} if path == "/password" else {}
            answer = shared.client().request(method, AUTH + path, headers=bearer(made(shared)), json=body)
            assert answer.status_code in (401, 200 if path == "/logout" else 401), (path, answer.text)


def test_the_forgeries_differ_from_a_good_token_only_in_what_they_are_about(shared: Api) -> None:
    assert shared.services.keys.verify(signed(shared)).scopes == {"admin"}


def test_an_expired_token_is_refused_and_says_so(shared: Api) -> None:
    answer = shared.client().get(ME, headers=bearer(signed(shared, exp=int(time.time()) - 6)))
    refused(answer, 401, "expired-token")


def test_unknown_scopes_in_a_token_count_for_nothing(shared: Api) -> None:
    assert shared.services.keys.verify(signed(shared, scope="bars:read root *")).scopes == {"bars:read"}


# ---- refresh tokens and cookies --------------------------------------------------------------------------------------


def test_a_replayed_refresh_token_ends_the_family(api: Api) -> None:
    thief, owner = api.client(), api.client()
    first = api.login()
    second = owner.post(REFRESH, json={"refresh_token": first["refresh_token"]}).json()
    third = owner.post(REFRESH, json={"refresh_token": second["refresh_token"]}).json()
    refused(thief.post(REFRESH, json={"refresh_token": first["refresh_token"]}), 401, "refresh-token-replayed")
    refused(owner.post(REFRESH, json={"refresh_token": third["refresh_token"]}), 401, "invalid-refresh-token")
    api.forget_denied()
    for tokens in (first, second, third):
        refused(owner.get(ME, headers=bearer(tokens["access_token"])), 401, "session-ended")
    assert api.login()["access_token"], "the owner may sign in again"


def test_a_replay_after_the_grace_ends_the_family_although_the_new_token_is_unused(api: Api) -> None:
    first = api.login()
    second = api.client().post(REFRESH, json={"refresh_token": first["refresh_token"]}).json()
    api.sql("UPDATE refresh_tokens SET used_at = used_at - interval '46 seconds'")
    answer = api.client().post(REFRESH, json={"refresh_token": first["refresh_token"]})
    refused(answer, 401, "refresh-token-replayed")
    refused(api.client().post(REFRESH, json={"refresh_token": second["refresh_token"]}), 401, "invalid-refresh-token")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://app.example.com.evil.example"},
        {"sec-fetch-site": "cross-site"},
    ],
)
@pytest.mark.parametrize("route", ["refresh", "logout", "login"])
def test_a_foreign_page_cannot_use_the_cookie(dsn: str, headers: dict[str, str], route: str) -> None:
    with api_of(dsn, cors_origins=("https://app.example.com",)) as api:
        client = api.client()
        api.login(client=client)
        body = {"username": "ann", "password": PASSWORD} if route == "login" else None
        refused(client.post(f"{AUTH}/{route}", json=body, headers=headers), 403, "foreign-origin")
        assert client.post(REFRESH, headers={"origin": "https://app.example.com"}).status_code == 200


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(api: Api) -> None:
    secure = api.client(base="https://api.example.com")
    answer = secure.post(LOGIN, json={"username": "ann", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    for attribute in ("HttpOnly", "Secure", "SameSite=strict", "Path=/api/v1/auth", "Max-Age=604"):
        assert attribute in cookie
    assert "refresh_token" not in secure.post(REFRESH).json(), "a page that sends the cookie never sees the token"


# ---- passwords -------------------------------------------------------------------------------------------------------


def test_users_cannot_be_told_by_what_is_answered(api: Api) -> None:
    boss = api.boss()
    off = boss.post(f"{AUTH}/users", json={"username": "off", "password": PASSWORD}).json()
    boss.patch(f"{AUTH}/users/{off['id']}", json={"is_active": False})
    tries = [("ann", "wrong password"), ("nobody", "wrong password"), ("off", PASSWORD), ("off", "wrong password")]
    answers = [api.client().post(LOGIN, json={"username": n, "password": p}) for n, p in tries]
    for answer in answers:
        refused(answer, 401, "invalid-credentials")
    words = [{name: value for name, value in a.json().items() if name != "request_id"} for a in answers]
    assert all(one == words[0] for one in words)
    headers = [{n: v for n, v in a.headers.items() if n != "x-request-id"} for a in answers]
    assert all(one == headers[0] for one in headers)


def test_users_cannot_be_told_by_how_soon_they_are_throttled(api: Api) -> None:
    def statuses(name: str) -> list[int]:
        client = api.client()
        return [client.post(LOGIN, json={"username": name, "password": "wrong"}).status_code for _ in range(6)]

    assert statuses("ann") == statuses("nobody") == statuses("ann@example.com") == [401] * 5 + [429]


def test_users_cannot_be_told_by_time(dsn: str) -> None:
    with api_of(dsn, real_argon2=True) as api:

        def seconds(name: str) -> float:
            client = api.client()
            # The processor's time of this process: what other processes do does not count.
            begun = time.process_time()
            client.post(LOGIN, json={"username": name, "password": "wrong"})
            return time.process_time() - begun

        seconds("ann"), seconds("nobody")
        known, unknown, strange = [], [], []
        for _ in range(5):
            known.append(seconds("ann"))
            unknown.append(seconds("nobody"))
            strange.append(seconds("ｎｏｂｏｄｙ"))
        usual = statistics.median(known)
        assert usual > 0.02, "a password was checked"
        assert 0.7 < statistics.median(unknown) / usual < 1.4
        assert 0.7 < statistics.median(strange) / usual < 1.4


def test_spraying_one_password_over_many_names_is_stopped(api: Api) -> None:
    sprayer = api.client()
    statuses = [
        sprayer.post(LOGIN, json={"username": f"user{n}", "password": "Winter2026!!"}).status_code
        for n in range(ADDRESS.free + 3)
    ]
    assert statuses[: ADDRESS.free] == [401] * ADDRESS.free
    assert statuses[-1] == 429
    assert api.login(), "from elsewhere all is as before"


def test_guessing_at_once_is_counted_before_it_is_judged(api: Api) -> None:
    guesser = api.client()
    answers = guesser.together(20, "POST", LOGIN, json={"username": "ann", "password": "wrong"})
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(401) == PAIR.free
    assert set(statuses) == {401, 429}
    assert all(int(a.headers["retry-after"]) >= 1 for a in answers if a.status_code == 429)


def test_nobody_can_lock_somebody_else_out(api: Api) -> None:
    for _ in range(3):
        api.client().together(8, "POST", LOGIN, json={"username": "ann", "password": "wrong"})
    attempt = api.client()
    begun = time.monotonic()
    assert api.login(client=attempt)
    assert time.monotonic() - begun < NAME.longest_s + 5, "a moment, no more"


def test_an_address_one_has_signed_in_from_stays_open_to_oneself(api: Api) -> None:
    office = api.client("203.0.113.77")
    api.login(client=office)
    for n in range(ADDRESS.free + 3):
        last = office.post(LOGIN, json={"username": f"user{n}", "password": "Winter2026!!"})
    assert last.status_code == 429
    assert api.login(client=office)["access_token"]


@pytest.mark.parametrize("length", [257, 10_000])
def test_an_oversized_password_costs_nothing(api: Api, length: int) -> None:
    answer = api.client().post(LOGIN, json={"username": "ann", "password": "x" * length})
    assert answer.status_code == 422
    assert "x" * 20 not in answer.text
    assert api.sql("SELECT count(*) FROM login_failures")[0][0] == 0, "it was not even an attempt"


def test_a_body_too_large_for_signing_in_is_refused_unread(api: Api) -> None:
    refused(api.client().post(LOGIN, json={"username": "ann", "password": "x" * 20_000}), 413, "body-too-large")
    chunks = (b"x" * 1_000 for _ in range(20))

    async def streamed() -> Any:
        for chunk in chunks:
            yield chunk

    answer = api.client().post(LOGIN, content=streamed(), headers={"content-type": "application/json"})
    refused(answer, 413, "body-too-large")
    assert len(list(chunks)) >= 2, "the rest was not read"


CONFUSABLES = ["аnn", "ANN\u200b", "ａｎｎ", "an\u0578", "\u212abob", "ann\u0000", "ann\n"]


@pytest.mark.parametrize("name", CONFUSABLES)
def test_names_that_look_alike_are_refused(api: Api, name: str) -> None:
    made = api.boss().post(f"{AUTH}/users", json={"username": name, "password": PASSWORD})
    assert made.status_code == 422
    assert [e["field"] for e in made.json()["errors"]] == ["username"]
    if "\x00" not in name and name != "ann\n":
        refused(api.client().post(LOGIN, json={"username": name, "password": PASSWORD}), 401, "invalid-credentials")


def test_a_name_in_capitals_is_the_same_name(api: Api) -> None:
    boss = api.boss()
    refused(boss.post(f"{AUTH}/users", json={"username": "ANN", "password": PASSWORD}), 409, "user-exists")
    assert api.login(" Ann ")["access_token"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", LOGIN, {"username": "ann\x00", "password": PASSWORD}, 422),
        ("POST", LOGIN, {"username": "ann", "password": PASSWORD + "\x00"}, 401),
        ("POST", LOGIN, {"username": "ann", "password": "\ud800"}, 422),
        ("POST", LOGIN, {"api_key": "nautilus_\x00"}, 401),
        ("POST", REFRESH, {"refresh_token": "\x00"}, 401),
        ("POST", REFRESH, {"refresh_token": "\ud800"}, 422),
        ("GET", f"{ME}?x=%00", None, 400),
        ("GET", "/api/v1/auth/%00", None, 400),
    ],
)
def test_null_characters_and_halves_of_letters_break_nothing(
    api: Api, method: str, path: str, body: Any, status: int
) -> None:
    content = json.dumps(body).encode() if body else None
    answer = api.client().request(method, path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text


def test_very_long_headers_are_refused(api: Api) -> None:
    refused(api.client().get(ME, headers={"x-long": "y" * 40_000}), 431, "headers-too-large")
    refused(api.client().get(ME, headers=key("nautilus_" + "a" * 5_000)), 401, "invalid-api-key")


# ---- more than one may -----------------------------------------------------------------------------------------------


def test_a_user_cannot_give_oneself_scopes(api: Api) -> None:
    ann = api.signed_in()
    number = ann.get(ME).json()["id"]
    refused(ann.patch(f"{AUTH}/users/{number}", json={"scopes": ["admin"]}), 403, "missing-scope")
    refused(ann.post(f"{AUTH}/users", json={"username": "me2", "password": PASSWORD}), 403, "missing-scope")
    refused(ann.get(f"{AUTH}/users"), 403, "missing-scope")
    change: dict[str, Any] = {"current_password": PASSWORD, "new_password": "another sentence 8", "scopes": ["admin"]}
    assert ann.post(f"{AUTH}/password", json=change).status_code == 422, "no field that is not named"
    assert ann.get(ME).json()["scopes"] == ["backfill:write", "bars:read", "monitoring:read"]


def test_the_missing_scope_is_named(api: Api) -> None:
    answer = api.signed_in().get(f"{AUTH}/users")
    assert answer.json()["scope"] == "admin"
    assert 'error="insufficient_scope", scope="admin"' in answer.headers["www-authenticate"]


def test_a_key_cannot_do_more_than_who_made_it(api: Api) -> None:
    ann = api.signed_in()
    for scopes in (["admin"], ["orders:write"]):
        answer = ann.post(f"{AUTH}/api-keys", json={"name": "more", "scopes": scopes})
        refused(answer, 403, "missing-scope")
    answer = ann.post(f"{AUTH}/api-keys", json={"name": "more", "scopes": ["everything"]})
    assert answer.status_code == 422
    assert "bars:read" in answer.json()["errors"][0]["allowed"]
    made = api.new_key(ann, scopes=["bars:read"])
    changed = ann.patch(f"{AUTH}/api-keys/{made['id']}", json={"scopes": ["admin"]})
    assert changed.status_code == 405, "keys do not change"


def test_a_key_loses_what_its_user_loses(api: Api) -> None:
    made = api.new_key(scopes=["bars:read", "backfill:write"])
    number = api.sql("SELECT id FROM users WHERE username = 'ann'")[0].id
    api.boss().patch(f"{AUTH}/users/{number}", json={"role": "viewer"})
    assert api.client().get(ME, headers=key(made["api_key"])).json()["scopes"] == ["bars:read"]


@pytest.mark.parametrize("how", ["header", "session"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api-keys", {"name": "another"}),
        ("GET", "/api-keys", None),
        ("DELETE", "/api-keys/999999", None),
        ("POST", "/password", {"current_password": PASSWORD, "new_password": "another sentence 8"}),
        ("GET", "/sessions", None),
        ("POST", "/logout-all", None),
    ],
)
def test_a_stolen_key_cannot_dig_itself_in(shared: Api, how: str, method: str, path: str, body: Any) -> None:
    text = shared.new_key(shared.boss(), scopes=["admin"])["api_key"]
    headers = key(text)
    if how == "session":
        headers = bearer(shared.client().post(LOGIN, json={"api_key": text}).json()["access_token"])
    answer = shared.client().request(method, AUTH + path, json=body, headers=headers)
    refused(answer, 403, "password-sign-in-needed")


@pytest.mark.parametrize("how", ["header", "session"])
def test_a_key_may_end_itself_and_no_other(api: Api, how: str) -> None:
    boss = api.boss()
    mine, other = (api.new_key(boss, scopes=["admin"]) for _ in range(2))
    headers = key(mine["api_key"])
    if how == "session":
        headers = bearer(api.client().post(LOGIN, json={"api_key": mine["api_key"]}).json()["access_token"])
    refused(api.client().delete(f"{AUTH}/api-keys/{other['id']}", headers=headers), 403, "password-sign-in-needed")
    assert api.client().delete(f"{AUTH}/api-keys/{mine['id']}", headers=headers).status_code == 200
    refused(api.client().get(ME, headers=key(mine["api_key"])), 401, "invalid-api-key")
    assert api.client().get(ME, headers=key(other["api_key"])).status_code == 200
    api.forget_denied()
    assert api.client().get(ME, headers=headers).status_code == 401
    assert api.sql("SELECT count(*) FROM audit_log WHERE action = 'key-revoked'")[0].count == 1


def test_a_disabled_user_with_a_live_token(api: Api) -> None:
    ann, made = api.signed_in(), api.new_key()
    assert ann.get(ME).status_code == 200
    number = ann.get(ME).json()["id"]
    api.boss().patch(f"{AUTH}/users/{number}", json={"is_active": False})
    refused(api.client().get(ME, headers=key(made["api_key"])), 401, "invalid-api-key")
    refused(ann.post(REFRESH, json={"refresh_token": ann.tokens["refresh_token"]}), 401, "invalid-refresh-token")
    api.forget_denied()
    refused(ann.get("/api/v1/historical/backfill/status"), 401, "session-ended")


def test_someone_elses_session_and_key_are_not_there(api: Api) -> None:
    ann, boss = api.signed_in(), api.boss()
    session = boss.get(f"{AUTH}/sessions").json()["sessions"][0]["id"]
    made = api.new_key(boss)
    refused(ann.delete(f"{AUTH}/sessions/{session}"), 404, "unknown-session")
    refused(ann.delete(f"{AUTH}/api-keys/{made['id']}"), 404, "unknown-key")
    assert boss.get(ME).status_code == 200
    assert api.client().get(ME, headers=key(made["api_key"])).status_code == 200


def test_a_user_cannot_give_oneself_an_account(api: Api) -> None:
    boss = api.boss()
    number = api.sql("SELECT id FROM users WHERE username = 'ann'")[0].id
    assert boss.patch(f"{AUTH}/users/{number}", json={"accounts": ["DU1"]}).json()["accounts"] == ["DU1"]
    ann = api.signed_in()
    refused(ann.patch(f"{AUTH}/users/{number}", json={"accounts": ["*"]}), 403, "missing-scope")
    for account in ("DU2", "*"):
        answer = ann.post(f"{AUTH}/api-keys", json={"name": "more", "accounts": ["DU1", account]})
        refused(answer, 403, "account-not-allowed")
        assert answer.json()["account"] == account
    change: dict[str, Any] = {"current_password": PASSWORD, "new_password": "another sentence 8", "accounts": ["*"]}
    assert ann.post(f"{AUTH}/password", json=change).status_code == 422, "no field that is not named"
    assert ann.get(ME).json()["accounts"] == ["DU1"]


@pytest.mark.parametrize(
    ("accounts", "field"),
    [
        (["DU 1"], "accounts"),
        ([""], "accounts"),
        (["**"], "accounts"),
        (["DU1\n"], "accounts"),
        (["x" * 33], "accounts.0"),
        (["DÜ1"], "accounts"),
        ("DU1", "accounts"),
        ([None], "accounts.0"),
        ([f"DU{n}" for n in range(51)], "accounts"),
    ],
)
def test_what_cannot_be_an_account_is_refused(shared: Api, accounts: Any, field: str) -> None:
    boss = shared.boss()
    number = boss.get(ME).json()["id"]
    for answer in (
        boss.patch(f"{AUTH}/users/{number}", json={"accounts": accounts}),
        boss.post(f"{AUTH}/users", json={"username": "lee", "password": PASSWORD, "accounts": accounts}),
        boss.post(f"{AUTH}/api-keys", json={"name": "one", "accounts": accounts}),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field


def test_the_last_administrator_stays(api: Api) -> None:
    boss = api.boss()
    number = boss.get(ME).json()["id"]
    changes: list[dict[str, Any]] = [{"is_active": False}, {"role": "viewer"}, {"scopes": []}]
    for less in changes:
        refused(boss.patch(f"{AUTH}/users/{number}", json=less), 409, "last-administrator")


# ---- API keys --------------------------------------------------------------------------------------------------------


def test_two_keys_with_the_same_prefix_stay_two(api: Api) -> None:
    ann, boss = api.new_key(), api.new_key(api.boss())
    duplicate = api_keys.parse(f"{ann['api_key'][:18]}{boss['api_key'][18:]}")
    assert duplicate is not None
    refused(api.client().get(ME, headers=key(duplicate.text)), 401, "invalid-api-key")
    api.sql(
        "UPDATE api_keys SET prefix = %s, secret_hash = %s WHERE id = %s", duplicate.prefix, duplicate.hash, boss["id"]
    )
    assert api.client().get(ME, headers=key(ann["api_key"])).json()["username"] == "ann"
    assert api.client().get(ME, headers=key(duplicate.text)).json()["username"] == "boss"


def test_keys_are_compared_in_constant_time_and_to_the_end_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def candidate(digest: bytes) -> Candidate:
        return Candidate(1, 1, memoryview(digest), [], None, "ann", [], [], True, False, False, False, False)

    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac_compare(one, other)

    hmac_compare = hmac.compare_digest  # whose time does not tell where two differ
    monkeypatch.setattr("nautilus.auth.authenticate.hmac.compare_digest", compare)
    right = api_keys.new_key()
    first = candidate(bytes([right.hash[0] ^ 1]) + right.hash[1:])
    same = candidate(right.hash)
    last = candidate(right.hash[:-1] + bytes([right.hash[-1] ^ 1]))
    assert matching([first, same, last], right) is same
    assert matching([last, first], right) is None
    assert compared == [(bytes(row.secret_hash), right.hash) for row in (first, same, last, last, first)]


@pytest.mark.parametrize("text", ["", "null", "nautilus_", "nautilus_' OR 1=1 --_", "x" * 90])
def test_what_is_no_key_is_refused(shared: Api, text: str) -> None:
    answer = shared.client().get(ME, headers=key(text))
    refused(answer, 401, "invalid-api-key" if text else "unauthorized")


def test_a_bad_key_is_not_saved_by_a_good_token(shared: Api) -> None:
    ann = shared.signed_in()
    refused(ann.get(ME, headers=key("nautilus_nonsense")), 401, "invalid-api-key")


def test_an_expired_key_is_refused(api: Api) -> None:
    made = api.new_key(expires_at="2099-01-01T00:00:00Z")
    assert api.client().get(ME, headers=key(made["api_key"])).status_code == 200
    api.sql("UPDATE api_keys SET expires_at = clock_timestamp()")
    refused(api.client().get(ME, headers=key(made["api_key"])), 401, "invalid-api-key")
    refused(api.client().post(LOGIN, json={"api_key": made["api_key"]}), 401, "invalid-api-key")


def test_the_wrong_admin_password_is_no_way_in(api: Api) -> None:
    refused(
        api.client().post(LOGIN, json={"username": "boss", "password": ADMIN_PASSWORD[:-1]}), 401, "invalid-credentials"
    )


def spoofer(api: Api, peer: str, forwarded: str) -> tuple[Client, dict[str, str]]:
    return api.client(peer), {"x-forwarded-for": forwarded}


def test_a_forwarded_address_that_no_proxy_wrote_counts_for_nothing(api: Api) -> None:
    for n in range(PAIR.free + 1):
        client, headers = spoofer(api, "203.0.113.9", f"10.0.0.{n}")
        client.post(LOGIN, json={"username": "ann", "password": "wrong"}, headers=headers)
    client, headers = spoofer(api, "203.0.113.9", "10.9.9.9")
    last = client.post(LOGIN, json={"username": "ann", "password": "wrong"}, headers=headers)
    assert last.status_code == 429


def test_behind_a_configured_proxy_the_last_foreign_address_counts(dsn: str) -> None:
    with api_of(dsn, trusted_proxies=("10.0.0.0/8",)) as api:
        for n in range(PAIR.free + 2):
            client, headers = spoofer(api, "10.0.0.1", f"192.0.2.{n}, 203.0.113.9, 10.0.0.2")
            last = client.post(LOGIN, json={"username": "ann", "password": "wrong"}, headers=headers)
        assert last.status_code == 429, "what the client wrote in front changes nothing"
        assert {row.address for row in api.sql("SELECT address FROM audit_log WHERE outcome = 'refused'")} == {
            "203.0.113.9"
        }
