"""Access tokens: which texts are taken for one, in one form alone, and which claims."""

import base64
import json
import string
import time
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st

from nautilus.auth.scopes import MAX_ACCOUNTS, SCOPES
from nautilus.auth.tokens.sign import Signer
from nautilus.auth.tokens.verify import MAX_LIFE_S, TYPE, KeySet
from nautilus.errors import Unauthorized

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key()
PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
HEADER = {"alg": "EdDSA", "kid": "k1", "typ": TYPE}
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519's group (RFC 8032, section 5.1): what may be added to half of a signature without changing its meaning."""
SET = KeySet({"k1": PEM}, issuer="nautilus", audience="api")


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def written(head: Any, body: Any) -> str:
    """A token of these two texts or values, rightly signed whatever they are."""
    raw = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, body)]
    signed = ".".join(encoded(part) for part in raw)
    return f"{signed}.{encoded(PRIVATE.sign(signed.encode()))}"


def good(now_s: int) -> dict[str, Any]:
    texts = {
        "iss": "nautilus",
        "aud": "api",
        "sub": "user:1",
        "jti": "x",
        "sid": str(UUID(int=1)),
        "scope": "bars:read",
    }
    return texts | {"iat": now_s, "nbf": now_s, "exp": now_s + MAX_LIFE_S - 600}


CLAIMS = good(int(time.time()))


def verify(token: str) -> bool:
    """Whether it is taken; any other error than a refusal fails the test."""
    try:
        SET.verify(token)
    except Unauthorized:
        return False
    return True


def taken(claims: Any) -> bool:
    return verify(written(HEADER, claims))


TOKEN = written(HEADER, CLAIMS)


@pytest.fixture(scope="module", autouse=True)
def renewed() -> None:
    """The tests of all may take longer than a token lasts that was written when they were collected."""
    global CLAIMS, TOKEN
    CLAIMS = good(int(time.time()))
    TOKEN = written(HEADER, CLAIMS)


def test_what_the_signer_writes_is_taken_and_has_that_header() -> None:
    pem = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    signer = Signer("k1", pem, issuer="nautilus", audience="api")
    now_s = int(time.time())
    made = signer.sign(
        user_id=7,
        name="ann",
        scopes=["bars:read"],
        session=str(UUID(int=2)),
        key_id=3,
        accounts=["U2", "DU1"],
        now_s=now_s,
        expires_s=now_s + 9,
    )
    caller = SET.verify(made.token)
    assert (caller.id, caller.name, caller.key_id, made.expires_in_s) == ("user:7", "ann", 3, 9)
    assert caller.accounts == {"DU1", "U2"}
    assert jwt.get_unverified_header(made.token) == HEADER


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


def test_a_token_of_before_there_were_accounts_has_none() -> None:
    assert SET.verify(TOKEN).accounts == frozenset()


def test_a_token_of_as_many_accounts_as_there_may_be_is_taken() -> None:
    names = [f"{n:032d}" for n in range(MAX_ACCOUNTS)]
    token = written(HEADER, CLAIMS | {"accounts": " ".join(names), "scope": " ".join(SCOPES), "name": "x" * 254})
    assert SET.verify(token).accounts == set(names)


@given(HEADERS)
@example(HEADER)
def test_one_header_is_good_alone(header):
    assert verify(written(header, CLAIMS)) == (header == HEADER)


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
    assert verify(changed) == (changed == TOKEN)


def test_the_last_letter_of_each_part_has_one_form():
    """Its low bits say nothing; a decoder that leaves them out takes several texts for the same token."""
    taken = 0
    for number, part in enumerate(TOKEN.split(".")):
        for letter in string.ascii_letters + string.digits + "-_":
            parts = TOKEN.split(".")
            parts[number] = part[:-1] + letter
            same = base64.urlsafe_b64decode(parts[number] + "==") == base64.urlsafe_b64decode(part + "==")
            taken += same
            assert verify(".".join(parts)) == (parts[number] == part)
    assert taken > 3, "such texts exist"


def test_a_signature_has_one_form():
    head, body, signature = TOKEN.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    duplicate = raw[:32] + (int.from_bytes(raw[32:], "little") + ORDER).to_bytes(32, "little")
    assert not verify(f"{head}.{body}.{encoded(duplicate)}")


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
    assert not verify(written(HEADER, body))
    assert not verify(written(body, CLAIMS))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a.b.c", TOKEN + ".", "." + TOKEN, TOKEN.replace(".", "..", 1)]
)
def test_rubbish_is_no_token(token):
    assert not verify(token)


def test_another_key_of_the_same_name_is_not_the_key():
    token = jwt.encode(CLAIMS, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=HEADER)
    assert not verify(token)
    assert verify(jwt.encode(CLAIMS, PRIVATE, algorithm="EdDSA", headers=HEADER))


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_a_public_key_is_read_whatever_ends_its_lines() -> None:
    for text in (PEM, PEM.strip(), "\n" + PEM + "\n", PEM.replace("\n", "\r\n")):
        assert KeySet({"k1": text}, issuer="nautilus", audience="api").verify(TOKEN).id == "user:1"


def test_what_is_no_public_key_is_refused() -> None:
    der = base64.b64decode("".join(PEM.splitlines()[1:-1]))
    as_pem = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n".format
    others = [
        base64.b64encode(raw).decode() for raw in (der[:-1], b"\0" + der, der.replace(b"\x2b\x65\x70", b"\x2b\x65\x71"))
    ]
    for text in ("", "rubbish", PEM.replace("PUBLIC", "PRIVATE"), *map(as_pem, ("A", "====", " ", *others))):
        with pytest.raises(ValueError, match="the public key 'k1' is n"):
            KeySet({"k1": text}, issuer="nautilus", audience="api")
    rsa = generate_private_key(65537, 2048).public_key()
    with pytest.raises(ValueError, match="is not an Ed25519 key"):
        KeySet(
            {"k1": rsa.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()}, issuer="a", audience="b"
        )


# ---- claims of access tokens -----------------------------------------------------------------------------------------

# Seconds from now, away from the leeway's edge by more than the test takes; whether such a token is taken.
VERDICTS: dict[str, dict[Any, bool]] = {
    "iss": {"nautilus": True, "other": False, "": False},
    "aud": {"api": True, "nautilus": False, "": False},
    "jti": {"other": True, "": True},
    "nbf": {-(10**9): True, -60: True, 0: True, 60: False, 10**9: False, 10**30: False},
    "iat": {-60: True, 0: True, 60: False, 10**9: False},
    "exp": {-(10**9): False, -60: False, 0: True, 2: True, 600: True},
}
ODD: tuple[Any, ...] = (
    None,
    1.5,
    True,
    [],
    {},
    ["api"],
    ["nautilus", "api"],
    float("nan"),
    float("inf"),
    1e300,
)


@pytest.mark.parametrize("name", VERDICTS)
def test_each_claim_is_there_and_says_what_it_must(name: str) -> None:
    now_s = int(time.time())
    for value, verdict in VERDICTS[name].items():
        claims = good(now_s) | {name: now_s + value if name in ("iat", "nbf", "exp") else value}
        assert taken(claims) == verdict, f"{name}={value!r}"
    del claims[name]
    assert not taken(claims)
    for odd in ODD:
        assert not taken(good(now_s) | {name: odd}), f"{name}={odd!r}"


def test_no_token_is_good_for_longer_than_what_denies_it_is_kept():
    """Nobody would know any more that its session has ended."""
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
        assert taken(claims) == verdict, (issued, expires)


@pytest.mark.parametrize("name", ["iat", "nbf", "exp"])
@pytest.mark.parametrize("kind", [float, str])
def test_a_time_is_a_whole_number(name, kind):
    now_s = int(time.time())
    claims = good(now_s)
    claims[name] = kind(claims[name])
    assert not taken(claims)


@pytest.mark.parametrize(
    "change",
    [
        {"sid": ""},
        {"sid": 1},
        {"scope": ["admin"]},
        {"scope": None},
        {"key": "1"},
        {"key": True},
        {"accounts": None},
        {"accounts": ["DU1"]},
    ],
)
def test_what_only_our_tokens_hold_is_checked_too(change):
    assert not taken(good(int(time.time())) | change)
