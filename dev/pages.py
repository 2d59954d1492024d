"""The API's page in a browser, `/docs`: Swagger UI from files on this machine, so that it works without the internet."""

import base64
import hashlib
import re
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse

PAGE = "/docs"
# The package carries a published build of Swagger UI; its code, which serves more than these, is not used.
_STATIC = Path(str(files("fastapi_offline") / "static"))
_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")


def add_pages(app: FastAPI) -> None:
    """Add the page of an app that has an OpenAPI document; the root leads to it."""
    script, style, icon = (f"{PAGE}/{name}" for name in _FILES)
    html = bytes(
        get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=app.title,
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url=icon,
        ).body
    )
    headers = {"Content-Security-Policy": _policy(html)}

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse(PAGE)  # a path: whatever Host the caller sent

    @app.get(PAGE, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(html, headers=headers)

    def add(name: str) -> None:
        @app.get(f"{PAGE}/{name}", include_in_schema=False)
        async def file() -> FileResponse:
            return FileResponse(_STATIC / name)

    for name in _FILES:
        add(name)


def _policy(html: bytes) -> str:
    """Its own files and the one script that stands in it; Swagger UI sets styles and has pictures as data."""
    inline = re.findall(rb"<script>(.*?)</script>", html, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in inline)
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " connect-src 'self'; frame-ancestors 'none'"
    )
