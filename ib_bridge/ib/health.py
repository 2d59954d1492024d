"""What works of the connection to IB: plain state, without a socket and without a clock.

Four things are kept apart, because they fail apart: our socket, IB's servers behind it, each data farm, each request.
`connection` brings the socket's news and every message of IB; times are market time in nanoseconds.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from ib_bridge.ib.codes import FARM_CODES, Reaction, farm_of, language, meaning
from nautilus.clock import NS_PER_S
from nautilus.market import farms
from nautilus.market.instrument import Instrument

PORT_MOVED = 1300
_DISPLACED_NS = 300 * NS_PER_S
"""For how long another session is believed to have the login after IB's last message of it."""
_SILENCE_NS = 600 * NS_PER_S
"""IB repeats an outage about every half minute and reports the return of a farm. After so long without a word what we know
may be wrong: IB reports every farm to a new connection."""
_OTHER_LANGUAGE = (
    "the gateway writes its errors in another language than English, so what they mean is not known: set"
    ' "Show API error messages in English" (Configure, API, Settings) or its language to English'
)


class ConnectionState(StrEnum):
    """How the connection to IB is; docs/architecture.md explains each."""

    STARTING = "starting"
    """Not connected yet since this process began."""
    CONNECTED = "connected"
    """All that history needs works."""
    DEGRADED = "degraded"
    """Connected, but IB's servers or a farm are away: the reason names them."""
    RESET_WINDOW = "reset_window"
    """The same, at the hour of IB's nightly reset."""
    DISPLACED = "displaced"
    """Somebody else uses the login."""
    NEEDS_LOGIN = "needs_login"
    """The gateway takes the connection and says nothing: it waits for a person."""
    DOWN = "down"
    """No connection."""


class Health(NamedTuple):
    """The state of the connection and the reason for it, at one time."""

    state: ConnectionState
    reason: str


class ConnectionHealth:
    """Collects what the socket and IB's messages say, and derives the state from it."""

    def __init__(self) -> None:
        self.up = False
        """True while the socket is connected and the handshake done."""
        self.servers_lost = False
        self.farms: dict[str, dict[str, str]] = {}
        """Farm -> its kind and state, by the gateway's last message."""
        self.language: str | None = None
        """`english` or `other`, as the texts of this connection show; None until one does."""
        self.unmapped = 0
        """How many messages had a code that nobody has classified."""
        self._failure = Health(ConnectionState.STARTING, "connecting")
        self._displaced_until = 0
        self._last_notice = 0

    @property
    def reason(self) -> str:
        """Why there is no connection, or why the last one ended."""
        return self._failure.reason

    # ---- the socket --------------------------------------------------------------------------------------------------

    def connecting(self) -> None:
        """A new attempt begins: the gateway reports farms, servers and language anew."""
        self.up = False
        self.servers_lost = False
        self.farms.clear()
        self.language = None

    def connected(self, now: int) -> None:
        """The handshake is done and the clock was read."""
        self._last_notice = now

    def failed(self, state: ConnectionState, reason: str) -> bool:
        """The connection, or an attempt to make one, failed. False when this was known already."""
        known, self._failure = self._failure, Health(state, reason)
        return known != self._failure

    # ---- messages of IB ----------------------------------------------------------------------------------------------

    def note(self, code: int, text: str, now: int) -> bool:
        """Take a message of IB. True when it is about more than one request."""
        if code in FARM_CODES:
            kind, state = FARM_CODES[code]
            self.farms[farm_of(text)] = {"kind": kind, "state": state}
        elif code in (1100, 2110):
            self.servers_lost = True
        elif code in (1101, 1102):
            self.servers_lost = False
        elif meaning(code, text).reason == "competing_session":
            self._displaced_until = now + _DISPLACED_NS
        elif meaning(code, text).reaction is Reaction.ALARM:
            self.unmapped += 1
        elif code != PORT_MOVED:
            return False
        self._last_notice = now
        return True

    def displacement_over(self) -> None:
        """Data have come: nobody else uses the login any more."""
        self._displaced_until = 0

    def learn_language(self, code: int, text: str) -> bool:
        """Learn the gateway's language from a text; True when that is news.

        One text in another language is enough: those of IB's servers are English whatever the gateway speaks.
        """
        found = language(code, text)
        if found is None or self.language in (found, "other"):
            return False
        self.language = found
        return True

    # ---- what follows from it ----------------------------------------------------------------------------------------

    def at(self, now: int) -> Health:
        """The state now."""
        if not self.up:
            return self._failure
        if now < self._displaced_until:
            return Health(ConnectionState.DISPLACED, "another session uses this login")
        if self.servers_lost:
            reason = "IB's servers cannot be reached from the gateway (1100)"
            return Health(_outage(now, farms.HOME), reason)
        if broken := self._broken():
            reason = f"data farms are away: {', '.join(broken)}"
            return Health(_outage(now, map(farms.served_by, broken)), reason)
        return Health(ConnectionState.CONNECTED, _OTHER_LANGUAGE if self.language == "other" else "")

    def serves(self, instrument: Instrument, now: int) -> bool:
        """True when history of this instrument can be requested now."""
        return now >= self._displaced_until and self.reaches(instrument)

    def reaches(self, instrument: Instrument) -> bool:
        """True when IB's servers and the farms of this instrument are there, whoever uses the login."""
        return self.up and not self.servers_lost and not farms.away(self.farms, instrument)

    @property
    def can_resolve(self) -> bool:
        """True when contract lookups can be trusted: a 200 during an outage is often false."""
        return self.up and not self.servers_lost and not farms.broken(self.farms, "secdef")

    def is_stale(self, now: int) -> bool:
        """True when something has been away for long and IB says no more of it."""
        away = self.up and (self.servers_lost or bool(self._broken()))
        return away and now - self._last_notice > _SILENCE_NS

    def _broken(self) -> list[str]:
        return farms.broken(self.farms, "history") + farms.broken(self.farms, "secdef")


def _outage(now: int, regions: Iterable[str | None]) -> ConnectionState:
    """An outage at the hour of a nightly reset of these regions is expected."""
    return ConnectionState.RESET_WINDOW if farms.resting(now, regions) else ConnectionState.DEGRADED
