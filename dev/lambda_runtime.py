"""A built function as Lambda runs it: AWS's runtime client in Python 3.13, and in place of the service a Runtime API of ours.

Init time is Lambda's own definition, from the start of the process until it asks for its first event. The limits of the
service are kept: one event at a time, answers of 6 MB at most, and a function that takes too long is killed.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from dev.lambda_build import BUILD, INTERPRETER, LAYER, folder_of
from dev.process import Child, Group

ANSWER_LIMIT_BYTES = 6_291_556  # what the service lets through, measured with its emulator

_START_WITHIN_S = 30.0


class FunctionError(Exception):
    """The function raised: `kind` is the exception's name, the text its message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class TimedOut(Exception):
    """The function took longer than its timeout, and its process was killed."""


@dataclass
class _Event:
    number: str
    body: bytes
    answers: "queue.Queue[tuple[str, bytes]]"
    """How it ended (response, error, init/error, dead), and its text."""


class Function:
    """One execution environment. `start` starts it; a timeout kills it, and the next event starts it again."""

    def __init__(
        self,
        group: Group,
        name: str,
        log: Path,
        settings: Mapping[str, str],
        *,
        folder: Path | None = None,
        layer: Path | None = BUILD / LAYER / "python",
        timeout_s: float = 29.0,
    ) -> None:
        self.name = name
        self.log = log
        self.init_ms = 0.0
        self._group = group
        self._folder = folder or folder_of(name)
        self._layer = layer
        self._settings = dict(settings)
        self._timeout_s = timeout_s
        self._events: queue.Queue[_Event | None] = queue.Queue()
        self._running: _Event | None = None
        self._requests = threading.Event()
        self._requested_at = 0.0
        self._child: Child | None = None
        self._one = threading.Lock()
        self._server = _server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Start the process and wait until it asks for an event. FunctionError when its init fails."""
        self._requests.clear()
        self._init_error = b""
        begun = time.monotonic()
        self._child = self._group.start(
            self.name,
            [str(INTERPRETER), "-P", "-m", "awslambdaric", "app.handler"],
            log=self.log,
            env=self._environment(),
            ready=lambda child: self._requests.is_set(),
        )
        if not self._requests.wait(_START_WITHIN_S):
            raise TimeoutError(f"{self.name} did not ask for an event:\n{self._child.tail()}")
        if self._init_error:
            words = json.loads(self._init_error)
            raise FunctionError(words["errorType"], words["errorMessage"])
        self.init_ms = (self._requested_at - begun) * 1000

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """The function's answer to one event. FunctionError when it raises, TimedOut when it takes too long."""
        with self._one:
            if self._child is None:
                self.start()
            call = _Event(str(uuid4()), json.dumps(event).encode(), queue.Queue())
            self._events.put(call)
            try:
                how, words = call.answers.get(timeout=self._timeout_s)
            except queue.Empty:
                self._end()
                raise TimedOut(f"{self.name}: Task timed out after {self._timeout_s:.2f} seconds") from None
        answer = json.loads(words)
        if how == "response":
            return answer
        raise FunctionError(answer["errorType"], answer["errorMessage"])

    def peak_bytes(self) -> int:
        """The most memory its process has had."""
        assert self._child is not None  # noqa: S101  (only of a started function)
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))

    def cpu_ms(self) -> float:
        """Processor time its process has used, all threads that still run."""
        assert self._child is not None  # noqa: S101  (only of a started function)
        tasks = Path(f"/proc/{self._child.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def stop(self) -> None:
        self._end()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _end(self) -> None:
        if self._child is not None:
            self._group.kill_child(self._child)
            self._child = None
        self._running = None
        # Whoever still waits for an event of the old process goes home.
        gone, self._events = self._events, queue.Queue()
        gone.put(None)

    def _environment(self) -> Mapping[str, str]:
        paths = [str(self._folder), *([str(self._layer)] if self._layer else [])]
        return {
            "PATH": "/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": str(self._folder),
            "PYTHONPATH": ":".join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",  # or it writes into the artefact
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            **self._settings,
        }

    # ---- the Runtime API ---------------------------------------------------------------------------------------------

    def _next(self) -> _Event | None:
        if not self._requests.is_set():
            self._requested_at = time.monotonic()
            self._requests.set()
        self._running = self._events.get()
        return self._running

    def _ended(self, number: str, how: str, words: bytes) -> int:
        """Take an answer; returns the status of ours to the runtime client."""
        if how == "init":
            self._init_error = words
            self._requests.set()
            return 202
        call = self._running
        if call is None or call.number != number:
            return 400
        if how == "response" and len(words) > ANSWER_LIMIT_BYTES:
            text = f"Response payload size ({len(words)} bytes) exceeded maximum allowed ({ANSWER_LIMIT_BYTES} bytes)."
            error = {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": text}
            call.answers.put(("error", json.dumps(error).encode()))
            return 413
        call.answers.put((how, words))
        return 202


class _RuntimeApi(BaseHTTPRequestHandler):
    """The Runtime API as a function's process sees it; one class per function, which it holds."""

    function: Function

    protocol_version = "HTTP/1.1"
    # One segment per answer: two cost each call 40 ms of delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path.endswith("/restore/next"):  # SnapStart: the snapshot would be taken and restored here
            self._answer(200, b"{}", {})
            return
        event = self.function._next()
        if event is None:
            self.close_connection = True
            return
        self._answer(
            200,
            event.body,
            {
                "Lambda-Runtime-Aws-Request-Id": event.number,
                "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self.function._timeout_s) * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:us-east-1:123456789012:function:{self.function.name}",
                "Content-Type": "application/json",
            },
        )

    def do_POST(self) -> None:
        words = self._body()
        parts = self.path.strip("/").split("/")  # 2018-06-01 runtime init error | ... invocation <id> response
        how = "init" if parts[2] == "init" else parts[4]
        self._answer(self.function._ended(parts[3], how, words), b"{}", {})

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = []
        while size := int(self.rfile.readline().strip(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a process that was killed says no goodbye
            super().handle_error(request, client_address)


def _server(function: Function) -> ThreadingHTTPServer:
    return _Server(("127.0.0.1", 0), type("_RuntimeApiOfOne", (_RuntimeApi,), {"function": function}))


@contextmanager
def running(function: Function) -> Iterator[Function]:
    """A started function as long as the block lasts."""
    try:
        function.start()
        yield function
    finally:
        function.stop()
