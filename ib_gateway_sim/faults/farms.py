"""Farms: the servers behind the gateway, for market data ("data"), history ("hmds") and contract lookups ("secdef").

The names are those that a real gateway reports.
"""

from dataclasses import dataclass

_NOTICES = {  # (kind, state) -> code and words; the farm's name follows
    ("data", "ok"): (2104, "Market data farm connection is OK:"),
    ("data", "broken"): (2103, "Market data farm connection is broken:"),
    ("data", "inactive"): (2108, "Market data farm connection is inactive but should be available upon demand."),
    ("data", "connecting"): (2119, "Market data farm is connecting:"),
    ("hmds", "ok"): (2106, "HMDS data farm connection is OK:"),
    ("hmds", "broken"): (2105, "HMDS data farm connection is broken:"),
    ("hmds", "inactive"): (2107, "HMDS data farm connection is inactive but should be available upon demand."),
    ("secdef", "ok"): (2158, "Sec-def data farm connection is OK:"),
    ("secdef", "broken"): (2157, "Sec-def data farm connection is broken:"),
}


@dataclass
class Farm:
    name: str
    kind: str  # data hmds secdef
    state: str = "ok"

    def notice(self) -> tuple[int, str]:
        code, words = _NOTICES[self.kind, self.state]
        return code, words + self.name


def all_farms() -> dict[str, Farm]:
    """Every farm by its name, all well."""
    names = {
        "data": ("usfarm", "usfarm.nj", "usfuture", "cashfarm", "eufarm", "jfarm"),
        "hmds": ("ushmds", "euhmds", "cashhmds"),
        "secdef": ("secdefil",),
    }
    return {name: Farm(name, kind) for kind, several in names.items() for name in several}


def farm_for(kind: str, sec_type: str, currency: str) -> str:
    """The farm that serves an instrument; ours, in the manner of the real names."""
    if kind == "secdef":
        return "secdefil"
    if sec_type in ("CASH", "CMDTY"):
        return "cashfarm" if kind == "data" else "cashhmds"
    if currency in ("EUR", "GBP", "CHF", "SEK"):
        return "eufarm" if kind == "data" else "euhmds"
    if kind == "data" and currency in ("JPY", "HKD", "AUD"):
        return "jfarm"
    if kind == "data" and sec_type in ("FUT", "CONTFUT"):
        return "usfuture"
    return "usfarm" if kind == "data" else "ushmds"
