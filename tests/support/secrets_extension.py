"""The HTTP interface of AWS's Parameters-and-Secrets extension, as its documentation describes it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Extension:
    """`secrets`: ARN -> what GetSecretValue answers. `requests`: path, ARN and token of each request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.secrets: dict[str, dict[str, str]] = {}
        self.requests: list[tuple[str, str, str]] = []


@contextmanager
def extension() -> Iterator[Extension]:
    """An extension on a free port of loopback as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            (arn,) = parse_qs(parts.query)["secretId"]
            known.requests.append((parts.path, arn, self.headers["X-Aws-Parameters-Secrets-Token"]))
            found = known.secrets.get(arn)
            body = json.dumps(found).encode() if found else b"AccessDeniedException: not for you"
            self.send_response(200 if found else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known = Extension(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
