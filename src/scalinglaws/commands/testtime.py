"""`scalinglaws testtime`: search with open language models."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from . import UserError, open_model


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser(
        "testtime",
        help="test-time search with an open model and verifier",
        description="Search with a language model and a process verifier over a data set, one stored result a problem. "
        "The book's own study: `scalinglaws study testtime`.",
    )
    open_model.add_options(p, 1.0, 2048, "testtime-runs")
    p.add_argument("--prm", metavar="ID", help="a process verifier; without one answers are voted")
    p.add_argument("--prm-family", choices=("rlhflow", "math-shepherd"), help="how the verifier is asked")
    p.add_argument("--data", default="math500", help="math500, gsm8k, or a JSON-lines file with problem and answer")
    p.add_argument("--answer", metavar="WAY", help="how answers are read: boxed, hashes (a number after ####), last-number, or lenient (hashes, else the last number); default: the data's way")
    p.add_argument("--prompt", metavar="TEXT", help="how a problem is put, with {problem} (default: by --answer)")
    p.add_argument("--shots", type=int, default=0, metavar="K", help="the last K problems serve as worked examples and are not asked")
    p.add_argument(
        "--method", default="best_of", metavar="NAME", help="best_of, beam, dvts, mcts, lookahead_1, …"
    )
    p.add_argument("--budget", type=int, default=16, metavar="N", help="generations a problem (default: 16)")
    p.set_defaults(run=run)


def run(options) -> int:
    """Exit 0 when all is stored, 2 for bad input; after Ctrl-C the same command goes on."""
    from ..datasets import DataError
    from ..lm.store import StoreError
    from ..testtime import answers, open_load, open_models, open_run, open_verifiers
    from ..testtime.study import METHODS

    open_model.check(options, "budget")
    if importlib.util.find_spec("math_verify") is None:
        raise UserError("answers are compared with math-verify: pip install math-verify, or run `make setup`")
    if options.shots < 0:
        raise UserError(f"--shots must not be negative, got {options.shots}")
    options.out = options.out or Path("testtime-runs")
    if options.method not in METHODS:
        raise UserError(f"--method {options.method!r}: there are {', '.join(METHODS)}")
    if options.prm is None and options.method not in open_run.UNGUIDED:
        raise UserError(
            f"--method {options.method} is guided by a verifier: give one with --prm ID, or take "
            f"--method {' or '.join(open_run.UNGUIDED)}, whose answers are voted"
        )
    if not options.temperature and (options.budget > 1 or options.method not in open_run.UNGUIDED):
        raise UserError(
            "--temperature 0 is greedy, every generation the same: give --method best_of --budget 1 with it"
        )
    try:
        asked = open_run.questions(options.data)
        form, asked = open_run.form(options.data, asked, options.answer, options.prompt, options.shots)
        asked = asked[: options.limit]
        if options.prm:
            open_verifiers.family_of(options.prm, options.prm_family)
        open_run.check_room(options.model, options.prm, asked, options.tokens, form)
        size = open_run.parameters(options.model)
        judge_size = open_run.parameters(options.prm) if options.prm else 0
        cost = open_run.price(size, judge_size, len(asked), options.budget, min(512, options.tokens))
        of = f"{len(asked)} problems, {options.method} with {options.budget} generations of about {min(512, options.tokens)} tokens, answers read as {form.answer}"
        print(open_model.price_line(cost, of))
        if options.dry_run:
            return 0
        writer = _writer(options)
        judge = open_verifiers.open_verifier(options.prm, options.prm_family) if options.prm else None
    except (open_run.DataError, DataError, open_load.ModelError, open_verifiers.VerifierError) as error:
        raise UserError(str(error)) from None
    engine = open_models.OpenEngine(
        writer, judge, asked, options.tokens, min(512, options.tokens), options.temperature, form
    )
    about = {
        "model": str(options.model), "prm": options.prm and str(options.prm), "data": Path(options.data).name,
        "seed": options.seed, "tokens": options.tokens, "family": options.prm and open_verifiers.family_of(options.prm, options.prm_family),
    }  # fmt: skip
    if options.temperature != 1:
        about["temperature"] = options.temperature
    if form != open_models.Form():  # so that results of the plain form keep their names
        about["form"] = [form.answer, form.template, len(form.shots)]
    say = lambda text: print(text, file=sys.stderr, flush=True)

    def first() -> None:
        speed = open_run.rate(writer, engine.prompts[0], min(writer.batch, options.budget))
        say(f"measured here: {speed:.0f} tokens a second, so at most {cost.tokens / speed / 60:.0f} minutes in all")

    try:
        table = open_run.run(engine, about, options.method, options.budget, options.out, say, first)
    except (open_verifiers.VerifierError, StoreError) as error:
        raise UserError(str(error)) from None
    print(
        f"{options.method}, N = {options.budget}{', greedy' if not options.temperature else ''}: right {table['right'].mean():.3f}, majority {table['majority'].mean():.3f}, "
        f"covered {table['covered'].mean():.3f}, {table['generated'].mean():.0f} tokens a problem; "
        f"stored in {options.out / 'searches-open.parquet'}"
    )
    if warning := answers.said(form, float(table["unread"].mean())):
        say(warning)
    return 0


def _writer(options):
    from ..testtime import open_llamacpp, open_models, open_own

    name = open_model.backend(options)
    if name == "vllm":
        return open_models.VLLM(options.model, seed=options.seed)
    if name == "llama.cpp":
        return open_llamacpp.LlamaCpp(options.model, options.batch, options.seed)
    if name == "own":
        return open_own.Own(options.model, options.batch, seed=options.seed, device=options.device)
    return open_models.Transformers(options.model, options.batch or 16, seed=options.seed, device=options.device)
