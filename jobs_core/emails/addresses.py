"""E-mail addresses in payloads."""

from typing import Annotated

from pydantic import AfterValidator

_LONGEST_ADDRESS = 320  # RFC 3696, erratum 1690, generously


def check_address(value: str) -> str:
    """Just enough to notice what cannot be one; the mail server has the last word. Raises ValueError."""
    name, at, domain = value.strip().rpartition("@")
    is_plain = not any(
        character.isspace() or character in ',;<>"' or character < " " for character in value.strip()
    )
    if not (name and at and domain) or not is_plain or len(value) > _LONGEST_ADDRESS:
        raise ValueError("must be an e-mail address, such as ada@example.com")
    return value.strip()


Address = Annotated[str, AfterValidator(check_address)]
