"""Whether and when a request is sent again: numbers in, numbers out."""

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may be answered."""
FREE_SHARE = 0.1
"""This share of a rate limit is kept free for others who use the same key."""


class RetryPolicy(NamedTuple):
    """tries: of one request, the first included. first_wait_s: doubled with each try, and drawn between half of it and all;
    longest_wait_s: at most. deadline_s: for a whole call with all its tries. connect_s, read_s: of one try."""

    tries: int = 6
    first_wait_s: float = 0.25
    longest_wait_s: float = 30.0
    deadline_s: float = 300.0
    connect_s: float = 5.0
    read_s: float = 60.0


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """The seconds of a header `Retry-After`, which has a number or a date (RFC 9110, 10.2.3); None without one.

    now_s: seconds since the epoch.
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}(\.\d+)?\s*", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except (TypeError, ValueError):
        return None


def wait_s(policy: RetryPolicy, tried: int, retry_after: float | None, drawn: Callable[[], float]) -> float | None:
    """Seconds before the next try; None: there is none. tried: how often so far; drawn: a number from 0 to 1."""
    if tried >= policy.tries:
        return None
    if retry_after is not None:
        return retry_after
    doubled = policy.first_wait_s * float(2 ** (tried - 1))
    return min(policy.longest_wait_s, doubled) * (0.5 + 0.5 * drawn())


def may_try_again(status: int, *, repeatable: bool) -> bool:
    """A request that was refused because there were too many did nothing; any other may have."""
    return status == 429 or (status in PASSING and repeatable)


def pause_s(headers: Mapping[str, str]) -> float:
    """Seconds to wait before the next request, so that a part of the limit stays free; 0 as a rule.

    headers: `RateLimit-Policy: "reads";q=3000;w=60` and `RateLimit: "reads";r=2998;t=41`.
    """
    limit, left = _parameters(headers.get("ratelimit-policy")), _parameters(headers.get("ratelimit"))
    quota, remaining, ends_in = limit.get("q"), left.get("r"), left.get("t")
    if not quota or remaining is None or not ends_in or remaining >= quota * FREE_SHARE:
        return 0.0
    return ends_in / (remaining + 1)


def _parameters(value: str | None) -> dict[str, float]:
    return {name: float(number) for name, number in re.findall(r";\s*([a-z]+)=(\d+(?:\.\d+)?)", value or "")}
