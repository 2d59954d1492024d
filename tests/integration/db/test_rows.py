"""Rows with types: their columns are checked with the first row that is read."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, joined, one, one_or_none, scalar, scalar_or_none, scalars, there


class Point(NamedTuple):
    x: int
    label: str | None


@pytest.fixture
def cursor(dsn: str) -> Iterator[Cursor]:
    database = Database(dsn, name="test", size=1)
    with database.transaction() as cursor:
        yield cursor
    database.close()


POINTS = "SELECT x, label FROM (VALUES (1, 'one'), (2, NULL)) AS points (x, label) WHERE x <= %s ORDER BY x"


def test_rows_are_tuples_of_their_type(cursor: Cursor) -> None:
    cursor.execute(POINTS, (2,))
    found = every(cursor, Point)
    assert found == [Point(1, "one"), Point(2, None)]
    assert all(isinstance(row, Point) for row in found)
    cursor.execute(POINTS, (1,))
    assert one(cursor, Point) == Point(1, "one")
    cursor.execute(POINTS, (1,))
    assert one_or_none(cursor, Point) == Point(1, "one")


def test_the_value_of_a_column_may_be_converted(cursor: Cursor) -> None:
    cursor.execute(POINTS, (2,))
    assert every(cursor, Point, label=lambda text: (text or "none").upper()) == [Point(1, "ONE"), Point(2, "NONE")]
    cursor.execute(POINTS, (2,))
    with pytest.raises(TypeError, match="lable"):
        every(cursor, Point, lable=str)
    cursor.execute(POINTS, (0,))
    assert every(cursor, Point, label=str) == []


def test_where_no_row_is_there_is_none(cursor: Cursor) -> None:
    cursor.execute(POINTS, (0,))
    assert every(cursor, Point) == []
    cursor.execute(POINTS, (0,))
    assert one_or_none(cursor, Point) is None
    cursor.execute(POINTS, (0,))
    with pytest.raises(LookupError, match="Point"):
        one(cursor, Point)


@pytest.mark.parametrize(
    "columns", ["1 AS x, 'a' AS lable", "'a' AS label, 1 AS x", "1 AS x", "1 AS x, 'a' AS label, 2 AS y"]
)
@pytest.mark.parametrize("read", [every, one, one_or_none])
def test_a_column_that_is_misspelt_is_found(cursor: Cursor, columns: str, read) -> None:
    cursor.execute(f"SELECT {columns}")
    with pytest.raises(TypeError, match=r"Point has the fields \('x', 'label'\), the answer has the columns"):
        read(cursor, Point)


def test_single_values_have_the_type_that_is_asked_for(cursor: Cursor) -> None:
    cursor.execute("SELECT 7")
    assert scalar(cursor, int) == 7
    cursor.execute("SELECT generate_series(1, 3)")
    assert scalars(cursor, int) == [1, 2, 3]
    cursor.execute("SELECT NULL::int")
    assert scalar_or_none(cursor, int) is None
    cursor.execute("SELECT 1 WHERE false")
    assert scalar_or_none(cursor, int) is None


@pytest.mark.parametrize("read", [scalar, scalar_or_none, scalars])
def test_a_value_of_another_type_is_an_error(cursor: Cursor, read) -> None:
    cursor.execute("SELECT 'seven'")
    with pytest.raises(TypeError, match="a value of type str, not int"):
        read(cursor, int)


def test_a_statement_without_the_row_it_promised_is_an_error(cursor: Cursor) -> None:
    cursor.execute("SELECT 1 WHERE false")
    with pytest.raises(LookupError):
        scalar(cursor, int)


class Colour(NamedTuple):
    colour: str | None
    shade: int | None


JOINED = (
    "SELECT p.x, p.label, c.colour, c.shade FROM (VALUES (1, 'one'), (2, NULL), (3, 'three')) AS p (x, label)"
    " LEFT JOIN (VALUES (1, 'red', 5), (2, NULL, 6)) AS c (x, colour, shade) USING (x) ORDER BY p.x"
)


def test_joined_rows_come_in_parts(cursor: Cursor) -> None:
    cursor.execute(JOINED)
    assert joined(cursor, (Point, Colour)) == [
        (Point(1, "one"), Colour("red", 5)),
        (Point(2, None), Colour(None, 6)),
        (Point(3, "three"), None),
    ]
    cursor.execute(JOINED)
    with pytest.raises(TypeError, match="the parts have the fields"):
        joined(cursor, (Colour, Point))


def test_a_row_is_there_whatever_stands_in_it(cursor: Cursor) -> None:
    cursor.execute("SELECT NULL")
    assert there(cursor)
    cursor.execute("SELECT 1 WHERE false")
    assert not there(cursor)
