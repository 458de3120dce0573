"""The outside resources of handlers, found by type: a mailer, a storage, an application's own clients."""

from typing import Any, TypeVar, cast

T = TypeVar("T")


class Resources:
    """A set of resources, one for each type."""

    def __init__(self) -> None:
        self._by_kind: dict[type[Any], Any] = {}

    def provide(self, kind: type[T], value: T) -> "Resources":
        """Have ``use(kind)`` return ``value``. Return self."""
        self._by_kind[kind] = value
        return self

    def use(self, kind: type[T]) -> T:
        """Return the resource provided for ``kind``.

        Raises:
            LookupError: if there is none; it says how to provide one.
        """
        try:
            return cast("T", self._by_kind[kind])
        except KeyError:
            raise LookupError(
                f"no {kind.__name__} was provided: create_app(resources=Resources().provide({kind.__name__}, …))"
            ) from None

    def __contains__(self, kind: type[Any]) -> bool:
        return kind in self._by_kind
