"""Figures of the Kaplan chapter."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator, NullLocator

from .fitted import budget_colours


def panel_points(panels):
    """The points of `powers` as a table: panel, x, loss."""
    return pd.concat(
        [pd.DataFrame({"panel": p[0], "x": np.asarray(p[1]), "loss": np.asarray(p[2])}) for p in panels]
    )


def powers(fig, panels):
    """Losses against one variable, a panel each, with the fitted power law and one of Kaplan's slope.

    panels: (label of x, x, loss, fitted law, Kaplan's exponent, faint curves or None).
    """
    axes = fig.subplots(1, len(panels), sharey=True)
    for ax, (label, x, loss, law, published, curves) in zip(axes, panels, strict=True):
        for cx, cy in curves or []:
            ax.plot(cx, cy, color="0.6", lw=0.6, alpha=0.7)
        ax.scatter(x, loss, s=18, color="C0", zorder=3)
        wide = np.geomspace(np.min(x) / 1.5, np.max(x) * 1.5, 50)
        ax.plot(wide, law.predict(wide), color="C0", lw=1.5, label=f"ours, slope −{law.alpha:.3f}")
        middle = np.exp(np.log(x).mean())
        ax.plot(
            wide,
            law.predict(middle) * (wide / middle) ** -published,
            color="C1",
            ls="--",
            lw=1.3,
            label=f"Kaplan's slope −{published:.3f}",
        )
        ax.set(xscale="log", yscale="log", xlabel=label)
        ax.legend(loc="upper right", fontsize=7.5)
    axes[0].set_ylabel("loss (nats per byte)")
    for ax in axes:
        ax.yaxis.set_major_locator(MaxNLocator(6))
        ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
        ax.yaxis.set_minor_locator(NullLocator())


def data_limited(fig, runs, fit):
    """Left: early-stopped loss against distinct tokens, a colour a size, with L(N, D). Right: overfitting."""
    left, right = fig.subplots(1, 2)
    sizes = sorted(runs["N"].unique())
    for N, colour in zip(sizes, budget_colours(sizes), strict=True):
        part = runs[runs["N"] == N].sort_values("distinct")
        D = np.geomspace(part["distinct"].min(), part["distinct"].max(), 60)
        left.plot(part["distinct"], part["loss"], "o", ms=4.5, color=colour, label=f"N = {N:,.0f}")
        left.plot(D, fit.law.predict(N, D), color=colour, lw=1.2)
        x = N ** fit.params["ratio"] / part["distinct"]
        floor = np.power(fit.law.N_c / N, fit.law.alpha_N)
        right.plot(x, part["loss"] / floor - 1, "o", ms=4.5, color=colour)
    low, high = right.get_xlim()
    x = np.geomspace(low, high, 60) if low > 0 else np.geomspace(1e-6, 1e-1, 60)
    scale = fit.law.N_c ** fit.params["ratio"] / fit.law.D_c
    right.plot(x, (1 + x / scale) ** fit.law.alpha_D - 1, color="0.5", lw=1.2)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="distinct tokens D (bytes)",
        ylabel="early-stopped loss (nats per byte)",
    )
    left.legend(fontsize=7.5)
    left.yaxis.set_minor_formatter(lambda v, _: f"{v:.1f}" if round(v * 10) % 2 == 0 else "")
    right.set(
        xscale="log",
        xlabel=f"N^{fit.params['ratio']:.2f} / D",
        ylabel="loss over the loss without a data limit, −1",
    )


def sample_efficiency(fig, curves):
    """Training curves against tokens and against compute, a colour a size."""
    left, right = fig.subplots(1, 2, sharey=True)
    sizes = sorted(curves["N"].unique())
    for N, colour in zip(sizes, budget_colours(sizes), strict=True):
        part = curves[curves["N"] == N]
        left.plot(part["D"], part["loss"], color=colour, lw=1.3, label=f"{N:,.0f}")
        right.plot(6 * part["N"] * part["D"], part["loss"], color=colour, lw=1.3)
    left.set(xscale="log", xlabel="tokens (bytes) seen", ylabel="loss (nats per byte)")
    right.set(xscale="log", xlabel="compute 6·N·D, embeddings not counted (FLOPs)")
    left.legend(title="parameters N", fontsize=7, title_fontsize=7.5)


def critical_batch(fig, trade, law, noise, published):
    """Left: steps against tokens to reach each loss. Right: B_crit and noise scale against the loss."""
    left, right = fig.subplots(1, 2)
    losses = sorted(trade["loss"].unique(), reverse=True)
    for loss, colour in zip(losses, budget_colours(losses), strict=True):
        part = trade[trade["loss"] == loss].sort_values("batch")
        left.plot(part["tokens"], part["steps"], "o", ms=4, color=colour, label=f"{loss:.2f}")
        S, E = part[["S_min", "E_min"]].iloc[0]
        if np.isfinite(S):
            steps = np.geomspace(max(part["steps"].min(), S * 1.02), part["steps"].max(), 60)
            left.plot(E / (1 - S / steps), steps, color=colour, lw=1)
    left.set(xscale="log", yscale="log", xlabel="tokens processed", ylabel="optimiser steps")
    left.legend(title="to reach loss", fontsize=7, title_fontsize=7.5)
    crit = trade.drop_duplicates("loss").dropna(subset=["S_min"])
    right.plot(crit["loss"], crit["E_min"] / crit["S_min"], "o", color="C0", label="B_crit, from the trade")
    right.scatter(noise["loss"], noise["scale"], s=7, color="C2", alpha=0.6, label="gradient noise scale")
    L = np.linspace(
        min(crit["loss"].min(), noise["loss"].min()), max(crit["loss"].max(), noise["loss"].max()), 60
    )
    right.plot(L, law.predict(L), color="C0", lw=1.3)
    anchor = np.exp(np.log(crit["loss"]).mean())
    right.plot(
        L,
        law.predict(anchor) * (L / anchor) ** (-1 / published),
        color="C1",
        ls="--",
        lw=1.3,
        label="Kaplan's slope",
    )
    right.set(xscale="log", yscale="log", xlabel="loss (nats per byte)", ylabel="tokens a batch")
    right.xaxis.set_minor_formatter(lambda v, _: f"{v:g}")
    right.legend(fontsize=7.5)


def shapes(fig, groups):
    """Loss over the best of its group, in per cent, a panel a group. groups: name → columns value, excess."""
    axes = fig.subplots(1, len(groups), sharey=True)
    for ax, (name, part) in zip(np.atleast_1d(axes), groups.items(), strict=True):
        at, labels = np.arange(len(part)), [f"{v:.3g}" for v in part["value"]]
        ax.plot(at, part["excess"], "o-", color="C0", ms=5)
        ax.axhline(3, color="C1", ls="--", lw=1.1)
        ax.set(xticks=at, xticklabels=labels, xlabel=name)
        ax.tick_params(axis="x", labelsize=8)
    np.atleast_1d(axes)[0].set_ylabel("loss above the best (%)")
    np.atleast_1d(axes)[0].set_ylim(bottom=0)


def positions(fig, rows):
    """Loss by position in the context, LSTM against transformer. rows: label, kind, losses (T,)."""
    ax = fig.subplots()
    kinds = {"transformer": "C0", "lstm": "C1"}
    for label, kind, losses in rows:
        T = len(losses)
        edges = np.unique(np.geomspace(1, T, 18).astype(int))
        centre = [np.sqrt(a * b) for a, b in itertools.pairwise(edges)]
        mean = [np.mean(losses[a:b]) for a, b in itertools.pairwise(edges)]
        ax.plot(
            centre,
            mean,
            "o-" if kind == "transformer" else "s--",
            ms=3.5,
            lw=1.2,
            color=kinds[kind],
            alpha=0.9,
        )
        ax.annotate(
            label,
            (centre[-1], mean[-1]),
            xytext=(5, 0),
            textcoords="offset points",
            fontsize=7.5,
            va="center",
        )
    ax.set(xscale="log", xlabel="position in the context (bytes)", ylabel="loss (nats per byte)")
    ax.margins(x=0.18)
    handles = [ax.plot([], [], "o-", color="C0")[0], ax.plot([], [], "s--", color="C1")[0]]
    ax.legend(handles, ["transformer", "LSTM"])


def transfer(fig, points, slope, intercept):
    """Loss on a second corpus against the loss on the first, along training, a colour a size."""
    ax = fig.subplots()
    sizes = sorted(points["N"].unique())
    for N, colour in zip(sizes, budget_colours(sizes), strict=True):
        part = points[points["N"] == N]
        ax.plot(part["loss"], part["transfer"], "o-", ms=3, lw=0.8, color=colour, label=f"{N:,.0f}")
    x = np.linspace(points["loss"].min(), points["loss"].max(), 20)
    ax.plot(x, intercept + slope * x, color="0.5", ls="--", lw=1.2, label=f"slope {slope:.2f}")
    ax.plot(x, x, color="0.75", lw=0.8)
    ax.set(xlabel="loss on Gutenberg (nats per byte)", ylabel="loss on Shakespeare (nats per byte)")
    ax.legend(title="parameters N", fontsize=7, title_fontsize=7.5)


def frontier(fig, fits, published):
    """N_opt against compute under several protocols. fits: label → (C, N_opt, law in C)."""
    ax = fig.subplots()
    for k, (label, (C, N, law)) in enumerate(fits.items()):
        ax.scatter(C, N, s=12, color=f"C{k}")
        wide = np.geomspace(np.min(C), np.max(C), 30)
        ax.plot(wide, law.optimum(wide).N, color=f"C{k}", label=f"{label}: C^{law.a:.2f}")
    C = np.concatenate([c for c, _, _ in fits.values()])
    wide = np.geomspace(C.min(), C.max(), 30)
    N = np.concatenate([n for _, n, _ in fits.values()])
    middle, height = np.exp(np.log(C).mean()), np.exp(np.log(N).mean())
    ax.plot(
        wide,
        height * (wide / middle) ** published,
        color="0.5",
        ls="--",
        lw=1.2,
        label=f"Kaplan: C^{published}",
    )
    ax.set(xscale="log", yscale="log", xlabel="compute (FLOPs)", ylabel="N_opt (parameters)")
    ax.legend(fontsize=8)


def live(fig, N, stored, new, floor):
    """Losses of stored runs, and of the same configurations trained just now, over the entropy of the source."""
    ax = fig.subplots()
    ax.plot(N, stored, "o", ms=10, mfc="none", color="C0", label="stored")
    ax.plot(new["N"], new["loss"], "x", color="C1", ms=6, mew=1.6, label="trained just now")
    ax.axhline(floor, color="0.5", ls=":", lw=1.2)
    ax.annotate("entropy", (np.min(N), floor), xytext=(0, 4), textcoords="offset points", fontsize=8)
    ax.set(xscale="log", xlabel="parameters N", ylabel="loss (nats per token)")
    ax.set_ylim(bottom=floor - 0.05)
    ax.legend()


def staircase(fig, rows):
    """Exponents stage by stage, ours with intervals beside those of Porian et al. rows: stage, a, low, high, porian."""
    ax = fig.subplots()
    at = np.arange(len(rows))
    ax.errorbar(
        at - 0.08,
        rows["a"],
        yerr=[rows["a"] - rows["low"], rows["high"] - rows["a"]],
        fmt="o-",
        ms=6,
        lw=1.2,
        capsize=3,
        color="C0",
        label="our runs, 10¹¹ to 10¹² FLOPs",
    )
    ax.plot(
        at + 0.08, rows["porian"], "D--", ms=5, lw=1, color="C1", label="Porian et al., 10¹⁶ to 10¹⁹ FLOPs"
    )
    ax.axhline(0.5, color="0.5", lw=0.8)
    ax.set(
        xticks=at,
        xticklabels=[s.replace(" ", "\n", 1) for s in rows["stage"]],
        ylabel="exponent a of N_opt ∝ C^a",
    )
    ax.tick_params(axis="x", labelsize=8)
    ax.legend()
