"""`scalinglaws hardware`: what a run would be stamped with; CI asserts the GPU with it."""

from __future__ import annotations

from .. import provenance
from . import UserError


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser("hardware", help="print processor, memory and GPU")
    p.add_argument(
        "--require-gpu", action="store_true", help="exit with 2 unless the driver and torch see a GPU"
    )
    p.set_defaults(run=run)


def run(options) -> int:
    """Print the hardware; with --require-gpu fail where no GPU can be used."""
    for name, value in provenance.hardware().items():
        print(f"{name}: {value}")
    if options.require_gpu:
        if provenance.gpu() is None:
            raise UserError("no GPU: nvidia-smi reports none. Run this job on a GPU runner")
        try:
            import torch
        except ImportError:
            raise UserError("torch is not installed: pip install -r requirements.lock") from None
        if not torch.cuda.is_available():
            raise UserError(f"torch {torch.__version__} does not see the GPU: install its CUDA build")
        print(f"torch {torch.__version__}: {torch.cuda.get_device_name()}")
    return 0
