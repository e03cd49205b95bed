"""The one exception whose message is shown to the user without a traceback."""


class UserError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do."""
