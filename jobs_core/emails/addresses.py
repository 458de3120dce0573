"""E-mail addresses in payloads."""

import re
from typing import Annotated

import idna
from pydantic import AfterValidator

_LONGEST_ADDRESS = 320  # RFC 3696, erratum 1690, generously
# RFC 5321, 4.1.2: a dot-string. Quoted strings, comments, groups, routes and address literals are refused: a header
# is read by RFC 5322's wider grammar, in which they may name another mailbox than the one that was checked.
_NAME = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*")
_DOMAIN = re.compile(r"(?!.*\.\.)(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)*[^\W_](?:[\w-]{0,61}[^\W_])?")


def check_address(value: str) -> str:
    """Return the address without white space around it, its domain in ASCII (punycode, RFC 5891).

    Raise ValueError where it is not a plain one.
    """
    address = value.strip()
    name, at, domain = address.rpartition("@")
    is_plain = bool(at) and _NAME.fullmatch(name) and _DOMAIN.fullmatch(domain)
    if not is_plain or len(address) > _LONGEST_ADDRESS:
        raise ValueError("must be an e-mail address, such as ada@example.com")
    return f"{name}@{_in_ascii(domain)}"


def ascii_sender(sender: str) -> str:
    """Return ``ada@example.com`` or ``Ada <ada@example.com>`` with the domain in ASCII, as ``check_address`` does.

    Raise ValueError where the domain has no such form.
    """
    before, at, after = sender.rpartition("@")
    domain = after.rstrip("> ")
    return f"{before}@{_in_ascii(domain)}{after[len(domain) :]}" if at else sender


def _in_ascii(domain: str) -> str:
    """Return the domain as mail servers look it up. Raise ValueError where it has no such form."""
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"must be an e-mail address, and {domain!r} is no domain: {error}") from None


Address = Annotated[str, AfterValidator(check_address)]
