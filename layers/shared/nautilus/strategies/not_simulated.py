"""What simulated fills leave out, in words: of a back-test and of a run in paper."""

VOLUME = 10_000_000
"""Units of an opening, and of a bar whose volume is unknown or zero: the engine fills nothing where there is none."""

NO_VOLUME = f"volume: bars without one count as {VOLUME:,} units"
NO_OPENING_VOLUME = "volume at the open: market orders fill whole, however large"
NO_MARGIN = "margin, borrowing and interest"
NO_CHECKS = (
    "the checks of an account: a live run's order may be denied where this one fills, a short sale while the limit short is"
    " off (short_not_allowed) among them"
)


def note(left_out: str) -> str:
    """As `notes` of a run has it."""
    return f"not simulated: {left_out}"
