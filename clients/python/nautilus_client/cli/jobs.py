"""Commands of long work: backfills, exports, and the bars kept on this machine."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nautilus_client import cli
from nautilus_client.cli.context import Context
from nautilus_client.cli.market import where, window
from nautilus_client.cli.output import fields, table
from nautilus_client.cli.progress import export_text, job_text, span

MOST_NAMED = 5


def backfill(context: Context) -> int:
    actions = {
        "start": _start,
        "dry-run": _dry_run,
        "status": _status,
        "show": _show,
        "chunks": _chunks,
        "stop": _stop,
        "watch": _watch,
    }
    return actions[context.options.action](context)


def _request(context: Context) -> dict[str, Any]:
    options = context.options
    if len(options.symbol) == 1:
        named = where(context, options.symbol[0])
    else:
        hints = where(context, "")
        hints.pop("symbol", None)
        named = {"symbols": options.symbol, **hints}
    mode = {"mode": "force"} if options.force else {}
    symbols = named.pop("symbols", named.pop("symbol", None))
    return {"symbols": symbols, **named, "timeframe": options.timeframe, **window(context), **mode}


def _start(context: Context) -> int:
    job = context.client.backfill(**_request(context))
    if context.options.wait:
        return _follow(context, job)
    context.emit(job.as_dict(), lambda: _line(job))
    return cli.OK


def _dry_run(context: Context) -> int:
    found = context.client.backfill(**_request(context), dry_run=True).as_dict()
    context.emit(found, lambda: fields({name: value for name, value in found.items() if name != "items"}))
    return cli.OK


def _line(job: Any) -> str:
    found = job.as_dict()
    return f"{found.get('job_id') or '-'}  {job_text(found)}" if found.get("job_id") else "nothing is missing"


def _status(context: Context) -> int:
    jobs = context.client.jobs()
    context.emit([job.as_dict() for job in jobs], lambda: "\n".join(map(_line, jobs)) or "no job yet")
    return cli.OK


def _show(context: Context) -> int:
    found = context.client.job(context.options.job_id).as_dict()
    context.emit(found, lambda: fields(found))
    return cli.OK


def _chunks(context: Context) -> int:
    found = context.client.job(context.options.job_id).chunks()
    names = list(dict.fromkeys(name for row in found for name in row if name != "requests"))
    context.emit(found, lambda: table([[row.get(name) for name in names] for row in found], names))
    return cli.OK


def _stop(context: Context) -> int:
    job = context.client.job(context.options.job_id).stop()
    context.emit(job.as_dict(), lambda: _line(job))
    return cli.OK


def _watch(context: Context) -> int:
    return _follow(context, context.client.job(context.options.job_id))


def _follow(context: Context, job: Any) -> int:
    context.resume = f"the job goes on; `nautilus backfill watch {job.as_dict().get('job_id')}` follows it"
    job.wait(progress=lambda one: context.line.show(job_text(one.as_dict()), ended=one.over))
    context.emit(job.as_dict(), lambda: _line(job))
    return cli.OK if job.ok else cli.INCOMPLETE


# ---- exports ---------------------------------------------------------------------------------------------------------


def export(context: Context) -> int:
    actions = {
        "start": _export_start,
        "list": _export_list,
        "status": _export_status,
        "stop": _export_stop,
        "get": _export_get,
        "verify": _export_verify,
    }
    return actions[context.options.action](context)


def _export_start(context: Context) -> int:
    options = context.options
    request: dict[str, Any] = {"all": True} if options.all else {"symbols": options.symbol}
    if not options.all and not options.symbol:
        raise ValueError("name symbols, or --all")
    request |= {"timeframes": options.timeframe or ["1m"], "layout": options.layout, "format": options.format}
    request |= {name: getattr(options, name) for name in ("start", "end") if getattr(options, name)}
    request |= {"require": "complete"} if options.require_complete else {}
    found = context.client.exports.start(**request, dry_run=options.dry_run)
    if options.get and not options.dry_run:
        context.resume = f"`nautilus export get {found.id} {options.get}` goes on"
        found.wait(progress=lambda one: context.line.show(export_text(one.as_dict()), ended=one.over))
        return _download(context, found, options.get)
    if options.dry_run:
        context.emit(found.as_dict(), lambda: _estimate(found.as_dict()))
        return cli.OK
    context.emit(found.as_dict(), f"{found.id}  {export_text(found.as_dict())}")
    context.notice(f"`nautilus export get {found.id} FOLDER` waits for its files, and downloads them")
    return cli.OK


def _estimate(found: Mapping[str, Any]) -> str:
    """What a dry run says; for each series with gaps the command that fills them."""
    lines = [
        f"{found['bars']:,} bars, series: {found['series']}, files: {found['files']}; about {found['bytes']:,} bytes and"
        f" {span(found['seconds'])}"
    ]
    for one in found["incomplete"]:
        body = (one.get("backfill") or {}).get("body")
        lines.append(f"{one['series']} has gaps, the first from {one['missing'][0]['start']}")
        if body:
            lines.append(
                f"  nautilus backfill start {shlex.quote(one['series'].rsplit(None, 3)[0])} -t {body['timeframe']}"
                f" --price {body['price']} --session {body['session']} --start {body['start']} --end {body['end']}"
            )
    return "\n".join(lines)


def _export_list(context: Context) -> int:
    found = context.client.exports.list()
    context.emit(
        [one.as_dict() for one in found],
        lambda: "\n".join(f"{one.id}  {export_text(one.as_dict())}" for one in found) or "no export yet",
    )
    return cli.OK


def _export_status(context: Context) -> int:
    found = context.client.exports.get(context.options.export_id)
    context.emit(found.as_dict(), lambda: fields(found.as_dict()))
    return cli.OK


def _export_stop(context: Context) -> int:
    found = context.client.exports.get(context.options.export_id).stop()
    context.emit(found.as_dict(), lambda: export_text(found.as_dict()))
    return cli.OK


def _export_get(context: Context) -> int:
    found = context.client.exports.get(context.options.export_id)
    context.resume = f"`nautilus export get {found.id} {context.options.folder}` goes on"
    return _download(context, found, context.options.folder)


def _download(context: Context, found: Any, folder: str) -> int:
    def report(path: str, done: int, size: int) -> None:
        context.line.show(f"{done:,} of {size:,} bytes  {path}")

    paths = found.download(folder, progress=report)
    context.line.end()
    incomplete = _incomplete(Path(folder))
    for one in incomplete[:MOST_NAMED]:
        context.notice(f"{one} has gaps: coverage.json lists them, and why")
    if len(incomplete) > MOST_NAMED:
        context.notice(f"and {len(incomplete) - MOST_NAMED} series more have gaps")
    context.emit(
        {"folder": folder, "files": [str(path) for path in paths], "incomplete": incomplete},
        f"{len(paths)} files in {folder}, each with its SHA-256",
    )
    return cli.OK


def _incomplete(folder: Path) -> list[str]:
    """The series of an export that have gaps."""
    file = folder / "coverage.json"
    if not file.exists():  # of an API that gives the files of bars alone
        return []
    series = json.loads(file.read_text(encoding="utf-8"))["series"]
    return [
        " ".join(str(one[name]) for name in ("instrument_id", "timeframe", "price", "session"))
        for one in series
        if not one["complete"]
    ]


def _export_verify(context: Context) -> int:
    from nautilus_client.exports import verify

    wrong = verify(Path(context.options.folder))
    context.emit({"wrong": wrong}, "\n".join(wrong) or "every file is as its manifest says")
    return cli.FAILED if wrong else cli.OK


# ---- bars kept here --------------------------------------------------------------------------------------------------


def cache(context: Context) -> int:
    from nautilus_client import cache as kept

    folder = kept.folder()
    if context.options.action == "clear":
        count = kept.clear(folder)
        context.emit({"folder": str(folder), "removed": count}, f"{count} files removed from {folder}")
        return cli.OK
    found = kept.info(folder)
    context.emit(found, lambda: fields(found))
    return cli.OK
