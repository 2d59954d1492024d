"""The kind of route that all routers have."""

from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from nautilus.http import json_body, parameters

_UNCHECKED = "/health"
"""Below it any parameter is taken: load balancers and monitors add what they like."""


class LateRoute(APIRoute):
    """A route that refuses parameters it does not know and reads JSON strictly, without a word in its own code.

    FastAPI builds it (its parameters, its models, the shape of its answer) when it is first asked for, by a request or by
    the API's description. That takes 2 ms each; a function has up to sixteen, and a process is asked for few.
    """

    known_parameters: parameters.Known

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.path = path
        self.endpoint = endpoint
        self._options = options

    def build(self) -> None:
        """Have it built, if it is not."""
        options = vars(self).pop("_options", None)
        if options is not None:
            super().__init__(self.path, self.endpoint, **options)
            extra = (self.openapi_extra or {}).get("parameters")
            self.known_parameters = parameters.declared(self.dependant, extra if isinstance(extra, type) else None)
            if not self.path.startswith(_UNCHECKED):
                parameters.guard(self.dependant)

    def get_route_handler(self) -> json_body.Handler:
        handle = super().get_route_handler()
        return json_body.strictly_read(handle) if self.body_field is not None else handle

    def __getattr__(self, name: str) -> Any:
        # Python comes here for what is not there yet: whatever else a route has, building makes it.
        if "_options" not in vars(self):
            raise AttributeError(f"a route has no {name}")
        self.build()
        return getattr(self, name)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # The regular expression of the path is not there yet either, and not needed when its beginning says no.
        begins, parameter, _ = self.path.partition("{")
        path = scope.get("path", "")
        if not scope.get("root_path") and not (path.startswith(begins) if parameter else path == begins):
            return Match.NONE, {}
        return super().matches(scope)
