"""The tests' engines share what SQLAlchemy compiles, among those of a kind and no others."""

from sqlalchemy import Engine, create_engine, literal, select

from tests.postgres import Postgres


def test_engines_of_a_kind_compile_a_statement_once() -> None:
    one, another = create_engine("sqlite://"), create_engine("sqlite://")
    compiled_before = _compiled_after_asking(one)
    assert _compiled_after_asking(another) == compiled_before
    assert compiled_before > 0


def test_a_statement_is_compiled_for_each_kind_of_database(postgres: Postgres) -> None:
    lite, server = (create_engine(url) for url in ("sqlite://", _with_driver(postgres.url("postgres"))))
    _compiled_after_asking(lite)
    assert _compiled_after_asking(server) > 0
    assert _cache(lite) is not _cache(server)
    server.dispose()


def _with_driver(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg:")


def _compiled_after_asking(engine: Engine) -> int:
    """Return the number of statements that the engine has compiled after one with two values."""
    with engine.connect() as connection:
        assert connection.execute(select(literal(1))).scalar() == 1
        assert connection.execute(select(literal(2))).scalar() == 2
    engine.dispose()
    return len(_cache(engine))


def _cache(engine: Engine) -> dict[object, object]:
    cache: dict[object, object] = engine.get_execution_options()["compiled_cache"]
    return cache
