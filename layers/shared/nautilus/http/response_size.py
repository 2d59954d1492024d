"""How large an answer may be, so that Lambda can carry it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nautilus.http.problems import PROBLEM, problem

ANSWER_BYTES = 6 * 1024 * 1024 - 16 * 1024
"""Most that the body of an answer may measure inside Lambda's answer: 6 MiB with headers (API Gateway: 10 KiB) and some
room. Locally too, so that no answer works here and breaks there."""
TEXT_TYPES = ("text/", "application/json", PROBLEM, "application/x-ndjson", "application/vnd.nautilus.columns+json")


def lambda_bytes(body: bytes, *, text: bool) -> int:
    """How much a body measures inside Lambda's answer: text as a JSON string, anything else (gzip too) as base64."""
    if not text:
        return (len(body) + 2) // 3 * 4
    return 2 * len(body) - len(body.translate(None, b'"\\\n\r\t'))


class ResponseSizeLimit:
    """Turns an answer that Lambda could not carry into a problem that says so. Routes with pages make shorter pages
    before; this is the net below.

    An answer in one piece is measured wherever the process runs. An answer in several pieces is a stream or a download:
    it passes piece by piece, unmeasured. In Lambda there are none, as Mangum holds every answer back until it is whole:
    there they are measured as a whole too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []
        size = 0
        in_lambda = "aws.event" in scope
        streams = False

        async def hold(message: Message) -> None:
            nonlocal start, size, streams
            if message["type"] == "http.response.start":
                start = message
                return
            if not streams and message.get("more_body") and not in_lambda:
                streams = True
                await send(start)
            if streams:
                await send(message)
                return
            part = message.get("body", b"")
            size += len(part)
            if size <= ANSWER_BYTES:
                parts.append(part)
            if message.get("more_body"):
                return
            if size <= ANSWER_BYTES < 2 * size:  # counting takes time, and no coding doubles a body
                size = sum(lambda_bytes(part, text=_is_text(start)) for part in parts)
            if size > ANSWER_BYTES:
                too_large = problem(
                    413,
                    "this answer would be larger than 6 MB; ask for less (limit, fields, a shorter range) or for gzip",
                    code="answer-too-large",
                )
                await too_large(scope, receive, send)
                return
            await send(start)
            await send({"type": "http.response.body", "body": b"".join(parts)})

        await self._app(scope, receive, hold)


def _is_text(start: Message) -> bool:
    """Whether Mangum hands this answer on as text."""
    headers = {bytes(name).lower(): bytes(value) for name, value in start.get("headers", [])}
    kind = headers.get(b"content-type", b"").decode("latin-1")
    return b"content-encoding" not in headers and any(known in kind for known in TEXT_TYPES)
