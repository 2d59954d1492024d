"""Which API, and who calls: arguments, then the environment, then a profile of this user.

Profiles stand in `config.toml` of the folder `nautilus` in the user's configuration (XDG_CONFIG_HOME, else ~/.config), keys in
`credentials.toml` beside it, which nobody else may read. NAUTILUS_CONFIG_DIR names another folder.
"""

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nautilus_client.errors import ConfigError

CONFIG, SECRETS = "config.toml", "credentials.toml"
DEFAULT = "local"
"""The profile that `make up` writes; used where no other one is named."""
SETTINGS: Mapping[str, type] = {
    "url": str,
    "keyring": bool,
    "cache": bool,
    "allow_http": bool,
    "timeout": float,
    "tries": int,
}
"""What a profile may hold, beside its key."""
PLACEHOLDERS = ("YOUR_API_KEY", "nautilus_...", "<key>")


class Settings(NamedTuple):
    """Where to and as whom. profile: empty where none was used. key: empty where there is none."""

    url: str
    key: str
    profile: str = ""
    cache: bool = False
    allow_http: bool = False
    timeout: float | None = None
    tries: int | None = None

    def __repr__(self) -> str:
        return f"Settings(url={self.url!r}, key={shortened(self.key)!r}, profile={self.profile!r})"


def shortened(key: str) -> str:
    """A key as it may be shown: without its secret."""
    return "_".join(key.split("_")[:2]) if key.startswith("nautilus_") else "***" if key else ""


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where profiles lie."""
    named = environment.get("NAUTILUS_CONFIG_DIR")
    if named:
        return Path(named).expanduser()
    return Path(environment.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "nautilus"


def settings(
    *,
    url: str | None = None,
    key: str | None = None,
    profile: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """What holds. An argument wins over NAUTILUS_URL and NAUTILUS_API_KEY, these over the profile.

    The profile is the argument, NAUTILUS_PROFILE, or `local`. ConfigError when no address is known.
    """
    named = profile or environment.get("NAUTILUS_PROFILE")
    url = url or environment.get("NAUTILUS_URL")
    key = key or environment.get("NAUTILUS_API_KEY")
    where = folder(environment)
    known = profiles(where)
    if named is not None and named not in known:
        there = f"there is {', '.join(known)}" if known else "there is none yet"
        raise ConfigError(f"there is no profile {named!r} in {where / CONFIG}: {there}; `nautilus login` makes one")
    name = named or (DEFAULT if DEFAULT in known and url is None else "")
    chosen = known.get(name, {})
    if not (url or chosen.get("url")):
        raise ConfigError("no API is named: set NAUTILUS_URL, run `nautilus login`, or start one with `make up`")
    key = key or (_key(where, name, chosen) if name else "")
    if key in PLACEHOLDERS:
        raise ConfigError(f"{key!r} stands for a key of yours; `nautilus login` makes one")
    more = {one: chosen[one] for one in ("cache", "allow_http", "timeout", "tries") if one in chosen}
    return Settings(url or str(chosen["url"]), key or "", name, **more)


def profiles(where: Path) -> dict[str, dict[str, Any]]:
    """Name -> what `config.toml` has. ConfigError when it cannot be read."""
    found = _read(where / CONFIG)
    for name, one in found.items():
        if not isinstance(one, dict):
            raise ConfigError(f"{where / CONFIG}: {name} is no profile: write [{name}]")
        for setting, value in one.items():
            _checked(name, setting, value)
    return found


def _checked(name: str, setting: str, value: Any) -> None:
    kind = SETTINGS.get(setting)
    if kind is None:
        raise ConfigError(f"profile {name}: there is no setting {setting!r}; there is {', '.join(SETTINGS)}")
    if not isinstance(value, (int, float) if kind is float else kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"profile {name}: {setting} must be {kind.__name__}, not {value!r}")


def _key(where: Path, name: str, chosen: Mapping[str, Any]) -> str:
    if chosen.get("keyring"):
        return _from_keyring(name)
    path = where / SECRETS
    if not path.exists():
        return ""
    check_mode(path)
    found = _read(path).get(name)
    return str(found.get("api_key", "")) if isinstance(found, dict) else ""


def check_mode(path: Path) -> None:
    """ConfigError when others may read or write the file."""
    if os.name == "nt":  # where these bits say nothing
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(f"{path} may be read or written by others (mode {mode:04o}): chmod 600 {path}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as wrong:
        raise ConfigError(f"{path} cannot be read: {wrong}") from None


# ---- writing ---------------------------------------------------------------------------------------------------------


def save(where: Path, name: str, values: Mapping[str, Any], *, key: str | None = None) -> None:
    """Write a profile, and its key where one is given: into the keyring where the profile says so, else into the file."""
    known = profiles(where)
    merged = {**known.get(name, {}), **values}
    for setting, value in merged.items():
        _checked(name, setting, value)
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(where / CONFIG, _toml({**known, name: merged}), 0o644)
    if key is None:
        return
    if merged.get("keyring"):
        _keyring().set_password("nautilus-client", name, key)
        return
    path = where / SECRETS
    if path.exists():
        check_mode(path)
    write_whole(path, _toml({**_read(path), name: {"api_key": key}}), 0o600)


def forget_key(where: Path, name: str) -> None:
    """Remove a profile's key from this machine."""
    if profiles(where).get(name, {}).get("keyring"):
        _keyring().delete_password("nautilus-client", name)
        return
    path = where / SECRETS
    if path.exists():
        check_mode(path)
        write_whole(path, _toml({one: row for one, row in _read(path).items() if one != name}), 0o600)


def write_whole(path: Path, text: str, mode: int) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as output:
        output.write(text)
    new.replace(path)


def _toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of texts, numbers and truth values; JSON writes each of these as TOML does."""
    lines = []
    for name, table in tables.items():
        lines += [f"[{json.dumps(name)}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def _from_keyring(name: str) -> str:
    return str(_keyring().get_password("nautilus-client", name) or "")


def _keyring() -> Any:
    try:
        import keyring
    except ImportError:
        raise ConfigError("this profile keeps its key in the keyring: pip install 'nautilus-client[keyring]'") from None
    return keyring
