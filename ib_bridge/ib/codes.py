"""What each code of Interactive Brokers means and what we do about it: one table.

Sources: TWS API "message codes" and IBKR Campus "error handling" (read 2026-11); texts behind codes that have several as
users report them and as public clients compare with them (twstools, rust-ibapi, Lean, IBrokers and others, read 2026-11).
An unmapped code is an alarm, never a silent retry.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from ib_bridge.ib.language import is_english, is_surely_english, plain


class Reaction(StrEnum):
    """What the caller should do."""

    PERMANENT = "permanent"
    """This request will never succeed as it is."""
    EMPTY = "empty"
    """There is nothing in the window, says IB; an empty re-check later confirms it."""
    RETRY = "retry"
    """Ask again after a while, a few times."""
    WAIT = "wait"
    """We were too fast, or somebody else uses the login: wait longer, then ask again."""
    RECONNECT = "reconnect"
    """The connection is gone or useless."""
    RESUBSCRIBE = "resubscribe"
    """A stream ended; ask for it again."""
    INFO = "info"
    """Nothing failed."""
    ALARM = "alarm"
    """Nobody knows this code: a person should look."""


UNRESOLVED = frozenset({"unknown_contract", "ambiguous_contract", "unknown_exchange"})
"""Reasons that are often false while IB's contract database is away."""


class Scope(StrEnum):
    """Whom a code is about."""

    REQUEST = "request"
    ORDER = "order"
    SYSTEM = "system"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A code's scope and reaction; `reason` is the word for it in notes and answers."""

    scope: Scope
    reaction: Reaction
    reason: str


def _m(scope: Scope, reaction: Reaction, reason: str) -> Meaning:
    return Meaning(scope, reaction, reason)


_R, _O, _S, _C = Scope.REQUEST, Scope.ORDER, Scope.SYSTEM, Scope.CLIENT
_P, _I, _W = Reaction.PERMANENT, Reaction.INFO, Reaction.WAIT

CODES: dict[int, Meaning] = {
    100: _m(_S, _W, "message_rate"),
    101: _m(_R, Reaction.RETRY, "no_market_data_line_free"),
    102: _m(_R, Reaction.RETRY, "duplicate_request_id"),
    103: _m(_O, _P, "duplicate_order_id"),
    104: _m(_O, _P, "order_already_filled"),
    105: _m(_O, _P, "order_does_not_match"),
    106: _m(_O, _P, "order_cannot_be_sent"),
    107: _m(_O, _P, "order_incomplete"),
    110: _m(_O, _P, "price_off_tick"),
    135: _m(_O, _P, "order_not_found"),
    161: _m(_O, _P, "order_not_cancellable"),
    165: _m(_S, _I, "history_service_notice"),
    166: _m(_R, _P, "expired_contract"),
    200: _m(_R, _P, "unknown_contract"),
    201: _m(_O, _P, "order_rejected"),
    202: _m(_O, _I, "order_cancelled"),
    203: _m(_O, _P, "not_allowed_for_account"),
    300: _m(_R, _I, "late_cancel"),
    302: _m(_R, _I, "unparsable_stop"),
    309: _m(_R, Reaction.RETRY, "no_depth_line_free"),
    310: _m(_R, _I, "late_cancel"),
    316: _m(_R, Reaction.RESUBSCRIBE, "depth_halted"),
    317: _m(_R, _I, "depth_reset"),
    319: _m(_S, _P, "bad_log_level"),
    320: _m(_R, _P, "malformed_request"),
    321: _m(_R, _P, "invalid_request"),
    322: _m(_R, Reaction.RETRY, "cannot_process"),
    326: _m(_S, Reaction.RECONNECT, "client_id_in_use"),
    327: _m(_S, _P, "client_id_not_zero"),
    354: _m(_R, _P, "no_market_data_subscription"),
    355: _m(_O, _P, "order_size"),
    357: _m(_S, _P, "client_out_of_date"),
    365: _m(_R, _I, "late_cancel"),
    366: _m(_R, Reaction.RETRY, "query_lost"),
    385: _m(_R, Reaction.RETRY, "duplicate_request_id"),
    386: _m(_R, Reaction.RETRY, "duplicate_request_id"),
    387: _m(_O, _P, "order_type_not_supported"),
    388: _m(_O, _P, "order_size"),
    399: _m(_O, _I, "order_notice"),
    404: _m(_O, _I, "shares_being_located"),
    414: _m(_R, _P, "snapshot_with_generic_ticks"),
    420: _m(_R, _W, "real_time_query"),
    430: _m(_R, _P, "no_fundamentals"),
    431: _m(_R, _P, "what_to_show"),
    434: _m(_O, _P, "order_size"),
    438: _m(_S, _P, "login_locked"),
    501: _m(_C, _I, "already_connected"),
    502: _m(_C, Reaction.RECONNECT, "cannot_connect"),
    503: _m(_C, _P, "gateway_out_of_date"),
    504: _m(_C, Reaction.RECONNECT, "not_connected"),
    505: _m(_C, Reaction.RECONNECT, "protocol_damage"),
    506: _m(_C, Reaction.RECONNECT, "protocol_damage"),
    507: _m(_C, Reaction.RECONNECT, "protocol_damage"),
    508: _m(_C, Reaction.RECONNECT, "protocol_damage"),
    509: _m(_C, Reaction.RECONNECT, "protocol_damage"),
    1100: _m(_S, _W, "ib_servers_lost"),
    1101: _m(_S, Reaction.RESUBSCRIBE, "ib_servers_back_data_lost"),
    1102: _m(_S, _I, "ib_servers_back"),
    1300: _m(_S, Reaction.RECONNECT, "port_changed"),
    10015: _m(_O, _P, "trading_not_allowed"),
    10089: _m(_R, _P, "no_market_data_subscription"),
    10090: _m(_R, _I, "part_not_subscribed"),
    10091: _m(_R, _I, "part_not_subscribed"),
    10092: _m(_R, _P, "no_depth"),
    10147: _m(_O, _P, "order_not_found"),
    10148: _m(_O, _P, "order_not_cancellable"),
    10167: _m(_R, _I, "delayed_data"),
    10168: _m(_R, _P, "no_market_data_subscription"),
    10182: _m(_R, Reaction.RESUBSCRIBE, "stream_died"),
    10186: _m(_R, _P, "no_market_data_subscription"),
    10187: _m(_R, _P, "no_permission"),
    10189: _m(_R, _P, "no_permission"),
    10190: _m(_R, Reaction.RETRY, "no_tick_line_free"),
    10197: _m(_R, _W, "competing_session"),
    10225: _m(_R, Reaction.RESUBSCRIBE, "bust"),
    10230: _m(_S, Reaction.RETRY, "unsaved_fa_changes"),
    10285: _m(_R, _P, "client_out_of_date"),
    10295: _m(_R, _P, "schedule_needs_days"),
    10299: _m(_R, _P, "other_what_to_show"),
    10314: _m(_R, _P, "bad_time"),
    10328: _m(_O, Reaction.RETRY, "order_data_lost"),
    10330: _m(_R, _P, "bad_expiry"),
    10337: _m(_R, _P, "bad_option"),
    10338: _m(_R, _P, "bad_option"),
    10339: _m(_R, _P, "continuous_future_end"),
    10346: _m(_R, _P, "displayed_elsewhere"),
}

Texts = tuple[tuple[str, Meaning], ...]

_COMPETING = (r"different IP address|competing (live )?session", _m(_R, _W, "competing_session"))
_PACING = (r"\bpacing\b|too many requests|simultaneous|max(imum)? (rate|number)", _m(_R, _W, "pacing"))
_NO_PERMISSION = (r"\bpermissions?\b|not subscribed|additional subscription", _m(_R, _P, "no_permission"))
_DUPLICATE = (r"duplicate (ticker|request)? ?id", _m(_R, Reaction.RETRY, "duplicate_request_id"))
_READ_ONLY = (r"read.only", _m(_R, _P, "read_only"))

# What IB's data service says: the text behind 162, and behind the codes that quote it. First match decides.
_SERVICE: Texts = (
    _PACING,
    _COMPETING,
    (r"scanner subscription cancelled", _m(_R, _I, "scanner_ended")),
    (r"query cancell?ed", _m(_R, Reaction.RETRY, "cancelled_by_ib")),
    (r"tim(ed|e) ?out", _m(_R, Reaction.RETRY, "timed_out")),
    _NO_PERMISSION,
    (r"Expired Contract", _m(_R, _P, "expired_contract")),
    (r"no head time ?stamp", _m(_R, _P, "no_head")),
    (
        r"\bunavailable\b|disconnect|attempt failed|not connected|connection (is|was) (broken|lost)|\binactive\b",
        _m(_R, Reaction.RETRY, "history_farm_away"),
    ),
    (r"no data of type", _m(_R, _P, "kind_not_offered")),
    (r"no historical (market )?data for|queries are not supported", _m(_R, _P, "kind_not_offered")),
    (r"returned no data|no data (was |is )?returned", _m(_R, Reaction.EMPTY, "no_data")),
    (r"unknown contract|no security definition", _m(_R, _P, "unknown_contract")),
    (r"earlier than .* (is|are) rejected|earlier than .* back from now", _m(_R, _P, "too_old")),
    (
        r"query failed|TWS exited|temporar(y|ily)|try again|internal error|server error",
        _m(_R, Reaction.RETRY, "query_failed"),
    ),
    (
        r"\binvalid\b|must occur before|\bexceeds?\b|too (large|long)|greater than|longer than|\bduration\b|\brejected\b",
        _m(_R, _P, "invalid_request"),
    ),
)

# Codes behind which are several things; the text tells which. First match decides, none leaves what the code means alone.
TEXTS: dict[int, Texts] = {
    162: (*_SERVICE, (r"^[\s.]*$", _m(_R, Reaction.RETRY, "query_failed"))),
    200: (
        (r"ambiguous", _m(_R, _P, "ambiguous_contract")),
        (r"(destination|exchange).*invalid|invalid.*(destination|exchange)", _m(_R, _P, "unknown_exchange")),
    ),
    321: (_READ_ONLY, _DUPLICATE, _PACING),
    322: (_DUPLICATE,),
    354: (_COMPETING,),
    420: tuple(row for row in _SERVICE if row[1].reaction is not Reaction.EMPTY),
    10089: (_COMPETING,),
    10168: (_COMPETING,),
    10186: (_COMPETING,),
    10187: (_PACING, _COMPETING, *(row for row in _SERVICE if row[1].reaction in (Reaction.RETRY, Reaction.EMPTY))),
    10189: (_PACING, _COMPETING, *(row for row in _SERVICE if row[1].reaction is Reaction.RETRY)),
}

# 2100 to 2199 are notices, and IB adds new ones: a range, never a list. These change what we know of the connection.
FARM_CODES: dict[int, tuple[str, str]] = {
    2103: ("market", "broken"),
    2104: ("market", "ok"),
    2105: ("history", "broken"),
    2106: ("history", "ok"),
    2107: ("history", "inactive"),
    2108: ("market", "inactive"),
    2119: ("market", "connecting"),
    2157: ("secdef", "broken"),
    2158: ("secdef", "ok"),
}
_UNKNOWN = _m(_R, Reaction.ALARM, "unmapped_code")


_OTHER_LANGUAGE = _m(_R, Reaction.ALARM, "other_language")


# What stands before the words of the data service, in English.
_LEAD = re.compile(r"^(historical market data service error message|invalid real-time query)\W*", re.IGNORECASE)


def meaning(code: int, text: str = "") -> Meaning:
    """What a code means; of those in `TEXTS` the text decides. Unmapped codes are alarms.

    A 162 whose text is not English is `other_language`: nobody knows what it says, so it is never taken for "no data".
    """
    lead, words = _parts(code, text)
    if code == 162 and not is_english(words):
        return _OTHER_LANGUAGE
    for pattern, found in TEXTS.get(code, ()):
        if re.search(pattern, words, re.IGNORECASE):
            return found
    if code == 162:
        return _UNKNOWN if is_english(lead) else _OTHER_LANGUAGE
    if 2100 <= code < 2200:
        return _m(_S, _I, "notice")
    if 510 <= code < 600:
        return _m(_C, Reaction.RECONNECT, "sending_failed")
    return CODES.get(code, _UNKNOWN)


def language(code: int, text: str) -> str | None:
    """The language a text shows the gateway to speak: `english`, `other`, or None when the text does not tell."""
    lead, words = _parts(code, text)
    own = lead or words
    if not is_english(own):
        return "other"
    return "english" if is_surely_english(own) else None


def _parts(code: int, text: str) -> tuple[str, str]:
    """A text as what the gateway puts before the words of the data service, in its own language, and these words, which
    come from IB's servers and are often English whatever the gateway speaks."""
    words = plain(text).strip()
    if english := _LEAD.match(words):
        return english[0], words[english.end() :]
    found = re.match(r"([^:\uff1a]*)[:\uff1a](.*)", words, re.DOTALL) if code == 162 else None
    return (found[1], found[2]) if found and not is_english(found[1]) else ("", words)


def farm_of(text: str) -> str:
    """The farm's name in a notice such as `HMDS data farm connection is OK:ushmds`, in any language; those of 2107 and 2108
    have a full stop in place of the colon."""
    found = re.search(r"[:.\uff1a\u3002]\s*([\w.-]+)\s*$", plain(text), re.ASCII)
    return found[1] if found else "unnamed"
