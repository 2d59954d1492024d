"""What HTTP says about an answer with bars: its tag, how long it may be kept, where its time went, and in X- headers what
formats without an envelope cannot hold."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nautilus.clock import NS_PER_S
from nautilus.coverage.availability import missing_rows
from nautilus.reading import page_token
from nautilus.reading.as_of import NO_COVERAGE, AsOf
from nautilus.reading.formats import Format, Piece
from nautilus.reading.query import BarsQuery
from nautilus.reading.snapshot import Part, Snapshot

OF_ONE_ANSWER = ("Cache-Control", "Vary", "ETag", "Server-Timing")
"""Headers that are made anew for each answer; the others are kept with it."""
_SEALED_NS = 24 * 3_600 * NS_PER_S
"""A window that ends this long before the last closed bar is sealed: IB revises yesterday's bars, hardly older ones."""
_FOR_GOOD = "private, max-age=31536000, immutable"
"""A year, the longest that is of use, and no question in between (RFC 8246)."""
_SHAPE = "2"
"""Version of the answers' shape; part of every tag and cache key."""


class Timing:
    """Where the time went, for Server-Timing: milliseconds by name. replica: a read replica gave the bars."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.parts: dict[str, float] = {}
        self.cache = ""
        self.replica = False

    def add(self, name: str, since: float) -> None:
        self.parts[name] = self.parts.get(name, 0.0) + (time.perf_counter() - since) * 1000

    @property
    def header(self) -> str:
        rows = [f"{name};dur={ms:.1f}" for name, ms in self.parts.items()]
        rows += [f"cache;desc={self.cache}"] if self.cache else []
        rows += ["replica"] if self.replica else []
        return ", ".join([*rows, f"total;dur={(time.perf_counter() - self.began) * 1000:.1f}"])


def tag_of(query: BarsQuery, snapshot: Snapshot) -> str:
    """What makes two complete answers the same: the store, the query as resolved, the form, and every series' version."""
    parts = [
        (
            (
                part.name,
                part.page_cursor.con_id,
                part.page_cursor.series_id,
                part.page_cursor.version,
                part.page_cursor.source,
                part.page_cursor.window,
            ),
            (_newer(query, part), part.identity.as_dict() if part.identity else None),
        )
        for part in snapshot.parts
    ]
    gaps = [missing_rows(availability.missing) for availability in snapshot.availabilities]
    key = snapshot.token.key if snapshot.token else None
    # A tag promises the same bytes, and the token of the next page holds its expiry.
    expiry = page_token.expiry(snapshot.context.machine_ns // NS_PER_S) if query.as_of is None else page_token.NEVER_S
    form = [query.form.label, query.fields, query.gzip, query.several, expiry]
    return page_token.digest(
        _SHAPE,
        snapshot.context.store_id,
        query.digest,
        query.window.limit,
        key,
        form,
        parts,
        gaps,
        snapshot.context.source,
    )


def _newer(query: BarsQuery, part: Part) -> int | None:
    """The version that an answer names as newer than its own; None: it names none."""
    if query.as_of is not None or part.as_of is None or part.availability is None:
        return None
    return part.availability.data_version


def matches(if_none_match: str, tag: str) -> bool:
    """True when If-None-Match names the tag (RFC 9110, 13.1.2: weakly compared)."""
    names = [part.strip().removeprefix("W/").strip('"') for part in if_none_match.split(",")]
    return tag in names or names == ["*"]


def caching(query: BarsQuery, snapshot: Snapshot, tag: str) -> Mapping[str, str]:
    """How long an answer may be kept, and by what it is known; tag: empty where the answer is not complete."""
    window = query.window
    sealed = (
        tag
        and window.start is not None
        and window.end is not None
        and all(window.end <= availability.until - _SEALED_NS for availability in snapshot.availabilities)
    )
    control = "private, max-age=86400" if sealed else "private, no-cache" if tag else "no-store"
    if query.as_of is not None:
        control = _FOR_GOOD if tag and _never_changes(query, query.as_of, snapshot) else "private, no-cache"
    headers = {"Cache-Control": control, "Vary": "Accept, Accept-Encoding, Authorization, X-API-Key"}
    return headers | ({"ETag": f'"{tag}"'} if tag else {})


def _never_changes(query: BarsQuery, as_of: AsOf, snapshot: Snapshot) -> bool:
    """True when the same bars are answered for ever: both ends are given, every slot is over, and the version is fixed."""
    start, end = query.window.start, query.window.end
    return (
        start is not None
        and end is not None
        and as_of.settled(snapshot.context.machine_ns)
        and all(a.finer is None or end <= a.until for a in snapshot.availabilities)
    )


def describing(query: BarsQuery, snapshot: Snapshot, pieces: Sequence[Piece], next_token: str | None) -> dict[str, str]:
    """What the body is, and what formats without an envelope cannot hold."""
    headers = {"Content-Type": query.form.media_type + ("; charset=utf-8" if query.form is Format.CSV else "")}
    if next_token is not None:
        headers["X-Next-Page-Token"] = next_token
    return headers if query.form.enveloped else headers | _without_envelope(query, snapshot, pieces)


def _without_envelope(query: BarsQuery, snapshot: Snapshot, pieces: Sequence[Piece]) -> dict[str, str]:
    coverage: dict[str, Any] = {"complete": None, "gaps": None, "missing": None, "reason": NO_COVERAGE}
    if query.as_of is None:
        gaps = [gap for availability in snapshot.availabilities for gap in missing_rows(availability.missing)]
        coverage = {"complete": snapshot.complete, "gaps": len(gaps), "missing": gaps[:10]}
    headers = {
        "X-Source": str(pieces[0].tail.get("source", "")) if pieces else "",
        "X-Total": str(sum(piece.tail["total"] for piece in pieces)),
        "X-Data-Version": ",".join(str(part.page_cursor.version) for part in snapshot.parts),
        "X-Coverage": json.dumps(coverage, separators=(",", ":")),
    }
    changes = [part.identity.change.as_dict() for part in snapshot.parts if part.identity and part.identity.change]
    if changes:
        headers["X-Instrument-Changed"] = json.dumps(changes, separators=(",", ":"))
    errors = [piece.head["symbol"] for piece in pieces if "error" in piece.tail]
    if errors:
        headers["X-Errors"] = json.dumps(errors)
    return headers
