"""Figures of the field guide."""

from __future__ import annotations

import numpy as np

from ..figures import OTHER, OURS, PAPER, REFERENCE
from .marks import band, counts, key, label_ends, note, ordered, plain, rule, sizes, whiskers

LOOKS = {"M1": (":", REFERENCE), "M2": ("--", REFERENCE), "M3": ("-.", REFERENCE), "M4": ("-", OTHER), "BNSL": ("-", OURS)}


def exponents(fig, table):
    """How fast each law falls: table: family, law, low, high, ours (NaN where none was recomputed)."""
    ax = fig.subplots()
    at = np.arange(len(table))
    whiskers(ax, (table["low"] + table["high"]) / 2, at, table["low"], table["high"], upright=False, color=PAPER, marker="|", ms=6, label="printed")
    ax.plot(table["ours"], at, "o", ms=4, color=OURS, label="recomputed here")
    ax.set_yticks(at, table["law"])
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="exponent")
    sizes(ax.xaxis)
    key(fig, ax)


def implied(fig, table):
    """Exponent of the optimal size: printed, and as its two losses imply it. table: domain, beta, implied."""
    ax = fig.subplots()
    at = np.arange(len(table))
    ax.plot(table["beta"], at, "D", ms=5, color=PAPER, label="printed")
    ax.plot(table["implied"], at, "o", ms=5, color=OURS, label="$\\alpha_C/\\alpha_N$ of the same table")
    ax.set_yticks(at, table["domain"])
    ax.invert_yaxis()
    rule(ax, 1.0, text="no data at all")
    ax.set_xlabel("exponent of $N_{opt}(C)$")
    key(fig, ax)


def broken(fig, table, fits, kept):
    """Points of a curve and the forms fitted to the first `kept`: table: x, y; fits: name → (x, y)."""
    ax = fig.subplots()
    ax.plot(table["x"][:kept], table["y"][:kept], "o", ms=4, color=PAPER, label="fitted to")
    ax.plot(table["x"][kept:], table["y"][kept:], "o", ms=5, mfc="none", color=PAPER, label="held out")
    for name, (x, y) in fits.items():
        style, colour = LOOKS[name]
        ax.plot(x, y, style, color=colour, label=name)
    counts(ax, [160, 320, 640, 960], "training examples")
    ax.set(yscale="log", ylabel="test loss (nats per token)")
    plain(ax.yaxis)
    key(fig, ax, ncols=4)


def ahead(fig, table):
    """Error on what comes against the last x fitted to, a line a form. table: form, last, ahead."""
    ax = fig.subplots()
    for name, own in table.groupby("form", sort=False):
        style, colour = LOOKS[name]
        ax.plot(own["last"], own["ahead"], style, marker="o", ms=3, color=colour, label=name)
    counts(ax, sorted(table["last"].unique()), "examples of the last point fitted to")
    ax.set(yscale="log", ylabel="error on the rest (rms of log)")
    key(fig, ax, ncols=5)


def foreseen(fig, table):
    """Median error beyond the data against where they end, a panel a width. table: width, end, form, median, low, high."""
    for ax, (width, own) in zip(fig.subplots(1, table["width"].nunique(), sharey=True), table.groupby("width"), strict=True):
        for name, said in (("M2", "power law and a floor"), ("BNSL", "one break")):
            line = own[own["form"] == name]
            band(ax, line["end"], line["median"], line["low"], line["high"], color=LOOKS[name][1], label=said)
        rule(ax, 1, text="the break")
        counts(ax, [0.5, 1, 2], "where the data end, breaks = 1")
        ax.set(yscale="log", title=f"width {width:g} in log $x$")
    fig.axes[0].set_ylabel("error up to twice as far (rms of log)")
    key(fig)


def zero_shot(fig, table, tasks, lines):
    """Zero-shot error of CLIP models against compute, a panel a task. lines: (task, ours) → (C, error)."""
    axes = fig.subplots(2, 2, sharex=True)
    for ax, (task, name) in zip(axes.flat, tasks.items(), strict=True):
        own = table[table["task"] == task]
        for ours, colour, marker, label in ((True, OURS, "o", "LAION"), (False, PAPER, "D", "OpenAI")):
            part = own[(own["trained_on"] != "WIT") == ours]
            ax.plot(part["C"], part["error"], marker, ms=4, color=colour, alpha=0.8, label=label)
            ax.plot(*lines[task, ours], color=colour, lw=1)
        ax.set(xscale="log", yscale="log", title=name)
        plain(ax.yaxis)
    for ax in axes[1]:
        ax.set_xlabel("multiply-adds of all forward passes")
    for ax in axes[:, 0]:
        ax.set_ylabel("zero-shot error")
    key(fig, axes[0, 0])


def bins(fig, table):
    """Exponent against the number of bins of the frontier. table: task, bins, alpha."""
    ax = fig.subplots()
    for (name, own), colour in zip(table.groupby("task", sort=False), ordered(range(table["task"].nunique())), strict=True):
        ax.plot(own["bins"], own["alpha"], "o-", ms=4, color=colour, label=name)
    ax.set(xlabel="parts of the frontier", ylabel="exponent", ylim=(0, None))
    label_ends(ax)


def shares(fig, share, lines):
    """Loss over its lowest against the decoder's share of the parameters: name → loss over lowest [shares]."""
    ax = fig.subplots()
    for (name, own), colour in zip(lines.items(), ordered(lines), strict=True):
        ax.plot(share, own, color=colour, label=name)
    rule(ax, 0.55, text="share .55")
    ax.set(xlabel="decoder's share of all parameters", ylabel="reducible loss over its lowest", ylim=(1, 1.2))
    key(fig, ax, ncols=4)


def regimes(fig, left, right):
    """Left: error against samples for some numbers of features. Right: what is left above the limit. Both: name → (count, error)."""
    axes, colours = fig.subplots(1, 2), dict(zip(left, ordered(left), strict=True))
    for ax, lines, what in zip(axes, (left, right), ("mean squared error", "error above that of infinitely many"), strict=True):
        for name, (count, error) in lines.items():
            ax.plot(count, error, color=colours[name], label=name)
        ax.set(xscale="log", yscale="log", xlabel="samples $D$", ylabel=what)
        sizes(ax.xaxis)
        ax.yaxis.set_minor_formatter("")
    key(fig, axes[0], ncols=4)


def manifold(fig, table):
    """Slope of log error on log samples against one over the dimension, a line an interpolant. table: dimension, kind, slope, low, high, theory."""
    ax = fig.subplots()
    for (kind, own), colour in zip(table.groupby("kind", sort=False), (OURS, OTHER), strict=True):
        whiskers(ax, own["dimension"], own["slope"], own["low"], own["high"], color=colour, label=kind)
        ax.plot(own["dimension"], own["theory"], color=colour, lw=1)
    ax.set(xlabel="dimension of the manifold", ylabel="exponent in samples", yscale="log")
    plain(ax.yaxis)
    key(fig, ax)


def densities(fig, table, lines):
    """Density against date; the densest when they came are filled. table: date, density, seen, best; lines: name → (dates, density)."""
    ax = fig.subplots()
    for seen, colour, name in ((True, OURS, "within the reference"), (False, OTHER, "beyond it")):
        own = table[table["seen"] == seen]
        ax.plot(own["date"], own["density"], "o", ms=4, color=colour, mfc="none", label=name)
    for (name, (dates, density)), colour in zip(lines.items(), (OURS, OTHER), strict=True):
        ax.plot(dates, density, color=colour, lw=1.2)
        note(ax, name, dates[-1], density[-1], dx=4)
    ax.set(yscale="log", ylabel="density $\\hat N/N$")
    fig.autofmt_xdate(rotation=30)
    key(fig, ax)


def optima(fig, table):
    """Parameters by the article's two formulas over those of its own table, against compute. table: flops, N, by_half, by_surface."""
    ax = fig.subplots()
    for column, colour, name in (("by_half", OURS, "$.1\\,C^{.5}$"), ("by_surface", OTHER, "$.6\\,C^{.45}$"), ("unrounded", PAPER, "unrounded surface")):
        ax.plot(table["flops"], table[column] / table["N"], "o-", ms=4, color=colour, label=name)
    rule(ax, y=1, text="the article's table", end="left")
    ax.set(xscale="log", yscale="log", xlabel="training compute $C$ (FLOPs)", ylabel="parameters over those tabulated")
    plain(ax.yaxis)
    label_ends(ax)


def coverage(fig, table, level):
    """Share of intervals that cover, a row a law, a dot a parameter. table: law, parameter, coverage, low, high."""
    ax = fig.subplots()
    names = list(dict.fromkeys(table["law"]))
    for i, name in enumerate(names):
        own = table[table["law"] == name]
        at = i + np.linspace(-0.3, 0.3, len(own)) if len(own) > 1 else np.array([float(i)])
        whiskers(ax, own["coverage"], at, own["low"], own["high"], upright=False, color=OURS, ms=3)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    rule(ax, level)
    ax.set(xlabel="share of intervals that cover", xlim=(None, 1.01))
