"""All functions in one ASGI application on the loopback interface: what API Gateway and Lambda are when deployed."""

import argparse
import signal

from fastapi import FastAPI

import functions.auth.app
import functions.backfill.app
import functions.bars.app
import functions.exports.app
import functions.frontend.app
import functions.live.app
import functions.monitoring.app
import functions.orders.app
import functions.portfolio.app
import functions.strategies.app
import stream.app
from dev.pages import add_pages
from nautilus.http.app import create_app
from nautilus.http.services import Services
from nautilus.settings.auth import AuthSettings
from nautilus.settings.base import load
from nautilus.settings.stream import StreamLimits
from stream import server


def create(settings: AuthSettings, limits: StreamLimits | None = None) -> FastAPI:
    """The application, with the routers of every function and of the stream, and with the page that describes them unless
    deployed, in this order: what most come for is first. limits: of sockets."""
    app = create_app(
        functions.bars.app.router,
        functions.backfill.app.router,
        functions.live.app.router,
        functions.monitoring.app.router,
        functions.orders.app.router,
        functions.portfolio.app.router,
        functions.frontend.app.router,
        functions.exports.app.router,
        functions.strategies.app.router,
        stream.app.router,
        functions.auth.app.router,
        services=Services(settings, "api"),
    )
    stream.app.add_stream(app, limits or StreamLimits())
    if app.openapi_url:
        add_pages(app)
    return app


def main() -> None:
    options = argparse.ArgumentParser("python -m dev.local_api", description=__doc__)
    options.add_argument("--port", type=int, default=8001, help="port to listen on (default: %(default)s)")
    port: int = options.parse_args().port
    serve(load(AuthSettings), port)


def serve(settings: AuthSettings, port: int) -> None:
    """Serve it on `settings.api_host` until a signal comes."""
    app = create(settings, load(StreamLimits))
    running = server.server(app, app.state.stream)
    # The server raises again what it caught, which would end a process with the signal for its status.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    running.run(sockets=[server.listening(settings.api_host, port)])


if __name__ == "__main__":
    main()
