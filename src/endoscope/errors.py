"""The one error that users see."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The command line prints it as one line and exits with code 2.

    Args:
        message: what is wrong, in one line, without the text of the user's data.
        hint: how to mend it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message
