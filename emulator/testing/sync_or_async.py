"""One way to call the emulator from plain and from async tests.

A test is either plain or async, and so is everything it calls. Two sets of methods (``advance`` and
``advance_async``), or two fixtures, would make every helper and every page of documentation come twice. Instead a
call returns a ``Call``: in code without a running event loop the work is done when the call returns; inside one
it is done when the ``Call`` is awaited, as the loop must not be blocked. A ``Call`` that nobody awaits fails the
test, with words: silently doing nothing is what one would never find.
"""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class NotAwaited(AssertionError):
    """A call inside an event loop was not awaited, so that it did nothing."""


class Call(Generic[T]):
    """What a call of the harness leads to: done already in a plain test, to be awaited in an async one."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """``name`` is for error messages; ``work`` is begun by ``await``, or by ``finish_with``."""
        self._name = name
        self._work: Callable[[], Coroutine[Any, Any, T]] | None = work
        self._value: T | None = None
        self.is_begun: bool = False

    def finish_with(self, perform: Callable[[Coroutine[Any, Any, T]], T]) -> "Call[T]":
        """Do the work now, by ``perform``."""
        self._value = perform(self._begin())
        return self

    def __await__(self) -> Generator[Any, Any, T]:
        if not self.is_begun:
            self._value = yield from self._begin().__await__()
        return self.result

    @property
    def result(self) -> T:
        """What came of it. Raises NotAwaited inside an event loop before it was awaited."""
        if not self.is_begun:
            raise NotAwaited(self.complaint())
        return self._value  # type: ignore[return-value]  # None only where T is None

    def complaint(self) -> str:
        """Words for a call that was never awaited."""
        return (
            f"qstash.{self._name} was called inside a running event loop and not awaited, so nothing happened: "
            f"write 'await qstash.{self._name}'"
        )

    def _begin(self) -> Coroutine[Any, Any, T]:
        assert self._work is not None
        work, self._work = self._work, None
        self.is_begun = True
        return work()
