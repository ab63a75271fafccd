"""Figures of the real model."""

from __future__ import annotations

import numpy as np

from ..figures import KINDS, METHODS, OTHER, OURS, PAPER, REFERENCE
from .marks import band, counts, key, label_ends, rule, whiskers
from .testtime import NAMES


def coverage(fig, panels):
    """A panel a prompt: coverage, what luck reaches, and majority, against the number of samples.

    panels: title → {"coverage" | "luck" | "majority": (K, mean, low, high)}.
    """
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    looks = {
        "coverage": {"color": OURS, "marker": "o", "label": "at least one is right"},
        "luck": {"color": REFERENCE, "ls": "--", "label": "answers to another problem"},
        "majority": {"color": OTHER, "marker": "s", "label": "the most frequent is right"},
    }
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for name, (K, mean, low, high) in lines.items():
            band(ax, K, mean, low, high, ms=4, **looks[name])
        counts(ax, K, "samples $K$")
        ax.set(title=title, ylim=(0, None))
    axes[0].set_ylabel("share of problems")
    key(fig, axes[0], ncols=3)


def luck(fig, own, chance, n):
    """Success rates of single problems against what answers to other problems give. own, chance [problems], of n samples."""
    ax = fig.subplots()
    across = np.maximum(chance, chance[chance > 0].min() / 2)
    ax.plot(across, np.maximum(own, 0.5 / n), "o", color=OURS, alpha=0.6, ms=5)
    ends = np.array([across.min(), across.max() * 1.3])
    ax.plot(ends, ends, "--", color=REFERENCE, label="no better than luck")
    rule(ax, y=0.5 / n, text="never", end="left")
    ax.set(xscale="log", yscale="log", ylim=(0.35 / n, None))
    ax.set(xlabel="share right of answers to other problems", ylabel="share right of its own")
    key(fig, ax)


def judges(fig, found):
    """AUC within a problem of each verifier, with intervals, beside what luck gives it. found: name → (mean, low, high, luck)."""
    ax = fig.subplots()
    for y, (mean, low, high, lucky) in enumerate(reversed(found.values())):
        named = {"dots": "right and wrong", "luck": "right elsewhere, and not"} if y == 0 else {}
        whiskers(ax, [mean], [y], [low], [high], upright=False, color=OURS, marker="o", label=named.get("dots"))
        ax.plot([lucky], [y], "D", mfc="none", color=REFERENCE, label=named.get("luck"))
    ax.set_yticks(range(len(found)), list(reversed(found)))
    rule(ax, x=0.5, text="a coin")
    ax.set(xlabel="AUC within a problem", ylim=(-0.6, len(found) - 0.4))
    key(fig, ax)


def choices(fig, lines, budgets):
    """Accuracy of what each way of choosing picks of N solutions, and their coverage, against N.

    lines: name → (budgets, mean, low, high); the first is the coverage.
    """
    ax = fig.subplots()
    looks = [{"color": OURS, "marker": "o"}]
    looks += [{"color": c, "marker": m} for c, m in zip(KINDS, "sD^vP", strict=True)]
    for (name, (N, mean, low, high)), look in zip(lines.items(), looks, strict=False):
        band(ax, N, mean, low, high, label=name, ms=4, **look)
    counts(ax, budgets, "solutions $N$")
    ax.set_ylabel("share of problems")
    label_ends(ax)


def spending(fig, panels):
    """Accuracy against the tokens that a problem costs, a panel each, all with the same lines.

    panels: title → {name: (tokens, mean, low, high)}; a name of METHODS looks as elsewhere.
    """
    axes = np.atleast_1d(fig.subplots(1, len(panels)))
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        others = iter(zip((OURS, OTHER, REFERENCE), "oD^", strict=True))
        for name, (tokens, mean, low, high) in lines.items():
            if name in METHODS:
                look = METHODS[name] | {"label": NAMES[name].replace("-of-N", "-of-$N$").replace("M = 4", "$M$ = 4")}
            else:
                colour, marker = next(others)
                look = {"color": colour, "marker": marker, "label": name}
            whiskers(ax, tokens, mean, low, high, lw=1.2, ms=5, **({"ls": "-"} | look))
        ax.set(xscale="log", xlabel="tokens a problem", title=title, ylim=(0, None))
    axes[0].set_ylabel("share of problems")
    key(fig, axes[0], ncols=3)


def beside(fig, panels):
    """Conditional accuracy against pass@1, a panel a benchmark: published models with their line, and the real model.

    panels: title → (table with pass_1 and conditional, (slope, intercept), (x, y, (x low, x high), (y low, y high))).
    """
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    for ax, (title, (table, (slope, intercept), point)) in zip(axes, panels.items(), strict=True):
        ax.plot(table["pass_1"], table["conditional"], "D", color=PAPER, label="models of the paper")
        x = np.array([0.0, 0.95])
        ax.plot(x, intercept + slope * x, "-", color=PAPER, lw=1)
        a, b, across, upright = point
        whiskers(ax, [a], [b], [upright[0]], [upright[1]], color=OURS, marker="o", label="SmolLM2-135M")
        ax.plot(across, [b, b], color=OURS, lw=1)
        ax.set(xlabel="pass@1", title=title, xlim=(-0.05, 1))
    axes[0].set_ylabel("accuracy of what passes")
    key(fig, axes[0])
