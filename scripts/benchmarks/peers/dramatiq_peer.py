"""Dramatiq on Redis. Arguments: broker URL, jobs, runs. Prints the jobs a second of each run."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

URL = os.environ.get("PEER_URL") or sys.argv[1]
dramatiq.set_broker(RedisBroker(url=URL))


@dramatiq.actor
def noop(number: int) -> None:
    """Do nothing."""


def run(count: int) -> float:
    broker = redis.Redis.from_url(URL)
    started = time.perf_counter()
    for number in range(count):
        noop.send(number)
    while broker.hlen("dramatiq:default.msgs"):
        time.sleep(0.005)
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    worker = subprocess.Popen(
        [sys.executable, "-m", "dramatiq", "dramatiq_peer"],
        cwd=Path(__file__).parent, env=os.environ | {"PEER_URL": URL},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        run(200)
        print(json.dumps([run(int(sys.argv[2])) for _ in range(int(sys.argv[3]))]))
    finally:
        worker.terminate()
        worker.wait()
