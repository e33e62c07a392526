"""The one exception whose message is written for the person at the terminal."""


class UserError(Exception):
    """Bad input or an unmet need of the machine: one sentence of what was wrong, where, and what to do.

    The commands print the message alone and exit with code 2; nothing may be half-written when it is raised.
    """
