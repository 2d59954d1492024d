"""Commands of trading: orders, positions, strategies, and the kill switch."""

from typing import Any, Literal

from nautilus_client import cli
from nautilus_client.cli.context import Context
from nautilus_client.cli.market import where
from nautilus_client.cli.output import fields, table


def orders(context: Context) -> int:
    actions = {
        "list": _list,
        "buy": _place,
        "sell": _place,
        "show": _show,
        "events": _events,
        "cancel": _cancel,
        "cancel-all": _cancel_all,
    }
    return actions[context.options.action](context)


def _cells(order: Any) -> list[Any]:
    raw = order.as_dict()
    wanted = raw["prices"]["wanted"]
    name = raw["instrument"].get("instrument_id") or raw["instrument"].get("symbol")
    prices = [wanted.get("limit"), wanted.get("stop")]
    return [
        raw["id"],
        raw["account"],
        raw["side"],
        raw["quantity"],
        name,
        raw["type"],
        *prices,
        raw["state"],
        raw["filled"],
        raw["why"],
    ]


_HEADINGS = ["id", "account", "side", "quantity", "instrument", "type", "limit", "stop", "state", "filled", "why"]


def _list(context: Context) -> int:
    options = context.options
    found = context.client.orders.list(open=options.open, account=options.account, limit=options.limit)
    context.emit([one.as_dict() for one in found], lambda: table(map(_cells, found), _HEADINGS))
    return cli.OK


def _place(context: Context) -> int:
    options = context.options
    kind = options.type or (
        "STP_LMT" if options.limit and options.stop else "LMT" if options.limit else "STP" if options.stop else "MKT"
    )
    fields_given = {
        "limit_price": options.limit,
        "stop_price": options.stop,
        "account": options.account,
        "tif": options.tif,
    }
    named = where(context, options.symbol)
    symbol = named.pop("symbol", None)
    side: Literal["BUY", "SELL"] = "BUY" if options.action == "buy" else "SELL"
    given = {**named, **fields_given, "type": kind.upper()}
    if options.preview:
        found = context.client.orders.preview(symbol, side, options.quantity, **given).as_dict()
        context.emit(
            found, lambda: fields({name: found[name] for name in ("passes", "checks", "what_if") if name in found})
        )
        return cli.OK if found["passes"] else cli.FAILED
    placed = context.client.orders.place(symbol, side, options.quantity, wait=options.wait, key=options.key, **given)
    context.emit(placed.as_dict(), lambda: table([_cells(placed)], _HEADINGS))
    return cli.FAILED if placed.state in ("denied", "rejected") else cli.OK


def _show(context: Context) -> int:
    found = context.client.orders.get(context.options.order_id).as_dict()
    context.emit(found, lambda: fields(found))
    return cli.OK


def _events(context: Context) -> int:
    found = context.client.orders.events(context.options.order_id)
    names = ["market_at", "kind", "source", "before", "after", "text"]
    context.emit(found, lambda: table([[row.get(name) for name in names] for row in found], names))
    return cli.OK


def _cancel(context: Context) -> int:
    found = context.client.orders.cancel(context.options.order_id)
    context.emit(found.as_dict(), lambda: table([_cells(found)], _HEADINGS))
    return cli.OK


def _cancel_all(context: Context) -> int:
    found = context.client.orders.cancel_all(context.options.account)
    context.emit(found, lambda: fields(found))
    return cli.OK


def positions(context: Context) -> int:
    found = [one.as_dict() for one in context.client.portfolio.positions(context.options.account)]
    names = ["account", "instrument", "quantity", "average_price", "market_value", "unrealized", "as_of", "stale"]

    def cells(row: dict[str, Any]) -> list[Any]:
        instrument = row.get("instrument") or {}
        shown = {**row, "instrument": instrument.get("instrument_id") or instrument.get("symbol") or row.get("con_id")}
        return [shown.get(name) for name in names]

    context.emit(found, lambda: table(map(cells, found), names) if found else "no positions")
    return cli.OK


def strategies(context: Context) -> int:
    options, client = context.options, context.client
    if options.action in ("list", "backtests"):
        runs = (client.strategies if options.action == "list" else client.backtests).list()
        found = [one.as_dict() for one in runs]
        names = list(
            dict.fromkeys(name for row in found for name, value in row.items() if not isinstance(value, (dict, list)))
        )
        context.emit(
            found, lambda: table([[row.get(name) for name in names] for row in found], names) if found else "none yet"
        )
        return cli.OK
    run = client.strategies.get(options.run_id)
    answer = run.as_dict() if options.action == "show" else getattr(run, options.action)()
    context.emit(answer, lambda: fields(answer))
    return cli.OK


def kill(context: Context) -> int:
    options = context.options
    found = context.client.orders.kill(
        options.reason, accounts=options.account, cancel=options.cancel, flatten=options.flatten
    )
    context.emit(found, lambda: fields(found))
    return cli.OK if found.get("halted") else cli.FAILED
