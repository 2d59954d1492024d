"""The client library of IB's protocol: ib_insync, or its maintained successor ib_async where that is installed instead.

Their dependencies overwrite each other, so an environment has one of the two. What depends on the inside of the library
stands here alone.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_NAME = "ib_insync" if find_spec("ib_insync") else "ib_async"
library: Any = import_module(_NAME)
RequestError: type[Exception] = import_module(f"{_NAME}.wrapper").RequestError
IB: Any = library.IB
Contract: Any = library.Contract


@dataclass(frozen=True, slots=True)
class BarsRequest:
    """A request for bars in IB's words: `duration` back from `end` (UTC; empty: now), bars of `size`."""

    contract: Contract
    end: str
    duration: str
    size: str
    price: str
    rth: bool


def new_client() -> IB:
    """A client of the library that raises the errors of requests, holds nothing back, and requests nothing by itself."""
    ib = IB()
    ib.RaiseRequestErrors = True
    ib.client.MaxRequests = 0  # our own pacer counts messages
    # At each 1102 the library subscribes to the account's summary once more, and IB allows two.
    ib.errorEvent -= ib._onError
    return ib


def fail(ib: Any, number: int, code: int, text: str) -> None:
    """Fail the request `number` if it is still open: ib_async takes some refusals (321) for warnings and waits on."""
    if number in ib.wrapper._futures:
        ib.wrapper._endReq(number, RequestError(number, code, text), success=False)


def send_bars_request(ib: IB, request: BarsRequest) -> tuple[int, Any]:
    """Send a request for bars; returns its id and the future of its answer.

    The library's own call answers [] for errors and time-outs alike, and hides the id that a cancellation needs.
    """
    number: int = ib.client.getReqId()
    future = ib.wrapper.startReq(number, request.contract, container=library.BarDataList())
    ib.client.reqHistoricalData(
        number, request.contract, request.end, request.duration, request.size, request.price, request.rth, 2, False, []
    )
    return number, future


def forget_request(ib: IB, number: int) -> None:
    """Remove what the library keeps of a request that is over."""
    ib.wrapper._futures.pop(number, None)
    ib.wrapper._results.pop(number, None)


__all__ = [
    "IB",
    "BarsRequest",
    "Contract",
    "RequestError",
    "fail",
    "forget_request",
    "library",
    "new_client",
    "send_bars_request",
]
