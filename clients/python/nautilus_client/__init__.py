"""A client of the Nautilus API: bars with a report of what is missing, live bars, orders and the portfolio.

    from nautilus_client import Client

    bars = Client().bars("AAPL", "1m", last="5d")
    frame = bars.pandas()

Importing this package loads nothing else: each name is imported when it is first used.
"""

__version__ = "0.1.0"

_HOMES = {
    "Client": "client",
    "Bars": "bars",
    "ManyBars": "bars",
    "Bar": "bars",
    "Gap": "bars",
    "Job": "backfills",
    "Export": "exports",
    "LiveBar": "live_bars",
    "Record": "records",
    "Order": "records",
    "Position": "records",
    "Execution": "records",
    "RetryPolicy": "retry",
    **dict.fromkeys(
        (
            *("NautilusError", "ApiError", "NotSignedIn", "NotAllowed", "NotFound", "Ambiguous", "Conflict", "Invalid"),
            *(
                "OrderDenied",
                "PageTokenExpired",
                "VersionForgotten",
                "Refused",
                "RateLimited",
                "Unavailable",
                "ServerError",
            ),
            *("Incomplete", "VersionChanged", "ChecksumMismatch", "TransportError", "BrokenAnswer", "DeadlineExceeded"),
            *("ConfigError", "BadTime", "MissingLibrary"),
        ),
        "errors",
    ),
}
__all__ = [*_HOMES, "__version__"]

TYPE_CHECKING = False  # `typing` is not imported for it: that alone takes longer than all else here
if TYPE_CHECKING:
    from typing import Any

    from nautilus_client.backfills import Job as Job
    from nautilus_client.bars import Bar as Bar
    from nautilus_client.bars import Bars as Bars
    from nautilus_client.bars import Gap as Gap
    from nautilus_client.bars import ManyBars as ManyBars
    from nautilus_client.client import Client as Client
    from nautilus_client.errors import ApiError as ApiError
    from nautilus_client.errors import Incomplete as Incomplete
    from nautilus_client.errors import NautilusError as NautilusError
    from nautilus_client.errors import RateLimited as RateLimited
    from nautilus_client.errors import VersionChanged as VersionChanged
    from nautilus_client.exports import Export as Export
    from nautilus_client.live_bars import LiveBar as LiveBar
    from nautilus_client.records import Execution as Execution
    from nautilus_client.records import Order as Order
    from nautilus_client.records import Position as Position
    from nautilus_client.records import Record as Record
    from nautilus_client.retry import RetryPolicy as RetryPolicy


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
