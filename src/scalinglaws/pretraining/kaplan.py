"""Kaplan et al.'s quantities (2020), read out of stored runs of our own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import fit, laws
from ..lm import runs as views


@dataclass(frozen=True)
class Parts:
    """The study `kaplan` by question; each a table of runs, one row a run.

    main: sizes on one long stream, L(N) and the frontier. limited: stopped early on a cut corpus, with the
    column `distinct` (tokens that differ, infinite for the whole corpus). batches: constant learning rate,
    several batch sizes. long_context: transformers and LSTMs. shapes: one N, many shapes.
    """

    main: pd.DataFrame
    limited: pd.DataFrame
    batches: pd.DataFrame
    long_context: pd.DataFrame
    shapes: pd.DataFrame


def parts(table: pd.DataFrame) -> Parts:
    """Split the study's table by what each run was made for."""
    plain = (table["schedule"] == "cosine") & (table["architecture"] == "transformer")
    other = (table["transfer"] == "") & (table["patience"] == 0) & (table["context"] == 128)
    distinct = table["unique_tokens"].where(table["unique_tokens"] > 0, np.inf)
    return Parts(
        main=table[table["transfer"] != ""].sort_values("N"),
        limited=table.assign(distinct=distinct)[table["patience"] > 0],
        batches=table[table["schedule"] == "constant"],
        long_context=table[table["context"] != 128],
        shapes=table[plain & other],
    )


def training_curves(main: pd.DataFrame) -> pd.DataFrame:
    """Training curves as `views.as_curves`, N without embeddings, with the compute 6·N·D (FLOPs) of Kaplan."""
    return views.as_curves(main, "non-embedding").assign(compute=lambda c: 6 * c["N"] * c["D"])


def lower_envelope(curves: pd.DataFrame, budgets: int = 14) -> pd.DataFrame:
    """Lowest loss of any curve within a factor 1.5 below each of `budgets` spread over the compute: C, loss."""
    C = np.geomspace(curves["compute"].quantile(0.1), curves["compute"].max(), budgets)
    lowest = [curves.loc[curves["compute"].between(c / 1.5, c), "loss"].min() for c in C]
    return pd.DataFrame({"C": C, "loss": lowest}).dropna()


@dataclass(frozen=True)
class Bend:
    """Is log loss straight in log x? quadratic: its second-order coefficient, ± half (95 %)."""

    quadratic: float
    half: float
    slope_low: float
    slope_high: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the quadratic coefficient, from the scatter of the residuals."""
        return self.quadratic - self.half, self.quadratic + self.half


def bend(x, loss) -> Bend:
    """Quadratic in log x under log loss; slopes are −d log L / d log x at the smallest and the largest x."""
    u, v = np.log(np.asarray(x, float)), np.log(np.asarray(loss, float))
    centred = u - u.mean()
    found, cov = np.polyfit(centred, v, 2, cov=True)
    low, high = -np.polyval(np.polyder(found), [centred.min(), centred.max()])
    return Bend(float(found[0]), float(1.96 * np.sqrt(cov[0, 0])), float(low), float(high))


def batch_trade(
    batches: pd.DataFrame, main: pd.DataFrame, levels: int = 7
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Steps and tokens to reach given losses at each batch size, and the critical batch at each loss.

    The trade (S/S_min − 1)(E/E_min − 1) = 1 (Kaplan, Eq. 5.1) is fitted at every loss that all batch sizes reach,
    each at its quicker learning rate. Returns (trade, critical): `views.to_reach` with S_min and E_min; loss and
    B = E_min/S_min in tokens.
    """
    lowest, highest = batches["curve_loss"].map(min).max(), main["loss"].max()
    reached = views.to_reach(batches, np.linspace(lowest + 0.02, highest + 0.35, levels))
    quickest = reached.loc[reached.groupby(["batch", "loss"])["tokens"].idxmin()]
    full = quickest.groupby("loss")["batch"].transform("nunique")
    trade = quickest[full == quickest["batch"].nunique()].copy()
    for _, part in trade.groupby("loss"):
        trade.loc[part.index, ["S_min", "E_min"]] = fit.pareto(part["steps"], part["tokens"])
    critical = trade.drop_duplicates("loss").dropna()
    return trade, critical.assign(B=critical["E_min"] / critical["S_min"])


def over_critical(noise: pd.DataFrame, law) -> float:
    """Noise scale over the critical batch that `law` gives at the same loss, median. noise: `views.noise_scales`."""
    return float((noise["scale"] / law.predict(noise["loss"])).median())


def larger_over_smaller(noise: pd.DataFrame, edges, middle: float) -> float:
    """Noise scale of models above `middle` parameters over that of the others at equal loss (bins `edges`), median."""
    bins = pd.cut(noise["loss"], edges)
    halves = noise.groupby([bins, noise["N"] > middle], observed=True)["scale"].median().unstack()
    return float((halves[True] / halves[False]).median()) if halves.shape[1] == 2 else np.nan


@dataclass(frozen=True)
class Agreement:
    """Two medians with their 95 % intervals: noise scale over critical batch, and larger over smaller models."""

    ratio: float
    ratio_ci: tuple[float, float]
    sizes: float
    sizes_ci: tuple[float, float]


def noise_agreement(
    noise: pd.DataFrame, critical: pd.DataFrame, boot, resamples: int, seed: int
) -> Agreement:
    """Does the gradient noise scale agree with the critical batch, and does it depend on the size at equal loss?

    noise: `views.noise_scales`; critical: from `batch_trade`; boot: the bootstrap of its law. Models are resampled;
    for the ratio each resample of the models meets another resample of the law, since both sides are measured.
    """
    near = noise[noise["loss"].between(critical["loss"].min(), critical["loss"].max())]
    edges, middle = np.linspace(noise["loss"].min(), noise["loss"].max(), 8), noise["N"].median()
    known = zip(*map(boot.samples.get, ("B_star", "alpha_B")), strict=True)
    another = iter([laws.CriticalBatch(*constants) for constants in known])
    by_run = {"resamples": min(resamples, 500), "seed": seed}
    sizes = lambda part: larger_over_smaller(part, edges, middle)
    return Agreement(
        over_critical(near, boot.fit.law),
        fit.interval_over(near["N"], lambda part: over_critical(part, next(another)), near, **by_run),
        sizes(noise),
        fit.interval_over(noise["N"], sizes, noise, **by_run),
    )


def extra_compute(law, k: float) -> float:
    """Compute at k times the best size over the compute at the best, at equal loss and at the critical batch.

    From L = (N_c/N)^α_N + (S_c/S)^α_S (Eq. 1.6): the size leaves the share u = 1/(1 + α_N/α_S) of the loss at the
    optimum (Appendix B), and S makes up for the rest.
    """
    u = 1 / (1 + law.alpha_N / law.alpha_S)
    rest = 1 - u * k**-law.alpha_N
    return k * (rest / (1 - u)) ** (-1 / law.alpha_S)


def shape_excess(tried: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Loss above the best of its group, in per cent, for each way to vary the shape at one N (Figure 5).

    tried: runs at their better learning rate (`views.tuned`). Keys: "width / depth", "heads", "feed-forward / width";
    columns value (of the ratio or number that varies) and excess.
    """
    standard = tried["d_ffw"] == 4 * tried["d_model"]
    middle = tried[standard & (tried["n_layer"] == tried["n_layer"].median())]
    at_depth = tried["n_layer"] == middle["n_layer"].iloc[0]
    heads = middle["hash"][middle["n_head"] > 1]
    groups = {
        "width / depth": (standard & ~tried["hash"].isin(heads), tried["d_model"] / tried["n_layer"]),
        "heads": (standard & at_depth, tried["n_head"]),
        "feed-forward / width": (
            at_depth & (tried["n_head"] == 1),
            (tried["d_ffw"] / tried["d_model"]).round(2),
        ),
    }
    out = {}
    for name, (which, value) in groups.items():
        part = pd.DataFrame({"value": value[which], "loss": tried["loss"][which]}).sort_values("value")
        out[name] = part.assign(excess=100 * (part["loss"] / part["loss"].min() - 1))[["value", "excess"]]
    return out


def late_gain(losses: np.ndarray) -> float:
    """Nats gained from the second quarter of the context to its last quarter; losses: (context,) by position."""
    T = len(losses)
    return float(losses[T // 4 : T // 2].mean() - losses[3 * T // 4 :].mean())


def by_position(long_context: pd.DataFrame) -> tuple[list[tuple[str, str, np.ndarray]], pd.DataFrame]:
    """Loss by position of the best run of each architecture and size (Figure 7): (label, kind, losses), and gains.

    Columns of the table: parameters, kind, late gain, first 8 (mean loss there), mean; nats a token.
    """
    rows, gains = [], []
    for _, part in long_context.groupby(["architecture", "N"]):
        best = part.loc[part["loss"].idxmin()]
        losses = np.asarray(best["position_loss"], float)
        label, kind = f"{best['N']:,}", best["architecture"]
        rows.append((label, kind, losses))
        gains.append((label, kind, late_gain(losses), losses[:8].mean(), losses.mean()))
    return rows, pd.DataFrame(gains, columns=["parameters", "kind", "late gain", "first 8", "mean"])


def transfer_points(main: pd.DataFrame) -> pd.DataFrame:
    """Loss on the training distribution and on another along training, after twice the warm-up: N, D, loss, transfer."""
    points = [
        pd.DataFrame(
            {
                "N": row.N,
                "D": row.evaluation_tokens_seen,
                "loss": row.evaluation_loss,
                "transfer": row.transfer_loss,
            }
        )
        for row in main.itertuples()
    ]
    return pd.concat(points)[lambda p: p["D"] > 2 * main["warmup"].max()]


@dataclass(frozen=True)
class Transfer:
    """transfer ≈ intercept + slope · loss; interval of the slope over models; scatter in nats."""

    slope: float
    intercept: float
    interval: tuple[float, float]
    scatter: float


def transfer_line(points: pd.DataFrame, resamples: int, seed: int) -> Transfer:
    """The line through `transfer_points` (Figure 8), its interval by resampling model sizes."""
    line = lambda part: np.polyfit(part["loss"], part["transfer"], 1)
    slope, intercept = line(points)
    draws, sizes = np.random.default_rng(seed), points["N"].unique()
    slopes = [
        line(pd.concat([points[points["N"] == n] for n in draws.choice(sizes, len(sizes))]))[0]
        for _ in range(resamples)
    ]
    scatter = float(np.std(points["transfer"] - intercept - slope * points["loss"]))
    return Transfer(float(slope), float(intercept), fit.percentile(np.array(slopes), 0.95), scatter)
