"""Import of fills that the broker's API no longer tells: a file comes in parts, is checked as a whole, and is written in pieces.

Each piece is a transaction of its own that holds the account and writes down how far the import is. So a crash loses nothing: who
finishes the same import again goes on behind the last piece, and who uploads the same file again changes nothing.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from nautilus.auth.principal import Principal
from nautilus.clock import microseconds_text
from nautilus.db.bridge.status import market_now
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, positions, risk_book
from nautilus.db.orders.positions import Difference
from nautilus.db.portfolio import imports
from nautilus.db.portfolio.imports import ImportRow, NewImport, Part, Progress
from nautilus.errors import Conflict, InvalidInput, NotFound
from nautilus.portfolio.import_applying import COUNTS, Rehearsal, Source, apply
from nautilus.portfolio.import_items import Contents, contents, piece
from nautilus.portfolio.import_schemas import MAX_PART_BYTES, ImportRequest
from nautilus.portfolio.import_verdicts import shifted
from nautilus.portfolio.report_rows import Problem, Unreadable
from nautilus.portfolio.report_times import zone_of

MAX_UNFINISHED = 5
"""Imports of a person that are not finished: their parts stand in the database."""
FINISH_S = 15.0
"""A request writes pieces for so long; API Gateway gives an answer up after 30 s. The rest is for who finishes once more."""
OVER = ("done", "refused")


class Begun(NamedTuple):
    """An import that waits for its parts. resumed: it was begun before, and these parts have come already."""

    row: ImportRow
    parts: Sequence[Part]
    resumed: bool = False


class Finished(NamedTuple):
    """What became of an import. dry: what would. differences: contracts that IB says another position of than we have now."""

    row: ImportRow
    differences: Sequence[Difference] = ()
    dry: bool = False


class ImportDesk:
    """Takes files of fills, and writes what they hold."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds that only grow."""
        self._db = database
        self._clock = clock

    # ---- uploading ---------------------------------------------------------------------------------------------------

    def begin(self, body: ImportRequest, principal: Principal) -> Begun:
        """Announce a file; the same file that was begun and not finished goes on. Conflict: too many are open."""
        principal.require_account(body.account)
        new = NewImport(
            uuid4(), body.account, body.kind, body.name, body.size, body.sha256, body.time_zone, principal.id
        )
        with self._db.transaction() as cursor:
            if account_state.known(cursor, body.account) is None:
                raise InvalidInput.field("account", f"no gateway ever named the account {body.account}")
            risk_book.lock_account(cursor, body.account)
            found = imports.unfinished(cursor, new)
            if found is not None:
                return Begun(found, imports.parts(cursor, found.id), resumed=True)
            if imports.unfinished_count(cursor, principal.id) >= MAX_UNFINISHED:
                raise Conflict(
                    f"{MAX_UNFINISHED} imports of yours are not finished; finish them, or wait until they are a day old",
                    code="too-many-imports",
                )
            return Begun(imports.insert(cursor, new), [])

    def add_part(self, import_id: UUID, n: int, raw: bytes, principal: Principal) -> Begun:
        """Store a part of the file. Conflict: the import is over, or began to be written."""
        if not 1 <= len(raw) <= MAX_PART_BYTES:
            raise InvalidInput.field("body", f"must have 1 to {MAX_PART_BYTES:,} bytes; it has {len(raw):,}")
        with self._db.transaction() as cursor:
            row = self._held(cursor, import_id, principal)
            if row.state != "uploading":
                raise Conflict(f"the import is {row.state}: no part of it can change", code="import-not-open")
            imports.put_part(cursor, import_id, n, raw)
            parts = imports.parts(cursor, import_id)
            received = sum(part.size for part in parts)
            if received > row.size:
                raise InvalidInput.field(
                    "body", f"makes {received:,} bytes of a file that was announced with {row.size:,}"
                )
            return Begun(row, parts)

    # ---- finishing ---------------------------------------------------------------------------------------------------

    def finish(self, import_id: UUID, principal: Principal, *, dry: bool = False) -> Finished:
        """Check the file and write what it holds, as far as the time of a request goes (state `applying`: finish once more).

        InvalidInput: parts are missing, or are not those that were announced; they can be sent again. dry: only count.
        """
        with self._db.transaction(snapshot=True) as cursor:
            row = visible(cursor, import_id, principal)
            if row.state in OVER:
                return Finished(row, dry=dry)
            parts, raw = imports.parts(cursor, import_id), imports.body(cursor, import_id)
        _require_whole(row, parts, raw)
        try:
            found = contents(raw, row.kind, row.account, _zone(row))
        except Unreadable as wrong:
            return Finished(self._refused(import_id, principal, wrong.problem), dry=dry)
        if dry:
            return self._counted(row, found)
        return self._written(row, found, principal)

    def _written(self, row: ImportRow, found: Contents, principal: Principal) -> Finished:
        began = self._clock()
        while row.state not in OVER:
            with self._db.transaction() as cursor:
                row = self._held(cursor, row.id, principal)
                if row.state in OVER:
                    break
                row = _write_piece(cursor, row, found)
                differences = _differences(cursor, row, found)
            if row.state == "done":
                return Finished(row, differences)
            if self._clock() - began >= FINISH_S:
                break
        return Finished(row)

    def _counted(self, row: ImportRow, found: Contents) -> Finished:
        """What finishing would do now: nothing is written, and nothing is held."""
        counts: Counter[str] = Counter()
        problems: list[Problem] = list(found.problems)
        at, rehearsal = 0, Rehearsal()
        with self._db.transaction(snapshot=True) as cursor:
            wrong = _shifted(cursor, row, found)
            if wrong is not None:
                return Finished(_as_if(row, "refused", Counter(), [wrong]), dry=True)
            while at < len(found.items):
                items = piece(found.items, at)
                done = apply(cursor, row.account, items, _source(row), now_ns=0, dry=rehearsal)
                counts += done.counts
                problems += done.problems
                at += len(items)
        return Finished(_as_if(row, row.state, counts + _counts_of_file(found), problems), dry=True)

    def _refused(self, import_id: UUID, principal: Principal, wrong: Problem) -> ImportRow:
        with self._db.transaction() as cursor:
            row = self._held(cursor, import_id, principal)
            return row if row.state in OVER else imports.advance(cursor, row, _refusal(wrong))

    # ---- reading -----------------------------------------------------------------------------------------------------

    def read(self, import_id: UUID, principal: Principal) -> Begun:
        """One import, with the parts that have come. NotFound: there is none, or it is about an account of others."""
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            row = visible(cursor, import_id, principal)
            return Begun(row, imports.parts(cursor, import_id))

    def listing(
        self, accounts: Sequence[str] | None, after: UUID | None, limit: int, principal: Principal
    ) -> list[ImportRow]:
        """Imports of accounts (None: of all), the newest first."""
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            last = visible(cursor, after, principal) if after is not None else None
            return imports.listed(cursor, accounts, last, limit)

    def _held(self, cursor: Cursor, import_id: UUID, principal: Principal) -> ImportRow:
        """The import, held after its account."""
        risk_book.lock_account(cursor, visible(cursor, import_id, principal).account)
        row = imports.read(cursor, import_id, lock=True)
        if row is None:
            raise _unknown(import_id)
        return row


def visible(cursor: Cursor, import_id: UUID, principal: Principal) -> ImportRow:
    """An import of an account that a caller may use. NotFound otherwise, as if there were none."""
    row = imports.read(cursor, import_id)
    if row is None or not principal.may_use(row.account):
        raise _unknown(import_id)
    return row


def _unknown(import_id: UUID) -> NotFound:
    return NotFound(f"there is no import {import_id}", code="no-such-import")


def _require_whole(row: ImportRow, parts: Sequence[Part], raw: bytes) -> None:
    """InvalidInput unless the parts are the file that was announced."""
    numbers = [part.n for part in parts]
    if numbers != list(range(1, len(numbers) + 1)):
        missing = next(n for n in range(1, numbers[-1]) if n not in numbers)
        raise InvalidInput.field("parts", f"part {missing} has not come")
    if len(raw) != row.size:
        raise InvalidInput.field("size", f"the parts have {len(raw):,} bytes, the file was announced with {row.size:,}")
    if hashlib.sha256(raw).hexdigest() != row.sha256:
        raise InvalidInput.field("sha256", "is not that of the parts: send again what changed, with its number")


def _zone(row: ImportRow) -> ZoneInfo | None:
    return zone_of(row.time_zone) if row.time_zone else None


def _source(row: ImportRow) -> Source:
    return Source(row.id, row.kind, row.by)


def _write_piece(cursor: Cursor, row: ImportRow, found: Contents) -> ImportRow:
    """Write the next piece, and how far the import is, in one transaction."""
    counts: Counter[str] = Counter()
    problems: list[Problem] = []
    if row.state == "uploading":
        wrong = _shifted(cursor, row, found)
        if wrong is not None:
            return imports.advance(cursor, row, _refusal(wrong))
        counts += _counts_of_file(found)
        problems += found.problems
    items = piece(found.items, row.items_done)
    done = apply(cursor, row.account, items, _source(row), now_ns=market_now(cursor))
    at = row.items_done + len(items)
    return imports.advance(
        cursor,
        row,
        Progress(
            state="done" if at >= len(found.items) else "applying",
            items=len(found.items),
            items_done=at,
            counts=counts + done.counts,
            problems=_stored(problems + done.problems),
        ),
    )


def _differences(cursor: Cursor, row: ImportRow, found: Contents) -> list[Difference]:
    """When all is written: compare the positions anew, close the breaks that it explains, and name what differs still."""
    if row.state != "done":
        return []
    contracts = {fill.con_id for fill in found.fills}
    positions.compare_open(cursor, row.account)
    return [one for one in positions.differences(cursor, row.account) if one.con_id in contracts]


def _shifted(cursor: Cursor, row: ImportRow, found: Contents) -> Problem | None:
    known = imports.known_fills(cursor, row.account, [fill.base for fill in found.fills])
    return shifted(found.fills, known)


def _counts_of_file(found: Contents) -> Counter[str]:
    return Counter(repeated=found.repeated, skipped=found.skipped, refused=len(found.problems))


def _refusal(wrong: Problem) -> Progress:
    return Progress("refused", 0, 0, {"refused": 1}, _stored([wrong]))


def _stored(problems: Sequence[Problem]) -> list[Mapping[str, object]]:
    return [one._asdict() for one in problems]


def _as_if(row: ImportRow, state: str, counts: Mapping[str, int], problems: Sequence[Problem]) -> ImportRow:
    kept = _stored(problems[: imports.MAX_PROBLEMS])
    left_out = len(problems) - len(kept)
    return row._replace(state=state, counts=dict(counts), problems=kept, problems_left_out=left_out)


def import_json(row: ImportRow, parts: Sequence[Part] = ()) -> dict[str, Any]:
    """An import as the API tells it."""
    return {
        "id": str(row.id),
        "account": row.account,
        "kind": row.kind,
        "name": row.name,
        "size": row.size,
        "sha256": row.sha256,
        "time_zone": row.time_zone,
        "state": row.state,
        "parts": [part._asdict() for part in parts],
        "received": sum(part.size for part in parts),
        "items": row.items,
        "items_done": row.items_done,
        "counts": {name: row.counts.get(name, 0) for name in COUNTS},
        "problems": list(row.problems),
        "problems_left_out": row.problems_left_out,
        "by": row.by,
        "at": microseconds_text(row.at),
        "finished_at": microseconds_text(row.finished_at) if row.finished_at else None,
    }
