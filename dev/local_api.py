"""All functions in one ASGI application on the loopback interface: what API Gateway and Lambda are when deployed."""

import argparse

import uvicorn
from fastapi import FastAPI

import functions.auth.app
import functions.backfill.app
import functions.bars.app
import functions.monitoring.app
from dev.pages import add_pages
from nautilus.http.app import create_app
from nautilus.http.services import Services
from nautilus.settings.auth import AuthSettings
from nautilus.settings.base import load

SHUTDOWN_GRACE_S = 3


def create(settings: AuthSettings) -> FastAPI:
    """The application, with the routers of every function, and with the page that describes them unless deployed."""
    app = create_app(
        functions.auth.app.router,
        functions.bars.app.router,
        functions.backfill.app.router,
        functions.monitoring.app.router,
        services=Services(settings, "api"),
    )
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
    uvicorn.run(
        create(settings),
        host=settings.api_host,
        port=port,
        access_log=False,
        # nautilus.http.app decides whose X-Forwarded-For is believed; uvicorn would believe everybody on this machine.
        proxy_headers=False,
        workers=1,  # else uvicorn takes the number that WEB_CONCURRENCY says to others, and cannot serve an app that is made
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )


if __name__ == "__main__":
    main()
