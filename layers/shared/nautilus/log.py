"""Log lines as JSON, one per event: an action name and ids as fields, so that a monitor can count them. And metrics, which
are log lines that CloudWatch understands (EMF)."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from aws_lambda_powertools import Logger

Log = Logger
"""What `logger` makes."""

correlation: ContextVar[str] = ContextVar("correlation", default="")
"""The id that follows one wish from HTTP through the queue to the bridge and its request at IB."""


class _Correlated(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        number = correlation.get()
        if number:
            record.correlation_id = number
        return True


def logger(service: str, level: str = "INFO") -> Logger:
    """The logger of a process. Use it as `log.info("action-name", extra={"job_id": ...})`."""
    made = Logger(service=service, level=level, utc=True, use_rfc3339=True)
    made.addFilter(_Correlated())
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


@dataclass(frozen=True, slots=True)
class Measure:
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
