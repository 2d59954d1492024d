"""Signing in, staying signed in, and ending it: what honest people and their programs see."""

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

import dev.local_api
from dev.credentials import new_private_key, public_pem
from nautilus.auth.authenticate import DENIED_FOR_S
from nautilus.auth.passwords import Passwords
from nautilus.auth.tokens.sign import Signer
from nautilus.auth.tokens.verify import KeySet
from tests.support.auth_api import (
    ADMIN_PASSWORD,
    AUTH,
    CHEAP,
    PASSWORD,
    Api,
    api_of,
    bearer,
    key,
    log_text,
    settings_of,
)

ME = f"{AUTH}/me"
LOGIN = f"{AUTH}/login"
REFRESH = f"{AUTH}/refresh"
STATUS = "/api/v1/historical/backfill/status"
NEW = "another sentence, 8"


@pytest.fixture
def api(dsn: str) -> Iterator[Api]:
    with api_of(dsn) as made:
        yield made


# ---- in --------------------------------------------------------------------------------------------------------------


def test_the_front_ends_sign_in(api: Api) -> None:
    """login, me, validate, refresh with an empty body and the cookie, logout with `{}`."""
    page = api.client()
    tokens = page.post(LOGIN, json={"username": "ann", "password": PASSWORD}).json()
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 900
    token = bearer(tokens["access_token"])
    me = page.get(ME, headers=token).json()
    assert isinstance(me["id"], int)
    assert (me["username"], me["is_active"]) == ("ann", True)
    assert me["created_at"] <= me["last_login"]
    validated = page.get(f"{AUTH}/validate", headers=token).json()
    assert validated["valid"] is True
    assert validated["user"] == me
    again = page.post(REFRESH)
    assert again.status_code == 200
    assert set(again.json()) == {"access_token", "token_type", "expires_in", "scope"}
    assert page.post(REFRESH, json={}).status_code == 200
    assert page.post(f"{AUTH}/logout", json={}, headers=bearer(again.json()["access_token"])).status_code == 200
    assert not page.http.cookies
    assert page.post(REFRESH).status_code == 401


def test_sign_in_by_e_mail_address(api: Api) -> None:
    body = {"username": "kim", "email": "Kim@Example.com", "password": PASSWORD}
    assert api.boss().post(f"{AUTH}/users", json=body).status_code == 201
    assert api.login("kim@example.COM")["access_token"]


def test_an_api_key_opens_a_session_with_its_scopes_and_its_end(api: Api) -> None:
    made = api.new_key(scopes=["bars:read"], expires_at=_in(600))
    page = api.client()
    tokens = page.post(LOGIN, json={"api_key": made["api_key"]}).json()
    assert tokens["scope"] == "bars:read"
    assert tokens["expires_in"] <= 601
    assert tokens["refresh_expires_in"] <= 600
    refreshed = page.post(REFRESH, json={"refresh_token": tokens["refresh_token"]}).json()
    assert page.get(ME, headers=bearer(refreshed["access_token"])).json()["api_key_id"] == made["id"]
    api.signed_in().delete(f"{AUTH}/api-keys/{made['id']}")
    assert page.post(REFRESH, json={"refresh_token": refreshed["refresh_token"]}).status_code == 401
    api.forget_denied()
    assert page.get(ME, headers=bearer(refreshed["access_token"])).json()["code"] == "session-ended"


def _in(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "ann"},
        {"password": PASSWORD},
        {"username": "ann", "password": PASSWORD, "api_key": "nautilus_x"},
        {"username": "ann", "api_key": "nautilus_x"},
    ],
)
def test_a_sign_in_is_of_one_kind(api: Api, body: dict[str, str]) -> None:
    answer = api.client().post(LOGIN, json=body)
    assert answer.status_code == 422
    assert "api_key alone" in answer.json()["detail"]


def test_a_success_forgives_the_failures_before_it(api: Api) -> None:
    client = api.client()
    for _ in range(3):
        for _ in range(4):
            assert client.post(LOGIN, json={"username": "ann", "password": "wrong"}).status_code == 401
        api.login(client=client)


def test_stored_hashes_follow_the_parameters(api: Api) -> None:
    api.sql(
        "UPDATE users SET password_hash = %s WHERE username = 'ann'", Passwords(passes=2, memory_kib=64).hash(PASSWORD)
    )
    assert api.login()
    [stored] = api.sql("SELECT password_hash FROM users WHERE username = 'ann'")
    assert f"$m={CHEAP['memory_kib']},t={CHEAP['passes']},p=1$" in stored.password_hash
    assert api.login()


# ---- refresh ---------------------------------------------------------------------------------------------------------


def test_fifty_refreshes_at_once_have_one_successor(api: Api) -> None:
    first = api.login()
    client = api.client()
    answers = client.together(50, "POST", REFRESH, json={"refresh_token": first["refresh_token"]})
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    [row] = api.sql("SELECT count(*) AS all, count(used_at) AS used FROM refresh_tokens")
    assert (row.all, row.used) == (2, 1)
    following = client.post(REFRESH, json={"refresh_token": answers[0].json()["refresh_token"]})
    assert following.status_code == 200, "the honest client goes on"


def test_a_client_that_lost_the_answer_may_ask_again(api: Api) -> None:
    client = api.client()
    first = api.login()
    lost = client.post(REFRESH, json={"refresh_token": first["refresh_token"]}).json()
    api.sql("UPDATE refresh_tokens SET used_at = used_at - interval '40 seconds'")
    again = client.post(REFRESH, json={"refresh_token": first["refresh_token"]}).json()
    assert again["refresh_token"] == lost["refresh_token"]
    assert client.post(REFRESH, json={"refresh_token": again["refresh_token"]}).status_code == 200


def test_no_token_can_be_read_from_the_database(api: Api) -> None:
    tokens = api.login()
    made = api.new_key()
    api.client().post(REFRESH, json={"refresh_token": tokens["refresh_token"]})
    dump = "\n".join(
        str(row)
        for table in (
            "users",
            "api_keys",
            "refresh_families",
            "refresh_tokens",
            "denied",
            "login_failures",
            "audit_log",
        )
        for row in api.sql(f"SELECT * FROM {table}")
    )
    for secret in (PASSWORD, ADMIN_PASSWORD, tokens["access_token"], tokens["refresh_token"], made["api_key"]):
        assert secret not in dump
        assert secret[-24:] not in dump


def test_an_idle_refresh_token_and_an_old_session_end(api: Api) -> None:
    idle, old = api.login(), api.login()
    api.sql("UPDATE refresh_tokens SET expires_at = clock_timestamp()")
    assert api.client().post(REFRESH, json={"refresh_token": idle["refresh_token"]}).json()["code"] == (
        "invalid-refresh-token"
    )
    api.sql("UPDATE refresh_tokens SET expires_at = clock_timestamp() + interval '1 day'")
    api.sql("UPDATE refresh_families SET expires_at = clock_timestamp()")
    assert api.client().post(REFRESH, json={"refresh_token": old["refresh_token"]}).status_code == 401


def test_a_refresh_does_not_outlive_its_session(dsn: str) -> None:
    with api_of(dsn, session_days=1, refresh_days=7) as api:
        assert api.login()["refresh_expires_in"] <= 86_400


# ---- out -------------------------------------------------------------------------------------------------------------


def test_ending_takes_effect_within_five_seconds_and_costs_no_request_a_question(api: Api) -> None:
    ann = api.signed_in()
    assert ann.get(ME).status_code == 200, "which has read the deny list"
    callers, token = api.services.callers, ann.tokens["access_token"]
    questions: list[dict[str, Any]] = []
    real = api.services.db.transaction

    def counted(**how: Any) -> Any:
        questions.append(how)
        return real(**how)

    api.services.db.transaction = counted  # type: ignore[method-assign]
    for _ in range(20):
        callers.by_token(token, _somewhere())
    assert questions == [], "no question for a token while the deny list is fresh"
    ann.post(f"{AUTH}/logout", json={})
    api.clocks.move(DENIED_FOR_S)
    questions.clear()
    answer = ann.get(STATUS)
    assert answer.json()["code"] == "session-ended"
    assert len(questions) == 1, "one question, and then none for five seconds"
    assert DENIED_FOR_S == 5


def test_a_process_that_was_frozen_reads_the_deny_list_again(api: Api) -> None:
    """Lambda stops the processor between events, and with it, maybe, one of the clocks."""
    ann = api.signed_in()
    ann.get(ME)
    ann.post(f"{AUTH}/logout", json={})
    api.clocks.time_s += 600
    assert ann.get(STATUS).json()["code"] == "session-ended"


def _somewhere() -> Any:
    from nautilus.auth.principal import Client

    return Client("192.0.2.1")


def test_without_a_database_no_token_is_believed(api: Api) -> None:
    token = api.signed_in().tokens["access_token"]
    cut_off = dev.local_api.create(settings_of("postgresql://nobody@127.0.0.1:1/none", api.pem))
    answer = api.client(app=cut_off).get(ME, headers=bearer(token))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_logout_ends_the_session_of_the_token_alone(api: Api) -> None:
    one, other = api.signed_in(), api.signed_in()
    assert one.post(f"{AUTH}/logout", json={}).status_code == 200
    assert one.post(REFRESH, json={"refresh_token": one.tokens["refresh_token"]}).status_code == 401
    api.forget_denied()
    assert one.get(ME).status_code == 401
    assert other.get(ME).status_code == 200


def test_logout_works_with_a_refresh_token_when_the_access_token_has_expired(api: Api) -> None:
    tokens = api.login()
    assert api.client().post(f"{AUTH}/logout", json={"refresh_token": tokens["refresh_token"]}).status_code == 200
    assert api.client().post(REFRESH, json={"refresh_token": tokens["refresh_token"]}).status_code == 401
    assert api.client().post(f"{AUTH}/logout", json={}).status_code == 401, "nothing to end"


def test_logout_everywhere(api: Api) -> None:
    one, other, made = api.signed_in(), api.signed_in(), api.new_key()
    answer = one.post(f"{AUTH}/logout-all")
    assert answer.json()["sessions_ended"] == 3
    api.forget_denied()
    assert [client.get(ME).status_code for client in (one, other)] == [401, 401]
    assert api.client().get(ME, headers=key(made["api_key"])).status_code == 200, "keys stay"
    assert api.boss().get(ME).status_code == 200


def test_sessions_are_listed_and_ended_one_by_one(api: Api) -> None:
    one, other = api.signed_in(), api.signed_in()
    rows = one.get(f"{AUTH}/sessions").json()["sessions"]
    assert [row["current"] for row in rows].count(True) == 1
    assert {row["user_agent"][:12] for row in rows} == {"python-httpx"}
    assert all(row["address"].startswith("198.51.") for row in rows)
    [foreign] = [row["id"] for row in rows if not row["current"]]
    assert one.delete(f"{AUTH}/sessions/{foreign}").status_code == 200
    assert one.delete(f"{AUTH}/sessions/{foreign}").status_code == 404
    api.forget_denied()
    assert (one.get(ME).status_code, other.get(ME).status_code) == (200, 401)


def test_a_password_change_ends_all_other_sessions(api: Api) -> None:
    one, other = api.signed_in(), api.signed_in()
    wrong = one.post(f"{AUTH}/password", json={"current_password": "wrong", "new_password": NEW})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid-credentials")
    answer = one.post(f"{AUTH}/password", json={"current_password": PASSWORD, "new_password": NEW})
    assert answer.status_code == 200
    api.forget_denied()
    assert [client.get(ME).status_code for client in (one, other)] == [401, 401]
    assert one.get(ME, headers=bearer(answer.json()["access_token"])).status_code == 200
    assert api.client().post(LOGIN, json={"username": "ann", "password": PASSWORD}).status_code == 401
    assert api.login(password=NEW)


@pytest.mark.parametrize("new", ["short", "aaaaaaaaaaaaaaaa", "ann's password", "x" * 257])
def test_a_new_password_must_be_hard_to_guess(api: Api, new: str) -> None:
    ann = api.signed_in()
    answer = ann.post(f"{AUTH}/password", json={"current_password": PASSWORD, "new_password": new})
    assert answer.status_code == 422
    assert new not in answer.text
    assert [e["field"] for e in answer.json()["errors"]] == ["new_password"]


# ---- API keys and users ----------------------------------------------------------------------------------------------


def test_a_keys_life(api: Api) -> None:
    ann = api.signed_in()
    made = api.new_key(ann, scopes=["bars:read"])
    assert made["api_key"].startswith(made["prefix"] + "_")
    assert len(made["api_key"].rpartition("_")[2]) * 4 >= 160, "bits"
    client = api.client("198.51.100.7")
    assert client.get(STATUS, headers=key(made["api_key"])).status_code == 200
    [listed] = ann.get(f"{AUTH}/api-keys").json()["api_keys"]
    assert "api_key" not in listed
    assert (listed["active"], listed["last_used_from"]) == (True, "198.51.100.7")
    assert listed["last_used_at"] is not None
    ann.delete(f"{AUTH}/api-keys/{made['id']}")
    assert client.get(STATUS, headers=key(made["api_key"])).status_code == 401, "at once"
    [listed] = ann.get(f"{AUTH}/api-keys").json()["api_keys"]
    assert listed["active"] is False


def test_keys_have_an_end_in_the_future_and_a_number(api: Api) -> None:
    ann = api.signed_in()
    for wrong in ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00", "tomorrow", 4_000_000_000):
        answer = ann.post(f"{AUTH}/api-keys", json={"name": "late", "expires_at": wrong})
        assert answer.status_code == 422, wrong
        assert answer.json()["errors"][0]["field"] == "expires_at"
    api.sql(
        "INSERT INTO api_keys (user_id, name, prefix, secret_hash, scopes) SELECT id, 'n', 'p', sha256(n::text::bytea),"
        " scopes FROM users, generate_series(1, 50) n WHERE username = 'ann'"
    )
    full = ann.post(f"{AUTH}/api-keys", json={"name": "one more"})
    assert (full.status_code, full.json()["code"]) == (409, "too-many-keys")


def test_a_key_in_use_is_written_down_once_a_minute(api: Api) -> None:
    made = api.new_key()
    client = api.client()
    client.together(20, "GET", ME, headers=key(made["api_key"]))
    count = "SELECT count(*) FROM audit_log WHERE action = 'key-used'"
    assert api.sql(count)[0][0] == 1
    api.sql("UPDATE api_keys SET last_used_at = last_used_at - interval '1 minute'")
    client.get(ME, headers=key(made["api_key"]))
    assert api.sql(count)[0][0] == 2


def test_a_key_wins_over_the_bearer_header_beside_it(api: Api) -> None:
    made = api.new_key(api.boss())
    for beside in (
        "Bearer null",
        "Bearer undefined",
        "Bearer",
        "Bearer rubbish",
        f"Bearer {api.login()['access_token']}",
    ):
        answer = api.client().get(ME, headers=key(made["api_key"]) | {"authorization": beside})
        assert answer.json()["username"] == "boss", beside
    assert api.client().get(ME, headers={"authorization": "Bearer null"}).json()["code"] == "unauthorized"


def test_a_user_owns_what_their_keys_ask_for(api: Api) -> None:
    ann, made = api.signed_in(), api.new_key()
    assert ann.get(ME).json()["id"] == api.client().get(ME, headers=key(made["api_key"])).json()["id"]


def test_accounts_of_users_keys_and_sessions(api: Api) -> None:
    """What a credential may use is what its user may, less what the key was not given, at each time."""
    boss = api.boss()
    assert boss.get(ME).json()["accounts"] == ["*"]
    body = {"username": "kim", "password": PASSWORD, "role": "trader", "accounts": ["DU2", "DU1", "DU1"]}
    made = boss.post(f"{AUTH}/users", json=body).json()
    assert made["accounts"] == ["DU1", "DU2"]
    kim = api.signed_in("kim")
    assert kim.get(ME).json()["accounts"] == ["DU1", "DU2"]
    whole, part, none = api.new_key(kim), api.new_key(kim, accounts=["DU2"]), api.new_key(kim, accounts=[])
    assert [one["accounts"] for one in (whole, part, none)] == [None, ["DU2"], []]
    assert [accounts_of(api, one) for one in (whole, part, none)] == [["DU1", "DU2"], ["DU2"], []]
    session = api.client().post(LOGIN, json={"api_key": part["api_key"]}).json()["access_token"]
    assert api.client().get(ME, headers=bearer(session)).json()["accounts"] == ["DU2"]
    boss.patch(f"{AUTH}/users/{made['id']}", json={"accounts": ["DU1"]})
    assert [accounts_of(api, one) for one in (whole, part, none)] == [["DU1"], [], []]
    api.forget_denied()
    assert kim.get(ME).status_code == 401, "other accounts need another sign-in"
    assert api.signed_in("kim").get(ME).json()["accounts"] == ["DU1"]
    boss.patch(f"{AUTH}/users/{made['id']}", json={"accounts": ["*"]})
    assert [accounts_of(api, one) for one in (whole, part, none)] == [["*"], ["DU2"], []]
    log = api.sql("SELECT detail FROM audit_log WHERE action = 'user-changed' ORDER BY id")
    assert [row.detail["accounts"] for row in log] == [["DU1"], ["*"]]


def accounts_of(api: Api, made: Any) -> list[str]:
    """The accounts that a key may use."""
    found: list[str] = api.client().get(ME, headers=key(made["api_key"])).json()["accounts"]
    return found


def test_a_user_without_a_word_about_accounts_has_none(api: Api) -> None:
    api.boss().post(f"{AUTH}/users", json={"username": "kim", "password": PASSWORD})
    assert api.signed_in("kim").get(ME).json()["accounts"] == []


def test_a_key_of_an_administrator_without_that_scope_keeps_to_its_accounts(api: Api) -> None:
    boss = api.boss()
    assert accounts_of(api, api.new_key(boss, scopes=["orders:read"], accounts=["DU1"])) == ["DU1"]
    assert accounts_of(api, api.new_key(boss, scopes=["orders:read"])) == ["*"]


def test_users_are_made_changed_and_disabled(api: Api) -> None:
    boss = api.boss()
    made = boss.post(f"{AUTH}/users", json={"username": "Kim", "password": PASSWORD}).json()
    assert (made["username"], made["role"], made["scopes"]) == (
        "kim",
        "analyst",
        ["backfill:write", "bars:read", "monitoring:read"],
    )
    kim = api.signed_in("kim")
    place = f"{AUTH}/users/{made['id']}"
    assert boss.patch(place, json={"role": "trader"}).json()["role"] == "trader"
    api.forget_denied()
    assert kim.get(ME).status_code == 401, "other scopes need another sign-in"
    assert "orders:write" in api.signed_in("kim").get(ME).json()["scopes"]
    assert boss.patch(place, json={"scopes": ["bars:read"]}).json()["role"] is None
    assert boss.patch(place, json={"email": "kim@example.com"}).json()["email"] == "kim@example.com"
    assert boss.patch(place, json={"password": NEW}).status_code == 200
    assert api.login("kim@example.com", NEW)
    boss.patch(place, json={"is_active": False})
    assert api.client().post(LOGIN, json={"username": "kim", "password": NEW}).status_code == 401
    boss.patch(place, json={"is_active": True})
    assert api.login("kim", NEW)
    assert [user["username"] for user in boss.get(f"{AUTH}/users").json()["users"]] == ["boss", "ann", "kim"]
    assert boss.patch(f"{AUTH}/users/99", json={"is_active": False}).status_code == 404
    wrong = boss.patch(place, json={"role": "king"})
    assert wrong.json()["errors"][0]["allowed"] == ["viewer", "analyst", "trader", "admin"]


def test_a_second_administrator_frees_the_first(api: Api) -> None:
    boss = api.boss()
    boss.post(f"{AUTH}/users", json={"username": "second", "password": PASSWORD, "role": "admin"})
    number = boss.get(ME).json()["id"]
    second = api.signed_in("second")
    assert second.patch(f"{AUTH}/users/{number}", json={"is_active": False}).status_code == 200


# ---- keys that sign --------------------------------------------------------------------------------------------------


def test_an_exchange_of_the_signing_key_signs_nobody_out(dsn: str) -> None:
    old, new = new_private_key(), new_private_key()
    both = json.dumps({"k1": public_pem(old), "k2": public_pem(new)})
    before = {"token_private_key": old, "token_key_id": "k1", "token_public_keys": json.dumps({"k1": public_pem(old)})}
    overlap = {"token_private_key": old, "token_key_id": "k1", "token_public_keys": both}
    switched = {"token_private_key": new, "token_key_id": "k2", "token_public_keys": both}
    after = {"token_private_key": new, "token_key_id": "k2", "token_public_keys": json.dumps({"k2": public_pem(new)})}
    tokens = []
    for step in (before, overlap, switched):
        with api_of(dsn, **step) as api:
            tokens.append(api.login()["access_token"])
            assert jwt.get_unverified_header(tokens[-1])["kid"] == step["token_key_id"]
            kids = [k["kid"] for k in api.client().get(f"{AUTH}/jwks.json").json()["keys"]]
            assert kids == list(json.loads(step["token_public_keys"]))
            assert [api.client().get(ME, headers=bearer(token)).status_code for token in tokens] == [200] * len(tokens)
    with api_of(dsn, **overlap) as api:
        ahead = api.client().get(ME, headers=bearer(tokens[-1]))
        assert ahead.status_code == 200, "a function that still runs with the older settings knows the new key"
    with api_of(dsn, **after) as api:
        statuses = [api.client().get(ME, headers=bearer(token)).status_code for token in tokens]
        assert statuses == [401, 401, 200], "the old key is gone"


def test_a_signing_key_that_nobody_knows_stops_the_function(api: Api) -> None:
    keys = KeySet({"k1": public_pem(new_private_key())}, issuer="i", audience="a")
    for kid in ("k1", "k2"):
        signer = Signer(kid, new_private_key(), issuer="i", audience="a")
        with pytest.raises(ValueError, match="publish its public half first"):
            keys.require(signer.kid, signer.public)


def test_the_key_set_verifies_a_token_elsewhere(api: Api) -> None:
    """Anybody with a JOSE library can check a token by the published keys."""
    answer = api.client().get(f"{AUTH}/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    [published] = jwt.PyJWKSet.from_dict(answer.json()).keys
    claims = jwt.decode(
        api.login()["access_token"], published, algorithms=["EdDSA"], audience="nautilus-api", issuer="nautilus"
    )
    assert claims["sub"].startswith("user:")
    assert claims["exp"] - claims["iat"] == 900


# ---- what is written down --------------------------------------------------------------------------------------------


def test_no_secret_is_written_down(
    api: Api, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Everything that people and programs may send, right and wrong, and not one of it in a log line or audit row."""
    caplog.set_level("DEBUG")  # what libraries say
    wrong = "hunter2 and more of it"
    tokens = api.login()
    ann = api.signed_in()
    made = api.new_key(ann)
    boss = api.boss()
    kim = "the first sentence, 1"
    secrets_ = [PASSWORD, ADMIN_PASSWORD, NEW, wrong, kim, tokens["refresh_token"], made["api_key"], api.pem]
    secrets_ += [tokens["access_token"], ann.tokens["access_token"], ann.tokens["refresh_token"]]
    client = api.client()
    client.post(LOGIN, json={"username": wrong, "password": "ann"})  # the password where the name should be
    client.post(LOGIN, json={"username": "ann", "password": wrong})
    client.post(LOGIN, json={"api_key": made["api_key"]})
    client.post(LOGIN, json={"api_key": made["api_key"][:-1] + "x"})
    client.post(LOGIN, json={"username": ["ann"], "password": wrong, "extra": wrong})
    client.post(LOGIN, content=b'{"password": "' + wrong.encode() + b'"', headers={"content-type": "application/json"})
    renewed = client.post(REFRESH, json={"refresh_token": tokens["refresh_token"]}).json()
    secrets_ += [renewed["refresh_token"], renewed["access_token"]]
    client.post(REFRESH, json={"refresh_token": renewed["refresh_token"]})
    client.post(REFRESH, json={"refresh_token": tokens["refresh_token"]})
    client.get(ME, headers=key(made["api_key"]))
    client.get(ME, headers=key(made["api_key"][:-2] + "00"))
    client.get(ME, headers=bearer(tokens["access_token"][:-2]))
    ann.post(f"{AUTH}/password", json={"current_password": PASSWORD, "new_password": NEW})
    user = boss.post(f"{AUTH}/users", json={"username": "kim", "password": kim}).json()
    boss.patch(f"{AUTH}/users/{user['id']}", json={"password": NEW + NEW})
    ann.delete(f"{AUTH}/api-keys/{made['id']}")

    written = (
        capsys.readouterr().out + log_text(caplog) + "\n".join(str(row) for row in api.sql("SELECT * FROM audit_log"))
    )
    assert "sign-in-refused" in written
    assert "refresh-token-replayed" in written
    for secret in secrets_:
        assert secret not in written
        assert secret[-20:] not in written
    assert made["api_key"].rpartition("_")[2][:12] not in written


def test_the_audit_log_tells_who_did_what_from_where(api: Api) -> None:
    boss = api.boss()
    user = boss.post(f"{AUTH}/users", json={"username": "kim", "password": PASSWORD}).json()
    answer = boss.patch(f"{AUTH}/users/{user['id']}", json={"is_active": False})
    row = api.sql("SELECT * FROM audit_log WHERE action = 'user-changed'")[0]
    [number] = [row.id for row in api.sql("SELECT id FROM users WHERE username = 'boss'")]
    assert (row.actor, row.subject, row.outcome) == (f"user:{number}", f"user:{user['id']}", "ok")
    assert row.address.startswith("198.51.")
    assert row.request_id == answer.headers["x-request-id"]
    assert row.detail == {"is_active": False, "sessions_ended": 0}


def test_the_request_line_names_the_caller(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    made = api.new_key()
    capsys.readouterr()
    api.client().get(ME, headers=key(made["api_key"]))
    [line] = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if line["message"] == "request"]
    [number] = [row.id for row in api.sql("SELECT id FROM users WHERE username = 'ann'")]
    assert line["caller"] == f"user:{number} key:{made['id']}"


def test_what_no_longer_decides_anything_is_forgotten(api: Api) -> None:
    ann = api.signed_in()
    ann.post(f"{AUTH}/logout", json={})
    api.client().post(LOGIN, json={"username": "ann", "password": "wrong"})
    api.sql("UPDATE denied SET expires_at = clock_timestamp()")
    api.sql("UPDATE refresh_families SET ended_at = clock_timestamp() - interval '31 days' WHERE ended_at IS NOT NULL")
    api.sql("UPDATE login_failures SET last_failed_at = clock_timestamp() - interval '2 days'")
    api.login("boss", ADMIN_PASSWORD)
    counts = [api.sql(f"SELECT count(*) FROM {t}")[0][0] for t in ("denied", "refresh_families", "refresh_tokens")]
    assert counts == [0, 1, 1]
    assert api.sql("SELECT count(*) FROM login_failures WHERE starts_with(subject, 'pair:')")[0][0] == 0


# ---- at the door -----------------------------------------------------------------------------------------------------

ORIGIN = "https://app.example.com"


@pytest.fixture
def open_api(dsn: str) -> Iterator[Api]:
    with api_of(dsn, cors_origins=(ORIGIN,)) as made:
        yield made


def test_cors_names_the_origin_and_allows_credentials(open_api: Api) -> None:
    client = open_api.client()
    requested = {"origin": ORIGIN, "access-control-request-method": "POST"}
    requested["access-control-request-headers"] = "content-type,authorization,x-api-key,idempotency-key"
    preflight = client.request("OPTIONS", LOGIN, headers=requested)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["access-control-allow-credentials"] == "true"
    for path, status in ((ME, 401), ("/nowhere", 404), (f"{ME}?x=%00", 400)):
        answer = client.get(path, headers={"origin": ORIGIN})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN, "errors too, or the page cannot read them"
    foreign = client.request("OPTIONS", LOGIN, headers=requested | {"origin": "https://evil.example"})
    assert foreign.status_code == 400
    assert "access-control-allow-origin" not in client.get(ME, headers={"origin": "https://evil.example"}).headers


def test_what_broke_can_be_read_by_the_page_too(open_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(open_api.services.callers, "by_key", broken)
    answer = open_api.client().get(ME, headers={"origin": ORIGIN, "x-api-key": "nautilus_x"})
    assert answer.status_code == 500
    assert "a secret detail" not in answer.text
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("path", [ME, "/nowhere", f"{AUTH}/jwks.json", "/health"])
def test_every_answer_has_the_security_headers(api: Api, path: str) -> None:
    headers = api.client().get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers, "not on a developer's machine"


def test_bodies_have_a_largest_size_everywhere(api: Api) -> None:
    made = api.new_key()
    answer = api.client().post("/api/v1/ib/backfill", content=b" " * 1_048_577, headers=key(made["api_key"]))
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    fits = api.client().post("/api/v1/ib/backfill", content=b" " * 1_048_576, headers=key(made["api_key"]))
    assert fits.status_code == 422


def test_answers_with_tokens_are_not_kept_by_anybody(api: Api) -> None:
    answer = api.client().post(LOGIN, json={"username": "ann", "password": PASSWORD})
    assert answer.headers["cache-control"] == "no-store"
    assert api.client().get(ME).headers["cache-control"] == "no-store"
