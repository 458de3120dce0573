"""The server on asyncio's own loop, as on Windows, on PyPy, and where uvloop is not installed."""

import http.client
import itertools
import json
import signal
import subprocess
import sys
from urllib.parse import urlsplit

from tests.bounds import HANG_SECONDS

# Serves, and receives what it delivers; for a line of input it tells all its connections: the port and TCP_NODELAY.
_SERVER = """
import json, os, socket, sys, threading

class RefuseUvloop:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "uvloop":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, RefuseUvloop())
from emulator.cli.main import main
from emulator.testing.listener import Listener

async def receive(scope, receive, send):
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
    print("delivered", body.decode(), flush=True)

def connections():
    for fd in range(3, 256):
        try:
            with socket.socket(fileno=os.dup(fd)) as one:
                if one.family == socket.AF_INET and one.getpeername():
                    yield one.getsockname()[1], one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        except OSError:
            pass

def tell():
    for _ in sys.stdin:
        print(json.dumps(["uvloop" in sys.modules, *connections()]), flush=True)

threading.Thread(target=tell, daemon=True).start()
with Listener(receive) as listener:
    print(listener.url, flush=True)
    sys.argv = ["qstash-emulator", "dev", "--memory", "--port", "0"]
    main()
"""


def test_without_uvloop_it_delivers_stops_cleanly_and_no_connection_waits_to_fill_a_packet() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdin is not None
            destination = server.stdout.readline().strip()
            printed = dict(line.strip().split("=", 1) for line in itertools.islice(server.stdout, 2))
            url, token = (printed[name].strip('"') for name in ("QSTASH_URL", "QSTASH_TOKEN"))
            client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=HANG_SECONDS)
            client.request(
                "POST", f"/v2/publish/{destination}", b"hello", {"Authorization": f"Bearer {token}"}
            )
            published = client.getresponse()
            assert (published.status, "messageId" in json.loads(published.read())) == (201, True)
            assert "delivered hello\n" in server.stdout
            print(file=server.stdin, flush=True)
            has_uvloop, *connections = json.loads(server.stdout.readline())
            client.close()
            server.send_signal(signal.SIGTERM)
            assert server.wait(HANG_SECONDS) == 0
        finally:
            server.kill()
    assert not has_uvloop
    ports = {urlsplit(one).port for one in (url, destination)}
    assert ports <= {port for port, _ in connections}
    assert all(is_without_delay for _, is_without_delay in connections)
