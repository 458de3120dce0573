"""Tasks for what Django says of every backend."""

import sys
from collections.abc import Callable
from typing import Any

from tests.django_project.either import TaskContext, task


class Chipped(Exception):
    """Has its class in its module."""

    class Badly(Exception):
        """Has its class in another."""


@task
def answer(value: Any) -> Any:
    return value


@task
def answer_bytes() -> Any:
    return {"raw": b"tea", "pair": (1, 2)}


@task
async def answer_later(value: Any, *, twice: bool = False) -> Any:
    return [value, value] if twice else value


@task(takes_context=True)
def context_of(context: TaskContext) -> Any:
    return [context.attempt, context.task_result.task.name, str(context.task_result.status)]


@task(takes_context=True)
async def context_with(context: TaskContext, word: str) -> Any:
    return [word, context.attempt]


@task
def answer_an_object() -> Any:
    return object()


@task
def answer_a_set() -> Any:
    return {1, 2}


@task
def answer_bytes_that_are_no_text() -> Any:
    return b"\xff"


@task
def chip() -> None:
    raise Chipped("the cup\nand the saucer: both")


@task
def chip_badly() -> None:
    raise Chipped.Badly


@task
def chip_while_chipping() -> None:
    try:
        raise Chipped("first")
    except Chipped as error:
        raise KeyError("second: line\nValueError: not this one") from error


@task
def want_more(needed: str) -> None: ...


@task
def leave() -> None:
    sys.exit(3)


@task
async def chip_later() -> None:
    raise Chipped


ENDS: tuple[tuple[Any, tuple[Any, ...], dict[str, Any]], ...] = (
    (answer, (None,), {}),
    (answer, ({"a": [1, 2.5, "ä", True, None]},), {}),
    (answer, ((1, (2, 3)),), {}),
    (answer, (b"bytes",), {}),
    (answer, (), {"value": [b"more"]}),
    (answer, ("",), {}),
    (answer, ([10**30],), {}),
    (answer_bytes, (), {}),
    (answer_later, (1,), {"twice": True}),
    (context_of, (), {}),
    (context_with, ("word",), {}),
    (answer_an_object, (), {}),
    (answer_a_set, (), {}),
    (chip, (), {}),
    (chip_badly, (), {}),
    (chip_while_chipping, (), {}),
    (chip_later, (), {}),
    (want_more, (), {}),
    (want_more, (1,), {"unknown": 2}),
    (leave, (), {}),
)
"""Tasks, with their arguments, that end as they do with Django's own ImmediateBackend."""

REFUSED: tuple[Any, ...] = (object(), {1}, [object()], {"a": object()}, b"\xff")
"""Arguments that have no form in JSON."""


def nested() -> Callable[..., Any]:
    """A function that no worker can import."""

    def inner() -> None: ...

    return inner


def takes_another_argument(first: Any) -> None: ...
