"""What each code of IB means for an order, and what we do: one table.

Sources: TWS API "message codes" and IBKR Campus "error handling" (read 2026-11), and what users of public clients report.
A code is about the order or about our request to change it: a refused request never changes the order. Which of the two
a code of `ORDER_OR_REQUEST` is about, `apply` decides by the order's state.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class About(StrEnum):
    ORDER = "order"
    REQUEST = "request"
    ORDER_OR_REQUEST = "order or request"
    CONNECTION = "connection"
    LOGIN = "login"


class Act(StrEnum):
    """What a code does."""

    REJECT = "reject"
    """The order is refused; of a working order with a modify: the modify is."""
    CANCEL = "cancel"
    """The order is cancelled."""
    NOTICE = "notice"
    """The order lives. IB may have changed a field of it: keep the text, and read the order again."""
    UNCERTAIN = "uncertain"
    """Nobody knows whether IB has the order, or did what was requested: `unknown`, and three questions."""
    ONCE_MORE = "once_more"
    """IB does not have the order: send it once more under a new order id; the second time see `apply`."""
    REFUSE_REQUEST = "refuse_request"
    """The request is refused; read the order again."""
    REQUEST_ONCE_MORE = "request_once_more"
    """The request came too early: once more; the second time it is refused."""
    ALREADY_FILLED = "already_filled"
    """The request is refused, as the order is filled: ask for executions."""
    NOT_FOUND = "not_found"
    """The request is refused, and that proves nothing about the order: three questions."""
    HALT = "halt"
    """The order is refused, and so would be every other one: halt."""
    SLOW_DOWN = "slow_down"
    """Messages came too fast: pause for a second; after the third time IB closes the connection."""


@dataclass(frozen=True, slots=True)
class CodeRule:
    """reason: the word that stands first in an order's `why`. incident: a code of `incidents.CODES`, or empty.

    text: what the code means and what a person can do, for docs and answers.
    """

    about: About
    act: Act
    reason: str
    text: str
    incident: str = ""


_O, _R, _OR = About.ORDER, About.REQUEST, About.ORDER_OR_REQUEST
_MISSED, _CLICK = "order-check-missed", "order-waits-for-click"
_PRECAUTION = "a setting of the gateway, not IB, refused it: Global Configuration, Presets or API, Precautions"
_NOT_MATCHED = "the modify differs from the order in more than price, quantity and time in force"
_STEP = "our own check of price and quantity steps should have refused it: refresh the market rule"

_ROWS: tuple[tuple[tuple[int, ...], CodeRule], ...] = (
    # the order is refused
    ((109,), CodeRule(_OR, Act.REJECT, "broker_precaution", f"price too far off; {_PRECAUTION}", "order-precaution")),
    ((163,), CodeRule(_OR, Act.REJECT, "broker_precaution", f"price limit in percent; {_PRECAUTION}", "order-precaution")),
    ((164,), CodeRule(_OR, Act.REJECT, "broker_precaution", f"no price to compare with; {_PRECAUTION}", "order-precaution")),
    ((382,), CodeRule(_OR, Act.REJECT, "broker_precaution", f"price limit in ticks; {_PRECAUTION}", "order-precaution")),
    ((383,), CodeRule(_OR, Act.REJECT, "broker_precaution", f"limit of the size; {_PRECAUTION}", "order-precaution")),
    ((110,), CodeRule(_OR, Act.REJECT, "price_step", f"the price is off its step; {_STEP}", _MISSED)),
    ((160, 355, 388, 434), CodeRule(_OR, Act.REJECT, "quantity_step", f"IB does not take this quantity; {_STEP}", _MISSED)),
    ((10250,), CodeRule(_OR, Act.REJECT, "quantity_step", f"IB takes no fraction here; {_STEP}", _MISSED)),
    ((111, 113, 334, 337, 387, 391), CodeRule(_OR, Act.REJECT, "type_not_supported", "type and time in force do not fit here")),
    ((361, 362, 363, 403), CodeRule(_OR, Act.REJECT, "bad_stop_price", "the stop or trigger price is not valid")),
    ((154,), CodeRule(_OR, Act.REJECT, "halted", "trading in this contract is halted: send a new order when it is open again")),
    ((200,), CodeRule(_O, Act.REJECT, "unknown_contract", "IB knows no such contract: look it up anew")),
    ((201,), CodeRule(_OR, Act.REJECT, "broker_rejected", "IB or the exchange refused it; the text says why")),
    ((203, 460, 10015), CodeRule(_OR, Act.REJECT, "not_allowed", "this account may not trade this")),
    (
        (10243, 10244, 10245, 10246, 10247, 10248, 10249, 10251, 10252),
        CodeRule(_OR, Act.REJECT, "fraction_not_allowed", "IB takes no such fraction over the API"),
    ),
    ((321,), CodeRule(_OR, Act.REJECT, "invalid_order", "IB could not use a field of the order; its text names it")),
    # the order is over, or lives with a notice
    ((202,), CodeRule(_O, Act.CANCEL, "broker_cancelled", "the order is cancelled; by IB itself where its text gives a reason")),
    ((399,), CodeRule(_O, Act.NOTICE, "notice", "IB holds the order or changed it; its text says how")),
    ((404,), CodeRule(_O, Act.NOTICE, "locate", "IB holds the order until shares are found to sell short")),
    ((2109,), CodeRule(_O, Act.NOTICE, "outside_rth_ignored", "IB ignores `outside_rth` for this order")),
    ((2111, 10233), CodeRule(_O, Act.NOTICE, "notice", "IB took the order with changed fields")),
    ((10349,), CodeRule(_O, Act.NOTICE, "preset_applied", "a preset of the gateway changed the time in force")),
    # nobody knows
    ((103,), CodeRule(_O, Act.ONCE_MORE, "duplicate_order_id", "IB has used this order id already", "order-id-used")),
    ((10006,), CodeRule(_O, Act.ONCE_MORE, "parent_missing", "IB does not know the parent order yet")),
    ((133,), CodeRule(_OR, Act.UNCERTAIN, "submit_failed", "the gateway could not submit it; IB may have it all the same")),
    ((512,), CodeRule(_OR, Act.UNCERTAIN, "sending_failed", "sending failed on the way; it may have been written")),
    ((515,), CodeRule(_R, Act.UNCERTAIN, "sending_failed", "sending the cancel failed on the way; it may have been written")),
    (
        (2137, 10311),
        CodeRule(
            _O, Act.NOTICE, "waits_for_click",
            "the gateway may wait for a click: tick Bypass Order Precautions for API Orders in its API settings", _CLICK,
        ),
    ),
    # the request is refused, the order is as it was
    ((104,), CodeRule(_R, Act.ALREADY_FILLED, "already_filled", "the order is filled and cannot be changed")),
    ((105,), CodeRule(_R, Act.REFUSE_REQUEST, "modify_does_not_match", _NOT_MATCHED)),
    ((106, 107), CodeRule(_R, Act.REFUSE_REQUEST, "cannot_transmit", "IB could not pass the modify on")),
    ((134, 329), CodeRule(_R, Act.REFUSE_REQUEST, "modify_refused", _NOT_MATCHED)),
    ((10241, 10242), CodeRule(_R, Act.REFUSE_REQUEST, "modify_not_allowed", "IB does not allow this change of this order")),
    ((2102,), CodeRule(_R, Act.REQUEST_ONCE_MORE, "still_in_work", "IB still works on the order; the request is sent once more")),
    ((135, 10147), CodeRule(_R, Act.NOT_FOUND, "not_found", "IB does not know this order id; it may know the order")),
    ((136, 161), CodeRule(_R, Act.NOT_FOUND, "not_cancellable", "IB cannot cancel the order in the state in which it is")),
    ((10148,), CodeRule(_R, Act.NOT_FOUND, "not_cancellable", "IB cannot cancel the order; its text says in which state it is")),
    ((10149,), CodeRule(_R, Act.NOT_FOUND, "not_cancellable", "IB did not take the order id")),
    ((10328,), CodeRule(_R, Act.UNCERTAIN, "order_data_lost", "IB's servers lost track of the order's data for a while")),
    # neither
    ((100,), CodeRule(About.CONNECTION, Act.SLOW_DOWN, "message_rate", "above 50 messages a second", "order-message-rate")),
)  # fmt: skip
CODES: dict[int, CodeRule] = {code: rule for codes, rule in _ROWS for code in codes}
"""Code -> what it means. Those that are missing here are `UNMAPPED`."""

# Codes behind which are several things; the text tells which.
TEXTS: dict[int, tuple[str, CodeRule]] = {
    321: (
        r"read.?only",
        CodeRule(
            About.LOGIN, Act.HALT, "orders_not_allowed",
            "the gateway's box Read-Only API is ticked: no order can pass", "orders-not-allowed",
        ),
    ),
    10148: (
        r"state:?\s*filled",
        CodeRule(_R, Act.ALREADY_FILLED, "already_filled", "the order is filled and cannot be cancelled"),
    ),
}  # fmt: skip
UNMAPPED = CodeRule(
    _OR,
    Act.UNCERTAIN,
    "unmapped_code",
    "nobody here knows this code: look it up at IB, and add it",
    "order-code-unknown",
)
UNMAPPED_NOTICE = CodeRule(
    _O,
    Act.NOTICE,
    "unmapped_notice",
    "nobody here knows this notice: look it up at IB, and add it",
    "order-code-unknown",
)


def rule(code: int, text: str = "") -> CodeRule:
    """What a code means that came with an order's number. Of 2100 to 2199, which are notices, IB adds new ones."""
    pattern, found = TEXTS.get(code, ("", UNMAPPED))
    if pattern and re.search(pattern, text, re.IGNORECASE):
        return found
    return CODES.get(code, UNMAPPED_NOTICE if 2100 <= code < 2200 else UNMAPPED)


def refuses(code: int) -> bool:
    """Whether a code says that an order is refused, whatever its text."""
    return rule(code).act is Act.REJECT
