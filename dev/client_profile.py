"""The profile `local` of the Python client: which API `make up` runs, and an API key of its user."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from dev.stack import USERNAME, Stack
from nautilus_client import profiles
from nautilus_client.errors import ConfigError

NAME = profiles.DEFAULT


def write_profile(stack: Stack, environment: Mapping[str, str]) -> str:
    """Write the profile of a stack that runs, and return where. A key that is there and still good is kept; another address
    than this machine's in a profile of that name is left alone."""
    where = profiles.folder(environment)
    known = profiles.profiles(where).get(NAME, {})
    address = str(known.get("url") or "http://127.0.0.1")
    if not address.startswith("http://127.0.0.1"):
        raise ConfigError(f"the profile {NAME} in {where} is that of {address}; it stays as it is")
    profiles.save(where, NAME, {"url": stack.url}, key=None if _still_good(stack.url, environment) else _new_key(stack))
    return str(where)


def _still_good(url: str, environment: Mapping[str, str]) -> bool:
    only_files = {name: value for name, value in environment.items() if not name.startswith("NAUTILUS_API_KEY")}
    try:
        key = profiles.settings(profile=NAME, environment=only_files).key
    except ConfigError:
        return False
    return bool(key) and _call(f"{url}/api/v1/auth/me", {"X-API-Key": key}) is not None


def _new_key(stack: Stack) -> str:
    password = stack.password
    signed_in = _call(f"{stack.url}/api/v1/auth/login", {}, {"username": USERNAME, "password": password})
    bearer = {"Authorization": f"Bearer {(signed_in or {})['access_token']}"}
    made = _call(f"{stack.url}/api/v1/auth/api-keys", bearer, {"name": "nautilus-client, by make up"})
    _call(f"{stack.url}/api/v1/auth/logout", bearer, {})
    return str((made or {})["api_key"])


def _call(url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
    """The answer; None when it is an error."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {**headers, "Content-Type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=10) as answer:
            text = answer.read()
    except (urllib.error.URLError, OSError):
        return None
    found: Mapping[str, Any] = json.loads(text) if text else {}
    return found
