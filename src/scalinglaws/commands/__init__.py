"""The command line: one module a subcommand of `python -m scalinglaws`."""

import argparse
import difflib
import sys


class Parser(argparse.ArgumentParser):
    """Bad usage in one line, like every other bad input."""

    def error(self, message):
        """Print the line and exit with 2."""
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)

    def refuse(self, unknown: str):
        """End with the option that is most like an unknown one."""
        known = [s for action in self._actions for s in action.option_strings]
        close = difflib.get_close_matches(unknown.split("=")[0], known, 1)
        self.error(f"no such option: {unknown}" + (f"; did you mean {close[0]}?" if close else ""))


class UserError(Exception):
    """Bad input: one line that names the place and the remedy; the command exits with 2."""


def need_torch() -> None:
    """Raise UserError with the remedy where PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UserError("this needs torch: pip install torch==2.13.0, or run `make setup`") from None
