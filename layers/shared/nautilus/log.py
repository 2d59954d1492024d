"""Log lines as JSON, one per event: an action name and ids as fields, so that a monitor can count them. And metrics, which
are log lines that CloudWatch understands (EMF): Powertools writes those. Its logger would do for the lines what is done
here, for 15 ms of each function's cold start (docs/decisions/0024-cold-start.md).
"""

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

Log = logging.Logger
"""What `logger` makes."""

correlation: ContextVar[str] = ContextVar("correlation", default="")
"""The id that follows one wish from HTTP through the queue to the bridge and its request at IB."""
invocation: ContextVar[str] = ContextVar("invocation", default="")
"""Lambda's id of the event that is being handled; AWS's own log lines carry it."""

_TREE = "nautilus"
"""Our modules' loggers lie below this one: what they say becomes such lines too."""
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What the library puts on a record; the rest are the fields of the line."""


class _Json(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": record.levelname,
            "location": f"{record.funcName}:{record.lineno}",
            "message": record.getMessage(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "service": self._service,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        for name, number in (("correlation_id", correlation.get()), ("function_request_id", invocation.get())):
            if number:
                line.setdefault(name, number)
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
            line["exception_name"] = record.exc_info[0].__name__
        return json.dumps(line, default=str, separators=(",", ":"), ensure_ascii=False)


class _Stdout(logging.StreamHandler[Any]):
    """Writes to what is sys.stdout at that moment."""

    @property
    def stream(self) -> Any:
        return sys.stdout

    @stream.setter
    def stream(self, _: Any) -> None:
        pass


def logger(service: str, level: str = "INFO") -> Log:
    """The logger of a process. Use it as `log.info("action-name", extra={"job_id": ...})`."""
    made = logging.getLogger(_TREE)
    handler = _Stdout()
    handler.setFormatter(_Json(service))
    made.handlers = [handler]
    made.setLevel(level)
    made.propagate = False  # Lambda's runtime has a handler at the root, which would write each line once more
    return made


@contextmanager
def correlated(number: str) -> Iterator[None]:
    """Every line logged in this block carries the correlation id."""
    token = correlation.set(number)
    try:
        yield
    finally:
        correlation.reset(token)


def fields(**values: Any) -> dict[str, Any]:
    """Fields of a log line without those that are None."""
    return {name: value for name, value in values.items() if value is not None}


class Measure(NamedTuple):
    """A number to watch."""

    name: str
    value: float
    unit: Literal["Count", "Seconds"]


def emit(service: str, measures: Iterable[Measure]) -> None:
    """Write metrics of this service as one EMF line to stdout; the namespace is POWERTOOLS_METRICS_NAMESPACE."""
    # Imported here: one function in four emits any.
    from aws_lambda_powertools.metrics import Metrics

    metrics = Metrics(service=service)
    for measure in measures:
        metrics.add_metric(measure.name, measure.unit, measure.value)
    metrics.flush_metrics()
