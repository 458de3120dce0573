"""One way to call the emulator from plain and from async tests.

A test is either plain or async, and so is everything it calls. Two sets of methods (``advance`` and
``advance_async``), or two fixtures, would make every helper and every page of documentation come twice. Instead a
call returns a ``Call``: in code without a running event loop the work is done when the call returns; inside one it is
done when the ``Call`` is awaited, as the loop must not be blocked. A ``Call`` that is not awaited fails the test with a
message, because a call that silently does nothing is hard to find.
"""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class NotAwaited(AssertionError):
    """A call inside an event loop was not awaited, so it did nothing."""


class Call(Generic[T]):
    """The result of a harness call: ready in a plain test, to be awaited in an async one."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """``name`` is for error messages; ``work`` is started by ``await``, or by ``finish_with``."""
        self._name = name
        self._work: Callable[[], Coroutine[Any, Any, T]] | None = work
        self._value: T | None = None
        self.is_begun: bool = False

    def finish_with(self, perform: Callable[[Coroutine[Any, Any, T]], T]) -> "Call[T]":
        """Run the work now, by ``perform``."""
        self._value = perform(self._begin())
        return self

    def __await__(self) -> Generator[Any, Any, T]:
        if not self.is_begun:
            self._value = yield from self._begin().__await__()
        return self.result

    @property
    def result(self) -> T:
        """Return the result. Raise NotAwaited inside an event loop if it was not awaited."""
        if not self.is_begun:
            raise NotAwaited(self.complaint())
        return self._value  # type: ignore[return-value]  # None only where T is None

    def complaint(self) -> str:
        """Return the error message for a call that was never awaited."""
        return (
            f"qstash.{self._name} was called inside a running event loop and not awaited, so nothing happened: "
            f"write 'await qstash.{self._name}'"
        )

    def _begin(self) -> Coroutine[Any, Any, T]:
        assert self._work is not None
        work, self._work = self._work, None
        self.is_begun = True
        return work()
