"""Messages on their way to sockets, and what one write takes. Sockets for which the same messages wait share its text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_MOST_FRAMES = 256
"""So many different frames of a beat are kept for others; who waits for yet another set of messages pays for its own."""


@dataclass(slots=True, eq=False)
class BusMessage:
    """A message of the bus that counts; two are the same when they are one object.

    text: its body, JSON of one object, as clients get it. replaceable: the next one of its channel says all that it says.
    version: of the series that it tells of; 0: none.
    """

    kind: str
    channel: str
    number: int
    text: str
    fields: Mapping[str, Any]
    replaceable: bool = field(init=False)
    version: int = field(init=False)

    def __post_init__(self) -> None:
        self.replaceable = self.kind == "quote" or (self.kind == "bar" and self.fields.get("state") == "forming")
        version = self.fields.get("version")
        self.version = version if isinstance(version, int) and not self.replaceable else 0


class Begin(NamedTuple):
    """What a client knows of a channel once it has a snapshot: messages up to a number, the series up to a version."""

    channel: str
    number: int
    version: int = 0


class Outgoing(NamedTuple):
    """A text that is to be sent. message: of the bus; None: it was made for this socket. begin: it is a snapshot.
    new_epoch: numbers begin anew behind it."""

    text: str
    message: BusMessage | None = None
    begin: Begin | None = None
    new_epoch: bool = False


class Frame:
    """What goes out in one write. numbers: channel -> number of its message. Sockets share it: nobody changes it."""

    __slots__ = ("_json", "numbers", "outgoing")

    def __init__(self, outgoing: Sequence[Outgoing]) -> None:
        self.outgoing = outgoing
        self.numbers = {one.message.channel: one.message.number for one in outgoing if one.message is not None}
        self._json = ""

    @property
    def json(self) -> str:
        """A JSON array of its texts, joined once for all sockets."""
        if not self._json:
            self._json = f"[{','.join([one.text for one in self.outgoing])}]"
        return self._json


class Frames:
    """The frames of one beat, by what they are made of."""

    def __init__(self) -> None:
        self._made: dict[tuple[tuple[BusMessage, ...], tuple[int | None, ...]], Frame] = {}

    def clear(self) -> None:
        """A beat begins: what was made before is old."""
        self._made.clear()

    def frame(self, messages: tuple[BusMessage, ...], before: tuple[int | None, ...]) -> Frame:
        """The frame of these messages. before: the number of each channel's message that was sent last; None: none was."""
        found = self._made.get((messages, before))
        if found is None:
            pairs = zip(messages, before, strict=True)
            found = Frame([numbered(message, last) for message, last in pairs if last is None or message.number > last])
            if len(self._made) < _MOST_FRAMES:
                self._made[messages, before] = found
        return found


def numbered(message: BusMessage, before: int | None) -> Outgoing:
    """A message to be sent, with `skip` where others lie between it and the one that was sent before."""
    skip = message.number - before - 1 if before is not None else 0
    if skip <= 0:
        return Outgoing(message.text, message)
    return Outgoing(f'{message.text[:-1]},"skip":{skip}}}', message)
