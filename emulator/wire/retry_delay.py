"""The language of ``Upstash-Retry-Delay``: arithmetic over ``retried``, with a parser of its own.

    expr   = term *( ("+" / "-") term )
    term   = factor *( ("*" / "/") factor )
    factor = [ "-" / "+" ] ( number / "retried" / call / "(" expr ")" )
    call   = name "(" expr *( "," expr ) ")"

A user's text is never passed to Python's evaluator. Text length, nesting and the size of every intermediate number
are bounded, so that every expression takes only microseconds.

Source: contract 4.5; the vendor's page features/retry.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from emulator.errors import InvalidInput

MAX_LENGTH = 512
MAX_DEPTH = 32
MAX_DELAY_MS = 86_400_000

Node = Callable[[float], float]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<name>[A-Za-z_]+)|(?P<symbol>[-+*/(),]))"
)


class _NoAnswerError(ArithmeticError):
    """The expression has no finite value: a division by zero, an overflow, the root of a negative number."""


@dataclass(frozen=True, slots=True)
class _Function:
    least: int
    most: int | None
    compute: Callable[..., float]

    def accepts(self, count: int) -> bool:
        return count >= self.least and (self.most is None or count <= self.most)

    def arity(self) -> str:
        if self.most is None:
            return f"{self.least} or more arguments"
        return "1 argument" if self.most == 1 else f"{self.most} arguments"


def _round_half_away_from_zero(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)


_FUNCTIONS = {
    "pow": _Function(2, 2, math.pow),
    "sqrt": _Function(1, 1, math.sqrt),
    "abs": _Function(1, 1, abs),
    "exp": _Function(1, 1, math.exp),
    "floor": _Function(1, 1, math.floor),
    "ceil": _Function(1, 1, math.ceil),
    "round": _Function(1, 1, _round_half_away_from_zero),
    "min": _Function(2, None, min),
    "max": _Function(2, None, max),
}


class RetryDelay:
    """A parsed expression. ``RetryDelay.parse("pow(2, retried) * 1000").after(2)`` is 4000 (milliseconds)."""

    __slots__ = ("_root", "text")

    def __init__(self, text: str, root: Node) -> None:
        self.text: str = text
        self._root = root

    @staticmethod
    def parse(text: str, *, field: str = "Upstash-Retry-Delay") -> "RetryDelay":
        """Parse ``text``; ``field`` names the header in errors.

        Raises InvalidInput on bad syntax, an unknown name, a wrong number of arguments, or too much nesting.
        """
        return _parse(text, field)

    def after(self, retried: int) -> int | None:
        """Return the milliseconds to wait after ``retried`` retries (0 before the first retry).

        Clamped to 0 … one day. ``None`` if the expression has no value (a division by zero, an overflow): the default
        backoff applies then.
        """
        try:
            value = self._root(float(retried))
        except (ArithmeticError, ValueError):
            return None
        if math.isnan(value) or value <= 0:
            return 0
        return math.trunc(min(value, MAX_DELAY_MS))


@lru_cache(maxsize=1024)
def _parse(text: str, field: str) -> RetryDelay:
    if len(text) > MAX_LENGTH:
        raise InvalidInput(f"invalid {field}: longer than {MAX_LENGTH} characters")
    return RetryDelay(text, _Parser(text, field).parse())


class _Parser:
    """Recursive descent over the grammar in the module's docstring; every rule returns a function of ``retried``."""

    def __init__(self, text: str, field: str) -> None:
        self._text = text
        self._field = field
        self._tokens = self._tokenize()
        self._kind, self._token = next(self._tokens)
        self._depth = 0

    def parse(self) -> Node:
        root = self._expr()
        if self._kind != "end":
            self._fail(f"unexpected {self._token!r}")
        return root

    def _fail(self, why: str) -> NoReturn:
        raise InvalidInput(
            f"invalid {self._field} {self._text!r}: {why}; expected arithmetic over numbers and 'retried' "
            f"with + - * / and the functions {', '.join(_FUNCTIONS)}"
        )

    def _tokenize(self) -> Iterator[tuple[str, str]]:
        position = 0
        text = self._text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self._fail(f"unexpected {text[position:].lstrip()[0]!r}")
            position = match.end()
            kind = match.lastgroup or ""
            yield kind, match[kind]
        yield "end", "end of text"

    def _next(self) -> str:
        token = self._token
        self._kind, self._token = next(self._tokens)
        return token

    def _is_symbol(self, *symbols: str) -> bool:
        return self._kind == "symbol" and self._token in symbols

    def _expect(self, symbol: str) -> None:
        if not self._is_symbol(symbol):
            self._fail(f"expected {symbol!r} but found {self._token!r}")
        self._next()

    def _expr(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"nested deeper than {MAX_DEPTH}")
        node = self._term()
        while self._is_symbol("+", "-"):
            node = _sum(node, self._next(), self._term())
        self._depth -= 1
        return node

    def _term(self) -> Node:
        node = self._factor()
        while self._is_symbol("*", "/"):
            node = _product(node, self._next(), self._factor())
        return node

    def _factor(self) -> Node:
        if self._is_symbol("-"):
            self._next()
            operand = self._primary()
            return lambda retried: -operand(retried)
        if self._is_symbol("+"):
            self._next()
        return self._primary()

    def _primary(self) -> Node:
        if self._kind == "number":
            number = float(self._next())
            return lambda _retried: number
        if self._kind == "name":
            return self._named()
        if not self._is_symbol("("):
            self._fail(f"unexpected {self._token!r}")
        self._next()
        node = self._expr()
        self._expect(")")
        return node

    def _named(self) -> Node:
        name = self._next()
        if name == "retried":
            return lambda retried: retried
        function = _FUNCTIONS.get(name)
        if function is None:
            self._fail(f"unknown name {name!r}")
        arguments = self._arguments()
        if not function.accepts(len(arguments)):
            self._fail(f"{name} takes {function.arity()}, not {len(arguments)}")
        return _call(function.compute, arguments)

    def _arguments(self) -> tuple[Node, ...]:
        self._expect("(")
        arguments = [self._expr()]
        while self._is_symbol(","):
            self._next()
            arguments.append(self._expr())
        self._expect(")")
        return tuple(arguments)


def _sum(left: Node, operator: str, right: Node) -> Node:
    if operator == "+":
        return lambda retried: left(retried) + right(retried)
    return lambda retried: left(retried) - right(retried)


def _product(left: Node, operator: str, right: Node) -> Node:
    if operator == "*":
        return lambda retried: left(retried) * right(retried)
    return lambda retried: left(retried) / right(retried)


def _call(compute: Callable[..., float], arguments: tuple[Node, ...]) -> Node:
    def node(retried: float) -> float:
        values = [argument(retried) for argument in arguments]
        if not all(map(math.isfinite, values)):
            raise _NoAnswerError
        return float(compute(*values))

    return node
