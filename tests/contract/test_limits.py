"""Limits that the documents tell are those that the code keeps: of every parameter, every field, and those in sentences."""

import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError

from nautilus.auth import login_throttle as throttle
from nautilus.auth import principal
from nautilus.auth.accounts import schemas as sign_in_bodies
from nautilus.backfill import schemas as backfill_bodies
from nautilus.backfill import submit
from nautilus.backfill.schemas import MAX_DAYS_BACK, BackfillRequest
from nautilus.db.bridge import commands
from nautilus.http import json_body, middleware, response_size
from nautilus.infra import rate_limit
from nautilus.live import freshness, offered, tickets, watch_series
from nautilus.live import parameters as live_parameters
from nautilus.live import schemas as live_bodies
from nautilus.lookup import resolve
from nautilus.market import instrument, symbols, timeframes
from nautilus.orders import schemas as order_bodies
from nautilus.portfolio import import_schemas, report_rows
from nautilus.portfolio import importing as import_rules
from nautilus.reading import query
from nautilus.reading.formats import FIELDS, Format
from nautilus.settings.api import ApiSettings
from nautilus.settings.auth import AuthSettings
from nautilus.strategies import front_end_schemas as page_strategy_bodies
from nautilus.strategies import schemas as strategy_bodies

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs" / "api.md").read_text()
BACKFILL = (ROOT / "docs" / "backfill.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
DATA = (ROOT / "docs" / "data.md").read_text()
BARS = "/api/v1/market-data/historical/bars"


def number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}"


def limits_of(schema: Mapping[str, Any]) -> str:
    """The limits of a JSON schema in the words of the documents; empty when it has none."""
    kinds = [schema, *(one for one in schema.get("anyOf", ()) if one.get("type") != "null")]
    found = {name: value for kind in kinds for name, value in kind.items()}
    assert not {"exclusiveMinimum", "exclusiveMaximum"} & set(found), "a limit that is no longer one of what is allowed"
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
    ):
        least, most = found.get(low), found.get(high)
        if most is not None:
            return f"{number(least)} to {number(most)}{unit}" if least is not None else f"at most {number(most)}{unit}"
        if least is not None:
            return f"at least {number(least)}{unit}"
    return ""


def table(text: str, first: str) -> Iterator[list[str]]:
    """The rows below the heading row that begins with the cell `first`."""
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif inside and not set(cells[0]) <= set("-: "):
            yield cells
        elif cells[0] == first:
            inside = True


def document() -> dict[str, Any]:
    modules = [
        importlib.import_module(f"functions.{path.parent.name}.app") for path in (ROOT / "functions").glob("*/app.py")
    ]
    app = FastAPI(routes=[route for module in modules for route in module.router.routes])
    return app.openapi()


DOCUMENT = document()


def parameters() -> Iterator[tuple[str, str, str]]:
    """(operation, parameter, limits) of everything in an address or a header that has limits."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            for one in operation.get("parameters", ()):
                documented = limits_of(one["schema"])
                if documented:
                    yield f"`{method.upper()} {path}`", f"`{one['name']}`", documented


def fields() -> Iterator[tuple[str, str, str]]:
    """(body, field, limits) of every body that a route takes."""
    for name, shape in DOCUMENT["components"]["schemas"].items():
        if shape.get("additionalProperties") is False and name != "BackfillRequest":  # it has a page of its own
            for field, schema in shape["properties"].items():
                documented = limits_of(schema)
                if documented:
                    yield f"`{name}`", f"`{field}`", documented


def test_every_limit_of_a_parameter_or_field_is_documented_as_it_is() -> None:
    expected = [*parameters(), *fields()]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in expected)
    # In any order: that of the functions' folders is the file system's.
    assert sorted(tuple(cells) for cells in table(API, "request")) == sorted(expected), (
        f"docs/api.md, All limits:\n{rows}"
    )
    assert len(expected) > 20


def test_the_fields_of_a_backfill_are_documented_with_their_limits() -> None:
    schema = BackfillRequest.model_json_schema()["properties"]
    documented = {cells[0].strip("`"): cells for cells in table(BACKFILL, "field") if re.fullmatch(r"`\w+`", cells[0])}
    requested = {name: cells for name, cells in documented.items() if name in schema}
    assert set(requested) == set(schema)
    for name, cells in requested.items():
        found = re.search(r"[\d,]+ to [\d,]+|at least [\d,]+", cells[1])
        assert (found[0] if found else "") == limits_of(schema[name]).removesuffix(" entries"), name
    assert documented["priority"][2] == str(schema["priority"]["default"])
    assert documented["mode"][2].strip("`") == schema["mode"]["default"]
    assert documented["dry_run"][2] == str(schema["dry_run"]["default"]).lower()


BODIES = [
    kind
    for module in (
        *(backfill_bodies, live_bodies, order_bodies, import_schemas, sign_in_bodies),
        *(strategy_bodies, page_strategy_bodies),
    )
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == module.__name__
]


def test_no_number_or_flag_of_a_body_is_taken_from_another_kind() -> None:
    """true is 1 and `"5"` is 5 to pydantic, unless a field says otherwise (nautilus/http/json_values.py)."""
    seen = []
    for kind in BODIES:
        for name, schema in kind.model_json_schema().get("properties", {}).items():
            types = {one.get("type") for one in (schema, *schema.get("anyOf", ()))}
            others = ["5", "true", 1.5, []] if types & {"integer", "number", "boolean"} else []
            others = [other for other in others if not (other == "5" and "string" in types)]  # a decimal is text, too
            others += [True] if types & {"integer", "number"} else []
            others += [1, 0, 1.0] if "boolean" in types else []
            for other in others:
                with pytest.raises(ValidationError) as refused:
                    kind.model_validate({name: other})
                assert name in {error["loc"][0] for error in refused.value.errors() if error["loc"]}, (
                    kind,
                    name,
                    other,
                )
                seen.append(name)
    assert {"start", "days_back", "priority", "dry_run", "is_active", "limit_price"} <= set(seen)


@pytest.mark.parametrize("text", ["1 S", "86400 S", "1576800000 S", "18250 D", "2607 W", "608 M", "50 Y", "0086400 S"])
def test_a_duration_of_up_to_fifty_years_is_taken_in_any_unit(text: str) -> None:
    assert BackfillRequest(duration=text).back_s


@pytest.mark.parametrize("text", ["0 S", "1576800001 S", "18251 D", "2608 W", "609 M", "51 Y", "9" * 11 + " S", "-1 D"])
def test_a_longer_duration_is_refused_with_the_limit(text: str) -> None:
    with pytest.raises(ValidationError, match="at most 50 Y"):
        BackfillRequest(duration=text)


def test_a_new_password_is_as_long_as_its_field_says() -> None:
    for kind in BODIES:
        for name, schema in kind.model_json_schema().get("properties", {}).items():
            if "password" in name and kind.__name__ != "Login" and name != "current_password":
                assert limits_of(schema) == f"{principal.MIN_PASSWORD} to {principal.MAX_PASSWORD} characters", (
                    kind,
                    name,
                )


def test_the_parameters_of_bars_are_documented() -> None:
    documented = [name for cells in table(API, "parameter") for name in re.findall(r"`(\w+)`", cells[0])]
    assert sorted(documented) == sorted(one["name"] for one in DOCUMENT["paths"][BARS]["get"]["parameters"])


def test_every_parameter_is_named_in_the_documents() -> None:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            for one in operation.get("parameters", ()):
                name = one["name"]
                if one["in"] == "path" and name.endswith("_id") and "/auth/" in path:
                    name = "id"
                assert re.search(rf"[`?&{{]{name}[`=}}?&]", API + BACKFILL), f"{method} {path} takes {name}"


SENTENCES: dict[str, tuple[str, str]] = {
    "wants of a caller": (API, f"at most {live_bodies.MAX_WANTS} wants, of which {live_bodies.MAX_TICKS} are of ticks"),
    "lease of a want": (API, f"for how long, default {live_bodies.LEASE_S}."),
    "instruments of a request for quotes": (API, f"newest quote of up to {live_parameters.MAX_SYMBOLS} instruments"),
    "life of a ticket": (API, f"signs one socket in, once, within {tickets.GOOD_FOR_S} s"),
    "tickets a minute": (API, f"at most {tickets.PER_MINUTE} a minute"),
    "late bars": (API, f"A bar is due { {600: 'ten'}[freshness.LATE_AFTER_S] } minutes after its close"),
    "bars that are kept current": (
        API,
        f"`{offered.KEPT_TIMEFRAMES[0]}`, or `{offered.KEPT_TIMEFRAMES[1]}` to `{offered.KEPT_TIMEFRAMES[-1]}`",
    ),
    "series of the setting": (SETTINGS, f"At most {watch_series.MAX_WATCHED}."),
    "bars in a page": (API, f"default {number(query.DEFAULT_LIMIT)}, at most {number(query.MAX_LIMIT)}"),
    "symbols of a read": (API, f"(at most {query.MAX_SYMBOLS}: symbol first"),
    "seconds to wait": (API, f"seconds to wait for missing bars, at most {query.MAX_WAIT_S:g};"),
    "waits at once": (API, f"{ {4: 'Four'}[rate_limit.WAITS] } reads of a caller may wait at once"),
    "reads a minute": (API, f'"reads";q={ApiSettings.model_fields["reads_per_minute"].default};w=60'),
    "size of an answer": (API, f"could not carry ({round(response_size.ANSWER_BYTES / 1024**2)} MB)"),
    "bodies of sign-in": (API, f"below `/api/v1/auth` {middleware._MAX_AUTH_BODY_BYTES // 1024} KiB"),
    "headers": (API, f"headers {middleware._MAX_HEADER_BYTES // 1024} KiB"),
    "digits": (API, f"whole numbers of more than {json_body.MAX_DIGITS} digits"),
    "names": (API, "Names are 1 to 64 ASCII letters"),
    "passwords": (API, f"Passwords have {principal.MIN_PASSWORD} to {principal.MAX_PASSWORD} characters"),
    "life of a token": (API, f'"expires_in": {AuthSettings.model_fields["token_minutes"].default * 60}'),
    "life of a refresh token": (
        API,
        f'"refresh_expires_in": {AuthSettings.model_fields["refresh_days"].default * 86_400}',
    ),
    "unused": (API, f"not used for {AuthSettings.model_fields['refresh_days'].default} days"),
    "session": (API, f"ends {AuthSettings.model_fields['session_days'].default} days after the sign-in"),
    "grace": (API, f"again within {AuthSettings.model_fields['refresh_grace_s'].default:g} s"),
    "failures of a pair": (API, f"| name and address | {throttle.PAIR.free} | refused for {throttle.PAIR.first_s:g} s"),
    "longest refusal": (API, f"up to {throttle.LONGEST_S // 60} minutes"),
    "failures of an address": (API, f"| address | {throttle.ADDRESS.free} |"),
    "failures of a name": (
        API,
        f"| name | {throttle.NAME.free} | everybody waits {throttle.NAME.first_s:g} to {throttle.NAME.longest_s:g} s",
    ),
    "series of a job": (BACKFILL, f"at most {submit.MAX_ITEMS} series"),
    "longest duration": (BACKFILL, f"`Y`, at most {MAX_DAYS_BACK // 365} Y |"),
    "length of a symbol": (API, f"A symbol has at most {symbols.MAX_SYMBOL} characters"),
    "length of a venue": (API, f"a venue or a currency at most {symbols.MAX_VENUE}."),
    "unknown symbols of a read": (API, f"at most {resolve.MAX_UNKNOWN} of a read"),
    "open lookups": (API, f"at most {commands.OPEN_PER_CALLER} lookups of { {10: 'ten'}[resolve._BATCH] } symbols"),
    "days back": (BACKFILL, f"| `days_back` | 1 to {number(MAX_DAYS_BACK)} |"),
    "default days": (BACKFILL, f"| {ApiSettings.model_fields['watch_days'].default} when no range is given |"),
    "planned by a read": (
        BACKFILL,
        f"takes {ApiSettings.model_fields['read_plan_limit'].default} requests or fewer",
    ),
    "sizes of an import": (
        API,
        f"at most {number(report_rows.MAX_FILE_BYTES)} bytes and {number(report_rows.MAX_ROWS)} rows,"
        f" a part at most {number(import_schemas.MAX_PART_BYTES)} bytes",
    ),
    "imports of a caller": (API, f"`too-many-imports`: {import_rules.MAX_UNFINISHED} of yours are not finished"),
    "timeframes": (API, f"| `timeframe` | `{' '.join(timeframes.NAMES)}`, default `1h` |"),
    "timeframes of a backfill": (BACKFILL, f"`{' '.join(timeframes.NAMES)}`"),
    "number of timeframes of a backfill": (BACKFILL, f"| `timeframes` | list, 1 to {len(timeframes.NAMES)} |"),
    "timeframes of a series": (DATA, f"| `timeframe` | text | `{' '.join(timeframes.NAMES)}` |"),
    "fields": (API, f"of `{' '.join(FIELDS)}`"),
    "formats": (API, ", ".join(f"`{one.label}`" for one in Format)),
    "asset classes": (BACKFILL, " ".join(f"`{name}`" for name in instrument.ASSET_CLASSES)),
}


@pytest.mark.parametrize("what", SENTENCES)
def test_a_sentence_tells_the_limit_that_is_kept(what: str) -> None:
    page, sentence = SENTENCES[what]
    assert sentence in page
