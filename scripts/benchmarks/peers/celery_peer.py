"""Celery on Redis, acknowledging late. Arguments: broker URL, jobs, runs. Prints the jobs a second of each run."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import redis
from celery import Celery

URL = os.environ.get("PEER_URL") or sys.argv[1]
app = Celery("celery_peer", broker=URL)
app.conf.update(task_ignore_result=True, task_acks_late=True, broker_connection_retry_on_startup=True)


@app.task(name="noop")
def noop(number: int) -> None:
    """Do nothing."""


def run(count: int) -> float:
    broker = redis.Redis.from_url(URL)
    started = time.perf_counter()
    for number in range(count):
        noop.delay(number)
    while broker.llen("celery") or broker.hlen("unacked"):
        time.sleep(0.005)
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", "--loglevel", "ERROR"],
        cwd=Path(__file__).parent, env=os.environ | {"PEER_URL": URL, "C_FORCE_ROOT": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        run(200)
        print(json.dumps([run(int(sys.argv[2])) for _ in range(int(sys.argv[3]))]))
    finally:
        worker.terminate()
        worker.wait()
