"""Names that others count on stay: actions of log lines, which monitors count, and codes of problems, which callers compare.

A new name gets a line here. A name that is gone or written differently breaks whoever counts on it: give it back, or say in
docs/decisions/ why not.
"""

import ast
import re
from collections.abc import Iterator
from itertools import chain

from tests.contract.test_documents import ROOT


def listed(names: str) -> frozenset[str]:
    return frozenset(names.split())


PLACES = ("layers/shared/nautilus", "functions", "ib_bridge", "stream", "dev", "strategy_host", "export_task")

LOG_ACTIONS = listed(
    """
    answer-not-stored
    bridge-started
    bus-away
    bus-broke
    bus-delayed
    bus-epoch
    bus-message-unreadable
    bus-messages-lost
    calendar-not-loaded
    chunk-broke
    chunk-done
    chunk-left-to-expire
    chunk-refused
    chunk-split
    command-broke
    command-done
    command-failed
    command-not-told
    command-watch-broke
    competing-session-over
    confirmation-broke
    confirmation-deferred
    confirmation-refused
    deadlines-broke
    equity-day-missing
    exits-mended
    exits-wrong
    export-begins
    export-ends
    export-file-written
    export-lost
    export-not-removed
    export-removed
    export-series-anew
    export-task-ends
    export-task-starts
    export-task-waits
    farewell-not-stored
    global-cancel-sent
    hint-not-sent
    ib-connected
    ib-not-connected
    ib-notice
    ib-other-language
    ib-unmapped-code
    incident-closed
    incident-opened
    instrument-changed
    item-broke
    item-failed
    job-not-planned
    job-planned
    job-put-off
    key-refused
    lease-lost
    leases-not-renewed
    listen-lost
    live-bars-lost
    live-data-elsewhere
    live-lock-not-taken
    live-rows-not-stored
    live-value-broke
    lookup-not-renewed
    market-data-lines-fewer
    market-rule-not-told
    message-unreadable
    modify-not-taken
    name-lost
    old-rows-forgotten
    order-message-unread
    order-not-acknowledged
    order-unknown
    order-word-lost
    order-words-delayed
    order-words-refused
    orders-booked
    orders-connected
    orders-halted
    orders-not-connected
    orders-notice
    orders-started
    pacing-violation
    page-books-broke
    page-books-refused
    page-orders-broke
    plan-dropped
    queue-unavailable
    refresh-refused
    refresh-token-replayed
    replica-failed
    replica-recovered
    request
    request-broke
    requests-lost
    schedule-corrected
    schedule-refused
    schedules-not-asked
    sign-in-refused
    sign-in-throttled
    snapshot-broke
    socket-closed
    socket-opened
    socket-refused
    split-found
    store-unavailable
    strategies-not-described
    strategy-bus-away
    strategy-child-lost
    strategy-host-started
    strategy-order-delayed
    strategy-run-broke
    strategy-run-delayed
    strategy-run-lost
    strategy-stop-waits
    stream-ended
    stream-lost
    stream-not-loaded
    stream-not-probed
    stream-notice
    stream-requested
    stream-starts
    token-refused
    trading-tightened
    volume-unit-broke
    volume-unit-changed
    volume-unit-known
    volume-unit-not-compared
    volume-unit-not-stated
    volumes-revised
    volumes-were-guessed
    wants-not-read
    watched-name-found
    watched-name-not-found
    """
)

OF_LOOPS = listed(
    """
    cancels
    commands
    confirming
    connection
    control
    dispatch
    heartbeat
    keeping
    killing
    leases
    live-beat
    live-consume
    live-pump
    live-others
    live-sweep
    lookups
    modifies
    name
    order-accounts
    order-acknowledgements
    order-connection
    order-events
    page-accounts
    page-backtests
    order-exits
    order-follow-ups
    order-questions
    order-words
    orders-control
    planning
    renewal
    second-looks
    sending
    session
    stream-beat
    stream-readers
    stream-tick
    stream-wants
    stream-watch
    upkeep
    volume-units
    watch
    watch-list
    what-ifs
    describing
    runs
    """
)
"""Each loop of `nautilus.infra.loops.repeat` logs `<name>-delayed` and `<name>-broke`."""

PROBLEM_CODES = listed(
    """
    bars-missing
    config-in-use
    config-not-found
    instrument-taken
    invalid-link
    no-fence
    no-strategy-host
    run-not-found
    run-not-read
    run-over
    run-wanted-otherwise
    template-changed
    template-not-found
    template-unusable
    too-many-runs
    account-not-allowed
    adjustment-explained
    adjustment-not-found
    ambiguous-instrument
    answer-too-large
    bad-request
    body-too-large
    break-not-found
    break-over
    bus-unavailable
    calendar-unknown
    cash-known
    changed-meanwhile
    collision
    conflict
    credential-in-address
    database-busy
    database-slow
    database-unavailable
    disk-full
    error
    expired-token
    export-incomplete
    export-not-over
    export-overlaps
    forbidden
    foreign-host
    foreign-origin
    gone
    headers-too-large
    http-error
    ib-no-answer
    ib-refused
    ib-unavailable
    idempotency-key-reused
    import-not-open
    import-refused
    incident-lasts
    incident-not-found
    incident-over
    instrument-not-resolved
    instrument-unconfirmed
    internal-error
    invalid-api-key
    invalid-credentials
    invalid-input
    invalid-refresh-token
    invalid-ticket
    invalid-token
    last-administrator
    limit-exceeded
    limit-not-set
    malformed
    method-not-allowed
    missing-scope
    modify-not-unknown
    no-bridge
    no-change
    no-export-place
    no-figures
    no-such-import
    no-such-route
    not-acceptable
    not-found
    null-character
    order-being-sent
    order-cancel-pending
    order-change-refused
    order-change-unknown
    order-changed
    order-denied
    order-external
    order-modify-pending
    order-not-found
    order-not-unknown
    order-over
    order-rejected
    order-unknown
    orders-off
    pacing
    page-token-expired
    page-token-invalid
    page-token-mismatch
    password-sign-in-needed
    position-breaks-open
    price-known
    range-not-satisfiable
    rate-limited
    refresh-token-replayed
    repeated-parameter
    restarting
    session-ended
    sign-in-busy
    target-unusable
    too-many-exports
    too-many-imports
    too-many-keys
    too-many-lookups
    too-many-sockets
    too-many-ticks
    too-many-unknown-symbols
    too-many-wants
    unauthorized
    unavailable
    unknown-account
    unknown-command
    unknown-export
    unknown-file
    unknown-instrument
    unknown-job
    unknown-key
    unknown-parameter
    unknown-series
    unknown-session
    unknown-user
    unsupported-content-encoding
    unsupported-media-type
    user-exists
    validation-error
    version-forgotten
    """
)

WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
LOGS = {"debug", "info", "warning", "error", "exception", "critical"}


def nodes() -> Iterator[ast.AST]:
    """All that the program consists of."""
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            yield from ast.walk(ast.parse(path.read_text()))


def words(node: ast.AST) -> set[str]:
    """The texts in an expression that may be a name; of a text with more words, what stands before the colon."""
    texts = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return {name for name in (text.partition(":")[0] for text in texts) if WORD.fullmatch(name)}


def logged(node: ast.AST) -> set[str]:
    """The action of a call that writes a log line."""
    match node:
        case ast.Call(func=ast.Attribute(value=target, attr=attr), args=[action, *_]) if attr in LOGS:
            return words(action) if ast.unparse(target).endswith("log") else set()
        case ast.For(target=ast.Tuple(elts=[ast.Name(id="action"), *_]), iter=choices):
            return words(choices)
    return set()


def repeated(node: ast.AST) -> set[str]:
    """The name of a loop, where it is started."""
    match node:
        case ast.Call(func=ast.Attribute(attr="_repeat") | ast.Name(id="repeat"), args=[name, *_]):
            return words(name)
    return set()


def delayed(node: ast.AST) -> set[str]:
    """The action that a loop logs in place of `<name>-delayed`."""
    return words(node.value) if isinstance(node, ast.keyword) and node.arg == "delayed" else set()


def coded(node: ast.AST) -> set[str]:
    """The codes that a keyword, an attribute or a variable of that name gets, and those that have a name of their own."""
    match node:
        case ast.keyword(arg="code", value=value) | ast.Assign(targets=[ast.Name(id="code")], value=value):
            return words(value)
        case ast.Call(func=ast.Name(id="_refusal"), args=[value, *_]):
            return words(value)
        case ast.Assign(targets=[ast.Name(id="UNKNOWN" | "REPEATED" | "BUSY")], value=ast.Constant() as value):
            return {name for name in words(value) if "-" in name}
    return set()


COMPOSED = {"too-many-wants", "too-many-ticks"}
"""Codes that are put together where they are raised, in live/asking.py."""


def test_log_actions_are_the_ones_that_monitors_know() -> None:
    program = list(nodes())
    assert set(chain.from_iterable(map(repeated, program))) == OF_LOOPS
    assert set(chain.from_iterable(logged(n) | delayed(n) for n in program)) == LOG_ACTIONS


def test_problem_codes_are_the_ones_that_callers_know() -> None:
    assert set(chain.from_iterable(map(coded, nodes()))) | COMPOSED == PROBLEM_CODES


def test_names_are_found_where_they_are_given() -> None:
    text = """
class Full(Error): code = "all-full"
code = {404: "no-route"}.get(status, "other-error")
log.warning("is-away: for %s", reason)
self._log.info("came" if x else "went")
messages.error("a sentence, and no action")
for action, rows in (("was-opened", a), ("was-closed", b)): pass
self._repeat("a-loop", step)
repeat("loop", step, delayed="not-done")
raise Conflict("not so", code="not-so")
"""
    program = list(ast.walk(ast.parse(text)))
    assert set(chain.from_iterable(map(repeated, program))) == {"a-loop", "loop"}
    assert set(chain.from_iterable(logged(n) | delayed(n) for n in program)) == {
        *("is-away", "came", "went", "was-opened", "was-closed", "not-done")
    }
    assert set(chain.from_iterable(map(coded, program))) == {"all-full", "no-route", "other-error", "not-so"}
