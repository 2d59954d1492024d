"""The stream as an application: its routes for whoever mounts them, and with its own health page as a process."""

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.routing import WebSocketRoute

from nautilus.http.app import create_app
from nautilus.http.services import Services
from nautilus.settings.stream import StreamLimits, StreamSettings
from stream import events, realtime, v1
from stream.service import Stream

router = APIRouter()
"""The routes of sockets and event streams, for the local API and the container API too."""
router.routes += [
    WebSocketRoute(v1.PATH.path, v1.Endpoint()),
    WebSocketRoute(realtime.PATH.path, realtime.Endpoint()),
    *events.router.routes,
]
_own = APIRouter()


@_own.get("/health")
async def health(connection: HTTPConnection) -> JSONResponse:
    """Whether the bus is read, its epoch, how late messages are (ms), and how many sockets there are."""
    stream: Stream = connection.app.state.stream
    found = stream.health()
    return JSONResponse(found, 200 if found["ok"] else 503)


def add_stream(app: FastAPI, limits: StreamLimits) -> Stream:
    """Give an app that has the routes what serves them."""
    app.state.stream = Stream(app.state.services, limits)
    made: Stream = app.state.stream
    return made


def create(settings: StreamSettings) -> FastAPI:
    """The application of the process."""
    app = create_app(router, _own, services=Services(settings, "stream"))
    add_stream(app, settings)
    return app
