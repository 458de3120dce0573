"""``qstash-emulator account replay``: deliver an account's failed message to an app on this machine."""

import random
import time
from pathlib import Path
from urllib.parse import urlsplit

import typer

from emulator.account.dead_letter import AccountDeadLetter, delivery, read_dead_letter
from emulator.account.errors import AccountError, FormError, UnreachableError
from emulator.account.replaying import Replayed, deliver, saves
from emulator.account.requests import segment
from emulator.account.rewriting import Rules
from emulator.account.secrecy import shown_url
from emulator.cli.account_servers import Servers
from emulator.cli.client import fail, read_input
from emulator.clock import wall_now_at
from emulator.delivery.connection_errors import is_loopback
from emulator.tenants import PUBLISHED_USERS
from emulator.wire.ids import IdFactory

_MOST_WORDS = 300


def replay(
    servers: Servers,
    dlq_id: str | None,
    *,
    rewrite: list[str],
    body_file: str | None,
    watch: list[str],
    until_delivered: bool,
    signing_key: str | None,
) -> None:
    """Deliver once, and again for each save. Raises AccountError, and typer.Exit unless the last answer was 2xx."""
    rules = Rules.parse(rewrite)
    paths = _existing(watch)
    entry = _entry(servers, dlq_id)
    url = _destination(entry, rules)
    body = _body(entry, body_file)
    key = signing_key or _local_key(servers)
    typer.echo(
        f"{entry.dlq_id}: {entry.message.method} {shown_url(url)}, failed in the account: {_failure(entry)}"
    )
    if entry.hidden:
        typer.echo(f"without the headers that the account redacts: {', '.join(entry.hidden)}", err=True)

    def once(*, is_patient: bool) -> Replayed:
        request = delivery(
            entry,
            body,
            url=url,
            signing_key=key,
            jwt_id=IdFactory(random.SystemRandom()).jwt_id(),
            signed_at_seconds=wall_now_at() // 1000,
        )
        done = deliver(request, sleep=time.sleep if is_patient else None)
        typer.echo(f"{done.status or 'no answer'} after {done.millis} ms: {_cut(done.words)}")
        return done

    done = once(is_patient=bool(paths))
    if paths and not (until_delivered and done.is_success):
        for _ in saves(paths):
            done = once(is_patient=True)
            if until_delivered and done.is_success:
                break
    raise typer.Exit(0 if done.is_success else 1)


def _existing(watch: list[str]) -> list[Path]:
    for name in watch:
        if not Path(name).exists():
            raise FormError(f"--watch {name}: there is no such file or folder")
    return [Path(name) for name in watch]


def _entry(servers: Servers, dlq_id: str | None) -> AccountDeadLetter:
    with servers.account() as client:
        if dlq_id is not None:
            return read_dead_letter(client.read(f"/v2/dlq/{segment(dlq_id)}"))
        page = client.read("/v2/dlq?count=1&order=latestFirst")
    entries = page.get("messages") if isinstance(page, dict) else None
    if not entries:
        fail("the account's dead letter queue is empty")
    return read_dead_letter(entries[0])


def _destination(entry: AccountDeadLetter, rules: Rules) -> str:
    url = rules.url(entry.message.url)
    if not is_loopback(urlsplit(url).hostname or ""):
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise FormError(
            f"{shown_url(url)} is not on this machine: map it with --rewrite {origin}=http://localhost:3000"
        )
    return url


def _body(entry: AccountDeadLetter, file: str | None) -> bytes:
    if file is not None:
        return read_input(file)
    if entry.body is None:
        raise AccountError(
            f"the account shows the body of {entry.dlq_id} as a digest: give it by --body FILE"
        )
    return entry.body


def _local_key(servers: Servers) -> str:
    """Return the emulator's current signing key, or the default user's published one if no server runs."""
    try:
        with servers.emulator() as client:
            return str(client.read("/v2/keys")["current"])
    except UnreachableError:
        if servers.emulator_token is not None:
            raise
        return PUBLISHED_USERS[0].keys.current


def _failure(entry: AccountDeadLetter) -> str:
    return f"{entry.status or 'no answer'}: {_cut(entry.answer)}" if entry.answer else str(entry.status)


def _cut(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= _MOST_WORDS else f"{line[:_MOST_WORDS]}…"
