"""The handler of a function in Lambda."""

import gc
import logging
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError

from nautilus.http.app import create_app
from nautilus.http.response_size import TEXT_TYPES
from nautilus.http.services import HINTS_S, Services
from nautilus.log import Measure, emit, invocation
from nautilus.settings.api import ApiSettings
from nautilus.settings.base import explain, read, snapshot_follows

Command = Callable[[Services, dict[str, Any]], dict[str, Any]]
# What is imported when first needed, and what a snapshot had better hold already.
_LATE = ("mangum", "boto3", "argon2")


def lambda_handler(
    name: str,
    router: APIRouter,
    settings: type[ApiSettings] = ApiSettings,
    *,
    prepare: Callable[[Services], None] = lambda services: None,
    measure: Callable[[Services], Iterable[Measure]] | None = None,
    commands: Mapping[str, Command] | None = None,
) -> Callable[[dict[str, Any], Any], Any]:
    """The handler of a function with one router. Settings, app and adapter are made at the first event, not at import:
    importing does nothing, Mangum touches the event loop when it is made, and secrets can be read during events only.

    prepare: called once before anything is served; what it raises stops the function. measure: what the event
    {"task": "measure"} of a schedule emits as metrics. commands: other tasks, which answer their event; who may send
    one is IAM's to say, and no HTTP request becomes one, as API Gateway always adds its requestContext.

    A function's module imports nautilus.http.cold_start first, which switches the garbage collector off, and calls this in
    its last line, which switches it on again and tells it to leave alone what is there by now.
    """
    made: list[tuple[Services, Callable[[dict[str, Any], Any], Any]]] = []
    if snapshot_follows():
        for late in _LATE:
            import_module(late)
    gc.freeze()
    gc.enable()

    def handler(event: dict[str, Any], context: Any) -> Any:
        if not made:
            made.append(_make(name, router, settings, prepare))
        known, answer = made[0]
        invocation.set(getattr(context, "aws_request_id", ""))
        if "requestContext" in event:
            try:
                return answer(event, context)
            finally:
                known.queue.flush(HINTS_S)
        task = str(event.get("task"))
        if task == "measure" and measure is not None:
            emit(name, measure(known))
            return None
        if commands is not None and task in commands:
            return commands[task](known, event)
        raise ValueError(f"function {name} has no use for an event with {', '.join(sorted(event)) or 'nothing'} in it")

    return handler


def _make(
    name: str, router: APIRouter, settings: type[ApiSettings], prepare: Callable[[Services], None]
) -> tuple[Services, Callable[[dict[str, Any], Any], Any]]:
    from mangum import Mangum

    try:
        known = Services(read(settings), name)
    except ValidationError as wrong:
        raise RuntimeError(explain(wrong)) from None
    prepare(known)
    app = create_app(router, services=known)
    # It would log each request, as we do, and API Gateway.
    logging.getLogger("mangum.http").setLevel(logging.WARNING)
    return known, Mangum(app, lifespan="off", text_mime_types=list(TEXT_TYPES))
