"""Send a server random requests and answer its deliveries with random bytes, from seeds; see ``--help``."""

import argparse
import secrets
import sys
import time
from random import Random

import httpx

from emulator.testing import ServerProcess
from tests.bounds import HANG_SECONDS
from tests.wire.any_bytes import Findings, deliver_answers, left_active, send_requests

_REQUESTS, _MESSAGES = 200, 50
_ROUNDS_OF_A_SERVER = 50


def main() -> int:
    """Return the exit code: 0 if no round found anything wrong, else 1."""
    parser = argparse.ArgumentParser(
        description="Send a server random bytes as requests, and answer its deliveries with random bytes."
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="minutes to run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10**9, help="largest number of rounds")
    parser.add_argument(
        "--seed", type=int, help="seed of the first round; each further one adds 1 (default: random)"
    )
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    until = time.monotonic() + given.minutes * 60
    found, done = Findings(), 0
    while done < given.rounds and time.monotonic() < until and not found.wrong:
        with ServerProcess() as server:
            for _ in range(_ROUNDS_OF_A_SERVER):
                if done < given.rounds and time.monotonic() < until and not found.wrong:
                    found.add(_round(server, seed + done))
                    done += 1
                    _say(f"{done} rounds, {found.requests} requests, {found.messages} messages")
    print(file=sys.stderr)
    print(
        f"seeds {seed} to {seed + done - 1}: {found.requests} requests (answers: {_listed(found.statuses)}), "
        f"{found.messages} messages in {found.deliveries} deliveries ({_listed(found.ends)})"
    )
    for wrong in found.wrong:
        print(f"seed {seed + done - 1}: {wrong}")
    return 1 if found.wrong else 0


def _round(server: ServerProcess, seed: int) -> Findings:
    chance = Random(seed)
    found = Findings()
    with _client(server) as client:
        client.post("/emulator/faults", json={"kind": "answer", "status": 200})
        token = client.headers["Authorization"].removeprefix("Bearer ")
        found.add(send_requests(server.url, token, chance, _REQUESTS))
        found.wrong += left_active(client)
    with _client(server) as client:
        found.add(deliver_answers(client, chance, _MESSAGES))
    return found


def _client(server: ServerProcess) -> httpx.Client:
    headers = {"Authorization": f"Bearer {server.new_tenant()['QSTASH_TOKEN']}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=HANG_SECONDS)


def _listed(counted: dict[int, int] | dict[str, int]) -> str:
    return ", ".join(
        f"{name}: {count}" for name, count in sorted(counted.items(), key=lambda one: str(one[0]))
    )


def _say(text: str) -> None:
    print(f"\r{text} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
