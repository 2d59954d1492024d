"""What keeps a strategy's mistakes within its process: no new rights, no other files, no network.

Authors are trusted with the account's money, so this is against mistakes and surprises of a library. What a kernel does not
offer is left out, and the names of what holds are published: nobody assumes what is not there.
"""

import ctypes
import importlib.util
import os
import resource
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from nautilus.strategies import pipe

_SET_NO_NEW_PRIVS, _SET_DUMPABLE = 38, 4
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_READ = 1 << 2 | 1 << 3  # read a file, list a folder
_EXECUTE = 1 << 0
_ALL_OF_FIRST = (1 << 13) - 1  # every right that the first version of Landlock knows
_MORE = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # refer, truncate, ioctl: by version
_TCP = 1 << 0 | 1 << 1  # bind, connect: from version 4 on
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15


def close(readable: Iterable[Path], scratch: Path | None) -> list[str]:
    """Fence this process in, for good and for its children. Returns what holds: `privileges`, `files`, `network`, by
    these names. Called while the process has one thread: else there is no namespace for it."""
    system = ctypes.CDLL(None, use_errno=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    holds: list[str] = []
    system.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    if system.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        holds.append("privileges")
    network = _without_network(system)
    files, tcp = _landlock(system, [*_own_folders(), *readable], scratch)
    if files:
        holds.append("files")
    if network or tcp:
        holds.append("network")
    return holds


def _without_network(system: ctypes.CDLL) -> bool:
    """A network namespace of our own has no way out. It needs a user namespace, which not every machine allows."""
    return bool(system.unshare(_NEW_USER | _NEW_NETWORK) == 0)


def _own_folders() -> list[Path]:
    """What Python, the libraries and this program are read from. Not all of `sys.path`: beside the program lie data."""
    packages = [importlib.util.find_spec(name) for name in ("nautilus_trader", "pydantic")]
    libraries = [str(Path(str(one.origin)).parents[1]) for one in packages if one is not None]
    ours = [str(Path(one).parent) for one in (__file__, pipe.__file__)]
    python = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()]
    system = ["/usr", "/lib", "/lib64", "/etc/localtime", "/etc/ld.so.cache", "/dev/urandom", "/proc/self"]
    found = {Path(one).resolve() for one in (*python, *libraries, *ours, *system)}
    return sorted(one for one in found if one.exists())


def _landlock(system: ctypes.CDLL, readable: list[Path], scratch: Path | None) -> tuple[bool, bool]:
    """(files are fenced, TCP is fenced)."""
    version = system.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False, False
    rights = _ALL_OF_FIRST | sum(bit for since, bit in _MORE.items() if version >= since)
    tcp = _TCP if version >= 4 else 0
    attributes = struct.pack("=QQ", rights, tcp)[: 16 if version >= 4 else 8]
    rules = system.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return False, False
    for one in readable:
        _allow(system, rules, one, (_READ | _EXECUTE) & rights)
    if scratch is not None:
        _allow(system, rules, scratch, rights & ~_EXECUTE)
    _allow(system, rules, Path(os.devnull), (1 << 1 | 1 << 2) & rights)
    done = system.syscall(_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return done, done and bool(tcp)


def _allow(system: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not path.is_dir():
        rights &= _FILE_RIGHTS
    rule = struct.pack("=Qi", rights, opened)
    system.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0)
    os.close(opened)
