"""The account, the emulator and the files that a command of ``qstash-emulator account`` uses."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli.client import fail

if TYPE_CHECKING:
    from emulator.account.client import AccountClient
    from emulator.account.values import AccountState

ACCOUNT, EMULATOR = "account", "emulator"

AccountUrl = Annotated[
    str | None,
    typer.Option(
        "--account-url", envvar="QSTASH_URL", show_envvar=True, rich_help_panel="Servers",
        help="The account's region, such as https://qstash-us-east-1.upstash.io.",
    ),
]  # fmt: skip
AccountToken = Annotated[
    str | None,
    typer.Option(
        "--account-token", envvar="QSTASH_TOKEN", show_envvar=True, show_default=False, rich_help_panel="Servers",
        help="The account's token; the read-only token is enough for all but apply.",
    ),
]  # fmt: skip
EmulatorUrl = Annotated[str, typer.Option("--emulator-url", help="The emulator.", rich_help_panel="Servers")]
EmulatorToken = Annotated[
    str | None,
    typer.Option(
        "--emulator-token", help="Whose tenant; by default the default user's.", show_default=False,
        rich_help_panel="Servers",
    ),
]  # fmt: skip
MaxWait = Annotated[
    float,
    typer.Option(
        "--max-wait",
        min=0,
        help="Longest wait for a rate limit, in seconds.",
        rich_help_panel="Servers",
    ),
]


@dataclass(frozen=True, slots=True)
class Servers:
    """The account and the emulator that the command line names."""

    account_url: str | None
    account_token: str | None
    emulator_url: str
    emulator_token: str | None
    max_wait: float

    def account(self) -> "AccountClient":
        if not self.account_url or not self.account_token:
            fail(
                "which account? Set QSTASH_URL and QSTASH_TOKEN, or give --account-url and --account-token", 2
            )
        return self._client(self.account_url, self.account_token, ACCOUNT)

    def emulator(self) -> "AccountClient":
        from emulator.tenants import PUBLISHED_USERS

        return self._client(self.emulator_url, self.emulator_token or PUBLISHED_USERS[0].token, EMULATOR)

    def named(self, to: str) -> "AccountClient":
        if to not in (ACCOUNT, EMULATOR):
            fail(f"--to {to!r}: expected account or emulator", 2)
        return self.account() if to == ACCOUNT else self.emulator()

    def state(self, name: str, rewrite: list[str] | None) -> "AccountState":
        """Return the state of the account, with its destinations rewritten, of the emulator, or of a file."""
        from emulator.account.rewriting import Rules

        rules = Rules.parse(rewrite or [])
        if name not in (ACCOUNT, EMULATOR):
            return load_file(name)
        with self.named(name) as client:
            state = client.state()
        return rules.state(state) if name == ACCOUNT else state

    def _client(self, url: str, token: str, name: str) -> "AccountClient":
        from emulator.account.client import AccountClient

        return AccountClient(
            url,
            token,
            name=name,
            longest_wait_seconds=self.max_wait,
            say=lambda words: typer.echo(words, err=True),
        )


def load_file(file: str) -> "AccountState":
    """Return the state that a file describes; - is standard input. Raises FormError."""
    import os

    from emulator.account.file import load
    from emulator.cli.client import read_input

    try:
        text = read_input(file).decode()
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8", 2)
    return load(text, file=file, environment=os.environ)
