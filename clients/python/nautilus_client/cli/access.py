"""Commands of keys and profiles."""

import datetime as dt
import getpass
import os
import socket
import sys
from importlib import resources
from typing import Any

from nautilus_client import cli, profiles, routes
from nautilus_client.cli.context import Context
from nautilus_client.cli.output import fields, table
from nautilus_client.credentials import Key, Tokens
from nautilus_client.errors import ConfigError, NautilusError, NotSignedIn
from nautilus_client.retry import RetryPolicy
from nautilus_client.transport import Transport


def _profile(context: Context) -> str:
    return context.options.profile or profiles.DEFAULT


def login(context: Context) -> int:
    """Sign in by name and password, make an API key, keep the key alone."""
    options = context.options
    where, name = profiles.folder(), _profile(context)
    known = profiles.profiles(where).get(name, {})
    url = options.url or known.get("url")
    if not url:
        raise ConfigError("which API? give --url http://127.0.0.1:8001")
    user = options.name or _question(context, "name: ")
    password = sys.stdin.readline().rstrip("\n") if options.password_stdin else getpass.getpass("password: ")
    made = make_key(
        url,
        user,
        password,
        label=f"nautilus on {socket.gethostname()}"[:100],
        days=options.days,
        scopes=options.scope,
        allow_http=options.allow_http,
    )
    values = (
        {"url": url}
        | ({"keyring": True} if options.keyring else {})
        | ({"allow_http": True} if options.allow_http else {})
    )
    profiles.save(where, name, values, key=made["api_key"])
    shown = {key: value for key, value in made.items() if key not in ("api_key", "message")}
    context.emit(
        {"profile": name, "url": url, **shown},
        f"profile {name}: {profiles.shortened(made['api_key'])} until {made.get('expires_at') or 'it is revoked'}",
    )
    return cli.OK


def _question(context: Context, words: str) -> str:
    context.err.write(words)
    context.err.flush()
    return sys.stdin.readline().strip()


def make_key(
    url: str,
    user: str,
    password: str,
    *,
    label: str,
    days: int | None = None,
    scopes: list[str] | None = None,
    allow_http: bool = False,
) -> dict[str, Any]:
    """A new API key of a user; the session that makes it is ended. The answer of the route, `api_key` among its fields."""
    door = Transport(url, Key(""), allow_http=allow_http)
    tokens = door.result(routes.request("login", body={"username": user, "password": password})).record()
    signed_in = Tokens(
        tokens, lambda token: door.result(routes.request("refresh", body={"refresh_token": token})).record()
    )
    transport = Transport(url, signed_in, allow_http=allow_http)
    body: dict[str, Any] = {"name": label} | ({"scopes": scopes} if scopes else {})
    if days is not None:
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        body["expires_at"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        return transport.result(routes.request("make-key", body=body)).record()
    finally:
        transport.send(routes.request("logout", body={"refresh_token": signed_in.refresh_token}))
        transport.close()
        door.close()


def logout(context: Context) -> int:
    """Revoke the profile's key, and forget it in any case. FAILED where it may still be valid."""
    where, name = profiles.folder(), _profile(context)
    # The key of the profile is the one that ends, whatever the environment names.
    elsewhere = {name: value for name, value in os.environ.items() if name not in ("NAUTILUS_URL", "NAUTILUS_API_KEY")}
    chosen = profiles.settings(profile=name, environment=elsewhere)
    if not chosen.key:
        context.emit({"profile": name, "revoked": False}, f"profile {name} has no key")
        return cli.OK
    why = ""
    try:
        revoked = _revoke(chosen)
    except NotSignedIn:  # revoked or expired before
        revoked = True
    except NautilusError as error:
        revoked, why = False, str(error)
    finally:
        profiles.forget_key(where, name)
    words = "revoked and forgotten" if revoked else f"forgotten here, and may still be valid: {why}"
    context.emit({"profile": name, "revoked": revoked}, f"the key of profile {name} is {words}")
    return cli.OK if revoked else cli.FAILED


def _revoke(chosen: profiles.Settings) -> bool:
    """End the key that these settings name, by itself."""
    policy = RetryPolicy(tries=chosen.tries or 3)
    transport = Transport(chosen.url, Key(chosen.key), policy=policy, allow_http=chosen.allow_http)
    try:
        number = transport.result(routes.request("me")).record()["api_key_id"]
        transport.result(routes.request("revoke-key", key_id=number))
    finally:
        transport.close()
    return True


def whoami(context: Context) -> int:
    found = dict(context.client.me())
    context.emit(found, lambda: fields(found))
    return cli.OK


def config(context: Context) -> int:
    options, where = context.options, profiles.folder()
    known = profiles.profiles(where)
    if options.action == "list":
        rows = [[name, *(one.get(setting) for setting in profiles.SETTINGS)] for name, one in known.items()]
        context.emit({"folder": str(where), "profiles": known}, lambda: table(rows, ["profile", *profiles.SETTINGS]))
        return cli.OK
    name = _profile(context)
    if options.setting not in profiles.SETTINGS:
        raise ConfigError(f"there is no setting {options.setting!r}; there is {', '.join(profiles.SETTINGS)}")
    if options.action == "set":
        if options.value is None:
            raise ConfigError(f"give a value for {options.setting}")
        profiles.save(where, name, {options.setting: _value(options.setting, options.value)})
        known = profiles.profiles(where)
    value = known.get(name, {}).get(options.setting)
    context.emit({options.setting: value}, "" if value is None else str(value))
    return cli.OK


def _value(setting: str, text: str) -> Any:
    kind = profiles.SETTINGS[setting]
    if kind is bool:
        if text not in ("true", "false"):
            raise ConfigError(f"{setting} is true or false, not {text!r}")
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{setting} must be {kind.__name__}, not {text!r}") from None


def completion(context: Context) -> int:
    file = resources.files("nautilus_client") / "texts" / f"nautilus.{context.options.shell}"
    found = file.read_text(encoding="utf-8")
    context.emit({"shell": context.options.shell, "script": found}, found.rstrip("\n"))
    return cli.OK
