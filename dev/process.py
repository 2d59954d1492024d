"""Child processes that start when they are ready, end in order, and never outlive whoever started them.

    with Group() as group:
        child = group.start("redis", [...], log=folder / "redis.log", ready=lambda c: c.logged("Ready to accept"))
        ... more of them, starting at the same time ...
        group.wait_ready()

Each child gets a session of its own: Ctrl-C in the terminal reaches the owner alone, which then ends its children in
the reverse order of their start. When the owner dies without a word (kill -9), the guard (dev/guard.py) ends them.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Self

LOG_TAIL_LINES = 25


class StartError(Exception):
    """A process did not start; the text says which, why, and shows the end of its log."""


class Child:
    """One running process, its standard output and error in `log`.

    `ready` is called again and again until it says that the process has started. `stop_signal` asks it to end. `identity` is the
    user and group id it runs under, None: ours. The log of the run before is kept beside it, as `<log>.1`.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        ready: Callable[["Child"], bool],
        env: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        identity: tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._ready = ready
        self.stop_signal = stop_signal
        if log.exists():
            log.replace(log.with_name(log.name + ".1"))
        self._begun = time.monotonic()
        user, group = identity or (None, None)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                list(argv),
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if identity is None else [],
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._begun

    def exit_code(self) -> int | None:
        """None while it runs; negative: ended by that signal."""
        return self._process.poll()

    def wait_ready(self, *, within_s: float = 30.0) -> None:
        """Return as soon as it is ready; StartError when it ends first or time runs out."""
        deadline = time.monotonic() + within_s
        while not self._ready(self):
            code = self.exit_code()
            if code is not None:
                raise StartError(f"{self.name} {ended(code)} while it started; the end of {self.log}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self.name} was not ready within {within_s:g} s; the end of {self.log}:\n{self.tail()}"
                )
            time.sleep(0.01)

    def logged(self, text: str) -> bool:
        """Whether its log holds that text: surer than connecting, which may reach another server on the same port."""
        return text in self.log.read_text(errors="replace")

    def tail(self) -> str:
        """The last lines of what it wrote, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"

    def stop(self, *, grace_s: float = 8.0) -> int:
        """Ask it to end, then insist. Returns the exit code; negative: ended by that signal."""
        if self.exit_code() is None:
            self._process.send_signal(self.stop_signal)
            try:
                return self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.wait()

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, to its process group."""
        if self.exit_code() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()


class Group:
    """Processes that end together, at the latest with their owner. A context manager.

    `held` are file descriptors, such as a lock's, that stay open until all have ended, even when the owner dies first.
    """

    def __init__(self, held: Sequence[int] = ()) -> None:
        self._children: list[Child] = []
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))],
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=held,
            cwd="/",
        )

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        ready: Callable[[Child], bool],
        env: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        identity: tuple[int, int] | None = None,
    ) -> Child:
        """Start a process and return at once; `wait_ready` waits for it. The arguments are those of Child."""
        with held_back_signals():
            child = Child(name, argv, log=log, ready=ready, env=env, stop_signal=stop_signal, identity=identity)
            self._tell_guard(f"+{child.pid} {int(stop_signal)}")
            self._children.append(child)
        return child

    def wait_ready(self) -> None:
        """Return when all of them are ready; StartError when one is not."""
        for child in self._children:
            child.wait_ready()

    def stop_child(self, child: Child) -> int:
        """End one of them now; returns its exit code."""
        code = child.stop()
        self._forget(child)
        return code

    def kill_child(self, child: Child) -> None:
        """kill -9 one of them, as a crash would."""
        child.kill()
        self._forget(child)

    def ended(self) -> list[Child]:
        """Those that have ended although nobody stopped them; each is named once."""
        gone = [child for child in self._children if child.exit_code() is not None]
        for child in gone:
            self._forget(child)
        return gone

    def stop(self) -> None:
        """End all, the last started first. Calling it again does nothing."""
        while self._children:
            self.stop_child(self._children[-1])
        guard_input = self._guard.stdin
        if guard_input is not None and not guard_input.closed:
            guard_input.close()
            self._guard.wait()

    def _forget(self, child: Child) -> None:
        self._children.remove(child)
        self._tell_guard(f"-{child.pid}")

    def _tell_guard(self, line: str) -> None:
        guard_input = self._guard.stdin
        assert guard_input is not None  # noqa: S101  (opened with a pipe above)
        with contextlib.suppress(BrokenPipeError):  # somebody killed the guard: we still end our children ourselves
            guard_input.write(line.encode() + b"\n")
            guard_input.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def ended(code: int) -> str:
    """How a process ended, in words: `ended with code 3`, `was ended by SIGKILL`."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def packaged(package: str, *parts: str) -> Path:
    """Path of a file inside an installed package, which is found, not imported: the packages of servers look at
    running servers and folders, and warn, when imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise StartError(f"the package {package} is missing: make setup")
    return Path(spec.origin).parent.joinpath(*parts)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on.

    From below the range that outgoing connections use (Linux 32768, macOS 49152), so that no such connection takes it
    between this call and the server's bind.
    """
    for port in secrets.SystemRandom().sample(range(20_000, 32_000), 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StartError("no free port between 20000 and 32000 on 127.0.0.1")


@contextmanager
def held_back_signals() -> Iterator[None]:
    """Hold back what would unwind the main thread until the block has ended: a process that has begun and is in no list
    yet would outlive us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handlers = {one: handler for one, handler in handlers.items() if callable(handler)}
    for one in handlers:
        signal.signal(one, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the main thread as Ctrl-C does, so that every `with Group()` ends its children."""

    def unwind(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, unwind)
    signal.signal(signal.SIGHUP, unwind)
