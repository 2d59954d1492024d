"""The app under load, as uvicorn's workers make it: ours, the peer's and an empty route. Settings from the environment."""

import os

from fastapi import APIRouter, FastAPI

import functions.bars.app
from benchmarks import _peer
from nautilus.http.app import create_app
from nautilus.http.services import Services
from nautilus.settings.api import ApiSettings
from nautilus.settings.base import load

EMPTY = "/empty"


def app() -> FastAPI:
    return with_peer(create_app(functions.bars.app.router, services=Services(load(ApiSettings), "bench")))


def with_peer(made: FastAPI, dsn: str = "") -> FastAPI:
    empty = APIRouter()

    @empty.get(EMPTY)
    async def nothing() -> dict[str, str]:
        return {}

    made.include_router(empty)
    made.include_router(_peer.router(dsn or os.environ["NAUTILUS_DATABASE_URL"]))
    return made
