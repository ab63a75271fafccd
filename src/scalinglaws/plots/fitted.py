"""Pictures of a fitted law: contours with IsoFLOP slices, or profiles or training curves with a frontier."""

from __future__ import annotations

import numpy as np

from ..figures import OTHER, OURS, REFERENCE, SMALL
from .marks import FLOPS, ink, key, note, ordered, power, sizes
from .marks import size as written

GOPHER_FLOPS = 5.76e23
LOSS = "loss (nats per token)"


def plot(fit, runs, path=None, size=(6.8, 3.4)):
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


def compute(runs):
    """The runs' compute: their column C, else 6ND."""
    return runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"]


def surface(fig, fit, runs, budgets=None):
    """Left: contours of L(N, C) with the runs, the efficient frontier and the slices. Right: IsoFLOP slices.

    After Figure 4 of Hoffmann et al. (2022). `runs` has columns N, D, loss and maybe C.
    """
    law, C = fit.law, compute(runs)
    budgets = np.geomspace(C.min(), C.max(), 7) if budgets is None else np.asarray(budgets)
    left, right = fig.subplots(1, 2)

    c = np.geomspace(C.min() / 2, C.max() * 2, 160)
    n = np.geomspace(runs["N"].min() / 2, runs["N"].max() * 2, 160)
    grid = law.predict(n[:, None], c[None, :] / (6 * n[:, None]))
    top = np.quantile(runs["loss"], 0.95)
    levels = np.quantile(runs["loss"], np.linspace(0.02, 0.95, 9))
    lines = left.contour(c, n, grid, levels=levels, linewidths=0.9)
    left.clabel(lines, levels[::2], fmt="%.2f", fontsize=SMALL)
    left.scatter(C, runs["N"], c=runs["loss"], s=7, vmin=runs["loss"].min(), vmax=top)
    for budget in budgets:
        left.axvline(budget, color=REFERENCE, lw=0.6, ls="--", zorder=0)
    left.plot(c, law.optimum(c).N, color=OURS, lw=2.2, label="efficient frontier")
    left.set(xscale="log", yscale="log", xlabel=FLOPS, ylabel="parameters $N$", ylim=(n[0], n[-1]))
    left.set_title("contours of the fitted loss")

    for colour, budget in zip(ordered(budgets), budgets, strict=True):
        near = np.abs(np.log(C / budget)) < np.log(1.15)
        right.scatter(runs["N"][near], runs["loss"][near], s=7, color=colour)
        wide = np.geomspace(law.optimum(budget).N / 30, law.optimum(budget).N * 30, 200)
        wide = wide[(wide > n[0]) & (wide < n[-1])]
        right.plot(
            wide, law.predict(wide, budget / (6 * wide)), color=colour, lw=1.1, ls="--", label=power(budget)
        )
    best = law.optimum(budgets)
    right.plot(best.N, best.loss, color=OURS, lw=2.2, label="_frontier")
    right.set(xscale="log", xlabel="parameters $N$", ylabel=LOSS)
    right.set_ylim(runs["loss"].min() * 0.97, np.quantile(runs["loss"], 0.97) * 1.05)
    right.set_title("IsoFLOP slices")
    sizes(left.yaxis, right.xaxis)
    handles = [*right.get_legend_handles_labels()[0], *left.get_legend_handles_labels()[0]]
    key(fig, handles=handles, ncols=5, title="FLOPs of a slice:")


def frontier(fig, fit, runs):
    """Left: the runs and, for approach 2, the parabolas. Right: N_opt against C with the fitted line."""
    left, right = fig.subplots(1, 2)
    if fit.method == "isoflop":
        profiles(left, fit, runs)
        C, N = np.array([v.C for v in fit.valleys]), np.array([v.N for v in fit.valleys])
        key(fig, left, ncols=5, title="FLOPs of a profile:")
    else:
        curves(left, fit, runs)
        C, N = fit.C[fit.used], fit.N_opt[fit.used]
    _line(right, C, N, C, fit.law.optimum(C).N, fit.params["a"], "N")


def three_panels(fig):
    """The panels of Figures 2 and 3 of Hoffmann et al.: losses at the left, N_opt and D_opt against C at the right."""
    axes = fig.subplot_mosaic([["loss", "N"], ["loss", "D"]], width_ratios=(1.15, 1))
    return axes["loss"], axes["N"], axes["D"]


def optima(axes, fit, C, N, D, budget=GOPHER_FLOPS):
    """N_opt and D_opt against C, each with its line carried on to a budget and what it asks for there, in green."""
    wide = np.geomspace(np.min(C) / 2, budget * 3, 50)
    at, there = fit.law.optimum(wide), fit.law.optimum(budget)
    for ax, name, values, line, goal in zip(
        axes, "ND", (N, D), (at.N, at.D), (there.N, there.D), strict=True
    ):
        _line(ax, C, values, wide, line, fit.params["a" if name == "N" else "b"], name)
        low, left = ax.get_ylim()[0], ax.get_xlim()[0]
        ax.plot([budget, budget, left], [low, goal, goal], color=OTHER, lw=1.2, ls=":")
        ax.plot(budget, goal, "s", color=OTHER, ms=5)
        note(ax, written(goal), budget, goal, dx=-8, dy=7, color=ink(OTHER))
        ax.set(xlim=(left, wide[-1]), ylim=(low, None))


def _line(ax, C, values, wide, line, exponent, name):
    """Optimal sizes or tokens against compute, with the fitted power law and its formula."""
    ax.plot(C, values, "o", ms=4 if len(C) < 100 else 1.5, color=OURS)
    ax.plot(wide, line, color=OURS)
    ax.set(xscale="log", yscale="log", xlabel=FLOPS, ylabel=rf"${name}_\mathrm{{opt}}$")
    sizes(ax.yaxis)
    ax.text(
        0.05, 0.68, rf"${name}_\mathrm{{opt}} \propto C^{{\,{exponent:.3f}}}$",
        transform=ax.transAxes, color=ink(OURS), fontsize="large",
    )  # fmt: skip


def profiles(ax, fit, runs):
    """IsoFLOP runs with their parabolas and minima, a colour a budget."""
    C = compute(runs)
    for colour, v in zip(ordered(fit.valleys), fit.valleys, strict=True):
        near = np.abs(np.log(C / v.C)) < np.log(1.2)
        N = np.asarray(runs["N"][near])
        ax.scatter(N, runs["loss"][near], s=7, color=colour)
        x = np.linspace(np.log(N.min()), np.log(N.max()), 100)
        if np.isfinite(v.N):
            bowl = v.loss + v.curvature * (x - np.log(v.N)) ** 2
            ax.plot(np.exp(x), bowl, color=colour, lw=1.1, label=power(v.C, 1))
            ax.plot(v.N, v.loss, marker="D", ms=5, color=OURS, ls="none")
    ax.set(xscale="log", xlabel="parameters $N$", ylabel=LOSS)
    sizes(ax.xaxis)


def curves(ax, fit, runs, by_size=False):
    """Training curves and their envelope; a colour a size, or all in grey."""
    C = compute(runs)
    N = np.unique(runs["N"])
    colours = dict(zip(N, ordered(N), strict=False))
    for _, rows in runs.groupby("run" if "run" in runs else "N", sort=True):
        at = C[rows.index].sort_values()
        colour = colours[rows["N"].iloc[0]] if by_size else REFERENCE
        ax.plot(at, rows["loss"][at.index], lw=0.6, alpha=0.8, color=colour)
    ax.plot(fit.C, fit.loss, color=OURS, lw=1.8, label="envelope")
    ax.set(xscale="log", xlabel=FLOPS, ylabel=LOSS)
    ax.legend(loc="upper right")
