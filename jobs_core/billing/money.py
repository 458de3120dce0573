"""Amounts of money: whole numbers of a currency's minor unit, as Stripe gives them.

Source: Stripe docs, currencies: zero-decimal currencies, three-decimal currencies, and ISK and UGX, which have no
minor unit but are given in hundredths all the same (read 2026-11).
"""

from decimal import Decimal

_ZERO_DECIMAL = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
_THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
_WHOLE_IN_HUNDREDTHS = frozenset({"isk", "ugx"})
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "inr": "₹", "krw": "₩"}


def decimals(currency: str) -> int:
    """Return the number of an amount's decimal digits.

    >>> decimals("usd"), decimals("JPY"), decimals("kwd")
    (2, 0, 3)
    """
    code = currency.lower()
    if code in _ZERO_DECIMAL:
        return 0
    return 3 if code in _THREE_DECIMAL else 2


def to_major(amount: int, currency: str) -> Decimal:
    """Return the exact amount in the currency's major unit.

    >>> to_major(1999, "usd")
    Decimal('19.99')
    """
    return Decimal(amount).scaleb(-decimals(currency))


def format_amount(amount: int, currency: str) -> str:
    """Return a formatted amount with the currency's sign.

    >>> format_amount(123456, "usd"), format_amount(500, "jpy"), format_amount(-5120, "kwd")
    ('$1,234.56', '¥500', '-KWD 5.120')
    """
    code = currency.lower()
    digits = 0 if code in _WHOLE_IN_HUNDREDTHS else decimals(code)
    sign = "-" if amount < 0 else ""
    symbol = _SYMBOLS.get(code, f"{code.upper()} ")
    return f"{sign}{symbol}{abs(to_major(amount, code)):,.{digits}f}"


def format_with_code(amount: int, currency: str) -> str:
    """Return a formatted amount with the currency's code, for texts with several currencies.

    >>> format_with_code(123456, "usd"), format_with_code(500, "jpy")
    ('USD 1,234.56', 'JPY 500')
    """
    code = currency.lower()
    digits = 0 if code in _WHOLE_IN_HUNDREDTHS else decimals(code)
    return f"{code.upper()} {to_major(amount, code):,.{digits}f}"


def format_price(amount: int, currency: str, interval: str | None, count: int | None = 1) -> str:
    """Return a formatted amount for an interval.

    >>> format_price(1200, "eur", "month"), format_price(9900, "usd", "month", 3), format_price(5, "usd", None)
    ('€12.00 a month', '$99.00 every 3 months', '$0.05')
    """
    shown = format_amount(amount, currency)
    if interval is None:
        return shown
    return f"{shown} a {interval}" if (count or 1) == 1 else f"{shown} every {count} {interval}s"
