"""Signed text, held against PyJWT: what we sign it reads, what it signs in our form we read, and what we take it takes."""

import base64
import json
import string
import time
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st

from nautilus import jws
from nautilus.errors import Unauthorized
from nautilus.tokens import LEEWAY_S, MAX_LIFE_S, TYPE, KeySet

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key()
PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
KEYS = {"k1": PUBLIC}
HEADER = {"alg": "EdDSA", "kid": "k1", "typ": TYPE}
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519's group (RFC 8032, section 5.1): what may be added to half of a signature without changing its meaning."""

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CLAIMS = st.dictionaries(st.text(max_size=6), JSON, max_size=5)


def verify(token):
    """Our claims, or None."""
    try:
        return jws.verify(token, KEYS, kind=TYPE)
    except jws.Invalid:
        return None


def verify_by_pyjwt(token):
    try:
        return jwt.PyJWS().decode(token, PUBLIC, algorithms=["EdDSA"])
    except jwt.PyJWTError:
        return None


def written(head, body):
    """A token of these two texts or values, rightly signed whatever they are."""
    raw = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, body)]
    signed = ".".join(jws.encoded(part) for part in raw)
    return f"{signed}.{jws.encoded(PRIVATE.sign(signed.encode()))}"


TOKEN = jws.sign({"sub": "user:1", "exp": 1_900_000_000}, PRIVATE, kid="k1", kind=TYPE)


@given(CLAIMS)
def test_pyjwt_reads_what_we_sign(claims):
    token = jws.sign(claims, PRIVATE, kid="k1", kind=TYPE)
    assert json.loads(verify_by_pyjwt(token)) == claims
    assert jwt.get_unverified_header(token) == HEADER
    assert verify(token) == claims


@given(CLAIMS)
def test_we_read_what_pyjwt_signs(claims):
    token = jwt.PyJWS().encode(json.dumps(claims).encode(), PRIVATE, algorithm="EdDSA", headers=HEADER)
    assert verify(token) == claims


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["EdDSA", "EdDSA", "none", "HS256", "Ed25519", "eddsa", None, ["EdDSA"]]),
        "kid": st.sampled_from(["k1", "k1", "k2", "", None, 1, ["k1"], {"k1": 1}]),
        "typ": st.sampled_from([TYPE, TYPE, "JWT", "AT+JWT", None, [TYPE]]),
        "crit": st.sampled_from([["b64"], [], None]),
        "b64": st.booleans(),
        "jwk": st.just({"kty": "OKP"}),
        "zip": st.just("DEF"),
    },
)


@given(HEADERS)
@example(HEADER)
def test_one_header_is_good_alone(header):
    token = written(header, {"sub": "user:1"})
    assert (verify(token) is not None) == (header == HEADER)
    if header == HEADER:
        assert verify_by_pyjwt(token) is not None


@given(st.data())
def test_no_letter_of_a_token_may_change(data):
    at = data.draw(st.integers(0, len(TOKEN)))
    how = data.draw(st.sampled_from(["replace", "insert", "remove", "cut"]))
    letter = data.draw(st.sampled_from(string.printable + "=+/ä\x00"))
    changed = {
        "replace": TOKEN[:at] + letter + TOKEN[at + 1 :],
        "insert": TOKEN[:at] + letter + TOKEN[at:],
        "remove": TOKEN[:at] + TOKEN[at + 1 :],
        "cut": TOKEN[:at],
    }[how]
    assert (verify(changed) is not None) == (changed == TOKEN)


def test_the_last_letter_of_each_part_has_one_form():
    """Its low bits say nothing; a decoder that leaves them out takes several texts for the same token."""
    taken = 0
    for number, part in enumerate(TOKEN.split(".")):
        for letter in string.ascii_letters + string.digits + "-_":
            parts = TOKEN.split(".")
            parts[number] = part[:-1] + letter
            same = base64.urlsafe_b64decode(parts[number] + "==") == base64.urlsafe_b64decode(part + "==")
            taken += same
            assert (verify(".".join(parts)) is not None) == (parts[number] == part)
    assert taken > 3, "such texts exist"


def test_a_signature_has_one_form():
    head, body, signature = TOKEN.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    twin = raw[:32] + (int.from_bytes(raw[32:], "little") + ORDER).to_bytes(32, "little")
    assert verify(f"{head}.{body}.{jws.encoded(twin)}") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b"{",
        b"{}{}",
        b"\xff",
        '{"a": 1}'.encode("utf-16"),
        b"[" * 2_000,
        b'{"a":' * 500,
    ],
)
def test_claims_are_an_object(body):
    assert verify(written(HEADER, body)) is None
    assert verify(written(body, {"sub": "user:1"})) is None


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a.b.c", TOKEN + ".", "." + TOKEN, TOKEN.replace(".", "..", 1)]
)
def test_rubbish_is_no_token(token):
    assert verify(token) is None


def test_another_key_of_the_same_name_is_not_the_key():
    token = jws.sign({"sub": "user:1"}, Ed25519PrivateKey.generate(), kid="k1", kind=TYPE)
    assert verify(token) is None


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_a_public_key_is_read_as_cryptography_reads_it():
    for text in (PEM, PEM.strip(), "\n" + PEM + "\n", PEM.replace("\n", "\r\n")):
        assert jws.public_key(text).public_bytes_raw() == PUBLIC.public_bytes_raw()


def test_what_is_no_public_key_is_refused():
    der = base64.b64decode("".join(PEM.splitlines()[1:-1]))
    as_pem = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n".format
    for text in ("", "rubbish", PEM + PEM, PEM.replace("PUBLIC", "PRIVATE"), as_pem("A"), as_pem("===="), as_pem(" ")):
        with pytest.raises(ValueError, match="is not a PEM"):
            jws.public_key(text)
    for raw in (der[:-1], der + b"\0", b"\0" + der, der.replace(b"\x2b\x65\x70", b"\x2b\x65\x71")):
        with pytest.raises(ValueError, match="is not an Ed25519 key"):
            jws.public_key(as_pem(base64.b64encode(raw).decode()))


# ---- claims of access tokens -----------------------------------------------------------------------------------------

SET = KeySet({"k1": PEM}, issuer="nautilus", audience="api")


def taken(claims):
    try:
        SET.verify(written(HEADER, claims))
    except Unauthorized:
        return False
    return True


def taken_by_pyjwt(claims):
    required = ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "scope"]
    try:
        jwt.decode(
            written(HEADER, claims),
            PUBLIC,
            algorithms=["EdDSA"],
            issuer="nautilus",
            audience="api",
            leeway=LEEWAY_S,
            options={"require": required, "strict_aud": True},
        )
    except jwt.PyJWTError:
        return False
    return True


def good(now_s):
    texts = {
        "iss": "nautilus",
        "aud": "api",
        "sub": "user:1",
        "jti": "x",
        "sid": str(UUID(int=1)),
        "scope": "bars:read",
    }
    return texts | {"iat": now_s, "nbf": now_s, "exp": now_s + 60}


TEXTS: tuple[Any, ...] = (None, "", "other", "nautilus", "api", ["api"], ["nautilus", "api"], 1, True, [], {})
# Seconds from now, away from the leeway's edge by more than the test takes.
TIMES: tuple[Any, ...] = (None, "", "x", [], {}, -(10**9), -60, -2, 0, 2, 60, 10**9, 10**30)
OTHER_VALUES = {
    **dict.fromkeys(("iss", "aud", "jti"), TEXTS),
    "nbf": TIMES,
    # Without what the test of the longest life is about.
    "iat": tuple(value for value in TIMES if value != -(10**9)),
    "exp": tuple(value for value in TIMES if value not in (10**9, 10**30)),
}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_of_claims_pyjwt_thinks_the_same(name):
    now_s = int(time.time())
    assert taken(good(now_s))
    assert taken_by_pyjwt(good(now_s))
    verdicts = set()
    for value in OTHER_VALUES[name]:
        moved = now_s + value if type(value) is int and name in ("iat", "nbf", "exp") else value
        claims = good(now_s) | {name: moved}
        assert taken(claims) == taken_by_pyjwt(claims), f"{name}={value!r}"
        verdicts.add(taken(claims))
        del claims[name]
        assert (taken(claims), taken_by_pyjwt(claims)) == (False, False)
    assert False in verdicts


def test_no_token_is_good_for_longer_than_what_denies_it_is_kept():
    """PyJWT takes these; nobody would know any more that the session has ended."""
    now_s = int(time.time())
    for issued, expires, verdict in (
        (now_s, now_s + MAX_LIFE_S, True),
        (now_s - 60, now_s + MAX_LIFE_S - 60, True),
        (now_s, now_s + MAX_LIFE_S + 1, False),
        (now_s - MAX_LIFE_S, now_s + 1, False),
        (now_s - 10**9, now_s + 60, False),
        (now_s, 10**30, False),
        (-(10**30), now_s + 60, False),
    ):
        claims = good(now_s) | {"iat": issued, "exp": expires}
        assert taken_by_pyjwt(claims)
        assert taken(claims) == verdict, (issued, expires)


@pytest.mark.parametrize("name", ["iat", "nbf", "exp"])
@pytest.mark.parametrize("kind", [float, str])
def test_a_time_is_a_whole_number(name, kind):
    """PyJWT takes these; we never write them."""
    now_s = int(time.time())
    claims = good(now_s)
    claims[name] = kind(claims[name])
    assert taken_by_pyjwt(claims)
    assert not taken(claims)


@pytest.mark.parametrize(
    "change", [{"sid": ""}, {"sid": 1}, {"scope": ["admin"]}, {"scope": None}, {"key": "1"}, {"key": True}]
)
def test_what_only_our_tokens_hold_is_checked_too(change):
    assert not taken(good(int(time.time())) | change)
