"""The codec: whole, byte by byte, with rubbish behind, and fuzzed."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.decoding import read_request
from ib_gateway_sim.wire.framing import MAX_FRAME_BYTES, FrameReader, Greeting, GreetingReader, Refused
from ib_gateway_sim.wire.layouts import REQUESTS
from ib_gateway_sim.wire.request import Leg, Malformed

GREETING = b"API\0\0\0\0\x09v157..176"
BARS = (
    "20|7|0|AAPL|STK||0.0||| SMART||USD|||0|20260302 21:00:00 UTC|1 min|1 D|1|TRADES|2|0|".replace(" SMART", "SMART")
).split("|")[:-1]


def test_a_greeting_whole_byte_by_byte_and_with_a_frame_behind():
    whole = GreetingReader().feed(GREETING)
    assert whole == (Greeting(157, 176), b"")
    reader = GreetingReader()
    parts = [reader.feed(GREETING[i : i + 1]) for i in range(len(GREETING))]
    assert parts[:-1] == [None] * (len(GREETING) - 1)
    assert parts[-1] == whole
    assert GreetingReader().feed(GREETING + b"rest") == (Greeting(157, 176), b"rest")


def test_a_greeting_with_options():
    offer = b"v100..225 +PACEAPI"
    done = GreetingReader().feed(b"API\0" + len(offer).to_bytes(4, "big") + offer)
    assert done == (Greeting(100, 225, "+PACEAPI"), b"")


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"API\0\xff\xff\xff\xff", b"API\0\0\0\0\0", b"API\0\0\0\0\x03v15"]
)
def test_what_is_no_greeting_is_refused(data):
    with pytest.raises(Refused):
        GreetingReader().feed(data)


@pytest.mark.parametrize(
    ("offer", "version"),
    [
        ((157, 176), 176),
        ((157, 178), 178),
        ((100, 157), 157),
        ((100, 225), 178),
        ((100, 156), None),
        ((179, 225), None),
    ],
)
def test_the_version_is_the_smaller_of_both_ceilings(offer, version):
    assert Greeting(*offer).version() == version


def test_frames_whole_byte_by_byte_and_with_rubbish_behind():
    data = codec.frame(71, 2, 5, "") + codec.frame(49, 1)
    expected = [b"71\x002\x005\0\0", b"49\x001\0"]
    assert FrameReader().feed(data) == expected
    reader = FrameReader()
    assert [payload for byte in data for payload in reader.feed(bytes([byte]))] == expected
    reader = FrameReader()
    assert reader.feed(data + b"\0\0") == expected
    assert reader.waiting == 2
    with pytest.raises(Refused):
        reader.feed(b"\0\0")


@pytest.mark.parametrize("size", [0, MAX_FRAME_BYTES + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_refused_before_its_bytes_come(size):
    with pytest.raises(Refused):
        FrameReader().feed(size.to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "1"),
        (False, "0"),
        (100.0, "100"),
        (1.08345, "1.08345"),
        (-1, "-1"),
        (codec.UNSET_DOUBLE, "1.7976931348623157E308"),
        ("Nestlé", "Nestl\\xe9"),
        ("a\0b", "ab"),
    ],
)
def test_fields_are_spelled_as_the_gateway_does(value, text):
    assert codec.text_of(value) == text


def test_a_request_for_bars_is_read_by_name():
    made = read_request(codec.payload(BARS), 176)
    assert (made.kind, made.request_id) == ("reqHistoricalData", 7)
    assert made.text("endDateTime") == "20260302 21:00:00 UTC"
    assert (made.text("barSize"), made.text("duration"), made.text("whatToShow")) == ("1 min", "1 D", "TRADES")
    assert made.flag("useRTH")
    assert made.integer("formatDate") == 2
    assert not made.flag("keepUpToDate")


def test_a_combination_brings_its_legs():
    fields = [*BARS, "", ""]
    fields[4] = "BAG"
    fields[21:21] = ["2", "11", "1", "BUY", "SMART", "12", "3", "SELL", "CME"]
    made = read_request(codec.payload(fields), 176)
    assert made.legs == [Leg(11, 1, "BUY", "SMART"), Leg(12, 3, "SELL", "CME")]
    assert not made.flag("keepUpToDate")


def test_a_field_of_a_later_version_is_not_looked_for():
    fields = ["9", "8", "3", *[""] * 12, "1", "ISIN", "US0378331005", "issuer"]
    assert read_request(codec.payload(fields), 176).text("issuerId") == "issuer"
    assert "issuerId" not in read_request(codec.payload(fields[:-1]), 175).values


def test_empty_numbers_are_none_and_missing_fields_are_empty():
    made = read_request(b"20\x009\0", 178)
    assert made.request_id == 9
    assert made.integer("conId") == 0
    assert made.optional("strike") is None
    assert made.text("barSize") == ""


@pytest.mark.parametrize(
    ("data", "request_id"),
    [
        (b"", -1),
        (b"9999\0", -1),
        (b"abc\0", -1),
        (b"20\x00x\0", -1),
        (b"20\x005\x00x\0", 5),
        (b"20\x005\x00" + b"9" * 400 + b"\0", 5),
        (b"90\x001e400\0", -1),
        (b"2\x001\0nan\0", -1),
    ],
)
def test_what_cannot_be_read_names_the_request_it_got_to(data, request_id):
    with pytest.raises(Malformed) as caught:
        read_request(data, 178)
    assert caught.value.request_id == request_id


@given(st.binary(max_size=300), st.integers(1, 20))
def test_any_bytes_in_any_pieces_end_as_frames_or_a_refusal(data, piece):
    reader = FrameReader(limit=64)
    try:
        for at in range(0, len(data), piece):
            for payload in reader.feed(data[at : at + piece]):
                _read(payload)
            assert reader.waiting <= 64 + 4
    except Refused:
        pass


def _read(payload):
    with contextlib.suppress(Malformed):
        assert read_request(payload, 178).kind


FIELDS = st.lists(
    st.one_of(st.text(max_size=8), st.integers().map(str), st.floats().map(str), st.just(""), st.just("BAG")),
    max_size=40,
)


@given(st.sampled_from(sorted(REQUESTS)), FIELDS, st.integers(157, 178))
def test_any_fields_of_any_message_are_read_or_malformed(message_id, fields, version):
    data = "\0".join([str(message_id), *fields]).encode("utf-8", "replace") + b"\0"
    _read(data)


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)), min_size=1))
def test_every_frame_made_is_one_frame_with_as_many_fields(fields):
    (payload,) = FrameReader(limit=1 << 20).feed(codec.frame(*fields))
    assert payload.isascii()
    assert payload.count(b"\0") == len(fields)
