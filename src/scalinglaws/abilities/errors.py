"""From validation loss to error on tasks: Err(L) = top − K·e^{−γL} (Gadre et al. 2024, arXiv:2403.08540, Section 2.3).

A model is a row of `datasets.load("overtrained")`, its errors are rows of `datasets.load("downstream")`. The law of the loss is
that of `pretraining.overtrained`; whatever is foretold is never among the rows that a fit sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..laws.overtrained import ErrorOfLoss
from ..pretraining.overtrained import FITTED, SMALL, chosen, fitted

EXTRA = (1440, 20)
"""The sixth run of the fit to errors: 1.4 billion parameters, 20 tokens a parameter (Section 3.3, Table 1)."""
ABOVE_CHANCE = 0.10
SMALLEST = 154
"""A task counts if a model of 154 million parameters is ten points better than guessing (Section 3.4)."""
PAPERS = (
    "arc_easy", "bigbench_cs_algorithms", "bigbench_dyck_languages", "bigbench_novel_concepts", "bigbench_operators",
    "bigbench_qa_wikidata", "boolq", "commonsense_qa", "copa", "coqa", "hellaswag", "hellaswag_zeroshot", "lambada_openai", "piqa",
    "pubmed_qa_labeled", "squad", "winograd",
)  # fmt: skip
"""The paper's seventeen."""
_GAMMA = np.geomspace(0.02, 20, 400)


def wide(models: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """Errors [models, tasks] in the order of `models`, by their name."""
    return errors.pivot(index="name", columns="task", values="error").loc[models["name"]].set_axis(models.index)


def better_than_chance(models: pd.DataFrame, errors: pd.DataFrame, margin: float = ABOVE_CHANCE, size: int = SMALLEST) -> list[str]:
    """Tasks on which some model of `size` million parameters is `margin` better than guessing."""
    small = models.loc[(models["N"] / 1e6).round() == size, "name"]
    own = errors[errors["name"].isin(small)]
    gain = (own["chance"] - own["error"]).groupby(own["task"]).max()
    return sorted(gain.index[gain >= margin])


def fit_error(loss, error, weights=None) -> ErrorOfLoss | np.ndarray:
    """The curve with the least Σ w (Err(L) − error)² over (n,) models; with weights (K, n), an array (K, 3) of top, K, γ.

    Given γ it is a straight line in e^{−γL}; γ is searched on a grid of 400 in [.02, 20] per nat and then refined by a parabola in
    log γ. K and γ are not negative; a curve that does not rise with the loss has K = 0.
    """
    x, y = np.asarray(loss, float), np.asarray(error, float)
    W = np.ones((1, len(x))) if weights is None else np.atleast_2d(np.asarray(weights, float))
    centre = x.mean()  # e^{−γ(L − mean)}: of the order of one
    grid = _GAMMA
    top, drop, cost = _lines(grid, x - centre, y, W)
    best = np.clip(cost.argmin(1), 1, len(grid) - 2)
    k, step = np.arange(len(W)), np.log(grid[1] / grid[0])
    a, b, c = (cost[k, best + d] for d in (-1, 0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = np.clip(np.nan_to_num(0.5 * (a - c) / (a - 2 * b + c)), -1, 1)
    gamma = grid[best] * np.exp(step * shift)
    top, drop, _ = _lines(gamma[:, None], x - centre, y, W)
    found = np.stack([top[:, 0], drop[:, 0] * np.exp(gamma * centre), gamma], axis=1)
    return ErrorOfLoss(*map(float, found[0])) if weights is None else found


def _lines(gamma, x, y, W) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted least squares of y on e^{−γx} for each resample and γ: top, drop, cost, each (K, grid)."""
    u = np.exp(-np.atleast_2d(gamma)[..., None] * x)  # (K or 1, grid, n)
    w = W[:, None, :]
    total = w.sum(-1)
    mu, my = (w * u).sum(-1) / total, (w * y).sum(-1) / total
    uu = (w * u * u).sum(-1) - total * mu**2
    uy = (w * u * y).sum(-1) - total * mu * my
    yy = (w * y * y).sum(-1) - total * my**2
    drop = np.maximum(-uy / np.maximum(uu, 1e-300), 0.0)
    return my + drop * mu, drop, yy + 2 * drop * uy + drop**2 * uu


def seen(own: pd.DataFrame, extra: bool = True) -> pd.DataFrame:
    """The six models of one corpus that the paper fits errors to, or its five."""
    return chosen(own, (*FITTED, EXTRA) if extra else FITTED)


def large(own: pd.DataFrame) -> pd.DataFrame:
    """The models that are foretold: the 6.9B, and of 1.4B the longest."""
    big = own[own["N"] > SMALL]
    return big[(big["N"] > 5e9) | (big["M"] == big.loc[big["N"] < 5e9, "M"].max())]


def chain(own: pd.DataFrame, error: pd.Series, extra: bool = True) -> pd.DataFrame:
    """Foretold errors of one corpus' large models: N, M, measured, predicted, from_loss (given the true loss), loss, predicted_loss.

    own: models of a corpus. error: of each, by their index. Loss from the paper's five runs, error from its six (or five).
    """
    small, big = seen(own, extra), large(own)
    curve = fit_error(small["loss"], error[small.index])
    loss = fitted(chosen(own)).predict(big["C"], big["M"])
    table = big[["corpus", "N", "M", "loss"]].assign(measured=error[big.index], predicted_loss=np.asarray(loss))
    said = lambda at: np.clip(curve.predict(at), 0, 1)  # type: ignore[union-attr]  # an exponential does not know that errors end
    return table.assign(predicted=said(loss), from_loss=said(big["loss"]))


def averages(models: pd.DataFrame, errors: pd.DataFrame, tasks: Sequence[str], extra: bool = True) -> pd.DataFrame:
    """`chain` of the mean over `tasks`, for every corpus; relative: predicted over measured, less one."""
    mean = wide(models, errors)[list(tasks)].mean(axis=1)
    table = pd.concat([chain(own, mean, extra) for _, own in models.groupby("corpus")], ignore_index=True)
    return table.assign(relative=table["predicted"] / table["measured"] - 1)


def by_task(models: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """`chain` of each task, for every corpus; relative: predicted over measured, less one."""
    table, rows = wide(models, errors), []
    for _, own in models.groupby("corpus"):
        rows += [chain(own, table[task]).assign(task=task) for task in table]
    found = pd.concat(rows, ignore_index=True)
    return found.assign(relative=found["predicted"] / found["measured"] - 1)


def shared(models: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """How well one curve a corpus describes each task over all models: task, explained (share of variance)."""
    table, rows = wide(models, errors), []
    for task in table:
        left = total = 0.0
        for _, own in models.groupby("corpus"):
            y = table.loc[own.index, task].to_numpy()
            curve = fit_error(own["loss"], y)
            left += ((curve.predict(own["loss"]) - y) ** 2).sum()  # type: ignore[union-attr]
            total += ((y - y.mean()) ** 2).sum()
        rows.append((task, 1 - left / total))
    return pd.DataFrame(rows, columns=["task", "explained"])


def multiverse(models: pd.DataFrame, errors: pd.DataFrame, count: int, size: int, seed: int) -> pd.DataFrame:
    """`averages` of `count` random sets of `size` tasks out of all: set, corpus, N, M, relative."""
    table, rng = wide(models, errors), np.random.default_rng(seed)
    picks = np.array([rng.permutation(table.shape[1])[:size] for _ in range(count)])
    means = pd.DataFrame({k: table.to_numpy()[:, pick].mean(axis=1) for k, pick in enumerate(picks)}, index=models.index)
    rows = []
    for _, own in models.groupby("corpus"):
        small, big = seen(own), large(own)
        loss = np.asarray(fitted(chosen(own)).predict(big["C"], big["M"]))
        for k in means:
            curve = fit_error(small["loss"], means.loc[small.index, k])
            relative = curve.predict(loss) / means.loc[big.index, k] - 1  # type: ignore[union-attr]
            rows.append(big[["corpus", "N", "M"]].assign(set=k, relative=relative))
    return pd.concat(rows, ignore_index=True)


def forecasts(models: pd.DataFrame, errors: pd.DataFrame, tasks: Mapping[str, Sequence[str]], samples: int, seed: int, level: float = 0.9) -> pd.DataFrame:
    """Foretold errors with intervals: task (a name for a set), target, measured, predicted, low, high.

    Fitted to every model below a billion parameters from 20 tokens a parameter on. Resampled: models; each refit predicts the
    loss by its own law and the error by its own curve, and a residual of the curve is added.
    """
    table, rows = wide(models, errors), []
    for corpus, own in models.groupby("corpus"):
        small, big = own[(own["N"] < SMALL) & (own["M"] > 19)], large(own)
        loss = np.asarray(fitted(small).predict(big["C"], big["M"]))
        rng = np.random.default_rng(seed)
        W = rng.multinomial(len(small), np.full(len(small), 1 / len(small)), size=samples)
        losses = np.array([fitted(small.iloc[np.repeat(np.arange(len(small)), w)]).predict(big["C"], big["M"]) for w in W])
        for name, which in tasks.items():
            mean = table[list(which)].mean(axis=1)
            curve = fit_error(small["loss"], mean[small.index])
            refits = fit_error(small["loss"], mean[small.index], W.astype(float))
            misses = mean[small.index] - curve.predict(small["loss"])  # type: ignore[union-attr]
            widen = np.sqrt(len(small) / (len(small) - 3))
            for (_, aim), at, drawn_at in zip(big.iterrows(), loss, losses.T, strict=True):
                each = refits[:, 0] - refits[:, 1] * np.exp(-refits[:, 2] * drawn_at)  # type: ignore[index]
                drawn = each + widen * rng.choice(misses, (20, len(each)))
                low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
                target = f"{corpus}, {aim['N'] / 1e9:.1f}B"
                rows.append((name, target, mean[aim.name], float(curve.predict(at)), low, high))  # type: ignore[union-attr]
    return pd.DataFrame(rows, columns=["task", "target", "measured", "predicted", "low", "high"])


def thresholds(models: pd.DataFrame, errors: pd.DataFrame, margins: Sequence[float]) -> pd.DataFrame:
    """`averages` of the tasks on which some model of 154 million parameters is so much better than guessing: margin, tasks, corpus, N, relative."""
    rows = []
    for margin in margins:
        tasks = better_than_chance(models, errors, margin)
        if tasks:
            rows.append(averages(models, errors, tasks)[["corpus", "N", "relative"]].assign(margin=margin, tasks=len(tasks)))
    return pd.concat(rows, ignore_index=True)


def ranked(models: pd.DataFrame, errors: pd.DataFrame, tasks: Sequence[str]) -> float:
    """Spearman's correlation of foretold and measured mean error over all models above a billion parameters (Appendix F)."""
    mean, rows = wide(models, errors)[list(tasks)].mean(axis=1), []
    for _, own in models.groupby("corpus"):
        curve, big = fit_error(seen(own)["loss"], mean[seen(own).index]), own[own["N"] > SMALL]
        guess = curve.predict(fitted(chosen(own)).predict(big["C"], big["M"]))  # type: ignore[union-attr]
        rows.append(pd.DataFrame({"guess": np.asarray(guess), "measured": mean[big.index]}))
    return float(pd.concat(rows).corr("spearman").iloc[0, 1])
