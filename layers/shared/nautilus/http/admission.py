"""The limit of requests that one caller may make in a minute, on every route of market data."""

from fastapi import Request

from nautilus.auth.principal import Principal
from nautilus.http.dependencies import add_header
from nautilus.infra.cache import Cache
from nautilus.infra.rate_limit import CallerLimits


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
