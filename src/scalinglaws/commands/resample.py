"""`scalinglaws resample`: resampling with imperfect tests, by open code models."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from . import UserError, need_torch

SAMPLES = {"humanevalplus": 200, "mbppplus": 50}
"""The sets of tasks, and samples a task unless told otherwise."""


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser(
        "resample",
        help="resampling with imperfect tests: open code models",
        description="Sample programs from an open model, judge them in a sandbox by base and plus tests, and count "
        "what passes. What is finished is kept, and the same command goes on; with more --samples it draws what is "
        "missing. The book's own study: `scalinglaws study resampling`.",
    )
    p.add_argument(
        "--model", required=True, metavar="ID", help="a model of the Hugging Face hub, or a folder"
    )
    p.add_argument("--tasks", required=True, choices=tuple(SAMPLES), help="the tasks")
    p.add_argument("--samples", type=int, metavar="N", help="samples a task (default: 200; mbppplus: 50)")
    p.add_argument(
        "--temperature", type=float, default=0.8, help="0 is greedy, one sample a task (default: 0.8)"
    )
    p.add_argument("--limit", type=int, metavar="N", help="only the first N tasks")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--batch", type=int, default=16, metavar="N", help="samples at once (default: 16)")
    p.add_argument(
        "--max-tokens", type=int, default=512, metavar="N", help="tokens of a sample (default: 512)"
    )
    p.add_argument("--dry-run", action="store_true", help="print what the run takes, then stop")
    p.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    p.add_argument("--timeout", type=float, default=5.0, metavar="S", help="processor seconds a program may take on top "
                   "of four times the reference solution's (default: 5)")  # fmt: skip
    p.add_argument(
        "--completion",
        action="store_true",
        help="have the prompt continued, for base models that bring a chat format",
    )
    p.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, … (default: a GPU if there is one)")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="(default: _build/resample/MODEL-TASKS)")
    p.set_defaults(run=run)


def run(options) -> int:
    """Exit 0 when all is stored, 2 for bad input; after Ctrl-C the same command goes on."""
    for name in ("samples", "limit", "batch", "max_tokens", "workers"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if not 0 <= options.temperature < float("inf"):
        raise UserError(f"--temperature must be at least 0 (greedy), got {options.temperature:g}")
    if not 0 < options.timeout < float("inf"):
        raise UserError(f"--timeout must be above 0, got {options.timeout:g}")
    if not options.temperature and (options.samples or 1) > 1:
        raise UserError("--temperature 0 is greedy, every sample the same: leave --samples out, or give 1")
    need_torch()
    return _sample(options)


def _sample(options) -> int:
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise UserError(
            "open models need transformers: pip install transformers, or run `make setup`"
        ) from None
    from ..datasets import DataError
    from ..lm.store import StoreError
    from ..paths import root
    from ..resampling import codemodels, evalplus, sandbox
    from ..testtime import open_run
    from ..testtime.open_load import ModelError

    try:
        sandbox.check()  # before anything is downloaded or loaded
        tasks = evalplus.load(options.tasks, options.limit)
    except (sandbox.NoSandbox, DataError) as error:
        raise UserError(str(error)) from None
    say = lambda text: print(text, file=sys.stderr, flush=True)
    samples = options.samples or (SAMPLES[options.tasks] if options.temperature else 1)
    if not options.temperature:
        say("temperature 0: greedy, one sample a task")
    settings = codemodels.Settings(
        options.model, options.tasks, samples, options.temperature, options.seed,
        options.max_tokens, options.timeout, options.completion,
    )  # fmt: skip
    name = re.sub(r"[^\w.-]+", "-", options.model).strip("-.")
    folder = options.out or root() / "_build" / "resample" / f"{name}-{options.tasks}"
    try:
        codemodels.check_room(options.model, tasks, options.max_tokens, options.completion)
        sizes = codemodels.sizes(options.model)
        if options.dry_run:
            cost = open_run.price(sizes["N_total"], 0, len(tasks), samples, options.max_tokens)
            print(
                f"{len(tasks)} tasks, {samples} samples of at most {options.max_tokens} tokens: {cost.tokens:.1e} tokens, "
                f"{cost.flops:.1e} FLOPs, {cost.memory / 2**30:.1f} GiB of weights; {cost.hours(1e14):.2f} h at a "
                f"sustained 1e14 FLOP/s (a GPU with vLLM), {cost.hours(1e13):.1f} h at 1e13"
            )
            return 0
        whole = codemodels.Run(settings, sizes, folder)
        counts = whole.work(
            tasks, lambda: _coder(codemodels, options), options.workers or os.cpu_count() or 1, say
        )
    except (codemodels.RunError, ModelError, sandbox.NoSandbox, StoreError) as error:
        raise UserError(str(error)) from None
    for reason in whole.left_out():
        print(f"left out: {reason}")
    if not len(counts):
        raise UserError("no task is left to count: their reference solutions do not pass here")
    print(codemodels.summary(counts))
    print(f"stored in {folder / 'counts.parquet'}")
    return 0


def _coder(codemodels, options):
    import importlib.util

    import torch

    on_gpu = torch.cuda.is_available() and options.device in (None, "cuda")
    if on_gpu and importlib.util.find_spec("vllm"):
        coder = codemodels.VLLM(options.model)
    else:
        coder = codemodels.Transformers(options.model, options.batch, options.device)
    coder.chat = coder.chat and not options.completion
    return coder
