"""Orders and fills as messages: each event of an account becomes one of its channel of orders, and, where it tells of a fill,
one of its channel of fills. Their `version` is the id of the event."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.live.channels import FILLS, ORDERS, Channel
from nautilus.orders import account_events
from nautilus.orders.account_events import AccountEvent
from nautilus.orders.report import event_json, execution_json
from stream import messages
from stream.frames import BusMessage

MOST_ORDERS = 500
"""Open orders in one snapshot."""
_WAS = ("exec_id", "revision", "quantity", "price")
_REST = "/api/v1/orders"


def event_messages(events: Sequence[AccountEvent]) -> list[BusMessage]:
    """The messages of events, in their order. An order that several of them are about is written once."""
    texts: dict[UUID, str] = {}
    found = []
    for event in events:
        about = _about(event)
        found.append(_order(event, about, texts))
        if event.fill:
            found.append(_fill(event, about))
    return found


def _about(event: AccountEvent) -> dict[str, Any]:
    """The event without what IB sent, which `GET /orders/{order_id}/events` has."""
    return {name: value for name, value in event_json(event.row).items() if name != "frame"}


def _order(event: AccountEvent, about: Mapping[str, Any], texts: dict[UUID, str]) -> BusMessage:
    channel, version = Channel(ORDERS, subject=event.row.account).name, event.row.id
    head = messages.text("order", {"c": channel, "version": version, "event": about})[:-1]
    fields = {"version": version, "account": event.row.account, "row": event.order}
    return BusMessage("order", channel, 0, f'{head},"order":{_order_text(event, texts)}}}', fields)


def _order_text(event: AccountEvent, texts: dict[UUID, str]) -> str:
    if event.order is None:
        return "null"
    found = texts.get(event.order.id)
    if found is None:
        found = texts[event.order.id] = json.dumps(event.described, separators=(",", ":"))
    return found


def _fill(event: AccountEvent, about: Mapping[str, Any]) -> BusMessage:
    channel, version = Channel(FILLS, subject=event.row.account).name, event.row.id
    *before, now = (execution_json(row) for row in event.fill)
    fields: dict[str, Any] = {"c": channel, "version": version, "event": about, "fill": now}
    if before:
        fields["was"] = {name: before[-1][name] for name in _WAS}
    return BusMessage(
        "fill", channel, 0, messages.text("fill", fields), {"version": version, "account": event.row.account}
    )


# ---- what a reader needs first ---------------------------------------------------------------------------------------


class First(NamedTuple):
    """What a socket gets first of a channel of an account.

    newest: id of the account's last event in what was read. version: how far the client is once it has `text` (empty: there
    is none). messages: what follows it.
    """

    newest: int
    version: int
    text: str
    messages: Sequence[BusMessage] = ()


def first(cursor: Cursor, channel: Channel, since: int, most: int) -> First:
    """The snapshot of a channel, or, where the client names the last event that it had, what it missed.

    since: 0: it has nothing. most: of so many events; with more the client must begin anew (`resync`).
    """
    account, name = channel.account, channel.name
    if not since:
        return _snapshot(cursor, channel, {})
    found = account_events.missed(cursor, account, since, most, fills=channel.kind == FILLS)
    if found.events is None:
        return _snapshot(cursor, channel, {"reason": "resync", "since_version": since})
    missed = [one for one in event_messages(found.events) if one.channel == name]
    text = messages.text("resumed", {"c": name, "version": since, "count": len(missed)})
    return First(found.newest, since, text, missed)


def _snapshot(cursor: Cursor, channel: Channel, fields: dict[str, Any]) -> First:
    if channel.kind == FILLS:
        newest = account_events.newest(cursor, channel.account)
    else:
        found = account_events.open_orders(cursor, channel.account, MOST_ORDERS)
        newest = found.newest
        fields["orders"] = [about for _, about in found.orders]
        if not found.whole:
            fields["rest"] = _rest(channel.account, open="true")
    if "reason" in fields:
        fields["rest"] = _rest(channel.account)
    return First(newest, newest, messages.text("snapshot", {"c": channel.name, "version": newest, **fields}))


def _rest(account: str, **more: str) -> str:
    """Where to read what a message leaves out."""
    return f"{_REST}?{urlencode({'account': account, **more})}"
