"""An answer in several pieces reaches its reader piece by piece, through all middlewares and a real server."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import uvicorn
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from nautilus.http.app import create_app
from nautilus.http.response_size import ANSWER_BYTES
from tests.support.auth_api import api_of


@pytest.fixture
def address(dsn: str) -> Iterator[str]:
    """A server with a stream whose second piece is sent once `/go` was asked for, and one larger than Lambda's answers."""
    router, go = APIRouter(), asyncio.Event()

    @router.get("/pieces")
    async def pieces() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            await go.wait()
            yield b"data: second\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    @router.get("/go")
    async def release() -> str:
        go.set()
        return "gone"

    @router.get("/large")
    async def large() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(8):
                yield b"x" * (ANSWER_BYTES // 4)

        return StreamingResponse(parts())

    with api_of(dsn) as api:
        app = create_app(router, services=api.services)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
        listener = server.config.bind_socket()
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            listener.close()


def test_a_piece_arrives_while_the_next_one_does_not_exist_yet(address: str) -> None:
    with (
        httpx.Client(base_url=address, timeout=30, trust_env=False) as client,
        client.stream("GET", "/pieces") as answer,
    ):
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        lines = answer.iter_lines()
        assert next(lines) == "data: first"
        assert httpx.get(f"{address}/go", timeout=30, trust_env=False).json() == "gone"
        assert "data: second" in list(lines)


def test_a_stream_may_be_larger_than_an_answer_of_lambda(address: str) -> None:
    answer = httpx.get(f"{address}/large", timeout=30, trust_env=False)
    assert (answer.status_code, len(answer.content)) == (200, 2 * (ANSWER_BYTES // 4 * 4))
