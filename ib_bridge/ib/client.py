"""The client library of IB's protocol: ib_insync, or its maintained successor ib_async where that is installed instead.

Their dependencies overwrite each other, so an environment has one of the two. Only `session` and `translate` use this.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

_NAME = "ib_insync" if find_spec("ib_insync") else "ib_async"
library: Any = import_module(_NAME)
RequestError: type[Exception] = import_module(f"{_NAME}.wrapper").RequestError
IB: Any = library.IB
BarDataList: Any = library.BarDataList
Contract: Any = library.Contract


def fail(ib: Any, number: int, code: int, text: str) -> None:
    """Fail the request `number` if it is still open: ib_async takes some refusals (321) for warnings and waits on."""
    if number in ib.wrapper._futures:
        ib.wrapper._endReq(number, RequestError(number, code, text), success=False)


__all__ = ["IB", "BarDataList", "Contract", "RequestError", "fail"]
