"""What can go wrong between here and an account, in words for the terminal."""


class AccountError(Exception):
    """``str()`` says what happened and what to do."""


class RefusedError(AccountError):
    """The server answered with a refusal of its own; ``is_absence`` says that what was asked for is not there."""

    def __init__(self, words: str, *, is_absence: bool = False) -> None:
        super().__init__(words)
        self.is_absence = is_absence


class UnreachableError(AccountError):
    """No answer arrived: whether the request was carried out is not known."""


class FormError(AccountError):
    """A file does not say what can be meant; the text names file, field and value."""


class PlanError(AccountError):
    """What is wanted cannot be reached from what is there without losing something."""
