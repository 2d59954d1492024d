"""What sign-in costs: `python -m benchmarks.auth`. Times of the processor, the best of several, as on an idle machine.

one password check (Argon2id) with today's parameters and with others
one access token checked, one API key looked up beside it
import time that sign-in adds to a function that only checks callers
"""

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dev.credentials import token_settings
from nautilus.auth import api_keys
from nautilus.auth.passwords import LANES, MEMORY_KIB, PASSES, Passwords
from nautilus.auth.tokens.sign import Signer
from nautilus.auth.tokens.verify import KeySet
from nautilus.settings.api import ApiSettings

PARAMETERS = ((2, 19), (2, 32), (3, 32), (1, 46), (2, 46), (1, 64), (3, 64))
"""Passes, MiB. (2, 19) and (1, 46) are the least that OWASP's cheat sheet names, (3, 64) is RFC 9106's second choice."""
LIBRARIES = "fastapi, psycopg2.extras, nautilus.db.connection, nautilus.settings.api, nautilus.log"


def cpu_s(work: Callable[[], object], times: int) -> float:
    """The shortest time of the processor that one call took."""
    spent = []
    for _ in range(times):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return min(spent)


def passwords() -> None:
    print("one password check, Argon2id, one lane:")
    for passes, mib in PARAMETERS:
        made = Passwords(passes=passes, memory_kib=mib * 1024)
        stored = made.hash("a rather long sentence")
        spent_ms = cpu_s(partial(made.fits, "a rather long sentence", stored), 9) * 1e3
        chosen = " <- used" if (passes, mib * 1024) == (PASSES, MEMORY_KIB) else ""
        print(f"  {passes} passes, {mib:3} MiB   {spent_ms:5.0f} ms{chosen}")
    assert LANES == 1


def tokens(folder: Path) -> None:
    settings = {name.removeprefix("NAUTILUS_").lower(): value for name, value in token_settings(folder).items()}
    known = ApiSettings(database_url="postgresql://nobody@localhost/none", **settings)
    keys = KeySet(known.public_keys, issuer=known.token_issuer, audience=known.token_audience)
    signer = Signer(
        settings["token_key_id"],
        settings["token_private_key"],
        issuer=known.token_issuer,
        audience=known.token_audience,
    )
    now_s = int(time.time())

    def sign() -> str:
        return signer.sign(
            user_id=1,
            name="ann",
            scopes=["bars:read"],
            session="9e107d9d-3721-4bd2-a5cb-5f1d9b0c7e11",
            key_id=None,
            now_s=now_s,
            expires_s=now_s + 900,
        ).token

    token, key = sign(), api_keys.new_key()
    per_round = 200
    rounds = (
        ("access token checked", lambda: [keys.verify(token) for _ in range(per_round)]),
        ("access token signed", lambda: [sign() for _ in range(per_round)]),
        ("API key parsed and hashed", lambda: [api_keys.parse(key.text) for _ in range(per_round)]),
    )
    print("of each request:")
    for name, work in rounds:
        print(f"  {name:28}{cpu_s(work, 15) / per_round * 1e6:7.1f} µs")


def imports() -> None:
    """The libraries that every function loads anyway come first; what is timed is what sign-in adds."""
    script = (
        f"import sys, time, {LIBRARIES}; begun = time.process_time(); import nautilus.auth.authenticate;"
        "print((time.process_time() - begun) * 1e3);"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & {'argon2', 'jwt', 'cryptography'}))"
    )
    answers = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(9)
    ]
    spent = [float(answer[0]) for answer in answers]
    print(f"import time that checking callers adds to a function ({answers[0][1]}):")
    print(f"  {min(spent):.0f} ms, median {statistics.median(spent):.0f} ms")


def main(folder: Path) -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}; time of the processor")
    passwords()
    tokens(folder)
    imports()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
