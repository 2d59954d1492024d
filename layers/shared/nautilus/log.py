"""Log lines as JSON, one per event: an action name and ids as fields, so that a monitor can count them. And metrics, which
are log lines that CloudWatch understands (EMF). Powertools writes both."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

Log = logging.Logger
"""What `logger` makes."""

correlation: ContextVar[str] = ContextVar("correlation", default="")
"""The id that follows one request from HTTP through the queue to the bridge and its request at IB."""
invocation: ContextVar[str] = ContextVar("invocation", default="")
"""Lambda's id of the event that is being handled; AWS's own log lines carry it."""

_TREE = "nautilus"
"""Our modules' loggers lie below this one: what they say becomes such lines too."""


class _Ids(logging.Filter):
    """Puts on a line the ids of what is under way."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, number in (("correlation_id", correlation.get()), ("function_request_id", invocation.get())):
            if number:
                vars(record).setdefault(name, number)
        return True


class _Stdout(logging.StreamHandler[Any]):
    """Writes to what is sys.stdout at that time."""

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
    handler.setFormatter(LambdaPowertoolsFormatter(service=service, utc=True, use_rfc3339=True))
    handler.addFilter(_Ids())
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
    metrics = Metrics(service=service)
    for measure in measures:
        metrics.add_metric(measure.name, measure.unit, measure.value)
    metrics.flush_metrics()
