"""Figures of the test-time compute chapter."""

from __future__ import annotations

import re

import numpy as np

from ..figures import KINDS, METHODS, OURS, REFERENCE, SMALL
from .marks import band, counts, key, label_ends, ordered, rule, sample

NAMES = {
    "majority": "majority",
    "weighted": "best-of-N, weighted",
    "best": "best-of-N",
    "beam": "beam, M = 4",
    "beam_sqrt": "beam, M = √N",
    "lookahead_1": "lookahead, k = 1",
    "lookahead_3": "lookahead, k = 3",
    "dvts": "diverse trees",
    "mcts": "tree search (PUCT)",
}
GENERATIONS = "generations $N$"
POLICIES = (  # of our own making, in the order in which they come
    {"color": OURS, "ls": "-", "marker": "o"},
    {"color": OURS, "ls": "--", "marker": "o", "mfc": "none"},
    {"color": OURS, "ls": ":", "marker": "^"},
)


def _named(method):
    """A method's name as a figure has it, its mathematics typeset."""
    name = re.sub(r"\b([Mk]) = (.+)", r"$\1 = \2$", NAMES.get(method, method))
    return name.replace("√N", r"\sqrt{N}").replace("-of-N", "-of-$N$")


def search(fig, curves, bars, budgets):
    """Figure 3. Left: accuracy against budget, a line a method. Right: by difficulty bin, beam beside best-of-N.

    curves: method → (budgets, accuracy, low, high). bars: method → accuracy [budgets, bins].
    """
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.15))
    for method, curve in curves.items():
        band(left, *curve, label=_named(method), ms=4, lw=1.4, **METHODS[method])
    counts(left, next(iter(curves.values()))[0], GENERATIONS)
    left.tick_params(axis="x", labelrotation=60)
    left.set_ylabel("accuracy")
    count = len(budgets)
    width = 0.84 / (2 * count)
    for m, (method, table) in enumerate(bars.items()):
        for k in range(count):
            at = np.arange(table.shape[1]) + 1 + (2 * k + m - count + 0.5) * width
            look = {"color": METHODS[method]["color"], "alpha": 0.3 + 0.7 * k / max(1, count - 1)}
            right.bar(at, table[k], width, lw=0, hatch="" if m else "////", **look)
    right.set(xlabel="difficulty bin, 1 the easiest", ylabel="accuracy", xlim=(0.5, 5.5), ylim=(0, 1))
    right.grid(axis="x", visible=False)
    key(fig, left)


def lines(fig, series, budgets, label="accuracy"):
    """Accuracy against budget, a line a series, a method or a policy: name → (budgets, accuracy, low, high)."""
    ax = fig.subplots()
    policies = iter(POLICIES)
    for name, curve in series.items():
        look = METHODS[name] if name in METHODS else next(policies)
        name = _named(name) if name in METHODS else name.replace(", ", ",\n").replace(" with ", "\nwith ")
        band(ax, *curve, label=name, ms=4.5, **look)
    counts(ax, budgets, GENERATIONS)
    ax.set_ylabel(label)
    label_ends(ax)


def calibration(fig, table):
    """Share that is right against the mean probability, a line a verifier, in ten intervals."""
    ax = fig.subplots()
    for row, colour, marker in zip(table.itertuples(), KINDS, "osD^v", strict=False):
        cells = np.reshape(row.calibration, (-1, 3))
        cells = cells[cells[:, 2] >= cells[:, 2].sum() / 500]  # a handful of samples says nothing
        ax.plot(cells[:, 0], cells[:, 1], marker=marker, ms=4, lw=1.2, color=colour, label=row.verifier)
    ax.plot([0, 1], [0, 1], color=REFERENCE, lw=0.9, zorder=0)
    ax.set(xlabel="mean probability", ylabel="share that is right")
    key(fig, ax, ncols=5)


def verifiers(fig, gains, budgets):
    """Beam search's gain over best-of-N against the within-problem AUC of the verifier, a colour a budget."""
    ax = fig.subplots()
    for N, colour, marker in zip(budgets, ordered(budgets), "osD^v", strict=False):
        part = gains[gains["N"] == N].sort_values("within")
        ax.plot(part["within"], part["gain"], marker, ms=5, color=colour, label=f"$N$ = {N}")
    rule(ax, y=0)
    ax.set(xlabel="AUC within a problem", ylabel="beam − weighted best-of-$N$")
    key(fig, ax, ncols=5)


def exploitation(fig, rows, budgets):
    """The verifier's opinion of what best-of-N chose, and the truth, against N: a colour a verifier, the best last."""
    ax = fig.subplots()
    for (name, believed, true), colour in zip(rows, ordered(rows), strict=True):
        ax.plot(budgets, believed, "--", color=colour, lw=1.2)
        ax.plot(budgets, true, "o-", ms=3.5, color=colour, label=name)
    counts(ax, budgets, GENERATIONS)
    ax.set_ylabel("believed (dashed), true (solid)")
    label_ends(ax)


def revisions(fig, steps, pairs, budgets):
    """Left: share right along a chain. Right: sequential and parallel attempts, a colour a rule.

    steps: name → (last attempt of each block, share, low, high); pairs: rule → (sequential, parallel) [budgets].
    """
    left, right = fig.subplots(1, 2)
    for look, (name, curve) in zip(POLICIES, steps.items(), strict=False):
        band(left, *curve, label=name, **look)
    counts(left, next(iter(steps.values()))[0], "attempt, up to")
    left.set_ylabel("share right")
    for name, (sequential, parallel) in pairs.items():
        look = METHODS[name] | {"ls": "-"}
        right.plot(budgets, sequential, label=f"sequential, {name}", **look)
        right.plot(budgets, parallel, label=f"parallel, {name}", **look | {"ls": "--", "mfc": "none"})
    counts(right, budgets, GENERATIONS)
    right.set_ylabel("accuracy")
    key(fig, left, ncols=2, title="left:")
    key(fig, right, where="lower", ncols=2, title="right:")


def ratios(fig, by_budget, by_bin):
    """Figure 7: accuracy against the sequential share, left a line a budget, right a line a difficulty bin.

    by_budget: N → (attempts a chain, accuracy); by_bin: (attempts a chain, accuracy [ratios, bins]).
    """
    left, right = fig.subplots(1, 2)
    for (N, (x, y)), colour in zip(by_budget.items(), ordered(by_budget), strict=True):
        left.plot(np.asarray(x) ** 2 / N, y, "o-", ms=4, color=colour, label=f"$N$ = {N}")
    x, y = by_bin
    for b, colour in enumerate(ordered(range(y.shape[1]))):
        right.plot(np.asarray(x) ** 2 / max(x), y[:, b], "o-", ms=4, color=colour, label=f"bin {b + 1}")
    for ax in (left, right):
        ax.set_xscale("log", base=2)
        ax.set(xlabel="sequential : parallel", ylabel="accuracy")
        label_ends(ax)


def exchange(fig, panels, budgets, places):
    """Figure 9: the small model with test-time compute by bin, and the large model's greedy answers at equal cost.

    panels: name → (budgets, accuracy [budgets, bins], large [bins]); places: generations of equal cost, the
    fewest where most tokens are served (R ≫ 1).
    """
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    for ax, (name, (x, y, large)) in zip(axes, panels.items(), strict=True):
        for b, colour in enumerate(ordered(range(len(large)))):
            ax.plot(x, y[:, b], "o-", ms=3.5, lw=1.3, color=colour, label=f"bin {b + 1}")
            ax.plot(places, [large[b]] * len(places), "*", ms=10, mew=0.5, color=colour)
        counts(ax, budgets, GENERATIONS)
        ax.tick_params(axis="x", labelrotation=60)
        for place, sign in zip(places, (r"\gg", r"\approx", r"\ll"), strict=False):
            rule(ax, place, lw=0.7)
            top = {"xy": (place, 1), "xycoords": ("data", "axes fraction"), "rotation": 60}
            ax.annotate(f"$R {sign} 1$", xytext=(0, 2), textcoords="offset points", fontsize=SMALL, **top)
        ax.set_xlabel(f"{GENERATIONS}\n{name}")
        ax.set_ylim(-0.02, 1.02)
    axes[0].set_ylabel("accuracy")
    star = sample(axes[0], "the larger model", marker="*", ls="none", ms=10, color=REFERENCE)
    handles = [h for h in axes[0].get_legend_handles_labels()[0] if h is not star]
    key(fig, handles=[*handles, star], ncols=6, columnspacing=0.9)


def regret(fig, shares, losses, probes):
    """Left: regret of misjudged bins against their share. Right: accuracy when bins come from few samples."""
    left, right = fig.subplots(1, 2)
    for look, (by, y) in zip(POLICIES, losses.items(), strict=False):
        left.plot(shares, y, label=f"by {by} bin{'s' if by > 1 else ''}", **look)
    left.set(xlabel="share of problems misjudged", ylabel="accuracy lost")
    label_ends(left)
    x, y, full, question, blind = probes
    right.plot(x, y, "o-", color=OURS, label="few samples")
    flat = {"true bin": (full, "-"), "the question\nalone": (question, ":"), "no bin": (blind, "--")}
    for name, (level, ls) in flat.items():
        right.plot(x, [level] * len(x), color=REFERENCE, ls=ls, lw=1.1, label=name)
    counts(right, x, "samples that decide the bin")
    right.set_ylabel("accuracy of the policy")
    label_ends(right)


def table_of_choices(fig, panels, names, budgets):
    """Which strategy is best in each bin and at each budget, a panel a world: strategies as colours and letters."""
    import seaborn as sns
    from matplotlib.colors import to_rgb

    families = ("weighted", "beam", "beam_sqrt", "lookahead_1", "lookahead_3")
    axes = np.atleast_1d(fig.subplots(1, len(panels)))
    for ax, (title, choice) in zip(axes, panels.items(), strict=True):
        shades = [sns.set_hls_values(to_rgb(METHODS[f]["color"]), l=0.78) for f in families[: len(names)]]
        letters = np.array(names)[choice.T]
        look = {
            "annot": letters,
            "fmt": "",
            "cbar": False,
            "linewidths": 1,
            "vmin": 0,
            "vmax": len(names) - 1,
        }
        sns.heatmap(choice.T, ax=ax, cmap=shades, **look)
        ax.invert_yaxis()
        ax.tick_params(length=0)
        ax.set_xticklabels(range(1, choice.shape[0] + 1))
        ax.set_yticklabels(budgets, rotation=0)
        ax.set(xlabel="difficulty bin", ylabel=GENERATIONS, title=title)
