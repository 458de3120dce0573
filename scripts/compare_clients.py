"""Compare how several HTTP clients read hostile answers with how the emulator must; see ``--help``."""

import argparse
import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bounds import HANG_SECONDS
from tests.wire.test_answers import FAILURES, SUCCESSES

_ROOT = Path(__file__).resolve().parents[1]
_PEER = _ROOT / "scripts" / "benchmarks" / "peers" / "client_peer.py"
_PACKAGES = ("aiohttp>=3.12", "httpx>=0.28", "pyreqwest>=0.15", "uvloop>=0.21")
_OTHERS = ("aiohttp", "httpx", "pyreqwest")


@dataclass(frozen=True)
class Row:
    """One hostile answer and the result that a client must report; a failure's body does not matter."""

    name: str
    answer: bytes
    status: int
    body: bytes | None


@dataclass(frozen=True)
class Result:
    """A client's result for each row, and its CPU microseconds for a plain post."""

    answers: list[tuple[int, bytes]]
    cpu_us: float


ROWS = [
    *(Row(name, answer, status, body) for name, (answer, status, body, _) in SUCCESSES.items()),
    *(Row(name, answer, status, None) for name, (answer, status, _) in FAILURES.items()),
]


def main() -> int:
    """Return the exit code: 0 if the emulator's own client reads every answer correctly, else 1."""
    parser = argparse.ArgumentParser(description="Compare how several HTTP clients read hostile answers.")
    parser.add_argument(
        "--posts", type=int, default=1_000, help="number of posts to measure CPU with (default: %(default)s)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=_ROOT / "bench-results" / "clients",
        help="folder into which the other clients are installed",
    )
    given = parser.parse_args()
    pythons = {**dict.fromkeys(_OTHERS, _environment(given.folder)), "ours": Path(sys.executable)}
    with _hostile() as url:
        results = {name: _run(python, name, url, given.posts) for name, python in pythons.items()}
    _print(results)
    return int(
        any(not _is_right(row, answer) for row, answer in zip(ROWS, results["ours"].answers, strict=True))
    )


def _is_right(row: Row, answer: tuple[int, bytes]) -> bool:
    return answer[0] == row.status and row.body in (None, answer[1])


def _print(results: dict[str, Result]) -> None:
    print(f"| answer | {' | '.join(results)} |\n| --- |{' --- |' * len(results)}")
    wrong = dict.fromkeys(results, 0)
    for number, row in enumerate(ROWS):
        cells = []
        for name, result in results.items():
            is_right = _is_right(row, result.answers[number])
            wrong[name] += not is_right
            cells.append("right" if is_right else f"**{_shown(result.answers[number])}**")
        if any(cell != "right" for cell in cells):
            print(f"| {row.name} | {' | '.join(cells)} |")
    print(f"| right, of {len(ROWS)} | {' | '.join(str(len(ROWS) - count) for count in wrong.values())} |")
    print(f"| CPU of one plain post | {' | '.join(f'{one.cpu_us:.0f} µs' for one in results.values())} |")


def _shown(answer: tuple[int, bytes]) -> str:
    status, body = answer
    return f"{status}, {len(body)} bytes" if status else "no answer"


def _run(python: Path, name: str, url: str, posts: int) -> Result:
    command = [str(python), str(_PEER), name, url, str(len(ROWS)), str(posts)]
    paths = os.environ | {"PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=paths)
    if done.returncode:
        raise SystemExit(f"compare-clients: {name}: {done.stderr.strip()[-1_000:]}")
    read = json.loads(done.stdout)
    return Result([(status, base64.b64decode(body)) for status, body in read["answers"]], read["cpu_us"])


def _environment(folder: Path) -> Path:
    python, stamp = folder / "bin" / "python", folder / ".prepared"
    if not stamp.exists() or stamp.read_text() != repr(_PACKAGES):
        print("compare-clients: installing the others (the first time only)", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES]
        subprocess.run(command, check=True)
        stamp.write_text(repr(_PACKAGES))
    return python


@contextlib.contextmanager
def _hostile() -> Iterator[str]:
    """Serve a destination that answers ``/row/N`` with the bytes of that row and closes, and keeps ``/ok`` alive."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _accept(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(HANG_SECONDS)
        while first := stream.readline():
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if found := re.match(rb"(?i)content-length: (\d+)", line):
                    length = int(found[1])
            stream.read(length)
            path = first.split()[1]
            if path.startswith(b"/row/"):
                connection.sendall(ROWS[int(path.rpartition(b"/")[2])].answer)
                connection.shutdown(socket.SHUT_WR)
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


if __name__ == "__main__":
    sys.exit(main())
