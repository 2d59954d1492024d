"""The rules of sign-in, without any server: names, scopes, keys, throttling, settings of what is deployed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from dev.credentials import new_private_key, public_pem
from nautilus.auth import api_keys
from nautilus.auth.login_throttle import ADDRESS, HALF_LIFE_S, NAME, PAIR, Counter, Limit, Subjects, network
from nautilus.auth.passwords import LANES, MEMORY_KIB, PASSES, Passwords
from nautilus.auth.principal import Principal, anonymous, login_name, new_email, new_password, new_username
from nautilus.auth.scopes import (
    ROLES,
    SCOPES,
    checked_accounts,
    checked_scopes,
    key_accounts,
    key_scopes,
    role_of,
    user_accounts,
)
from nautilus.auth.tokens.sign import Signer
from nautilus.auth.tokens.verify import KeySet
from nautilus.errors import Forbidden, InvalidInput
from nautilus.settings.api import ApiSettings
from nautilus.settings.auth import AuthSettings
from nautilus.settings.bridge import BridgeSettings

# ---- names and scopes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("ann", "ann"),
        (" ANN ", "ann"),
        ("Ann.B-c_d9", "ann.b-c_d9"),
        ("Ann@Example.COM", "ann@example.com"),
        ("аnn", None),  # Cyrillic a
        ("\u212aim", None),  # Kelvin sign, which lower() makes a k
        ("ann\x00", None),
        ("", None),
        ("a" * 65, None),
        (".ann", None),
        ("ann@", None),
        ("a@b", None),
        ("a b@example.com", None),
        ("x" * 250 + "@example.com", None),
    ],
)
def test_names_as_typed(typed, stored):
    assert login_name(typed) == stored


@given(st.text())
def test_no_two_names_are_stored_as_one_unless_they_differ_in_capitals_and_blanks(text):
    stored = login_name(text)
    assert stored is None or (stored == text.strip().lower() and stored.isascii())


def test_a_name_is_never_an_address():
    with pytest.raises(InvalidInput):
        new_username("ann@example.com")
    with pytest.raises(InvalidInput):
        new_email("ann")


@pytest.mark.parametrize("bad", ["", "short", "a" * 257, "ab" * 10, "my name is ann!!", "null\x00 in the middle"])
def test_passwords_that_may_not_be_set(bad):
    with pytest.raises(InvalidInput) as wrong:
        new_password("password", bad, "ann")
    assert wrong.value.errors[0].field == "password"
    assert not bad or bad not in str(wrong.value)


def test_scopes_keep_their_order_and_roles_are_sets_of_them():
    assert checked_scopes("scopes", ["monitoring:read", "bars:read", "bars:read"]) == ("bars:read", "monitoring:read")
    assert {scope for given_ in ROLES.values() for scope in given_} == set(SCOPES)
    assert [role_of(given_) for given_ in ROLES.values()] == list(ROLES)
    assert role_of(["bars:read"]) is None
    with pytest.raises(InvalidInput, match="'root' is not a scope"):
        checked_scopes("scopes", ["root"])


@given(st.sets(st.sampled_from(SCOPES)), st.sets(st.sampled_from(SCOPES)))
def test_a_key_never_does_more_than_it_was_granted_nor_than_its_user(user, granted):
    may = key_scopes(user, granted)
    assert may <= granted
    assert "admin" in user or may <= user


ACCOUNTS = st.sets(st.sampled_from(["DU1", "DU2", "U3", "*"]))


@given(ACCOUNTS, st.none() | ACCOUNTS, st.sampled_from(["DU1", "DU2", "U3", "U4"]))
def test_a_key_never_uses_an_account_that_it_was_not_granted_or_its_user_has_not(user, granted, account):
    def may(accounts):
        return Principal("user:1", "ann", frozenset(), accounts=frozenset(accounts)).may_use(account)

    assert may(key_accounts(user, granted)) == (may(user) and (granted is None or may(granted)))


def test_an_administrator_has_all_accounts():
    assert user_accounts(["admin"], []) == {"*"}
    assert user_accounts(["orders:write"], ["DU1"]) == {"DU1"}
    assert Principal("user:1", "ann", frozenset(["admin"])).may_use("DU1")


def test_an_account_that_is_missing_is_named():
    caller = Principal("user:1", "ann", frozenset(["orders:write"]), accounts=frozenset(["DU1"]))
    caller.require_account("DU1")
    for account in ("DU2", "*", "du1", ""):
        with pytest.raises(Forbidden) as no:
            caller.require_account(account)
        assert (no.value.code, no.value.extra) == ("account-not-allowed", {"account": account})


def test_accounts_are_written_in_one_way():
    assert checked_accounts("accounts", ["U2", "DU1", "U2"]) == ("DU1", "U2")
    assert checked_accounts("accounts", ["U2", "*"]) == ("*",)
    assert checked_accounts("accounts", []) == ()
    for bad in ("DU 1", "", "-1", "x" * 33, "DU1\n"):
        with pytest.raises(InvalidInput, match="is no account"):
            checked_accounts("accounts", [bad])


def test_nobody_holds_orders_without_credentials():
    assert not anonymous(["bars:read"]).may_use("DU1")
    for scope in ("orders:read", "orders:write", "strategies:write", "exports:write", "admin"):
        with pytest.raises(ValidationError, match="anonymous_scopes may hold only"):
            AuthSettings(**(DEPLOYED | {"env": "dev", "token_key_id": "dev-1", "anonymous_scopes": (scope,)}))


def test_only_a_sign_in_by_password_is_one():
    Principal("user:1", "ann", frozenset(), session="s").require_password_sign_in()
    for other in (
        Principal("user:1", "ann", frozenset(["admin"]), key_id=3),
        Principal("user:1", "ann", frozenset(["admin"]), session="s", key_id=3),
        Principal("anonymous", "anonymous", frozenset()),
    ):
        with pytest.raises(Forbidden):
            other.require_password_sign_in()


# ---- API keys --------------------------------------------------------------------------------------------------------


def test_keys_are_read_as_they_are_written():
    keys = [api_keys.new_key() for _ in range(50)]
    assert len({key.text for key in keys}) == 50
    for key in keys:
        again = api_keys.parse(key.text)
        assert again == key
        assert key.text not in repr(key)
        assert key.text[18:] not in repr(key)


@given(st.text(max_size=120))
def test_anything_else_is_no_key(text):
    assert api_keys.parse(text) is None


# ---- throttling ------------------------------------------------------------------------------------------------------


def test_delays_grow_and_end():
    limit = Limit(free=3, first_s=2.0, longest_s=60.0)
    assert [limit.delay_s(n) for n in range(10)] == [0, 0, 0, 2, 4, 8, 16, 32, 60, 60]
    assert limit.delay_s(10_000) == 60
    assert Counter(5, idle_s=3).wait_s(limit) == 5
    assert Counter(5, idle_s=8).wait_s(limit) == 0


def test_a_counter_is_halved_each_hour():
    assert [Counter(16, hours * HALF_LIFE_S).now for hours in range(6)] == [16, 8, 4, 2, 1, 0]
    assert Counter(16, 10**9).now == 0
    assert Counter(16, -5.0).now == 16, "clocks may step"


def test_a_guesser_gets_few_guesses_in_a_day():
    """One name from one address, asked again as soon as it is allowed."""
    now_s, guesses, failures, last_s = 0.0, 0, 0, 0.0
    while now_s < 86_400:
        counter = Counter(failures, now_s - last_s)
        wait_s = counter.wait_s(PAIR)
        if wait_s:
            now_s += wait_s
            continue
        failures, last_s, guesses = counter.now + 1, now_s, guesses + 1
    assert 20 < guesses < 300


def test_the_name_alone_never_closes_the_door():
    assert NAME.longest_s <= 1
    assert PAIR.longest_s == ADDRESS.longest_s == 900


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
        ("'; DROP TABLE", "unknown"),
    ],
)
def test_addresses_are_counted_by_household(address, counted):
    assert network(address) == counted


def test_what_was_typed_as_a_name_is_not_kept():
    subjects = Subjects.of("my password, by mistake", "192.0.2.7")
    assert "password" not in repr(subjects)
    assert Subjects.of(" ANN", "192.0.2.7") == Subjects.of("ann", "192.0.2.7")
    assert Subjects.of("\ud800", "192.0.2.7").name != Subjects.of("", "192.0.2.7").name


# ---- passwords -------------------------------------------------------------------------------------------------------


def test_passwords_are_stored_as_argon2id_with_todays_parameters():
    stored = Passwords().hash("a rather long sentence")
    assert stored.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$")
    # OWASP's password storage cheat sheet, read 2026-11: at least 19 MiB with 2 passes.
    assert MEMORY_KIB >= 19 * 1024
    assert PASSES >= 2


def test_nobodys_password_never_fits():
    passwords = Passwords(passes=1, memory_kib=64)
    assert not passwords.fits("", None)
    assert not passwords.fits("x", None)
    assert not passwords.fits("x", "no hash at all")
    assert not passwords.fits("x" * 10_000, passwords.hash("x"))
    assert passwords.fits("x", passwords.hash("x"))


# ---- settings --------------------------------------------------------------------------------------------------------

PEM = new_private_key()
DEPLOYED: dict[str, Any] = {
    "env": "prod",
    "database_url": SecretStr("postgresql://api:4nTq81LxWz@db.example.com/nautilus?sslmode=verify-full"),
    "token_public_keys": json.dumps({"k1": public_pem(PEM)}),
    "token_private_key": SecretStr(PEM),
    "token_key_id": "k1",
}


def test_a_deployed_function_starts_with_settings_of_its_own():
    assert AuthSettings(**DEPLOYED).deployed


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"anonymous_scopes": ("bars:read",)}, "anonymous_scopes is allowed only with NAUTILUS_ENV=dev"),
        ({"token_key_id": "dev-1a2b3c4d"}, "dev-1a2b3c4d was made for development"),
        ({"token_public_keys": '{"dev-1": "x"}'}, "dev-1 was made for development"),
        ({"database_url": SecretStr("postgresql://api@db/nautilus")}, "empty or a default one"),
        ({"database_url": SecretStr("postgresql://api:4nTq81LxWz@db/nautilus")}, "sslmode=prefer: when deployed"),
        ({"database_url": SecretStr("postgresql://api:4nTq81LxWz@db/n?sslmode=disable")}, "sslmode=disable: when"),
        ({"database_url": SecretStr("postgresql://api:Postgres@db/nautilus")}, "empty or a default one"),
        ({"database_url": SecretStr("postgresql://api:nautilus@db/nautilus")}, "empty or a default one"),
        ({"replica_url": SecretStr("postgresql://api:nautilus@copy/nautilus")}, "replica_url is empty or a default"),
        ({"replica_url": SecretStr("postgresql://api:4nTq81LxWz@copy/nautilus")}, "replica_url has sslmode=prefer"),
    ],
)
@pytest.mark.parametrize("env", ["staging", "prod"])
def test_a_deployed_function_refuses_to_start(env, values, says):
    with pytest.raises(ValidationError, match=says):
        AuthSettings(**(DEPLOYED | {"env": env} | values))


def test_the_bridge_too_refuses_a_default_password_when_deployed():
    with pytest.raises(ValidationError, match="default"):
        BridgeSettings(env="prod", database_url=SecretStr("postgresql://b:password@db/nautilus"))


def test_a_developers_machine_may_have_all_that():
    AuthSettings(**(DEPLOYED | {"env": "dev", "token_key_id": "dev-1", "anonymous_scopes": ("bars:read",)}))


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example.com", "app.example.com", "https://app.example.com/", "null", "https://A.example"]
)
def test_origins_are_explicit(origin):
    with pytest.raises(ValidationError, match="must be an origin"):
        ApiSettings(**(DEPLOYED | {"cors_origins": (origin,)}))


def test_proxies_are_addresses_or_networks():
    assert ApiSettings(**(DEPLOYED | {"trusted_proxies": "10.0.0.0/8, ::1"})).trusted_proxies == ("10.0.0.0/8", "::1")
    with pytest.raises(ValidationError, match="trusted_proxies"):
        ApiSettings(**(DEPLOYED | {"trusted_proxies": ("proxy.example.com",)}))


@pytest.mark.parametrize("text", ["", "[]", '{"k": 1}', '{"": "x"}', "k1"])
def test_public_keys_are_names_and_pems(text):
    with pytest.raises(ValidationError, match="JSON object"):
        ApiSettings(**(DEPLOYED | {"token_public_keys": text}))


def test_a_key_of_another_kind_stops_the_process():
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(ValueError, match="'k1' is not an Ed25519 key"):
        KeySet({"k1": public_pem(pem)}, issuer="i", audience="a")
    with pytest.raises(ValueError, match="'k1' is not an Ed25519 key"):
        Signer("k1", pem, issuer="i", audience="a")
    with pytest.raises(ValueError, match="'k1' is not a PEM"):
        KeySet({"k1": "rubbish"}, issuer="i", audience="a")
