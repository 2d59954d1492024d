"""`python -m stream` as a process of its own that a test kills and starts again, and who signs its tokens."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from dev.credentials import token_settings
from dev.environment import environment
from dev.process import Child, Group, free_port
from nautilus.auth.tokens.sign import Signer
from tests.support.stream_server import Client


class StreamProcess:
    """One stream process on one port. module: what `python -m` is given, with its arguments. settings: by the names of their
    environment."""

    def __init__(self, group: Group, folder: Path, dsn: str, *module: str, **settings: str) -> None:
        keys = token_settings(folder)
        self.port = free_port()
        self._signer = Signer(
            keys["NAUTILUS_TOKEN_KEY_ID"],
            keys["NAUTILUS_TOKEN_PRIVATE_KEY"],
            issuer="nautilus",
            audience="nautilus-api",
        )
        self._settings = {
            "NAUTILUS_DATABASE_URL": dsn,
            "NAUTILUS_STREAM_PORT": str(self.port),
            "NAUTILUS_STREAM_BYE_S": "0.5",
            **keys,
            **settings,
        }
        self._group, self._folder, self._module = group, folder, module or ("stream",)
        self._lives = 0
        self.child: Child = self.start()

    def start(self) -> Child:
        """Start it, once more where it was killed, and wait until it serves."""
        self._lives += 1
        name = f"stream-{self.port}-{self._lives}"
        self.child = self._group.start(
            name,
            [sys.executable, "-m", *self._module],
            log=self._folder / f"{name}.log",
            env=environment(self._settings),
            ready=lambda child: self.health() is not None,
        )
        self.child.wait_ready(within_s=60)
        return self.child

    def health(self) -> dict[str, Any] | None:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5, trust_env=False)
        except httpx.HTTPError:
            return None
        return dict(answer.json())

    def headers(self, *scopes: str, user: int = 1, accounts: Sequence[str] = ()) -> dict[str, str]:
        """The header of a user with these scopes and accounts."""
        now_s = int(time.time())
        token = self._signer.sign(
            user_id=user,
            name="ann",
            scopes=scopes,
            session=f"00000000-0000-0000-0000-{user:012d}",
            key_id=None,
            now_s=now_s,
            expires_s=now_s + 300,
            accounts=accounts,
        ).token
        return {"Authorization": f"Bearer {token}"}

    @contextmanager
    def client(self, user: int = 1) -> Iterator[Client]:
        """A socket that may read bars."""
        url, headers = f"ws://127.0.0.1:{self.port}/ws/v1/stream", self.headers("bars:read", user=user)
        with connect(url, additional_headers=headers, proxy=None, compression=None) as opened:
            yield Client(opened)
