"""Orders of a bare client, as a process of its own: `python -m benchmarks._bare_orders <port> <client id> <count>`.

Prints, as JSON, when placeOrder was called (monotonic, ns) for each order's reference. They end
at once: IOC, far from the market.
"""

import asyncio
import json
import sys
import time

from ib_insync import IB, LimitOrder, Stock

PAUSE_S = 0.03


async def place(port: int, client_id: int, count: int) -> dict[str, int]:
    ib, called = IB(), dict[str, int]()
    await ib.connectAsync("127.0.0.1", port, clientId=client_id)
    (stock,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
    (account,) = ib.managedAccounts()
    for number in range(count):
        order = LimitOrder("BUY", 1, 200, tif="IOC", account=account, orderRef=f"bare-{number}")
        called[order.orderRef] = time.monotonic_ns()
        ib.placeOrder(stock, order)
        await asyncio.sleep(PAUSE_S)
    ib.disconnect()
    return called


if __name__ == "__main__":
    print(json.dumps(asyncio.run(place(*map(int, sys.argv[1:4])))))
