"""The limit of requests that one caller may make in a minute, on every route of market data."""

from collections.abc import Callable
from typing import Any, Protocol

from fastapi import Depends, Request

from nautilus.auth.principal import Principal
from nautilus.http.dependencies import CallerDep, ServicesDep, add_header
from nautilus.http.services import Services
from nautilus.infra.cache import Cache
from nautilus.infra.rate_limit import CallerLimits


class Limited(Protocol):
    """What a function keeps to count its callers."""

    cache: Cache
    limits: CallerLimits


def admitted(data: Callable[[Services], Limited]) -> Any:
    """The dependency that gives the caller of a route, counted against the limits of its function."""

    async def counted(request: Request, services: ServicesDep, caller: CallerDep) -> Principal:
        kept = data(services)
        await admit(request, kept.cache, kept.limits, caller)
        return caller

    return Depends(counted)


async def admit(request: Request, cache: Cache, limits: CallerLimits, caller: Principal) -> None:
    """Count a request: RateLimited when the minute's share is used up. Every answer says what is left."""
    # A thread costs 0.2 ms: only where Redis counts.
    if cache.there:
        await cache.threads.run(_count, request, limits, caller)
    else:
        _count(request, limits, caller)


def _count(request: Request, limits: CallerLimits, caller: Principal) -> None:
    rate = limits.take(caller.id)
    if rate is not None:
        for name, value in rate.headers.items():
            add_header(request, name, value)
        limits.check(rate)
