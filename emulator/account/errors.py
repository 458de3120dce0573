"""Errors of ``qstash-emulator account``, with texts for the terminal."""


class AccountError(Exception):
    """``str()`` says what happened and what to do."""


class RefusedError(AccountError):
    """The server refused the request; ``is_absence`` means that the object does not exist."""

    def __init__(self, words: str, *, is_absence: bool = False) -> None:
        super().__init__(words)
        self.is_absence = is_absence


class UnreachableError(AccountError):
    """No answer arrived, so it is unknown whether the request was carried out."""


class FormError(AccountError):
    """A file is invalid; the text names the file, the field and the value."""


class PlanError(AccountError):
    """The wanted state has a value that neither the file nor the server knows."""
