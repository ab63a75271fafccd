"""Pictures of a fitted law: contours with IsoFLOP slices, or profiles with a frontier."""

from __future__ import annotations

import numpy as np


def budget_colours(budgets):
    """A colour a budget, dark to light along viridis, readable on both backgrounds."""
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.3, 0.92, max(len(budgets), 2)))


def _middle(name, low: float = 0.08, high: float = 0.72):
    """A colour map without its ends, which vanish on a light or a dark page."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps[name](np.linspace(low, high, 256)))


def plot(fit, runs, path=None, size=(8.0, 3.6)):
    """Draw a fit of `scalinglaws.fit` with its runs: `surface`, or `frontier` for approaches 1 and 2.

    Returns the matplotlib figure; with `path` it is written there instead (.svg, .png, .pdf).
    """
    from matplotlib.figure import Figure

    from ..figures import write

    draw = surface if hasattr(fit.law, "predict") else frontier
    if path is not None:
        return write(path, draw, fit, runs, size=size)
    fig = Figure(figsize=size, layout="constrained")
    draw(fig, fit, runs)
    return fig


def surface(fig, fit, runs, budgets=None):
    """Left: contours of L(N, C) with the runs and the efficient frontier. Right: IsoFLOP slices.

    After Figure 4 of Hoffmann et al. (2022). `runs` has columns N, D, loss and maybe C.
    """
    law = fit.law
    C = runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"]
    budgets = np.geomspace(C.min(), C.max(), 7) if budgets is None else np.asarray(budgets)
    left, right = fig.subplots(1, 2)

    c = np.geomspace(C.min() / 2, C.max() * 2, 160)
    n = np.geomspace(runs["N"].min() / 2, runs["N"].max() * 2, 160)
    grid = law.predict(n[:, None], c[None, :] / (6 * n[:, None]))
    lines = left.contour(
        c,
        n,
        grid,
        levels=np.quantile(runs["loss"], np.linspace(0.02, 0.95, 9)),
        cmap=_middle("viridis_r"),
        linewidths=0.9,
    )
    left.clabel(lines, fmt="%.2f", fontsize=7)
    left.scatter(
        C,
        runs["N"],
        c=runs["loss"],
        cmap=_middle("viridis_r"),
        s=9,
        vmin=runs["loss"].min(),
        vmax=np.quantile(runs["loss"], 0.95),
    )
    left.plot(c, law.optimum(c).N, color="C1", lw=2, label="efficient frontier")
    left.set(
        xscale="log",
        yscale="log",
        xlabel="training compute C (FLOPs)",
        ylabel="parameters N",
        title="contours of the fitted loss",
        ylim=(n[0], n[-1]),
    )
    left.legend(loc="upper left")

    for colour, budget in zip(budget_colours(budgets), budgets, strict=False):
        near = np.abs(np.log(C / budget)) < np.log(1.15)
        right.scatter(runs["N"][near], runs["loss"][near], s=9, color=colour)
        slice_n = np.geomspace(law.optimum(budget).N / 30, law.optimum(budget).N * 30, 200)
        slice_n = slice_n[(slice_n > n[0]) & (slice_n < n[-1])]
        right.plot(
            slice_n, law.predict(slice_n, budget / (6 * slice_n)), color=colour, lw=1.2, label=f"{budget:.0e}"
        )
    right.plot(law.optimum(budgets).N, law.optimum(budgets).loss, color="C1", lw=2)
    right.set(
        xscale="log",
        xlabel="parameters N",
        ylabel="loss (nats per token)",
        title="IsoFLOP slices",
        ylim=(runs["loss"].min() * 0.97, np.quantile(runs["loss"], 0.97) * 1.05),
    )
    right.legend(title="C (FLOPs)", fontsize=7, title_fontsize=7, ncols=2)


def frontier(fig, fit, runs):
    """Left: the runs and, for approach 2, the parabolas. Right: N_opt against C with the fitted line."""
    left, right = fig.subplots(1, 2)
    if fit.method == "isoflop":
        profiles(left, fit, runs)
        C, N = np.array([v.C for v in fit.valleys]), np.array([v.N for v in fit.valleys])
        label = "minimum of each parabola"
    else:
        curves(left, fit, runs)
        C, N = fit.C[fit.used], fit.N_opt[fit.used]
        label = "envelope"
    right.scatter(C, N, s=14, label=label)
    right.plot(C, fit.law.optimum(C).N, color="C1", label=f"N ∝ C^{fit.params['a']:.3f}")
    right.set(xscale="log", yscale="log", xlabel="training compute C (FLOPs)", ylabel="optimal parameters N")
    right.legend()


def profiles(ax, fit, runs):
    """IsoFLOP runs with their parabolas and minima, a colour a budget."""
    C = runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"]
    for colour, v in zip(budget_colours(fit.valleys), fit.valleys, strict=False):
        near = np.abs(np.log(C / v.C)) < np.log(1.2)
        sizes = np.asarray(runs["N"][near])
        ax.scatter(sizes, runs["loss"][near], s=9, color=colour)
        x = np.linspace(np.log(sizes.min()), np.log(sizes.max()), 100)
        if np.isfinite(v.N):
            ax.plot(
                np.exp(x),
                v.loss + v.curvature * (x - np.log(v.N)) ** 2,
                color=colour,
                lw=1.1,
                label=f"{v.C:.1e}",
            )
            ax.plot(v.N, v.loss, marker="D", ms=5, color="C1", ls="none")
    ax.set(xscale="log", xlabel="parameters N", ylabel="loss (nats per token)")
    ax.legend(title="C (FLOPs)", fontsize=6.5, title_fontsize=7, ncols=2)


def curves(ax, fit, runs):
    """Training curves and their envelope."""
    C = runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"]
    labels = runs["run"] if "run" in runs else runs["N"]
    for _, rows in runs.groupby(labels, sort=True):
        order = np.argsort(C[rows.index])
        ax.plot(
            np.asarray(C[rows.index])[order], np.asarray(rows["loss"])[order], lw=0.6, alpha=0.6, color="C5"
        )
    ax.plot(fit.C, fit.loss, color="C1", lw=1.6, label="envelope")
    ax.set(xscale="log", xlabel="training compute C (FLOPs)", ylabel="loss (nats per token)")
    ax.legend()
