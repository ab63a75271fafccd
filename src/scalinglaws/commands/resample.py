"""`scalinglaws resample`: resampling with imperfect tests, by open code models."""

from __future__ import annotations

import os
import re
import sys

from . import UserError, open_model

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
    open_model.add_options(p, 0.8, 512, "_build/resample/MODEL-TASKS")
    p.add_argument("--tasks", required=True, choices=tuple(SAMPLES), help="the tasks")
    p.add_argument("--samples", type=int, metavar="N", help="samples a task (default: 200; mbppplus: 50)")
    p.add_argument("--workers", type=int, metavar="N", help="processes that judge (default: one a core)")
    p.add_argument("--timeout", type=float, default=5.0, metavar="S", help="processor seconds a program may take on top "
                   "of four times the reference solution's (default: 5)")  # fmt: skip
    p.add_argument(
        "--completion",
        action="store_true",
        help="have the prompt continued, for base models that bring a chat format",
    )
    p.set_defaults(run=run)


def run(options) -> int:
    """Exit 0 when all is stored, 2 for bad input; after Ctrl-C the same command goes on."""
    open_model.check(options, "samples", "workers")
    if not 0 < options.timeout < float("inf"):
        raise UserError(f"--timeout must be above 0, got {options.timeout:g}")
    if not options.temperature and (options.samples or 1) > 1:
        raise UserError("--temperature 0 is greedy, every sample the same: leave --samples out, or give 1")
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
        options.tokens, options.timeout, options.completion,
    )  # fmt: skip
    name = re.sub(r"[^\w.-]+", "-", options.model).strip("-.")
    folder = options.out or root() / "_build" / "resample" / f"{name}-{options.tasks}"
    try:
        codemodels.check_room(options.model, tasks, options.tokens, options.completion)
        sizes = codemodels.sizes(options.model)
        if options.dry_run:
            cost = open_run.price(sizes["N_total"], 0, len(tasks), samples, options.tokens)
            of = f"{len(tasks)} tasks, {samples} samples of at most {options.tokens} tokens"
            print(open_model.price_line(cost, of))
            return 0
        whole = codemodels.Run(settings, sizes, folder)
        counts = whole.work(
            tasks, lambda: _coder(options), options.workers or os.cpu_count() or 1, say
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


def _coder(options):
    from ..resampling import coders
    from ..testtime import open_load

    if options.backend == "llama.cpp":
        raise UserError("--backend llama.cpp writes answers, not programs: take another, or leave it out")
    chat = not options.completion and open_load.tokenizer(options.model).chat_template is not None
    name = open_model.backend(options, own=chat)
    if name == "vllm":
        coder = coders.VLLM(options.model)
    elif name == "own":
        return coders.Own(options.model, options.batch, device=options.device)
    else:
        coder = coders.Transformers(options.model, options.batch or 16, options.device)
    coder.chat = coder.chat and not options.completion
    return coder
