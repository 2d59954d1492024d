"""The table of everything that a client may send, one line per message, for the versions 157 to 178.

After the handshake both sides send frames of text fields, each ended by NUL; the first field is the message id. A
field marked `since` is on the wire only from that version on.
"""

from dataclasses import dataclass
from functools import cache

CONTRACT = (
    "conId:i symbol secType lastTradeDateOrContractMonth strike:f right multiplier exchange primaryExchange currency"
    " localSymbol tradingClass"
)
# placeOrder is read up to its conditions, the last fields that the simulator acts on; `_tail_of_order` reads what varies.
_ORDER = (
    "orderId:i " + CONTRACT + " secIdType secId action totalQuantity:f orderType lmtPrice:f auxPrice:f tif ocaGroup"
    " account openClose origin:i orderRef transmit:b parentId:i blockOrder:b sweepToFill:b displaySize:i"
    " triggerMethod:i outsideRth:b hidden:b"
)
# message id -> kind and fields. `name` text, `name:i` integer, `name:f` number, `name:b` flag; `name@176` from that
# version on; `_` a field without meaning (the message's own version); LEGS the legs when secType is BAG; REST the
# rest, unread; ORDER the second half of an order. A client may leave out fields at the end; they are then empty.
REQUESTS: dict[int, tuple[str, str]] = {
    1: ("reqMktData", f"_ reqId:i {CONTRACT} LEGS NEUTRAL genericTickList snapshot:b regulatorySnapshot:b options"),
    2: ("cancelMktData", "_ reqId:i"),
    3: ("placeOrder", f"{_ORDER} ORDER"),
    4: ("cancelOrder", "_ orderId:i manualCancelTime@169"),
    5: ("reqOpenOrders", "_"),
    6: ("reqAccountUpdates", "_ subscribe:b account"),
    7: ("reqExecutions", "_ reqId:i clientId:i account time symbol secType exchange side"),
    8: ("reqIds", "_ count:i"),
    9: ("reqContractDetails", f"_ reqId:i {CONTRACT} includeExpired:b secIdType secId issuerId@176"),
    10: ("reqMktDepth", f"_ reqId:i {CONTRACT} numRows:i isSmartDepth:b options"),
    11: ("cancelMktDepth", "_ reqId:i isSmartDepth:b"),
    12: ("reqNewsBulletins", "_ allMessages:b"),
    13: ("cancelNewsBulletins", "_"),
    14: ("setServerLogLevel", "_ level:i"),
    15: ("reqAutoOpenOrders", "_ bind:b"),
    16: ("reqAllOpenOrders", "_"),
    17: ("reqManagedAccts", "_"),
    18: ("requestFA", "_ faType:i"),
    19: ("replaceFA", "_ faType:i xml reqId:i"),
    20: (
        "reqHistoricalData",
        f"reqId:i {CONTRACT} includeExpired:b endDateTime barSize duration useRTH:b whatToShow formatDate:i LEGS"
        " keepUpToDate:b options",
    ),
    21: ("exerciseOptions", "_ reqId:i REST"),
    22: ("reqScannerSubscription", "reqId:i rows:i instrument location scanCode REST"),
    23: ("cancelScannerSubscription", "_ reqId:i"),
    24: ("reqScannerParameters", "_"),
    25: ("cancelHistoricalData", "_ reqId:i"),
    49: ("reqCurrentTime", "_"),
    50: ("reqRealTimeBars", f"_ reqId:i {CONTRACT} barSize:i whatToShow useRTH:b options"),
    51: ("cancelRealTimeBars", "_ reqId:i"),
    52: ("reqFundamentalData", "_ reqId:i REST"),
    53: ("cancelFundamentalData", "_ reqId:i"),
    54: ("calculateImpliedVolatility", f"_ reqId:i {CONTRACT} optionPrice:f underPrice:f REST"),
    55: ("calculateOptionPrice", f"_ reqId:i {CONTRACT} volatility:f underPrice:f REST"),
    56: ("cancelCalculateImpliedVolatility", "_ reqId:i"),
    57: ("cancelCalculateOptionPrice", "_ reqId:i"),
    58: ("reqGlobalCancel", "_"),
    59: ("reqMarketDataType", "_ marketDataType:i"),
    61: ("reqPositions", "_"),
    62: ("reqAccountSummary", "_ reqId:i group tags"),
    63: ("cancelAccountSummary", "_ reqId:i"),
    64: ("cancelPositions", "_"),
    71: ("startApi", "_ clientId:i optionalCapabilities"),
    74: ("reqPositionsMulti", "_ reqId:i account modelCode"),
    75: ("cancelPositionsMulti", "_ reqId:i"),
    76: ("reqAccountUpdatesMulti", "_ reqId:i account modelCode ledgerAndNLV:b"),
    77: ("cancelAccountUpdatesMulti", "_ reqId:i"),
    78: ("reqSecDefOptParams", "reqId:i symbol futFopExchange secType conId:i"),
    79: ("reqSoftDollarTiers", "reqId:i"),
    80: ("reqFamilyCodes", ""),
    81: ("reqMatchingSymbols", "reqId:i pattern"),
    82: ("reqMktDepthExchanges", ""),
    83: ("reqSmartComponents", "reqId:i bboExchange"),
    84: ("reqNewsArticle", "reqId:i providerCode articleId options"),
    85: ("reqNewsProviders", ""),
    86: ("reqHistoricalNews", "reqId:i conId:i providerCodes startDateTime endDateTime totalResults:i options"),
    87: ("reqHeadTimestamp", f"reqId:i {CONTRACT} includeExpired:b useRTH:b whatToShow formatDate:i"),
    88: ("reqHistogramData", f"reqId:i {CONTRACT} includeExpired:b useRTH:b period"),
    89: ("cancelHistogramData", "reqId:i"),
    90: ("cancelHeadTimestamp", "reqId:i"),
    91: ("reqMarketRule", "marketRuleId:i"),
    92: ("reqPnL", "reqId:i account modelCode"),
    93: ("cancelPnL", "reqId:i"),
    94: ("reqPnLSingle", "reqId:i account modelCode conId:i"),
    95: ("cancelPnLSingle", "reqId:i"),
    96: (
        "reqHistoricalTicks",
        f"reqId:i {CONTRACT} includeExpired:b startDateTime endDateTime numberOfTicks:i whatToShow useRTH:b"
        " ignoreSize:b options",
    ),
    97: ("reqTickByTickData", f"reqId:i {CONTRACT} tickType numberOfTicks:i ignoreSize:b"),
    98: ("cancelTickByTickData", "reqId:i"),
    99: ("reqCompletedOrders", "apiOnly:b"),
    100: ("reqWshMetaData", "reqId:i"),
    101: ("cancelWshMetaData", "reqId:i"),
    102: ("reqWshEventData", "reqId:i REST"),
    103: ("cancelWshEventData", "reqId:i"),
    104: ("reqUserInfo", "reqId:i"),
}


@dataclass(frozen=True)
class Place:
    name: str
    kind: str  # text, i, f, b, or one of LEGS, NEUTRAL, REST, ORDER
    since: int


@cache
def layout_of(message_id: int) -> tuple[str, tuple[Place, ...]]:
    kind, layout = REQUESTS[message_id]
    places = []
    for word in layout.split():
        if word in ("LEGS", "NEUTRAL", "REST", "ORDER"):
            places.append(Place(word, word, 0))
            continue
        name, _, since = word.partition("@")
        name, _, letter = name.partition(":")
        places.append(Place(name, letter or "text", int(since or 0)))
    return kind, tuple(places)


# Runs of fields between the points where the layout of an order varies; `_` for those that mean nothing here.
ORDER_RUNS = (
    "_ discretionaryAmt:f goodAfterTime goodTillDate faGroup faMethod faPercentage",
    "modelCode shortSaleSlot:i designatedLocation exemptCode:i ocaType:i rule80A settlingFirm allOrNone:b minQty:f"
    " percentOffset:f eTradeOnly firmQuoteOnly nbboPriceCap:f auctionStrategy:i startingPrice:f stockRefPrice:f delta:f"
    " stockRangeLower:f stockRangeUpper:f overridePercentageConstraints:b volatility:f volatilityType:i"
    " deltaNeutralOrderType deltaNeutralAuxPrice:f",
    "continuousUpdate:b referencePriceType:i trailStopPrice:f trailingPercent:f scaleInitLevelSize:i"
    " scaleSubsLevelSize:i scalePriceIncrement:f",
    "scaleTable activeStartTime activeStopTime hedgeType",
    "optOutSmartRouting:b clearingAccount clearingIntent notHeld:b",
    "algoStrategy",
    "algoId whatIf:b _ _ _ _",
    "conditionsIgnoreRth:b conditionsCancelOrder:b",
)


@cache
def run_of(layout: str) -> tuple[Place, ...]:
    return tuple(Place(word.partition(":")[0], word.partition(":")[2] or "text", 0) for word in layout.split())
