"""Walks a page in Chromium: opens it, opens each of its tabs, and reports what failed. It prints one JSON object.

It runs in an environment of its own, which has playwright and nothing else of ours (requirements/front-end.txt).
"""

import argparse
import json
import sys
import time
from typing import Any

from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response, sync_playwright

_QUIET_S, _LONGEST_S = 0.5, 15.0
"""A tab has been opened when no request was pending for so long; pollers may never let it be quiet."""
_DEAD = ("Dashboard Error", "Engine Error", "Catalog Error", "Something went wrong")
"""What the page writes in place of a part of it that died."""


class Walk:
    """What happened since the last tab was opened."""

    def __init__(self, page: Page, spare: list[str]) -> None:
        self._page = page
        self._spare = spare
        self._pending: set[int] = set()
        self._changed_at = time.monotonic()
        self.found: list[dict[str, Any]] = []
        self._here: dict[str, Any] = {}
        page.on("console", self._console)
        page.on("pageerror", self._error)
        page.on("request", self._began)
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def begin(self, name: str) -> None:
        self._here = {"tab": name, "requests": [], "failed": [], "console": [], "died": []}
        self.found.append(self._here)

    def settle(self) -> None:
        """Wait until it is quiet, and look whether the page still stands."""
        deadline = time.monotonic() + _LONGEST_S
        while time.monotonic() < deadline:
            if not self._pending and time.monotonic() - self._changed_at > _QUIET_S:
                break
            self._page.wait_for_timeout(50)
        text = self._page.locator("body").inner_text()
        if not text.strip():
            self._here["died"].append("the whole page is white")
        self._here["died"] += [f"the page says {word!r}" for word in _DEAD if word in text]

    # ---- what comes --------------------------------------------------------------------------------------------------

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._here["console"].append(message.text[:300])

    def _error(self, error: Error) -> None:
        if any(word in str(error) for word in self._spare):
            self._here["console"].append(f"spared: {str(error)[:300]}")
        else:
            self._here["died"].append(f"uncaught: {str(error)[:300]}")

    def _began(self, request: Request) -> None:
        self._pending.add(id(request))
        self._changed_at = time.monotonic()

    def _failed(self, request: Request) -> None:
        self._ended(request)
        self._here["failed"].append(f"{request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        self._ended(response.request)
        self._here["requests"].append(f"{response.status} {response.request.method} {response.url}")
        if response.status >= 500:
            self._here["failed"].append(f"{response.status} {response.request.method} {response.url}")

    def _ended(self, request: Request) -> None:
        self._pending.discard(id(request))
        self._changed_at = time.monotonic()


def walk(url: str, chromium: str, spare: list[str]) -> list[dict[str, Any]]:
    """Open the page and each of its tabs. spare: uncaught errors with one of these words are the page's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--host-resolver-rules=MAP localhost:8080 127.0.0.1:8001"],
        )
        page = browser.new_page()
        steps = Walk(page, spare)
        steps.begin("first page")
        page.goto(url, wait_until="domcontentloaded")
        steps.settle()
        tabs = page.get_by_role("tab")
        for n in range(tabs.count()):
            steps.begin(tabs.nth(n).inner_text().strip() or f"tab {n + 1}")
            tabs.nth(n).click(timeout=10_000)
            steps.settle()
        browser.close()
        return steps.found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("url")
    options.add_argument("--chromium", default="/usr/bin/chromium")
    options.add_argument("--spare", action="append", default=[])
    given = options.parse_args()
    try:
        found = walk(given.url, given.chromium, given.spare)
    except Error as failed:
        print(f"the walk did not come to its end: {str(failed)[:500]}", file=sys.stderr)
        return 2
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
