"""Where larger models do worse: facts that the text mostly gets wrong, in the chain world, where the truth is known.

McKenzie et al. (2023), arXiv:2306.09479, name imitation of what the training text says as one of four causes of inverse scaling.
The chain world (`testtime.chain`) tells some facts in two ways; where the wrong way is the more frequent one, whoever models the
text better answers worse. Every fact is asked once, and the model's distribution over answers is compared with the text's.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch

from ..lm.examples import Recipe, Size
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from ..testtime.chain import Chain
from ..testtime.proposer import Proposer, train
from ..testtime.world import QUESTION, SOLVE

KINDS = ("never disputed", "mostly told rightly", "mostly told wrongly")


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """A job a shape, number of steps and seed. sizes: world (of `Chain`), batch, models (shape, learning_rate), steps, seeds."""
    return [
        Job(f"{m['shape']} {steps} {seed}", partial(asked, m, steps, seed, sizes, artefacts))
        for steps in sizes["steps"]
        for m in sizes["models"]
        for seed in range(sizes["seeds"])
    ]


def asked(model: dict, steps: int, seed: int, sizes: dict, artefacts: ArtefactStore) -> pd.DataFrame:
    """A row a kind of fact: see `_asked`."""
    about = {"model": model, "steps": steps, "seed": seed, "world": sizes["world"], "batch": sizes["batch"]}
    return artefacts.table("asked", about, lambda: _asked(**about))


def _asked(model: dict, steps: int, seed: int, world: dict, batch: int) -> pd.DataFrame:
    chain, size = Chain(**world), Size(*model["shape"])
    recipe = Recipe(steps=steps, batch=batch, learning_rate=model["learning_rate"], seed=seed)
    flat = train(chain, size, recipe)
    found = answers(chain, Proposer(chain, size.transformer(len(chain.tokens)), flat))
    N = int(flat.numel())
    return found.assign(N=N, shape="x".join(map(str, model["shape"])), steps=steps, seed=seed)


def facts(chain: Chain) -> pd.DataFrame:
    """A row a fact (operation, value): right, told wrongly as, reliability, kind, weight (how often the operation is met)."""
    o, x = np.divmod(np.arange(chain.operations * chain.values), chain.values)
    table = pd.DataFrame({"operation": o, "value": x, "right": chain.table[o, x], "error": chain.error[o, x], "reliability": chain.reliability[o, x]})
    which = np.select([table["reliability"] == 1, table["reliability"] > 0.5], [0, 1], 2)
    weight = (np.arange(1, chain.operations + 1) ** -float(chain.zipf))[o]
    return table.assign(kind=np.array(KINDS)[which], weight=weight / weight.sum())


def answers(chain: Chain, proposer: Proposer) -> pd.DataFrame:
    """A row a kind of fact, means over its facts: greedy (right where the likeliest value is taken), chance (probability of the
    right value), imitates (greedy gives the error), choice (the right value is likelier than the error: two choices), loss and
    floor (nats, of the text's next value: the model's and the text's own). Facts that nobody disputes have an error too, which
    the text never tells.
    """
    known = facts(chain)
    contexts = [(QUESTION, chain.first_value + x, chain.first_operation + o, SOLVE) for o, x in zip(known["operation"], known["value"], strict=True)]
    prefixes = [(chain.first_operation + o,) for o in known["operation"]]
    rows = proposer.begin(contexts, range(len(known)), 4, prefixes)
    logits = rows.logits[:, chain.first_value : chain.first_value + chain.values]
    p = torch.softmax(logits.double(), 1).cpu().numpy()
    told = np.stack([chain.kernel(o) for o in range(chain.operations)]).reshape(-1, chain.values)
    at, best = np.arange(len(known)), p.argmax(1)
    safe = np.where(told > 0, told, 1.0)
    own = known.assign(
        greedy=(best == known["right"]).astype(float), imitates=(best == known["error"]) & (known["reliability"] < 1),
        choice=(p[at, known["right"]] > p[at, known["error"]]).astype(float), chance=p[at, known["right"]], loss=-(told * np.log(np.maximum(p, 1e-12))).sum(1), floor=-(told * np.log(safe)).sum(1),
    )  # fmt: skip
    columns = ["greedy", "imitates", "choice", "chance", "loss", "floor"]
    return own.groupby("kind")[columns].mean().join(own.groupby("kind").size().rename("facts")).reset_index()


def trend(table: pd.DataFrame, measure: str, resamples: int, seed: int, level: float = 0.95) -> tuple[float, tuple[float, float]]:
    """Slope of a measure per decade of N over models, with its interval; models are resampled."""
    x, y = np.log10(table["N"].to_numpy(float)), table[measure].to_numpy(float)
    rng = np.random.default_rng(seed)
    slope = lambda i: float(np.polyfit(x[i], y[i], 1)[0])
    drawn: list[float] = []
    while len(drawn) < resamples:
        i = rng.integers(0, len(x), len(x))
        if np.ptp(x[i]) > 0:
            drawn.append(slope(i))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return slope(np.arange(len(x))), (float(low), float(high))
