"""Callers of the API in a run of chaos: real HTTP, and retries with the same idempotency key until there is an answer.

Some hang up before they have read the answer, some send twice at once. What each caller learned is kept: one key must have led to
one order, whatever broke.
"""

import json
import socket
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.chaos_world import World

ORDERS = "/api/v1/orders"
CHIEF = 1
"""The administrator; callers are the users from 7 on."""
FIRST_USER, USERS = 7, 4
_ANSWER_S = 20.0
_PATIENCE_S = 240.0
"""How long a caller goes on to try."""
_THREADS = 12


@dataclass
class Answers:
    """What came back for one key. orders: every id that an answer named; attempts: requests that were sent; last: the answer that
    ended it, as (status, code), None while there is none."""

    key: str
    user: int
    orders: set[str] = field(default_factory=set)
    attempts: int = 0
    last: tuple[int, str] | None = None
    legs: int = 1


class Callers:
    """Sends orders and changes from threads of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{world.api_port}", timeout=_ANSWER_S, trust_env=False)
        self._pool = ThreadPoolExecutor(_THREADS, "caller")
        self._open: list[Future[None]] = []
        self.placed: dict[str, Answers] = {}
        self.changes: defaultdict[str, int] = defaultdict(int)
        """What became of changes and cancels: status and code -> times."""
        self.resumed = 0
        self.resume_refused = 0
        self.resolved = 0
        self.breaks_resolved = 0

    # ---- orders ------------------------------------------------------------------------------------------------------

    def place(self, user: int, key: str, body: Mapping[str, Any], manner: str) -> None:
        """manner: plain, hang_up (leave before the answer, then send again), twice (two at once)."""
        self.placed[key] = answers = Answers(key, user, legs=3 if "take_profit" in body else 1)
        self._open.append(self._pool.submit(self._place, answers, body, manner))

    def _place(self, answers: Answers, body: Mapping[str, Any], manner: str) -> None:
        if manner == "hang_up":
            answers.attempts += 1
            self._send_and_leave(answers, body)
        if manner == "twice":
            self._open.append(self._pool.submit(self._until_answered, answers, body))
        self._until_answered(answers, body)

    def _send_and_leave(self, answers: Answers, body: Mapping[str, Any]) -> None:
        """The whole request, and then the end of the connection: nobody reads the answer."""
        payload = json.dumps(body).encode()
        headers = {
            "Host": "127.0.0.1",
            "Content-Type": "application/json",
            "Content-Length": str(len(payload)),
            "Idempotency-Key": answers.key,
            **self._world.headers(answers.user),
        }
        head = f"POST {ORDERS} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        try:
            with socket.create_connection(("127.0.0.1", self._world.api_port), timeout=5) as line:
                line.sendall(head.encode() + b"\r\n" + payload)
                time.sleep(0.05)
        except OSError:
            pass  # the API is just dead: then the first attempt was nothing

    def _until_answered(self, answers: Answers, body: Mapping[str, Any]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            answers.attempts += 1
            answer = self._request("POST", ORDERS, answers.user, json=body, headers={"Idempotency-Key": answers.key})
            if answer is not None and _is_final(answer):
                found = answer.json()
                order = found.get("order", found) if answer.status_code in (202, 422) else {}
                answers.orders |= {order["id"]} if "id" in order else set()
                answers.last = (answer.status_code, str(found.get("code", "")))
                return
            time.sleep(0.25)

    # ---- changes -----------------------------------------------------------------------------------------------------

    def change(self, user: int, pick: int, change: Mapping[str, Any] | None, key: str) -> None:
        """Change, or with None cancel, one of the open orders. pick: which one, counted over those that there are."""
        self._open.append(self._pool.submit(self._change, user, pick, change, key))

    def _change(self, user: int, pick: int, change: Mapping[str, Any] | None, key: str) -> None:
        """Bodies of changes name a `price` in percent of the order's own, or a `quantity` that is added."""
        found = self._request("GET", f"{ORDERS}?open=true&origin=api&limit=100", user)
        if found is None or found.status_code != 200:
            self.changes["no list of orders"] += 1
            return
        rows = [row for row in found.json()["orders"] if change is None or row["type"] == "LMT"]
        if not rows:
            self.changes["no open order"] += 1
            return
        row = sorted(rows, key=lambda one: str(one["times"]["accepted"]))[pick % len(rows)]
        path = f"{ORDERS}/{row['id']}"
        if change is None:
            answer = self._request("DELETE", path, user)
        else:
            headers = {"If-Match": f'"{row["version"]}"', "Idempotency-Key": key}
            answer = self._request("PATCH", path, user, json=_new_terms(row, change), headers=headers)
        kind = "cancel" if change is None else "modify"
        code = "lost answer" if answer is None else f"{answer.status_code} {answer.json().get('code', '')}".strip()
        self.changes[f"{kind}: {code}"] += 1

    # ---- the administrator -------------------------------------------------------------------------------------------

    def set_limits(self, limits: Mapping[str, str | None]) -> None:
        for name, value in limits.items():
            answer = self._chief("PUT", f"{ORDERS}/risk/limits", {"name": name, "value": value})
            assert answer is not None, name
            assert answer.status_code == 200, answer.text

    def resume_if_tightened(self) -> None:
        """Let the accounts trade again that a trigger has tightened: a person's call, counted."""
        answer = self._chief("GET", f"{ORDERS}/risk", None)
        if answer is None or answer.status_code != 200:
            return
        names = [one["account"] for one in answer.json()["accounts"] if one["trading"]["state"] != "active"]
        if names:
            done = self._chief("POST", f"{ORDERS}/resume", {"accounts": names, "reason": "a run of chaos goes on"})
            if done is not None and done.status_code == 200:
                self.resumed += len(names)
            elif done is not None and done.status_code == 409:
                self.resume_refused += len(names)

    def resolve(self, order: str, note: str) -> None:
        """Say that an order never arrived: what a person does who has looked into TWS."""
        body = {"outcome": "never_arrived", "note": note}
        done = self._chief("POST", f"{ORDERS}/{order}/resolve", body)
        self.resolved += done is not None and done.status_code == 200

    def cancel_for_good(self, order: str) -> None:
        """Cancel an order that became two at IB, as its incident asks for."""
        self._chief("DELETE", f"{ORDERS}/{order}", None)

    def resolve_breaks(self) -> None:
        """Say that IB has taken executions back, where its positions are not ours."""
        answer = self._chief("GET", "/api/v1/portfolio/breaks?open=true", None)
        found = answer.json()["breaks"] if answer is not None and answer.status_code == 200 else []
        for one in found:
            body = {"kind": "correction", "reason": "IB took an execution back without a word"}
            done = self._chief("POST", f"/api/v1/portfolio/breaks/{one['id']}/resolve", body)
            self.breaks_resolved += done is not None and done.status_code == 200

    def _chief(self, method: str, path: str, body: Any) -> httpx.Response | None:
        for _ in range(40):
            answer: httpx.Response | None = self._request(method, path, CHIEF, json=body)
            if answer is not None and _is_final(answer):
                return answer
            time.sleep(0.25)
        return None

    # ---- all ---------------------------------------------------------------------------------------------------------

    def listed(self) -> list[dict[str, Any]]:
        """All orders that callers see, page by page."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            answer = self._request("GET", f"{ORDERS}?limit=200{after}", FIRST_USER)
            assert answer is not None, "the API does not answer"
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["orders"]
            if page["next_after"] is None:
                return found
            after = f"&after={page['next_after']}"

    def _request(
        self, method: str, path: str, user: int, *, json: Any = None, headers: Any = None
    ) -> httpx.Response | None:
        """The answer; None when none came."""
        own = {**self._world.headers(user, admin=user == CHIEF), **(headers or {})}
        try:
            return self._client.request(method, path, json=json, headers=own)
        except httpx.HTTPError:
            return None

    def finish(self) -> None:
        """Wait until nobody tries any more; what a thread raised is raised here."""
        while self._open:
            self._open.pop().result(_PATIENCE_S + _ANSWER_S)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.close()


def _is_final(answer: httpx.Response) -> bool:
    """Whether an answer says what became of the request; the others ask to try again."""
    return answer.status_code < 500 and answer.status_code != 429


def _new_terms(row: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    limit = row["prices"]["wanted"]["limit"]
    if "price_percent" in change and limit is not None:
        terms["limit_price"] = f"{float(limit) * (1 + change['price_percent'] / 100):.2f}"
    if "more" in change or not terms:
        terms["quantity"] = int(float(row["quantity"])) + int(change.get("more", 1))
    return terms
