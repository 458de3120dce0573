"""``qstash-emulator account``: a real account and this machine's emulator, compared and brought together.

Of the account only ``/v2`` is used. Not yet tried on a real account.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emulator.cli.account_servers import (
    ACCOUNT,
    EMULATOR,
    AccountToken,
    AccountUrl,
    EmulatorToken,
    EmulatorUrl,
    MaxWait,
    Servers,
    load_file,
)
from emulator.cli.client import NOT_RUNNING, REFUSED, fail, write_output
from emulator.cli.options import DEFAULT_URL
from emulator.cli.output import print_json

if TYPE_CHECKING:
    from emulator.account.client import AccountClient
    from emulator.account.difference import Difference
    from emulator.account.messages import Copied
    from emulator.account.plan import Plan, PlanStep
    from emulator.account.rewriting import Rules
    from emulator.account.values import AccountState

app: typer.Typer = typer.Typer(
    help="A real account and this machine: pull, diff, plan, apply, replay. Not yet tried on a real account.",
    no_args_is_help=True,
)

Rewrite = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN=ORIGIN",
        help="Send requests for the account's first origin to the second one here. Repeatable.",
    ),
]
WithSecrets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Write the values of this header, or 'body', into the file. Repeatable."
    ),
]
Prune = Annotated[bool, typer.Option("--prune", help="Delete what is not in the file.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
To = Annotated[str, typer.Option("--to", metavar="account|emulator", help="Which server.")]
File = Annotated[
    str,
    typer.Argument(metavar="[FILE]", help="The file that describes the wanted state; - is standard input."),
]


@app.command()
def pull(
    file: Annotated[
        str | None, typer.Option(help="Write a file instead of filling the emulator; - is standard output.")
    ] = None,
    rewrite: Rewrite = None,
    keep_destinations: Annotated[
        bool,
        typer.Option(
            "--keep-destinations", help="Allow the emulator to call the account's real destinations."
        ),
    ] = False,
    with_secrets: WithSecrets = None,
    with_dlq: Annotated[
        bool, typer.Option("--with-dlq", help="Copy the entries of the dead letter queue, too.")
    ] = False,
    with_messages: Annotated[
        bool, typer.Option("--with-messages", help="Copy the messages that wait, too, with their times.")
    ] = False,
    prune: Prune = False,
    yes: Yes = False,
    account_url: AccountUrl = None,
    account_token: AccountToken = None,
    emulator_url: EmulatorUrl = DEFAULT_URL,
    emulator_token: EmulatorToken = None,
    max_wait: MaxWait = 60,
) -> None:
    """Copy the account's schedules, URL groups, queues and pinned flow-control keys into the emulator, or into a file.

    The account is only read.
    """
    servers = Servers(account_url, account_token, emulator_url, emulator_token, max_wait)
    with _said():
        from emulator.account.rewriting import Rules

        rules = Rules.parse(rewrite or [])
        if file is not None and (with_dlq or with_messages):
            fail("--with-dlq and --with-messages fill the emulator, not a file", 2)
        with servers.account() as client:
            state = rules.state(client.state())
            theirs = _messages(client, rules, with_dlq=with_dlq, with_messages=with_messages)
        if file is not None:
            _write(file, state, with_secrets or [])
            return
        if not keep_destinations:
            _check_destinations([state, *(one.destinations for one in theirs)])
        with servers.emulator() as target:
            plan = _planned(target, state, (EMULATOR, ACCOUNT), prune=prune)
            _carry_out(plan, target, yes=yes)
            if theirs:
                ours = _messages(target, Rules.parse([]), with_dlq=with_dlq, with_messages=with_messages)
                _copy(theirs, ours, target)


@app.command("diff")
def diff_(
    first: Annotated[str, typer.Argument(metavar="[FIRST]", help="account, emulator, or a file.")] = ACCOUNT,
    second: Annotated[str, typer.Argument(metavar="[SECOND]", help="The same.")] = EMULATOR,
    rewrite: Rewrite = None,
    as_json: AsJson = False,
    account_url: AccountUrl = None,
    account_token: AccountToken = None,
    emulator_url: EmulatorUrl = DEFAULT_URL,
    emulator_token: EmulatorToken = None,
    max_wait: MaxWait = 60,
) -> None:
    """Compare two of the account, the emulator and a file. Exits with 1 when they differ."""
    servers = Servers(account_url, account_token, emulator_url, emulator_token, max_wait)
    with _said():
        from emulator.account.difference import diff

        names = (first, second)
        states = [servers.state(name, rewrite) for name in names]
        changes = diff(states[0], states[1], names=names)
    if as_json:
        print_json({"differences": [_as_json(change, names) for change in changes]})
    else:
        for change in changes:
            typer.echo("\n".join(_lines(change, names)))
        typer.echo(_count(changes, states))
    raise typer.Exit(REFUSED if changes else 0)


@app.command()
def plan(
    file: File = "qstash.yaml",
    to: To = ACCOUNT,
    prune: Prune = False,
    as_json: AsJson = False,
    account_url: AccountUrl = None,
    account_token: AccountToken = None,
    emulator_url: EmulatorUrl = DEFAULT_URL,
    emulator_token: EmulatorToken = None,
    max_wait: MaxWait = 60,
) -> None:
    """Show what apply would do. Changes nothing."""
    servers = Servers(account_url, account_token, emulator_url, emulator_token, max_wait)
    with (
        _said(),
        servers.named(to) as client,
    ):
        made = _planned(client, load_file(file), (client.name, file), prune=prune)
    if as_json:
        print_json({"steps": [_step_as_json(step) for step in made.steps], "kept": list(made.kept)})
        return
    for step in made.steps:
        typer.echo("\n".join(_step_lines(step)))
    typer.echo(_summary(made))


@app.command()
def apply(
    file: File = "qstash.yaml",
    to: To = ACCOUNT,
    prune: Prune = False,
    yes: Yes = False,
    account_url: AccountUrl = None,
    account_token: AccountToken = None,
    emulator_url: EmulatorUrl = DEFAULT_URL,
    emulator_token: EmulatorToken = None,
    max_wait: MaxWait = 60,
) -> None:
    """Make the account, or the emulator, match the file. A second run changes nothing; only --prune deletes."""
    servers = Servers(account_url, account_token, emulator_url, emulator_token, max_wait)
    with (
        _said(),
        servers.named(to) as client,
    ):
        made = _planned(client, load_file(file), (client.name, file), prune=prune)
        _carry_out(made, client, yes=yes)


@app.command()
def replay(
    dlq_id: Annotated[
        str | None, typer.Argument(metavar="[DLQ_ID]", help="The entry's id; by default the newest.")
    ] = None,
    rewrite: Rewrite = None,
    body: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Another body, such as where the account redacts it; - is standard input."
        ),
    ] = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Deliver again on every save below it, until Ctrl-C. Repeatable."),
    ] = None,
    until_delivered: Annotated[
        bool, typer.Option("--until-delivered", help="With --watch: end when the app answers 2xx.")
    ] = False,
    signing_key: Annotated[
        str | None, typer.Option(help="Sign with this key.", show_default="the emulator's")
    ] = None,
    account_url: AccountUrl = None,
    account_token: AccountToken = None,
    emulator_url: EmulatorUrl = DEFAULT_URL,
    emulator_token: EmulatorToken = None,
    max_wait: MaxWait = 60,
) -> None:
    """Deliver an entry of the account's dead letter queue to the app on this machine, signed with the local key.

    The account is only read, and the entry stays in it. Exits with 1 when the app does not answer 2xx.
    """
    servers = Servers(account_url, account_token, emulator_url, emulator_token, max_wait)
    with _said():
        from emulator.cli.account_replay import replay as replay_

        replay_(
            servers,
            dlq_id,
            rewrite=rewrite or [],
            body_file=body,
            watch=watch or [],
            until_delivered=until_delivered,
            signing_key=signing_key,
        )


@contextmanager
def _said() -> Iterator[None]:
    """Turn an error into one line and an exit code."""
    from emulator.account.errors import AccountError, FormError, UnreachableError

    try:
        yield
    except FormError as error:
        fail(str(error), 2)
    except UnreachableError as error:
        fail(str(error), NOT_RUNNING)
    except AccountError as error:
        fail(str(error), REFUSED)
    except ModuleNotFoundError as error:
        fail(f"this needs {error.name}: add the extra 'account'", 2)


def _write(file: str, state: "AccountState", with_secrets: list[str]) -> None:
    from emulator.account.file import dump
    from emulator.account.secrecy import withhold

    write_output(file, dump(withhold(state, shown=with_secrets)))
    if file != "-":
        typer.echo(f"{file}: {_sizes(state)}")


def _check_destinations(states: "list[AccountState]") -> None:
    """Raise unless the destinations are safe: the emulator would call them at the schedules' next times."""
    from urllib.parse import urlsplit

    from emulator.account.rewriting import origins
    from emulator.delivery.connection_errors import is_loopback

    found = sorted({origin for state in states for origin in origins(state)})
    far = [origin for origin in found if not is_loopback(urlsplit(origin).hostname or "")]
    if far:
        fail(
            f"the emulator would call {', '.join(far)}: say where they lead here, "
            f"--rewrite {far[0]}=http://localhost:3000, or --keep-destinations",
            2,
        )


def _messages(
    client: "AccountClient", rules: "Rules", *, with_dlq: bool, with_messages: bool
) -> "list[Copied]":
    from emulator.account.messages import dead_letters, waiting

    return [
        *(dead_letters(client, rules) if with_dlq else ()),
        *(waiting(client, rules) if with_messages else ()),
    ]


def _copy(theirs: "list[Copied]", ours: "list[Copied]", target: "AccountClient") -> None:
    """Copy what can be copied and is not here yet; print what is left out, or fails."""
    from emulator.account.errors import AccountError
    from emulator.account.messages import missing

    wanted = list(missing(theirs, ours))
    for one in wanted:
        if one.obstacle:
            typer.echo(f"not copied: {one.id}: {one.obstacle}", err=True)
    left = [one for one in wanted if not one.obstacle]
    for done, one in enumerate(left):
        try:
            target.send(one.request())
        except AccountError as error:
            copied = f"{done} of {_number(len(left), 'message')} copied, {one.id} is the first that is not"
            fail(f"{error}\nqstash-emulator: {copied}")
    typer.echo(f"{target.name}: {_number(len(left), 'message')} copied")


def _planned(
    client: "AccountClient", wanted: "AccountState", names: tuple[str, str], *, prune: bool
) -> "Plan":
    from emulator.account.plan import plan as plan_

    return plan_(client.state(), wanted, names=names, prune=prune)


def _carry_out(made: "Plan", client: "AccountClient", *, yes: bool) -> None:
    from emulator.account.carrying_out import carry_out

    _confirm([step for step in made.steps if step.verb == "delete"], client, yes=yes)
    outcome = carry_out(made, client, tell=lambda step: typer.echo(_past(step)))
    if outcome.failed is None:
        typer.echo(f"{client.name}: {_done_words(made, len(outcome.done))}")
        return
    typer.echo(f"NOT DONE: {outcome.failed.verb} {outcome.failed.title}", err=True)
    for step in outcome.left:
        typer.echo(f"NOT TRIED: {step.verb} {step.title}", err=True)
    fail(
        f"{outcome.why}\nqstash-emulator: {len(outcome.done)} of {len(made.steps)} steps are done; "
        "the same command does the rest"
    )


def _confirm(deletions: "list[PlanStep]", client: "AccountClient", *, yes: bool) -> None:
    if not deletions or yes:
        return
    titles = ", ".join(step.title for step in deletions)
    if not sys.stdin.isatty():
        fail(f"this deletes at {client.url}: {titles}; say --yes", 2)
    typer.confirm(f"Delete at {client.url}: {titles}?", abort=True)


def _done_words(made: "Plan", done: int) -> str:
    words = f"{_number(done, 'step')} done" if done else "nothing to do"
    return words + _kept_words(made)


def _summary(made: "Plan") -> str:
    counts = [
        f"{sum(step.verb == verb for step in made.steps)} to {verb}" for verb in ("make", "change", "delete")
    ]
    return ", ".join(counts) + _kept_words(made)


def _kept_words(made: "Plan") -> str:
    return f"; left alone (--prune deletes): {', '.join(made.kept)}" if made.kept else ""


def _past(step: "PlanStep") -> str:
    return f"{ {'make': 'made', 'change': 'changed', 'delete': 'deleted'}[step.verb] } {step.title}"


def _step_lines(step: "PlanStep") -> list[str]:
    return [f"{step.verb} {step.title}", *(f"  {words}" for words in step.details)]


def _lines(change: "Difference", names: tuple[str, str]) -> list[str]:
    return [f"{change.title}: {_kind(change, names)}", *(f"  {words}" for words in change.details)]


def _kind(change: "Difference", names: tuple[str, str]) -> str:
    if change.kind == "differs":
        return "differs"
    return f"only in {names[0] if change.kind == 'only in the first' else names[1]}"


def _count(changes: "list[Difference]", states: "list[AccountState]") -> str:
    from emulator.account.values import PARTS

    missing = [PARTS[part] for part in PARTS if any(state.part(part) is None for state in states)]
    skipped = f"; not compared: {', '.join(missing)}" if missing else ""
    withheld = sum(state.withheld_count for state in states)
    unknown = f"; not compared: {_number(withheld, 'withheld value')}" if withheld else ""
    number = _number(len(changes), "difference") if changes else "no difference"
    return f"{number}{skipped}{unknown}"


def _sizes(state: "AccountState") -> str:
    from emulator.account.values import PARTS

    return ", ".join(_number(len(state.part(part) or ()), what) for part, what in PARTS.items())


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _as_json(change: "Difference", names: tuple[str, str]) -> dict[str, Any]:
    return {
        "part": change.part, "name": change.name, "kind": _kind(change, names), "details": list(change.details)
    }  # fmt: skip


def _step_as_json(step: "PlanStep") -> dict[str, Any]:
    return {"verb": step.verb, "title": step.title, "details": list(step.details)}
