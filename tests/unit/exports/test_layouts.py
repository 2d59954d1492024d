"""Names of files, cuts of ranges, and the places that exports may be written to."""

from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.errors import InvalidInput, Unavailable
from nautilus.exports import layouts, targets
from nautilus.exports.layouts import Layout, Names, Overlap, Split
from nautilus.exports.schemas import Bucket, Download, Folder
from nautilus.exports.targets import Allowed
from nautilus.market.timeframes import NAMES, timeframe
from tests.support.markets import few, ns
from tests.support.stored_bars import stock

STAMP = st.integers(0, ns("2200-01-01 00:00"))
ONE = UUID(int=1)
ALLOWED = Allowed("/kept", ("/lake", "/share/data"), "", ("ours",), deployed=False)


def names(instrument_id: str = "EUR/USD.IDEALPRO", frame: str = "1m", price: str = "MIDPOINT") -> Names:
    return Names(stock()._replace(instrument_id=instrument_id), timeframe(frame), price, "all")


@few
@given(start=STAMP, length=st.integers(1, 10**18), split=st.sampled_from(list(Split)))
def test_parts_are_the_whole_range_cut_at_years_or_months(start: int, length: int, split: Split) -> None:
    found = list(layouts.parts((start, start + length), split))
    assert (found[0][1][0], found[-1][1][1]) == (start, start + length)
    assert all(one[1][1] == other[1][0] for one, other in pairwise(found))
    assert len({label for label, _ in found}) == len(found)


def test_a_month_is_cut_at_its_first_day() -> None:
    span = (ns("2024-01-31 23:00"), ns("2024-03-01 00:00"))
    assert list(layouts.parts(span, Split.MONTH)) == [
        ("2024-01", (span[0], ns("2024-02-01 00:00"))),
        ("2024-02", (ns("2024-02-01 00:00"), span[1])),
    ]


def test_names_of_files() -> None:
    one = names()
    assert layouts.folder(Layout.HIVE, one, "2024-03") == (
        "timeframe=1m/price=MIDPOINT/session=all/instrument_id=EUR%2FUSD.IDEALPRO/year=2024/month=3"
    )
    more: Any = {"version": 7, "interval": None, "ending": "parquet"}
    assert layouts.file_name(Layout.HIVE, one, "2024", **more) == "part-v7.parquet"
    assert layouts.file_name(Layout.FLAT, one, "2024", **more) == "EUR%2FUSD.IDEALPRO_1m_MIDPOINT_all_2024.parquet"
    assert layouts.folder(Layout.CATALOG_1, one, "2024-03") == (
        "nautilus-trader-1.x/data/bar/EURUSD.IDEALPRO-1-MINUTE-MID-EXTERNAL"
    )
    assert layouts.folder(Layout.CATALOG_2, one, "2024-03").startswith("nautilus-trader-2.x/data/bars/")
    assert layouts.stamp(ns("2024-01-05 14:31:00") + 7) == "2024-01-05T14-31-00-000000007Z"


@pytest.mark.parametrize("frame", NAMES)
def test_every_timeframe_has_a_bar_type(frame: str) -> None:
    assert layouts.bar_type(names(frame=frame)).endswith("-MID-EXTERNAL")


def test_what_a_catalog_cannot_hold_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="BID_ASK"):
        layouts.check(Layout.CATALOG_2, names(price="BID_ASK"))
    layouts.check(Layout.HIVE, names(price="BID_ASK"))


@pytest.mark.parametrize(
    ("name", "existing", "gone"),
    [
        ("3_5", ["1_2", "6_9"], []),
        ("3_5", ["3_4", "4_4", "3_5"], ["3_4", "4_4"]),
        ("3_5", ["2_3"], None),
        ("3_5", ["5_6"], None),
        ("3_5", ["1_9"], None),
    ],
)
def test_a_catalogs_file_replaces_what_lies_within_and_never_overlaps(
    name: str, existing: list[str], gone: list[str] | None
) -> None:
    def file(text: str) -> str:
        first, last = text.split("_")
        return f"{layouts.stamp(int(first) * 10**9)}_{layouts.stamp(int(last) * 10**9)}.parquet"

    def replaced() -> list[str]:
        return layouts.replaced(Layout.CATALOG_1, file(name), [*map(file, existing), "README.txt"])

    if gone is None:
        with pytest.raises(Overlap):
            replaced()
    else:
        assert replaced() == list(map(file, gone))


def test_a_newer_version_replaces_the_older_one_of_a_partition() -> None:
    assert layouts.replaced(Layout.HIVE, "part-v8.parquet", ["part-v7.parquet", "part-v8.parquet", "notes"]) == [
        "part-v7.parquet"
    ]
    assert layouts.replaced(Layout.FLAT, "a.parquet", ["b.parquet"]) == []


# ---- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/lake/a", "/lake/a/b c", "/share/data/x"])
def test_a_folder_below_a_root_is_taken(path: str) -> None:
    found = targets.checked(Folder(kind="folder", path=path), ALLOWED, ONE)
    assert f"{found['root']}/{found['path']}" == path
    assert found["kept"] is False


@pytest.mark.parametrize(
    "path", ["/lake", "/lakes/a", "/lake/../etc", "/lake/a/../../etc", "lake/a", "/", "/etc", "/lake/a\n", "//lake/a"]
)
def test_any_other_folder_is_refused_naming_the_roots(path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        targets.checked(Folder(kind="folder", path=path), ALLOWED, ONE)
    assert refused.value.errors[0].allowed == ["/lake/<folder>", "/share/data/<folder>"]


def test_a_deployed_task_takes_no_folder() -> None:
    with pytest.raises(InvalidInput, match="deployed"):
        targets.checked(Folder(kind="folder", path="/lake/a"), ALLOWED._replace(deployed=True), ONE)


def test_buckets_that_are_named_are_taken_and_no_others() -> None:
    found = targets.checked(Bucket(kind="s3", bucket="ours", prefix="/a/b/"), ALLOWED, ONE)
    assert found == {"kind": "s3", "bucket": "ours", "prefix": "a/b/", "kept": False}
    for bucket, prefix in (("others", ""), ("ours", "a/../b"), ("ours", "a\nb")):
        with pytest.raises(InvalidInput):
            targets.checked(Bucket(kind="s3", bucket=bucket, prefix=prefix), ALLOWED, ONE)


def test_downloads_need_a_place() -> None:
    assert targets.checked(Download(), ALLOWED, ONE)["root"] == "/kept"
    assert targets.checked(Download(), ALLOWED._replace(bucket="b"), ONE)["prefix"] == f"exports/{ONE}/"
    for nowhere in (ALLOWED._replace(export_dir=""), ALLOWED._replace(deployed=True)):
        with pytest.raises(Unavailable):
            targets.checked(Download(), nowhere, ONE)
