"""Reports of the broker: what they say, line by line; and files that mean harm, or that lost a part."""

import importlib
import random
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from nautilus.clock import rfc3339
from nautilus.portfolio.confirmations import read_confirmations
from nautilus.portfolio.flex import read_flex
from nautilus.portfolio.report_rows import MAX_FILE_BYTES, MAX_VALUE, Unreadable
from nautilus.portfolio.report_times import day_start_of, time_of, zone_of
from nautilus.portfolio.reported import Reported, understood
from nautilus.portfolio.standing import Standing, standing, standing_cash
from tests.support.reports import ACCOUNT, FIRST_LINE, cancel, cash, flex, sale, sheet, trade

NEW_YORK = ZoneInfo("America/New_York")
D = Decimal


def of(raw: bytes, zone: ZoneInfo | None = NEW_YORK) -> Reported:
    return understood(read_flex(raw), ACCOUNT, zone)


def of_sheet(raw: bytes) -> Reported:
    return understood(read_confirmations(raw), ACCOUNT, NEW_YORK)


def wrong(**changes: str) -> tuple[int, str, str]:
    """Line, field and value of the only problem of a trade with these changes."""
    found = of(flex([trade(**changes)]))
    assert found.fills == []
    (one,) = found.problems
    assert one.text
    return one.line, one.field, one.value


def refused(raw: bytes, read=read_flex) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        read(raw)
    return caught.value


# ---- what a report says ----------------------------------------------------------------------------------------------


def test_a_trade_of_a_flex_query_is_read_with_our_signs():
    (fill,) = of(
        flex(
            [
                sale(
                    "0000e0d5.65a1.01.02",
                    100,
                    tradePrice="10.50",
                    ibCommission="-1.25",
                    fifoPnlRealized="48.75",
                    taxes="-0.01",
                )
            ]
        )
    ).fills
    assert (fill.account, fill.con_id, fill.side, fill.quantity, fill.price) == (ACCOUNT, 1, "SELL", D(100), D("10.50"))
    assert (fill.base, fill.revision, fill.signed) == ("0000e0d5.65a1.01", 2, D(-100))
    assert (fill.commission, fill.commission_currency, fill.realized, fill.taxes) == (
        D("1.25"),
        "USD",
        D("48.75"),
        D("0.01"),
    )
    assert rfc3339(fill.ts) == "2024-01-08T15:00:00Z"
    assert fill.row.line == FIRST_LINE


def test_a_rebate_is_a_negative_commission_and_none_is_not_known():
    found = of(flex([trade("a.01", ibCommission="0.3333"), trade("b.01", ibCommission="")])).fills
    assert [fill.commission for fill in found] == [D("-0.3333"), None]


def test_a_trade_confirmation_has_other_names_for_the_same():
    given = trade()
    other = {
        "accountId": ACCOUNT,
        "conid": "1",
        "execID": given["ibExecID"],
        "price": "10",
        "quantity": "100",
        "buySell": "BUY",
        "commission": "-1",
        "commissionCurrency": "USD",
        "tax": "0",
        "currency": "USD",
        "dateTime": given["dateTime"],
    }
    (plain,), (confirmed,) = of(flex([given])).fills, of(flex([other], element="TradeConfirm")).fills
    same = ("exec_id", "con_id", "side", "quantity", "price", "ts", "commission", "commission_currency", "currency")
    assert [getattr(plain, name) for name in same] == [getattr(confirmed, name) for name in same]
    found = of(flex([{**other, "price": "x"}], element="TradeConfirm"))
    assert found.problems[0].field == "price"  # as the file has it


def test_a_csv_says_what_the_query_says():
    rows = [trade("a.01"), sale("b.01", 40, dateTime="20240108;110000")]
    plain, csv = of(flex(rows)).fills, of_sheet(sheet(rows)).fills
    assert [fill._replace(row=plain[0].row) for fill in csv] == [fill._replace(row=plain[0].row) for fill in plain]
    assert [fill.row.line for fill in csv] == [2, 3]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_ends_of_lines_and_a_byte_order_mark_change_nothing(end, mark):
    raw = mark + sheet([trade("a.01"), trade("b.01")], end=end)
    assert [fill.exec_id for fill in of_sheet(raw).fills] == ["a.01", "b.01"]
    assert [fill.exec_id for fill in of(mark + flex([trade("a.01")]).replace(b"\n", end.encode())).fills] == ["a.01"]


def test_sections_control_rows_and_marks_of_a_csv_are_told_apart():
    table = sheet([trade("a.01")], end="\n").decode().splitlines()
    raw = "\n".join(
        [
            '"BOF","U1","q","1"',
            '"BOS","CTRN","Cash Transactions; trade date basis"',
            '"ClientAccountID","CurrencyPrimary","Type","Amount","DateTime","TransactionID","Description"',
            f'"{ACCOUNT}","USD","Broker Interest Paid","-3.21","20240105","777","USD DEBIT INT"',
            '"EOS","CTRN","1"',
            '"MSG","Realized P/L is not ready"',
            '"ClientAccountID","Symbol","Position","CostBasisPrice","Conid"',
            f'"{ACCOUNT}","A","100","10","1"',
            *table,
            '"EOF"',
        ]
    )
    found = of_sheet(raw.encode())
    assert [fill.exec_id for fill in found.fills] == ["a.01"]
    assert [(one.kind, one.amount, one.external_id) for one in found.cash] == [("interest", D("-3.21"), "777")]
    marked = "\n".join([f'"HEADER","TRNT",{table[0]}', f'"DATA","TRNT",{table[1]}'])
    assert [fill.exec_id for fill in of_sheet(marked.encode()).fills] == ["a.01"]


@pytest.mark.parametrize(
    ("word", "amount", "kind"),
    [
        ("Deposits/Withdrawals", "100", "deposit"),
        ("Deposits & Withdrawals", "-100", "withdrawal"),
        ("Dividends", "1", "dividend"),
        ("Payment In Lieu Of Dividends", "-1", "dividend"),
        ("Withholding Tax", "-1", "tax"),
        ("Broker Interest Received", "1", "interest"),
        ("Other Fees", "-1", "fee"),
        ("Something New", "1", "other"),
    ],
)
def test_a_cash_transaction_has_its_kind(word, amount, kind):
    (one,) = of(flex(cash=[cash(type=word, amount=amount)])).cash
    assert (one.kind, one.amount, one.currency, one.external_id) == (kind, D(amount), "USD", "90001")


def test_totals_are_left_out_and_counted():
    rows = [trade("a.01"), trade("", levelOfDetail="ORDER"), trade("", levelOfDetail="SYMBOL_SUMMARY")]
    moved = [cash("1"), cash("", levelOfDetail="SUMMARY"), cash("", currency="BASE_SUMMARY")]
    found = of(flex(rows, moved))
    assert (len(found.fills), len(found.cash), found.skipped, found.problems) == (1, 1, 4, [])


# ---- rows that are refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"exec_id": ""}, "ibExecID", ""),
        ({"exec_id": "a b"}, "ibExecID", "a b"),
        ({"exec_id": "x" * 81}, "ibExecID", "x" * 80 + "..."),
        ({"accountId": "U7654321"}, "accountId", "U7654321"),
        ({"conid": "-1"}, "conid", "-1"),
        ({"conid": "9" * 30}, "conid", "9" * 30),
        ({"quantity": "1e400"}, "quantity", "1e400"),
        ({"quantity": "1e99"}, "quantity", "1e99"),
        ({"quantity": "NaN"}, "quantity", "NaN"),
        ({"quantity": "Infinity"}, "quantity", "Infinity"),
        ({"quantity": "9" * 16}, "quantity", "9" * 16),
        ({"quantity": "123456789012345.12345678901234"}, "quantity", "123456789012345.12345678901234"),
        ({"quantity": "1,00"}, "quantity", "1,00"),
        ({"quantity": "-100"}, "quantity", "-100"),
        ({"tradePrice": ""}, "tradePrice", ""),
        ({"tradePrice": "\u0661\u0662"}, "tradePrice", "\u0661\u0662"),
        ({"ibCommission": "x"}, "ibCommission", "x"),
        ({"currency": "usd"}, "currency", "usd"),
        ({"ibCommissionCurrency": "=1+1"}, "ibCommissionCurrency", "=1+1"),
        ({"buySell": "HOLD"}, "buySell", "HOLD"),
        ({"dateTime": "20240230;100000"}, "dateTime", "20240230;100000"),
    ],
)
def test_a_row_that_is_wrong_names_line_field_and_value(changes, field, value):
    assert wrong(**changes) == (FIRST_LINE, field, value)


def test_what_was_never_traded_says_what_else_to_do():
    (one,) = of(flex([trade("", notes="Ep", transactionType="BookTrade")])).problems
    assert "expiry" in one.text
    assert "adjustment" in one.text


def test_thousands_have_commas_and_small_numbers_an_exponent():
    (fill,) = of(flex([trade(quantity="1,200", ibCommission="-1.5E-4")])).fills
    assert (fill.quantity, fill.commission) == (D(1200), D("0.00015"))


def test_a_row_with_a_cell_too_few_is_refused_alone():
    lines = sheet([trade("a.01"), trade("b.01"), trade("c.01")], end="\n").decode().splitlines()
    lines[2] = lines[2].rsplit(",", 1)[0]
    found = of_sheet("\n".join(lines).encode())
    assert [fill.exec_id for fill in found.fills] == ["a.01", "c.01"]
    assert [(one.line, one.field) for one in found.problems] == [(3, "row")]


# ---- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "20240108;100000",
        "2024-01-08;10:00:00",
        "2024-01-08, 10:00:00",
        "20240108 100000",
        "2024-01-08T10:00:00",
        "2024-01-08;10:00:00 EST",
        "2024-01-08;16:00:00 Europe/Berlin",
        "2024-01-08;15:00:00 UTC",
    ],
)
def test_a_time_is_read_in_every_form_that_means_one_thing(text):
    assert rfc3339(time_of(text, NEW_YORK)) == "2024-01-08T15:00:00Z"


@pytest.mark.parametrize(
    ("text", "zone", "words"),
    [
        ("20240108;100000", None, "time_zone"),
        ("01/02/2024;100000", NEW_YORK, "two ways"),
        ("08-JAN-24;100000", NEW_YORK, "two ways"),
        ("20240108", NEW_YORK, "no time of day"),
        ("20241103;013000", NEW_YORK, "twice"),
        ("20240310;023000", NEW_YORK, "no clock"),
        ("20240108;250000", NEW_YORK, "hour"),
        ("20240108;100000 IST", NEW_YORK, "IST"),
        ("MULTI", NEW_YORK, "no date"),
        ("99991231;100000", NEW_YORK, "2200"),
        ("", NEW_YORK, "no date"),
    ],
)
def test_a_time_that_is_none_or_two_is_refused(text, zone, words):
    with pytest.raises(ValueError, match=words):
        time_of(text, zone)


def test_the_hour_that_comes_twice_is_told_apart_by_its_zone():
    first, second = (time_of(f"20241103;013000 {name}", NEW_YORK) for name in ("EDT", "EST"))
    assert second - first == 3_600 * 10**9


def test_a_movement_of_cash_may_have_a_date_alone():
    assert rfc3339(day_start_of("2024-01-08", NEW_YORK)) == "2024-01-08T05:00:00Z"
    with pytest.raises(ValueError, match="time_zone"):
        day_start_of("2024-01-08", None)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "Mars/Olympus", "a" * 100, "America/New_York\x00"])
def test_a_zone_that_is_none_is_none(name):
    assert zone_of(name) is None


# ---- what stands -----------------------------------------------------------------------------------------------------


def stands(*rows: dict[str, str]) -> Standing:
    found = of(flex(list(rows)))
    assert found.problems == []
    return standing(found.fills)


def test_the_order_of_the_rows_changes_nothing():
    rows = [
        trade("a.01"),
        trade("a.02", quantity="90"),
        sale("b.01", 40, conid="2"),
        trade("c.01", dateTime="20240105;100000"),
    ]
    wanted = [(fill.exec_id, fill.quantity) for fill in stands(*rows).fills]
    assert wanted == [("c.01", D(100)), ("a.01", D(100)), ("a.02", D(90)), ("b.01", D(40))]
    for seed in range(20):
        mixed = random.Random(seed).sample(rows, len(rows))
        assert [(fill.exec_id, fill.quantity) for fill in stands(*mixed).fills] == wanted


def test_a_trade_that_was_taken_back_does_not_stand():
    bad = trade("a.01", tradeID="t1")
    done = stands(bad, trade("b.01", tradeID="t2"), cancel(bad))
    assert [fill.exec_id for fill in done.fills] == ["b.01"]
    assert [fill.exec_id for fill in done.taken_back] == ["a.01"]
    assert done.problems == []


def test_a_trade_that_was_booked_anew_stands_once_with_all_of_its_commission():
    """A real sequence: two lots for 1.3666, taken back without a refund, booked as one lot with 0.3333 given back."""
    bad = trade("a.01", tradeID="t1", quantity="2", ibCommission="-1.3666")
    done = stands(bad, cancel(bad), trade("a.02", tradeID="t1", quantity="1", ibCommission="0.3333"))
    assert [(fill.exec_id, fill.quantity, fill.commission) for fill in done.fills] == [("a.02", D(1), D("1.0333"))]
    assert done.taken_back == []


def test_the_same_execution_booked_anew_stands_once():
    bad = trade("a.01", tradeID="t1", ibCommission="-2.8055")
    again = trade("a.01", tradeID="t1", ibCommission="0")
    for rows in ([bad, cancel(bad), again], [cancel(bad), bad, again]):
        done = stands(*rows)
        assert [(fill.exec_id, fill.commission) for fill in done.fills] == [("a.01", D("2.8055"))]
        assert (done.taken_back, done.repeated) == ([], 0)


def test_a_transaction_id_tells_which_of_two_was_taken_back():
    first, second = (trade("a.01", transactionID=str(n), tradeID="t1", ibCommission=f"-{n}") for n in (1, 2))
    done = stands(first, second, cancel(first, origTransactionID="1"))
    assert [(fill.transaction_id, fill.commission) for fill in done.fills] == [("2", D(3))]


def test_a_cancel_of_nothing_changes_nothing_and_says_so():
    done = stands(cancel(trade("a.01", tradeID="t9")))
    assert done.fills == []
    assert [(one.line, one.field, one.value) for one in done.problems] == [(FIRST_LINE, "origTradeID", "t9")]


def test_a_cancel_with_an_id_of_its_own_is_a_bust():
    done = stands(trade("a.01"), cancel(trade("a.01"), ibExecID="a.02"))
    assert [(fill.exec_id, fill.quantity) for fill in done.fills] == [("a.01", D(100)), ("a.02", D(0))]


def test_a_row_that_stands_twice_counts_once():
    done = stands(trade("a.01"), trade("a.01"))
    assert (len(done.fills), done.repeated) == (1, 1)


@pytest.mark.parametrize(
    "changes", [{"tradePrice": "11"}, {"quantity": "99"}, {"dateTime": "20240108;100001"}, {"conid": "2"}]
)
def test_one_id_with_two_figures_is_taken_in_neither(changes):
    done = stands(trade("a.01"), trade("a.01", **changes), trade("b.01"))
    assert [fill.exec_id for fill in done.fills] == ["b.01"]
    assert [(one.line, one.field) for one in done.problems] == [(FIRST_LINE, "ibExecID"), (FIRST_LINE + 1, "ibExecID")]


def test_one_movement_of_each_id():
    found = of(flex(cash=[cash("1"), cash("1"), cash("2"), cash("2", amount="13")])).cash
    done = standing_cash(found)
    assert ([one.external_id for one in done.cash], done.repeated, len(done.problems)) == (["1"], 1, 2)


# ---- files that are refused as a whole -------------------------------------------------------------------------------

LAUGHS = (
    "<!DOCTYPE z [<!ENTITY a 'ha'>"
    + "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(12))
    + "]>"
)


@pytest.mark.parametrize(
    "before",
    [
        LAUGHS,
        "<!DOCTYPE z SYSTEM 'file:///etc/passwd'>",
        "<!DOCTYPE z [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
        "<!DOCTYPE z [<!ENTITY % x SYSTEM 'http://127.0.0.1:9/x'> %x;]>",
        "<!DOCTYPE z>",
    ],
)
def test_a_dtd_is_refused_and_with_it_every_entity(before):
    error = refused(flex([trade(description="&m;")], before=before).replace(b"&amp;", b"&"))
    assert "DTD" in str(error)
    assert error.problem.line == 1


def test_an_entity_that_nobody_declared_is_refused():
    assert "XML" in str(refused(flex([trade(description="XX")]).replace(b"XX", b"&other;")))


@pytest.mark.parametrize("read", [read_flex, read_confirmations])
def test_a_file_may_have_twenty_megabytes(read):
    assert "20,000,000" in str(refused(b" " * MAX_FILE_BYTES + b"<", read))
    assert "20,000,000" not in str(refused(b" " * (MAX_FILE_BYTES - 1) + b"<", read))


@pytest.mark.parametrize("read", [read_flex, read_confirmations])
@pytest.mark.parametrize("raw", [b"", b"   \n"])
def test_an_empty_file_is_refused(raw, read):
    assert "empty" in str(refused(raw, read))


def test_a_query_that_ends_early_is_refused_with_its_line():
    raw = flex([trade("a.01"), trade("b.01")])
    error = refused(raw[: raw.index(b"</Trades>")])
    assert error.problem.line == FIRST_LINE + 2
    error = refused(flex([trade()], count=2))
    assert (error.problem.field, error.problem.value) == ("FlexStatements count", "2")


@pytest.mark.parametrize("read", [read_flex, read_confirmations])
def test_a_file_may_have_so_many_rows(monkeypatch, read):
    module = importlib.import_module(read.__module__)
    rows = [trade(f"{n}.01") for n in range(4)]
    raw = flex(rows) if read is read_flex else sheet(rows)
    monkeypatch.setattr(module, "MAX_ROWS", 4)
    assert len(read(raw)) == 4
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    assert "rows" in str(refused(raw, read))


def test_a_sheet_that_ends_within_a_cell_is_refused():
    raw = sheet([trade("a.01"), trade("b.01")])
    assert refused(raw[:-4], read_confirmations).problem.line == 3


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x00" + sheet([trade()]), "null byte"),
        (sheet([trade()]).replace(b"A INC", b"A \xff"), "UTF-8"),
        (b"Statement,Header,Field Name\nStatement,Data,Title\n", "headings"),
        (b"ClientAccountID,Symbol\nU1,A\n", "no table of trades"),
        (sheet([trade()]).replace(b"IBExecID", b"Something"), "IBExecID"),
        (sheet([trade()]).replace(b"Description", b"Conid"), "two columns"),
        (sheet([trade(description="x" * (MAX_VALUE + 1))]), "characters"),
    ],
)
def test_a_sheet_that_is_none_is_refused(raw, words):
    assert words in str(refused(raw, read_confirmations))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (flex([trade(description="A")]).replace(b'"A"', b'"\x00"'), "XML"),
        (b"<FlexStatementResponse><Status>Fail</Status></FlexStatementResponse>", "FlexQueryResponse"),
        (flex().replace(b"UTF-8", b"no-such-code"), "encoding"),
        (flex().replace(b"UTF-8", b"utf-7"), "encoding"),
        (flex([trade(description="x" * (MAX_VALUE + 1))]), "characters"),
        (b"<FlexQueryResponse>" + b"<a>" * 20, "in each other"),
        (b"Statement,Header", "XML"),
        (
            flex()
            .replace(b"<Trades>", b"<Trades " + b" ".join(b"a%d='1'" % n for n in range(500)) + b">")
            .replace(b"Trades", b"Trade"),
            "attributes",
        ),
    ],
)
def test_a_query_that_is_none_is_refused(raw, words):
    assert words in str(refused(raw))


def test_a_formula_is_a_text_like_any_other():
    name = '=HYPERLINK("http://x";"@SUM(1)")'
    found = of_sheet(sheet([trade(description=name, symbol="+1", exchange="@x")]))
    assert found.fills[0].exchange == "@x"
    assert of(flex(cash=[cash(description=name)])).cash[0].text == name
    (one,) = of_sheet(sheet([trade("=1+1")])).problems
    assert (one.field, one.value) == ("IBExecID", "=1+1")


def test_no_letter_that_moves_a_cursor_is_shown():
    (one,) = of(flex([trade(buySell="\u202e\x85BUY")])).problems
    assert one.value == "\ufffd\ufffdBUY"


def test_a_row_without_an_account_is_of_its_statement():
    rows = [{name: text for name, text in trade("a.01").items() if name != "accountId"}]
    assert [fill.account for fill in of(flex(rows)).fills] == [ACCOUNT]
    assert [one.value for one in of(flex(rows, account="U7654321")).problems] == ["U7654321"]


def test_a_mark_before_a_control_row_is_no_heading():
    assert [fill.exec_id for fill in of_sheet(b'\xef\xbb\xbf"BOF","U1"\n' + sheet([trade("a.01")])).fills] == ["a.01"]


def test_two_cancels_take_two_trades_back_and_not_one_twice():
    bad = trade("a.01", tradeID="t1")
    assert [len(stands(bad, *[cancel(bad)] * n).problems) for n in (1, 2)] == [0, 1]


def test_a_cancel_takes_back_the_trade_that_has_its_figures():
    first, second = trade("a.01", tradeID="t1", quantity="2"), trade("a.02", tradeID="t1", quantity="1")
    assert [fill.exec_id for fill in stands(first, second, cancel(second)).fills] == ["a.01"]
