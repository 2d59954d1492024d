"""The kind of route that all routers have."""

from typing import Any

from fastapi.routing import APIRoute

from nautilus.http import json_body, parameters

_UNCHECKED = "/health"
"""Below it any parameter is taken: load balancers and monitors add what they like."""


class StrictRoute(APIRoute):
    """A route that refuses parameters it does not know and reads JSON strictly, without a word in its own code."""

    known_parameters: parameters.Known

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.known_parameters = parameters.declared(self.dependant)
        if not self.path.startswith(_UNCHECKED):
            parameters.guard(self.dependant)

    def get_route_handler(self) -> json_body.Handler:
        handle = super().get_route_handler()
        return json_body.strictly_read(handle) if self.body_field is not None else handle
