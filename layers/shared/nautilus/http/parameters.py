"""The parameters in the address of a request: which ones a route knows, and what the caller of another one gets.

A parameter that a route does not know is refused, as is one that is given twice: the answer to another question
would look like data. FastAPI declares and reads parameters (`Annotated[Model, Query()]`), but it names no
nearest parameter, takes the last of two, and reads `1_0` as 10: that is what `check` adds. `StrictRoute` in
nautilus/http/routes.py adds it to every route.
"""

import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_parameterless_sub_dependant
from pydantic import BaseModel

from nautilus.errors import FieldError, InvalidInput

UNKNOWN = "unknown-parameter"
REPEATED = "repeated-parameter"

_SAME_MEANING: Mapping[str, tuple[str, ...]] = {
    "symbol": ("ticker", "sym", "code", "contract", "s"),
    "symbols": ("tickers", "codes"),
    "instrument_id": ("instrument", "id", "con_id", "conid", "isin", "figi"),
    "asset_class": ("sec_type", "sectype", "security_type", "type", "asset_type"),
    "sec_type": ("asset_class", "sectype", "security_type", "type", "asset_type"),
    "exchange": ("venue", "market", "primary_exchange"),
    "timeframe": ("interval", "bar_size", "resolution", "granularity", "frequency", "freq", "period", "multiplier"),
    "price": ("what_to_show", "whattoshow", "kind", "side"),
    "session": ("use_rth", "userth", "rth", "extended_hours", "prepost"),
    "start": ("from", "since", "begin", "start_date", "start_time", "date_from", "starttime"),
    "end": ("to", "until", "till", "stop", "end_date", "end_time", "date_to", "endtime", "before"),
    "limit": ("max_results", "count", "size", "page_size", "per_page", "outputsize", "n", "max", "top"),
    "max_results": ("limit", "count", "size", "n", "max", "top"),
    "sort": ("order", "direction", "sort_order"),
    "page_token": ("cursor", "next_page_token", "page", "offset", "next", "token"),
    "after": ("cursor", "next_after", "page", "offset", "page_token"),
    "fields": ("columns", "select", "include"),
    "format": ("output", "datatype", "as"),
    "wait": ("timeout", "block"),
    "q": ("query", "search", "keywords", "name", "symbol", "text"),
    "ts": ("time", "timestamp", "at", "date"),
    "job_id": ("id", "job", "backfill_id"),
}
"""What other market-data services call the same thing: their users write these names."""
_LISTS = {"fields": "fields=ts,close", "symbols": "symbols=AAPL,MSFT", "symbol": "symbols=AAPL,MSFT"}
_DIGITS = re.compile("-?[0-9]+")
_NEAR = 0.5
"""How alike two names must be (0 to 1, as difflib measures it) to be taken for a slip of the keyboard."""
_SHOWN = 40


class Known(NamedTuple):
    """The names that a route knows, in the order of its document; those of them that may stand more than once, and those
    that are whole numbers."""

    names: tuple[str, ...]
    lists: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()


def declared(dependant: Dependant) -> Known:
    """What a route reads of the address, by itself and by whatever it depends on."""
    found = dict(_of(dependant))
    return Known(
        tuple(found),
        frozenset(name for name, kind in found.items() if _several(kind)),
        frozenset(name for name, kind in found.items() if _whole_number(kind)),
    )


def _of(dependant: Dependant) -> Iterator[tuple[str, Any]]:
    """Name and type of each parameter."""
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _of_model(kind)
        else:
            yield field.alias, kind
    for inner in dependant.dependencies:
        yield from _of(inner)


def _of_model(kind: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, field in kind.model_fields.items():
        yield field.alias or name, field.annotation


def _several(kind: Any) -> bool:
    """Whether a parameter of this type may be given more than once."""
    return any(
        typing.get_origin(one) in (list, set, frozenset, tuple, Sequence) or one in (list, set, frozenset, tuple)
        for one in (kind, *typing.get_args(kind))
    )


def _whole_number(kind: Any) -> bool:
    return int in (kind, *typing.get_args(kind))


def guard(dependant: Dependant) -> None:
    """Have `known_only` run before anything that reads the address, and after what tells who is calling: who may not call
    a route at all gets that answer first."""
    check = get_parameterless_sub_dependant(depends=Depends(known_only), path=dependant.path or "")
    inner = dependant.dependencies
    inner.insert(next((n for n, one in enumerate(inner) if any(_of(one))), len(inner)), check)


async def known_only(request: Request) -> None:
    """InvalidInput for a parameter that the route does not know, or that is given twice."""
    query = request.scope["query_string"]
    if query:
        check(request.scope["route"].known_parameters, parse_qsl(query.decode("latin-1"), keep_blank_values=True))


def check(known: Known, given: Iterable[tuple[str, str]]) -> None:
    """InvalidInput unless each name is known and stands once, and each whole number is written in digits alone (Python
    would take `1_0` and `10.0` for 10 too). It names the nearest parameter that is known."""
    seen: set[str] = set()
    unknown: dict[str, None] = {}
    repeated: dict[str, None] = {}
    misread: dict[str, None] = {}
    for name, text in given:
        if name in known.numbers and not _DIGITS.fullmatch(text):
            misread[name] = None
        if name not in known.names:
            unknown[name] = None
        elif name in seen and name not in known.lists:
            repeated[name] = None
        seen.add(name)
    if unknown:
        raise _refusal(UNKNOWN, [FieldError(_short(name), _unknown(name, known), known.names) for name in unknown])
    if repeated:
        raise _refusal(REPEATED, [FieldError(name, _repeated(name, known)) for name in repeated])
    if misread:
        raise _refusal("invalid-input", [FieldError(name, "must be a whole number: digits alone") for name in misread])


def _refusal(code: str, errors: Sequence[FieldError]) -> InvalidInput:
    return InvalidInput("; ".join(f"{e.field}: {e.detail}" for e in errors[:5]), code=code, errors=errors[:20])


def _unknown(name: str, known: Known) -> str:
    if not known.names:
        return "is not known here: this route takes no parameters in its address"
    near = nearest(name, known.names)
    hint = f"; did you mean {near}?" if near else ""
    return f"is not a parameter of this route{hint} (it knows {', '.join(known.names)})"


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The one of `names` that the caller may have meant: by meaning, else by spelling; None when none is like it."""
    from difflib import get_close_matches

    plain = name.strip().lower().replace("-", "_")
    for known in names:
        if plain.replace("_", "") == known.replace("_", "") or plain in _SAME_MEANING.get(known, ()):
            return known
    return next(iter(get_close_matches(plain[:_SHOWN], names, 1, _NEAR)), None)


def _repeated(name: str, known: Known) -> str:
    example = _LISTS.get(name, "")
    if example.partition("=")[0] in known.names:
        return f"is given more than once; for several say {example}"
    return "is given more than once; give it once"


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else name[: _SHOWN - 3] + "..."
