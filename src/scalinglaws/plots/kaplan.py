"""Figures of the Kaplan chapter."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from ..figures import KINDS, OTHER, OURS, PAPER, REFERENCE
from .marks import FLOPS, ink, key, label_ends, ordered, plain, rule, sample, size, sizes, whiskers

BYTES = "loss (nats per byte)"


def panel_points(panels):
    """The points of `powers` as a table: panel, x, loss."""
    return pd.concat(
        [
            pd.DataFrame({"panel": p[0].replace("$", ""), "x": np.asarray(p[1]), "loss": np.asarray(p[2])})
            for p in panels
        ]
    )


def powers(fig, panels):
    """Figure 1: losses against one variable, a panel each, with the fitted power law and one of Kaplan's slope.

    panels: (label of x, x, loss, fitted law, Kaplan's exponent, faint curves or None).
    """
    axes = fig.subplots(1, len(panels), sharey=True)
    for ax, (label, x, loss, law, published, curves) in zip(axes, panels, strict=True):
        for cx, cy in curves or []:
            ax.plot(cx, cy, color=REFERENCE, lw=0.6, alpha=0.7)
        ax.plot(x, loss, "o", color=OURS, ms=3.5 if len(x) > 20 else 4.5)
        wide = np.geomspace(np.min(x) / 1.5, np.max(x) * 1.5, 50)
        ax.plot(wide, law.predict(wide), color=OURS)
        middle = np.exp(np.log(x).mean())
        slope = law.predict(middle) * (wide / middle) ** -published
        ax.plot(wide, slope, color=PAPER, ls="--")
        ax.set(xscale="log", yscale="log", xlabel=label)
        name = label.split("$")[1].split()[0]
        if name != "C":
            sizes(ax.xaxis)
        for k, (alpha, colour) in enumerate(((law.alpha, OURS), (published, PAPER))):
            ax.text(
                0.04, 0.14 - 0.11 * k, f"$L \\propto {name}^{{\\,-{alpha:.3f}}}$",
                transform=ax.transAxes, color=ink(colour), fontsize="large",
            )  # fmt: skip
    low, high = axes[0].get_ylim()
    axes[0].set(ylabel=BYTES, ylim=(low * (low / high) ** 0.3, high))  # room for the formulas
    plain(axes[0].yaxis)
    handles = [sample(axes[0], "ours", marker="o", color=OURS)]
    handles += [sample(axes[0], "Kaplan's slope", color=PAPER, ls="--")]
    handles += [sample(axes[0], "single runs", color=REFERENCE, lw=0.8)]
    key(fig, handles=handles)


def data_limited(fig, runs, fit):
    """Left: early-stopped loss against distinct tokens, a colour a size, with L(N, D). Right: overfitting."""
    left, right = fig.subplots(1, 2)
    all_sizes = sorted(runs["N"].unique())
    for N, colour in zip(all_sizes, ordered(all_sizes), strict=True):
        part = runs[runs["N"] == N].sort_values("distinct")
        D = np.geomspace(part["distinct"].min(), part["distinct"].max(), 60)
        left.plot(part["distinct"], part["loss"], "o", color=colour)
        left.plot(D, fit.law.predict(N, D), color=colour, lw=1.3, label=f"$N$ = {size(N)}")
        x = N ** fit.params["ratio"] / part["distinct"]
        floor = np.power(fit.law.N_c / N, fit.law.alpha_N)
        right.plot(x, part["loss"] / floor - 1, "o", color=colour)
    low, high = right.get_xlim()
    x = np.geomspace(low, high, 60) if low > 0 else np.geomspace(1e-6, 1e-1, 60)
    scale = fit.law.N_c ** fit.params["ratio"] / fit.law.D_c
    right.plot(x, (1 + x / scale) ** fit.law.alpha_D - 1, color=OURS, lw=1.3)
    left.set(xscale="log", yscale="log", xlabel="distinct tokens $D$ (bytes)")
    left.set_ylabel("early-stopped " + BYTES)
    plain(left.yaxis)
    sizes(left.xaxis)
    right.set(xscale="log", xlabel=f"$N^{{\\,{fit.params['ratio']:.2f}}} / D$")
    right.set_ylabel(r"$L(N, D)\,/\,L(N, \infty) - 1$")
    key(fig, left, ncols=4)


def sample_efficiency(fig, curves):
    """Figure 2: training curves against tokens and against compute, a colour a size."""
    left, right = fig.subplots(1, 2, sharey=True)
    all_sizes = sorted(curves["N"].unique())
    for N, colour in zip(all_sizes, ordered(all_sizes), strict=True):
        part = curves[curves["N"] == N]
        left.plot(part["D"], part["loss"], color=colour, lw=1.3, label=size(N))
        right.plot(6 * part["N"] * part["D"], part["loss"], color=colour, lw=1.3)
    left.set(xscale="log", xlabel="tokens (bytes) seen", ylabel=BYTES)
    right.set(xscale="log", xlabel=r"compute $6ND$, no embeddings (FLOPs)")
    sizes(left.xaxis)
    key(fig, left, ncols=5, title="parameters $N$:")


def critical_batch(fig, trade, law, noise, published):
    """Left: steps against tokens to reach each loss. Right: B_crit and noise scale against the loss."""
    left, right = fig.subplots(1, 2)
    losses = sorted(trade["loss"].unique(), reverse=True)
    for loss, colour in zip(losses, ordered(losses), strict=True):
        part = trade[trade["loss"] == loss].sort_values("batch")
        left.plot(part["tokens"], part["steps"], "o", ms=4, color=colour, label=f"{loss:.2f}")
        S, E = part[["S_min", "E_min"]].iloc[0]
        if np.isfinite(S):
            steps = np.geomspace(max(part["steps"].min(), S * 1.02), part["steps"].max(), 60)
            left.plot(E / (1 - S / steps), steps, color=colour, lw=1)
    left.set(xscale="log", yscale="log", xlabel="tokens processed", ylabel="optimiser steps")
    key(fig, left, where="lower", ncols=7, title="left, to reach a loss of:")
    crit = trade.drop_duplicates("loss").dropna(subset=["S_min"])
    L = np.concatenate([crit["loss"], noise["loss"]])
    L = np.linspace(L.min(), L.max(), 60)
    right.plot(noise["loss"], noise["scale"], "^", ms=3, color=KINDS[0], alpha=0.6, mec="none", zorder=1)
    right.plot(crit["loss"], crit["E_min"] / crit["S_min"], "o", ms=5, color=OURS)
    right.plot(L, law.predict(L), color=OURS)
    anchor = np.exp(np.log(crit["loss"]).mean())
    right.plot(L, law.predict(anchor) * (L / anchor) ** (-1 / published), color=PAPER, ls="--")
    right.set(xscale="log", yscale="log", xlabel=BYTES, ylabel="tokens a batch")
    plain(right.xaxis)
    right.invert_xaxis()
    sizes(left.xaxis, right.yaxis)
    handles = [sample(right, r"$B_\mathrm{crit}$, from the trade", marker="o", color=OURS)]
    handles += [sample(right, "gradient noise scale", marker="^", ls="none", color=KINDS[0])]
    handles += [sample(right, "Kaplan's slope", color=PAPER, ls="--")]
    key(fig, handles=handles)


def shapes(fig, groups):
    """Loss over the best of its group, in per cent, a panel a group. groups: name → columns value, excess."""
    axes = np.atleast_1d(fig.subplots(1, len(groups), sharey=True))
    for ax, (name, part) in zip(axes, groups.items(), strict=True):
        at = np.arange(len(part))
        ax.plot(at, part["excess"], "o-", color=OURS)
        rule(ax, y=3, color=PAPER, text="the paper's 3 %" if ax is axes[-1] else "")
        ax.set(xticks=at, xticklabels=[f"{v:.3g}" for v in part["value"]], xlabel=name)
        ax.tick_params(axis="x", labelrotation=60)
    axes[0].set_ylabel("loss above the best (%)")
    axes[0].set_ylim(bottom=0)


def positions(fig, rows):
    """Loss by position in the context, LSTM against transformer. rows: label, kind, losses (T,)."""
    ax = fig.subplots()
    looks = {
        "transformer": {"color": OURS, "marker": "o", "ls": "-"},
        "lstm": {"color": KINDS[1], "marker": "s", "ls": "--"},
    }
    for label, kind, losses in rows:
        edges = np.unique(np.geomspace(1, len(losses), 18).astype(int))
        centre = [np.sqrt(a * b) for a, b in itertools.pairwise(edges)]
        mean = [np.mean(losses[a:b]) for a, b in itertools.pairwise(edges)]
        ax.plot(centre, mean, ms=3.5, lw=1.2, label=label, **looks[kind])
    ax.set(xscale="log", xlabel="position in the context (bytes)", ylabel=BYTES)
    label_ends(ax)
    names = {"transformer": "transformer", "lstm": "LSTM"}
    key(fig, handles=[sample(ax, f" {names[kind]}", **look) for kind, look in looks.items()])


def transfer(fig, points, slope, intercept):
    """Loss on a second corpus against the loss on the first, along training, a colour a size."""
    ax = fig.subplots()
    all_sizes = sorted(points["N"].unique())
    for N, colour in zip(all_sizes, ordered(all_sizes), strict=True):
        part = points[points["N"] == N]
        ax.plot(part["loss"], part["transfer"], "o-", ms=3, lw=0.8, color=colour, label=size(N))
    handles = ax.get_legend_handles_labels()[0]
    x = np.linspace(points["loss"].min(), points["loss"].max(), 20)
    ax.plot(x, intercept + slope * x, color=OURS, ls="--", lw=1.3, label=f"slope {slope:.2f}")
    ax.plot(x, x, color=REFERENCE, lw=0.9, label="equality")
    ax.set(xlabel="loss on Gutenberg (nats per byte)", ylabel="loss on Shakespeare (nats per byte)")
    label_ends(ax, ax.get_lines()[-2:])
    key(fig, handles=handles, ncols=5, title="parameters $N$:")


def frontier(fig, fits, published):
    """N_opt against compute under several protocols. fits: label → (C, N_opt, law in C)."""
    ax = fig.subplots()
    looks = zip(KINDS, "os^D", ("-", "-.", ":", (0, (5, 1))), strict=False)
    for (colour, marker, ls), (label, (C, N, law)) in zip(looks, fits.items(), strict=False):
        wide = np.geomspace(np.min(C), np.max(C), 30)
        ax.plot(C, N, marker, ms=3.5, color=colour, alpha=0.7)
        ax.plot(wide, law.optimum(wide).N, color=colour, ls=ls, label=f"{label}:\n$a$ = {law.a:.2f}")
    C, N = (np.concatenate([f[k] for f in fits.values()]) for k in (0, 1))
    wide = np.geomspace(C.min(), C.max(), 30)
    middle, height = np.exp(np.log(C).mean()), np.exp(np.log(N).mean())
    line = height * (wide / middle) ** published
    ax.plot(wide, line, color=PAPER, ls="--", label=f"Kaplan:\n$a$ = {published}")
    ax.set(xscale="log", yscale="log", xlabel=FLOPS, ylabel=r"$N_\mathrm{opt}$ (parameters)")
    sizes(ax.yaxis)
    label_ends(ax)


def live(fig, N, stored, new, floor):
    """Losses of stored runs, and of the same configurations trained just now, over the entropy of the source."""
    ax = fig.subplots()
    ax.plot(N, stored, "o", ms=10, mfc="none", color=OURS, label="stored")
    ax.plot(new["N"], new["loss"], "x", color=KINDS[1], ms=6, mew=1.6, label="trained just now")
    rule(ax, y=floor, text="entropy of the source")
    ax.set(xscale="log", xlabel="parameters $N$", ylabel="loss (nats per token)")
    sizes(ax.xaxis)
    ax.set_ylim(bottom=floor - 0.05)
    key(fig, ax)


def staircase(fig, rows):
    """Exponents stage by stage, ours with intervals beside those of Porian et al. rows: stage, a, low, high, porian."""
    ax = fig.subplots()
    at = np.arange(len(rows))
    ours = "our runs, $10^{11}$ to $10^{12}$ FLOPs"
    theirs = "Porian et al., $10^{16}$ to $10^{19}$ FLOPs"
    whiskers(ax, at - 0.08, rows["a"], rows["low"], rows["high"], color=OURS, ls="-", lw=1.2, label=ours)
    ax.plot(at + 0.08, rows["porian"], "D--", ms=5, lw=1, color=OTHER, label=theirs)
    rule(ax, y=0.5)
    ax.set(xticks=at, xticklabels=[s.replace(" ", "\n", 1) for s in rows["stage"]])
    ax.set_ylabel(r"exponent $a$ of $N_\mathrm{opt} \propto C^a$")
    key(fig, ax)
