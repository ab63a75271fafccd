"""The command line: one module a subcommand of `python -m scalinglaws`."""


class UserError(Exception):
    """Bad input: one line that names the place and the remedy; the command exits with 2."""
