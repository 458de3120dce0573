"""SQL that is compiled once in a process of the tests, whichever database it is for.

SQLAlchemy keeps what it has compiled with an engine. A server has one engine for all its life; here most tests have one
of their own, and would compile the same statements thousands of times.
"""

from typing import Any

from sqlalchemy import Connection, Engine, event


class _OfAKind(dict[Any, Any]):
    """Compiled statements by their key, whose first part is the engine's dialect: all of this kind are one."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key[1:], value)


_by_kind: dict[tuple[object, ...], _OfAKind] = {}


def share_compiled_statements() -> None:
    """From now on, in this process."""
    event.listen(Engine, "engine_connect", _share)


def _share(connection: Connection) -> None:
    if "compiled_cache" not in connection.get_execution_options():
        dialect = connection.dialect
        kind = (type(dialect), dialect.paramstyle, dialect.server_version_info)
        cache = _by_kind.setdefault(kind, _OfAKind())
        connection.engine.update_execution_options(compiled_cache=cache)
        connection.execution_options(compiled_cache=cache)
