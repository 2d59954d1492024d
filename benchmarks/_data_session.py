"""A data session beside orders, as a process of its own: `python -m benchmarks._data_session <port> <client id>`.

It asks for two weeks of minutes of a currency pair, about 14,000 bars in one answer, again and again, until its input ends.
Prints how many bars the first answer had, and at the end how many answers came.
"""

import asyncio
import sys

from ib_bridge.ib.client import Contract, new_client

DURATION = "2 W"


async def ask(port: int, client_id: int) -> None:
    ib = new_client()
    await ib.connectAsync("127.0.0.1", port, clientId=client_id, readonly=True)
    pair = Contract(secType="CASH", symbol="EUR", currency="USD", exchange="IDEALPRO")
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    answers = 0
    while not ended.done():
        bars = await ib.reqHistoricalDataAsync(pair, "", DURATION, "1 min", "MIDPOINT", useRTH=False, formatDate=2)
        if not answers:
            print(len(bars), flush=True)
        answers += 1
    print(answers, flush=True)
    ib.disconnect()


if __name__ == "__main__":
    asyncio.run(ask(int(sys.argv[1]), int(sys.argv[2])))
