"""Many who sign in at the same time, as a process of their own: `python -m benchmarks._sign_in_load <port> <how many>`.

Each comes from an address of their own and has a name that nobody knows: refused after the same work as anybody. Prints
`begun`, and at the end how many got which status, as JSON.
"""

import asyncio
import json
import sys
from collections import Counter

import httpx

LOGIN = "/api/v1/auth/login"


async def load(port: int, count: int) -> Counter[int]:
    limits = httpx.Limits(max_connections=count)
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, timeout=60, limits=limits, trust_env=False) as client:
        return Counter(await asyncio.gather(*(_knock(client, number) for number in range(count))))


async def _knock(client: httpx.AsyncClient, number: int) -> int:
    address = {"X-Forwarded-For": f"198.51.{100 + number // 250}.{number % 250}"}
    body = {"username": f"nobody{number}", "password": "a sentence that fits nobody"}
    return (await client.post(LOGIN, json=body, headers=address)).status_code


if __name__ == "__main__":
    print("begun", flush=True)
    print(json.dumps(asyncio.run(load(int(sys.argv[1]), int(sys.argv[2])))))
