"""IB's refusals: their codes and words. Where IB publishes no wording the comment says so."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    code: int
    text: str


HMDS = "Historical Market Data Service error message:"


def service_error(text: str) -> Violation:
    """Error 162, under which IB's historical service reports everything."""
    return Violation(162, HMDS + text)


def invalid(what: str) -> Violation:
    """Error 321: the request itself is wrong. The letters are a code of IB's own and carry no meaning for a client."""
    return Violation(321, f"Error validating request.-'bN' : cause - {what}")


CONTINUOUS_END = Violation(10339, "Setting end date/time for continuous future security type is not allowed.")
ADJUSTED_END = invalid("End Date/Time must be empty for ADJUSTED_LAST.")  # the code is IB's, the wording ours
SCHEDULE_SIZE = Violation(10295, "Only daily resolution is supported for Schedule requests.")
DUPLICATE_HISTORY = Violation(386, "Duplicate ticker ID for API historical data query")
UNKNOWN_HISTORY = "No historical data query found for ticker id:{}"
# IB names the limit of 50 and no answer for the 51st; the code and words here are ours, in IB's manner.
TOO_MANY_OPEN = Violation(322, "Error processing request.-'bT' : cause - Max number of open historical requests is 50")
PACING = service_error("Historical data request pacing violation")
NOT_FOUND = Violation(200, "No security definition has been found for the request")


def ambiguous(symbol: str) -> Violation:
    return Violation(200, f"The contract description specified for {symbol} is ambiguous.")


def cancelled(request_id: int) -> Violation:
    return service_error(f"API historical data query cancelled: {request_id}")


RATE_EXCEEDED = Violation(100, "Max rate of messages per second has been exceeded")
