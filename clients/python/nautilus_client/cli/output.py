"""What commands print: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TextIO


def table(rows: Iterable[Sequence[Any]], headings: Sequence[str]) -> str:
    """Columns side by side; numbers to the right."""
    texts = [[shown(value) for value in row] for row in (list(one) for one in rows)]
    widths = [max([len(heading), *(len(row[n]) for row in texts)]) for n, heading in enumerate(headings)]
    right = [bool(texts) and all(_is_number(row[n]) for row in texts if row[n]) for n in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(list(headings)), *(line(row) for row in texts)])


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(",", "").replace(".", "").isdigit()


def shown(value: Any) -> str:
    """A value as a cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


def fields(row: Mapping[str, Any]) -> str:
    """One row from top to bottom; what is nested as JSON."""
    width = max((len(name) for name in row), default=0)
    return "\n".join(f"{name.ljust(width)}  {_nested(value)}" for name, value in row.items())


def _nested(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (Mapping, list)) else shown(value)


def write_json(value: Any, output: TextIO) -> None:
    json.dump(value, output, indent=2, default=_plain)
    output.write("\n")


def write_line(value: Any, output: TextIO) -> None:
    """One line of JSON, at once."""
    output.write(json.dumps(value, separators=(",", ":"), default=_plain) + "\n")
    output.flush()


def _plain(value: Any) -> Any:
    as_dict = getattr(value, "as_dict", None)
    return as_dict() if as_dict is not None else str(value)
