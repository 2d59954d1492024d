"""Runs a command, and turns what goes wrong into a sentence and an exit code."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nautilus_client import cli, errors
from nautilus_client.cli import output
from nautilus_client.cli.progress import Line
from nautilus_client.cli.tree import COMMANDS

if TYPE_CHECKING:
    from nautilus_client.client import Client
    from nautilus_client.transport import TraceLine

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (errors.Incomplete, cli.INCOMPLETE),
    (errors.NotSignedIn, cli.NOT_ALLOWED),
    (errors.NotAllowed, cli.NOT_ALLOWED),
    (errors.NotFound, cli.NOT_FOUND),
    (errors.RateLimited, cli.LIMITED),
)


class Context:
    """Options, output, and the client, which is made when it is used. resume: what Ctrl-C prints, how to go on."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.json: bool = options.json
        self.out = sys.stdout
        self.err = sys.stderr
        self.line = Line(self.err, quiet=options.quiet or options.json)
        self.resume = ""
        self._client: Client | None = None

    @property
    def client(self) -> "Client":
        if self._client is None:
            from nautilus_client.client import Client
            from nautilus_client.retry import RetryPolicy

            policy = None
            if self.options.timeout is not None or self.options.retries is not None:
                usual = RetryPolicy()
                policy = usual._replace(
                    read_s=self.options.timeout or usual.read_s, tries=self.options.retries or usual.tries
                )
            trace = self._trace if self.options.trace else None
            self._client = Client(self.options.url, profile=self.options.profile, policy=policy, trace=trace)
        return self._client

    def _trace(self, line: "TraceLine") -> None:
        again = f", try {line.tried}" if line.tried > 1 else ""
        self.err.write(f"{line.status} {line.method} {line.path} {line.milliseconds:.0f} ms{again} {line.request_id}\n")

    def notice(self, text: str) -> None:
        """A sentence beside the data."""
        if not self.options.quiet:
            self.line.end()
            self.err.write(text + "\n")

    def emit(self, value: Any, text: str | Callable[[], str]) -> None:
        """The data: JSON where that is wanted, else the text."""
        if self.json:
            output.write_json(value, self.out)
        else:
            self.out.write((text if isinstance(text, str) else text()) + "\n")

    def confirm(self, question: str) -> bool:
        """The answer of a person; True where nobody can be questioned."""
        if getattr(self.options, "yes", False) or not (sys.stdin.isatty() and self.err.isatty()):
            return True
        self.err.write(f"{question} [Y/n] ")
        self.err.flush()
        return sys.stdin.readline().strip().lower() in ("", "y", "yes")

    def ib_is_away(self) -> bool:
        """True when the session with IB is known not to be there."""
        try:
            return self.client.session()["state"] not in ("connected", "degraded")
        except errors.NautilusError:
            return False


def run(options: argparse.Namespace) -> int:
    """The command of these options; returns its exit code."""
    if hasattr(signal, "SIGPIPE"):  # a reader such as `head` that has enough ends us without a word
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    context = Context(options)
    module, _, _ = COMMANDS[options.command]
    try:
        command = getattr(import_module(f"nautilus_client.cli.{module}"), options.command)
        code: int | None = command(context)
        context.out.flush()
        return code or cli.OK
    except KeyboardInterrupt:
        context.line.end()
        context.err.write(f"interrupted{'; ' + context.resume if context.resume else ''}\n")
        return cli.INTERRUPTED
    except (errors.NautilusError, OSError, ValueError, TypeError) as error:
        if options.trace and not isinstance(error, errors.NautilusError):
            raise
        return _failed(context, error)


def _failed(context: Context, error: Exception) -> int:
    context.line.end()
    if context.json:
        with suppress(OSError):
            output.write_json({"error": _described(error)}, context.out)
    context.err.write(f"nautilus: {error}\n")
    for field in getattr(error, "errors", ()):
        words = f"{field.get('field')}: {field.get('message') or field.get('detail') or ''}"
        if words in str(error):  # the sentence above has it all
            continue
        allowed = f"; allowed: {', '.join(map(str, field['allowed']))}" if field.get("allowed") else ""
        context.err.write(f"  {words}{allowed}\n")
    for one in getattr(error, "suggestions", ()):
        context.err.write(f"  perhaps {one.get('instrument_id') or one.get('symbol')}: {one.get('why', '')}\n")
    for one in getattr(error, "checks", ()):
        context.err.write(f"  {one.get('code')}: {one.get('detail', '')}\n")
    return code_of(context, error)


def code_of(context: Context, error: Exception) -> int:
    """The exit code of an error."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return cli.IB_AWAY if code == cli.INCOMPLETE and context.ib_is_away() else code
    if isinstance(error, errors.Unavailable) and context.ib_is_away():
        return cli.IB_AWAY
    return cli.FAILED


def _described(error: Exception) -> Mapping[str, Any]:
    names = ("status", "code", "detail", "request_id", "errors", "retry_after", "upstream")
    found = {name: getattr(error, name) for name in names if getattr(error, name, None)}
    return {"kind": type(error).__name__, "message": str(error), **found}


def colours(context: Context) -> bool:
    return context.out.isatty() and not context.options.no_color and "NO_COLOR" not in os.environ
