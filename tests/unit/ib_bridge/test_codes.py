"""Every code that a data backend can meet is mapped, and the texts behind 162 are told apart."""

import pytest

from ib_bridge.ib.codes import CODES, FARM_CODES, Reaction, Scope, farm_of, language, meaning

# TWS API "message codes" and IBKR Campus "error handling" (read 2026-11), written down here on its own.
KNOWN = """
100 101 102 103 104 105 106 107 110 135 161 162 165 166 200 201 202 203 300 302 309 310 316 317 319 320 321 322 326 327
354 355 357 365 366 385 386 387 388 399 404 414 420 430 431 434 438 501 502 503 504 505 506 507 508 509 510 579 585 588
593 1100 1101 1102 1300 2100 2101 2102 2103 2104 2105 2106 2107 2108 2109 2110 2119 2130 2137 2150 2152 2157 2158 2168
2169 2174 2176 10015 10089 10090 10091 10092 10147 10148 10167 10168 10182 10186 10187 10189 10190 10197 10225 10230
10285 10295 10299 10314 10328 10330 10337 10338 10339 10346
"""
COMPETES = "competing_session"
HISTORY = "Historical Market Data Service error message:"


@pytest.mark.parametrize("code", [int(code) for code in KNOWN.split()])
def test_no_code_is_unmapped(code):
    text = HISTORY + "HMDS query returned no data: AAPL@SMART Trades" if code == 162 else "some text"
    assert meaning(code, text).reaction is not Reaction.ALARM


def test_no_mapped_code_is_unknown_to_the_lists():
    assert set(CODES) | set(FARM_CODES) <= {int(code) for code in KNOWN.split()}


def test_what_nobody_knows_is_an_alarm_never_a_retry():
    assert meaning(12345, "surprise").reaction is Reaction.ALARM
    assert meaning(162, HISTORY + "something new").reaction is Reaction.ALARM


P, RETRY, WAIT, EMPTY = Reaction.PERMANENT, Reaction.RETRY, Reaction.WAIT, Reaction.EMPTY
TAILS = [
    # Each is a text that users report or that a public client compares with.
    ("HMDS query returned no data: AAPL@SMART Trades", EMPTY, "no_data"),
    ("HMDS query returned no data: DE@SMART Trades", EMPTY, "no_data"),
    ("HMDS query returned no data: DJX   100522C00155000@CBOE Bid", EMPTY, "no_data"),
    ("HMDS query returned no data: PFSI@SMART Historical_Volatility", EMPTY, "no_data"),
    ("No data returned for a contract", EMPTY, "no_data"),
    ("Historical data request pacing violation", WAIT, "pacing"),
    ("pacing violation", WAIT, "pacing"),
    ("API historical data query cancelled: Pacing violation", WAIT, "pacing"),
    ("Only 50 simultaneous API historical data requests allowed", WAIT, "pacing"),
    ("Too many requests", WAIT, "pacing"),
    ("Trading TWS session is connected from a different IP address", WAIT, "competing_session"),
    ("No market data permissions for NASDAQ STK", P, "no_permission"),
    ("no permissions", P, "no_permission"),
    ("Requested market data is not subscribed", P, "no_permission"),
    ("API historical data query cancelled: 17", RETRY, "cancelled_by_ib"),
    ("API historical data query cancelled", RETRY, "cancelled_by_ib"),
    ("API scanner subscription cancelled: 3", Reaction.INFO, "scanner_ended"),
    ("Request Timed Out", RETRY, "timed_out"),
    ("request timeout", RETRY, "timed_out"),
    ("HMDS query timed out", RETRY, "timed_out"),
    ("No head time stamp", P, "no_head"),
    ("No historical market data for EUR/CASH@IDEALPRO Last 1m", P, "kind_not_offered"),
    ("No historical market data for SPX/IND@CBOE MidPoint 60", P, "kind_not_offered"),
    ("No data of type EODChart is available for the exchange 'CBOE'", P, "kind_not_offered"),
    ("No data of type DayChart is available for the exchange 'BEST' and the security type", P, "kind_not_offered"),
    ("BEST queries are not supported for this contract", P, "kind_not_offered"),
    ("Unknown contract", P, "unknown_contract"),
    ("invalid step: 1 secs over 1 D", P, "invalid_request"),
    ("invalid step: 1", P, "invalid_request"),
    ("Invalid scan code", P, "invalid_request"),
    ("Time length exceed max.", P, "invalid_request"),
    ("Starting time must occur before ending time", P, "invalid_request"),
    ("Historical data requests for durations longer than 365 days must be made in years.", P, "invalid_request"),
    ("Historical data query end date/time string [20150812 15:30:00 EDT] is invalid.", P, "invalid_request"),
    (
        "Historical data queries on this contract requesting any data earlier than one year back from now which is"
        " 20060218 12:34:47 EST are rejected.  Your query would have run from 20060214 00:00:00 EST to 20060221.",
        P,
        "too_old",
    ),
    ("Query failed", RETRY, "query_failed"),
    ("TWS exited during processing of HMDS query", RETRY, "query_failed"),
    ("", RETRY, "query_failed"),
    ("HMDS server disconnect occurred.  Attempting reconnection...", RETRY, "history_farm_away"),
    ("HMDS connection attempt failed.  Connection will be re-attempted...", RETRY, "history_farm_away"),
    ("EODChart data farm unavailable", RETRY, "history_farm_away"),
    ("HMDS Expired Contract Violation:contract can not expire", P, "expired_contract"),
]


@pytest.mark.parametrize(("tail", "reaction", "reason"), TAILS)
def test_162_is_told_apart_by_its_text(tail, reaction, reason):
    found = meaning(162, HISTORY + tail)
    assert (found.reaction, found.reason, found.scope) == (reaction, reason, Scope.REQUEST)
    assert language(162, HISTORY + tail) == "english"


@pytest.mark.parametrize("text", ["", "Historical market data Service error message.", HISTORY + " "])
def test_162_without_a_reason_is_asked_again(text):
    assert meaning(162, text).reaction is RETRY


@pytest.mark.parametrize(
    ("code", "text", "reaction", "reason"),
    [
        (200, "No security definition has been found for the request", P, "unknown_contract"),
        (200, "The contract description specified for GLD is ambiguous.", P, "ambiguous_contract"),
        (
            200,
            "The contract description specified for VIX is ambiguous; you must specify the multiplier or trading class.",
            P,
            "ambiguous_contract",
        ),
        (200, "The destination or exchange selected is Invalid.", P, "unknown_exchange"),
        (200, "Invalid destination exchange specified", P, "unknown_exchange"),
        (321, "Error validating request.-'bN' : cause - The API interface is in Read-Only mode.", P, "read_only"),
        (321, "Error validating request.-'bK' : cause - Historical data bar size is invalid.", P, "invalid_request"),
        (321, "Error validating request.-'bC' : cause - Duplicate ticker id", RETRY, "duplicate_request_id"),
        (322, "Error processing request.-'sG' : cause - Duplicate ticker id", RETRY, "duplicate_request_id"),
        (322, "Error processing request.-'cc' : cause - Maximum number of account summary", RETRY, "cannot_process"),
        (322, "Only 50 simultaneous API historical data requests allowed", RETRY, "cannot_process"),
        (354, "Requested market data is not subscribed. Delayed data is available.", P, "no_market_data_subscription"),
        (354, "Not subscribed: competing live session", WAIT, "competing_session"),
        (366, "No historical data query found for ticker id:6", RETRY, "query_lost"),
        (386, "Duplicate ticker ID for API historical data query", RETRY, "duplicate_request_id"),
        (420, "Invalid Real-time Query", WAIT, "real_time_query"),
        (420, "Invalid Real-time Query:Historical data request pacing violation", WAIT, "pacing"),
        (420, "Invalid Real-time Query:No market data permissions for NYSE STK", P, "no_permission"),
        (420, "Invalid Real-time Query:Trading TWS session is connected from a different IP address", WAIT, COMPETES),
        (420, "Invalid Real-time Query:BEST queries are not supported for this contract", P, "kind_not_offered"),
        (10187, "Failed to request historical ticks:No market data permissions for CME FUT", P, "no_permission"),
        (10187, "Failed to request historical ticks:Historical data request pacing violation", WAIT, "pacing"),
        (10187, "Failed to request historical ticks:Request Timed Out", RETRY, "timed_out"),
        (10189, "Failed to request tick-by-tick data:No market data permissions for NYSE STK", P, "no_permission"),
        (10189, "Failed to request tick-by-tick data:Trading TWS session is connected from a different IP", P, None),
        (10189, "tick-by-tick data:Trading TWS session is connected from a different IP address", WAIT, COMPETES),
    ],
)
def test_other_codes_with_several_texts(code, text, reaction, reason):
    found = meaning(code, text)
    assert (found.reaction, found.reason) == (reaction, reason or CODES[code].reason)


FOREIGN = [
    # The first sentence and that of 10182 are reported by users, escaped as on the wire; the others are translations.
    "Mensaje de error de los servicios de datos de mercado hist\\u00f3ricos:La consulta no devolvi\\u00f3 datos",
    "Mensaje de error de los servicios de datos de mercado históricos:no se sabe",
    "Fehlermeldung des Dienstes für historische Marktdaten:HMDS-Abfrage ergab keine Daten: AAPL@SMART",
    "Fehlermeldung vom Dienst fuer historische Daten",
    "Message d'erreur du service de données de marché historiques :Aucune permission pour NASDAQ",
    "Messaggio di errore del servizio dati storici:passo invalido",
    "Mensagem de erro do serviço de dados de mercado históricos:dados não disponíveis",
    "Foutmelding van de dienst voor historische gegevens:geen gegevens",
    "\\u5386\\u53f2\\u5e02\\u573a\\u6570\\u636e\\u670d\\u52a1\\u9519\\u8bef\\u4fe1\\u606f:HMDS\\u67e5\\u8be2",
    "历史市场数据服务错误信息：未返回数据",
    "履歴マーケットデータサービスのエラーメッセージ:データがありません",
    "Сообщение об ошибке службы исторических данных:Нет данных",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_a_162_in_another_language_is_known_as_such_and_never_no_data(text):
    assert language(162, text) == "other"
    assert (meaning(162, text).reaction, meaning(162, text).reason) == (Reaction.ALARM, "other_language")


def test_what_ibs_servers_say_in_english_is_understood_behind_a_foreign_sentence():
    text = "Mensaje de error de los servicios de datos de mercado históricos:invalid step: 1"
    assert (meaning(162, text).reason, language(162, text)) == ("invalid_request", "other")


@pytest.mark.parametrize(
    ("code", "text", "spoken"),
    [
        (2104, "Market data farm connection is OK:usfarm", "english"),
        (2104, "La conexión a la base de datos de mercado es correcta:usfarm", "other"),
        (10182, r"\u8bf7\u6c42\u5b9e\u65f6\u66f4\u65b0\u5931\u8d25\uff08\u8fde\u63a5\u65ad\u5f00\uff09\u3002", "other"),
        (200, "No security definition has been found for the request", "english"),
        (200, 'The contract description specified for "Société Générale" is ambiguous.', "english"),
        (54321, "What", None),
    ],
)
def test_any_text_may_tell_the_language(code, text, spoken):
    assert language(code, text) == spoken


def test_notices_are_a_range_and_farms_have_names():
    assert meaning(2199, "new notice").reaction is Reaction.INFO
    assert farm_of("HMDS data farm connection is OK:ushmds") == "ushmds"
    assert farm_of("Market data farm connection is OK:usfarm.nj") == "usfarm.nj"
    asleep = "HMDS data farm connection is inactive but should be available upon demand."
    assert farm_of(asleep + "ushmds") == farm_of(asleep + ":ushmds") == "ushmds"
    assert farm_of("La conexi\\u00f3n no est\\u00e1 activa.ushmds") == farm_of("数据连接正常：ushmds") == "ushmds"
    assert farm_of("nothing behind the colon:") == "unnamed"
