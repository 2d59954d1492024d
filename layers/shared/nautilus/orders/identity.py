"""By which names an order and a fill are known again."""

import re
from typing import NamedTuple
from uuid import UUID

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_REF = re.compile(rf"({_UUID})(?::.{{0,40}})?")


FIRST_REQUEST, LAST_REQUEST = 2**31 - 2**20, 2**31 - 2
"""Numbers of requests; the next one is IB's word for no number. Order ids are below them, so that an error of IB, which has a
number alone, is never about one of each."""
LAST_ORDER_ID = FIRST_REQUEST - 1


class ExecutionKey(NamedTuple):
    """Names a fill within its account. base: IB's id without its last group; revision: that group, as a number.

    All revisions of one base are one fill, and the highest revision is what happened.
    """

    base: str
    revision: int


def execution_key(exec_id: str) -> ExecutionKey:
    """`0000e0d5.64a1.01.02` is revision 2 of `0000e0d5.64a1.01`. An id of another form is a base of its own, revision 0."""
    base, dot, last = exec_id.rpartition(".")
    if dot and base and re.fullmatch(r"(?a)\d{1,9}", last):
        return ExecutionKey(base, int(last))
    return ExecutionKey(exec_id, 0)


def order_ref(order_id: UUID) -> str:
    """The text by which IB names our order in its messages: the plain id."""
    return str(order_id)


def order_id_of(order_ref: str) -> UUID | None:
    """Our order's id in such a text, a suffix `:...` allowed; None for the order of somebody else."""
    match = _REF.fullmatch(order_ref.strip())
    return UUID(match[1]) if match else None
