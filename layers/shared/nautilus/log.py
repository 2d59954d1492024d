"""Log lines as JSON, one per event: an action name and ids as fields, so that a monitor can count them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from aws_lambda_powertools import Logger

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
