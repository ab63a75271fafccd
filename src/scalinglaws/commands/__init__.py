"""The command line: one module a subcommand of `python -m scalinglaws`."""


class UserError(Exception):
    """Bad input: one line that names the place and the remedy; the command exits with 2."""


def need_torch() -> None:
    """Raise UserError with the remedy where PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UserError("this needs torch: pip install torch==2.13.0, or run `make setup`") from None
